import { SpoorError } from '../errors.ts';
import { MIN_OPID, type OpId } from '../kudu/opid.ts';
import type { SinkPosition } from '../change/position.ts';
import type { Catalog, CatalogTable } from '../replication/catalog.ts';
import type { ClusterView } from './cluster-view.ts';
import type { PeerManager } from '../replication/peer-manager.ts';
import type { StoredStream } from '../replication/stored-stream.ts';
import { isStreamable } from '../replication/stream-members.ts';
import type { SidecarRegistry } from './sidecar-registry.ts';
import type { StreamDefinition } from '../replication/stream.ts';
import { changeDefinition, matchTables, type StreamChange } from '../replication/stream.ts';
import type { StreamStore } from './stream-store.ts';
import type {
  ControlPlane,
  PartHealth,
  ResyncRequest,
  SidecarView,
  StreamView,
  TabletView,
  UpdatedStream,
} from '../replication/views.ts';
import { StreamExistsError, UnknownMemberError } from '../replication/views.ts';
import { encodeLog, type HeldGeneration } from '../wal/log-transfer.ts';

const CALL_TIMEOUT_MS = 20_000;
const CHECK_TIMEOUT_MS = 3000;
/** Readiness is asked often; the sinks are not. */
const SINK_CHECK_EVERY_MS = 5000;

export interface RunningControlPlaneOptions {
  readonly store: StreamStore;
  readonly registry: SidecarRegistry;
  readonly catalog: Catalog;
  readonly cluster: ClusterView;
  readonly peers: Pick<PeerManager, 'poke' | 'views' | 'sinks' | 'kuduTrouble' | 'holdForNow'>;
  /** The last committed operation of every tablet of the tables, as its leader says it, with name and schema version. */
  readonly endsOf: (tables: readonly CatalogTable[], signal: AbortSignal) => Promise<ReadonlyMap<string, SinkPosition>>;
  /** Rejects with the reason when the log of the tablet server beside us cannot be read. */
  readonly checkWal: (signal: AbortSignal) => Promise<void>;
  /** What is held of the log of a replica beside us, oldest incarnation first; null where nothing is. */
  readonly heldLog: (tabletId: string) => readonly HeldGeneration[] | null;
  readonly advertise: string;
  readonly systemTablePrefix: string;
}

/** The HTTP API's view of a running sidecar. */
export class RunningControlPlane implements ControlPlane {
  readonly #options: RunningControlPlaneOptions;
  #sinkHealth: { readonly health: PartHealth; readonly atMs: number } | null = null;

  constructor(options: RunningControlPlaneOptions) {
    this.#options = options;
  }

  /**
   * `start: "now"` is made exact here: what each tablet had committed before the answer is left out, all that comes
   * after it is in, whichever sidecar ships it and whenever that begins. Before that all sidecars hold the logs, so that
   * log GC takes nothing in between.
   */
  async createStream(definition: StreamDefinition): Promise<StreamView> {
    const { store, catalog, cluster, endsOf, peers } = this.#options;
    return askKudu(async (signal) => {
      if (await store.get(definition.name, signal))
        throw new StreamExistsError(`there is a stream ${JSON.stringify(definition.name)} already`);
      await catalog.fetchNow(signal);
      const tables = this.#matching(definition);
      await cluster.holdEverywhere(tabletIdsOf(tables), signal);
      const starts = definition.start === 'now' ? await endsOf(tables, signal) : copiesOf(tables);
      const stored = await store.create(definition, starts, tables, signal);
      peers.poke();
      return this.#describe(stored, signal);
    });
  }

