import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { parseLossless, type LosslessJson } from '../lossless-json.ts';

const SHOWN = 10;

type Way = 'exact' | 'json';
type Cells = ReadonlyMap<string, string>;

/**
 * What differs between the rows that a consumer has and those of Kudu, a line each; none when they are the same.
 * @param have a JSON object each, values as Spoor's JSON has them, or their text; a column that is not there is null
 * @param dump the same, as Kudu's Java client prints them
 * @param way `json`: through Connect's JSON, where NaN and the infinities are null, and -0.0 has become 0.0
 */
export function differencesFromKudu(
  schema: TableSchema,
  have: readonly string[],
  dump: readonly string[],
  way: Way = 'exact',
): readonly string[] {
  const rows = byKey(schema, have, 'exact');
  const wanted = byKey(schema, dump, way);
  const differences: string[] = rows.size === have.length ? [] : ['a key comes twice'];
  for (const [key, cells] of wanted) {
    const row = rows.get(key);
    if (!row) differences.push(`missing: ${key}`);
    else
      for (const [name, value] of cells)
        if (row.get(name) !== value)
          differences.push(`different: ${key} ${name} is ${row.get(name)!}, Kudu has ${value}`);
  }
  for (const key of rows.keys()) if (!wanted.has(key)) differences.push(`left over: ${key}`);
  const { length } = differences;
  return length > SHOWN ? [...differences.slice(0, SHOWN), `and ${length - SHOWN} more`] : differences;
}

function byKey(schema: TableSchema, lines: readonly string[], way: Way): ReadonlyMap<string, Cells> {
  return new Map(
    lines.map((line) => {
      const row = parseLossless(line) as Map<string, LosslessJson>;
      const cells = new Map(
        schema.columns.map(({ name, type }) => [name, canonical(type, row.get(name) ?? null, way)]),
      );
      const key = schema.columns.filter(({ isKey }) => isKey).map(({ name }) => cells.get(name));
      return [key.join(), cells];
    }),
  );
}

/** The same text for the same value, whoever printed it. */
function canonical(type: DataType, value: LosslessJson, way: Way): string {
  if (value === null) return 'null';
  if (typeof value === 'object') throw new Error('a value is no array and no object');
  if (type === DataType.FLOAT || type === DataType.DOUBLE) {
    const number = Number(value);
    if (way === 'json') return Number.isFinite(number) ? String(number) : 'null';
    return Object.is(number, -0) ? '-0' : String(number);
  }
  return `=${String(value)}`; // the text `null` is no null
}
