import type { TabletPosition } from '../change/position.ts';

/** One read of the source: some committed operations, or rows of a copy, in order (often without a record: a NO_OP). */
export interface QueuedRead {
  readonly upTo: TabletPosition;
  /** Size in the log. */
  readonly bytes: number;
  readonly hasRecords: boolean;
  readonly readAtMs: number;
}

/**
 * Reads, oldest first. A value: what {@link push} and {@link drop} answer is another queue, and this one stays as it is. Both
 * take as long for ten thousand reads as for one, which a tablet has whose sink is away.
 */
export class ReadQueue {
  static readonly EMPTY = new ReadQueue([], 0, 0, 0, 0);
  /** Shared by queues that were made from each other: nothing in it changes, and each knows its part. */
  readonly #reads: QueuedRead[];
  readonly #from: number;
  readonly #to: number;
  /** Of all of them, in the log. */
  readonly bytes: number;
  readonly #withRecords: number;

  private constructor(reads: QueuedRead[], from: number, to: number, bytes: number, withRecords: number) {
    this.#reads = reads;
    this.#from = from;
    this.#to = to;
    this.bytes = bytes;
    this.#withRecords = withRecords;
  }

  get length(): number {
    return this.#to - this.#from;
  }

  /** Whether any of them has a record. */
  get hasRecords(): boolean {
    return this.#withRecords > 0;
  }

  at(i: number): QueuedRead | undefined {
    return i < 0 || i >= this.length ? undefined : this.#reads[this.#from + i];
  }

  push(read: QueuedRead): ReadQueue {
    const isOurs = this.#to === this.#reads.length; // else another queue has gone on from here
    const reads = isOurs ? this.#reads : this.#reads.slice(this.#from, this.#to);
    const from = isOurs ? this.#from : 0;
    reads.push(read);
    return new ReadQueue(
      reads,
      from,
      reads.length,
      this.bytes + read.bytes,
      this.#withRecords + Number(read.hasRecords),
    );
  }

  /** Without the first `count`. */
  drop(count: number): ReadQueue {
    let { bytes } = this;
    let withRecords = this.#withRecords;
    for (let i = 0; i < count; i++) {
      const read = this.at(i);
      if (read === undefined) return ReadQueue.EMPTY;
      bytes -= read.bytes;
      if (read.hasRecords) withRecords--;
    }
    const from = this.#from + count;
    if (from < this.#to - from) return new ReadQueue(this.#reads, from, this.#to, bytes, withRecords);
    return new ReadQueue(this.#reads.slice(from, this.#to), 0, this.#to - from, bytes, withRecords); // frees what is done with
  }

  findIndex(isIt: (read: QueuedRead) => boolean): number {
    for (let i = 0; i < this.length; i++) if (isIt(this.at(i)!)) return i;
    return -1;
  }
}
