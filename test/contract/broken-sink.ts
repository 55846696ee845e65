import { setTimeout as sleep } from 'node:timers/promises';
import type { TabletPosition } from '../../src/change/position.ts';
import type { RecordBatch } from '../../src/change/record-batch.ts';
import type { SinkRecord } from '../../src/change/record.ts';
import { SinkError, type Sink, type SinkTablet, type TabletWriter } from '../../src/sinks/sink.ts';
import { nameRow } from '../../src/sinks/record-name.ts';
import type { SinkUnderTest } from './sink-kit.ts';
import { toSeen } from './sink-records.ts';

/** What may be wrong with a sink, and which case of the suite has to find it. */
export const BUGS = {
  'acknowledges before it is durable': 'goes on after a restart at every step, from the position that was written',
  'keeps the last write to itself until the next': 'keeps the order of each key, and every byte',
  'sends again what was not answered, without looking':
    'writes once what it tries again after a lost answer, at every step',
  'does not fence an old writer':
    'fences an old writer at every step: it adds no record, and does not move the position',
  'lets an old writer move the position':
    'fences an old writer at every step: it adds no record, and does not move the position',
  'gives up what is the successor’s when it is closed': 'lets the new writer alone when the old one is closed',
  'sends the records of a batch from the last to the first': 'keeps the order of each key, and every byte',
  'stores the position before the records':
    'goes on after a restart in the midst of a write: all of it is there, or what the position says',
  'stores the records before the position, apart':
    'goes on after a restart in the midst of a write: all of it is there, or what the position says',
  'has one position for all tablets': 'keeps tablets apart',
  'has one position for all generations of a stream': 'knows nothing of a stream of the same name that was deleted',
  'keeps no more of a position than its OpId': 'gives back all that a position says',
  'reads the index as a number': 'moves the position without a record, however far',
  'drops tombstones': 'writes a tombstone behind its delete, with the same position',
  'writes a tombstone as an empty value': 'writes a tombstone behind its delete, with the same position',
  'takes an empty value for a tombstone': 'takes values of any bytes and any length',
  'swallows a stop': 'rejects at once when it is told to stop, and the next writer goes on from what is there',
  'does not hear a stop while it waits':
    'gives up on a store that says nothing, stops at once when it is told to, and writes nothing late that it must not',
  'keeps bytes that are lent': 'keeps no memory of a batch beyond its write',
  'resolves in an outage': 'says that the store cannot be reached, and loses nothing when it is back',
  'takes an outage for a refusal': 'says that the store cannot be reached, and loses nothing when it is back',
  'keeps every batch until the end': 'keeps no more memory than what is on its way, in one write and in many',
  'never lets go of a batch': 'keeps no more memory than what is on its way, in one write and in many',
  'orders by the clock': 'loses and refuses nothing when the clock jumps by hours, back or forth',
  'closes for all tablets when one fails':
    'rejects what an encoder cannot do, keeps nothing of it that the position does not say, and goes on with other tablets',
  'commits what came before a record that cannot be encoded':
    'rejects what an encoder cannot do, keeps nothing of it that the position does not say, and goes on with other tablets',
  'does not name a record that is too large':
    'refuses a record that is too large, says which row it is, and takes what comes in its place',
  'sends the first batch alone': 'keeps the order of each key, and every byte',
} as const;
export type Bug = keyof typeof BUGS;

const TOO_LARGE_BYTES = 8 << 20;
/** Of a value the store keeps so much, as one elsewhere keeps it: what passes through is the sink's memory, what stays is not. */
const KEPT_VALUE_BYTES = 250_000;
/** Between two steps of a write that ought to be one. */
const APART_MS = 5;
const GIVES_UP_AFTER_MS = 300;

interface StoredTablet {
  epoch: number;
  position: TabletPosition | null;
}

/** A server in this process: each request takes a turn of the event loop on its way, and one on the way back. */
class Store {
  readonly records: SinkRecord[] = [];
  readonly tablets = new Map<string, StoredTablet>();
  isDown = false;
  isFrozen = false;
  delayMs = 0;
  losesAnswer = false;
  #clockMs = 0;
  readonly #bug: Bug | null;

  constructor(bug: Bug | null) {
    this.#bug = bug;
  }

  tabletOf({ tabletId, streamGeneration }: SinkTablet): StoredTablet {
    const generation = this.#bug === 'has one position for all generations of a stream' ? '' : streamGeneration;
    const key = this.#bug === 'has one position for all tablets' ? generation : `${generation}/${tabletId}`;
    let tablet = this.tablets.get(key);
    if (!tablet) this.tablets.set(key, (tablet = { epoch: 0, position: null }));
    return tablet;
  }

