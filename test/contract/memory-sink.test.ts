import { SinkError } from '../../src/sinks/sink.ts';
import { MemorySink, MemoryStore } from '../support/memory-sink.ts';
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
    read: (streamName) =>
      Promise.resolve(
        storeOf(streamName).records.map(({ key, value, position, timestampMs }) => ({
          key: key.toString(),
          value: value?.toString() ?? null,
          position,
          timestampMs,
        })),
      ),
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
  }),
  { exactlyOnce: true },
);
