import type { ClusterLook, SidecarLook } from '../api/cluster-look.ts';
import type { ClusterState, LocalStatus, LookTrouble, SidecarState, StreamFigures } from '../api/cluster-state.ts';
import { tabletKey } from '../api/cluster-state.ts';
import type { TabletView } from '../api/shapes.ts';
import { judge } from './verdict.ts';

/** How many records each stream has shipped, and when that was so. */
export interface Counted {
  readonly atMs: number;
  readonly records: ReadonlyMap<string, number>;
}

export interface Composed {
  readonly state: ClusterState;
  readonly counted: Counted;
}

/**
 * The state of the cluster as one look shows it.
 * @param before what was counted at the look before, for the records a second
 */
export function composeState(look: ClusterLook, version: string, before: Counted | null, nowMs: number): Composed {
  const records = shippedBy(look.sidecars);
  const tablets = look.streams.flatMap((stream) => stream.tablets);
  const sidecars = look.sidecars.map((sidecar) => sidecarState(sidecar, look, tablets));
  const streams = look.streams.map((stream) => {
    const { tablets: own, ...rest } = stream;
    return { ...rest, figures: figuresOf(stream.name, own, records, before, nowMs) };
  });
  const trouble = null;
  const verdict = judge({ streams, tablets, sidecars, trouble, nowMs });
  const at = new Date(nowMs).toISOString();
  return { state: { at, version, trouble, verdict, streams, tablets, sidecars }, counted: { atMs: nowMs, records } };
}

/** The same while the cluster cannot be looked at: all is as it was before, and so the figures say nothing of now. */
export function composeTrouble(
  before: ClusterState | null,
  version: string,
  trouble: LookTrouble,
  nowMs: number,
): ClusterState {
  const { streams = [], tablets = [], sidecars = [] } = before ?? {};
  const verdict = judge({ streams, tablets, sidecars, trouble, nowMs });
  return { at: new Date(nowMs).toISOString(), version, trouble, verdict, streams, tablets, sidecars };
}

function shippedBy(sidecars: readonly SidecarLook[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { status } of sidecars)
    for (const [stream, records] of Object.entries(status?.recordsShipped ?? {}))
      sums.set(stream, (sums.get(stream) ?? 0) + records);
  return sums;
}

function figuresOf(
  name: string,
  tablets: readonly TabletView[],
  records: ReadonlyMap<string, number>,
  before: Counted | null,
  nowMs: number,
): StreamFigures {
  const recordsShipped = records.get(name) ?? 0;
  const seconds = before === null ? 0 : (nowMs - before.atMs) / 1000;
  const more = recordsShipped - (before?.records.get(name) ?? 0);
  return {
    recordsShipped,
    // Fewer than before: a sidecar has started anew, or does not answer.
    recordsPerSecond: seconds > 0 && more >= 0 ? Math.round((more / seconds) * 10) / 10 : null,
    lagSeconds: largestLag(tablets),
    heldBytes: heldBytesOf(tablets),
  };
}

/** Null where nothing is known of any. */
export function largestLag(tablets: readonly Pick<TabletView, 'lagSeconds'>[]): number | null {
  let largest: number | null = null;
  for (const { lagSeconds } of tablets)
    if (lagSeconds !== null && (largest === null || lagSeconds > largest)) largest = lagSeconds;
  return largest;
}

export function heldBytesOf(tablets: readonly Pick<TabletView, 'hold'>[]): number {
  return tablets.reduce((sum, { hold }) => sum + (hold?.bytes ?? 0), 0);
}

function sidecarState(sidecar: SidecarLook, look: ClusterLook, tablets: readonly TabletView[]): SidecarState {
  const { status, ...known } = sidecar;
  let ships = 0;
  const standsInFor = new Map<string, number>();
  for (const tablet of tablets) {
    if (sidecar.http === '' || tablet.sidecar !== sidecar.http) continue;
    ships++;
    const leader = tablet.role === 'follower' ? look.leadersOf.get(tabletKey(tablet)) : undefined;
    if (leader !== undefined && leader !== sidecar.tserver) standsInFor.set(leader, (standsInFor.get(leader) ?? 0) + 1);
  }
  return {
    ...known,
    ships,
    standsInFor: [...standsInFor].map(([tserver, count]) => ({ tserver, tablets: count })),
    status: status && toldOf(status),
  };
}

/** What it has shipped is told by stream. */
function toldOf({ readiness, disk, heldBytes, limit }: LocalStatus): NonNullable<SidecarState['status']> {
  return { readiness, disk, heldBytes, limit };
}
