import { isAhead, loggedUpTo, type TabletPosition } from '../change/position.ts';
import type { MarkedStream } from '../change/apply-marker.ts';
import { backoffMs, type Backoff } from '../util/backoff.ts';

/*
 * What one replica's keeper knows of the streams on its tablet and decides from it: when a marker is due, what it says,
 * and how much of the held log may go. Pure, as replicator-core.ts is: replica-keeper.ts carries the effects out.
 *
 *   sink ──acknowledged──▶ acked ──marker written──▶ marked ──every stream's──▶ safe point ──release──▶ held log
 *
 * Invariant at all times, for each stream: marked <= acked where we ship it, and released <= the lowest marked.
 */

/** A stream on this tablet, in one of its generations. */
export interface StreamMarks {
  readonly generation: string;
  /**
   * Index before the first operation that the stream owes. Null: it begins with a copy, whose cut is yet to be made, and
   * needs nothing of what was there before that.
   */
  readonly startIndex: bigint | null;
}

interface Acked {
  readonly position: TabletPosition;
  /** The highest acknowledged index that is not a marker's: markers beget no markers. */
  readonly worthIndex: bigint;
  readonly sink: string;
  /** Not shipped here any more: known until a marker says it, ours or a successor's. */
  readonly ended?: true;
}

export type MarkerPhase =
  | { readonly kind: 'idle' }
  | { readonly kind: 'writing'; readonly streams: readonly MarkedStream[] }
  | { readonly kind: 'waiting' };

export interface MarkerState {
  readonly streams: readonly StreamMarks[];
  /** Whether the whole log was read once: before that its markers are not all known, and nothing is let go. */
  readonly caughtUp: boolean;
  /** By generation: what was said by the newest marker, of this log or of ours. */
  readonly marked: ReadonlyMap<string, MarkedStream>;
  /** By generation: the lowest operation that may be the cut of its first copy, while no marker says where it stands. */
  readonly cuts: ReadonlyMap<string, bigint>;
  /** Up to here the log was read, cuts and markers. */
  readonly readIndex: bigint;
  /** By generation: of the streams that this sidecar ships, or shipped and has not marked. */
  readonly acked: ReadonlyMap<string, Acked>;
  readonly marker: MarkerPhase;
  /** Whether what is news is due at once, until there is none. */
  readonly flushing: boolean;
  readonly failures: number;
  readonly lastMarkerAtMs: number;
  /** Everything up to this index may go, and has been let go. */
  readonly released: bigint;
}

export type MarkerEvent =
  | { readonly kind: 'streams'; readonly streams: readonly StreamMarks[] }
  | { readonly kind: 'caught-up' }
  | { readonly kind: 'marker-read'; readonly streams: readonly MarkedStream[] }
  /** The operation at `index` may be the cut of a copy. */
  | { readonly kind: 'cut-read'; readonly generation: string; readonly index: bigint }
  | { readonly kind: 'log-read'; readonly index: bigint }
  | ({ readonly kind: 'acked'; readonly generation: string } & Omit<Acked, 'ended'>)
  /** This sidecar does not ship the stream any more; what it has acknowledged still gets its marker. */
  | { readonly kind: 'shipping-ended'; readonly generation: string }
  /** A marker is wanted if there was none for so long, although it says nothing new. */
  | { readonly kind: 'heartbeat'; readonly intervalMs: number }
  | { readonly kind: 'marker-written' }
  /** `lost`: it will not be tried again before something is acknowledged; another sidecar may lead now. */
  | { readonly kind: 'marker-failed'; readonly lost: boolean }
  | { readonly kind: 'marker-retry-due' }
  | { readonly kind: 'due' }
  /** At a clean stop, or a pause: what is news is due now, and what becomes news meanwhile. Answered by `flushed`. */
  | { readonly kind: 'flush' };

export type MarkerEffect =
  /** Answers `marker-written` or `marker-failed`. */
  | { readonly kind: 'write-marker'; readonly streams: readonly MarkedStream[] }
  | { readonly kind: 'retry-marker-in'; readonly ms: number }
  | { readonly kind: 'due-in'; readonly ms: number }
  /** There is nothing left to say; or (`all` false) it could not be said, and is tried again later. */
  | { readonly kind: 'flushed'; readonly all: boolean }
  /** Every operation up to this index is durable in every stream's sink, and a marker in the log says so. */
  | { readonly kind: 'release'; readonly index: bigint };

