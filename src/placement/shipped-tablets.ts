import { MIN_OPID, type OpId } from '../kudu/opid.ts';
import type { MissingChanges } from '../change/change.ts';
import type { TabletPosition } from '../change/position.ts';
import type { Lateness } from '../api/shapes.ts';
import type { ReplicationMetrics, TabletLabels } from '../api/counters.ts';
import type { DroppedTablets } from '../keeping/dropped-tablets.ts';
import type { Keepers } from '../keeping/keepers.ts';
import type { ReplicatorLimits } from '../shipping/batch-policy.ts';
import type { Ending } from '../shipping/replicator-state.ts';
import { TabletReplicator } from '../shipping/tablet-replicator.ts';
import type { ChangeSource } from '../source/change-source.ts';
import type { GapFiller } from '../source/gap-filler.ts';
import type { TabletSourceOptions } from '../source/tablet-source.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { Membership } from '../streams/membership.ts';
import type { MemberTablet, StoredStream, StreamSource } from '../streams/stored-stream.ts';
import type { CatalogTable } from '../streams/table-catalog.ts';
import type { ByteBudget } from '../util/byte-budget.ts';
import type { Logger } from '../util/logger.ts';
import type { Shipped } from './gaps.ts';
import { keptOf } from './kept-tablet.ts';
import { streamKey, type OpenStream } from './open-streams.ts';
import { planShipping, type Beginning } from './shipping-plan.ts';

/** What a tablet's stream is read from; see {@link TabletSourceOptions}. */
export type SourceRequest = Pick<
  TabletSourceOptions,
  | 'tablet'
  | 'generation'
  | 'joinsAgain'
  | 'from'
  | 'announceSchema'
  | 'repairs'
  | 'resync'
  | 'correction'
  | 'rewind'
  | 'resolvedEveryMs'
  | 'whyGone'
  | 'onMissing'
  | 'fillRest'
  | 'copySlots'
  | 'pace'
  | 'logger'
> & {
  /** Where its log takes room from for large operations. */
  readonly largeReads: ByteBudget;
  /** Operations whose rows are left out. */
  readonly skips: readonly OpId[];
  /** What its records have of a row, and whether one may be less than whole. */
  readonly images: StreamDefinition['images'];
  readonly allowsPartial: boolean;
};

export interface ShippedTabletsOptions {
  readonly keepers: Keepers;
  readonly gaps: GapFiller;
  readonly streams: Pick<StreamSource, 'endTablet'>;
  readonly openSource: (request: SourceRequest, signal: AbortSignal) => ChangeSource;
  /** `tabletCount` says how many are shipped from here at the moment. */
  readonly limitsFor: (stream: StoredStream, tabletCount: () => number) => ReplicatorLimits;
  readonly metrics: ReplicationMetrics;
  readonly kuduNow: () => number;
  readonly logger: Logger;
}

/** What the tablets that are shipped need of who says which. */
export interface ShippedTabletsParts {
  readonly dropped: DroppedTablets;
  /** Where a stream goes on, as far as its start and our log's markers tell. */
  readonly startOf: (open: OpenStream, table: CatalogTable, tabletId: string) => TabletPosition;
  readonly onBegun: (tabletId: string) => void;
  /** One has ended by itself, after so long. */
  readonly onEnded: (key: string, ending: Ending, ranMs: number) => void;
  /** There may be something to do. */
  readonly onChange: () => void;
}

/** A tablet of a stream that is to be shipped from here. */
export interface WantedTablet extends Beginning {
  readonly open: OpenStream;
  readonly table: CatalogTable;
  readonly tabletId: string;
}

export interface Shipping extends Shipped, Beginning {
  readonly membership: Membership;
  readonly sinceMs: number;
  /** As its tablet server said last. */
  committed: OpId;
}

const CALL_TIMEOUT_MS = 5000;

/** The replicators that run here, by stream and tablet: begins and ends them as it is told. */
export class ShippedTablets {
  readonly #options: ShippedTabletsOptions;
  readonly #parts: ShippedTabletsParts;
  readonly #shipping = new Map<string, Shipping>();
  /** Those that have yet to finish the write in hand. */
  readonly #stopping = new Map<string, Shipping>();
  readonly #ending = new Set<Promise<unknown>>();

