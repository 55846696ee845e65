import type { SinkPosition } from '../change/position.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { CatalogTable } from './catalog.ts';
import type { Shipped } from './gaps.ts';
import type { LocalReplica } from './local-replica.ts';
import { lostLogError, type LostRange, type ReplicaKeeper } from './replica-keeper.ts';
import type { ReplicaKeepers } from './replica-keepers.ts';
import { shippingKey, type OpenStream, type StreamedTablet } from './stream-members.ts';
import { waitingFor, type HoldFigures, type HoldView, type ReasonedView, type Standing } from './views.ts';
import type { Wait } from './waits.ts';

/** What a peer manager has at the moment. */
export interface PeerState {
  readonly keepers: ReplicaKeepers;
  readonly lostOf: (tabletId: string) => { readonly range: LostRange; readonly since: string } | undefined;
  readonly replicas: () => readonly LocalReplica[];
  readonly streamed: () => readonly StreamedTablet[];
  /** By {@link shippingKey}; also where it has yet to finish the write in hand. */
  readonly shipped: (key: string) => Shipped | undefined;
  readonly allShipped: () => readonly Shipped[];
  /** Why a tablet that is ours to ship has not begun, by {@link shippingKey}; not there where it is not ours. */
  readonly waitOf: (key: string) => Wait | undefined;
  /** Whether we are about to stand in for a tablet's own sidecar. */
  readonly isClaimed: (stream: string, tabletId: string) => boolean;
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
  tablets(nowMs: number): readonly ReasonedView[] {
    const replicas = this.#state.replicas();
    const led = new Set(replicas.filter(({ isLeader }) => isLeader).map(({ tabletId }) => tabletId));
    const shipped = this.#state.allShipped().map(({ replicator }) => {
      const role = led.has(replicator.tabletId) ? ('leader' as const) : ('follower' as const);
      return { ...replicator.view(nowMs), sidecar: null, role, hold: this.#hold(replicator.tabletId, nowMs) };
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
        unmarkedOps: this.#unmarkedOps(keeper, open),
      }));
    });
  }

  /** Tablets that are not shipped: of paused streams, those whose log cannot be read, and those that have yet to begin. */
  #standing(led: ReadonlySet<string>, nowMs: number): ReasonedView[] {
    const views: ReasonedView[] = [];
    for (const { tabletId, table, streams } of this.#state.streamed()) {
      const isLed = led.has(tabletId);
      for (const { open, paused } of streams) {
        const { name } = open.stored.definition;
        if (!isLed && !this.#state.isClaimed(name, tabletId)) continue;
        const key = shippingKey(open.stored, tabletId);
        if (this.#state.shipped(key)) continue;
        const applied = this.#state.startOf(open, table, tabletId).opId;
        const isPaused = isLed && paused;
        const standing = isPaused ? this.#paused(tabletId, applied) : this.#begins(key, tabletId, nowMs, isLed);
        if (standing === null) continue;
        views.push({
          stream: name,
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

  #paused(tabletId: string, applied: OpId): Standing {
    const lost = this.#state.lostOf(tabletId);
    if (lost === undefined || lost.range.toIndex <= applied.index) return { state: 'paused' };
    const { message } = lostLogError(tabletId, lost.range, applied);
    return { state: 'gap', error: { code: 'SPOOR_WAL_GAP', message, since: lost.since } };
  }

  /** Null where it is not known yet whether it is ours; what we claim is shown in any case: others go by it. */
  #begins(key: string, tabletId: string, nowMs: number, isLed: boolean): Standing | null {
    const error = this.#state.keepers.get(tabletId)?.unreadable ?? null;
    if (error && isLed) return { state: 'blocked', error };
    const wait = this.#state.waitOf(key) ?? (isLed ? null : { for: 'its turn', sinceMs: nowMs });
    return wait && { state: 'starting', ...waitingFor(wait) };
  }

  /** What a crash may make at-least-once repeat: all that was sent since the last marker. */
  #unmarkedOps(keeper: ReplicaKeeper, { stored, starts }: OpenStream): number {
    const sent = this.#state.shipped(shippingKey(stored, keeper.tabletId))?.replicator.sent.index;
    const start = starts.get(keeper.tabletId)?.opId.index ?? 0n;
    const marked = keeper.marked(stored.generation)?.position.opId.index ?? start;
    return sent === undefined || sent <= marked ? 0 : Number(sent - marked);
  }

  #hold(tabletId: string, nowMs: number): HoldView | null {
    const hold = this.#state.keepers.get(tabletId)?.hold;
    if (hold?.firstIndex == null) return null;
    const { firstIndex, bytes, oldestAtMs } = hold;
    return { index: Number(firstIndex), bytes, ageSeconds: Math.max(0, nowMs - (oldestAtMs ?? nowMs)) / 1000 };
  }
}
