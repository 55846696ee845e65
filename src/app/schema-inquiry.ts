import { RegistryRefusal } from '../formats/registry/registry-client.ts';
import { subjectsOf } from '../formats/typed/registered.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { SinkError } from '../sinks/sink.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { DescribedTable } from './formats.ts';
import type { Registries, Registry } from './registries.ts';

/** What a registry says of the schemas of a stream before there is one. */
export interface SchemaReport {
  /** What keeps tables from being shipped until a person acts. */
  readonly missing: readonly string[];
  /** What could not be found out. */
  readonly warnings: readonly string[];
}

export interface SchemaInquiryOptions {
  readonly registries: Registries;
  readonly schemaOf: (tableId: string, signal: AbortSignal) => Promise<TableSchema | null>;
  /** Null for a table whose records name no schema, and for one that cannot be described, which is told otherwise. */
  readonly describe: (definition: StreamDefinition, table: string, schema: TableSchema) => DescribedTable | null;
}

const ASKED_AT_ONCE = 4;
const NOT_FOUND = 404;

/** Asks the registry of a stream what it would say to its schemas, and registers none. */
export class SchemaInquiry {
  readonly #options: SchemaInquiryOptions;

  constructor(options: SchemaInquiryOptions) {
    this.#options = options;
  }

  async report(
    definition: StreamDefinition,
    tables: readonly { readonly tableId: string; readonly name: string }[],
    signal: AbortSignal,
  ): Promise<SchemaReport> {
    const { format } = definition;
    if (format.type === 'json' || format.registry === undefined) return { missing: [], warnings: [] };
    const registry = this.#options.registries.at(format.registry);
    const missing: string[] = [];
    const ask = async ({ tableId, name }: { tableId: string; name: string }): Promise<void> => {
      const schema = await this.#options.schemaOf(tableId, signal);
      const described = schema && this.#options.describe(definition, name, schema);
      if (!described) return;
      const subjects = subjectsOf(described, described.topic, format.subject);
      for (const which of ['key', 'value'] as const) {
        const fault = await faultOf(registry, subjects[which], described, which, format.autoRegister, signal);
        if (fault !== null) missing.push(`table ${JSON.stringify(name)}: ${fault}`);
      }
    };
    const warnings: string[] = [];
    try {
      const types = await registry.client.schemaTypes(signal);
      if (types === null)
        warnings.push(
          'what is at the URL of the registry does not say which schemas it takes: the path may be missing',
        );
      else if (!types.includes(format.type.toUpperCase()))
        return { missing: [`the registry takes no schemas of ${format.type}, only ${types.join(', ')}`], warnings };
      for (let at = 0; at < tables.length; at += ASKED_AT_ONCE)
        await Promise.all(tables.slice(at, at + ASKED_AT_ONCE).map(ask));
    } catch (error) {
      if (error instanceof SinkError && error.kind === 'refused') missing.push(error.message);
      else if (error instanceof SinkError) warnings.push(error.message);
      else if (signal.aborted) warnings.push('the schema registry was not asked about every table in time');
      else throw error;
    }
    return { missing: missing.sort(), warnings };
  }
}

/** Null where rows could be written. */
async function faultOf(
  { client }: Registry,
  subject: string,
  { schemaType, ...texts }: DescribedTable,
  which: 'key' | 'value',
  autoRegister: boolean,
  signal: AbortSignal,
): Promise<string | null> {
  const schema = { schemaType, text: texts[which] };
  try {
    await client.lookUp(subject, schema, signal);
    return null;
  } catch (error) {
    if (!(error instanceof RegistryRefusal) || error.status !== NOT_FOUND) throw error;
  }
  if (!autoRegister)
    return `subject ${subject} has not its schema, and autoRegister is false: register what "spoor streams schemas" gives`;
  if (await client.isCompatible(subject, schema, signal)) return null;
  return `its schema is not compatible with what subject ${subject} has`;
}
