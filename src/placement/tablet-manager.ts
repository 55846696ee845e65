import { MIN_OPID } from '../kudu/opid.ts';
import type { SinkKind } from '../api/parts.ts';
import type { HoldFigures, Lateness, ReasonedView } from '../api/shapes.ts';
import type { TabletPosition } from '../change/position.ts';
import { DroppedTablets, type TabletFates } from '../keeping/dropped-tablets.ts';
import type { Unwanted } from '../keeping/keepers.ts';
import type { LocalReplica, LocalTserver } from '../keeping/local-replica.ts';
import { furthestStart } from '../keeping/replica-keeper.ts';
import type { Sink } from '../sinks/sink.ts';
import { isOfStream } from '../streams/membership.ts';
import type { StreamSource } from '../streams/stored-stream.ts';
import type { CatalogTable } from '../streams/table-catalog.ts';
import { LinkedAbort } from '../util/linked-abort.ts';
import type { Logger } from '../util/logger.ts';
import { oncePer } from '../util/once-per.ts';
import { pause } from '../util/pause.ts';
import { remembered } from '../util/remembered.ts';
import { steadyNow } from '../util/steady-clock.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { Gaps } from './gaps.ts';
import { HandOver, type HandOverOptions } from './hand-over.ts';
import { generationsOf, keptOf, keptTablet } from './kept-tablet.ts';
import { KuduTrouble } from './kudu-trouble.ts';
import { LastAnswers, LOOK_TIMEOUT_MS } from './last-answers.ts';
import { StreamMembers, type OpenStream, type StreamMembersOptions, type StreamedTablet } from './open-streams.ts';
import { OrphanedLogs } from './orphaned-logs.ts';
import { shipsDropped } from './placement-core.ts';
import { Placement } from './placement.ts';
import { ReplicaList } from './replica-list.ts';
import { ShippedTablets, type ShippedTabletsOptions, type WantedTablet } from './shipped-tablets.ts';
import { ShippingUpkeep } from './shipping-upkeep.ts';
import { SinkChecks } from './sink-checks.ts';
import { wantedTablet, without } from './stream-tablet.ts';
import { TabletViews } from './tablet-views.ts';

export interface TabletManagerOptions extends StreamMembersOptions, HandOverOptions, ShippedTabletsOptions {
  readonly streams: StreamSource;
  readonly tserver: LocalTserver;
  /** Every tablet that the other sidecars show. */
  readonly shownElsewhere: (signal: AbortSignal) => Promise<readonly ReasonedView[]>;
  readonly gapRepair: 'auto' | 'manual';
  readonly fates: TabletFates;
  /** What time it is in the cluster, in milliseconds since 1970. */
  readonly kuduNow: () => number;
  /** What is wrong with Kudu, in words for a person, with what to do about it where that is known. */
  readonly explain: (error: unknown) => string;
  readonly logger: Logger;
}

/** A new leader is seen within it; the streams are looked at as often. */
const TICK_MS = 1000;
const CALL_TIMEOUT_MS = 5000;

/** Of hundreds of tablets that are asked about each second little changes: what follows from one is worked out once. */
const kept = oncePer(keptTablet);
const described = oncePer((tablet: StreamedTablet) => ({ ...tablet, generations: generationsOf(tablet) }));
/** Nor of the list of them. */
const keptOfAll = oncePer((streamed: readonly StreamedTablet[]) => {
  return new Map(streamed.map((tablet) => [tablet.tabletId, kept(tablet)]));
});
const describedOfAll = oncePer((streamed: readonly StreamedTablet[]) => {
  return streamed.filter(({ dropped }) => !dropped).map(described);
});
const listed = oncePer((tabletIds: ReadonlySet<string>): readonly string[] => [...tabletIds]);

/**
 * Watches the replicas of the tablet server beside us: has all of them kept whose tables are streamed, and runs a
 * {@link TabletReplicator} for each that it is ours to ship. Owns the keepers, the replicators and the sinks.
 */