  append(records: readonly SinkRecord[]): void {
    if (this.#bug === 'orders by the clock') {
      if (Date.now() < this.#clockMs) return; // older than what is there
      this.#clockMs = Date.now();
    }
    for (const record of records) {
      const isWide = record.value !== null && record.value.length > KEPT_VALUE_BYTES;
      this.records.push(isWide ? { ...record, value: Buffer.from('wide') } : record);
    }
  }
}

/**
 * A sink over a store in this process that keeps its promises, unless it is told to break one. It is not an example:
 * test/support/memory-sink.ts is.
 */
class BrokenSink implements Sink {
  readonly store: Store;
  readonly bug: Bug | null;
  isDead = false;
  isClosed = false;
  readonly hoard: RecordBatch[] = [];

  constructor(store: Store, bug: Bug | null) {
    this.store = store;
    this.bug = bug;
  }

  async openTablet(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    return this.ask(signal, () => {
      const stored = this.store.tabletOf(tablet);
      const epoch = this.bug === 'does not fence an old writer' ? stored.epoch : ++stored.epoch;
      return new BrokenWriter(this, stored, epoch);
    });
  }

  async check(signal: AbortSignal): Promise<void> {
    await this.ask(signal, () => undefined);
  }

  /** A request: its effect is there when it has arrived, whether or not anybody hears of it. */
  async ask<T>(signal: AbortSignal, effect: () => T): Promise<T> {
    const { store } = this;
    const startedMs = performance.now();
    if (this.isClosed) throw new SinkError('refused', 'closed');
    const isDeaf = this.bug === 'does not hear a stop while it waits';
    this.throwIfStopped(signal);
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, store.isFrozen ? 5 : store.delayMs));
      if (this.isDead) return new Promise<T>(() => undefined);
      if (!isDeaf) this.throwIfStopped(signal);
      if (!store.isFrozen) break;
      if (!isDeaf && performance.now() - startedMs > GIVES_UP_AFTER_MS) throw new SinkError('unavailable', 'no answer');
    }
    if (store.isDown)
      throw new SinkError(this.bug === 'takes an outage for a refusal' ? 'refused' : 'unavailable', 'no connection');
    return effect();
  }

  throwIfStopped(signal: AbortSignal): void {
    if (signal.aborted && this.bug !== 'swallows a stop') throw new SinkError('unavailable', 'stopped', signal.reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

class BrokenWriter implements TabletWriter {
  readonly position: TabletPosition | null;
  readonly #sink: BrokenSink;
  readonly #tablet: StoredTablet;
  readonly #epoch: number;
  #late: readonly SinkRecord[] = [];

  constructor(sink: BrokenSink, tablet: StoredTablet, epoch: number) {
    this.#sink = sink;
    this.#tablet = tablet;
    this.#epoch = epoch;
    this.position = tablet.position;
  }

  async write(batches: Iterable<RecordBatch>, position: TabletPosition, signal: AbortSignal): Promise<void> {
    const { bug, store } = this.#sink;
    const staged: SinkRecord[] = [];
    try {
      this.#take(batches, staged, signal);
    } catch (error) {
      if (bug === 'closes for all tablets when one fails') this.#sink.isClosed = true;
      if (bug === 'commits what came before a record that cannot be encoded') store.append(staged);
      throw error instanceof SinkError ? error : new SinkError('unavailable', String(error), error);
    }
    if (bug === 'swallows a stop' && signal.aborted) return;
    if (bug === 'resolves in an outage' && store.isDown) return;
    if (bug === 'acknowledges before it is durable') {
      void sleep(APART_MS)
        .then(() => this.#ask(signal, staged, position))
        .catch(() => undefined);
      return;
    }
    if (bug === 'stores the position before the records') {
      await this.#ask(signal, [], position);
      await sleep(APART_MS);
      await this.#ask(signal, staged, position);
    } else if (bug === 'stores the records before the position, apart') {
      await this.#ask(signal, staged, this.#tablet.position);
      await sleep(APART_MS);
      await this.#ask(signal, [], position);
    } else await this.#ask(signal, staged, position);
    if (!store.losesAnswer) return;
    store.losesAnswer = false;
    if (bug === 'sends again what was not answered, without looking') await this.#ask(signal, staged, position);
    else throw new SinkError('unavailable', 'the answer was lost');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#sink.bug === 'gives up what is the successor’s when it is closed') this.#tablet.epoch++;
    return Promise.resolve();
  }

  #ask(signal: AbortSignal, records: readonly SinkRecord[], position: TabletPosition | null): Promise<void> {
    return this.#sink.ask(signal, () => {
      this.#commit(records, position);
    });
  }

  #take(batches: Iterable<RecordBatch>, staged: SinkRecord[], signal: AbortSignal): void {
    const { bug, hoard } = this.#sink;
    const all: RecordBatch[] = [];
    for (const batch of batches) {
      this.#sink.throwIfStopped(signal);
      if (bug === 'keeps every batch until the end') all.push(batch);
      if (bug === 'never lets go of a batch') hoard.push(batch);
      const records = [...batch].filter((record) => this.#isSound(record)).map((record) => this.#copyOf(record));
      staged.push(...(bug === 'sends the records of a batch from the last to the first' ? records.reverse() : records));
      if (bug === 'sends the first batch alone') break;
    }
    all.length = 0;
  }

  #isSound(record: SinkRecord): boolean {
    if (record.value !== null && record.value.length >= TOO_LARGE_BYTES) {
      const which = this.#sink.bug === 'does not name a record that is too large' ? 'a record' : nameRow(record);
      throw new SinkError('refused', `the store does not take ${which}: too large`);
    }
    return !(this.#sink.bug === 'drops tombstones' && record.kind === 'tombstone');
  }

  #copyOf(record: SinkRecord): SinkRecord {
    const { bug } = this.#sink;
    if (bug === 'keeps bytes that are lent') return record;
    let value = record.value && Buffer.from(record.value.length > KEPT_VALUE_BYTES ? 'wide' : record.value);
    if (bug === 'takes an empty value for a tombstone' && value?.length === 0) value = null;
    if (bug === 'writes a tombstone as an empty value') value ??= Buffer.alloc(0);
    return { ...record, key: Buffer.from(record.key), value };
  }

  /** Both or neither, if the writer is the tablet's: as a script in the store, or a transaction. */
  #commit(records: readonly SinkRecord[], position: TabletPosition | null): void {
    const { bug, store } = this.#sink;
    const isOld = this.#tablet.epoch !== this.#epoch;
    if (isOld && bug === 'lets an old writer move the position') this.#tablet.position = position;
    if (isOld) throw new SinkError('fenced', 'the tablet has a newer writer');
    const isLate = bug === 'keeps the last write to itself until the next';
    store.append(isLate ? this.#late : records);
    this.#late = records;
    this.#tablet.position = position && this.#storedForm(position);
  }

  #storedForm(position: TabletPosition): TabletPosition {
    const { opId, tableName, schemaVersion } = position;
    if (this.#sink.bug === 'keeps no more of a position than its OpId') return { opId, tableName, schemaVersion };
    if (this.#sink.bug !== 'reads the index as a number') return position;
    return { ...position, opId: { term: opId.term, index: BigInt(Number(opId.index)) } };
  }
}

