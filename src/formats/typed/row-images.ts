import type { ChangeBatch } from '../../change/change.ts';
import type { CellCodec } from '../json-cells.ts';

/** How many bytes the columns of a row take at most. */
export class RowRoom {
  readonly #width: number;
  readonly #fixedBytes: number;
  readonly #varLength: readonly { readonly place: number; readonly maxBytesOf: (valueBytes: number) => number }[];

  /** @param overhead of a column, beside its value: a tag, the branch of a union */
  constructor(codecs: readonly CellCodec[], defaults: readonly Buffer[], overhead: number) {
    this.#width = codecs.length;
    this.#fixedBytes = codecs.reduce(
      (sum, { maxBytes }, place) => sum + overhead + Math.max(maxBytes ?? 0, defaults[place]!.length),
      0,
    );
    this.#varLength = codecs.flatMap(({ maxBytes, maxBytesOf }, place) =>
      maxBytes === null ? [{ place, maxBytesOf }] : [],
    );
  }

  /** Key, `before` and `after` of a row together. */
  of(batch: ChangeBatch, row: number): number {
    const { before, cells } = batch;
    const images = 2 * this.#ofImage(batch, cells, row);
    // The cells of a row that there was not before are nothing.
    return before?.present[row] === 1 ? images + this.#ofImage(batch, before.cells, row) : images;
  }

  #ofImage({ rows }: ChangeBatch, cells: Int32Array, row: number): number {
    let bytes = this.#fixedBytes;
    const base = row * this.#width;
    for (const { place, maxBytesOf } of this.#varLength) {
      const cell = cells[base + place]!;
      if (cell >= 0) bytes += maxBytesOf(rows.readUInt32LE(cell + 8));
    }
    return bytes;
  }
}
