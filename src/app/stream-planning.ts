import type { TabletPosition } from '../change/position.ts';
import { KuduError } from '../kudu/errors.ts';
import { isRefusal, refusalOf } from '../kudu-side/kudu-refusal.ts';
import type { RecordExample, StreamPlan } from '../api/shapes.ts';
import type { SinkPlanner } from '../api/stream-plan.ts';
import type { ClusterView } from '../sidecars/cluster-view.ts';
import type { SinkReport } from '../sinks/sink-type.ts';
import { fieldChanges, type FieldChange } from '../streams/change-definition.ts';
import type { AskedStream, StreamDefinition } from '../streams/definition.ts';
import type { MembershipChange } from '../streams/membership.ts';
import { checkPrecondition, type Precondition } from '../streams/precondition.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import type { StreamStore } from '../streams/stream-store.ts';
import type { Catalog, CatalogTable } from '../streams/table-catalog.ts';
import { matchTables } from '../streams/table-patterns.ts';
import { TimeLimit } from '../util/time-limit.ts';
import type { SchemaReport } from './schema-inquiry.ts';
import { alreadyThere, isWeighed, refuseUnchangeable, type StreamChanges } from './stream-changes.ts';
import type { StreamRules } from './stream-rules.ts';

/** What does not answer by then is told as not known. */
const ASK_TIMEOUT_MS = 5_000;

const NO_CHANGE: MembershipChange = { joins: [], leaves: [] };

export interface StreamPlanningOptions {
  readonly store: StreamStore;
  readonly catalog: Catalog;
  readonly cluster: Pick<ClusterView, 'unattended'>;
  readonly planSink: SinkPlanner;
  /** What the sink says of the places of a stream. */
  readonly inquire: (
    definition: StreamDefinition,
    places: readonly string[],
    signal: AbortSignal,
  ) => Promise<SinkReport>;
  /** What the registry of a stream says of the schemas of these tables. */
  readonly inquireSchemas: (
    definition: StreamDefinition,
    tables: readonly CatalogTable[],
    signal: AbortSignal,
  ) => Promise<SchemaReport>;
  readonly endsOf: (
    tables: readonly CatalogTable[],
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<string, TabletPosition>>;
  /** What the first record of a table would be. @throws what keeps it from being made */
  readonly exampleOf: (
    definition: StreamDefinition,
    table: CatalogTable,
    begins: 'copy' | 'now',
    signal: AbortSignal,
  ) => Promise<RecordExample>;
  /** How many rows tables have, about, by their ids; a table of which nobody knows is not there. */
  readonly rowCounts: (signal: AbortSignal) => Promise<ReadonlyMap<string, number>>;
}

/** What a call would do to the tables of a stream. */
interface Course {
  readonly outcome: StreamPlan['outcome'];
  readonly changes: readonly FieldChange[];
  readonly tables: readonly CatalogTable[];
  /** Those of them that begin. */
  readonly joins: readonly CatalogTable[];
  readonly begins: 'copy' | 'now';
  /** Names of those that go. */
  readonly leaves: readonly string[];
}

/** Says what would become of a stream and what is missing for it. Nothing is made. */
export class StreamPlanning {
  readonly #options: StreamPlanningOptions;
  readonly #rules: StreamRules;
  readonly #changes: StreamChanges;

  constructor(options: StreamPlanningOptions, rules: StreamRules, changes: StreamChanges) {
    this.#options = options;
    this.#rules = rules;
    this.#changes = changes;
  }

  /** @throws what making it would throw for good */
  async create(asked: AskedStream, signal: AbortSignal): Promise<StreamPlan> {
    const { name } = asked.definition;
    if (await this.#options.store.has(name, signal)) throw alreadyThere(name);
    return this.#plan(asked, await this.#beginning(asked.definition, signal), signal);
  }

  /** @throws what putting it would throw for good */
  async put(asked: AskedStream, precondition: Precondition, signal: AbortSignal): Promise<StreamPlan> {
    const { definition } = asked;
    const stored = await this.#options.store.get(definition.name, signal);
    checkPrecondition(precondition, definition.name, stored?.number ?? null);
    if (stored === null) return this.#plan(asked, await this.#beginning(definition, signal), signal);
    refuseUnchangeable(stored, asked);
    return this.#plan(asked, await this.#going(stored, asked, signal), signal);
  }

  async #beginning(definition: StreamDefinition, signal: AbortSignal): Promise<Course> {
    await this.#options.catalog.fetchNow(signal);
    const tables = this.#rules.matching(definition);
    await this.#changes.refuseNew(definition, tables, signal);
    const begins = definition.start === 'now' ? 'now' : 'copy';
    return { outcome: 'created', changes: [], tables, joins: tables, begins, leaves: [] };
  }