export interface MarkerLimits {
  readonly markerIntervalMs: number;
  readonly retry: Backoff;
}

export interface MarkerStep {
  readonly state: MarkerState;
  readonly effects: readonly MarkerEffect[];
}

export const NO_MARKERS: MarkerState = {
  streams: [],
  caughtUp: false,
  marked: new Map(),
  cuts: new Map(),
  readIndex: 0n,
  acked: new Map(),
  marker: { kind: 'idle' },
  flushing: false,
  failures: 0,
  lastMarkerAtMs: Number.NEGATIVE_INFINITY,
  released: 0n,
};

/** Generations that no stream has are kept for a while: their stream may only just have been made. */
const MAX_MARKED = 256;

/** Pure. A late or repeated event changes nothing. */
export function stepMarkers(state: MarkerState, event: MarkerEvent, nowMs: number, limits: MarkerLimits): MarkerStep {
  switch (event.kind) {
    case 'streams':
      return advance({ ...state, streams: event.streams }, nowMs, limits);
    case 'caught-up':
      return advance({ ...state, caughtUp: true }, nowMs, limits);
    case 'marker-read':
      return advance({ ...state, marked: mergeMarked(state, event.streams) }, nowMs, limits);
    case 'cut-read': {
      const { generation, index } = event;
      if (state.cuts.has(generation)) return { state, effects: [] };
      return {
        state: { ...state, cuts: bounded(new Map(state.cuts).set(generation, index), state.streams) },
        effects: [],
      };
    }
    case 'log-read':
      if (event.index <= state.readIndex) return { state, effects: [] };
      return advance({ ...state, readIndex: event.index }, nowMs, limits);
    case 'acked': {
      const { generation, position, worthIndex, sink } = event;
      const known = state.acked.get(generation);
      if (known && !isAhead(position, known.position)) return { state, effects: [] };
      const acked = new Map(state.acked).set(generation, { position, worthIndex, sink });
      return advance({ ...state, acked }, nowMs, limits);
    }
    case 'shipping-ended': {
      const known = state.acked.get(event.generation);
      if (!known) return { state, effects: [] };
      const acked = new Map(state.acked).set(event.generation, { ...known, ended: true });
      return advance({ ...state, acked }, nowMs, limits);
    }
    case 'heartbeat': {
      const isDue = nowMs - state.lastMarkerAtMs >= event.intervalMs;
      if (state.marker.kind !== 'idle' || !state.caughtUp || !isDue) return { state, effects: [] };
      return writeMarker(state, nowMs);
    }
    case 'marker-written': {
      if (state.marker.kind !== 'writing') return { state, effects: [] };
      const marked = mergeMarked(state, state.marker.streams);
      return advance({ ...state, marked, marker: { kind: 'idle' }, failures: 0 }, nowMs, limits);
    }
    case 'marker-failed': {
      if (state.marker.kind !== 'writing') return { state, effects: [] };
      const failures = state.failures + 1;
      const ms = event.lost ? limits.retry.capMs : backoffMs(failures, limits.retry);
      const flushed: MarkerEffect[] = state.flushing ? [{ kind: 'flushed', all: false }] : [];
      return {
        state: { ...state, marker: { kind: 'waiting' }, flushing: false, failures },
        effects: [{ kind: 'retry-marker-in', ms }, ...flushed],
      };
    }
    case 'marker-retry-due':
      if (state.marker.kind !== 'waiting') return { state, effects: [] };
      return advance({ ...state, marker: { kind: 'idle' } }, nowMs, limits);
    case 'due':
      return advance(state, nowMs, limits);
    case 'flush':
      return advance({ ...state, flushing: true, marker: withoutPause(state.marker) }, nowMs, limits);
    default:
      return assertNever(event);
  }
}

