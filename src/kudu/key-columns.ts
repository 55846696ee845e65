import type { ColumnSchema, TableSchema } from './schema.ts';

/** The columns of a schema's primary key, and their places in it. */
export interface KeyColumns {
  readonly columns: readonly ColumnSchema[];
  readonly places: readonly number[];
}

const known = new WeakMap<TableSchema, KeyColumns>();

/** Found once for each schema: rows ask for it. */
export function keyColumnsOf(schema: TableSchema): KeyColumns {
  let key = known.get(schema);
  if (!key) {
    const places = [...schema.columns.keys()].filter((place) => schema.columns[place]!.isKey);
    known.set(schema, (key = { places, columns: places.map((place) => schema.columns[place]!) }));
  }
  return key;
}
