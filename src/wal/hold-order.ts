import type { HeldSegment } from './held-segment.ts';
import type { HoldIncarnation } from './hold-incarnation.ts';

/** Segments that follow each other without a hole: a log, or what is held of it. */
export interface HeldLog {
  /** `peer`: received from another sidecar; `own`: of an incarnation of the tablet's folder here. */
  readonly kind: 'peer' | 'own';
  /** Of the incarnation, unique in the tablet as long as it is held. Where it has holes it is several logs. */
  readonly name: string;
  /** Ascending. */
  readonly segments: readonly HeldSegment[];
}

/** What is held of a tablet, as it is to be read. */
export interface HeldOrder {
  /** To be read one after the other, each from its start. */
  readonly finished: readonly HeldLog[];
  /** After them; the log that is being written, or null when there is none. */
  readonly current: HeldLog | null;
}

/**
 * Puts what is held into the order in which it gives all it can: by the first index of each piece. Where a piece begins
 * after what was read so far, so do all that follow, and then the operation between is nowhere. In the order in which
 * pieces came that is not so: one that another sidecar sent to fill a hole belongs between two of our own.
 *
 * Left out is what has no operation, and what begins after the current log does: that has it too, or will.
 * @param current the incarnation that is being written
 * @throws what the file system says
 */
export function orderHeld(incarnations: readonly HoldIncarnation[], current: HoldIncarnation | null): HeldOrder {
  const pieces = incarnations.flatMap((incarnation) =>
    split(incarnation, incarnation === current).map((segments) => toLog(incarnation, segments)),
  );
  const live = current === null ? undefined : pieces.findLast((piece) => piece.name === nameOf(current));
  const liveFirst = live === undefined ? null : firstIndexOf(live);
  const finished = pieces
    .filter((piece) => piece !== live)
    .map((log) => ({ log, first: firstIndexOf(log) }))
    .filter(({ first }) => first !== null && (liveFirst === null || first <= liveFirst))
    .sort((a, b) => Number(a.first! - b.first!))
    .map(({ log }) => log);
  return { finished, current: live ?? null };
}

function toLog(incarnation: HoldIncarnation, segments: readonly HeldSegment[]): HeldLog {
  return { kind: incarnation.origin.kind, name: nameOf(incarnation), segments };
}

function nameOf({ origin, number }: HoldIncarnation): string {
  return `${origin.kind}-${number}`;
}

/**
 * Where a number is missing, and behind damage that a reader has met; and, in a log that is finished, where the end of a
 * segment is: lost with the machine, or on the way from a sidecar. In one that is being written that would be damage,
 * for the reader to see.
 *
 * What is damaged before its first operation has no place of its own: it stays beside what it was written next to, so that
 * whoever reads there is told.
 */
function split({ segments }: HoldIncarnation, isCurrent: boolean): HeldSegment[][] {
  const pieces: HeldSegment[][] = [];
  let piece: HeldSegment[] = [];
  for (const segment of segments) {
    const last = piece.at(-1);
    const goesOn =
      last !== undefined &&
      segment.sequenceNumber === last.sequenceNumber + 1 &&
      (isCurrent || last.isDamaged || last.isClosed()) &&
      !isBehindDamage(piece, segment);
    if (!goesOn) pieces.push((piece = []));
    piece.push(segment);
  }
  return pieces;
}

function isBehindDamage(piece: readonly HeldSegment[], segment: HeldSegment): boolean {
  if (!piece.some(({ isDamaged }) => isDamaged) || (segment.isDamaged && segment.firstIndex() === null)) return false;
  return piece.some((each) => each.firstIndex() !== null);
}

function firstIndexOf({ segments }: HeldLog): bigint | null {
  for (const segment of segments) {
    const first = segment.firstIndex();
    if (first !== null) return first;
  }
  return null;
}
