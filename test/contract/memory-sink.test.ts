import { SinkError } from '../../src/sinks/sink.ts';
import { MemorySink, MemoryStore } from '../support/memory-sink.ts';
import { toSeen } from './sink-records.ts';
import { describeSink } from './sink.ts';

const stores = new Map<string, MemoryStore>();
let outage: SinkError | null = null;

function storeOf(streamName: string): MemoryStore {
  let store = stores.get(streamName);
  if (store === undefined) stores.set(streamName, (store = new MemoryStore()));
  store.outage = outage;
  return store;
}

describeSink(
  'the sink in memory',
  () => ({
    open: (streamName) => new MemorySink(storeOf(streamName)),
    read: (streamName) => {
      const rows = storeOf(streamName).records.filter(({ kind }) => kind === 'row' || kind === 'tombstone');
      return Promise.resolve(rows.map(toSeen));
    },
    duringOutage: async (work) => {
      const set = (value: SinkError | null): void => {
        outage = value;
        for (const store of stores.values()) store.outage = value;
      };
      set(new SinkError('unavailable', 'no answer'));
      try {
        await work();
      } finally {
        set(null);
      }
    },
    loseAnswer: (streamName) => {
      storeOf(streamName).losesAnswer = true;
    },
  }),
  { exactlyOnce: true, keepsInMemory: true, quickOutage: true },
);
