import type { SinkRecord } from '../../../change/record.ts';

/** Records of one tablet's write: each time that they are iterated they are encoded anew. */
export type RecordsOfWrite = Iterable<readonly SinkRecord[]>;

/** A row of an operation of a tablet's log. */
export interface RowRef {
  readonly index: bigint;
  readonly row: number;
}

/** Which row a record's position names; null where it names none: of a copy, or a mark. */
export function rowOf(position: string): (RowRef & { readonly tablet: string }) | null {
  const match = /^([^/]+)\/\d+\.(\d+)\.(\d+)$/.exec(position);
  return match && { tablet: match[1]!, index: BigInt(match[2]!), row: Number(match[3]) };
}

/** Whether a row comes no later than another in the tablet's order. */
export function isUpTo(row: RowRef, last: RowRef): boolean {
  return row.index === last.index ? row.row <= last.row : row.index < last.index;
}

/**
 * Where a write's records are taken from, slice by slice. A write that is too large for one transaction is left in its midst,
 * and goes on from there in the next one; or, in another life, from the row that the position names.
 */
export class WriteCursor {
  readonly #slices: Iterator<readonly SinkRecord[]>;
  /** Up to which row the records are there already; null once a later one has come. */
  #after: RowRef | null;
  #next: readonly SinkRecord[] | null = null;
  #last: SinkRecord | null = null;

  /** @param after records up to this row are left out: they are there already */
  constructor(records: RecordsOfWrite, after: RowRef | null) {
    this.#slices = records[Symbol.iterator]();
    this.#after = after;
    this.#pull();
  }

  get isDone(): boolean {
    return this.#next === null;
  }

  /** The next slice, which is not empty. */
  take(): readonly SinkRecord[] {
    const slice = this.#next;
    if (slice === null) throw new RangeError('all records of the write were taken');
    this.#last = slice.at(-1)!;
    this.#pull();
    return slice;
  }

  /** Up to which row all was taken, where the write can be left here; a delete and its tombstone share a position. */
  get leftAt(): RowRef | null {
    if (this.#last === null || this.#next === null || this.#next[0]!.position === this.#last.position) return null;
    const row = rowOf(this.#last.position);
    return row && { index: row.index, row: row.row };
  }

  #pull(): void {
    this.#next = null;
    for (let slice = this.#slices.next(); slice.done !== true; slice = this.#slices.next()) {
      const left = this.#after === null ? slice.value : slice.value.filter((record) => this.#isNew(record));
      if (left.length === 0) continue;
      this.#next = left;
      return;
    }
  }

  /** A mark in between was written, or says no more than the next one. Rows of a copy are no rows of an operation. */
  #isNew({ kind, position }: SinkRecord): boolean {
    if (this.#after === null) return true;
    if (kind === 'resolved') return false;
    const row = rowOf(position);
    if (row === null) return true;
    if (isUpTo(row, this.#after)) return false;
    this.#after = null;
    return true;
  }
}
