import { DataType, type ColumnSchema, type TableSchema } from '../../kudu/schema.ts';
import { adjustName, adjustNamespace } from '../avro/avro-names.ts';
import { refuseLossyKey } from '../lossy-keys.ts';
import type { SchemaTexts } from '../typed/row-writer.ts';
import { valueKind } from '../value-kinds.ts';
import { fieldNumbers } from './proto-numbers.ts';

/** How decimals and times are written, in the words of a stream's `format`. */
export interface ProtoTypes {
  readonly decimals: 'string' | 'precise' | 'double';
  readonly time: 'adaptive' | 'connect' | 'isostring';
}

/** Field numbers of the envelope and of `source`: they never change. */
export const ENVELOPE = { before: 1, after: 2, source: 3, op: 4, ts_ms: 5, ts_us: 6, ts_ns: 7 } as const;
export const SOURCE = {
  version: 1,
  connector: 2,
  name: 3,
  ts_ms: 4,
  snapshot: 5,
  db: 6,
  sequence: 7,
  ts_us: 8,
  ts_ns: 9,
  table: 10,
  kudu_table: 11,
  table_id: 12,
  tablet_id: 13,
  term: 14,
  index: 15,
  hybrid_time: 16,
  lsn: 17,
  row: 18,
  kudu_op: 19,
} as const;
/** A decimal without its point, in two's complement and big-endian: as Confluent's `confluent.type.Decimal`. */
export const DECIMAL = { value: 1, precision: 2, scale: 3 } as const;
const DECIMAL_FIELDS = [
  `  bytes value = ${DECIMAL.value};`,
  `  uint32 precision = ${DECIMAL.precision};`,
  `  int32 scale = ${DECIMAL.scale};`,
];
/**
 * `foo_bar` and `fooBar` are one name in JSON, for which protoc refuses a message, whatever `json_name` says, unless it is told
 * that this is known.
 */
const JSON_CLASH = '  option deprecated_legacy_json_field_conflicts = true;';
const SOURCE_NUMBERS: readonly string[] = ['ts_ms', 'ts_us', 'ts_ns', 'term', 'index', 'lsn'];

/**
 * The .proto files of a table's records. A message each: of the key, and the envelope, which is the first of its file. Every column
 * but those of the key is optional, so that null and 0 are told apart.
 * @throws {RangeError} two columns would have one name, two keys would be one, or a column has no rule
 */
export function protoSchemas(schema: TableSchema, topic: string, types: ProtoTypes): SchemaTexts {
  const namespace = adjustNamespace(topic, 'avro');
  const numbers = fieldNumbers(schema);
  const fields = schema.columns.map((column, place): ColumnField => {
    refuseLossyKey(column, types);
    return { column, name: adjustName(column.name, 'avro'), number: numbers[place]! };
  });
  refuseClashes(fields);
  const head = `syntax = "proto3";\npackage ${namespace};\n`;
  const keyFields = fields.filter(({ column }) => column.isKey);
  const envelope = [
    `  optional Value before = ${ENVELOPE.before};`,
    `  optional Value after = ${ENVELOPE.after};`,
    `  Source source = ${ENVELOPE.source};`,
    `  string op = ${ENVELOPE.op};`,
    `  optional int64 ts_ms = ${ENVELOPE.ts_ms};`,
    `  optional int64 ts_us = ${ENVELOPE.ts_us};`,
    `  optional int64 ts_ns = ${ENVELOPE.ts_ns};`,
  ];
  const source = Object.entries(SOURCE).map(([name, number]) => {
    if (name === 'row') return `  optional int32 row = ${number};`;
    if (name === 'kudu_op') return `  optional string kudu_op = ${number};`;
    return `  ${SOURCE_NUMBERS.includes(name) ? 'int64' : 'string'} ${name} = ${number};`;
  });
  return {
    // A program may have both files: no type of theirs has the same name.
    key: `${head}\n${columnMessages('Key', keyFields, types, 'KeyDecimal')}`,
    value: `${head}\n${message('Envelope', envelope)}\n${columnMessages('Value', fields, types, 'Decimal')}\n${message('Source', source)}`,
    keyName: `${namespace}.Key`,
    valueName: `${namespace}.Envelope`,
  };
}

interface ColumnField {
  readonly column: ColumnSchema;
  readonly name: string;
  readonly number: number;
}

/** A message with these columns, and that of its decimals. */
function columnMessages(name: string, fields: readonly ColumnField[], types: ProtoTypes, decimalName: string): string {
  const isClash = new Set(fields.map((field) => jsonName(field.name))).size < fields.length;
  const lines = fields.map(({ column, name: field, number }) => {
    const label = column.isKey ? '' : 'optional ';
    const type = protoType(column, types, decimalName);
    const original = field === column.name && !isClash ? '' : ` [json_name = ${quoted(column.name)}]`;
    return `  ${label}${type} ${field} = ${number}${original};`;
  });
  const isDecimal = types.decimals === 'precise' && fields.some(({ column }) => valueKind(column.type) === 'decimal');
  const decimal = isDecimal ? `\n${message(decimalName, DECIMAL_FIELDS)}` : '';
  return message(name, isClash ? [JSON_CLASH, ...lines] : lines) + decimal;
}

/** @throws {RangeError} there is no rule for the type */
function protoType({ name, type }: ColumnSchema, { decimals, time }: ProtoTypes, decimalName: string): string {
  switch (type) {
    case DataType.BOOL:
      return 'bool';
    case DataType.INT8:
    case DataType.INT16:
    case DataType.INT32:
      return 'sint32';
    case DataType.DATE:
      return time === 'isostring' ? 'string' : 'sint32';
    case DataType.INT64:
      return 'sint64';
    case DataType.UNIXTIME_MICROS:
      return time === 'isostring' ? 'string' : 'sint64';
    case DataType.FLOAT:
      return 'float';
    case DataType.DOUBLE:
      return 'double';
    case DataType.STRING:
    case DataType.VARCHAR:
      return 'string';
    case DataType.BINARY:
      return 'bytes';
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      return decimals === 'precise' ? decimalName : decimals;
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.INT128:
    case DataType.IS_DELETED:
      throw new RangeError(`column ${JSON.stringify(name)} has Kudu's data type ${type}`);
  }
}

/** What JSON calls a field that has no name for it of its own. */
function jsonName(field: string): string {
  return field.replace(/_+(.?)/g, (_, next: string) => next.toUpperCase());
}

/** @throws {RangeError} the language has no such name */
function quoted(column: string): string {
  if (!/^\[.*\]$/s.test(column)) return JSON.stringify(column);
  throw new RangeError(`column ${JSON.stringify(column)} has a name in brackets, which json_name cannot be`);
}

function message(name: string, fields: readonly string[]): string {
  return `message ${name} {\n${fields.join('\n')}\n}\n`;
}

function refuseClashes(fields: readonly ColumnField[]): void {
  const byName = new Map<string, string>();
  for (const { name, column } of fields) {
    const other = byName.get(name);
    if (other !== undefined)
      throw new RangeError(
        `columns ${JSON.stringify(other)} and ${JSON.stringify(column.name)} would both be the field ${name}`,
      );
    byName.set(name, column.name);
  }
}