/** The index up to which every stream's sink has everything, and a marker says so. Null while nothing wants this log. */
export function safeIndex({ streams, marked, cuts, readIndex }: MarkerState): bigint | null {
  let safe: bigint | null = null;
  for (const { generation, startIndex } of streams) {
    const start = startIndex ?? cuts.get(generation) ?? readIndex;
    const said = marked.get(generation)?.position;
    const index = said === undefined ? start : startIndex === null ? loggedUpTo(said) : maxOf(loggedUpTo(said), start);
    if (safe === null || index < safe) safe = index;
  }
  return safe;
}

function maxOf(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function advance(state: MarkerState, nowMs: number, limits: MarkerLimits): MarkerStep {
  const effects: MarkerEffect[] = [];
  let next = withoutEnded(state);
  if (next.marker.kind === 'idle' && next.caughtUp) {
    const news = next.streams.some(({ generation }) => isWorthAMarker(next, generation));
    const dueInMs = next.flushing ? 0 : next.lastMarkerAtMs + limits.markerIntervalMs - nowMs;
    if (news && dueInMs > 0) effects.push({ kind: 'due-in', ms: dueInMs });
    else if (news) {
      const written = writeMarker(next, nowMs);
      next = written.state;
      effects.push(...written.effects);
    }
  }
  if (next.flushing && next.marker.kind === 'idle') {
    next = { ...next, flushing: false };
    effects.push({ kind: 'flushed', all: true });
  }
  const safe = next.caughtUp ? safeIndex(next) : null;
  if (safe !== null && safe > next.released) {
    next = { ...next, released: safe };
    effects.push({ kind: 'release', index: safe });
  }
  return { state: next, effects };
}

function writeMarker(state: MarkerState, nowMs: number): MarkerStep {
  const streams = markerOf(state);
  return {
    state: { ...state, marker: { kind: 'writing', streams }, lastMarkerAtMs: nowMs },
    effects: [{ kind: 'write-marker', streams }],
  };
}

/** What has ended and is marked is forgotten; so is what no stream has any more. */
function withoutEnded(state: MarkerState): MarkerState {
  const isDone = (generation: string): boolean =>
    !isWorthAMarker(state, generation) || !state.streams.some((stream) => stream.generation === generation);
  const done = [...state.acked].filter(([generation, { ended }]) => ended === true && isDone(generation));
  if (done.length === 0) return state;
  const acked = new Map(state.acked);
  for (const [generation] of done) acked.delete(generation);
  return { ...state, acked };
}

/** Operations that are markers are not worth one; what a copy has come on is, although its index stands still. */
function isWorthAMarker({ acked, marked }: MarkerState, generation: string): boolean {
  const ours = acked.get(generation);
  if (ours === undefined) return false;
  const said = marked.get(generation)?.position;
  if (ours.worthIndex > (said?.opId.index ?? 0n)) return true;
  return (ours.position.copy !== undefined || said?.copy !== undefined) && isAhead(ours.position, said ?? null);
}

/** A marker says all that is known, so that the newest one is enough: also of streams that are paused or stuck. */
function markerOf({ streams, acked, marked }: MarkerState): MarkedStream[] {
  return streams.flatMap(({ generation }): MarkedStream[] => {
    const said = marked.get(generation);
    const ours = acked.get(generation);
    if (ours && isAhead(ours.position, said?.position ?? null))
      return [{ generation, position: ours.position, sink: ours.sink }];
    return said ? [said] : [];
  });
}

/** Markers are lower bounds: the highest wins, in whatever order they come. */
function mergeMarked(state: MarkerState, said: readonly MarkedStream[]): ReadonlyMap<string, MarkedStream> {
  const marked = new Map(state.marked);
  for (const stream of said) {
    const known = marked.get(stream.generation);
    if (known && !isAhead(stream.position, known.position)) continue;
    marked.set(stream.generation, stream);
  }
  return bounded(marked, state.streams);
}

function bounded<T>(known: Map<string, T>, streams: readonly StreamMarks[]): Map<string, T> {
  if (known.size <= MAX_MARKED) return known;
  const wanted = new Set(streams.map(({ generation }) => generation));
  for (const generation of known.keys()) if (!wanted.has(generation)) known.delete(generation);
  return known;
}

function withoutPause(marker: MarkerPhase): MarkerPhase {
  return marker.kind === 'waiting' ? { kind: 'idle' } : marker;
}

function assertNever(event: never): never {
  throw new TypeError(`unhandled event ${JSON.stringify(event)}`);
}
