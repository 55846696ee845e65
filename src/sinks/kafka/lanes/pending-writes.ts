import { SinkError } from '../../sink.ts';
import type { Share } from './lane-events.ts';
import type { FilledShare, NotCommitted, TransactionEnd } from './lane-transaction.ts';
import { isSameReading } from './positions-view.ts';
import { WriteCursor, type RecordsOfWrite } from './write-cursor.ts';

/** In the place of records that cannot be had again. */
const SPENT: RecordsOfWrite = {
  [Symbol.iterator]() {
    throw new SinkError('unavailable', 'its transaction failed for the sake of another tablet');
  },
};

interface PendingWrite {
  readonly tablet: string;
  readonly records: RecordsOfWrite | null;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** Whether its records were taken once. */
  isBegun: boolean;
  /** What the last transaction has left of them. */
  cursor: WriteCursor | null;
}

/** The writes of a lane that somebody waits for: the records of each, how far they were taken, and who is told of its end. */
export class PendingWrites {
  readonly #writes = new Map<number, PendingWrite>();
  #count = 0;

  /** @param records null: only the position moves. @returns its number, and what settles as {@link written} or {@link failed} */
  add(tablet: string, records: RecordsOfWrite | null): { readonly write: number; readonly done: Promise<void> } {
    const write = ++this.#count;
    const done = new Promise<void>((resolve, reject) => {
      this.#writes.set(write, { tablet, records, isBegun: false, cursor: null, resolve, reject });
    });
    done.catch(() => undefined); // whoever waited may have gone
    return { write, done };
  }

  /** Nobody waits for it any more. */
  forget(write: number): void {
    this.#writes.delete(write);
  }

  written(write: number): void {
    this.#writes.get(write)?.resolve();
  }

  failed(write: number, error: unknown): void {
    this.#writes.get(write)?.reject(error);
  }

  /** @returns which they are */
  allFailedOf(tablet: string, error: unknown): readonly number[] {
    const failed: number[] = [];
    for (const [number, write] of this.#writes) {
      if (write.tablet !== tablet) continue;
      write.reject(error);
      failed.push(number);
    }
    return failed;
  }

  allFailed(error: unknown): void {
    for (const { reject } of this.#writes.values()) reject(error);
  }

  /** What a transaction has of them, or why there is none. */
  fill(shares: readonly Share[]): readonly FilledShare[] | NotCommitted {
    const filled: FilledShare[] = [];
    for (const share of shares) {
      const write = share.write === null ? null : this.#writes.get(share.write);
      if (write === undefined) {
        const cause = new Error(`the records of tablet ${share.tablet} are not there`);
        return { kind: 'not-committed', culprits: new Map([[share.tablet, cause]]), cause };
      }
      filled.push({ share, open: write?.records ? opening(write, write.records, share) : null });
    }
    return filled;
  }

  /** A transaction of these is over: what it has left of a write the next one goes on with. */
  ended(shares: readonly Share[], end: TransactionEnd): void {
    const cursors = end.kind === 'committed' ? end.cursors : null;
    for (const { tablet, write } of shares) {
      const pending = write === null ? undefined : this.#writes.get(write);
      if (pending) pending.cursor = cursors && (cursors.get(tablet) ?? pending.cursor);
    }
  }
}

/** What it answers throws what encoding the first of the records does. */
function opening(write: PendingWrite, records: RecordsOfWrite, { from, position }: Share): () => WriteCursor {
  // A copy reads the log a second time, and what it finds there is to come again, behind its rows.
  const after = from?.upTo && position && isSameReading(from, position) ? from.upTo : null;
  return () => {
    const { isBegun, cursor } = write;
    write.isBegun = true;
    write.cursor = null;
    if (cursor) return cursor;
    // What can be iterated but once has no records any more, and no one would notice.
    const isSpent = isBegun && Object.is(records[Symbol.iterator](), records);
    return new WriteCursor(isSpent ? SPENT : records, after);
  };
}
