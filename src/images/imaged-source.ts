import { isDelete, type Change, type ChangeBatch } from '../change/change.ts';
import type { TabletPosition } from '../change/position.ts';
import { SpoorError } from '../errors.ts';
import { pickRows } from '../change/slice-rows.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { ChangeRead, ChangeSource } from '../source/change-source.ts';
import type { TableCopier } from '../source/table-copier.ts';
import { asError } from '../util/as-error.ts';
import type { Logger } from '../util/logger.ts';
import { CurrentWait, type Wait } from '../util/waits.ts';
import { ImageFold, type ImageMode, type ReadImage, type WantedImages } from './image-fold.ts';
import type { ImageMemories } from './image-memory.ts';
import { ImageLayout } from './row-image.ts';

export interface ImagedSourceOptions {
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  readonly mode: ImageMode;
  /** Where the source begins. */
  readonly from: TabletPosition;
  /** The resync that was asked for last: until it has begun, all rows are still to be copied. */
  readonly resync: string | null;
  readonly copier: Pick<TableCopier, 'rows'>;
  readonly memories: ImageMemories;
  /**
   * Whether a row that cannot be read any more may go out as the log has it. Else it is an error, or left out where a copy of all
   * rows comes behind it.
   */
  readonly allowsPartial: boolean;
  /** Whether the tablet was dropped, so that none of its rows can be read. */
  readonly isDropped: (signal: AbortSignal) => Promise<boolean>;
  readonly logger: Logger;
}

/**
 * The changes of a tablet with whole rows: what the log lacks is read from the table as it was just before the operation.
 * Order, positions and everything else are those of the source behind it.
 */
export class ImagedSource implements ChangeSource {
  readonly #source: ChangeSource;
  readonly #options: ImagedSourceOptions;
  readonly #fold: ImageFold;
  readonly #abort = new AbortController();
  readonly #wait = new CurrentWait();
  /** Behind the last read. */
  #position: TabletPosition;
  /** Of the last rows for which images were made, what those took beside the log, on average. */
  #bytesPerRow = 0;
  /** Whether it has been told that rows are not whole: once is enough. */
  #hasTold = false;

  constructor(source: ChangeSource, options: ImagedSourceOptions) {
    this.#source = source;
    this.#options = options;
    this.#position = options.from;
    this.#fold = new ImageFold(options.mode, options.memories, options.from.time);
  }

  get committed(): OpId {
    return this.#source.committed;
  }

  get copyRows(): number | null {
    return this.#source.copyRows ?? null;
  }

  get takesTurn(): boolean {
    return this.#source.takesTurn ?? false;
  }

  /** What images take beside the log, a row: a read is to be no larger than memory has room for. */
  get bytesPerRow(): number {
    return this.#bytesPerRow;
  }

  get holdsRoom(): boolean {
    return this.#source.holdsRoom ?? false;
  }

  get waits(): Wait | null {
    return this.#wait.now ?? this.#source.waits ?? null;
  }

  async next(): Promise<ChangeRead | { readonly kind: 'gone' }> {
    const read = await this.#source.next();
    return read.kind === 'gone' ? read : this.#whole(read);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the source was closed'));
    this.#fold.close();
    await this.#source[Symbol.asyncDispose]();
  }

  async #whole(read: ChangeRead): Promise<ChangeRead> {
    const { resync } = this.#options;
    const isCopied = resync !== null && this.#position.resync !== resync;
    this.#position = read.position;
    const { time, copy } = read.position;
    const folded = new Map<Change, ChangeBatch>();
    let more = 0;
    for (const segment of this.#fold.segmentsOf(read.changes, time, copy !== undefined)) {
      const wanted = this.#fold.wanted(segment);
      const { images, lost } = wanted.keys.length > 0 ? await this.#read(wanted, read.position) : NOTHING;
      for (const [i, batch] of this.#fold.fold(wanted, images).entries()) {
        const was = segment.batches[i]!;
        folded.set(was, batch.partial ? this.#partial(batch, isCopied, lost) : batch);
        if (batch.rows === was.rows) continue;
        const bytes = batch.rows.length + batch.cells.byteLength + (batch.before?.cells.byteLength ?? 0);
        more += bytes;
        this.#bytesPerRow = bytes / Math.max(1, batch.rowCount);
      }
    }
    if (folded.size === 0) return read;
    const changes = read.changes.map((change) => folded.get(change) ?? change);
    return { ...read, changes, bytes: read.bytes + more };
  }

  /** What becomes of a batch of which rows are not whole. @throws {SpoorError} SPOOR_IMAGE_LOST where they must be */
  #partial(batch: ChangeBatch, isCopied: boolean, lost: unknown): ChangeBatch {
    const { allowsPartial, tablet, logger } = this.#options;
    const { opId, partial } = batch;
    // What was dropped since is null where a format has a schema, as it is in the table soon after.
    if (!partial!.includes(1)) return allowsPartial ? batch : { ...batch, partial: null };
    const reason = lost === null ? 'the table has no such row at that time' : asError(lost).message;
    if (!allowsPartial && !isCopied)
      throw new SpoorError(
        'SPOOR_IMAGE_LOST',
        `rows of ${batch.tablet.tableName} cannot be read as they were before operation ${formatOpId(opId)}: ${reason}`,
        { tabletId: tablet.tabletId },
        lost,
      );
    const what = allowsPartial ? 'rows are shipped as the log has them' : 'rows are left to the copy that follows';
    if (!this.#hasTold)
      logger.warn({ reason, opId: formatOpId(opId) }, `${what}: what they were cannot be read any more`);
    this.#hasTold = true;
    if (allowsPartial) return batch;
    // The copy says nothing of rows that are not there: their deletes go before it, with the key alone where no more is known.
    return { ...pickRows(batch, (row) => partial![row] !== 1 || isDelete(batch.ops[row]!)), partial: null };
  }

  async #read(
    { segment: { schema }, at, keys }: WantedImages,
    { schemaVersion }: TabletPosition,
  ): Promise<{ readonly images: ReadonlyMap<string, ReadImage>; readonly lost: unknown }> {
    const { tablet, copier } = this.#options;
    const layout = ImageLayout.of(schema);
    const images = new Map<string, ReadImage>();
    const { signal } = this.#abort;
    const lost = (): ReadonlyMap<string, ReadImage> => new Map(keys.map((key) => [key.toString('latin1'), 'lost']));
    if (at === null) return { images: lost(), lost: new Error('no operation was stamped in order yet') };
    this.#wait.begin('rows of the table as they were before its operations');
    try {
      for await (const { key, found } of copier.rows(tablet, { at, schema, schemaVersion }, keys, signal))
        images.set(key.toString('latin1'), found && layout.ofBlock(found.block, found.row, found.places));
      return { images, lost: null };
    } catch (error) {
      if (!(await this.#isLost(error))) throw error;
      return { images: lost(), lost: error };
    } finally {
      this.#wait.end();
    }
  }

  /** Whether what could not be read can never be read. */
  async #isLost(error: unknown): Promise<boolean> {
    const { signal } = this.#abort;
    signal.throwIfAborted();
    if (error instanceof SpoorError && error.code === 'SPOOR_SNAPSHOT_TOO_OLD') return true;
    return this.#options.isDropped(signal).catch(() => false);
  }
}

const NOTHING = { images: new Map<string, ReadImage>(), lost: null };
