import type { OpId } from '../kudu/opid.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { askKudu } from '../kudu-side/ask-kudu.ts';
import type { ClusterView } from '../sidecars/cluster-view.ts';
import type { TabletManager } from '../placement/tablet-manager.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import type { SidecarRegistry } from '../sidecars/sidecar-registry.ts';
import type { AskedStream, StreamDefinition } from '../streams/definition.ts';
import type { StreamChange } from '../streams/change-definition.ts';
import type { Precondition } from '../streams/precondition.ts';
import { withWarnings } from '../api/stream-plan.ts';
import type {
  NewestRecords,
  PartHealth,
  PutStream,
  ResyncedStream,
  ResyncRequest,
  RewindRequest,
  RewoundStream,
  SidecarView,
  SkipRequest,
  StreamPlan,
  StreamView,
  TableSchemas,
  TraceView,
  ReasonedView,
  UpdatedStream,
} from '../api/shapes.ts';
import type { OfParts } from '../api/parts.ts';
import type { AuditedStream, ControlPlane, RecordPosition, RecordsRequest } from '../api/control-plane.ts';
import { encodeLog, type HeldIncarnation, type LogRequest } from '../wal/log-transfer.ts';
import { healthOf, SinkHealth, type AskedSink } from './sink-health.ts';
import { StreamChanges, type MadeStream } from './stream-changes.ts';
import { StreamPlanning, type StreamPlanningOptions } from './stream-planning.ts';
import { StreamRecords, type StreamRecordsOptions } from './stream-records.ts';
import { StreamRules, type StreamRulesOptions } from './stream-rules.ts';
import { tablesNamed } from './stream-tables.ts';
import { TabletRequests, type TabletRequestsOptions } from './tablet-requests.ts';

const CHECK_TIMEOUT_MS = 3000;

export interface RunningControlPlaneOptions
  extends StreamRulesOptions, StreamPlanningOptions, StreamRecordsOptions, TabletRequestsOptions {
  readonly registry: SidecarRegistry;
  readonly cluster: ClusterView;
  readonly manager: Pick<TabletManager, 'poke' | 'sinks' | 'kuduTrouble' | 'holdForNow'>;
  /** What the tablet server here does not tell this sidecar's user, and what to do about it; null where it tells all. */
  readonly refusedCall: () => string | null;
  /** The tablets that are shipped from here. */
  readonly localTablets: (which: 'all' | 'exceptions') => readonly ReasonedView[];
  /** What this sidecar is configured to ship to, whether a stream does or not. */
  readonly configuredSinks: readonly AskedSink[];
  readonly schemaTexts: (
    definition: StreamDefinition,
    names: { readonly table: string; readonly joinedAs: string },
    schema: TableSchema,
  ) => TableSchemas;
  /** Rejects with the reason when the log of the tablet server beside us cannot be read or held. */
  readonly checkWal: (signal: AbortSignal) => Promise<void>;
  /** What is held of the log of a replica beside us, oldest incarnation first; null where nothing is. */
  readonly heldLog: (tabletId: string) => readonly HeldIncarnation[] | null;
}

/** The HTTP API's view of a running sidecar. */
export class RunningControlPlane implements ControlPlane {
  readonly #options: RunningControlPlaneOptions;
  readonly #changes: StreamChanges;
  readonly #planning: StreamPlanning;
  readonly #records: StreamRecords;
  readonly #requests: TabletRequests;
  readonly #sinkHealth: SinkHealth;

  constructor(options: RunningControlPlaneOptions) {
    this.#options = options;
    this.#sinkHealth = new SinkHealth(() => [...options.configuredSinks, ...options.manager.sinks()]);
    const rules = new StreamRules(options);
    this.#changes = new StreamChanges(options, rules);
    this.#planning = new StreamPlanning(options, rules, this.#changes);
    this.#records = new StreamRecords(options);
    this.#requests = new TabletRequests(options);
  }

  async createStream(asked: AskedStream): Promise<StreamView> {
    return askKudu(async (signal) => {
      const made = await this.#changes.create(asked, signal);
      this.#options.manager.poke();
      return this.#describeNew(made, signal);
    });
  }

