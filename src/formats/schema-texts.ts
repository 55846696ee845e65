import { DataType, type ColumnSchema, type TableSchema } from '../kudu/schema.ts';
import { connectKey, connectType, connectValue } from './connect-schema.ts';
import type { JsonLayout } from './json-definition.ts';
import { splitTableName } from './table-name.ts';

/*
 * The texts that a consumer of a stream in JSON needs for a table: pure functions of its schema and the format's options.
 * None has Kudu's defaults: a reader would put them in the place of nulls.
 */

/** What the texts are about. */
export interface SchemaSubject {
  /** Kudu's name of the table. */
  readonly table: string;
  readonly schema: TableSchema;
  readonly topic: string;
  readonly layout: JsonLayout;
}

/** `key.converter.schema.content` of Kafka Connect's JSON converter. @throws {RangeError} no rule for the type of a column */
export function connectKeyText({ schema, topic, layout }: SchemaSubject): string {
  return JSON.stringify(connectKey(schema, topic, layout));
}

/** `value.converter.schema.content`. @throws {RangeError} as {@link connectKeyText} */
export function connectValueText({ schema, topic, layout }: SchemaSubject): string {
  return JSON.stringify(connectValue(schema, topic, layout));
}

/** JSON Schema (2020-12) of the value of a record, without a schema block. @throws {RangeError} as {@link connectKeyText} */
export function jsonSchemaText({ table, schema, layout }: SchemaSubject): string {
  const properties = Object.fromEntries(
    schema.columns.map((column) => [column.name, columnJsonSchema(column, layout)]),
  );
  const keys = schema.columns.filter(({ isKey }) => isKey).map(({ name }) => name);
  const row = { type: 'object', properties, required: keys };
  const title = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: table };
  if (layout.envelope === 'flat') return JSON.stringify({ ...title, ...row });
  const image = { anyOf: [{ type: 'null' }, { $ref: '#/$defs/row' }] };
  const integer = { type: 'integer' };
  return JSON.stringify({
    ...title,
    type: 'object',
    properties: {
      op: { enum: ['c', 'u', 'd', 'r'] },
      before: image,
      after: image,
      source: { type: 'object' },
      ts_ms: integer,
      ts_us: integer,
      ts_ns: integer,
      transaction: { type: ['object', 'null'] },
    },
    required: ['op', 'before', 'after', 'source'],
    $defs: { row },
  });
}

const JSON_TYPES: Readonly<Record<string, readonly string[]>> = {
  boolean: ['boolean'],
  int8: ['integer'],
  int16: ['integer'],
  int32: ['integer'],
  int64: ['integer'],
  float: ['number'],
  double: ['number'],
  string: ['string'],
  bytes: ['string'],
};

function columnJsonSchema(column: ColumnSchema, layout: JsonLayout): object {
  const { type: connect } = connectType(column, layout);
  const types = [...JSON_TYPES[connect]!];
  const isFloat = column.type === DataType.FLOAT || column.type === DataType.DOUBLE;
  if (isFloat && layout.nonFinite === 'string') types.push('string');
  if (!column.isKey) types.push('null');
  const type = types.length === 1 ? types[0] : types;
  const isBase64 = connect === 'bytes' || (column.type === DataType.BINARY && layout.binary === 'base64');
  return { type, ...(isBase64 && { contentEncoding: 'base64' }), ...formatOf(column, layout) };
}

function formatOf({ type }: ColumnSchema, { time }: JsonLayout): object {
  if (time !== 'isostring') return {};
  if (type === DataType.UNIXTIME_MICROS) return { format: 'date-time' };
  return type === DataType.DATE ? { format: 'date' } : {};
}

/**
 * Flink SQL: a table over the topic, by `debezium-json`; where the records are flat, by `upsert-kafka`. Brokers are the reader's to
 * fill in. @throws {RangeError} as {@link connectKeyText}
 */
