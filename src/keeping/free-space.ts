import { statfsSync } from 'node:fs';
import type { Logger } from '../util/logger.ts';
import { isMissing } from '../wal/log-folder.ts';

/** What a file system has, of which `freeBytes` may be written by others than root. */
export interface DiskSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** A held segment that could be let go of. */
export interface LetGoCandidate {
  /** When something was last written to it. */
  readonly lastAppendMs: number;
  /** What the disk gets back with it: nothing while the tablet server has it too, or another link. */
  readonly freesBytes: number;
}

/** Segments are let go of until so many percent more than the bound are free, so that it is not reached again at once. */
const MARGIN_PERCENT = 1;
/**
 * What was let go of is free once its last reader has closed it, or a little later: so long nothing more goes, unless the disk
 * has become fuller by that margin meanwhile.
 */
const ACT_AGAIN_MS = 10_000;

/**
 * How many of its oldest held segments each tablet lets go of, so that the disk has its free space again: the oldest of
 * all first, no more than that takes, and none that would free nothing. None at all while there is enough.
 * @param queues by tablet what could go, in the order in which it would
 */
export function chooseToLetGo(
  { totalBytes, freeBytes }: DiskSpace,
  minFreePercent: number,
  queues: ReadonlyMap<string, readonly LetGoCandidate[]>,
): ReadonlyMap<string, number> {
  const chosen = new Map<string, number>();
  if (!isBelow({ totalBytes, freeBytes }, minFreePercent)) return chosen;
  const wantedBytes = (totalBytes * Math.min(100, minFreePercent + MARGIN_PERCENT)) / 100 - freeBytes;
  const left = [...queues].flatMap(([tabletId, queue]) => {
    const useful = queue.slice(0, queue.findLastIndex(({ freesBytes }) => freesBytes > 0) + 1);
    return useful.length > 0 ? [{ tabletId, useful, next: 0 }] : [];
  });
  for (let freed = 0; freed < wantedBytes;) {
    const open = left.filter(({ useful, next }) => next < useful.length);
    const [first] = open;
    if (first === undefined) break;
    const oldest = open.reduce(
      (a, b) => (b.useful[b.next]!.lastAppendMs < a.useful[a.next]!.lastAppendMs ? b : a),
      first,
    );
    freed += oldest.useful[oldest.next]!.freesBytes;
    oldest.next++;
    chosen.set(oldest.tabletId, oldest.next);
  }
  // What goes last of a tablet is to free something: else it went in vain.
  for (const [tabletId, count] of chosen) {
    const queue = queues.get(tabletId)!.slice(0, count);
    const useful = queue.findLastIndex(({ freesBytes }) => freesBytes > 0) + 1;
    if (useful > 0) chosen.set(tabletId, useful);
    else chosen.delete(tabletId);
  }
  return chosen;
}

function isBelow({ totalBytes, freeBytes }: DiskSpace, minFreePercent: number): boolean {
  return minFreePercent > 0 && freeBytes * 100 < totalBytes * minFreePercent;
}

export interface FreeSpaceFloorOptions {
  /** A folder on the file system of the held logs, which is the tablet server's too. */
  readonly dir: string;
  /** SPOOR_HOLD_MIN_FREE_PERCENT; 0 is no bound. */
  readonly minFreePercent: number;
  readonly logger: Logger;
  /** @throws what the file system says */
  readonly measure?: (dir: string) => DiskSpace;
  readonly actAgainMs?: number;
}

/** Sees to it that held logs never fill the disk of a tablet server, which would not survive that. */
export class FreeSpaceFloor {
  readonly #options: FreeSpaceFloorOptions;
  #actedAtMs = Number.NEGATIVE_INFINITY;
  #freeBytesThen = 0;
  /** What was told of a lack of space that goes on. */
  #told: 'lets-go' | 'helpless' | null = null;
  #isMeasured = true;

  constructor(options: FreeSpaceFloorOptions) {
    this.#options = options;
  }

  /** What the disk has; null where it cannot be told. */
  get space(): DiskSpace | null {
    return this.#measure();
  }

  /** How much of the disk is free; null where it cannot be told. */
  get freePercent(): number | null {
    const space = this.#measure();
    return space && percentOf(space);
  }

  /** Why nothing may be written there that could be left out, or null. */
  get whyFull(): string | null {
    const { minFreePercent } = this.#options;
    const space = minFreePercent > 0 ? this.#measure() : null;
    return space && isBelow(space, minFreePercent + MARGIN_PERCENT) ? this.#describe(space) : null;
  }

  /**
   * What is to be let go of now, and why.
   * @param queues see {@link chooseToLetGo}; asked only where something is
   */
  look(
    nowMs: number,
    queues: () => ReadonlyMap<string, readonly LetGoCandidate[]>,
  ): { readonly counts: ReadonlyMap<string, number>; readonly why: string } | null {
    const { minFreePercent, actAgainMs = ACT_AGAIN_MS, logger } = this.#options;
    const space = minFreePercent > 0 ? this.#measure() : null;
    if (space === null) return null;
    if (!isBelow(space, minFreePercent)) {
      if (this.#told !== null && !isBelow(space, minFreePercent + MARGIN_PERCENT)) {
        this.#told = null;
        logger.info({ freePercent: percentOf(space) }, 'the disk of the held logs has room again');
      }
      return null;
    }
    const isWorse = space.freeBytes < this.#freeBytesThen - (space.totalBytes * MARGIN_PERCENT) / 100;
    if (nowMs - this.#actedAtMs < actAgainMs && !isWorse) return null;
    this.#actedAtMs = nowMs;
    this.#freeBytesThen = space.freeBytes;
    const counts = chooseToLetGo(space, minFreePercent, queues());
    const trouble = counts.size > 0 ? 'lets-go' : 'helpless';
    if (this.#told === null || (this.#told === 'helpless' && trouble === 'lets-go')) {
      const what =
        counts.size > 0
          ? 'the disk is nearly full, held logs are let go of: make room on it, or see to it that the streams ship'
          : 'the disk is nearly full, and no held log would free anything of it: make room on it';
      logger.error({ dir: this.#options.dir, freePercent: percentOf(space), minFreePercent }, what);
      this.#told = trouble;
    }
    return counts.size > 0 ? { counts, why: this.#describe(space) } : null;
  }

  #describe(space: DiskSpace): string {
    const { dir, minFreePercent } = this.#options;
    return `${percentOf(space)} % of the disk of ${dir} are free, SPOOR_HOLD_MIN_FREE_PERCENT is ${minFreePercent}`;
  }

  #measure(): DiskSpace | null {
    const { dir, measure = measureDisk, logger } = this.#options;
    try {
      const space = measure(dir);
      this.#isMeasured = true;
      return space.totalBytes > 0 ? space : null;
    } catch (error) {
      if (isMissing(error)) return null; // not made yet
      if (this.#isMeasured) logger.warn({ dir, error }, 'how full the disk of the held logs is cannot be told');
      this.#isMeasured = false;
      return null;
    }
  }
}

/** @throws what the file system says */
export function measureDisk(dir: string): DiskSpace {
  const { bsize, blocks, bavail } = statfsSync(dir);
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail };
}

export function percentOf({ totalBytes, freeBytes }: DiskSpace): number {
  return Math.floor((freeBytes * 1000) / totalBytes) / 10;
}