export class TabletManager {
  readonly #options: TabletManagerOptions;
  readonly #shipped: ShippedTablets;
  readonly #members: StreamMembers;
  readonly #gaps: Gaps;
  readonly #orphans: OrphanedLogs;
  readonly #dropped: DroppedTablets;
  readonly #handOver: HandOver;
  readonly #placement: Placement;
  readonly #views: TabletViews;
  readonly #replicas: ReplicaList;
  readonly #answers: LastAnswers;
  readonly #upkeep: ShippingUpkeep;
  readonly #kuduTrouble: KuduTrouble;
  #wake: () => void = () => undefined;
  #poked = false;
  /** The look behind the list of replicas may be long in coming, or there is something to do. */
  #shipsAtOnce = true;
  #streamed: readonly StreamedTablet[] = [];
  /** Every tablet that has a log to read here, or of which something is held. */
  readonly #here = remembered(
    (replicas: readonly LocalReplica[], held: ReadonlySet<string>): ReadonlySet<string> =>
      new Set([...held, ...replicas.filter(({ isRunning }) => isRunning).map(({ tabletId }) => tabletId)]),
  );
  /** Ends what runs; null before. */
  #running: AbortSignal | null = null;

  constructor(options: TabletManagerOptions) {
    this.#options = options;
    this.#kuduTrouble = new KuduTrouble(options.logger);
    this.#members = new StreamMembers(options);
    const { keepers, gaps: filler, gapRepair: repair, logger } = options;
    this.#gaps = new Gaps({
      keepers,
      filler,
      repair,
      droppedSinceMs: (tabletId) => this.#dropped.get(tabletId)?.sinceMs,
      onLost: (tabletId, toIndex) => {
        this.#dropped.noteLost(tabletId, toIndex);
      },
      kuduNow: options.kuduNow,
      logger,
    });
    this.#orphans = new OrphanedLogs(keepers, options.shownElsewhere);
    keepers.on('marker-written', (tabletId, generations) => {
      for (const labels of this.#shipped.labelsOf(tabletId, generations)) options.metrics.markerWritten(labels);
    });
    keepers.on('new-term', () => {
      if (this.#running) void this.#replicas.askAnew(this.#running);
    });
    this.#dropped = new DroppedTablets(options.keepers, options.fates, logger);
    this.#handOver = new HandOver(options);
    this.#replicas = new ReplicaList(options.tserver, (isNews) => {
      this.#placement.heardServer();
      if (isNews || this.#shipsAtOnce) this.#ship(); // a new leader ships at once, by what is known of the streams
    });
    const { streams, catalog } = options;
    this.#answers = new LastAnswers({ streams, catalog, askOthers: (signal) => this.#handOver.look(signal) });
    const checks = new SinkChecks(() => {
      this.poke();
    });
    this.#placement = new Placement(this.#handOver.core, checks);
    this.#shipped = new ShippedTablets(options, {
      dropped: this.#dropped,
      startOf: (open, table, tabletId) => this.#startOf(open, table, tabletId),
      onBegun: (tabletId) => {
        this.#gaps.forget(tabletId);
      },
      onEnded: (key, ending, ranMs) => {
        this.#placement.ended(key, ending, ranMs);
      },
      onChange: () => {
        this.poke();
      },
    });
    this.#upkeep = new ShippingUpkeep(options, this.#shipped);
    this.#views = new TabletViews({
      keepers: options.keepers,
      lostOf: (tabletId) => this.#gaps.lostOf(tabletId),
      replicas: () => this.#replicas.all,
      isAttended: (uuid) => uuid === options.selfUuid || this.#handOver.core.lives(uuid),
      streamed: () => this.#streamed,
      shipped: (key) => this.#shipped.get(key),
      allShipped: () => this.#shipped.all(),
      waitOf: (key) => this.#placement.waitOf(key),
      isClaimed: (stream, tabletId) => this.#handOver.core.hasClaim(stream, tabletId),
      inabilityOf: (key) => this.#placement.inabilityOf(key),
      startOf: (open, table, tabletId) => this.#startOf(open, table, tabletId),
    });
  }

  /** Runs until `signal` aborts; then lets every tablet finish its batch, for as long as `hurry` allows. */
  async run(signal: AbortSignal, hurry: AbortSignal): Promise<void> {
    this.#running = signal;
    while (!signal.aborted) {
      await this.#tick(signal);
      await this.#pause(signal);
    }
    await this.#stopAll(hurry);
  }

  /** Something changed (a stream was made, a tablet appeared): look at once. */
  poke(): void {
    this.#poked = true;
    this.#wake();
  }

  /**
   * A tablet has a folder here that had none. Unless there are no streams it is held at once: by the time that the master
   * has said what table it is of, log GC could have taken its first operations.
   */
  tabletAppeared(tabletId: string): void {
    if (this.#answers.mayHaveStreams) this.#options.keepers.keep(tabletId);
    this.poke();
  }

  /** Holds the logs of those of the tablets that have a replica here, for a while: a stream is about to want them. */
  holdForNow(tabletIds: readonly string[]): void {
    const here = this.#replicas.byId;
    for (const tabletId of tabletIds) if (here.has(tabletId)) this.#options.keepers.keepForNow(tabletId, steadyNow());
  }

  /** Why Kudu cannot be asked at present, or null. */
  get kuduTrouble(): string | null {
    return this.#kuduTrouble.now;
  }

  /** Of the streams, each with its kind. */
  sinks(): readonly { readonly kind: SinkKind; readonly sink: Sink }[] {
    return this.#members.all().map(({ stored, sink }) => ({ kind: stored.definition.sink.type, sink }));
  }

  /** The tablets that this sidecar ships, or would but for a pause; `sidecar` is filled in by who knows our address. */
  views(which: 'all' | 'exceptions'): readonly ReasonedView[] {
    return this.#views.tablets(steadyNow(), which);
  }

  /** How late those tablets are that have something left to ship from here. */
  lateness(): readonly Lateness[] {
    return this.#shipped.lateness(steadyNow());
  }

  /** The held logs of all replicas here whose tables are streamed, led from here or not. */
  holds(): readonly HoldFigures[] {
    return this.#views.holds();
  }

  /** Tablet servers that share a streamed tablet with the one here and have no living sidecar, by uuid. */
  unattendedTservers(): readonly string[] {
    return this.#views.unattendedTservers();
  }

  async #tick(signal: AbortSignal): Promise<void> {
    this.#shipsAtOnce = this.#poked || this.#kuduTrouble.now !== null;
    this.#poked = false;
    // What is asked of others may take as long as a server hangs, and that may be the old leader's.
    const meanwhile = setInterval(() => {
      this.#shipsAtOnce = true;
      this.#replicas.ask(signal).catch(() => undefined); // told by the next tick
    }, TICK_MS);
    try {
      await this.#work(signal);
    } finally {
      clearInterval(meanwhile);
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    try {
      await this.#replicas.ask(signal).catch((error: unknown) => this.#workAlone(error, signal));
      using limit = new TimeLimit(signal, CALL_TIMEOUT_MS);
      await this.#look(limit.signal);
      await this.#reconcile(limit.signal);
      const here = this.#replicas.byId;
      const there = describedOfAll(this.#streamed);
      // What fails of these hinders none of the others.
      const works: readonly (() => unknown)[] = [
        () => {
          this.#upkeep.beatHearts();
        },
        () => {
          this.#gaps.boundHolds(this.#shipped.running.values());
        },
        () =>
          this.#upkeep.askCommitted(limit.signal, (error) => {
            this.#answers.noteUnanswered(error);
          }),
        () => {
          this.#seeToGaps(signal);
        },
        () => this.#upkeep.keepSpeakers(limit.signal),
        () => this.#dropped.write(there, here, limit.signal),
        () => this.#dropped.look(this.#unlisted(here), limit.signal),
        () => (this.#answers.hasUnreadable ? undefined : this.#orphans.look(this.#streamed, here, limit.signal)),
      ];
      for (const work of works)
        try {
          await work();
        } catch (error) {
          signal.throwIfAborted();
          this.#answers.noteUnanswered(error);
        }
      if (this.#answers.unanswered !== null) throw this.#answers.unanswered as Error;
      this.#kuduTrouble.end();
    } catch (error) {
      if (signal.aborted) return;
      // What ships goes on shipping: the log is read from the disk. Only news of leaders and streams must wait.
      this.#kuduTrouble.begin(this.#options.explain(error));
    }
  }

  /** The tablet server here is silent: what ships goes on, but not in another's place, and others may stand in for us. */
  async #workAlone(reason: unknown, signal: AbortSignal): Promise<never> {
    using limit = new TimeLimit(signal, LOOK_TIMEOUT_MS);
    await this.#handOver.look(limit.signal).catch(() => undefined); // what was known last counts
    if (!signal.aborted) this.#ship();
    throw reason as Error;
  }

  /** Tablets of which something is held that the master does not list, and that have no replica here. */
  #unlisted(here: ReadonlyMap<string, LocalReplica>): string[] {
    const { keepers, catalog } = this.#options;
    if (!this.#answers.isSure) return [];
    return listed(keepers.tabletIds()).filter((tabletId) => !here.has(tabletId) && !catalog.tableOf(tabletId));
  }

  async #pause(signal: AbortSignal): Promise<void> {
    if (this.#poked || signal.aborted) return;
    using woken = new LinkedAbort(signal);
    this.#wake = () => {
      woken.abort();
    };
    await pause(TICK_MS, woken.signal);
    this.#wake = () => undefined;
  }

  #look(signal: AbortSignal): Promise<void> {
    const { keepers } = this.#options;
    return this.#answers.look(() => listed(this.#here(this.#replicas.all, keepers.tabletIds())), signal);
  }

  /** Makes what runs equal what should: keepers, replicators, and streams that are no more. */
  async #reconcile(signal: AbortSignal): Promise<void> {
    const { catalog, keepers } = this.#options;
    const { streams } = this.#answers;
    if (streams === null) return; // never answered yet: nothing may be let go of for that
    const ended = this.#members.takeEnded(streams);
    // Nothing of them begins once more.
    if (ended.length > 0) this.#streamed = this.#streamed.map((tablet) => without(tablet, ended));
    for (const open of ended) this.#shipped.track(this.#shipped.closeStream(open));
    const tabletIds = this.#here(this.#replicas.all, keepers.tabletIds());
    const droppedOf = (tabletId: string) => this.#dropped.get(tabletId);
    this.#streamed = await this.#members.streamedTablets(
      streams,
      tabletIds,
      this.#streamed,
      droppedOf,
      signal,
      (error) => {
        this.#answers.noteUnanswered(error); // nothing is let go of meanwhile
      },
    );
    const fateOf = (tabletId: string): Unwanted => {
      if (!this.#answers.mayHaveStreams || droppedOf(tabletId) !== undefined) return 'listed';
      if (catalog.tableOf(tabletId) === undefined) return 'unlisted';
      const had = this.#dropped.generationsOf(tabletId);
      return streams.some((stream) => had.some((generation) => isOfStream(generation, stream))) ? 'left' : 'listed';
    };
    const shipped = { has: (tabletId: string) => this.#shipped.ships(tabletId) };
    keepers.reconcile(keptOfAll(this.#streamed), shipped, this.#answers.isSure ? fateOf : null, steadyNow());
    this.#ship();
  }

  /** Makes the tablets that are shipped equal those that should be, by what is known of replicas and streams. */
  #ship(): void {
    this.#shipped.become(this.#wanted(), (tabletId) => this.#replicas.byId.has(tabletId));
  }

  /** Stream and tablet pairs that we should ship now. */
  #wanted(): ReadonlyMap<string, WantedTablet> {
    const wanted = new Map<string, WantedTablet>();
    const replicas = this.#replicas.byId;
    this.#handOver.core.dropClaims();
    this.#placement.beginRound();
    for (const streamed of this.#streamed) {
      const { tabletId, streams } = streamed;
      for (const stream of streams) {
        const { open, paused, key } = stream;
        if (paused || !this.#isOurs(key, streamed, open, replicas.get(tabletId))) continue;
        wanted.set(key, wantedTablet(stream, streamed));
      }
    }
    this.#placement.endRound();
    return wanted;
  }

  #isOurs(key: string, { tabletId, dropped }: StreamedTablet, open: OpenStream, replica?: LocalReplica): boolean {
    const keeper = this.#options.keepers.get(tabletId);
    const caughtUp = keeper?.caughtUp === true;
    const shipping = this.#shipped.running.get(key)?.replicator ?? null;
    if (dropped) {
      const sidecars = { self: this.#options.selfUuid, lives: (uuid: string) => this.#handOver.core.lives(uuid) };
      const isOurTurn = shipsDropped(dropped, sidecars, performance.now());
      return shipping !== null || (isOurTurn && this.#placement.shipsRest(key, caughtUp));
    }
    if (!replica) return false;
    const { sink, stored } = open;
    const unreadable = keeper?.unreadable ?? null;
    return this.#placement.ships({
      key,
      stream: stored.definition.name,
      replica,
      sink,
      caughtUp,
      unreadable,
      shipping,
    });
  }

  /** Where the stream goes on here as far as its start and our log's markers tell; the sink may know better. */
  #startOf(open: OpenStream, table: CatalogTable, tabletId: string): TabletPosition {
    const tableName = open.joined.get(table.tableId)?.name ?? table.name;
    const firstOperation: TabletPosition = { opId: MIN_OPID, tableName, schemaVersion: 0 };
    const { start = firstOperation, generation } = keptOf(open, table.tableId, tabletId);
    return furthestStart(start, this.#options.keepers.get(tabletId)?.marked(generation)?.position ?? null);
  }

  #seeToGaps(signal: AbortSignal): void {
    const overtaken = this.#gaps.look(this.#shipped.running, signal, (work) => {
      this.#shipped.track(work);
    });
    for (const key of overtaken) void this.#shipped.stop(key); // begun anew, it goes on behind what was shipped
  }

  async #stopAll(hurry: AbortSignal): Promise<void> {
    await this.#shipped.stopAll(hurry);
    await this.#options.keepers.close(hurry);
    await this.#shipped.settled();
    await Promise.allSettled(this.#members.all().map(({ sink }) => sink[Symbol.asyncDispose]()));
  }
}
