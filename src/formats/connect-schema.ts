import { DataType, type ColumnSchema, type TableSchema } from '../kudu/schema.ts';
import type { JsonLayout, ValueOptions } from './json-definition.ts';

/** A schema of Kafka Connect as its JSON converter reads it. */
export interface ConnectSchema {
  readonly type: string;
  readonly optional: boolean;
  readonly name?: string;
  readonly version?: number;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly fields?: readonly ConnectField[];
}
export type ConnectField = ConnectSchema & { readonly field: string };

type ConnectType = Omit<ConnectSchema, 'optional'>;

/** Of the key: `<topic>.Key`. @throws {RangeError} no rule for the type of a column */
export function connectKey({ columns }: TableSchema, topic: string, options: ValueOptions): ConnectSchema {
  const fields = columns.filter(({ isKey }) => isKey).map((column) => columnField(column, options));
  return struct(`${topic}.Key`, fields, false);
}

/**
 * Of the value: Debezium's envelope `<topic>.Envelope`, or the row `<topic>.Value` in a flat one. Every column but those of the
 * key is optional, and no default of Kudu's is in it: readers put a default in the place of a null.
 * @throws {RangeError} no rule for the type of a column
 */
export function connectValue({ columns }: TableSchema, topic: string, layout: JsonLayout): ConnectSchema {
  const row = struct(
    `${topic}.Value`,
    columns.map((column) => columnField(column, layout)),
    layout.envelope === 'debezium',
  );
  if (layout.envelope === 'flat') return row;
  return {
    ...struct(
      `${topic}.Envelope`,
      [
        { ...row, field: 'before' },
        { ...row, field: 'after' },
        { ...SOURCE, field: 'source' },
        required('op', 'string'),
        optional('ts_ms', 'int64'),
        optional('ts_us', 'int64'),
        optional('ts_ns', 'int64'),
        { ...TRANSACTION, field: 'transaction' },
      ],
      false,
    ),
    version: 2,
  };
}

function columnField(column: ColumnSchema, options: ValueOptions): ConnectField {
  return { ...connectType(column, options), optional: !column.isKey, field: column.name };
}

/** @throws {RangeError} no client can make a column of that type, and there is no rule for it */
export function connectType(column: ColumnSchema, { decimals, time, binary }: ValueOptions): ConnectType {
  switch (column.type) {
    case DataType.BOOL:
      return { type: 'boolean' };
    case DataType.INT8:
      return { type: 'int8' };
    case DataType.INT16:
      return { type: 'int16' };
    case DataType.INT32:
      return { type: 'int32' };
    case DataType.INT64:
      return { type: 'int64' };
    case DataType.FLOAT:
      return { type: 'float' };
    case DataType.DOUBLE:
      return { type: 'double' };
    case DataType.STRING:
    case DataType.VARCHAR:
      return { type: 'string' };
    case DataType.BINARY:
      return { type: binary === 'bytes' ? 'bytes' : 'string' };
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      return decimals === 'precise' ? decimalType(column) : { type: decimals };
    case DataType.UNIXTIME_MICROS:
      if (time === 'isostring') return { type: 'string', ...named('io.debezium.time.IsoTimestamp') };
      return {
        type: 'int64',
        ...named(time === 'connect' ? `${CONNECT}.Timestamp` : 'io.debezium.time.MicroTimestamp'),
      };
    case DataType.DATE:
      if (time === 'isostring') return { type: 'string', ...named('io.debezium.time.IsoDate') };
      return { type: 'int32', ...named(time === 'connect' ? `${CONNECT}.Date` : 'io.debezium.time.Date') };
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.INT128:
    case DataType.IS_DELETED:
      throw new RangeError(`column ${JSON.stringify(column.name)} has Kudu's data type ${column.type}`);
  }
}

const CONNECT = 'org.apache.kafka.connect.data';

function decimalType({ precision = 38, scale = 0 }: ColumnSchema): ConnectType {
  const parameters = { scale: String(scale), 'connect.decimal.precision': String(precision) };
  return { type: 'bytes', ...named(`${CONNECT}.Decimal`), parameters };
}

function named(name: string): { readonly name: string; readonly version: number } {
  return { name, version: 1 };
}

function struct(name: string, fields: readonly ConnectField[], isOptional: boolean): ConnectSchema {
  return { type: 'struct', fields, optional: isOptional, name };
}

function required(field: string, type: string): ConnectField {
  return { type, optional: false, field };
}

function optional(field: string, type: string): ConnectField {
  return { type, optional: true, field };
}

const SNAPSHOT: ConnectField = {
  ...optional('snapshot', 'string'),
  ...named('io.debezium.data.Enum'),
  parameters: { allowed: 'true,first,first_in_data_collection,last_in_data_collection,last,false,incremental' },
};
const SOURCE: ConnectSchema = {
  ...struct(
    'io.debezium.connector.kudu.Source',
    [
      required('version', 'string'),
      required('connector', 'string'),
      required('name', 'string'),
      required('ts_ms', 'int64'),
      SNAPSHOT,
      required('db', 'string'),
      optional('sequence', 'string'),
      optional('ts_us', 'int64'),
      optional('ts_ns', 'int64'),
      required('table', 'string'),
      required('kudu_table', 'string'),
      required('table_id', 'string'),
      required('tablet_id', 'string'),
      required('term', 'int64'),
      required('index', 'int64'),
      required('hybrid_time', 'string'),
      required('lsn', 'int64'),
      optional('row', 'int32'),
      optional('kudu_op', 'string'),
      optional('image', 'string'),
    ],
    false,
  ),
  version: 1,
};
const TRANSACTION: ConnectSchema = {
  ...struct(
    'event.block',
    [required('id', 'string'), required('total_order', 'int64'), required('data_collection_order', 'int64')],
    true,
  ),
  version: 1,
};
