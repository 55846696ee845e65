import type { TabletPosition } from '../change/position.ts';
import type { SinkPlanner } from '../api/stream-plan.ts';
import { refuseFaults, refuseNewFaults } from '../api/stream-plan.ts';
import type { ClusterView } from '../sidecars/cluster-view.ts';
import {
  canChange,
  changeDefinition,
  fieldChanges,
  type FieldChange,
  type StreamChange,
} from '../streams/change-definition.ts';
import type { AskedStream, StreamDefinition, WrongDefinition } from '../streams/definition.ts';
import { changeMembers, type MembershipChange } from '../streams/membership.ts';
import { checkPrecondition, type Precondition } from '../streams/precondition.ts';
import { MIN_OPID } from '../kudu/opid.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { StreamExistsError, UnchangeableError } from '../streams/stream-errors.ts';
import type { StreamEdit, StreamStore } from '../streams/stream-store.ts';
import type { Catalog, CatalogTable } from '../streams/table-catalog.ts';
import type { StreamRules } from './stream-rules.ts';

export interface StreamChangesOptions {
  readonly store: StreamStore;
  readonly catalog: Catalog;
  readonly cluster: Pick<ClusterView, 'holdEverywhere'>;
  /**
   * The last committed operation of every tablet of the tables, as its leader says it, with name and schema version. A
   * table that was dropped meanwhile has none.
   */
  readonly endsOf: (
    tables: readonly CatalogTable[],
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<string, TabletPosition>>;
  readonly planSink: SinkPlanner;
}

/** A stream that was made, and with which tables. */
export interface MadeStream {
  readonly stored: StoredStream;
  readonly tables: readonly CatalogTable[];
}

export type PutResult =
  | ({ readonly outcome: 'created' } & MadeStream)
  | { readonly outcome: 'changed' | 'unchanged'; readonly stored: StoredStream };

/** Makes and changes streams. Nothing is kept of one that throws. */
export class StreamChanges {
  readonly #options: StreamChangesOptions;
  readonly #rules: StreamRules;

  constructor(options: StreamChangesOptions, rules: StreamRules) {
    this.#options = options;
    this.#rules = rules;
  }

  /**
   * `start: "now"` is made exact here: each tablet begins behind what its leader had committed at one moment of this call,
   * and all that comes after that moment is in, whichever sidecar ships it and whenever that begins. So what is committed
   * before the call is left out, what is committed after the answer is in, and what is in between may be either. All
   * sidecars hold the logs before, so that log GC takes nothing.
   */
  async create(asked: AskedStream, signal: AbortSignal): Promise<MadeStream> {
    const { store, catalog, cluster, endsOf } = this.#options;
    const { definition } = asked;
    if (await store.has(definition.name, signal)) throw alreadyThere(definition.name);
    await catalog.fetchNow(signal);
    const matching = this.#rules.matching(definition);
    await this.refuseNew(definition, matching, signal);
    await cluster.holdEverywhere(tabletIdsOf(matching), signal);
    const isNow = definition.start === 'now';
    const starts = isNow ? await endsOf(matching, signal) : copiesOf(matching);
    const tables = isNow ? matching.filter((table) => !wasDropped(table, starts)) : matching;
    return { stored: await store.create(asked, starts, tables, signal), tables };
  }

  /** Makes it, changes it, or leaves it as it is; where others do something to it meanwhile, it is looked at again. */
  async put(asked: AskedStream, precondition: Precondition, signal: AbortSignal): Promise<PutResult> {
    const { store } = this.#options;
    const { name } = asked.definition;
    for (;;) {
      signal.throwIfAborted();
      const result = { outcome: 'unchanged' as 'changed' | 'unchanged' };
      const edit = async (stored: StoredStream): Promise<StreamEdit | null> => {
        checkPrecondition(precondition, name, stored.number);
        refuseUnchangeable(stored, asked);
        const made = await this.#edit(stored, asked, signal);
        result.outcome = made === null ? 'unchanged' : 'changed';
        return made;
      };
      const stored = await store.change(name, edit, signal);
      if (stored !== null) return { ...result, stored };
      checkPrecondition(precondition, name, null);
      try {
        return { outcome: 'created', ...(await this.create(asked, signal)) };
      } catch (error) {
        if (!(error instanceof StreamExistsError)) throw error; // else somebody was first, whose stream is changed then
      }
    }
  }