/** What the suite needs of it. */
export function brokenSink(bug: Bug | null): SinkUnderTest {
  const stores = new Map<string, Store>();
  const sinks = new Map<Sink, BrokenSink>();
  let isDown = false;
  const storeOf = (streamName: string): Store => {
    let store = stores.get(streamName);
    if (!store) stores.set(streamName, (store = new Store(bug)));
    store.isDown = isDown;
    return store;
  };
  const during = async (set: (store: Store, isOn: boolean) => void, work: () => Promise<void>): Promise<void> => {
    for (const store of stores.values()) set(store, true);
    try {
      await work();
    } finally {
      for (const store of stores.values()) set(store, false);
    }
  };
  return {
    open: (streamName) => {
      const sink = new BrokenSink(storeOf(streamName), bug);
      sinks.set(sink, sink);
      return sink;
    },
    read: (streamName) =>
      Promise.resolve(
        storeOf(streamName)
          .records.filter(({ kind, table }) => (kind === 'row' || kind === 'tombstone') && table === 'shop.orders')
          .map(toSeen),
      ),
    duringOutage: async (work) => {
      isDown = true;
      await during((store, isOn) => {
        store.isDown = isDown = isOn;
      }, work);
    },
    duringFreeze: (work) =>
      during((store, isOn) => {
        store.isFrozen = isOn;
      }, work),
    whileSlow: (work) =>
      during((store, isOn) => {
        store.delayMs = isOn ? 20 : 0;
      }, work),
    loseAnswer: (streamName) => {
      storeOf(streamName).losesAnswer = true;
    },
    kill: (sink) => {
      sinks.get(sink)!.isDead = true;
    },
    tooLargeBytes: TOO_LARGE_BYTES,
  };
}