  planStream(asked: AskedStream): Promise<StreamPlan> {
    return askKudu((signal) => this.#planning.create(asked, signal));
  }

  async putStream(asked: AskedStream, precondition: Precondition): Promise<PutStream> {
    return askKudu(async (signal) => {
      const put = await this.#changes.put(asked, precondition, signal);
      const { outcome } = put;
      if (outcome !== 'unchanged') this.#options.manager.poke();
      const view =
        outcome === 'created' ? await this.#describeNew(put, signal) : await this.#describe(put.stored, signal);
      return { ...view, outcome };
    });
  }

  planPut(asked: AskedStream, precondition: Precondition): Promise<StreamPlan> {
    return askKudu((signal) => this.#planning.put(asked, precondition, signal));
  }

  async updateStream(name: string, change: StreamChange, precondition: Precondition = {}): Promise<UpdatedStream> {
    return askKudu(async (signal) => {
      const updated = await this.#changes.update(name, change, precondition, signal);
      if (updated === null) return { kind: 'missing' };
      if ('kind' in updated) return updated;
      this.#options.manager.poke();
      return { kind: 'ok', stream: await this.#describe(updated, signal) };
    });
  }

  async resyncStream(name: string, request: ResyncRequest): Promise<ResyncedStream | null> {
    return this.#ask(name, (stored, signal) => this.#requests.resync(stored, request, signal));
  }

  async rewindStream(name: string, request: RewindRequest): Promise<RewoundStream | null> {
    return this.#ask(name, async (stored, signal) => ({
      rewind: await this.#requests.rewind(stored, request, signal),
    }));
  }

  async skipOperation(name: string, request: SkipRequest): Promise<StreamView | null> {
    return this.#ask(name, async (stored, signal) => {
      const view = await this.#describe(stored, signal);
      await this.#requests.skip(stored, request, view.tablets, signal);
      return {};
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

  async definitionOf(name: string): Promise<AuditedStream | null> {
    return askKudu(async (signal) => {
      const stored = await this.#options.store.get(name, signal);
      return stored && { ...stored.definition, paused: stored.paused, revision: stored.number };
    });
  }

  async schemasOf(name: string, table: string | null): Promise<readonly TableSchemas[] | null> {
    const { store, schemaOf, schemaTexts } = this.#options;
    return askKudu(async (signal) => {
      const stored = await store.get(name, signal);
      if (stored === null) return null;
      const asked = await tablesNamed(stored, table, this.#options, signal);
      const texts = await Promise.all(
        asked.map(async ({ table: { tableId, name: asNamed }, joinedAs }) => {
          const schema = await schemaOf(tableId, signal);
          return schema && schemaTexts(stored.definition, { table: asNamed, joinedAs }, schema);
        }),
      );
      return texts.filter((text) => text !== null); // one that was dropped meanwhile has none
    });
  }

  newestRecords(name: string, request: RecordsRequest): Promise<NewestRecords | null> {
    return askKudu(async (signal) => {
      const stored = await this.#options.store.get(name, signal);
      return stored && this.#records.newest(stored, request, signal);
    });
  }

  traceRecord(name: string, position: RecordPosition): Promise<TraceView | null> {
    return askKudu(async (signal) => {
      const stored = await this.#options.store.get(name, signal);
      return stored && this.#records.trace(stored, position, (await this.#describe(stored, signal)).tablets, signal);
    });
  }

  pauseStream(name: string): Promise<StreamView | null> {
    return this.#setPaused(name, true);
  }

  resumeStream(name: string): Promise<StreamView | null> {
    return this.#setPaused(name, false);
  }

  async deleteStream(name: string, precondition: Precondition = {}): Promise<boolean> {
    const existed = await askKudu((signal) => this.#options.store.delete(name, signal, precondition));
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

  async readiness(): Promise<OfParts<PartHealth>> {
    const trouble = this.#options.manager.kuduTrouble ?? this.#options.refusedCall();
    const [sinks, wal] = await Promise.all([
      this.#sinkHealth.look(),
      healthOf(this.#options.checkWal(AbortSignal.timeout(CHECK_TIMEOUT_MS))),
    ]);
    return { kudu: trouble === null ? { ok: true } : { ok: false, reason: trouble }, ...sinks, wal };
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

  /** What is asked for of a stream, besides how it is defined. Null when there is none. */
  async #ask<Answer extends object>(
    name: string,
    ask: (stored: StoredStream, signal: AbortSignal) => Promise<Answer>,
  ): Promise<(StreamView & Answer) | null> {
    return askKudu(async (signal) => {
      const stored = await this.#options.store.get(name, signal);
      if (stored === null) return null;
      const answer = await ask(stored, signal);
      this.#options.manager.poke();
      return { ...(await this.#describe(stored, signal)), ...answer };
    });
  }

  async #describe(stored: StoredStream, signal: AbortSignal): Promise<StreamView> {
    const [view] = await this.#options.cluster.describe([stored], signal);
    if (!view) throw new TypeError('a stream without a view');
    return withWarnings(view, this.#options.planSink);
  }

  /** It is stored: whoever made it must not be told that it is not, for then the name is taken at the next try. */
  async #describeNew({ stored, tables }: MadeStream, signal: AbortSignal): Promise<StreamView> {
    try {
      return await this.#describe(stored, signal);
    } catch (error) {
      const { name: stream } = stored.definition;
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.warn({ stream, reason }, 'a new stream is stored, and what it does is not known yet');
      return this.#options.cluster.describeNew(stored, tables);
    }
  }
}
