import { DataType, type ColumnSchema, type TableSchema } from '../../kudu/schema.ts';
import { adjustName, adjustNamespace } from '../avro/avro-names.ts';
import { refuseLossyKey } from '../lossy-keys.ts';
import type { SchemaTexts } from '../typed/row-writer.ts';
import { fieldNumbers } from './proto-numbers.ts';

/** How decimals are written, in the words of a stream's `format`. */
export interface ProtoTypes {
  readonly decimals: 'string' | 'double';
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
const SOURCE_NUMBERS: readonly string[] = ['ts_ms', 'ts_us', 'ts_ns', 'term', 'index', 'lsn'];

/**
 * The .proto files of a table's records. A message each: of the key, and the envelope, which is the first of its file. Every column
 * but those of the key is optional, so that null and 0 are told apart.
 * @throws {RangeError} two columns would have one name, a column is of a type that has no rule, or two rows would have one key
 */
export function protoSchemas(schema: TableSchema, topic: string, types: ProtoTypes): SchemaTexts {
  const namespace = adjustNamespace(topic, 'avro');
  const numbers = fieldNumbers(schema);
  const names = schema.columns.map(({ name }) => adjustName(name, 'avro'));
  refuseClashes(schema.columns, names);
  const fields = schema.columns.map((column, place) => {
    refuseLossyKey(column, types);
    const label = column.isKey ? '' : 'optional ';
    const original = names[place] === column.name ? '' : ` [json_name = ${JSON.stringify(column.name)}]`;
    return `  ${label}${protoType(column, types)} ${names[place]!} = ${numbers[place]!}${original};`;
  });
  const head = `syntax = "proto3";\npackage ${namespace};\n`;
  const keyFields = fields.filter((_, place) => schema.columns[place]!.isKey);
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
    key: `${head}\n${message('Key', keyFields)}`,
    value: `${head}\n${message('Envelope', envelope)}\n${message('Value', fields)}\n${message('Source', source)}`,
    keyName: `${namespace}.Key`,
    valueName: `${namespace}.Envelope`,
  };
}

/** @throws {RangeError} there is no rule for the type */
function protoType({ name, type }: ColumnSchema, { decimals }: ProtoTypes): string {
  switch (type) {
    case DataType.BOOL:
      return 'bool';
    case DataType.INT8:
    case DataType.INT16:
    case DataType.INT32:
    case DataType.DATE:
      return 'sint32';
    case DataType.INT64:
    case DataType.UNIXTIME_MICROS:
      return 'sint64';
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
      return decimals;
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.INT128:
    case DataType.IS_DELETED:
      throw new RangeError(`column ${JSON.stringify(name)} has Kudu's data type ${type}`);
  }
}

function message(name: string, fields: readonly string[]): string {
  return `message ${name} {\n${fields.join('\n')}\n}\n`;
}

function refuseClashes(columns: readonly ColumnSchema[], names: readonly string[]): void {
  for (const [place, name] of names.entries()) {
    const other = names.indexOf(name);
    if (other < place)
      throw new RangeError(
        `columns ${JSON.stringify(columns[other]!.name)} and ${JSON.stringify(columns[place]!.name)} would both be the field ${name}`,
      );
  }
}
