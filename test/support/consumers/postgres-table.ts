import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { parseLossless, type LosslessJson } from '../lossless-json.ts';
import type { Postgres } from './postgres.ts';

const SHOWN = 10;

/**
 * What differs between a table of PostgreSQL and one of Kudu, a line each; the columns of Kudu's schema are compared, and
 * PostgreSQL may have more.
 * @param dump rows of Kudu's, as the Java client prints them
 * @param options.nonFinite what NaN and the infinities have become on the way
 */
export async function differencesFromPostgres(
  postgres: Postgres,
  table: string,
  schema: TableSchema,
  dump: readonly string[],
  options: { readonly nonFinite: 'null' | 'kept' },
): Promise<readonly string[]> {
  const columns = schema.columns.map(({ name, type }) => `${asText(type, `"${name}"`)} AS "${name}"`);
  const rows = await postgres.rows(`SELECT ${columns.join(', ')} FROM "${table}"`);
  const keys = schema.columns.filter(({ isKey }) => isKey).map(({ name }) => name);
  const byKey = (lines: readonly string[], isPostgres: boolean): Map<string, Map<string, string>> =>
    new Map(
      lines.map((line) => {
        const row = parseLossless(line) as Map<string, LosslessJson>;
        const cells = new Map(
          schema.columns.map(({ name, type }) => [
            name,
            canonical(type, row.get(name) ?? null, isPostgres ? 'kept' : options.nonFinite),
          ]),
        );
        return [keys.map((name) => cells.get(name)).join(), cells];
      }),
    );
  const [have, want] = [byKey(rows, true), byKey(dump, false)];
  const differences: string[] = [];
  for (const [key, cells] of want) {
    const row = have.get(key);
    if (!row) differences.push(`missing: ${key}`);
    else
      for (const [name, value] of cells)
        if (row.get(name) !== value)
          differences.push(`different: ${key} ${name} is ${row.get(name)!}, Kudu has ${value}`);
  }
  for (const key of have.keys()) if (!want.has(key)) differences.push(`left over: ${key}`);
  const { length } = differences;
  return length > SHOWN ? [...differences.slice(0, SHOWN), `and ${length - SHOWN} more`] : differences;
}

/** An expression for a column's value as Spoor prints it, but for the quotes. */
function asText(type: DataType, column: string): string {
  if (type === DataType.UNIXTIME_MICROS) return `(extract(epoch FROM ${column}) * 1000000)::bigint::text`;
  if (type === DataType.DATE) return `(${column} - date '1970-01-01')::text`;
  if (type === DataType.BINARY) return `replace(encode(${column}, 'base64'), E'\\n', '')`;
  if (type === DataType.FLOAT) return `${column}::float8::text`;
  return `${column}::text`;
}

/** The same text for the same value, whichever of the two printed it. */
function canonical(type: DataType, value: LosslessJson, nonFinite: 'null' | 'kept'): string {
  if (value === null) return 'null';
  if (type === DataType.FLOAT || type === DataType.DOUBLE) {
    const number = Number(value);
    if (!Number.isFinite(number)) return nonFinite === 'null' ? 'null' : String(number);
    return Object.is(number, -0) ? '-0' : String(number);
  }
  if (typeof value === 'object') throw new Error('a value is no array and no object');
  return `=${String(value)}`; // the text `null` is no null
}
