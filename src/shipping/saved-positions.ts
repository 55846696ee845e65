import { isAhead, type TabletPosition } from '../change/position.ts';
import { compareSinkIds, latestSinkId } from '../sinks/sink-id.ts';

/*
 * What a marker may say of one tablet of a stream: up to where the sink has everything and would tell a successor so, and
 * which sink that is. The decisions alone: tablet-replicator.ts feeds it, and carries out what comes of it.
 *
 * Invariant at all times: reported <= what the sink's own word was last <= durable, in the order of positions.
 */

export interface SavedPositions {
  /** What the sink has for sure. */
  readonly durable: TabletPosition;
  /** What was told of it; null before the first word. */
  readonly reported: TabletPosition | null;
  /**
   * What was written and is not yet told of, oldest first, each with the highest index up to there that is no marker's. Not
   * all of it where that becomes much: a write that is left out passes for worth what the one before it is.
   */
  readonly untold: readonly { readonly position: TabletPosition; readonly worthIndex: bigint }[];
  /** The highest index that was written and is no marker's. */
  readonly worthIndex: bigint;
  /** What is known of the sink that has all up to here, see sink-id.ts. */
  readonly sinkId: string;
}

/** What a writer says of itself at the moment. */
export interface WriterWord {
  /** See TabletWriter.saved: what a successor would be told; undefined where that is all that is durable. */
  readonly saved: TabletPosition | null | undefined;
  /** Empty where it is not known. */
  readonly sinkId: string;
}

export type SavedEvent =
  | ({ readonly kind: 'opened'; readonly position: TabletPosition | null } & WriterWord)
  /** `worthIndex`: the highest index in the write that is no marker's; null where there is none. */
  | ({ readonly kind: 'written'; readonly position: TabletPosition; readonly worthIndex: bigint | null } & WriterWord)
  /** The writer's own position has moved. */
  | { readonly kind: 'saved'; readonly position: TabletPosition | null };

export type SavedEffect =
  /** The sink has everything up to `position`, and would tell a successor so. */
  | { readonly kind: 'report'; readonly position: TabletPosition; readonly worthIndex: bigint; readonly sinkId: string }
  /**
   * What another sink has, or the topic that was here before, is not sent again: whoever wants it here makes a new stream,
   * or a resync. `marked` is what was known before, `behind` what is not sent again.
   */
  | {
      readonly kind: 'other-store' | 'topic-made-anew';
      readonly marked: string;
      readonly sinkId: string;
      readonly behind: TabletPosition;
    };

export interface SavedStep {
  readonly state: SavedPositions;
  readonly effects: readonly SavedEffect[];
}

/** A sink that saves now and then, and for an hour cannot, is told of by as many at most. */
const MOST_UNTOLD = 256;

/** @param sinkId which sink the marker spoke of that `start` is from; empty where it is from none */
export function initialSaved(start: TabletPosition, sinkId: string): SavedPositions {
  return { durable: start, reported: null, untold: [], worthIndex: 0n, sinkId };
}

/** Pure. */
export function stepSaved(before: SavedPositions, event: SavedEvent): SavedStep {
  switch (event.kind) {
    case 'opened': {
      // What it found is told: whoever shipped before may have died before a marker did.
      const { position, saved } = event;
      const durable = position && isAhead(position, before.durable) ? position : before.durable;
      const noted = noteSink({ ...before, durable }, event.sinkId);
      const found = saved === undefined ? position : saved;
      return found ? then(noted, report(noted.state, found, found.opId.index)) : noted;
    }
    case 'written': {
      // Before it counts as durable: what is written behind another sink's is the new one's.
      const noted = noteSink(before, event.sinkId);
      const { position } = event;
      const worthIndex = event.worthIndex ?? before.worthIndex;
      const untold = thinned([...noted.state.untold, { position, worthIndex }]);
      const written = { ...noted.state, durable: position, worthIndex, untold };
      return then(noted, tell(written, event.saved === undefined ? position : event.saved));
    }
    case 'saved':
      return tell(before, event.position);
  }
}

function thinned<T>(untold: readonly T[]): readonly T[] {
  return untold.length > MOST_UNTOLD ? untold.filter((_, at) => at % 2 === 0) : untold;
}

/** A position that no write of ours had is another's: nothing is told of it. */
function tell(state: SavedPositions, saved: TabletPosition | null): SavedStep {
  const known = saved && state.untold.findLast(({ position }) => !isAhead(position, saved));
  if (!known) return { state, effects: [] };
  const untold = state.untold.filter(({ position }) => isAhead(position, saved));
  return report({ ...state, untold }, saved, known.worthIndex);
}

function report(state: SavedPositions, position: TabletPosition, worthIndex: bigint): SavedStep {
  if (!isAhead(position, state.reported)) return { state, effects: [] };
  const { sinkId } = state;
  return { state: { ...state, reported: position }, effects: [{ kind: 'report', position, worthIndex, sinkId }] };
}

function noteSink(state: SavedPositions, sinkId: string): SavedStep {
  const { sinkId: marked } = state;
  const noted = { ...state, sinkId: latestSinkId(marked, sinkId) };
  const relation = compareSinkIds(marked, sinkId);
  if (relation !== 'other-store' && relation !== 'topic-made-anew') return { state: noted, effects: [] };
  return { state: noted, effects: [{ kind: relation, marked, sinkId, behind: state.durable }] };
}

function then(first: SavedStep, second: SavedStep): SavedStep {
  return { state: second.state, effects: [...first.effects, ...second.effects] };
}
