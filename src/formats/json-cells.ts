import { DataType, type ColumnSchema } from '../kudu/schema.ts';
import {
  MAX_DOUBLE_CHARS,
  MAX_INT64_CHARS,
  writeBigInt,
  writeInt,
  writeInt64,
  writeLatin1,
} from '../util/ascii-numbers.ts';
import { base64StringBytes, maxJsonStringBytes, writeBase64String, writeJsonString } from '../util/json-bytes.ts';

/** Writes the cell at `cell` of `rows` as JSON text into `out` from `at` on; answers the position after it. */
export type CellWriter = (out: Buffer, at: number, rows: Buffer, cell: number, indirect: Buffer) => number;

/** How the values of a column become JSON, and the room that they take. */
export interface CellCodec {
  readonly write: CellWriter;
  /** At most so many bytes, or (var-length columns) null: ask `maxBytesOf`. */
  readonly maxBytes: number | null;
  /** For a value of so many bytes in the log. */
  readonly maxBytesOf: (valueBytes: number) => number;
}

/** @throws {RangeError} no client can make a column of that type, and there is no rule for it */
export function cellCodec(column: ColumnSchema): CellCodec {
  const scale = column.scale ?? 0;
  switch (column.type) {
    case DataType.BOOL:
      return fixed(5, (out, at, rows, cell) => writeLatin1(out, at, rows[cell] === 0 ? 'false' : 'true'));
    case DataType.INT8:
      return fixed(4, (out, at, rows, cell) => writeInt(out, at, (rows[cell]! << 24) >> 24));
    case DataType.INT16:
      return fixed(6, (out, at, rows, cell) => writeInt(out, at, rows.readInt16LE(cell)));
    case DataType.INT32:
    case DataType.DATE:
      return fixed(11, (out, at, rows, cell) => writeInt(out, at, readInt32(rows, cell)));
    case DataType.INT64:
    case DataType.UNIXTIME_MICROS:
      return fixed(MAX_INT64_CHARS, (out, at, rows, cell) =>
        writeInt64(out, at, readInt32(rows, cell + 4), readInt32(rows, cell)),
      );
    case DataType.FLOAT:
      return fixed(MAX_DOUBLE_CHARS, (out, at, rows, cell) => writeDouble(out, at, rows.readFloatLE(cell)));
    case DataType.DOUBLE:
      return fixed(MAX_DOUBLE_CHARS, (out, at, rows, cell) => writeDouble(out, at, rows.readDoubleLE(cell)));
    case DataType.DECIMAL32:
      return fixed(maxDecimalChars(10, scale), (out, at, rows, cell) => {
        const value = readInt32(rows, cell);
        return writeDecimal64(out, at, value >> 31, value, scale);
      });
    case DataType.DECIMAL64:
      return fixed(maxDecimalChars(19, scale), (out, at, rows, cell) =>
        writeDecimal64(out, at, readInt32(rows, cell + 4), readInt32(rows, cell), scale),
      );
    case DataType.DECIMAL128:
      return fixed(maxDecimalChars(39, scale), (out, at, rows, cell) => writeDecimal128(out, at, rows, cell, scale));
    case DataType.STRING:
    case DataType.VARCHAR:
      return varLength(maxJsonStringBytes, writeJsonString);
    case DataType.BINARY:
      return varLength(base64StringBytes, writeBase64String);
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
    case DataType.INT128:
    case DataType.IS_DELETED:
      throw new RangeError(`column ${JSON.stringify(column.name)} has Kudu's data type ${column.type}`);
  }
}

/** The JSON text of a default, which is kept in the form of a cell, a var-length one as the bytes themselves. */
export function defaultToJson(column: ColumnSchema, value: Buffer, codec = cellCodec(column)): Buffer {
  const out = Buffer.alloc(codec.maxBytesOf(value.length));
  if (codec.maxBytes !== null) return out.subarray(0, codec.write(out, 0, value, 0, value));
  const pointer = Buffer.alloc(16);
  pointer.writeUInt32LE(value.length, 8);
  return out.subarray(0, codec.write(out, 0, pointer, 0, value));
}

function fixed(maxBytes: number, write: CellWriter): CellCodec {
  return { write, maxBytes, maxBytesOf: () => maxBytes };
}

type StringWriter = (out: Uint8Array, at: number, source: Uint8Array, from: number, to: number) => number;

function varLength(maxBytesOf: (valueBytes: number) => number, write: StringWriter): CellCodec {
  return {
    write: (out, at, rows, cell, indirect) => {
      const from = readInt32(rows, cell);
      return write(out, at, indirect, from, from + readInt32(rows, cell + 8));
    },
    maxBytes: null,
    maxBytesOf,
  };
}

/** A sign, a point, a zero before it, and as many digits as the value or its scale needs, in quotes. */
function maxDecimalChars(digits: number, scale: number): number {
  return 5 + Math.max(digits, scale + 1);
}

/** The shortest digits that give the same double again; a float is printed as the double that equals it. */
function writeDouble(out: Buffer, at: number, value: number): number {
  if (Number.isFinite(value)) return writeLatin1(out, at, Object.is(value, -0) ? '-0.0' : String(value));
  return writeLatin1(out, at, Number.isNaN(value) ? '"NaN"' : value > 0 ? '"Infinity"' : '"-Infinity"');
}

function writeDecimal64(out: Buffer, at: number, high: number, low: number, scale: number): number {
  out[at] = 0x22;
  return endDecimal(out, at + 1, writeInt64(out, at + 1, high, low), scale);
}

function writeDecimal128(out: Buffer, at: number, rows: Buffer, cell: number, scale: number): number {
  const sign = readInt32(rows, cell + 4) >> 31;
  if (readInt32(rows, cell + 8) === sign && readInt32(rows, cell + 12) === sign)
    return writeDecimal64(out, at, readInt32(rows, cell + 4), readInt32(rows, cell), scale);
  const unscaled = (rows.readBigInt64LE(cell + 8) << 64n) | rows.readBigUInt64LE(cell);
  out[at] = 0x22;
  return endDecimal(out, at + 1, writeLatin1(out, at + 1, String(unscaled)), scale);
}

/** Puts the point into the digits of an unscaled value at `from .. to`, and the closing quote behind. */
function endDecimal(out: Buffer, from: number, to: number, scale: number): number {
  const first = out[from] === 0x2d ? from + 1 : from;
  if (scale > 0) {
    const zeros = Math.max(0, scale + 1 - (to - first));
    out.copyWithin(first + zeros, first, to);
    out.fill(0x30, first, first + zeros);
    to += zeros;
    out.copyWithin(to - scale + 1, to - scale, to);
    out[to - scale] = 0x2e;
    to++;
  }
  out[to] = 0x22;
  return to + 1;
}

function readInt32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** As {@link CellWriter} for a value that is not in the rows: the number an auto-incrementing column was given. */
export function writeAutoIncrement(out: Buffer, at: number, value: bigint): number {
  return writeBigInt(out, at, value);
}
