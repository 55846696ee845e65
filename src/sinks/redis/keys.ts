import type { SinkPlan } from '../sink.ts';
import { compileTemplate } from '../name-template.ts';
import { keyFault, POSITIONS_PREFIX } from './definition.ts';

/** Turns a table's name into the key of its stream. @throws {RangeError} the result is none that we take */
export type KeyNamer = (tableName: string) => string;

/** Compiles `cdc.{table}`. The name stands in it as it is: Redis takes any bytes. */
export function compileKeyTemplate(template: string, streamName: string): KeyNamer {
  const fill = compileTemplate('key', template, streamName);
  return (tableName) => {
    const key = fill(tableName);
    const fault = keyFault(key);
    if (fault !== null)
      throw new RangeError(`table ${JSON.stringify(tableName)} makes the key ${JSON.stringify(key)}, which ${fault}`);
    return key;
  };
}

/** The stream keys that the rows of a table are spread over. */
export function shardKeys(key: string, shards: number): readonly string[] {
  return shards === 1 ? [key] : Array.from({ length: shards }, (_, shard) => `${key}.${shard}`);
}

/** Where notes go of records that the stream's oversize policy leaves out. */
export function deadLetterKey(key: string): string {
  return `${key}.dead-letter`;
}

/** The hash of positions beside a stream key: in the slot of that key, since the braces are around all of it. */
export function positionsKey(streamKey: string): string {
  return `${POSITIONS_PREFIX}{${streamKey}}`;
}

export interface KeyPlanOptions {
  readonly key: string;
  readonly shards: number;
  readonly schemaKey: string;
  readonly streamName: string;
}

/** Which keys the tables of a stream go to, and what comes in the way of it. Nothing is asked of Redis. */
export function planKeys(
  { key: template, shards, schemaKey, streamName }: KeyPlanOptions,
  tables: readonly string[],
): SinkPlan {
  const nameKey = compileKeyTemplate(template, streamName);
  const faults: string[] = [];
  const places = new Map<string, string>();
  for (const table of tables)
    try {
      places.set(table, nameKey(table));
    } catch (error) {
      faults.push(`${error instanceof Error ? error.message : String(error)}; take it out with "!${table}" in tables`);
    }
  const uses = new Map<string, Set<string>>();
  const use = (key: string, by: string): void => {
    uses.set(key, (uses.get(key) ?? new Set()).add(by));
  };
  use(schemaKey, 'the schema changes');
  for (const [table, key] of places) {
    // Without the table's name in the template tables are meant to be together.
    const by = template.includes('{table}') ? `table ${JSON.stringify(table)}` : 'rows';
    for (const shard of shardKeys(key, shards)) use(shard, by);
    use(deadLetterKey(key), `dead letters of ${by}`);
  }
  const warnings = [...uses]
    .filter(([, by]) => by.size > 1)
    .map(([key, by]) => `${[...by].join(' and ')} share the key ${key}`);
  return { places, faults, warnings };
}
