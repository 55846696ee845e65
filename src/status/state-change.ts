import { isDeepStrictEqual } from 'node:util';
import {
  tabletKey,
  type ChangeEvent,
  type ClusterState,
  type SidecarState,
  type StreamState,
} from '../api/cluster-state.ts';
import type { TabletView } from '../api/shapes.ts';

type Change = { -readonly [Field in keyof ChangeEvent]: ChangeEvent[Field] };

/** What a reader who knows the first state must be told so that it knows the second. */
export function changeBetween(before: ClusterState, now: ClusterState): ChangeEvent {
  const change: Change = { at: now.at };
  if (!isDeepStrictEqual(before.trouble, now.trouble)) change.trouble = now.trouble;
  if (!isDeepStrictEqual(before.verdict, now.verdict)) change.verdict = now.verdict;
  const { streams, figures } = changedStreams(before.streams, now.streams);
  if (streams.length > 0) change.streams = streams;
  if (Object.keys(figures).length > 0) change.figures = figures;
  const tablets = changedTablets(before.tablets, now.tablets);
  if (tablets.length > 0) change.tablets = tablets;
  const gone = {
    streams: missing(before.streams, now.streams, ({ name }) => name),
    tablets: missing(before.tablets, now.tablets, tabletKey),
  };
  if (gone.streams.length > 0 || gone.tablets.length > 0) change.gone = gone;
  if (!isDeepStrictEqual(before.sidecars.map(withoutBeat), now.sidecars.map(withoutBeat)))
    change.sidecars = now.sidecars;
  return change;
}

function changedStreams(before: readonly StreamState[], now: readonly StreamState[]) {
  const known = new Map(before.map((stream) => [stream.name, stream]));
  const streams: StreamState[] = [];
  const figures: NonNullable<Change['figures']> = {};
  for (const stream of now) {
    const { figures: own, ...rest } = stream;
    const { figures: ownBefore, ...restBefore } = known.get(stream.name) ?? {};
    if (!isDeepStrictEqual(restBefore, rest)) streams.push(stream);
    else if (!isDeepStrictEqual(ownBefore, own)) figures[stream.name] = own;
  }
  return { streams, figures };
}

function changedTablets(before: readonly TabletView[], now: readonly TabletView[]): TabletView[] {
  const known = new Map(before.map((tablet) => [tabletKey(tablet), tablet]));
  return now.filter((tablet) => {
    const other = known.get(tabletKey(tablet));
    return other === undefined || !isSame(other, tablet);
  });
}

/** The age of a held log grows each second, of a thousand tablets at once; it is told when something else is. */
function isSame(a: TabletView, b: TabletView): boolean {
  return (
    a.state === b.state &&
    a.applyOpId === b.applyOpId &&
    a.committedOpId === b.committedOpId &&
    a.lagSeconds === b.lagSeconds &&
    a.lagOps === b.lagOps &&
    a.sidecar === b.sidecar &&
    a.role === b.role &&
    a.table === b.table &&
    a.joinedAs === b.joinedAs &&
    a.yields === b.yields &&
    a.corrected === b.corrected &&
    a.hold?.bytes === b.hold?.bytes &&
    a.hold?.index === b.hold?.index &&
    isSameFlat(a.copy, b.copy) &&
    isSameFlat(a.error, b.error) &&
    isSameFlat(a.waiting, b.waiting)
  );
}

function isSameFlat(a: object | undefined, b: object | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && isDeepStrictEqual(a, b));
}

/** When a living sidecar was seen last changes with each of its beats, and says nothing new. */
function withoutBeat(sidecar: SidecarState): object {
  return sidecar.isAlive ? { ...sidecar, lastSeen: '' } : sidecar;
}

function missing<T>(before: readonly T[], now: readonly T[], keyOf: (of: T) => string): string[] {
  const there = new Set(now.map(keyOf));
  return before.map(keyOf).filter((key) => !there.has(key));
}
