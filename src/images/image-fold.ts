import {
  Cell,
  isDelete,
  isInsert,
  isUpsert,
  LacksDropped,
  RowOp,
  type Change,
  type ChangeBatch,
} from '../change/change.ts';
import { rowKey } from '../change/row-key.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { ImageMemory, type ImageMemories } from './image-memory.ts';
import { ImageLayout, type RowImage } from './row-image.ts';

/** `after`: the rows of every `after` are whole. `full`: there is what they were before as well. */
export type ImageMode = 'after' | 'full';

/** What is needed before a segment can be folded. */
export interface WantedImages {
  readonly segment: Segment;
  /** By key (latin1): what is remembered of its rows, which may be forgotten while it is folded. */
  readonly known: ReadonlyMap<string, ReadImage>;
  /** What has a lower time than this is in them, and nothing else (kudu-facts 0.4); null: they cannot be read. */
  readonly at: HybridTime | null;
  /** Encoded primary keys of rows that are to be read; mostly none. */
  readonly keys: readonly Buffer[];
}

/** What was read of a row: null where there was none, `lost` where it could not be read. */
export type ReadImage = RowImage | null | 'lost';

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

/** A row of an operation that is stamped ahead of later ones, as the last operation left it. */
interface AheadRow {
  readonly image: ReadImage;
  /** As it was there: it may lie otherwise by now. */
  readonly schema: TableSchema;
  readonly time: HybridTime;
}

/** So many segments after the last one that wanted an image, rows are not remembered any more: it costs those who insert. */
const REMEMBERED_SEGMENTS = 64;

/**
 * Makes the rows of a tablet's operations whole, pure but for what it remembers: says which rows must be read, and folds what
 * each operation sets into what the row was. Of a row that several operations touch the first alone is read for: each later
 * image follows from the one before it and the log.
 */
export class ImageFold {
  readonly #mode: ImageMode;
  readonly #memory: ImageMemory;
  /** Rows of operations that are stamped ahead of later ones: until the log is past that time a read would miss them. */
  readonly #ahead = new Map<string, AheadRow>();
  #schema: TableSchema | null = null;
  #segmentsSinceWanted = REMEMBERED_SEGMENTS;
  /** Of the highest operation that is stamped in order, as far as it was folded. */
  #time: HybridTime | undefined;

  constructor(mode: ImageMode, memories: ImageMemories, time?: HybridTime) {
    this.#mode = mode;
    this.#memory = new ImageMemory(memories);
    this.#time = time;
  }

  /** Nothing of it is remembered any more. */
  close(): void {
    this.#memory.close();
  }

  /**
   * The operations of a read, parted where the schema changes.
   * @param time no operation behind the read has it or a lower one, see {@link TabletPosition.time}
   * @param isCopying rows of a copy among them are some of all, not only of those that are put right
   */
  segmentsOf(changes: readonly Change[], time: HybridTime | undefined, isCopying = false): Segment[] {
    const ahead = aheadOf(changes, time);
    const segments: { schema: TableSchema; batches: ChangeBatch[] }[] = [];
    for (const change of changes) {
      if (change.kind !== 'rows') continue;
      const last = segments.at(-1);
      if (last?.schema === change.schema && last.batches[0]!.copy === change.copy) last.batches.push(change);
      else segments.push({ schema: change.schema, batches: [change] });
    }
    let behind = this.#time;
    if (time !== undefined) this.#time = time;
    return segments.map(({ schema, batches }) => {
      const inOrder = batches.filter((batch) => !ahead.has(batch));
      const at = inOrder[0]?.hybridTime ?? (behind === undefined ? null : behind + 1n);
      behind = inOrder.at(-1)?.hybridTime ?? behind;
      return { schema, batches, ahead, at, isWhole: isCopying && batches[0]!.copy !== null };
    });
  }