  /**
   * Tables that are new in it are copied first, whatever the stream began with: they may hold rows. So are those that it
   * had once: what is known of then is of an earlier membership. Null where there is no such stream.
   */
  async update(
    name: string,
    change: StreamChange,
    precondition: Precondition,
    signal: AbortSignal,
  ): Promise<StoredStream | WrongDefinition | null> {
    const outcome: { refused: WrongDefinition | null } = { refused: null };
    const edit = async (stored: StoredStream): Promise<StreamEdit | null> => {
      checkPrecondition(precondition, name, stored.number);
      const parsed = changeDefinition(stored, change);
      outcome.refused = parsed.kind === 'ok' ? null : parsed;
      return parsed.kind === 'ok' ? this.#edit(stored, parsed, signal) : null;
    };
    const updated = await this.#options.store.change(name, edit, signal);
    return updated && (outcome.refused ?? updated);
  }

  /** Which tables would come and go. The catalog is fetched anew for it. @throws {RefusedDefinitionError} */
  async weigh(stored: StoredStream, definition: StreamDefinition, signal: AbortSignal): Promise<MembershipChange> {
    const { store, catalog, planSink } = this.#options;
    const rules = this.#rules;
    await catalog.fetchNow(signal);
    const joined = await store.joinedTables(stored, signal);
    const before = stored.definition;
    const members = changeMembers(before.tables, definition.tables, joined, rules.streamable());
    const matching = rules.matching(definition);
    refuseNewFaults([before, rules.matching(before)], [definition, matching], planSink);
    await rules.refuseMisfits(definition, matching, signal, before);
    await rules.refuseMarks(definition, before.resolved ? members.joins : matching);
    await rules.refuseSettings(definition, matching);
    return members;
  }

  /** @throws {RefusedDefinitionError} */
  async refuseNew(definition: StreamDefinition, tables: readonly CatalogTable[], signal: AbortSignal): Promise<void> {
    refuseFaults(definition, tables, this.#options.planSink);
    await this.#rules.refuseMisfits(definition, tables, signal);
    await this.#rules.refuseMarks(definition, tables);
    await this.#rules.refuseSettings(definition, tables);
  }

  /** Null where it is so already: nothing is written then. */
  async #edit(stored: StoredStream, asked: AskedStream, signal: AbortSignal): Promise<StreamEdit | null> {
    const changes = fieldChanges(stored, asked);
    if (changes.length === 0) return null;
    const { definition, paused } = asked;
    if (!isWeighed(changes)) return { paused };
    const { joins, leaves } = await this.weigh(stored, definition, signal);
    await this.#options.cluster.holdEverywhere(tabletIdsOf(joins), signal);
    return { definition, paused, joins, leaves, starts: copiesOf(joins) };
  }
}

/** Whether tables and sink are asked what they have against it: pausing a stream, or leaving it as it is, always goes. */
export function isWeighed(changes: readonly FieldChange[]): boolean {
  return changes.some(({ path }) => path !== 'paused');
}

export function alreadyThere(name: string): StreamExistsError {
  return new StreamExistsError(`there is a stream ${JSON.stringify(name)} already`);
}

/** @throws {UnchangeableError} */
export function refuseUnchangeable(stored: StoredStream, asked: AskedStream): void {
  const refused = fieldChanges(stored, asked).filter(({ path }) => !canChange(path));
  if (refused.length > 0) throw new UnchangeableError(asked.definition.name, refused);
}

export function tabletIdsOf(tables: readonly CatalogTable[]): string[] {
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
