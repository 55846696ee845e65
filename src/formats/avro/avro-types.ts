import { DataType, type ColumnSchema } from '../../kudu/schema.ts';

/** How decimals and times are written, in the words of a stream's `format`. */
export interface TypeOptions {
  readonly decimals: 'precise' | 'string' | 'double';
  readonly time: 'adaptive' | 'connect' | 'isostring';
}

/** A node of an Avro schema, as JSON. */
export type AvroType = string | Readonly<Record<string, unknown>>;

const MICRO_TIMESTAMP = {
  type: 'long',
  'connect.version': 1,
  'connect.name': 'io.debezium.time.MicroTimestamp',
  logicalType: 'timestamp-micros',
};
/** By the logical type alone: with a `connect.name` of another name beside it Connect's converter fails (consumers.md 1.2). */
const DATE = { type: 'int', logicalType: 'date' };
const TIMESTAMP = { type: 'long', logicalType: 'timestamp-millis' };

/**
 * The Avro type of a column's values, as Connect's converter would write it of Debezium's types.
 * @throws {RangeError} no client can make a column of that type, and there is no rule for it
 */
export function avroType(column: ColumnSchema, { decimals, time }: TypeOptions): AvroType {
  switch (column.type) {
    case DataType.BOOL:
      return 'boolean';
    case DataType.INT8:
      return { type: 'int', 'connect.type': 'int8' };
    case DataType.INT16:
      return { type: 'int', 'connect.type': 'int16' };
    case DataType.INT32:
      return 'int';
    case DataType.INT64:
      return 'long';
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
      return decimals === 'precise' ? decimal(column) : decimals;
    case DataType.UNIXTIME_MICROS:
      if (time === 'isostring') return isoString('IsoTimestamp');
      return time === 'connect' ? TIMESTAMP : MICRO_TIMESTAMP;
    case DataType.DATE:
      return time === 'isostring' ? isoString('IsoDate') : DATE;
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.INT128:
    case DataType.IS_DELETED:
      throw new RangeError(`column ${JSON.stringify(column.name)} has Kudu's data type ${column.type}`);
  }
}

function decimal({ precision = 38, scale = 0 }: ColumnSchema): AvroType {
  return {
    type: 'bytes',
    scale,
    precision,
    'connect.version': 1,
    'connect.parameters': { scale: String(scale), 'connect.decimal.precision': String(precision) },
    'connect.name': 'org.apache.kafka.connect.data.Decimal',
    logicalType: 'decimal',
  };
}

function isoString(name: string): AvroType {
  return { type: 'string', 'connect.version': 1, 'connect.name': `io.debezium.time.${name}` };
}
