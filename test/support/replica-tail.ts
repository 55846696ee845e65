import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Change } from '../../src/change/change.ts';
import type { SinkRecord } from '../../src/change/record.ts';
import { compileJson } from '../../src/formats/json.ts';
import { formatOpId, MIN_OPID, type OpId } from '../../src/kudu/opid.ts';
import { TabletChanges } from '../../src/source/tablet-changes.ts';
import type { ChangeRead } from '../../src/source/change-source.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import type { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { recordsOf } from './record-batches.ts';

export interface ReplicaTailOptions {
  readonly watcher: WalWatcher;
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  readonly after: TabletPosition;
  /** Sees every record in its order. */
  readonly onRecord?: (record: SinkRecord) => void;
}

/** Where a stream stood, and the digest of all that comes after it is asked for from there. */
export interface TailMark {
  readonly position: TabletPosition;
  /** Records before it. */
  readonly records: number;
}

/** The position before a tablet's first operation. */
export function fromTheStart(tableName: string): TabletPosition {
  return { opId: MIN_OPID, tableName, schemaVersion: 0 };
}

/**
 * Follows one replica's log through the whole of Spoor's reading, decoding and encoding, as a sidecar that had to ship
 * everything would, and keeps a digest of each record, so that replicas can be held against each other.
 */
export class ReplicaTail implements AsyncDisposable {
  /** One a record: its bytes and position, shortened. */
  readonly digests: string[] = [];
  /** A position after every read, to resume from. */
  readonly marks: TailMark[] = [];
  upTo: OpId;
  rejectedRows = 0;
  rowRecords = 0;
  /** What ended it, other than its end. */
  failure: unknown = null;
  readonly tablet: ReplicaTailOptions['tablet'];
  readonly #abort = new AbortController();
  readonly #changes: TabletChanges;
  readonly #options: ReplicaTailOptions;
  readonly #format = compileJson({ streamName: 'tail', version: '0.0.0', tombstones: true });
  readonly #running: Promise<void>;

  constructor(options: ReplicaTailOptions) {
    this.#options = options;
    this.tablet = options.tablet;
    this.upTo = options.after.opId;
    const { watcher, tablet, after } = options;
    this.#changes = new TabletChanges({
      log: watcher.read(tablet.tabletId, this.#abort.signal),
      tablet,
      after,
      announceSchema: after.opId.index === 0n,
    });
    this.#running = this.#run();
  }

  /** The highest operation that the log says is committed, read or not. */
  get committed(): OpId {
    return this.#changes.committed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#running;
    await this.#changes[Symbol.asyncDispose]();
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        const read = await this.#changes.next();
        // Its leader may have it copied anew, long after it asked for that: on a busy machine the replica has a log by then.
        if (read.kind === 'gone') continue;
        for (const change of read.changes) this.#take(change);
        this.#note(read);
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) this.failure = error;
    }
  }

  #take(change: Change): void {
    for (const record of recordsOf(this.#format, change)) {
      const hash = createHash('sha256').update(record.position).update('\0').update(record.key).update('\0');
      if (record.value) hash.update(record.value);
      this.digests.push(`${record.position} ${hash.digest('base64url').slice(0, 16)}`);
      if (record.kind === 'row') this.rowRecords++;
      this.#options.onRecord?.(record);
    }
  }

  #note({ position, rejectedRows }: ChangeRead): void {
    this.upTo = position.opId;
    this.rejectedRows += rejectedRows;
    this.marks.push({ position, records: this.digests.length });
  }
}

/** What a replica's log, read anew, has of the operation at `index`, and how it ends; for messages. */
export async function describeLog(watcher: WalWatcher, tabletId: string, index: bigint): Promise<string> {
  const { signal } = new AbortController();
  await using log = watcher.read(tabletId, signal);
  const found: string[] = [];
  const all: string[] = [];
  let segments = 0;
  for (let chunk = await log.next(); chunk.kind !== 'idle' && chunk.kind !== 'gone'; chunk = await log.next()) {
    if (chunk.kind === 'segment') segments++;
    if (chunk.kind !== 'entries') continue;
    for (const { kind, opId, location } of chunk.entries) {
      const entry = `${kind} ${formatOpId(opId)} at ${basename(location.path)} byte ${location.offset}`;
      if (opId.index === index) found.push(entry);
      all.push(entry);
    }
  }
  const ofIt = found.length > 0 ? found.join(', ') : 'nothing';
  return `${segments} segments, of index ${index} ${ofIt}; at its end ${all.slice(-4).join(', ')}`;
}
