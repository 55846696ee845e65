import type { Change, ChangeBatch } from '../change/change.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { ImageMemories } from './image-memory.ts';
import { KnownRows } from './known-rows.ts';
import { FOLD_LIMITS, SegmentFold, type FoldLimits, type ImageMode, type Segment } from './segment-fold.ts';

/**
 * Makes the rows of a tablet's operations whole, pure but for what it remembers: says which rows must be read, and folds what
 * each operation sets into what the row was. Of a row that several operations touch the first alone is read for: each later
 * image follows from the one before it and the log.
 */
export class ImageFold {
  readonly #mode: ImageMode;
  readonly #known: KnownRows;
  readonly #limits: FoldLimits;
  /** Of the highest operation that is stamped in order, as far as it was folded. */
  #time: HybridTime | undefined;

  constructor(mode: ImageMode, memories: ImageMemories, time?: HybridTime, limits = FOLD_LIMITS) {
    this.#mode = mode;
    this.#known = new KnownRows(memories);
    this.#time = time;
    this.#limits = limits;
  }

  /**
   * Rows are otherwise than what was folded left them: operations come again, or one was left out.
   * @param isEarlier what is remembered is of later operations than the next one, those included that were stamped ahead
   */
  restart(isEarlier: boolean): void {
    this.#known.noteCopy([], isEarlier);
  }

  /** Nothing of it is remembered any more. */
  close(): void {
    this.#known.close();
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

  /** The next segment; those before it are done. */
  begin(segment: Segment): SegmentFold {
    return new SegmentFold(segment, this.#mode, this.#known, this.#limits);
  }
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
