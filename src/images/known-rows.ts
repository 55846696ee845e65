import type { ChangeBatch } from '../change/change.ts';
import { rowKey } from '../change/row-key.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { ImageMemory, type ImageMemories } from './image-memory.ts';
import { ImageLayout, type RowImage } from './row-image.ts';

/** What was read of a row: null where there was none, `lost` where it could not be read. */
export type ReadImage = RowImage | null | 'lost';

/** A row of an operation that is stamped ahead of later ones, as the last operation left it. */
interface AheadRow {
  readonly image: ReadImage;
  /** As it was there: it may lie otherwise by now. */
  readonly schema: TableSchema;
  readonly time: HybridTime;
}

/** So many segments after the last one that wanted an image, rows are not remembered any more: it costs those who insert. */
const REMEMBERED_SEGMENTS = 64;

/** What is known of a tablet's rows behind the operation that was folded last, without a look at the table. */
export class KnownRows {
  readonly #memory: ImageMemory;
  /** Rows of operations that are stamped ahead of later ones: until the log is past that time a read would miss them. */
  readonly #ahead = new Map<string, AheadRow>();
  #schema: TableSchema | null = null;
  #segmentsSinceWanted = REMEMBERED_SEGMENTS;

  constructor(memories: ImageMemories) {
    this.#memory = new ImageMemory(memories);
  }

  /** Whether anything is remembered but what must be. */
  get remembers(): boolean {
    return this.#segmentsSinceWanted < REMEMBERED_SEGMENTS;
  }

  get hasAhead(): boolean {
    return this.#ahead.size > 0;
  }

  /**
   * A segment of the log is about to be folded.
   * @param at the rows of this time are what was made before it
   * @param isNeeded whether it wants images
   */
  beginSegment(schema: TableSchema, at: HybridTime | null, isNeeded: boolean): void {
    for (const [key, { time }] of this.#ahead) if (at !== null && time < at) this.#ahead.delete(key);
    this.#segmentsSinceWanted = isNeeded ? 0 : this.#segmentsSinceWanted + 1;
    if (schema !== this.#schema) this.#forget(schema);
    else if (!this.remembers) this.#memory.clear();
  }

  /** Rows of a copy came, which are of another time than the operations before them. @param isWhole see {@link Segment.isWhole} */
  noteCopy(batches: readonly ChangeBatch[], isWhole: boolean): void {
    this.#forget(null);
    if (isWhole) this.#ahead.clear();
    if (!this.hasAhead) return;
    // Rows that are put right: what was stamped ahead of them comes again behind them.
    for (const batch of batches)
      for (let row = 0; row < batch.rowCount; row++) this.#ahead.delete(rowKey(batch, row).toString('latin1'));
  }

  /** Undefined where it is not known. */
  get(key: string, schema: TableSchema): ReadImage | undefined {
    const ahead = this.#ahead.get(key);
    if (!ahead) return this.#memory.get(key);
    const { image } = ahead;
    if (image === null || image === 'lost' || ahead.schema === schema) return image;
    return ImageLayout.of(schema).ofImage(image, ahead.schema);
  }

  /** As an operation left it. @param isAhead whether that is stamped ahead of later ones */
  set(key: string, image: ReadImage, { schema, hybridTime }: ChangeBatch, isAhead: boolean): void {
    if (image === 'lost') this.#memory.delete(key);
    else if (this.remembers) this.#memory.set(key, image);
    const time = isAhead ? hybridTime : this.#ahead.get(key)?.time;
    if (time !== undefined) this.#ahead.set(key, { image, schema, time });
  }

  close(): void {
    this.#memory.close();
  }

  /** Images lie as a schema has them. What was stamped ahead stays: no scan shows it yet. */
  #forget(schema: TableSchema | null): void {
    this.#memory.clear();
    this.#schema = schema;
  }
}
