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
import { ImageFold } from './image-fold.ts';
import type { ImageMemories } from './image-memory.ts';
import { ImageLayout } from './row-image.ts';
import {
  FOLD_LIMITS,
  type FoldedRows,
  type FoldLimits,
  type ImageMode,
  type Segment,
  type SegmentFold,
} from './segment-fold.ts';
import { ShippedRows } from './shipped-rows.ts';

export interface ImagedSourceOptions {
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  readonly mode: ImageMode;
  /** Where it begins; the source behind it begins there too, and gives out rows that are shipped already as well. */
  readonly from: TabletPosition;
  /** The resync that was asked for last: until it has begun, all rows are still to be copied. */
  readonly resync: string | null;
  readonly copier: Pick<TableCopier, 'rows'>;
  readonly memories: ImageMemories;
  readonly limits?: FoldLimits;
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
 * Order and everything else are those of the source behind it. So are positions, but where images of a read would take more
 * memory than there is room for: then it is handed on slice by slice, each but the last with the position behind the read before
 * and how far the rows behind that have come ({@link TabletPosition.upTo}).
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
  readonly #shipped: ShippedRows;
  readonly #sliceBytes: number;
  /** Of which a part was handed on. */
  #read: ReadInHand | null = null;
  #failure: Error | null = null;
  /** Why the next read does not go on from what was folded; it comes last in its read. */
  #breaksOff: 'rewound' | 'skipped' | null = null;
  /** Whether it has been told that rows are not whole: once is enough. */
  #hasTold = false;

