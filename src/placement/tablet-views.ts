import type { TabletPosition } from '../change/position.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import { oncePer } from '../util/once-per.ts';
import { fileNow, wallTimeOf } from '../util/steady-clock.ts';
import type { CatalogTable } from '../streams/table-catalog.ts';
import type { Shipped } from './gaps.ts';
import type { LocalReplica } from '../keeping/local-replica.ts';
import type { Inability } from './placement.ts';
import { lostLogError, type LostRange } from '../keeping/bounded-hold.ts';
import type { ReplicaKeeper } from '../keeping/replica-keeper.ts';
import type { Keepers } from '../keeping/keepers.ts';
import { keptOf } from './kept-tablet.ts';
import { shippingKey, type OpenStream, type StreamedTablet } from './open-streams.ts';
import {
  isException,
  waitingFor,
  type HoldFigures,
  type HoldView,
  type ReasonedView,
  type Standing,
} from '../api/shapes.ts';
import type { Wait } from '../util/waits.ts';
import { unattendedServers } from './unattended-servers.ts';

/** What a tablet manager has at the moment. */
export interface ManagedTablets {
  readonly keepers: Keepers;
  readonly lostOf: (tabletId: string) => { readonly range: LostRange; readonly since: string } | undefined;
  readonly replicas: () => readonly LocalReplica[];
  /** Whether a living sidecar stands beside this tablet server. */
  readonly isAttended: (tserverUuid: string) => boolean;
  readonly streamed: () => readonly StreamedTablet[];
  /** By {@link shippingKey}; also where it has yet to finish the write in hand. */
  readonly shipped: (key: string) => Shipped | undefined;
  readonly allShipped: () => readonly Shipped[];
  /** Why a tablet that is ours to ship has not begun, by {@link shippingKey}; not there where it is not ours. */
  readonly waitOf: (key: string) => Wait | undefined;
  /** Whether we are about to stand in for a tablet's own sidecar. */
  readonly isClaimed: (stream: string, tabletId: string) => boolean;
  /** By {@link shippingKey}: why we cannot ship what is ours to ship, or what nobody ships. */
  readonly inabilityOf: (key: string) => Inability | null;
  /** Where a stream goes on here, as far as is known without its sink. */
  readonly startOf: (open: OpenStream, table: CatalogTable, tabletId: string) => TabletPosition;
}

const ledAmong = oncePer(
  (replicas: readonly LocalReplica[]) =>
    new Set(replicas.filter(({ isLeader }) => isLeader).map(({ tabletId }) => tabletId)),
);

/** What a tablet manager shows of its tablets, for the API and the metrics. */
export class TabletViews {
  readonly #state: ManagedTablets;

  constructor(state: ManagedTablets) {
    this.#state = state;
  }

  /**
   * The tablets that are shipped from here, are about to be in another's place, or would be but for a pause.
   * @param nowMs by {@link steadyNow}
   * @param which only what {@link isException} lets pass: of hundreds of tablets that is mostly none
   */
  tablets(nowMs: number, which: 'all' | 'exceptions'): readonly ReasonedView[] {
    const replicas = this.#state.replicas();
    const led = ledAmong(replicas);
    const shipped = this.#state.allShipped().flatMap(({ key, replicator }) => {
      const { tabletId } = replicator;
      const role = led.has(tabletId) ? ('leader' as const) : ('follower' as const);
      const yields = this.#state.inabilityOf(key) !== null;
      const said = { role, ...(yields && { yields }) };
      if (which === 'exceptions' && !isException(said)) return [];
      return [{ ...replicator.view(nowMs), sidecar: null, hold: this.#hold(tabletId), ...said }];
    });
    const standing = this.#standing(led, nowMs);
    return [...shipped, ...(which === 'exceptions' ? standing.filter(isException) : standing)];
  }

  /** The held logs of all replicas here whose tables are streamed, led from here or not. */
  holds(): readonly HoldFigures[] {
    return this.#state.streamed().flatMap(({ tabletId, table, streams }) => {
      const keeper = this.#state.keepers.get(tabletId);
      if (!keeper) return [];
      const hold = this.#hold(tabletId);
      const secondsUntilLimit = keeper.secondsUntilLimit(fileNow());
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

  /** See {@link unattendedServers}. */
  unattendedTservers(): readonly string[] {
    const { replicas, streamed, isAttended } = this.#state;
    return unattendedServers(replicas(), new Set(streamed().map(({ tabletId }) => tabletId)), isAttended);
  }

  /** Tablets that are not shipped: of paused streams, those that we cannot ship, and those that have yet to begin here. */
  #standing(led: ReadonlySet<string>, nowMs: number): ReasonedView[] {
    const views: ReasonedView[] = [];
    for (const { tabletId, table, streams } of this.#state.streamed()) {
      const isLed = led.has(tabletId);
      for (const { open, paused, key } of streams) {
        if (this.#state.shipped(key)) continue;
        const { name } = open.stored.definition;
        const isStanding =
          this.#state.inabilityOf(key) !== null ||
          this.#state.isClaimed(name, tabletId) ||
          (isLed && (paused || this.#state.waitOf(key) !== undefined));
        if (!isStanding) continue;
        const applied = this.#state.startOf(open, table, tabletId).opId;
        const standing = paused ? this.#paused(tabletId, applied) : this.#begins(key, nowMs);
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
          hold: this.#hold(tabletId),
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

  /** Why it has yet to begin; what we cannot ship another sidecar may. */
  #begins(key: string, nowMs: number): Standing & Pick<ReasonedView, 'yields'> {
    const inability = this.#state.inabilityOf(key);
    const yields = inability === null ? {} : { yields: true };
    if (inability !== null && inability.reason !== 'starting') {
      const { code, message } = inability.reason;
      return {
        state: 'blocked',
        error: { code, message, since: wallTimeOf(inability.sinceMs) },
        ...yields,
      };
    }
    const wait = this.#state.waitOf(key) ?? { for: 'its turn', sinceMs: inability?.sinceMs ?? nowMs };
    return { state: 'starting', ...waitingFor(wait), ...yields };
  }

  /** What a crash may make at-least-once repeat: all that was sent since the last marker. */
  #unmarkedOps(keeper: ReplicaKeeper, open: OpenStream, tableId: string): number {
    const sent = this.#state.shipped(shippingKey(open.stored, keeper.tabletId))?.replicator.sent.index;
    const { generation, start } = keptOf(open, tableId, keeper.tabletId);
    const marked = keeper.marked(generation)?.position.opId.index ?? start?.opId.index ?? 0n;
    return sent === undefined || sent <= marked ? 0 : Number(sent - marked);
  }

  #hold(tabletId: string): HoldView | null {
    const hold = this.#state.keepers.get(tabletId)?.hold;
    if (hold?.firstIndex == null) return null;
    const { firstIndex, bytes, oldestAtMs } = hold;
    const nowMs = fileNow();
    return { index: Number(firstIndex), bytes, ageSeconds: Math.max(0, nowMs - (oldestAtMs ?? nowMs)) / 1000 };
  }
}
