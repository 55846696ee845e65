import { MIN_OPID, type OpId } from '../kudu/opid.ts';
import type { TabletPosition } from '../change/position.ts';
import type { Catalog, CatalogTable } from '../streams/table-catalog.ts';
import { askKudu } from '../kudu-side/ask-kudu.ts';
import type { ClusterView } from '../sidecars/cluster-view.ts';
import type { TabletManager } from '../placement/tablet-manager.ts';
import type { Sink } from '../sinks/sink.ts';
import type { Logger } from '../util/logger.ts';
import { changeMembers, membershipIn } from '../streams/membership.ts';
import type { MemberTablet, StoredStream } from '../streams/stored-stream.ts';
import { isStreamable, matchTables } from '../streams/table-patterns.ts';
import { findMisfit } from '../selection/misfit.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { SidecarRegistry } from '../sidecars/sidecar-registry.ts';
import { type ParsedDefinition, type StreamDefinition } from '../streams/definition.ts';
import { changeDefinition, type StreamChange } from '../streams/change-definition.ts';
import { placesOf, planStream, refuseNewFaults, withWarnings, type SinkPlanner } from '../api/stream-plan.ts';
import type { StreamEdit, StreamStore } from '../streams/stream-store.ts';
import type {
  PartHealth,
  ResyncedStream,
  ResyncRequest,
  SidecarView,
  StreamPlan,
  StreamView,
  ReasonedView,
  UpdatedStream,
} from '../api/shapes.ts';
import type { ControlPlane } from '../api/control-plane.ts';
import { RefusedDefinitionError, StreamExistsError, UnknownMemberError } from '../streams/stream-errors.ts';
import { encodeLog, type HeldIncarnation, type LogRequest } from '../wal/log-transfer.ts';

const CHECK_TIMEOUT_MS = 3000;
/** Readiness is asked often; the sinks are not. */
const SINK_CHECK_EVERY_MS = 5000;
/** Longer than a connection may take, so that it is told which one it is. */
const SINK_CHECK_TIMEOUT_MS = 5000;
/** A sink that is away is no reason to refuse a stream. */
const ASK_SINK_TIMEOUT_MS = 2000;

export interface RunningControlPlaneOptions {
  readonly store: StreamStore;
  readonly registry: SidecarRegistry;
  readonly catalog: Catalog;
  readonly cluster: ClusterView;
  readonly manager: Pick<TabletManager, 'poke' | 'sinks' | 'kuduTrouble' | 'holdForNow'>;
  /** The tablets that are shipped from here. */
  readonly localTablets: (which: 'all' | 'exceptions') => readonly ReasonedView[];
  /** What this sidecar is configured to ship to, whether a stream does or not; null where it is to nothing. */
  readonly configuredSinks: readonly Pick<Sink, 'check'>[];
  /**
   * The last committed operation of every tablet of the tables, as its leader says it, with name and schema version. A
   * table that was dropped meanwhile has none.
   */
  readonly endsOf: (
    tables: readonly CatalogTable[],
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<string, TabletPosition>>;
  /** By encoded primary key of a table: which tablet it belongs to; null for none. */
  readonly tabletsOfKeys: (
    tableId: string,
    keys: readonly Buffer[],
    signal: AbortSignal,
  ) => Promise<readonly (string | null)[]>;
  readonly planSink: SinkPlanner;
  /** As the master has it; null for a table that is no more, or that has columns which this version does not know. */
  readonly schemaOf: (tableId: string, signal: AbortSignal) => Promise<TableSchema | null>;
  /** Which of these places of the sink take no marks of `resolved`, as far as it can be asked. */
  readonly markless: (
    definition: StreamDefinition,
    places: readonly string[],
    signal: AbortSignal,
  ) => Promise<readonly string[]>;
  /** Rejects with the reason when the log of the tablet server beside us cannot be read or held. */
  readonly checkWal: (signal: AbortSignal) => Promise<void>;
  /** What is held of the log of a replica beside us, oldest incarnation first; null where nothing is. */
  readonly heldLog: (tabletId: string) => readonly HeldIncarnation[] | null;
  readonly systemTablePrefix: string;
  readonly logger: Logger;
}

/** The HTTP API's view of a running sidecar. */
export class RunningControlPlane implements ControlPlane {
  readonly #options: RunningControlPlaneOptions;
  #sinkHealth: { readonly health: PartHealth; readonly atMs: number } | null = null;

  constructor(options: RunningControlPlaneOptions) {
    this.#options = options;
  }

