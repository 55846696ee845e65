import type { Rewound, SchemaChange, TabletEvent } from '../change/change.ts';
import type { SinkRecord } from '../change/record.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import { DataType, type ColumnSchema, type DataTypeName, type TableSchema } from '../kudu/schema.ts';
import { defaultToJson } from './json-cells.ts';

const TYPE_NAMES: ReadonlyMap<DataType, DataTypeName> = new Map(
  Object.entries(DataType).map(([name, type]) => [type, name as DataTypeName]),
);

/**
 * The record of a schema version: key `{"table_id","schema_version"}`, value with the table's name and columns before
 * and after (`before` null for the version that a stream begins with). Positions are the operation's, row 0.
 *
 * A column: `{"id","name","type","key","nullable","default","read_default","immutable","auto_increment","precision",
 * "scale","length"}`; `default` is what an INSERT stores that leaves the column out, `read_default` what rows show that
 * were there before the column; values as in row records, null for none; the last three null where the type has none.
 */
export function encodeSchemaChange(change: SchemaChange): SinkRecord {
  const { tablet, opId, hybridTime, version, before, after } = change;
  const key = `{"table_id":${JSON.stringify(tablet.tableId)},"schema_version":${version}`;
  const place = `"tablet_id":${JSON.stringify(tablet.tabletId)},"term":${opId.term},"index":${opId.index}`;
  const tables = `"before":${before ? tableToJson(before) : 'null'},"after":${tableToJson(after)}`;
  return {
    kind: 'schema',
    table: after.tableName,
    key: Buffer.from(`${key}}`),
    value: Buffer.from(`${key},${place},"hybrid_time":"${hybridTime}",${tables}}`),
    position: `${tablet.tabletId}/${opId.term}.${opId.index}.0`,
    ...(before === null && { isFirst: true }),
    timestampMs: Math.floor(Number(hybridTimeToMicros(hybridTime)) / 1000),
  };
}

/**
 * The record of what befell a tablet as a whole, beside the schemas of its table: key `{"table_id","tablet_id","event"}`,
 * value with the table's name, what the tablet had of it, and what of its changes never came. Its position stands where it
 * happened: behind a copy, behind the last of the tablet's rows, or in the place of an operation's rows.
 */
export function encodeTabletEvent(change: TabletEvent): SinkRecord {
  const { event, tablet, opId, hybridTime, partition, missing, rewound } = change;
  const { tableId, tabletId, tableName } = tablet;
  const key = { table_id: tableId, tablet_id: tabletId, event };
  const place = `"term":${opId.term},"index":${opId.index},"hybrid_time":"${hybridTime}"`;
  const text = JSON.stringify({ ...key, table: tableName }).slice(0, -1);
  const more = rewound === undefined ? '' : `,"rewound":${rewoundToJson(rewound)}`;
  return {
    kind: 'schema',
    table: tableName,
    key: Buffer.from(JSON.stringify(key)),
    value: Buffer.from(
      `${text},${place},"partition":${partition ?? 'null'},"missing":${missingToJson(missing)}${more}}`,
    ),
    position: `${tabletId}/${positionOf(change)}`,
    timestampMs: Math.floor(Number(hybridTimeToMicros(hybridTime)) / 1000),
  };
}

function positionOf({ event, opId, hybridTime }: TabletEvent): string {
  switch (event) {
    case 'recopied':
      return `base.${hybridTime}`;
    case 'rewound':
    case 'skipped':
      return `${opId.term}.${opId.index}.0`;
    case 'range-dropped':
    case 'table-dropped':
      return `${opId.term}.${opId.index + 1n}.0`;
  }
}

function rewoundToJson(rewound: Rewound): string {
  const index = rewound.by === 'log' ? (rewound.after.index + 1n).toString() : 'null';
  const time = rewound.by === 'history' ? `"${rewound.since}"` : 'null';
  return `{"by":"${rewound.by}","from_index":${index},"from_hybrid_time":${time}}`;
}

function missingToJson(missing: TabletEvent['missing']): string {
  if (missing === null) return 'null';
  const { fromIndex, toIndex } = missing.operations ?? { fromIndex: null, toIndex: null };
  return `{"from_index":${fromIndex},"to_index":${toIndex},"copy":${missing.copy}}`;
}

function tableToJson(table: { readonly tableName: string; readonly schema: TableSchema }): string {
  return `{"table":${JSON.stringify(table.tableName)},"columns":[${table.schema.columns.map(columnToJson).join(',')}]}`;
}

/** Values are spliced in as text: an INT64 default beyond 2^53 stays exact. */
function columnToJson(column: ColumnSchema): string {
  const members: [string, string][] = [
    ['id', JSON.stringify(column.id ?? null)],
    ['name', JSON.stringify(column.name)],
    ['type', JSON.stringify(TYPE_NAMES.get(column.type))],
    ['key', JSON.stringify(column.isKey)],
    ['nullable', JSON.stringify(column.nullable)],
    ['default', valueToJson(column, column.writeDefault)],
    ['read_default', valueToJson(column, column.readDefault)],
    ['immutable', JSON.stringify(column.immutable)],
    ['auto_increment', JSON.stringify(column.autoIncrementing)],
    ['precision', JSON.stringify(column.precision ?? null)],
    ['scale', JSON.stringify(column.scale ?? null)],
    ['length', JSON.stringify(column.length ?? null)],
  ];
  return `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`;
}

function valueToJson(column: ColumnSchema, value: Buffer | null): string {
  return value === null ? 'null' : defaultToJson(column, value).toString();
}
