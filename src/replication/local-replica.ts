import type { OpId } from '../kudu/opid.ts';

/** One replica of the tablet server beside us. */
export interface LocalReplica {
  readonly tabletId: string;
  readonly isLeader: boolean;
  /** RUNNING and with its data READY; anything else has no log to read, or a half one (kudu-facts trap 36). */
  readonly isRunning: boolean;
  /** Tablet server of the leader that this replica knows, or null. */
  readonly leaderUuid: string | null;
  /** Tablet servers of the voters that this replica knows; none where it may not be asked. */
  readonly voterUuids: readonly string[];
}

/** The tablet server beside us, as far as the peer manager asks it. */
export interface LocalTserver {
  listReplicas(signal: AbortSignal): Promise<readonly LocalReplica[]>;
  /** The replica's last committed operation. */
  committedOpId(tabletId: string, signal: AbortSignal): Promise<OpId>;
}

/** Who, of the sidecars beside a tablet's replicas, ships it, as far as one of them can tell. */
export interface ShipperView {
  /** Uuid of the tablet server beside us. */
  readonly self: string;
  /** Uuids of the tablet servers that have a living sidecar. */
  readonly alive: ReadonlySet<string>;
}

/**
 * The leader's sidecar ships. Where it does not live, the first living one among the voters stands in: it reads the same
 * committed operations in its own replica's log. Where two think it is their turn the sink fences one.
 */
export function shipsHere(replica: LocalReplica, { self, alive }: ShipperView): boolean {
  if (!replica.isRunning) return false;
  if (replica.isLeader) return true;
  const { leaderUuid, voterUuids } = replica;
  if (leaderUuid === null || alive.has(leaderUuid)) return false;
  const first = voterUuids.filter((uuid) => uuid === self || alive.has(uuid)).sort()[0];
  return first === self;
}

/** By then whoever's turn it was is done, unless something holds it up: then it is the next one's. */
const DROPPED_TAKE_OVER_MS = 20_000;

/**
 * Who ships what is left of a tablet that was dropped: the living sidecars that stood beside its replicas, one after the
 * other, until it is done. Two at once do no harm: the sink fences one.
 */
export function shipsDropped(
  { voterUuids, sinceMs }: { readonly voterUuids: readonly string[]; readonly sinceMs: number },
  { self, alive }: ShipperView,
  nowMs: number,
): boolean {
  const living = voterUuids.filter((uuid) => uuid === self || alive.has(uuid));
  const place = living.includes(self) ? living.indexOf(self) : living.length;
  return nowMs - sinceMs >= DROPPED_TAKE_OVER_MS * (place + 1);
}