  /**
   * `start: "now"` is made exact here: each tablet begins behind what its leader had committed at one moment of this call,
   * and all that comes after that moment is in, whichever sidecar ships it and whenever that begins. So what is committed
   * before the call is left out, what is committed after the answer is in, and what is in between may be either. All
   * sidecars hold the logs before, so that log GC takes nothing.
   */
  async createStream(definition: StreamDefinition): Promise<StreamView> {
    const { store, catalog, cluster, endsOf, manager, planSink } = this.#options;
    return askKudu(async (signal) => {
      if (await store.has(definition.name, signal))
        throw new StreamExistsError(`there is a stream ${JSON.stringify(definition.name)} already`);
      await catalog.fetchNow(signal);
      const matching = this.#matching(definition);
      planStream(definition, matching, planSink);
      await this.#refuseMisfits(definition, matching, signal);
      await this.#refuseMarks(definition, matching);
      await cluster.holdEverywhere(tabletIdsOf(matching), signal);
      const isNow = definition.start === 'now';
      const starts = isNow ? await endsOf(matching, signal) : copiesOf(matching);
      const tables = isNow ? matching.filter((table) => !wasDropped(table, starts)) : matching;
      const stored = await store.create(definition, starts, tables, signal);
      manager.poke();
      return this.#describeNew(stored, tables, signal);
    });
  }

  planStream(definition: StreamDefinition): Promise<StreamPlan> {
    const { store, catalog, planSink } = this.#options;
    return askKudu(async (signal) => {
      if (await store.has(definition.name, signal))
        throw new StreamExistsError(`there is a stream ${JSON.stringify(definition.name)} already`);
      await catalog.fetchNow(signal);
      const matching = this.#matching(definition);
      const plan = planStream(definition, matching, planSink);
      await this.#refuseMisfits(definition, matching, signal);
      await this.#refuseMarks(definition, matching);
      return plan;
    });
  }

