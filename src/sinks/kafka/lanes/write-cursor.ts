import { isUpTo, type RowRef } from '../../../change/position.ts';
import { RecordKind, type RecordBatch } from '../../../change/record-batch.ts';

/** Records of one tablet's write: each time that they are iterated they are encoded anew. */
export type RecordsOfWrite = Iterable<RecordBatch>;

/** Which row a record's position names; null where it names none: of a copy, or a mark. */
export function rowOf(position: string): (RowRef & { readonly tablet: string }) | null {
  const match = /^([^/]+)\/\d+\.(\d+)\.(\d+)$/.exec(position);
  return match && { tablet: match[1]!, index: BigInt(match[2]!), row: Number(match[3]) };
}

/**
 * Where a write's records are taken from, batch by batch. A write that is too large for one transaction is left in its midst,
 * and goes on from there in the next one; or, in another life, from the row that the position names.
 */
export class WriteCursor {
  readonly #batches: Iterator<RecordBatch>;
  /** Up to which row the records are there already; null once a later one has come. */
  #after: RowRef | null;
  #next: RecordBatch | null = null;
  /** Of the last record that was taken. Its batch may have been released since. */
  #last: string | null = null;

  /** @param after records up to this row are left out: they are there already */
  constructor(records: RecordsOfWrite, after: RowRef | null) {
    this.#batches = records[Symbol.iterator]();
    this.#after = after;
    this.#pull();
  }

  get isDone(): boolean {
    return this.#next === null;
  }

  /** The next batch, which is not empty. */
  take(): RecordBatch {
    const batch = this.#next;
    if (batch === null) throw new RangeError('all records of the write were taken');
    this.#last = batch.position(batch.length - 1);
    this.#pull();
    return batch;
  }

  /** Up to which row all was taken, where the write can be left here; a delete and its tombstone share a position. */
  get leftAt(): RowRef | null {
    if (this.#last === null || this.#next === null) return null;
    const row = this.#next.position(0) === this.#last ? null : rowOf(this.#last);
    return row && { index: row.index, row: row.row };
  }

  #pull(): void {
    this.#next = null;
    for (let next = this.#batches.next(); next.done !== true; next = this.#batches.next()) {
      const left = this.#after === null ? next.value : this.#newOf(next.value);
      if (left.length === 0) continue;
      this.#next = left;
      return;
    }
  }

  #newOf(batch: RecordBatch): RecordBatch {
    const left: number[] = [];
    for (let i = 0; i < batch.length; i++) if (this.#isNew(batch, i)) left.push(i);
    return left.length === batch.length ? batch : batch.pick(left);
  }

  /** A mark in between was written, or says no more than the next one. Rows of a copy are no rows of an operation. */
  #isNew(batch: RecordBatch, i: number): boolean {
    if (this.#after === null) return true;
    if (batch.kindOf(i) === RecordKind.RESOLVED) return false;
    const row = rowOf(batch.position(i));
    if (row === null) return true;
    // It stands in front of an operation's rows: beside some that are there, it says that the others are left out.
    if (batch.kindOf(i) === RecordKind.SCHEMA) return row.index >= this.#after.index;
    if (isUpTo(row, this.#after)) return false;
    this.#after = null;
    return true;
  }
}
