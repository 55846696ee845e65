import type { SinkPosition } from '../change/position.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { CatalogTable } from './catalog.ts';
import type { Shipped } from './gaps.ts';
import type { LocalReplica } from './local-replica.ts';
import type { Inability } from './placement.ts';
import { lostLogError, type LostRange, type ReplicaKeeper } from './replica-keeper.ts';
import type { ReplicaKeepers } from './replica-keepers.ts';
import { keptOf } from './kept-tablet.ts';
import { shippingKey, type OpenStream, type StreamedTablet } from './stream-members.ts';
import type { HoldFigures, HoldView, TabletView } from './views.ts';

/** What a peer manager has at the moment. */
export interface PeerState {
  readonly keepers: ReplicaKeepers;
  readonly lostOf: (tabletId: string) => { readonly range: LostRange; readonly since: string } | undefined;
  readonly replicas: () => readonly LocalReplica[];
  readonly streamed: () => readonly StreamedTablet[];
  /** By {@link shippingKey}; also where it has yet to finish the write in hand. */
  readonly shipped: (key: string) => Shipped | undefined;
  readonly allShipped: () => readonly Shipped[];
  /** Whether we are about to stand in for a tablet's own sidecar. */
  readonly isClaimed: (stream: string, tabletId: string) => boolean;
  /** By {@link shippingKey}: why we cannot ship what is ours to ship, or what nobody ships. */
  readonly inabilityOf: (key: string) => Inability | null;
  /** Where a stream goes on here, as far as is known without its sink. */
  readonly startOf: (open: OpenStream, table: CatalogTable, tabletId: string) => SinkPosition;
}

/** What a peer manager shows of its tablets, for the API and the metrics. */
export class PeerViews {
  readonly #state: PeerState;

  constructor(state: PeerState) {
    this.#state = state;
  }

  /** The tablets that are shipped from here, are about to be in another's place, or would be but for a pause. */
  tablets(nowMs: number): readonly TabletView[] {
    const replicas = this.#state.replicas();
    const led = new Set(replicas.filter(({ isLeader }) => isLeader).map(({ tabletId }) => tabletId));
    const shipped = this.#state.allShipped().map(({ open, replicator }) => {
      const { tabletId } = replicator;
      const role = led.has(tabletId) ? ('leader' as const) : ('follower' as const);
      const inability = this.#state.inabilityOf(shippingKey(open.stored, tabletId));
      const view = { ...replicator.view(nowMs), sidecar: null, role, hold: this.#hold(tabletId, nowMs) };
      return inability === null ? view : { ...view, yields: true };
    });
    return [...shipped, ...this.#standing(led, nowMs)];
  }

  /** The held logs of all replicas here whose tables are streamed, led from here or not. */
  holds(nowMs: number): readonly HoldFigures[] {
    return this.#state.streamed().flatMap(({ tabletId, table, streams }) => {
      const keeper = this.#state.keepers.get(tabletId);
      if (!keeper) return [];
      const hold = this.#hold(tabletId, nowMs);
      const secondsUntilLimit = keeper.secondsUntilLimit(nowMs);
      return streams.map(({ open }) => ({
        stream: open.stored.definition.name,
        table: table.name,
        tablet: tabletId,
        hold,
        secondsUntilLimit,
        unmarkedOps: this.#unmarkedOps(keeper, open, table.tableId),
      }));
    });
  }

  /** Tablets that are not shipped from here: of paused streams, those that we cannot ship, and those we are about to. */
  #standing(led: ReadonlySet<string>, nowMs: number): TabletView[] {
    const views: TabletView[] = [];
    for (const { tabletId, table, streams } of this.#state.streamed()) {
      const isLed = led.has(tabletId);
      for (const { open, paused } of streams) {
        const { name } = open.stored.definition;
        const key = shippingKey(open.stored, tabletId);
        const inability = this.#state.inabilityOf(key);
        const isClaimed = this.#state.isClaimed(name, tabletId);
        if (this.#state.shipped(key) || (inability === null && !isClaimed && !(isLed && paused))) continue;
        const applied = this.#state.startOf(open, table, tabletId).opId;
        const standing = paused ? this.#paused(tabletId, applied) : standingView(inability);
        views.push({
          stream: name,
          generation: keptOf(open, table.tableId, tabletId).generation,
          tabletId,
          table: table.name,
          sidecar: null,
          role: isLed ? 'leader' : 'follower',
          applyOpId: formatOpId(applied),
          committedOpId: null,
          lagOps: null,
          lagSeconds: null,
          hold: this.#hold(tabletId, nowMs),
          ...standing,
        });
      }
    }
    return views;
  }

  #paused(tabletId: string, applied: OpId): Pick<TabletView, 'state' | 'error'> {
    const lost = this.#state.lostOf(tabletId);
    if (lost === undefined || lost.range.toIndex <= applied.index) return { state: 'paused' };
    const { message } = lostLogError(tabletId, lost.range, applied);
    return { state: 'gap', error: { code: 'SPOOR_WAL_GAP', message, since: lost.since } };
  }

  /** What a crash may make at-least-once repeat: all that was sent since the last marker. */
  #unmarkedOps(keeper: ReplicaKeeper, open: OpenStream, tableId: string): number {
    const sent = this.#state.shipped(shippingKey(open.stored, keeper.tabletId))?.replicator.sent.index;
    const { generation, start } = keptOf(open, tableId, keeper.tabletId);
    const marked = keeper.marked(generation)?.position.opId.index ?? start?.opId.index ?? 0n;
    return sent === undefined || sent <= marked ? 0 : Number(sent - marked);
  }

  #hold(tabletId: string, nowMs: number): HoldView | null {
    const hold = this.#state.keepers.get(tabletId)?.hold;
    if (hold?.firstIndex == null) return null;
    const { firstIndex, bytes, oldestAtMs } = hold;
    return { index: Number(firstIndex), bytes, ageSeconds: Math.max(0, nowMs - (oldestAtMs ?? nowMs)) / 1000 };
  }
}

function standingView(inability: Inability | null): Pick<TabletView, 'state' | 'yields' | 'error'> {
  if (inability === null) return { state: 'starting' };
  const { reason, sinceMs } = inability;
  if (reason === 'starting') return { state: 'starting', yields: true };
  const error = { code: reason.code, message: reason.message, since: new Date(sinceMs).toISOString() };
  return { state: 'blocked', yields: true, error };
}