  /**
   * Tables that are new in it are copied first, whatever the stream began with: they may hold rows. So are those that it
   * had once: what is known of then is of an earlier membership.
   */
  async updateStream(name: string, change: StreamChange): Promise<UpdatedStream> {
    const { store, catalog, cluster, manager, planSink } = this.#options;
    return askKudu(async (signal) => {
      const outcome: { refused: Exclude<ParsedDefinition, { readonly kind: 'ok' }> | null } = { refused: null };
      const edit = async (stored: StoredStream): Promise<StreamEdit | null> => {
        const parsed = changeDefinition(stored.definition, change);
        outcome.refused = parsed.kind === 'ok' ? null : parsed;
        if (parsed.kind !== 'ok') return null;
        const { definition } = parsed;
        await catalog.fetchNow(signal);
        const joined = await store.joinedTables(stored, signal);
        const { joins, leaves } = changeMembers(
          stored.definition.tables,
          definition.tables,
          joined,
          this.#streamable(),
        );
        refuseNewFaults(
          [stored.definition, this.#matching(stored.definition)],
          [definition, this.#matching(definition)],
          planSink,
        );
        await this.#refuseMisfits(definition, this.#matching(definition), signal, stored.definition);
        await this.#refuseMarks(definition, stored.definition.resolved ? joins : this.#matching(definition));
        await cluster.holdEverywhere(tabletIdsOf(joins), signal);
        return { definition, joins, leaves, starts: copiesOf(joins) };
      };
      const updated = await store.change(name, edit, signal);
      if (updated === null) return { kind: 'missing' };
      if (outcome.refused !== null) return outcome.refused;
      manager.poke();
      return { kind: 'ok', stream: await this.#describe(updated, signal) };
    });
  }

  /** A key of another tablet would be deleted in the sink, since this one has no such row: each is looked at before. */
  async #correct(
    stored: StoredStream,
    members: readonly CatalogTable[],
    tabletId: string,
    keys: readonly Buffer[],
    signal: AbortSignal,
  ): Promise<string> {
    const [tablet] = memberTabletsOf(stored, members, [tabletId]);
    const { tableId } = tablet!;
    const owners = await this.#options.tabletsOfKeys(tableId, keys, signal);
    const strays = owners.flatMap((owner, place) => {
      if (owner === tabletId) return [];
      const why = owner === null ? 'is no key that the table can have' : `belongs to tablet ${owner}`;
      return [new UnknownMemberError(`keys[${place}]`, why)];
    });
    if (strays.length > 0) throw new AggregateError(strays, `tablet ${tabletId} cannot have all of these keys`);
    return this.#options.store.correct(stored, tablet!, keys, signal);
  }

  /**
   * @throws {UnknownMemberError} a table or tablet that the stream has not; {AggregateError} of such errors, one for each
   *   key that the tablet cannot have
   */
  async resyncStream(name: string, { from, tables, tablets, keys }: ResyncRequest): Promise<ResyncedStream | null> {
    const { store, catalog, manager } = this.#options;
    return askKudu(async (signal) => {
      const stored = await store.get(name, signal);
      if (stored === null) return null;
      await catalog.fetchNow(signal);
      const joined = await store.joinedTables(stored, signal);
      const members = [...catalog.tables()].filter(({ tableId }) => joined.has(tableId));
      const asked = membersAsked(name, members, tables ?? null, tablets ?? null);
      const correction = keys ? await this.#correct(stored, members, asked[0]!, keys, signal) : null;
      if (correction === null) await store.resync(stored, memberTabletsOf(stored, members, asked), from, signal);
      manager.poke();
      return { ...(await this.#describe(stored, signal)), ...(correction !== null && { correction }) };
    });
  }

  holdTablets(tabletIds: readonly string[]): Promise<void> {
    this.#options.manager.holdForNow(tabletIds);
    return Promise.resolve();
  }

  async listStreams(): Promise<readonly StreamView[]> {
    return askKudu(async (signal) => {
      const views = await this.#options.cluster.describe(await this.#options.store.list(signal), signal);
      return views.map((view) => withWarnings(view, this.#options.planSink));
    });
  }

  async getStream(name: string): Promise<StreamView | null> {
    return askKudu(async (signal) => {
      const stored = await this.#options.store.get(name, signal);
      return stored && this.#describe(stored, signal);
    });
  }

  pauseStream(name: string): Promise<StreamView | null> {
    return this.#setPaused(name, true);
  }

  resumeStream(name: string): Promise<StreamView | null> {
    return this.#setPaused(name, false);
  }

  async deleteStream(name: string): Promise<boolean> {
    const existed = await askKudu((signal) => this.#options.store.delete(name, signal));
    if (existed) this.#options.manager.poke();
    return existed;
  }

  localTablets(which: 'all' | 'exceptions'): readonly ReasonedView[] {
    return this.#options.localTablets(which);
  }

  openHeldLog(tabletId: string, after: OpId, request: LogRequest): AsyncIterable<Uint8Array> | null {
    const generations = this.#options.heldLog(tabletId);
    return generations === null || generations.length === 0 ? null : encodeLog(generations, after, request);
  }

  async listSidecars(): Promise<readonly SidecarView[]> {
    const known = await askKudu((signal) => this.#options.registry.list(signal));
    return known.map(({ id, http, tserver, tserverUuid, version, lastSeen }) => {
      return { id, http, tserver, tserverUuid, version, lastSeen };
    });
  }

  async readiness(): Promise<{ kudu: PartHealth; kafka: PartHealth; wal: PartHealth }> {
    const trouble = this.#options.manager.kuduTrouble;
    const [kafka, wal] = await Promise.all([
      this.#checkSinks(),
      healthOf(this.#options.checkWal(AbortSignal.timeout(CHECK_TIMEOUT_MS))),
    ]);
    return { kudu: trouble === null ? { ok: true } : { ok: false, reason: trouble }, kafka, wal };
  }

  async #setPaused(name: string, paused: boolean): Promise<StreamView | null> {
    const { store, manager } = this.#options;
    return askKudu(async (signal) => {
      const stored = await store.setPaused(name, paused, signal);
      if (stored === null) return null;
      manager.poke();
      return this.#describe(stored, signal);
    });
  }

  async #describe(stored: StoredStream, signal: AbortSignal): Promise<StreamView> {
    const [view] = await this.#options.cluster.describe([stored], signal);
    if (!view) throw new TypeError('a stream without a view');
    return withWarnings(view, this.#options.planSink);
  }

  /** It is stored: whoever made it must not be told that it is not, for then the name is taken at the next try. */
  async #describeNew(stored: StoredStream, tables: readonly CatalogTable[], signal: AbortSignal): Promise<StreamView> {
    try {
      return await this.#describe(stored, signal);
    } catch (error) {
      const { name: stream } = stored.definition;
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.warn({ stream, reason }, 'a new stream is stored, and what it does is not known yet');
      return this.#options.cluster.describeNew(stored, tables);
    }
  }

  async #checkSinks(): Promise<PartHealth> {
    if (this.#sinkHealth && performance.now() - this.#sinkHealth.atMs < SINK_CHECK_EVERY_MS)
      return this.#sinkHealth.health;
    const { configuredSinks, manager } = this.#options;
    const signal = AbortSignal.timeout(SINK_CHECK_TIMEOUT_MS);
    const sinks = [...configuredSinks, ...manager.sinks()];
    const checks = await Promise.all(sinks.map((sink) => healthOf(sink.check(signal))));
    const health = checks.find(({ ok }) => !ok) ?? { ok: true };
    this.#sinkHealth = { health, atMs: performance.now() };
    return health;
  }

  /** @throws {RefusedDefinitionError} what the stream asks of a table cannot be had of it */
  async #refuseMisfits(
    definition: StreamDefinition,
    tables: readonly CatalogTable[],
    signal: AbortSignal,
    before?: StreamDefinition,
  ): Promise<void> {
    const schemaOf = (tableId: string): Promise<TableSchema | null> => this.#options.schemaOf(tableId, signal);
    const misfit = await findMisfit(definition, tables, schemaOf, before);
    if (misfit) throw new RefusedDefinitionError(misfit.path, misfit.faults);
  }

  /** Where marks are left out, somebody would wait for them for ever. @throws {RefusedDefinitionError} */
  async #refuseMarks(definition: StreamDefinition, tables: readonly CatalogTable[]): Promise<void> {
    if (!definition.resolved) return;
    const { planSink, markless: ask, logger } = this.#options;
    const places = placesOf(definition, tables, planSink);
    let markless: readonly string[] = [];
    try {
      markless = await ask(definition, places, AbortSignal.timeout(ASK_SINK_TIMEOUT_MS));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.debug({ stream: definition.name, reason }, 'the sink cannot be asked what it takes');
    }
    const faults = markless.map(
      (topic) =>
        `topic ${topic} is compacted and takes no marks, since they have no key: set its cleanup.policy to delete, or leave resolved out`,
    );
    if (faults.length > 0) throw new RefusedDefinitionError('resolved', faults);
  }

  #matching(definition: StreamDefinition): CatalogTable[] {
    return this.#streamable().filter(({ name }) => matchTables(definition.tables, name));
  }

  #streamable(): CatalogTable[] {
    const { catalog, systemTablePrefix } = this.#options;
    return [...catalog.tables()].filter(({ name }) => isStreamable(name, systemTablePrefix));
  }
}

function tabletIdsOf(tables: readonly CatalogTable[]): string[] {
  return tables.flatMap(({ tablets }) => tablets.map(({ tabletId }) => tabletId));
}

/** Of a table that is there at least one tablet has an end; one whose ranges are all dropped has no tablet. */
function wasDropped({ tablets }: CatalogTable, ends: ReadonlyMap<string, TabletPosition>): boolean {
  return tablets.length > 0 && tablets.every(({ tabletId }) => !ends.has(tabletId));
}

/** Every tablet of the tables begins with a copy. */
function copiesOf(tables: readonly CatalogTable[]): ReadonlyMap<string, TabletPosition> {
  const copied = ({ name: tableName }: CatalogTable): TabletPosition => {
    return { opId: MIN_OPID, tableName, schemaVersion: 0, copy: 'wanted' };
  };
  return new Map(
    tables.flatMap((table) => table.tablets.map(({ tabletId }): [string, TabletPosition] => [tabletId, copied(table)])),
  );
}

function memberTabletsOf(
  stored: StoredStream,
  tables: readonly CatalogTable[],
  tabletIds: readonly string[],
): MemberTablet[] {
  const wanted = new Set(tabletIds);
  return tables.flatMap(({ tableId, tablets }) => {
    const membership = membershipIn(stored, tableId);
    return tablets.flatMap(({ tabletId }) => (wanted.has(tabletId) ? [{ tableId, tabletId, membership }] : []));
  });
}

/** The tablets of a stream that a resync is asked for; all of them where none are named. */
function membersAsked(
  stream: string,
  members: readonly CatalogTable[],
  tables: readonly string[] | null,
  tablets: readonly string[] | null,
): string[] {
  const unknown = (tables ?? []).find((wanted) => members.every(({ name }) => name !== wanted));
  if (unknown !== undefined)
    throw new UnknownMemberError(`tables[${tables!.indexOf(unknown)}]`, `stream ${stream} has no table ${unknown}`);
  const ofTables = tabletIdsOf(members.filter(({ name }) => tables?.includes(name) ?? tablets === null));
  const all = new Set(tabletIdsOf(members));
  const stranger = (tablets ?? []).find((wanted) => !all.has(wanted));
  if (stranger !== undefined)
    throw new UnknownMemberError(
      `tablets[${tablets!.indexOf(stranger)}]`,
      `stream ${stream} has no tablet ${stranger}`,
    );
  return [...new Set([...ofTables, ...(tablets ?? [])])];
}

async function healthOf(check: Promise<void>): Promise<PartHealth> {
  try {
    await check;
    return { ok: true };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
