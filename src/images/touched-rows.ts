import type { ChangeBatch } from '../change/change.ts';
import { rowKey } from '../change/row-key.ts';
import type { ReadImage } from './known-rows.ts';

const NONE = -1;

/** Which rows of a segment's batches have touched a key so far, so that what they made of it can be made again. */
export class TouchedRows {
  readonly #batches: readonly ChangeBatch[];
  readonly #isReset: (batch: ChangeBatch, row: number) => boolean;
  /** How many rows lie before a batch. */
  readonly #starts: readonly number[];
  /** By key (latin1): the last row that touched it, by its number among all. */
  readonly #last = new Map<string, number>();
  /** By row: the one before it that touched the same key. */
  readonly #earlier: Int32Array;
  #batch = 0;
  #row = 0;

  /** @param isReset whether what a row is behind an operation does not hang on what it was before */
  constructor(batches: readonly ChangeBatch[], isReset: (batch: ChangeBatch, row: number) => boolean) {
    this.#batches = batches;
    this.#isReset = isReset;
    let rows = 0;
    this.#starts = batches.map(({ rowCount }) => (rows += rowCount) - rowCount);
    this.#earlier = new Int32Array(rows);
  }

  /** Takes in the rows before that one. */
  upTo(batch: number, row: number): void {
    for (; this.#batch < batch; [this.#batch, this.#row] = [this.#batch + 1, 0])
      this.#take(this.#batches[this.#batch]!.rowCount);
    if (this.#batch < this.#batches.length) this.#take(row);
  }

  /** `known`: all that is to be known of it follows from the rows that touched it; null: none has. */
  get(key: string): 'known' | 'touched' | null {
    let row = this.#last.get(key) ?? NONE;
    if (row === NONE) return null;
    for (; row !== NONE; row = this.#earlier[row]!) {
      const { batch, at } = this.#find(row);
      if (this.#isReset(batch, at)) return 'known';
    }
    return 'touched';
  }

  /** What the rows that touched a key have made of it. @param before what it was before the first of them */
  refold(
    key: string,
    before: ReadImage | undefined,
    stateAfter: (batch: ChangeBatch, row: number, was: ReadImage | undefined) => ReadImage,
  ): ReadImage {
    const chain: { readonly batch: ChangeBatch; readonly at: number }[] = [];
    for (let row = this.#last.get(key) ?? NONE; row !== NONE; row = this.#earlier[row]!) {
      const found = this.#find(row);
      chain.push(found);
      if (this.#isReset(found.batch, found.at)) break;
    }
    let image = before;
    for (const { batch, at } of chain.toReversed()) image = stateAfter(batch, at, image);
    return image ?? null;
  }

  #take(end: number): void {
    const batch = this.#batches[this.#batch]!;
    for (; this.#row < end; this.#row++) {
      const key = rowKey(batch, this.#row).toString('latin1');
      const row = this.#starts[this.#batch]! + this.#row;
      this.#earlier[row] = this.#last.get(key) ?? NONE;
      this.#last.set(key, row);
    }
  }

  #find(row: number): { readonly batch: ChangeBatch; readonly at: number } {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#starts[middle]! <= row) low = middle;
      else high = middle - 1;
    }
    return { batch: this.#batches[low]!, at: row - this.#starts[low]! };
  }
}
