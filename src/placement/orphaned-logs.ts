import type { TabletView } from '../api/shapes.ts';
import type { Keepers } from '../keeping/keepers.ts';
import { parseOpId } from '../kudu/opid.ts';
import type { StreamedTablet } from './open-streams.ts';

/** How often the other sidecars are asked whether they still need a replica that is gone. */
const ASK_OTHERS_EVERY_MS = 15_000;
/** A replica that is copied again is away for a moment. */
const ORPHANED_FOR_MS = 15_000;

/** The held logs of replicas that were moved away: held until the sinks have all of them. */
export class OrphanedLogs {
  readonly #keepers: Keepers;
  readonly #shippedElsewhere: (signal: AbortSignal) => Promise<readonly TabletView[]>;
  /** Since when they have no replica here. */
  readonly #sinceMs = new Map<string, number>();
  #askedAtMs = Number.NEGATIVE_INFINITY;

  /** @param shippedElsewhere what the other sidecars say of the tablets that they ship */
  constructor(keepers: Keepers, shippedElsewhere: (signal: AbortSignal) => Promise<readonly TabletView[]>) {
    this.#keepers = keepers;
    this.#shippedElsewhere = shippedElsewhere;
  }

  /** Lets go of those that are done with. @param here the tablets that have a replica on this server */
  async look(
    streamed: readonly StreamedTablet[],
    here: { has(tabletId: string): boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const nowMs = performance.now();
    for (const tabletId of this.#sinceMs.keys()) if (here.has(tabletId)) this.#sinceMs.delete(tabletId);
    const orphans = streamed.filter(({ tabletId, dropped }) => {
      if (dropped || here.has(tabletId)) return false;
      const sinceMs = this.#sinceMs.get(tabletId) ?? nowMs;
      this.#sinceMs.set(tabletId, sinceMs);
      return nowMs - sinceMs >= ORPHANED_FOR_MS;
    });
    if (orphans.length === 0 || nowMs - this.#askedAtMs < ASK_OTHERS_EVERY_MS) return;
    this.#askedAtMs = nowMs;
    const applied = new Map<string, bigint>();
    for (const { stream, tabletId, applyOpId } of await this.#shippedElsewhere(signal))
      if (applyOpId !== null) applied.set(`${stream}/${tabletId}`, parseOpId(applyOpId).index);
    for (const { tabletId, streams } of orphans) {
      const keeper = this.#keepers.get(tabletId);
      if (!keeper?.caughtUp) continue;
      const isDone = streams.every(
        ({ open }) => (applied.get(`${open.stored.definition.name}/${tabletId}`) ?? -1n) >= keeper.committed.index,
      );
      if (!isDone) continue;
      this.#sinceMs.delete(tabletId);
      this.#keepers.letGo(tabletId, 'its replica was moved away, and all of it is shipped');
    }
  }
}
