import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import type { Postgres } from './postgres.ts';

/** A table's rows as {@link differencesFromKudu} takes them: the columns of Kudu's schema, and it may have more. */
export async function rowsOf(postgres: Postgres, table: string, schema: TableSchema): Promise<readonly string[]> {
  const columns = schema.columns.map(({ name, type }) => `${asText(type, `"${name}"`)} AS "${name}"`);
  return postgres.rows(`SELECT ${columns.join(', ')} FROM "${table}"`);
}

/** An expression for a column's value as Spoor prints it, but for the quotes. */
function asText(type: DataType, column: string): string {
  if (type === DataType.UNIXTIME_MICROS) return `(extract(epoch FROM ${column}) * 1000000)::bigint::text`;
  if (type === DataType.DATE) return `(${column} - date '1970-01-01')::text`;
  if (type === DataType.BINARY) return `replace(encode(${column}, 'base64'), E'\\n', '')`;
  if (type === DataType.FLOAT) return `${column}::float8::text`;
  return `${column}::text`;
}
