import { Cell, type ChangeBatch, type RowsBefore } from '../change/change.ts';
import { cellBytes, isVarLength } from '../kudu/cell-codec.ts';
import type { RowBlock } from '../kudu/row-block.ts';
import type { TableSchema } from '../kudu/schema.ts';

/**
 * A row by itself, as one run of bytes: a flag for each column; the cells of the columns one after another, as a write has
 * them; the values of var-length columns, whose cells say where in the image they begin.
 */
export type RowImage = Buffer;

/** What an image says of a column. */
const VALUE = 0;
const NULL = 1;
/** It cannot be known: the column was dropped since, or the row could not be read. */
const UNKNOWN = 2;

/** Cells are offsets of 31 bits. */
const MAX_PACKED_BYTES = 0x7fff_ffff;

/** What becomes of the columns that an operation left alone, where there is no row that has them. */
export type Rest = 'defaults' | 'unknown';

const layouts = new WeakMap<TableSchema, ImageLayout>();

/** How the images of a schema's rows lie. */
export class ImageLayout {
  readonly width: number;
  readonly #offsets: Int32Array;
  readonly #sizes: Uint8Array;
  readonly #isVar: readonly boolean[];
  readonly #immutable: readonly boolean[];
  readonly #defaults: readonly (Buffer | null)[];
  readonly #nullable: readonly boolean[];
  readonly #fixedBytes: number;
  readonly #columns: TableSchema['columns'];

  private constructor({ columns }: TableSchema) {
    this.#columns = columns;
    this.width = columns.length;
    this.#sizes = Uint8Array.from(columns, ({ type }) => cellBytes(type));
    let at = columns.length;
    this.#offsets = Int32Array.from(this.#sizes, (size) => (at += size) - size);
    this.#fixedBytes = at;
    this.#isVar = columns.map(({ type }) => isVarLength(type));
    this.#immutable = columns.map(({ immutable }) => immutable);
    this.#defaults = columns.map(({ writeDefault }) => writeDefault);
    this.#nullable = columns.map(({ nullable }) => nullable);
  }

  static of(schema: TableSchema): ImageLayout {
    let layout = layouts.get(schema);
    if (!layout) layouts.set(schema, (layout = new ImageLayout(schema)));
    return layout;
  }