  async #going(stored: StoredStream, asked: AskedStream, signal: AbortSignal): Promise<Course> {
    const { definition } = asked;
    const changes = fieldChanges(stored, asked);
    const { joins, leaves } = isWeighed(changes)
      ? await this.#changes.weigh(stored, definition, signal)
      : await this.#options.catalog.fetchNow(signal).then(() => NO_CHANGE);
    const joined = await this.#options.store.joinedTables(stored, signal);
    const going = new Set(leaves);
    const all = this.#rules.streamable();
    const isIn = ({ tableId, name }: CatalogTable): boolean =>
      joined.has(tableId) || matchTables(definition.tables, name);
    return {
      outcome: changes.length === 0 ? 'unchanged' : 'changed',
      changes,
      tables: all.filter((table) => !going.has(table.tableId) && isIn(table)),
      joins,
      begins: 'copy',
      leaves: leaves.map((id) => all.find(({ tableId }) => tableId === id)?.name ?? joined.get(id)?.name ?? id),
    };
  }

  async #plan({ definition, paused }: AskedStream, course: Course, signal: AbortSignal): Promise<StreamPlan> {
    const { planSink, inquire, inquireSchemas, rowCounts } = this.#options;
    const { outcome, changes, tables, joins, begins, leaves } = course;
    const plan = planSink(
      definition,
      tables.map(({ name }) => name),
    );
    const places = [...new Set(plan.places.values())];
    using limit = new TimeLimit(signal, ASK_TIMEOUT_MS);
    const [sink, schemas, kudu, unattended, rows, shown] = await Promise.all([
      inquire(definition, places, limit.signal),
      inquireSchemas(definition, tables, limit.signal),
      this.#askLeaders(joins, limit.signal),
      this.#unattended(tables, limit.signal),
      begins === 'copy' && joins.length > 0 ? rowCounts(limit.signal).catch(() => new Map<string, number>()) : null,
      this.#example(definition, joins, begins, limit.signal),
    ]);
    const isNew = new Set(joins);
    return {
      outcome,
      definition,
      paused,
      changes,
      tables: tables.map((table) => ({
        name: table.name,
        tablets: table.tablets.length,
        topic: plan.places.get(table.name) ?? null,
        begins: isNew.has(table) ? begins : 'goes-on',
        rows: isNew.has(table) ? (rows?.get(table.tableId) ?? null) : null,
      })),
      leaves,
      topics: sink.places,
      example: shown.example,
      missing: [...plan.faults, ...sink.missing, ...schemas.missing, ...kudu.missing, ...shown.missing, ...unattended],
      warnings: [
        ...(tables.length > 0 ? [] : ['no table has such a name yet; one that comes joins by itself']),
        ...plan.warnings,
        ...sink.warnings,
        ...schemas.warnings,
        ...kudu.warnings,
        ...shown.warnings,
      ],
    };
  }

  /** Whether Kudu tells us where the tablets stand: what a stream from now on begins with, and what any copy asks as well. */
  async #askLeaders(
    tables: readonly CatalogTable[],
    signal: AbortSignal,
  ): Promise<Pick<StreamPlan, 'missing' | 'warnings'>> {
    try {
      if (tables.length > 0) await this.#options.endsOf(tables, signal);
      return { missing: [], warnings: [] };
    } catch (error) {
      return troubleWithKudu(error, "not every tablet's leader has answered");
    }
  }

  /** What a copy begins with is read from the first table: whether Kudu lets us shows there as well. */
  async #example(
    definition: StreamDefinition,
    [first]: readonly CatalogTable[],
    begins: 'copy' | 'now',
    signal: AbortSignal,
  ): Promise<Pick<StreamPlan, 'example' | 'missing' | 'warnings'>> {
    if (first === undefined) return { example: null, missing: [], warnings: [] };
    try {
      return { example: await this.#options.exampleOf(definition, first, begins, signal), missing: [], warnings: [] };
    } catch (error) {
      return { example: null, ...troubleWithKudu(error, `no row of ${JSON.stringify(first.name)} can be shown`) };
    }
  }

  async #unattended(tables: readonly CatalogTable[], signal: AbortSignal): Promise<string[]> {
    const counts = await this.#options.cluster.unattended(tables, signal);
    return [...counts].map(
      ([{ name, tablets }, count]) =>
        `${count} of ${tablets.length} tablets of ${JSON.stringify(name)} have no sidecar beside any replica: start one beside each of their tablet servers`,
    );
  }
}

/** @param what could not be found out */
function troubleWithKudu(error: unknown, what: string): Pick<StreamPlan, 'missing' | 'warnings'> {
  if (error instanceof KuduError && isRefusal(error)) {
    const { message, remedy } = refusalOf(error);
    return { missing: [`Kudu refuses: ${message}. ${remedy}`], warnings: [] };
  }
  const reason = error instanceof Error ? error.message : String(error);
  return { missing: [], warnings: [`${what}: ${reason}`] };
}
