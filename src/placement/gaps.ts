import type { OpId } from '../kudu/opid.ts';
import type { Logger } from '../util/logger.ts';
import { steadyNow } from '../util/steady-clock.ts';
import type { GapFiller } from '../source/gap-filler.ts';
import { seeToGap, type GapSituation } from './gap-core.ts';
import { GapFilling } from './gap-filling.ts';
import type { Gap } from '../shipping/replicator-state.ts';
import type { Resync } from '../streams/stored-stream.ts';
import type { Keepers } from '../keeping/keepers.ts';
import { lostLogError, type LostRange } from '../keeping/bounded-hold.ts';
import { keptOf } from './kept-tablet.ts';
import type { OpenStream } from './open-streams.ts';
import type { TabletReplicator } from '../shipping/tablet-replicator.ts';

/** A tablet of a stream that is shipped from here. */
export interface Shipped {
  /** Of stream and tablet, for as long as the stream is the same. */
  readonly key: string;
  readonly open: OpenStream;
  readonly replicator: TabletReplicator;
}

export interface GapsOptions {
  readonly keepers: Keepers;
  readonly filler: GapFiller;
  /** `manual`: a gap stays until somebody asks for a resync. */
  readonly repair: 'auto' | 'manual';
  /**
   * Since when a tablet is known to be no more, by `performance.now()`; undefined while it is there. It has no table to
   * ask: its end is all that is left to tell, and that what the log lacks is missing.
   */
  readonly droppedSinceMs: (tabletId: string) => number | undefined;
  /** A limit has let go of a tablet's log up to an index before all streams had it. */
  readonly onLost: (tabletId: string, toIndex: bigint) => void;
  /** What time it is in the cluster: requests come by way of other sidecars. In milliseconds since 1970. */
  readonly kuduNow: () => number;
  readonly logger: Logger;
}

/** More that goes within this time is told of already. */
const GOES_ON_MS = 600_000;

/**
 * What becomes of tablets whose log has a gap: another sidecar's log fills it; what nobody has is made up for by the
 * table itself. And the bounded holds, which make gaps.
 */
export class Gaps {
  readonly #options: GapsOptions;
  readonly #filling: GapFilling;
  /** By tablet: what a bounded hold has let go of. */
  readonly #lost = new Map<string, { readonly range: LostRange; readonly since: string; readonly atMs: number }>();

  constructor(options: GapsOptions) {
    this.#options = options;
    this.#filling = new GapFilling(options.filler, options.logger);
  }

  /** What a bounded hold has let go of, and since when. */
  lostOf(tabletId: string): { readonly range: LostRange; readonly since: string } | undefined {
    return this.#lost.get(tabletId);
  }

  /** A tablet is shipped from here anew: what was found out about a gap of before is over. */
  forget(tabletId: string): void {
    this.#filling.forget(tabletId);
  }

  /** A hold that is too large or too old is let go, and whoever was to read it says so. */
  boundHolds(shipped: Iterable<Shipped>): void {
    const all = [...shipped];
    for (const [tabletId, lost] of this.#options.keepers.enforceLimits(steadyNow())) {
      const { fromIndex, toIndex, why } = lost;
      const known = this.#lost.get(tabletId);
      const goesOn = known !== undefined && steadyNow() - known.atMs < GOES_ON_MS;
      const since = goesOn ? known.since : new Date().toISOString();
      this.#lost.set(tabletId, { range: lost, since, atMs: steadyNow() });
      this.#options.onLost(tabletId, toIndex);
      const fields = { tabletId, fromIndex: fromIndex.toString(), toIndex: toIndex.toString(), why };
      // A log that grows at its bound is let go of piece by piece.
      this.#options.logger[goesOn ? 'debug' : 'error'](fields, 'a held log was let go of that was not shipped');
      for (const { replicator } of all) {
        if (replicator.tabletId !== tabletId || replicator.read.index >= toIndex) continue;
        replicator.logLost(lostLogError(tabletId, lost, replicator.read));
        this.#filling.neverAskFor(tabletId);
      }
    }
  }

  /**
   * Sees to the gaps there are. Answers the keys of those that are to begin anew, since another sidecar has shipped what
   * their log lacks.
   * @param track takes the work that goes on
   */
  look(
    shipped: ReadonlyMap<string, Shipped>,
    signal: AbortSignal,
    track: (work: Promise<unknown>) => void,
  ): readonly string[] {
    const overtaken: string[] = [];
    const lowest = new Map<string, OpId>();
    for (const [key, { open, replicator }] of shipped) {
      const { tabletId, gap } = replicator;
      if (gap === null) continue;
      const { after } = gap;
      const lost = this.#lost.get(tabletId)?.range;
      if (lost && lost.toIndex > after.index) replicator.logLost(lostLogError(tabletId, lost, after));
      switch (seeToGap(this.#situationOf(open, replicator, gap))) {
        case 'begins-anew':
          overtaken.push(key);
          break;
        case 'repairs':
          this.#filling.forget(tabletId);
          replicator.repair();
          break;
        case 'asks-others':
          if (after.index < (lowest.get(tabletId)?.index ?? after.index + 1n)) lowest.set(tabletId, after);
      }
    }
    for (const [tabletId, after] of lowest) {
      const filling = this.#filling.start(tabletId, after, signal);
      if (filling)
        track(
          filling.then((isFilled) => {
            for (const { replicator } of isFilled ? shipped.values() : [])
              if (replicator.tabletId === tabletId && replicator.gap !== null) replicator.logFilled();
          }),
        );
    }
    return overtaken;
  }

  #situationOf(open: OpenStream, replicator: TabletReplicator, { after, sinceMs }: Gap): GapSituation {
    const { keepers, repair, droppedSinceMs, kuduNow } = this.#options;
    const { tabletId, generation, sinkWorks } = replicator;
    const droppedAtMs = droppedSinceMs(tabletId);
    // The last chance: limits are the same everywhere, what fell under them need not be.
    if (droppedAtMs !== undefined && this.#filling.verdict(tabletId) === 'lost') this.#filling.forget(tabletId);
    const lastsMs = steadyNow() - sinceMs;
    const { resync, gapRepair } = keptOf(open, replicator.tablet.tableId, tabletId);
    const isSince = (asked: Resync | undefined): boolean =>
      asked !== undefined && Date.parse(asked.requestedAt) >= kuduNow() - lastsMs;
    return {
      afterIndex: after.index,
      lastsMs,
      markedIndex: keepers.get(tabletId)?.marked(generation)?.position.opId.index ?? 0n,
      verdict: this.#filling.verdict(tabletId),
      sinkWorks,
      droppedForMs: droppedAtMs === undefined ? null : performance.now() - droppedAtMs,
      isAskedFor: isSince(resync) || isSince(gapRepair),
      repair,
    };
  }
}