  /**
   * A row as a batch has it.
   * @param before has the columns that the operation left alone; null: they are what `rest` says
   * @param keepsImmutable columns that may not change are left alone, whatever the operation says
   */
  ofBatch(batch: ChangeBatch, row: number, before: RowImage | null, rest: Rest, keepsImmutable = false): RowImage {
    const { cells, rows, indirect } = batch;
    const base = row * this.width;
    const cellOf = (place: number): number =>
      keepsImmutable && this.#immutable[place] === true ? Cell.UNSET : cells[base + place]!;
    let bytes = this.#fixedBytes;
    for (let place = 0; place < this.width; place++) {
      if (this.#isVar[place] !== true) continue;
      const cell = cellOf(place);
      if (cell >= 0) bytes += rows.readUInt32LE(cell + 8);
      else if (before !== null && cell === Cell.UNSET) bytes += this.#valueOf(before, place)?.length ?? 0;
      else bytes += this.#defaults[place]?.length ?? 0;
    }
    const image = Buffer.allocUnsafe(bytes);
    let at = this.#fixedBytes;
    for (let place = 0; place < this.width; place++) {
      const cell = cellOf(place);
      if (cell >= 0) {
        if (this.#isVar[place] !== true) this.#putFixed(image, place, rows, cell);
        else at = this.#putVar(image, place, at, indirect, rows.readUInt32LE(cell), rows.readUInt32LE(cell + 8));
      } else if (cell === Cell.NULL) image[place] = NULL;
      else if (cell === Cell.AUTO) this.#putAuto(image, place, batch.autoIncrement![row]!);
      else if (before !== null && cell === Cell.UNSET) at = this.#putAgain(image, place, at, before);
      else if (cell === Cell.DEFAULT || rest === 'defaults') at = this.#putDefault(image, place, at);
      else image[place] = UNKNOWN;
    }
    return image;
  }

  /** Whether a column of it cannot be known. */
  lacksColumns(image: RowImage): boolean {
    for (let place = 0; place < this.width; place++) if (image[place] === UNKNOWN) return true;
    return false;
  }

  /** A row as a scan answered it. @param places for each column its place in the block; -1: it cannot be read any more */
  ofBlock(block: RowBlock, row: number, places: Int32Array): RowImage {
    return this.#ofValues(Array.from(places, (place) => (place < 0 ? undefined : block.bytes(row, place))));
  }

  /** A row that lies as an earlier schema has it, under which no operation touched it since: columns are known by their ids. */
  ofImage(image: RowImage, earlier: TableSchema): RowImage {
    const layout = ImageLayout.of(earlier);
    return this.#ofValues(
      this.#columns.map(({ id, readDefault, nullable }) => {
        const place = earlier.columns.findIndex((column) => column.id === id);
        return place < 0 ? (readDefault ?? (nullable ? null : undefined)) : layout.#bytesOf(image, place);
      }),
    );
  }

  /** @param values by column; undefined: it cannot be known */
  #ofValues(values: readonly (Buffer | null | undefined)[]): RowImage {
    let bytes = this.#fixedBytes;
    for (let place = 0; place < this.width; place++)
      if (this.#isVar[place] === true) bytes += values[place]?.length ?? 0;
    const image = Buffer.allocUnsafe(bytes);
    let at = this.#fixedBytes;
    for (let place = 0; place < this.width; place++) {
      const value = values[place];
      if (value === undefined || value === null) image[place] = value === null ? NULL : UNKNOWN;
      else if (this.#isVar[place] === true) at = this.#putVar(image, place, at, value, 0, value.length);
      else this.#putFixed(image, place, value, 0);
    }
    return image;
  }

  /**
   * Images behind one another, as the cells of a batch: `rows` and `indirect` of it are the bytes that come out.
   * @throws {RangeError} they are more than cells can say where they are
   */
  pack(after: readonly RowImage[], before: readonly (RowImage | null)[] | null): PackedImages {
    let bytes = 0;
    for (const image of after) bytes += image.length;
    for (const image of before ?? []) bytes += image?.length ?? 0;
    if (bytes > MAX_PACKED_BYTES)
      throw new RangeError(`the rows of one operation are ${bytes} bytes with their images: more than can be shipped`);
    const out = Buffer.allocUnsafeSlow(bytes);
    const cells = new Int32Array(after.length * this.width);
    let at = 0;
    for (const [row, image] of after.entries()) at = this.#packOne(out, at, image, cells, row);
    if (before === null) return { bytes: out, cells, before: null };
    const present = new Uint8Array(after.length);
    const cellsBefore = new Int32Array(after.length * this.width).fill(Cell.UNSET);
    for (const [row, image] of before.entries()) {
      if (image === null) continue;
      present[row] = 1;
      at = this.#packOne(out, at, image, cellsBefore, row);
    }
    return { bytes: out, cells, before: { present, cells: cellsBefore } };
  }

  #packOne(out: Buffer, at: number, image: RowImage, cells: Int32Array, row: number): number {
    out.set(image, at);
    const base = row * this.width;
    for (let place = 0; place < this.width; place++) {
      const flag = image[place]!;
      const cell = at + this.#offsets[place]!;
      cells[base + place] = flag === VALUE ? cell : flag === NULL ? Cell.NULL : Cell.UNSET;
      if (flag === VALUE && this.#isVar[place] === true) out.writeUInt32LE(at + out.readUInt32LE(cell), cell);
    }
    return at + image.length;
  }

  #putFixed(image: RowImage, place: number, from: Buffer, cell: number): void {
    image[place] = VALUE;
    const at = this.#offsets[place]!;
    for (let i = 0; i < this.#sizes[place]!; i++) image[at + i] = from[cell + i]!;
  }

  #putVar(image: RowImage, place: number, at: number, from: Buffer, start: number, length: number): number {
    image[place] = VALUE;
    const cell = this.#offsets[place]!;
    image.writeUInt32LE(at, cell);
    image.writeUInt32LE(0, cell + 4);
    image.writeUInt32LE(length, cell + 8);
    image.writeUInt32LE(0, cell + 12);
    return at + from.copy(image, at, start, start + length);
  }

  #putAuto(image: RowImage, place: number, value: bigint): void {
    image[place] = VALUE;
    image.writeBigInt64LE(value, this.#offsets[place]);
  }

  #putAgain(image: RowImage, place: number, at: number, from: RowImage): number {
    image[place] = from[place]!;
    if (from[place] !== VALUE) return at;
    const cell = this.#offsets[place]!;
    if (this.#isVar[place] === true)
      return this.#putVar(image, place, at, from, from.readUInt32LE(cell), from.readUInt32LE(cell + 8));
    this.#putFixed(image, place, from, cell);
    return at;
  }

  #putDefault(image: RowImage, place: number, at: number): number {
    const value = this.#defaults[place] ?? null;
    if (value === null) {
      image[place] = this.#nullable[place] === true ? NULL : UNKNOWN;
      return at;
    }
    if (this.#isVar[place] === true) return this.#putVar(image, place, at, value, 0, value.length);
    this.#putFixed(image, place, value, 0);
    return at;
  }

  #bytesOf(image: RowImage, place: number): Buffer | null | undefined {
    if (image[place] !== VALUE) return image[place] === NULL ? null : undefined;
    const at = this.#offsets[place]!;
    return this.#isVar[place] === true ? this.#valueOf(image, place) : image.subarray(at, at + this.#sizes[place]!);
  }

  #valueOf(image: RowImage, place: number): Buffer | null {
    if (image[place] !== VALUE) return null;
    const cell = this.#offsets[place]!;
    const start = image.readUInt32LE(cell);
    return image.subarray(start, start + image.readUInt32LE(cell + 8));
  }
}

export interface PackedImages {
  readonly bytes: Buffer;
  readonly cells: Int32Array;
  readonly before: RowsBefore | null;
}