  /** Which rows must be read before the segment is folded. */
  wanted(segment: Segment): WantedImages {
    const { schema, batches, at } = segment;
    const known = new Map<string, ReadImage>();
    const keys: Buffer[] = [];
    if (batches[0]!.copy !== null) return { segment, at, known, keys };
    for (const [key, { time }] of this.#ahead) if (at !== null && time < at) this.#ahead.delete(key);
    const isNeeded = batches.some((batch) => this.#wantsAny(batch));
    this.#segmentsSinceWanted = isNeeded ? 0 : this.#segmentsSinceWanted + 1;
    if (schema !== this.#schema) this.#forget(schema);
    else if (!this.#remembers) this.#memory.clear();
    if (!isNeeded) return { segment, at, known, keys };
    const seen = new Set<string>();
    for (const batch of batches)
      for (let row = 0; row < batch.rowCount; row++) {
        const key = rowKey(batch, row);
        const name = key.toString('latin1');
        if (seen.has(name)) continue;
        seen.add(name);
        const image = this.#known(name, schema);
        if (image !== undefined) known.set(name, image);
        else if (this.#wants(batch, row)) keys.push(key);
      }
    return { segment, at, known, keys };
  }

  /**
   * The segment's batches with their images.
   * @param read by key (latin1), what was wanted
   */
  fold({ segment, known }: WantedImages, read: ReadonlyMap<string, ReadImage>): ChangeBatch[] {
    const { batches, ahead } = segment;
    if (batches[0]!.copy !== null) {
      this.#forget(null); // its rows are of another time than the operations before it
      if (segment.isWhole) this.#ahead.clear();
      else this.#forgetAhead(batches);
      return [...batches];
    }
    const images = new Map<string, ReadImage>([...known, ...read]);
    return batches.map((batch) =>
      this.#remembers || this.#ahead.size > 0 || ahead.has(batch)
        ? this.#foldBatch(batch, images, ahead.has(batch))
        : this.#withoutRows(batch),
    );
  }

  get #remembers(): boolean {
    return this.#segmentsSinceWanted < REMEMBERED_SEGMENTS;
  }

  #foldBatch(batch: ChangeBatch, images: Map<string, ReadImage>, isAhead: boolean): ChangeBatch {
    const layout = ImageLayout.of(batch.schema);
    const changes = this.#wantsAny(batch);
    const after: RowImage[] = [];
    const before: (RowImage | null)[] = [];
    let partial: Uint8Array | null = null;
    for (let row = 0; row < batch.rowCount; row++) {
      const key = rowKey(batch, row).toString('latin1');
      const op = batch.ops[row]!;
      let was: ReadImage | undefined;
      if (isInsert(op)) was = null;
      else {
        was = images.get(key);
        // It was applied, so there was a row: what was read is of another moment.
        if (was === null && !isUpsert(op)) was = 'lost';
      }
      const isLost = was === 'lost' || was === undefined;
      const known = isLost ? null : (was as RowImage | null);
      const isMissing = isLost && this.#wants(batch, row);
      const rest = isInsert(op) || (isUpsert(op) && !isLost) ? 'defaults' : 'unknown';
      const now = isDelete(op)
        ? null
        : layout.ofBatch(batch, row, known, rest, op === RowOp.UPSERT_IGNORE && known !== null);
      this.#remember(key, isMissing && !isDelete(op) ? 'lost' : now, images, batch, isAhead);
      if (!changes) continue;
      const lack = isMissing ? 1 : now !== null && layout.lacksColumns(now) ? LacksDropped : 0;
      if (lack !== 0) (partial ??= new Uint8Array(batch.rowCount))[row] = lack;
      after.push(now ?? layout.ofBatch(batch, row, null, 'unknown'));
      before.push(known);
    }
    if (!changes) return this.#withoutRows(batch);
    const packed = layout.pack(after, this.#mode === 'full' ? before : null);
    const { bytes, cells } = packed;
    return { ...batch, rows: bytes, indirect: bytes, cells, autoIncrement: null, before: packed.before, partial };
  }

  /** As it is: no row of it was there before, or it does not matter. */
  #withoutRows(batch: ChangeBatch): ChangeBatch {
    if (this.#mode === 'after') return batch;
    const cells = new Int32Array(batch.cells.length);
    return { ...batch, before: { present: new Uint8Array(batch.rowCount), cells } };
  }

  #known(key: string, schema: TableSchema): ReadImage | undefined {
    const ahead = this.#ahead.get(key);
    if (!ahead) return this.#memory.get(key);
    const { image } = ahead;
    if (image === null || image === 'lost' || ahead.schema === schema) return image;
    return ImageLayout.of(schema).ofImage(image, ahead.schema);
  }

  #remember(
    key: string,
    image: ReadImage,
    images: Map<string, ReadImage>,
    { schema, hybridTime }: ChangeBatch,
    isAhead: boolean,
  ): void {
    images.set(key, image);
    if (image === 'lost') this.#memory.delete(key);
    else if (this.#remembers) this.#memory.set(key, image);
    const time = isAhead ? hybridTime : this.#ahead.get(key)?.time;
    if (time !== undefined) this.#ahead.set(key, { image, schema, time });
  }

  /** Images lie as a schema has them. What was stamped ahead stays: no scan shows it yet. */
  #forget(schema: TableSchema | null): void {
    this.#memory.clear();
    this.#schema = schema;
  }

  /** Rows that are put right: what was stamped ahead of them comes again behind them. */
  #forgetAhead(batches: readonly ChangeBatch[]): void {
    if (this.#ahead.size === 0) return;
    for (const batch of batches)
      for (let row = 0; row < batch.rowCount; row++) this.#ahead.delete(rowKey(batch, row).toString('latin1'));
  }

  #wantsAny(batch: ChangeBatch): boolean {
    for (let row = 0; row < batch.rowCount; row++) if (this.#wants(batch, row)) return true;
    return false;
  }

  /** Whether what the row was before must be known. */
  #wants(batch: ChangeBatch, row: number): boolean {
    const op = batch.ops[row]!;
    if (isInsert(op)) return false;
    if (this.#mode === 'full') return true;
    return !isDelete(op) && !setsAll(batch, row, op === RowOp.UPSERT_IGNORE);
  }
}

/** Whether an operation sets every column, and takes effect on each. */
function setsAll({ cells, schema: { columns } }: ChangeBatch, row: number, keepsImmutable: boolean): boolean {
  const base = row * columns.length;
  for (let place = 0; place < columns.length; place++)
    if (cells[base + place] === Cell.UNSET || (keepsImmutable && columns[place]!.immutable)) return false;
  return true;
}

/** Writes that wait for their commit are stamped ahead of those after them: nothing that is in order has a later time behind it. */
function aheadOf(changes: readonly Change[], time: HybridTime | undefined): ReadonlySet<ChangeBatch> {
  const ahead = new Set<ChangeBatch>();
  let lowestLater = time ?? 0n; // without one there was none in order yet
  for (const change of changes.toReversed()) {
    if (change.kind !== 'rows' || change.copy !== null) continue;
    if (change.hybridTime > lowestLater) ahead.add(change);
    else lowestLater = change.hybridTime;
  }
  return ahead;
}
