import { isDelete, isInsert, isUpsert, Cell, LacksDropped, RowOp, type ChangeBatch } from '../change/change.ts';
import { rowKey } from '../change/row-key.ts';
import { sliceRows } from '../change/slice-rows.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { KnownRows, ReadImage } from './known-rows.ts';
import { ImageLayout, type RowImage } from './row-image.ts';
import { TouchedRows } from './touched-rows.ts';

/** `after`: the rows of every `after` are whole. `full`: there is what they were before as well. */
export type ImageMode = 'after' | 'full';

/** Operations of one schema, in the order of the log. */
export interface Segment {
  readonly schema: TableSchema;
  readonly batches: readonly ChangeBatch[];
  /** Those of them that are stamped ahead of later operations (kudu-facts 5.9). */
  readonly ahead: ReadonlySet<ChangeBatch>;
  /**
   * The rows of this time are what all operations before the segment made, those that are stamped ahead of it left out; null:
   * there was no operation in order yet, so no time is known to be before the segment.
   */
  readonly at: HybridTime | null;
  /** Rows of a copy of all: it says what there is, and what was stamped ahead of it comes again behind it. */
  readonly isWhole: boolean;
}

/** What bounds the memory that images take while a segment is folded, in bytes. */
export interface FoldLimits {
  /** Of what is looked up at a time: more is better for the table, which is read once for it. */
  readonly window: number;
  /** Of what is handed on at a time. */
  readonly slice: number;
}

export const FOLD_LIMITS: FoldLimits = { window: 4 << 20, slice: 1 << 20 };

/** Some rows of a batch, in their order, with their images. */
export interface FoldedRows {
  readonly of: ChangeBatch;
  readonly batch: ChangeBatch;
  /** What was made for it, beside the log. */
  readonly bytes: number;
}

/** Of a row that nothing is known of yet. */
const FIRST_IMAGE_BYTES = 1024;

/**
 * One segment of the log on its way to whole rows, pure but for what is remembered: it says which rows must be read
 * ({@link wanted}), is told them ({@link noteRead}), and hands rows on, slice by slice ({@link next}), until it {@link isDone}.
 * Memory is bounded however many rows there are: they are looked up by windows, and what a row was that an earlier window had
 * touched is, where it is remembered no more, read again as it was before the segment, and folded again from there.
 */
export class SegmentFold {
  readonly #segment: Segment;
  readonly #mode: ImageMode;
  readonly #known: KnownRows;
  readonly #limits: FoldLimits;
  readonly #layout: ImageLayout;
  /** Whether any row of a batch wants to know what was there; by batch. */
  readonly #wantsAny: readonly boolean[];
  readonly #isNeeded: boolean;
  /** Behind what was handed on. */
  #batch = 0;
  #row = 0;
  /** The rows before this one were looked up. */
  #end: RowAt = { batch: 0, row: 0 };
  /** By key (latin1), of rows of the window: as the last row that was folded left them, or as they were before. */
  #current = new Map<string, ReadImage>();
  /** Of a window, in the order in which they are wanted: keys that are to be read, and the first rows that need them. */
  #toRead: { readonly name: string; readonly at: RowAt; readonly isTouched: boolean }[] = [];
  #readCount = 0;
  #windowBytes = 0;
  #imageBytes = FIRST_IMAGE_BYTES;
  #touched: TouchedRows | null = null;

