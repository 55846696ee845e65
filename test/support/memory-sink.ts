import { RecordBatch } from '../../src/change/record-batch.ts';
import type { SinkRecord } from '../../src/change/record.ts';
import { SinkError, type Sink, type SinkTablet, type TabletWriter } from '../../src/sinks/sink.ts';
import type { TabletPosition } from '../../src/change/position.ts';

/** What outlives a sink: records and positions, as a broker keeps them. */
export class MemoryStore {
  readonly records: SinkRecord[] = [];
  readonly #tablets = new Map<string, { epoch: number; generation: string; position: TabletPosition | null }>();
  /** Who opened a tablet last. */
  readonly #openers = new Map<string, SinkTablet>();
  /** What it calls itself, as a writer says it. */
  sinkId = 'memory:1';
  /** While it is set, nothing can be written or opened. */
  outage: SinkError | null = null;
  /** Whether the answer of the next write is lost, behind its effect. */
  losesAnswer = false;

  openTablet(tablet: SinkTablet): { epoch: number; position: TabletPosition | null } {
    if (this.outage) throw this.outage;
    const key = `${tablet.streamName}/${tablet.tabletId}`;
    const known = this.#tablets.get(key);
    const position = known?.generation === tablet.streamGeneration ? known.position : null;
    const epoch = (known?.epoch ?? 0) + 1;
    this.#tablets.set(key, { epoch, generation: tablet.streamGeneration, position });
    const { onFenced } = this.#openers.get(key) ?? {};
    this.#openers.set(key, tablet);
    if (onFenced)
      setImmediate(() => {
        onFenced(new SinkError('fenced', `tablet ${tablet.tabletId} has a newer writer`));
      });
    return { epoch, position };
  }

  /** Both or neither, as a transaction. */
  append(tablet: SinkTablet, epoch: number, records: readonly SinkRecord[], position: TabletPosition): void {
    if (this.outage) throw this.outage;
    const known = this.#tablets.get(`${tablet.streamName}/${tablet.tabletId}`);
    if (known?.epoch !== epoch) throw new SinkError('fenced', `tablet ${tablet.tabletId} has a newer writer`);
    this.records.push(...records);
    known.position = position;
    if (!this.losesAnswer) return;
    this.losesAnswer = false;
    throw new SinkError('unavailable', 'the answer was lost');
  }
}

/** The smallest sink that keeps every promise of the interface; what a test of the core writes to. */
export class MemorySink implements Sink {
  readonly #store: MemoryStore;

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  openTablet(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    return attempt(signal, () => {
      const { epoch, position } = this.#store.openTablet(tablet);
      return new MemoryWriter(this.#store, tablet, epoch, position);
    });
  }

  check(signal: AbortSignal): Promise<void> {
    return attempt(signal, () => {
      if (this.#store.outage) throw this.#store.outage;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

class MemoryWriter implements TabletWriter {
  readonly position: TabletPosition | null;
  readonly #store: MemoryStore;
  readonly #tablet: SinkTablet;
  readonly #epoch: number;

  constructor(store: MemoryStore, tablet: SinkTablet, epoch: number, position: TabletPosition | null) {
    this.#store = store;
    this.#tablet = tablet;
    this.#epoch = epoch;
    this.position = position;
  }

  get sinkId(): string {
    return this.#store.sinkId;
  }

  write(batches: Iterable<RecordBatch>, position: TabletPosition, signal: AbortSignal): Promise<void> {
    return attempt(signal, () => {
      const records = Array.from(batches, (batch) => [...RecordBatch.of(batch)]).flat(); // its memory is lent
      throwIfStopped(signal);
      this.#store.append(this.#tablet, this.#epoch, records, position);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

function attempt<T>(signal: AbortSignal, work: () => T): Promise<T> {
  return new Promise((resolve) => {
    throwIfStopped(signal);
    resolve(work());
  });
}

function throwIfStopped(signal: AbortSignal): void {
  if (signal.aborted) throw new SinkError('unavailable', 'stopped', signal.reason);
}