  constructor(source: ChangeSource, options: ImagedSourceOptions) {
    this.#source = source;
    this.#options = options;
    const { mode, memories, from, limits = FOLD_LIMITS } = options;
    this.#position = from;
    this.#fold = new ImageFold(mode, memories, from.time, limits);
    this.#shipped = new ShippedRows(from);
    this.#sliceBytes = limits.slice;
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
    if (this.#failure !== null) throw this.#failure;
    if (this.#read === null) {
      const read = await this.#source.next();
      if (read.kind === 'gone') return read;
      this.#read = this.#begin(read);
    }
    const slice = await this.#nextSlice(this.#read).catch((error: unknown) => {
      throw (this.#failure = asError(error)); // what of it was folded already would be missing in another try
    });
    if (this.#read.isDone) this.#read = null; // its memory may go
    return slice;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the source was closed'));
    this.#fold.close();
    await this.#source[Symbol.asyncDispose]();
  }

  #begin(read: ChangeRead): ReadInHand {
    const { resync } = this.#options;
    const isCopied = resync !== null && this.#position.resync !== resync;
    const before = this.#position;
    this.#position = read.position;
    if (this.#breaksOff !== null) this.#fold.restart(this.#breaksOff === 'rewound');
    this.#breaksOff = breakIn(read.changes);
    const { time, copy } = read.position;
    const segments = this.#fold.segmentsOf(read.changes, time, copy !== undefined);
    return { read, before, isCopied, mayBeCut: true, segments, folding: null, lost: null, taken: 0, isDone: false };
  }

  /** The rest of a read, or as much of it as memory has room for. */
  async #nextSlice(hand: ReadInHand): Promise<ChangeRead> {
    const { read, segments } = hand;
    const changes: Change[] = [];
    let [bytes, last]: [number, FoldedRows | null] = [0, null];
    for (;;) {
      if (hand.folding === null || hand.folding.isDone) {
        const segment = segments.shift();
        if (!segment) break;
        hand.folding = this.#fold.begin(segment);
        if (segment.batches[0]!.copy !== null) {
          hand.mayBeCut = false;
          this.#shipped.end();
        }
        hand.folding.skip(({ opId, rowIndexes }, row) => this.#shipped.has(opId, rowIndexes[row]!));
        continue;
      }
      if (hand.mayBeCut && last !== null && bytes >= this.#sliceBytes)
        return this.#cutBehind(last, hand, changes, bytes);
      const lost = await this.#readWanted(hand.folding, read.position);
      if (lost !== null) hand.lost = lost;
      last = hand.folding.next();
      this.#takeOthers(hand, changes, last.of);
      const { of, batch } = last;
      changes.push(batch.partial ? this.#partial(batch, hand.isCopied, hand.lost) : batch);
      bytes += last.bytes;
      if (batch.rows !== of.rows) this.#bytesPerRow = last.bytes / Math.max(1, batch.rowCount);
    }
    this.#takeOthers(hand, changes, null);
    hand.isDone = true;
    return { ...read, changes, bytes: read.bytes + bytes, position: this.#shipped.behind(read.position) };
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

  /** Reads what the next rows need. @returns why it cannot be read any more, or null */
  async #readWanted(folding: SegmentFold, { schemaVersion }: TabletPosition): Promise<unknown> {
    const keys = folding.wanted();
    if (keys.length === 0) return null;
    const { tablet, copier } = this.#options;
    const { schema, at } = folding.segment;
    const layout = ImageLayout.of(schema);
    const { signal } = this.#abort;
    let read = 0;
    const lost = (): void => {
      for (; read < keys.length; read++) if (!folding.noteRead('lost')) return;
    };
    if (at === null) {
      lost();
      return new Error('no operation was stamped in order yet');
    }
    this.#wait.begin('rows of the table as they were before its operations');
    try {
      for await (const { found } of copier.rows(tablet, { at, schema, schemaVersion }, keys, signal)) {
        read++;
        if (!folding.noteRead(found && layout.ofBlock(found.block, found.row, found.places))) break;
      }
      return null;
    } catch (error) {
      if (!(await this.#isLost(error))) throw error;
      lost();
      return error;
    } finally {
      this.#wait.end();
    }
  }

  /** What stands before some rows of a read and is none; @param rows null: the rest of it */
  #takeOthers(hand: ReadInHand, changes: Change[], rows: ChangeBatch | null): void {
    const all = hand.read.changes;
    for (; hand.taken < all.length; hand.taken++) {
      const change = all[hand.taken]!;
      if (change === rows) return;
      if (change.kind !== 'rows' && !this.#shipped.hasOther(change)) changes.push(change);
    }
  }

  /** Rows behind a position that memory has no room to hand on together with the rest of them. */
  #cutBehind({ of, batch }: FoldedRows, { read, before }: ReadInHand, changes: Change[], bytes: number): ChangeRead {
    const upTo = { index: of.opId.index, row: batch.rowIndexes[batch.rowCount - 1]! };
    const first = changes[0]!.hybridTime;
    return {
      kind: 'changes',
      changes,
      position: { ...before, upTo },
      hybridTime: of.hybridTime,
      ...(first !== of.hybridTime && { firstHybridTime: first }),
      rejectedRows: 0,
      bytes,
      onlyMarkers: read.onlyMarkers,
    };
  }

  /** Whether what could not be read can never be read. */
  async #isLost(error: unknown): Promise<boolean> {
    const { signal } = this.#abort;
    signal.throwIfAborted();
    if (error instanceof SpoorError && error.code === 'SPOOR_SNAPSHOT_TOO_OLD') return true;
    return this.#options.isDropped(signal).catch(() => false);
  }
}

function breakIn(changes: readonly Change[]): 'rewound' | 'skipped' | null {
  const last = changes.at(-1);
  return last?.kind === 'event' && (last.event === 'rewound' || last.event === 'skipped') ? last.event : null;
}

/** A read of the source behind, as far as it was handed on. */
interface ReadInHand {
  readonly read: ChangeRead;
  /** Where it begins. */
  readonly before: TabletPosition;
  /** Its rows are to be copied as well. */
  readonly isCopied: boolean;
  /** Behind rows that are put right operations come again: there no row says how far all of it has come. */
  mayBeCut: boolean;
  /** Not yet begun. */
  readonly segments: Segment[];
  folding: SegmentFold | null;
  /** Why rows of it could not be read, where they could not. */
  lost: unknown;
  /** How many of its changes were handed on, but for the rest of the last one. */
  taken: number;
  isDone: boolean;
}