export function flinkTableText({ table, schema, topic, layout }: SchemaSubject): string {
  const columns = schema.columns.map((column) => `${quote(column.name)} ${flinkType(column, layout)}`);
  const keys = schema.columns.filter(({ isKey }) => isKey).map(({ name }) => quote(name));
  const isFlat = layout.envelope === 'flat';
  const format = isFlat ? 'json' : 'debezium-json';
  const options: [string, string][] = [
    ['connector', isFlat ? 'upsert-kafka' : 'kafka'],
    ['topic', topic],
    ['properties.bootstrap.servers', '<brokers>'],
    ['properties.isolation.level', 'read_committed'],
    ...(isFlat
      ? ([
          ['key.format', 'json'],
          ['value.format', 'json'],
        ] as [string, string][])
      : ([
          ['scan.startup.mode', 'earliest-offset'],
          ['format', format],
          ['debezium-json.schema-include', String(layout.schema === 'block')],
        ] as [string, string][])),
    ...(layout.time === 'isostring'
      ? ([[`${isFlat ? 'value.json' : format}.timestamp-format.standard`, 'ISO-8601']] as [string, string][])
      : []),
  ];
  const lines = [...columns, `PRIMARY KEY (${keys.join(', ')}) NOT ENFORCED`];
  return `CREATE TABLE ${quote(splitTableName(table).table)} (\n  ${lines.join(',\n  ')}\n) WITH (\n  ${options
    .map(([name, value]) => `${literal(name)} = ${literal(value)}`)
    .join(',\n  ')}\n);\n`;
}

/** A type that Flink's JSON reads from what the record has: times in numbers are numbers to it. */
function flinkType(column: ColumnSchema, layout: JsonLayout): string {
  const type = flinkBaseType(column, layout);
  return column.isKey ? `${type} NOT NULL` : type;
}

function flinkBaseType(column: ColumnSchema, layout: JsonLayout): string {
  const { type, precision = 38, scale = 0 } = column;
  const isDecimal = type === DataType.DECIMAL32 || type === DataType.DECIMAL64 || type === DataType.DECIMAL128;
  if (isDecimal && layout.decimals !== 'precise') return `DECIMAL(${precision}, ${scale})`;
  if (layout.time === 'isostring' && type === DataType.UNIXTIME_MICROS) return 'TIMESTAMP_LTZ(6)';
  if (layout.time === 'isostring' && type === DataType.DATE) return 'DATE';
  if (type === DataType.BINARY && layout.binary !== 'hex') return 'BYTES';
  return FLINK_TYPES[connectType(column, layout).type]!;
}

const FLINK_TYPES: Readonly<Record<string, string>> = {
  boolean: 'BOOLEAN',
  int8: 'TINYINT',
  int16: 'SMALLINT',
  int32: 'INT',
  int64: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  string: 'STRING',
  bytes: 'BYTES',
};

/**
 * ClickHouse: the table in which rows come to rest, one for each key, the newest of them by `_version`. A row with `is_deleted` is
 * none. @throws {RangeError} as {@link connectKeyText}
 */
export function clickHouseTableText({ table, schema, layout }: SchemaSubject): string {
  const { db, table: name } = splitTableName(table);
  const columns = schema.columns.map((column) => {
    const type = clickHouseType(column, layout);
    return `${quote(column.name)} ${column.isKey ? type : `Nullable(${type})`}`;
  });
  const keys = schema.columns.filter(({ isKey }) => isKey).map((column) => quote(column.name));
  const lines = [...columns, '`_version` UInt64', '`is_deleted` UInt8'];
  const fullName = db === '' ? quote(name) : `${quote(db)}.${quote(name)}`;
  return `CREATE TABLE ${fullName} (\n  ${lines.join(',\n  ')}\n) ENGINE = ReplacingMergeTree(\`_version\`, \`is_deleted\`)\nORDER BY (${keys.join(', ')});\n`;
}

function clickHouseType(column: ColumnSchema, layout: JsonLayout): string {
  const { type, precision = 38, scale = 0 } = column;
  const isDecimal = type === DataType.DECIMAL32 || type === DataType.DECIMAL64 || type === DataType.DECIMAL128;
  if (isDecimal && layout.decimals !== 'precise') return `Decimal(${precision}, ${scale})`;
  if (layout.time === 'isostring' && type === DataType.UNIXTIME_MICROS) return "DateTime64(6, 'UTC')";
  if (layout.time === 'isostring' && type === DataType.DATE) return 'Date32';
  return CLICKHOUSE_TYPES[connectType(column, layout).type]!;
}

const CLICKHOUSE_TYPES: Readonly<Record<string, string>> = {
  boolean: 'Bool',
  int8: 'Int8',
  int16: 'Int16',
  int32: 'Int32',
  int64: 'Int64',
  float: 'Float32',
  double: 'Float64',
  string: 'String',
  bytes: 'String',
};

/** A name in both SQLs. */
function quote(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