  /** Tables that are new in it are copied first, whatever the stream began with: they may hold rows. */
  async updateStream(name: string, change: StreamChange): Promise<UpdatedStream> {
    const { store, catalog, cluster, peers } = this.#options;
    return askKudu(async (signal) => {
      const stored = await store.get(name, signal);
      if (stored === null) return { kind: 'missing' };
      const parsed = changeDefinition(stored.definition, change);
      if (parsed.kind !== 'ok') return parsed;
      const { definition } = parsed;
      await catalog.fetchNow(signal);
      const { joined } = await store.details(stored, signal);
      const added = this.#matching(definition).filter(({ tableId }) => !joined.has(tableId));
      await cluster.holdEverywhere(tabletIdsOf(added), signal);
      const updated = await store.update(stored, definition, copiesOf(added), signal);
      peers.poke();
      return { kind: 'ok', stream: await this.#describe(updated, signal) };
    });
  }

  /** @throws {UnknownMemberError} a table or tablet that the stream has not */
  async resyncStream(name: string, { from, tables, tablets }: ResyncRequest): Promise<StreamView | null> {
    const { store, catalog, peers } = this.#options;
    return askKudu(async (signal) => {
      const stored = await store.get(name, signal);
      if (stored === null) return null;
      await catalog.fetchNow(signal);
      const { joined } = await store.details(stored, signal);
      const members = [...catalog.tables()].filter(({ tableId }) => joined.has(tableId));
      const asked = membersAsked(name, members, tables ?? null, tablets ?? null);
      await store.resync(stored, asked, from, signal);
      peers.poke();
      return this.#describe(stored, signal);
    });
  }

  holdTablets(tabletIds: readonly string[]): Promise<void> {
    this.#options.peers.holdForNow(tabletIds);
    return Promise.resolve();
  }

  async listStreams(): Promise<readonly StreamView[]> {
    return askKudu(async (signal) => this.#options.cluster.describe(await this.#options.store.list(signal), signal));
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
    if (existed) this.#options.peers.poke();
    return existed;
  }

  localTablets(): readonly TabletView[] {
    return this.#options.peers.views().map((view) => ({ ...view, sidecar: this.#options.advertise }));
  }

  openHeldLog(tabletId: string, after: OpId): AsyncIterable<Uint8Array> | null {
    const generations = this.#options.heldLog(tabletId);
    return generations === null || generations.length === 0 ? null : encodeLog(generations, after);
  }

  async listSidecars(): Promise<readonly SidecarView[]> {
    return askKudu((signal) => this.#options.registry.list(signal));
  }

  async readiness(): Promise<{ kudu: PartHealth; kafka: PartHealth; wal: PartHealth }> {
    const trouble = this.#options.peers.kuduTrouble;
    const [kafka, wal] = await Promise.all([
      this.#checkSinks(),
      healthOf(this.#options.checkWal(AbortSignal.timeout(CHECK_TIMEOUT_MS))),
    ]);
    return { kudu: trouble === null ? { ok: true } : { ok: false, reason: trouble }, kafka, wal };
  }

  async #setPaused(name: string, paused: boolean): Promise<StreamView | null> {
    const { store, peers } = this.#options;
    return askKudu(async (signal) => {
      const stored = await store.setPaused(name, paused, signal);
      if (stored === null) return null;
      peers.poke();
      return this.#describe(stored, signal);
    });
  }

  async #describe(stored: StoredStream, signal: AbortSignal): Promise<StreamView> {
    const [view] = await this.#options.cluster.describe([stored], signal);
    if (!view) throw new TypeError('a stream without a view');
    return view;
  }

  async #checkSinks(): Promise<PartHealth> {
    if (this.#sinkHealth && performance.now() - this.#sinkHealth.atMs < SINK_CHECK_EVERY_MS)
      return this.#sinkHealth.health;
    const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
    const checks = await Promise.all(this.#options.peers.sinks().map((sink) => healthOf(sink.check(signal))));
    const health = checks.find(({ ok }) => !ok) ?? { ok: true };
    this.#sinkHealth = { health, atMs: performance.now() };
    return health;
  }

  #matching(definition: StreamDefinition): CatalogTable[] {
    const { catalog, systemTablePrefix } = this.#options;
    return [...catalog.tables()].filter(
      ({ name }) => isStreamable(name, systemTablePrefix) && matchTables(definition.tables, name),
    );
  }
}

function tabletIdsOf(tables: readonly CatalogTable[]): string[] {
  return tables.flatMap(({ tablets }) => tablets.map(({ tabletId }) => tabletId));
}

/** Every tablet of the tables begins with a copy. */
function copiesOf(tables: readonly CatalogTable[]): ReadonlyMap<string, SinkPosition> {
  const copied = ({ name: tableName }: CatalogTable): SinkPosition => {
    return { opId: MIN_OPID, tableName, schemaVersion: 0, copy: 'wanted' };
  };
  return new Map(
    tables.flatMap((table) => table.tablets.map(({ tabletId }): [string, SinkPosition] => [tabletId, copied(table)])),
  );
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

/** Runs a call that needs Kudu, bounded in time; what Kudu cannot answer becomes an error that the API can show. */
async function askKudu<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  try {
    return await work(AbortSignal.timeout(CALL_TIMEOUT_MS));
  } catch (error) {
    if (error instanceof SpoorError || error instanceof StreamExistsError || error instanceof UnknownMemberError)
      throw error;
    throw new SpoorError('SPOOR_KUDU_UNAVAILABLE', error instanceof Error ? error.message : String(error), {}, error);
  }
}

async function healthOf(check: Promise<void>): Promise<PartHealth> {
  try {
    await check;
    return { ok: true };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
