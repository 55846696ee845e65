import { rmSync } from 'node:fs';
import type { Logger } from '../util/logger.ts';
import type { HeldIncarnations } from './held-incarnations.ts';
import type { HeldSegment } from './held-segment.ts';
import type { HoldIncarnation } from './hold-incarnation.ts';
import type { IndexRange } from './segment-indexes.ts';

/** REPLICATE indexes, both ends included, that may be held no more. */
export interface LostRange {
  readonly fromIndex: bigint;
  readonly toIndex: bigint;
}

/** How much is to be let go of, whether it is done with or not; none, or 0, is no limit. */
export interface LetGoUntil {
  readonly maxBytes?: number;
  readonly maxAgeMs?: number;
  /** So many of {@link HoldRelease.queue}, whatever the limits say. */
  readonly oldest?: number;
}

/** The first segment of an incarnation, which goes before all others of it. */
interface Oldest {
  readonly incarnation: HoldIncarnation;
  readonly segment: HeldSegment;
}

/**
 * How what is held of one tablet goes: segment by segment, of each incarnation from its oldest on, what is done with and what
 * is beyond the limits. The segment that is being written stays.
 */
export class HoldRelease {
  readonly #held: HeldIncarnations;
  readonly #tablet: { readonly tabletId: string; readonly dir: string };
  readonly #logger: Logger | undefined;
  /** The highest index that was asked to be let go up to. */
  #safe = -1n;
  readonly #scanning = new Set<HeldSegment>();
  #unreadable: HeldSegment | null = null;

  constructor(
    held: HeldIncarnations,
    tablet: { readonly tabletId: string; readonly dir: string },
    logger: Logger | undefined,
  ) {
    this.#held = held;
    this.#tablet = tablet;
    this.#logger = logger;
  }

  /** See `TabletHold.release`. */
  upTo(index: bigint): number {
    if (index > this.#safe) this.#safe = index;
    let count = 0;
    try {
      for (const incarnation of this.#held.all)
        for (let oldest = this.#oldestOf(incarnation); oldest !== null; oldest = this.#oldestOf(incarnation)) {
          const range = this.#rangeOf(oldest);
          if (range === null) break;
          if (!range.isWhole) this.#noteUnreadable(oldest.segment);
          if (!range.isWhole || (range.max ?? this.#safe) > this.#safe) break;
          this.#letGoOf(oldest);
          count++;
        }
    } catch (error) {
      this.#logger?.warn({ ...this.#tablet, error }, 'held segment cannot be let go');
    }
    return count;
  }

  /** See `TabletHold.letGo`. */
  until({ maxBytes = 0, maxAgeMs = 0, oldest: wanted = 0 }: LetGoUntil, nowMs: number): LostRange | null {
    let lost: LostRange | null = null;
    let gone = 0;
    for (let oldest = this.#oldest(); oldest !== null; oldest = this.#oldest()) {
      const isTooMuch = maxBytes > 0 && this.#held.bytes > maxBytes;
      const isTooOld = maxAgeMs > 0 && nowMs - oldest.segment.figures(true).lastAppendMs > maxAgeMs;
      const range = isTooMuch || isTooOld || gone < wanted ? this.#rangeOf(oldest) : null;
      if (range === null) break;
      this.#letGoOf(oldest);
      gone++;
      lost = widen(lost, range);
    }
    return lost;
  }

  /** What {@link until} could let go of, in its order, and what the disk would get back with each. */
  queue(): readonly { readonly lastAppendMs: number; readonly freesBytes: number }[] {
    const { live } = this.#held;
    const left = this.#held.all.map(({ segments }) => segments.filter((segment) => segment !== live));
    const queue: { lastAppendMs: number; freesBytes: number }[] = [];
    const ageOf = ([next]: readonly HeldSegment[]): number => next!.figures(true).lastAppendMs;
    for (;;) {
      const open = left.filter((segments) => segments.length > 0);
      if (open.length === 0) return queue;
      const oldest = open.reduce((a, b) => (ageOf(b) < ageOf(a) ? b : a));
      queue.push({ lastAppendMs: ageOf(oldest), freesBytes: oldest.shift()!.freesBytes() });
    }
  }

  /** See `TabletHold.oldestAtMs`. */
  get oldestAtMs(): number | null {
    return this.#oldest()?.segment.figures(true).lastAppendMs ?? null;
  }

  /** What would go next of all: that which was written first. */
  #oldest(): Oldest | null {
    let oldest: Oldest | null = null;
    for (const incarnation of this.#held.all) {
      const next = this.#oldestOf(incarnation);
      if (next === null) continue;
      const isOlder =
        oldest === null || next.segment.figures(true).lastAppendMs < oldest.segment.figures(true).lastAppendMs;
      if (isOlder) oldest = next;
    }
    return oldest;
  }

  /** What would go next of it; null when that is the one being written, or there is none. */
  #oldestOf(incarnation: HoldIncarnation): Oldest | null {
    const [segment] = incarnation.segments;
    return segment === undefined || segment === this.#held.live ? null : { incarnation, segment };
  }

  /** Null when it has to be read for that, which begins here. */
  #rangeOf({ incarnation, segment }: Oldest): IndexRange | null {
    if (incarnation.segments.length > 1) segment.isClosed(); // then its range is known
    const { range } = segment;
    if (range === null && !this.#scanning.has(segment)) {
      this.#scanning.add(segment);
      segment
        .scan()
        .then(() => this.upTo(this.#safe))
        .catch((error: unknown) => {
          const fields = { tabletId: this.#tablet.tabletId, path: segment.path, error };
          this.#logger?.warn(fields, 'held segment cannot be read, or not be let go of');
        })
        .finally(() => this.#scanning.delete(segment));
    }
    return range;
  }

  #letGoOf({ incarnation, segment }: Oldest): void {
    rmSync(segment.path, { force: true });
    incarnation.shift();
    this.#held.removeEmpty();
  }

  #noteUnreadable(segment: HeldSegment): void {
    if (this.#unreadable === segment) return;
    this.#unreadable = segment;
    this.#logger?.error(
      { tabletId: this.#tablet.tabletId, path: segment.path },
      'held segment cannot be read, it and what follows it stays held',
    );
  }
}

function widen(lost: LostRange | null, { min, max }: IndexRange): LostRange | null {
  if (min === null || max === null) return lost;
  return {
    fromIndex: lost === null || min < lost.fromIndex ? min : lost.fromIndex,
    toIndex: lost === null || max > lost.toIndex ? max : lost.toIndex,
  };
}
