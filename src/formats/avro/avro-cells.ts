import { DataType, type ColumnSchema } from '../../kudu/schema.ts';
import {
  MAX_VARINT32_BYTES,
  MAX_VARINT64_BYTES,
  writeZigzag32,
  writeZigzag64,
  writeZigzagBigInt,
} from '../../util/varints.ts';
import type { CellCodec } from '../json-cells.ts';
import {
  bytesCodec,
  decimalDoubleCodec,
  decimalTextCodec,
  fixed,
  readInt32,
  shortTextCodec,
  textCodec,
} from '../typed/text-cells.ts';
import { MAX_BIG_ENDIAN_BYTES, writeBigEndian } from '../big-endian.ts';
import { MAX_ISO_CHARS, microsToMillis, writeIsoDate, writeIsoMicros } from '../iso-time.ts';
import type { TypeOptions } from './avro-types.ts';

/**
 * How the values of a column become Avro, without the branch of a union: as {@link avroType} says.
 * @throws {RangeError} a column of a type that has no rule. The writers throw {@link RangeError} where a text is no UTF-8
 */
export function avroCell(column: ColumnSchema, { decimals, time }: TypeOptions): CellCodec {
  switch (column.type) {
    case DataType.BOOL:
      return fixed(1, (out, at, rows, cell) => {
        out[at] = rows[cell] === 0 ? 0 : 1;
        return at + 1;
      });
    case DataType.INT8:
      return fixed(2, (out, at, rows, cell) => writeZigzag32(out, at, (rows[cell]! << 24) >> 24));
    case DataType.INT16:
      return fixed(3, (out, at, rows, cell) => writeZigzag32(out, at, ((rows[cell + 1]! << 24) >> 16) | rows[cell]!));
    case DataType.INT32:
      return fixed(MAX_VARINT32_BYTES, writeInt);
    case DataType.INT64:
      return fixed(MAX_VARINT64_BYTES, writeLong);
    case DataType.FLOAT:
      return fixed(4, (out, at, rows, cell) => copyFew(out, at, rows, cell, 4));
    case DataType.DOUBLE:
      return fixed(8, (out, at, rows, cell) => copyFew(out, at, rows, cell, 8));
    case DataType.STRING:
    case DataType.VARCHAR:
      return textCodec(column, writeZigzag32);
    case DataType.BINARY:
      return bytesCodec(writeZigzag32);
    case DataType.UNIXTIME_MICROS:
      if (time === 'adaptive') return fixed(MAX_VARINT64_BYTES, writeLong);
      return time === 'connect'
        ? fixed(MAX_VARINT64_BYTES, writeMillis)
        : shortTextCodec(MAX_ISO_CHARS, writeIsoMicros, writeZigzag32);
    case DataType.DATE:
      return time === 'isostring'
        ? shortTextCodec(MAX_ISO_CHARS, writeIsoDate, writeZigzag32)
        : fixed(MAX_VARINT32_BYTES, writeInt);
    case DataType.DECIMAL32:
      return decimalCodec(column, decimals, 4);
    case DataType.DECIMAL64:
      return decimalCodec(column, decimals, 8);
    case DataType.DECIMAL128:
      return decimalCodec(column, decimals, 16);
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.INT128:
    case DataType.IS_DELETED:
      throw new RangeError(`column ${JSON.stringify(column.name)} has Kudu's data type ${column.type}`);
  }
}

function writeInt(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeZigzag32(out, at, readInt32(rows, cell));
}

function writeLong(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeZigzag64(out, at, readInt32(rows, cell + 4), readInt32(rows, cell));
}

function writeMillis(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeZigzagBigInt(out, at, microsToMillis(rows.readBigInt64LE(cell)));
}

function decimalCodec(column: ColumnSchema, decimals: TypeOptions['decimals'], size: number): CellCodec {
  switch (decimals) {
    case 'precise':
      return fixed(MAX_BIG_ENDIAN_BYTES, (out, at, rows, cell) => {
        const end = writeBigEndian(out, at + 1, rows, cell, size);
        out[at] = 2 * (end - at - 1);
        return end;
      });
    case 'string':
      return decimalTextCodec(column, writeZigzag32);
    case 'double':
      return decimalDoubleCodec(column);
  }
}

function copyFew(out: Buffer, at: number, from: Buffer, start: number, count: number): number {
  for (let i = 0; i < count; i++) out[at + i] = from[start + i]!;
  return at + count;
}