  constructor(segment: Segment, mode: ImageMode, known: KnownRows, limits: FoldLimits) {
    this.#segment = segment;
    this.#mode = mode;
    this.#known = known;
    this.#limits = limits;
    this.#layout = ImageLayout.of(segment.schema);
    const { batches, schema, at, isWhole } = segment;
    const isCopy = batches[0]!.copy !== null;
    this.#wantsAny = batches.map((batch) => !isCopy && anyRow(batch, (row) => this.#wants(batch, row)));
    this.#isNeeded = this.#wantsAny.includes(true);
    if (isCopy) known.noteCopy(batches, isWhole);
    else known.beginSegment(schema, at, this.#isNeeded);
  }

  get segment(): Segment {
    return this.#segment;
  }

  get isDone(): boolean {
    return this.#batch === this.#segment.batches.length;
  }

  /** Encoded primary keys of rows that are to be read before the next ones are folded; mostly none. */
  wanted(): readonly Buffer[] {
    const keys: Buffer[] = [];
    const { batch, row } = this.#end;
    const isOpen = this.#batch < batch || (this.#batch === batch && this.#row < row);
    if (this.#isNeeded && !isOpen && !this.isDone) this.#openWindow(keys);
    return keys;
  }

  /**
   * What was read of the next of the keys that are wanted.
   * @returns false where that is enough for now: what was not read is wanted again
   */
  noteRead(image: ReadImage): boolean {
    const { name, isTouched } = this.#toRead[this.#readCount++]!;
    this.#current.set(name, isTouched ? this.#touched!.refold(name, image, this.#stateAfter) : image);
    const bytes = sizeOf(image);
    this.#windowBytes += bytes;
    this.#imageBytes += (bytes - this.#imageBytes) / 8;
    const next = this.#toRead[this.#readCount];
    if (!next || this.#windowBytes < this.#limits.window) return true;
    this.#end = next.at; // behind the row that needed this one
    return false;
  }

  /** The next rows that are whole. */
  next(): FoldedRows {
    const { batches, ahead } = this.#segment;
    const [place, from] = [this.#batch, this.#row];
    const batch = batches[place]!;
    const isAhead = ahead.has(batch);
    const tracks = batch.copy === null && (this.#known.remembers || this.#known.hasAhead || isAhead);
    const end = !this.#isNeeded || this.#end.batch > place ? batch.rowCount : this.#end.row;
    const folded = this.#wantsAny[place]
      ? this.#withImages(batch, from, end, isAhead)
      : this.#asItIs(batch, from, end, tracks, isAhead);
    this.#row = folded.to;
    if (this.#row === batch.rowCount) [this.#batch, this.#row] = [place + 1, 0];
    return { of: batch, batch: folded.batch, bytes: folded.bytes };
  }

  /** Rows up to this one were handed on already, by somebody before. */
  skip(isPast: (batch: ChangeBatch, row: number) => boolean): void {
    const { batches } = this.#segment;
    if (batches[0]!.copy !== null) return;
    let [place, row] = [0, 0];
    const isShipped = (batch: ChangeBatch): boolean => {
      for (row = 0; row < batch.rowCount; row++) if (!isPast(batch, row)) return false;
      return true;
    };
    while (place < batches.length && isShipped(batches[place]!)) [place, row] = [place + 1, 0];
    [this.#batch, this.#row] = [place, place < batches.length ? row : 0];
    this.#end = { batch: this.#batch, row: this.#row };
  }

  #openWindow(keys: Buffer[]): void {
    const { batches, schema } = this.#segment;
    const { window } = this.#limits;
    const isFirst = this.#batch === 0 && this.#row === 0;
    if (!isFirst) {
      this.#touched ??= new TouchedRows(batches, (batch, row) => this.#isReset(batch, row));
      this.#touched.upTo(this.#batch, this.#row);
    }
    this.#trim();
    [this.#toRead, this.#readCount, this.#windowBytes] = [[], 0, 0];
    const seen = new Set<string>();
    let bytes = 0;
    let [place, row] = [this.#batch, this.#row];
    for (; place < batches.length && bytes < window; [place, row] = [place + 1, 0]) {
      const batch = batches[place]!;
      const rowBytes = (batch.rows.length + batch.indirect.length) / batch.rowCount;
      for (; row < batch.rowCount && bytes < window; row++) {
        bytes += rowBytes;
        const key = rowKey(batch, row);
        const name = key.toString('latin1');
        if (seen.has(name)) continue;
        seen.add(name);
        let image = this.#current.get(name);
        if (image === undefined) image = this.#known.get(name, schema);
        if (image !== undefined) {
          this.#current.set(name, image);
          bytes += sizeOf(image);
        } else if (this.#wants(batch, row)) {
          const touched = this.#touched?.get(name) ?? null;
          bytes += this.#imageBytes;
          if (touched === 'known') this.#current.set(name, this.#touched!.refold(name, undefined, this.#stateAfter));
          else {
            keys.push(key);
            this.#toRead.push({ name, at: { batch: place, row }, isTouched: touched !== null });
          }
        }
      }
      if (row < batch.rowCount) break;
    }
    this.#end = { batch: place, row };
  }

  /** What the last windows left goes but for the newest of it. */
  #trim(): void {
    let bytes = 0;
    for (const image of this.#current.values()) bytes += sizeOf(image);
    for (const [name, image] of this.#current) {
      if (bytes <= this.#limits.window / 2) break;
      this.#current.delete(name);
      bytes -= sizeOf(image);
    }
  }

  #withImages(batch: ChangeBatch, from: number, end: number, isAhead: boolean): Slice {
    const layout = this.#layout;
    const isFull = this.#mode === 'full';
    const cellBytes = 4 * layout.width * (isFull ? 2 : 1);
    const after: RowImage[] = [];
    const before: (RowImage | null)[] = [];
    const lacks: number[] = [];
    let [row, bytes] = [from, 0];
    for (; row < end && bytes < this.#limits.slice; row++) {
      const key = rowKey(batch, row).toString('latin1');
      const was = wasBefore(batch, row, this.#current.get(key));
      const now = this.#imageAfter(batch, row, was);
      const isMissing = !isKnown(was) && this.#wants(batch, row);
      this.#note(key, isMissing && now !== null ? 'lost' : now, batch, isAhead);
      lacks.push(isMissing ? 1 : now !== null && layout.lacksColumns(now) ? LacksDropped : 0);
      const shown = now ?? layout.ofBatch(batch, row, null, 'unknown');
      after.push(shown);
      before.push(isKnown(was) ? was : null);
      bytes += shown.length + cellBytes + (isFull && isKnown(was) ? sizeOf(was) : 0);
    }
    const { bytes: rows, cells, before: packedBefore } = layout.pack(after, isFull ? before : null);
    const partial = lacks.some((lack) => lack !== 0) ? Uint8Array.from(lacks) : null;
    const part = row - from === batch.rowCount ? batch : sliceRows(batch, from, row);
    const whole = { ...part, rows, indirect: rows, cells, autoIncrement: null, before: packedBefore, partial };
    return { batch: whole, bytes, to: row };
  }

  /** No row of it was there before, or it does not matter. */
  #asItIs(batch: ChangeBatch, from: number, end: number, tracks: boolean, isAhead: boolean): Slice {
    if (tracks)
      for (let row = from; row < end; row++) {
        const key = rowKey(batch, row).toString('latin1');
        this.#note(key, this.#stateAfter(batch, row, this.#current.get(key)), batch, isAhead);
      }
    const part = end - from === batch.rowCount ? batch : sliceRows(batch, from, end);
    if (this.#mode === 'after' || batch.copy !== null) return { batch: part, bytes: 0, to: end };
    const before = { present: new Uint8Array(part.rowCount), cells: new Int32Array(part.cells.length) };
    return { batch: { ...part, before }, bytes: before.cells.byteLength, to: end };
  }

  #note(key: string, image: ReadImage, batch: ChangeBatch, isAhead: boolean): void {
    if (this.#isNeeded) {
      this.#current.delete(key); // behind those that were touched longer ago
      this.#current.set(key, image);
    }
    this.#known.set(key, image, batch, isAhead);
  }

  /** What is known of a row behind an operation. @param was before it; undefined where nobody has asked */
  readonly #stateAfter = (batch: ChangeBatch, row: number, was: ReadImage | undefined): ReadImage => {
    const before = wasBefore(batch, row, was);
    const isMissing = !isKnown(before) && this.#wants(batch, row);
    return isMissing && !isDelete(batch.ops[row]!) ? 'lost' : this.#imageAfter(batch, row, before);
  };

  /** The row behind an operation, as far as it is known; null: it is deleted. */
  #imageAfter(batch: ChangeBatch, row: number, was: ReadImage | undefined): RowImage | null {
    const op = batch.ops[row]!;
    if (isDelete(op)) return null;
    const known = isKnown(was) ? was : null;
    const rest = isInsert(op) || (isUpsert(op) && isKnown(was)) ? 'defaults' : 'unknown';
    return this.#layout.ofBatch(batch, row, known, rest, op === RowOp.UPSERT_IGNORE && known !== null);
  }

  /** Whether what the row was before must be known. */
  #wants(batch: ChangeBatch, row: number): boolean {
    const op = batch.ops[row]!;
    if (isInsert(op)) return false;
    if (this.#mode === 'full') return true;
    return !isDelete(op) && !setsAll(batch, row, op === RowOp.UPSERT_IGNORE);
  }

  /** Whether what the row is behind an operation does not hang on what it was before. */
  #isReset(batch: ChangeBatch, row: number): boolean {
    return isDelete(batch.ops[row]!) || !this.#wants(batch, row);
  }
}

/** A row of a segment. */
interface RowAt {
  readonly batch: number;
  readonly row: number;
}

interface Slice {
  readonly batch: ChangeBatch;
  readonly bytes: number;
  /** Behind its last row. */
  readonly to: number;
}

function isKnown(image: ReadImage | undefined): image is RowImage | null {
  return image !== undefined && image !== 'lost';
}

/** Of a row that was applied. */
function wasBefore(batch: ChangeBatch, row: number, was: ReadImage | undefined): ReadImage | undefined {
  const op = batch.ops[row]!;
  if (isInsert(op)) return null;
  // It was applied, so there was a row: what was read is of another moment.
  return was === null && !isUpsert(op) ? 'lost' : was;
}

/** What it takes beside its key, about. */
function sizeOf(image: ReadImage): number {
  return image === null || image === 'lost' ? 0 : image.length;
}

function anyRow({ rowCount }: ChangeBatch, is: (row: number) => boolean): boolean {
  for (let row = 0; row < rowCount; row++) if (is(row)) return true;
  return false;
}

/** Whether an operation sets every column, and takes effect on each. */
function setsAll({ cells, schema: { columns } }: ChangeBatch, row: number, keepsImmutable: boolean): boolean {
  const base = row * columns.length;
  for (let place = 0; place < columns.length; place++)
    if (cells[base + place] === Cell.UNSET || (keepsImmutable && columns[place]!.immutable)) return false;
  return true;
}
