import { placesOf, type SinkPlanner } from '../api/stream-plan.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { findMisfit } from '../selection/misfit.ts';
import type { SettingsFault } from '../sinks/sink-type.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import { RefusedDefinitionError } from '../streams/stream-errors.ts';
import type { Catalog, CatalogTable } from '../streams/table-catalog.ts';
import { isStreamable, matchTables } from '../streams/table-patterns.ts';
import type { Logger } from '../util/logger.ts';

/** A sink that is away is no reason to refuse a stream. */
const ASK_SINK_TIMEOUT_MS = 2000;
/** Of the master, for the schemas of tables. */
const ASKED_AT_ONCE = 8;

export interface StreamRulesOptions {
  readonly catalog: Catalog;
  readonly planSink: SinkPlanner;
  /** As the master has it; null for a table that is no more, or that has columns which this version does not know. */
  readonly schemaOf: (tableId: string, signal: AbortSignal) => Promise<TableSchema | null>;
  /** Why the records of a table cannot be written in the format of a stream; null where they can. */
  readonly formatTrouble: (definition: StreamDefinition, table: string, schema: TableSchema) => string | null;
  /** Whether there may be any. */
  readonly isChoosy: (definition: StreamDefinition) => boolean;
  /** Which of these places of the sink take no marks of `resolved`, as far as it can be asked. */
  readonly markless: (
    definition: StreamDefinition,
    places: readonly string[],
    signal: AbortSignal,
  ) => Promise<readonly string[]>;
  /** What the sink has against the settings of places that it would have to make. */
  readonly wrongSettings: (
    definition: StreamDefinition,
    places: readonly string[],
    signal: AbortSignal,
  ) => Promise<SettingsFault | null>;
  readonly systemTablePrefix: string;
  readonly logger: Logger;
}

/** Which tables a stream has, and what a definition must not ask for that is right by itself. */
export class StreamRules {
  readonly #options: StreamRulesOptions;

  constructor(options: StreamRulesOptions) {
    this.#options = options;
  }

  /** By their names of now; the catalog is as it was fetched last. */
  matching(definition: StreamDefinition): CatalogTable[] {
    return this.streamable().filter(({ name }) => matchTables(definition.tables, name));
  }

  streamable(): CatalogTable[] {
    const { catalog, systemTablePrefix } = this.#options;
    return [...catalog.tables()].filter(({ name }) => isStreamable(name, systemTablePrefix));
  }

  /** Where marks are left out, somebody would wait for them for ever. @throws {RefusedDefinitionError} */
  async refuseMarks(definition: StreamDefinition, tables: readonly CatalogTable[]): Promise<void> {
    if (!definition.resolved) return;
    const { markless } = this.#options;
    const topics = (await this.#askSink(definition, tables, markless)) ?? [];
    const faults = topics.map(
      (topic) =>
        `topic ${topic} is compacted and takes no marks, since they have no key: set its cleanup.policy to delete, or leave resolved out`,
    );
    if (faults.length > 0) throw new RefusedDefinitionError('resolved', faults);
  }

  /**
   * What the stream asks of a table cannot be had of it.
   * @param before whose faults are none of the change's
   * @throws {RefusedDefinitionError}
   */
  async refuseMisfits(
    definition: StreamDefinition,
    tables: readonly CatalogTable[],
    signal: AbortSignal,
    before?: StreamDefinition,
  ): Promise<void> {
    const schemaOf = (tableId: string): Promise<TableSchema | null> => this.#options.schemaOf(tableId, signal);
    const misfit = await findMisfit(definition, tables, schemaOf, before);
    if (misfit) throw new RefusedDefinitionError(misfit.path, misfit.faults);
    await this.#refuseUnwritable(definition, tables, signal, before);
  }

  /** Else their tablets would be blocked one after the other. @throws {RefusedDefinitionError} */
  async #refuseUnwritable(
    definition: StreamDefinition,
    tables: readonly CatalogTable[],
    signal: AbortSignal,
    before?: StreamDefinition,
  ): Promise<void> {
    const { schemaOf, formatTrouble, isChoosy } = this.#options;
    if (!isChoosy(definition)) return;
    const faults: string[] = [];
    const look = async ({ tableId, name }: CatalogTable): Promise<void> => {
      const schema = await schemaOf(tableId, signal);
      const fault = schema && formatTrouble(definition, name, schema);
      if (!fault || (before && formatTrouble(before, name, schema) === fault)) return;
      faults.push(`table ${JSON.stringify(name)}: ${fault}`);
    };
    for (let at = 0; at < tables.length; at += ASKED_AT_ONCE)
      await Promise.all(tables.slice(at, at + ASKED_AT_ONCE).map(look));
    if (faults.length > 0) throw new RefusedDefinitionError('format', faults.sort());
  }

  /** No topic could ever be made with them. @throws {RefusedDefinitionError} */
  async refuseSettings(definition: StreamDefinition, tables: readonly CatalogTable[]): Promise<void> {
    const fault = await this.#askSink(definition, tables, this.#options.wrongSettings);
    if (fault) throw new RefusedDefinitionError(`sink.${fault.path}`, [fault.message]);
  }

  /** Null where it does not answer. */
  async #askSink<T>(
    definition: StreamDefinition,
    tables: readonly CatalogTable[],
    ask: (definition: StreamDefinition, places: readonly string[], signal: AbortSignal) => Promise<T>,
  ): Promise<T | null> {
    const { planSink, logger } = this.#options;
    try {
      const places = placesOf(definition, tables, planSink);
      return await ask(definition, places, AbortSignal.timeout(ASK_SINK_TIMEOUT_MS));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.debug({ stream: definition.name, reason }, 'the sink cannot be asked what it takes');
      return null;
    }
  }
}