  constructor(options: ShippedTabletsOptions, parts: ShippedTabletsParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Those that are not stopping. */
  get running(): ReadonlyMap<string, Shipping> {
    return this.#shipping;
  }

  /** Also where it is stopping. */
  get(key: string): Shipping | undefined {
    return this.#shipping.get(key) ?? this.#stopping.get(key);
  }

  /** Those that are stopping too. */
  all(): readonly Shipping[] {
    return [...this.#shipping.values(), ...this.#stopping.values()];
  }

  /** Whether one of a tablet runs. */
  ships(tabletId: string): boolean {
    for (const { replicator } of this.#shipping.values()) if (replicator.tabletId === tabletId) return true;
    return false;
  }

  /** How late those are that have something left to ship: mostly a few of many. @param nowMs by {@link steadyNow} */
  lateness(nowMs: number): readonly Lateness[] {
    const late: Lateness[] = [];
    for (const some of [this.#shipping, this.#stopping])
      for (const shipping of some.values()) if (this.#isLate(shipping)) late.push(shipping.replicator.view(nowMs));
    return late;
  }

  #isLate({ replicator, committed }: Shipping): boolean {
    const { index } = replicator.acked.opId;
    if (replicator.isBehind || committed.index > index) return true;
    const keeper = this.#options.keepers.get(replicator.tabletId);
    return !keeper || keeper.committed.index > index;
  }

  /** Those of a tablet's streams that are shipped from here. */
  labelsOf(tabletId: string, generations: readonly string[]): readonly TabletLabels[] {
    const spoken = new Set(generations);
    return [...this.#shipping.values()]
      .filter(({ replicator }) => replicator.tabletId === tabletId && spoken.has(replicator.generation))
      .map(({ replicator }) => replicator.labels);
  }

  /** @param hasReplica whether a tablet has a replica here */
  become(wanted: ReadonlyMap<string, WantedTablet>, hasReplica: (tabletId: string) => boolean): void {
    const steps = planShipping(wanted, this.#shipping, this.#stopping, (each) => hasReplica(each.replicator.tabletId));
    for (const step of steps) {
      if (step.kind === 'start') {
        this.#start(step.key, wanted.get(step.key)!);
        continue;
      }
      if (step.why === 'not-ours') this.#options.metrics.leaderChange(this.#shipping.get(step.key)!.replicator.labels);
      void this.stop(step.key);
    }
  }

  /** Resolves when it has ended; another one of the tablet begins only then. */
  stop(key: string, hurry?: AbortSignal): Promise<void> {
    const shipping = this.#shipping.get(key);
    if (!shipping) return Promise.resolve();
    this.#shipping.delete(key);
    this.#stopping.set(key, shipping);
    const ending = shipping.replicator.stop(hurry).then(() => {
      this.#stopping.delete(key);
      this.#parts.onChange();
    });
    this.track(ending);
    return ending;
  }

  /** Stops all of a stream, and closes its sink. */
  async closeStream(open: OpenStream): Promise<void> {
    const id = streamKey(open.stored);
    const left = [...this.#shipping].filter(([, shipping]) => streamKey(shipping.open.stored) === id);
    await Promise.all(left.map(([key]) => this.stop(key)));
    await open.sink[Symbol.asyncDispose]();
  }

  async stopAll(hurry: AbortSignal): Promise<void> {
    await Promise.all([...this.#shipping.keys()].map((key) => this.stop(key, hurry)));
  }

  /** Resolves when all that was tracked is over. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#ending);
  }

  /** What fails of it is told here: it is nobody else's concern, and the sidecar goes on. */
  track(work: Promise<unknown>): void {
    const tracked: Promise<unknown> = work
      .catch((error: unknown) => {
        this.#options.logger.error({ err: error }, 'unexpected error');
      })
      .finally(() => this.#ending.delete(tracked));
    this.#ending.add(tracked);
  }

  #start(key: string, { open, table, tabletId, asked, schemas }: WantedTablet): void {
    const { openSource, limitsFor, metrics, kuduNow, logger, keepers, gaps } = this.#options;
    const { dropped, startOf, onBegun } = this.#parts;
    const { definition } = open.stored;
    const tablet = { tableId: table.tableId, tabletId };
    const { membership, generation, start, resync, correction, rewind, skips } = keptOf(open, table.tableId, tabletId);
    onBegun(tabletId);
    const source = {
      tablet,
      generation,
      joinsAgain: membership.again,
      resync: resync?.id ?? null,
      correction: correction ?? null,
      rewind: rewind ?? null,
      skips,
      resolvedEveryMs: definition.resolved?.intervalMs ?? null,
      copySlots: open.copySlots,
      whyGone: (signal: AbortSignal) => dropped.whyGone(tablet, signal),
      onMissing: (missing: MissingChanges) => {
        dropped.tellMissing({ name: definition.name, generation }, tabletId, missing);
      },
      fillRest: (after: OpId, signal: AbortSignal) => gaps.fill(tabletId, after, signal, generation),
      pace: open.pace,
      largeReads: open.largeReads,
      images: definition.images,
      allowsPartial: open.format.needsWholeRows !== true,
      logger: logger.child({ stream: definition.name, tabletId }),
    };
    const replicator = new TabletReplicator({
      stream: { name: definition.name, generation },
      tablet,
      start: startOf(open, table, tabletId),
      startSink: keepers.get(tabletId)?.marked(generation)?.sink ?? '',
      announcesSchemaAt: start?.opId ?? MIN_OPID,
      sink: open.sink,
      openSource: (from, options, signal) => openSource({ ...source, from, ...options }, signal),
      format: open.format,
      arena: open.arena,
      schemas,
      limits: limitsFor(open.stored, () => this.#shipping.size),
      onAcked: (position, worthIndex, sink) => keepers.get(tabletId)?.acked(generation, position, worthIndex, sink),
      metrics,
      kuduNow,
      logger,
    });
    this.#shipping.set(key, {
      key,
      open,
      membership,
      asked,
      schemas,
      replicator,
      sinceMs: performance.now(),
      committed: MIN_OPID,
    });
    metrics.leaderChange(replicator.labels);
    const ended = replicator.done.then((ending) => {
      keepers.get(tabletId)?.shippingEnded(generation);
      this.#ended(key, replicator, ending);
    });
    this.track(ended);
  }

  #ended(key: string, replicator: TabletReplicator, ending: Ending): void {
    const shipping = this.#shipping.get(key);
    if (shipping?.replicator !== replicator) return; // it was stopped, whatever it met on its way
    const { open, membership, sinceMs } = shipping;
    this.#shipping.delete(key);
    if (replicator.acked.ended) this.track(this.#tellEnded(open, { ...replicator.tablet, membership }));
    this.#parts.onEnded(key, ending, performance.now() - sinceMs);
  }

  /** Where it fails the tablet is shipped once more, of which nothing is left. */
  async #tellEnded({ stored }: OpenStream, tablet: MemberTablet): Promise<void> {
    try {
      await this.#options.streams.endTablet(stored, tablet, AbortSignal.timeout(CALL_TIMEOUT_MS));
      this.#parts.onChange();
    } catch (error) {
      this.#options.logger.debug({ err: error, tabletId: tablet.tabletId }, 'the end of a tablet was not kept');
    }
  }
}
