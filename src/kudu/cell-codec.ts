import { KuduError } from './errors.ts';
import { decimalToString, parseDecimal } from './decimal.ts';
import { DataType, type ColumnSchema } from './schema.ts';

/**
 * The value of a cell:
 * - INT8, INT16, INT32 and DATE (days since 1970-01-01): number. INT64 and UNIXTIME_MICROS: bigint.
 * - FLOAT, DOUBLE: number; a FLOAT comes back as the double that equals it. BOOL: boolean.
 * - STRING, VARCHAR: string. BINARY: Buffer. DECIMAL: string with all its digits after the point, `-12.30`.
 * - null is NULL.
 *
 * To write, any whole number may also be a number or bigint that the type can hold, BINARY any Uint8Array, and
 * STRING and VARCHAR a Uint8Array, for bytes that are no UTF-8: the server does not check.
 */
export type CellValue = number | bigint | string | boolean | Buffer | null;
export type CellInput = CellValue | Uint8Array;

/** Bytes of a cell inside a row; a var-length cell is u64 offset and u64 length into the indirect data. */
export function cellBytes(type: DataType): number {
  switch (type) {
    case DataType.BOOL:
    case DataType.INT8:
    case DataType.UINT8:
    case DataType.IS_DELETED:
      return 1;
    case DataType.INT16:
    case DataType.UINT16:
      return 2;
    case DataType.INT32:
    case DataType.UINT32:
    case DataType.FLOAT:
    case DataType.DATE:
    case DataType.DECIMAL32:
      return 4;
    case DataType.INT64:
    case DataType.UINT64:
    case DataType.DOUBLE:
    case DataType.UNIXTIME_MICROS:
    case DataType.DECIMAL64:
      return 8;
    case DataType.STRING:
    case DataType.BINARY:
    case DataType.VARCHAR:
    case DataType.INT128:
    case DataType.DECIMAL128:
      return 16;
  }
}

/** Whether the cell's bytes lie in the indirect data. */
export function isVarLength(type: DataType): boolean {
  return type === DataType.STRING || type === DataType.BINARY || type === DataType.VARCHAR;
}

/**
 * The bytes of a value as Kudu keeps them outside a row (defaults, predicate bounds): little-endian, or the string's
 * own bytes. Rows have the same bytes, in place or as indirect data.
 *
 * @throws {KuduError} `usage` when the value is not one of the column: another type, out of range, too long
 */
export function encodeCell(column: ColumnSchema, value: Exclude<CellInput, null>): Buffer {
  const { type } = column;
  switch (type) {
    case DataType.STRING:
      return encodeText(column, value);
    case DataType.VARCHAR:
      return encodeVarchar(column, value);
    case DataType.BINARY:
      if (value instanceof Uint8Array) return asBuffer(value);
      throw misfit(column, value, 'bytes');
    case DataType.BOOL:
    case DataType.IS_DELETED:
      if (typeof value !== 'boolean') throw misfit(column, value, 'a boolean');
      return Buffer.from([value ? 1 : 0]);
    case DataType.FLOAT:
    case DataType.DOUBLE:
      return encodeFloat(column, value);
    case DataType.DECIMAL32:
    case DataType.DECIMAL64:
    case DataType.DECIMAL128:
      return encodeDecimal(column, value);
    case DataType.UINT8:
    case DataType.UINT16:
    case DataType.UINT32:
    case DataType.UINT64:
      return encodeInteger(column, value, false);
    case DataType.INT8:
    case DataType.INT16:
    case DataType.INT32:
    case DataType.INT64:
    case DataType.INT128:
    case DataType.UNIXTIME_MICROS:
    case DataType.DATE:
      return encodeInteger(column, value, true);
  }
}

/** Reads a cell of fixed size at `at`. For var-length types see {@link decodeBytes}. */
export function decodeFixed(column: ColumnSchema, bytes: Buffer, at: number): Exclude<CellValue, null> {
  const { type } = column;
  switch (type) {
    case DataType.INT8:
      return bytes.readInt8(at);
    case DataType.UINT8:
      return bytes.readUInt8(at);
    case DataType.INT16:
      return bytes.readInt16LE(at);
    case DataType.UINT16:
      return bytes.readUInt16LE(at);
    case DataType.INT32:
    case DataType.DATE:
      return bytes.readInt32LE(at);
    case DataType.UINT32:
      return bytes.readUInt32LE(at);
    case DataType.INT64:
    case DataType.UNIXTIME_MICROS:
      return bytes.readBigInt64LE(at);
    case DataType.UINT64:
      return bytes.readBigUInt64LE(at);
    case DataType.INT128:
      return readInt128(bytes, at);
    case DataType.BOOL:
    case DataType.IS_DELETED:
      return bytes[at] !== 0;
    case DataType.FLOAT:
      return bytes.readFloatLE(at);
    case DataType.DOUBLE:
      return bytes.readDoubleLE(at);
    case DataType.DECIMAL32:
      return decimalToString(BigInt(bytes.readInt32LE(at)), column.scale ?? 0);
    case DataType.DECIMAL64:
      return decimalToString(bytes.readBigInt64LE(at), column.scale ?? 0);
    case DataType.DECIMAL128:
      return decimalToString(readInt128(bytes, at), column.scale ?? 0);
    case DataType.STRING:
    case DataType.BINARY:
    case DataType.VARCHAR:
      throw new TypeError(`column ${JSON.stringify(column.name)} is not of fixed size`);
  }
}

/** Reads the bytes of a var-length cell. Bytes that are no UTF-8 become U+FFFD in a string: take the raw bytes then. */
export function decodeBytes(column: ColumnSchema, bytes: Buffer): string | Buffer {
  return column.type === DataType.BINARY ? bytes : bytes.toString('utf8');
}

/** The value of {@link encodeCell}'s bytes, for example of a default. */
export function decodeCell(column: ColumnSchema, bytes: Buffer): Exclude<CellValue, null> {
  return isVarLength(column.type) ? decodeBytes(column, bytes) : decodeFixed(column, bytes, 0);
}

function encodeText(column: ColumnSchema, value: unknown): Buffer {
  if (value instanceof Uint8Array) return asBuffer(value);
  if (typeof value !== 'string') throw misfit(column, value, 'a string');
  // A lone surrogate has no UTF-8 form; Buffer would put U+FFFD in its place without a word.
  if (LONE_SURROGATE.test(value)) throw misfit(column, value, 'well-formed Unicode');
  return Buffer.from(value, 'utf8');
}

const LONE_SURROGATE = /\p{Surrogate}/u;

function encodeVarchar(column: ColumnSchema, value: unknown): Buffer {
  const bytes = encodeText(column, value);
  const limit = column.length ?? 0;
  // Kudu counts characters, and its own clients cut what is too long; this one does not lose data unasked.
  const characters = Array.from(bytes.toString('utf8')).length;
  if (characters > limit) throw misfit(column, value, `at most ${limit} characters`);
  return bytes;
}

function encodeFloat(column: ColumnSchema, value: unknown): Buffer {
  if (typeof value !== 'number') throw misfit(column, value, 'a number');
  const bytes = Buffer.alloc(cellBytes(column.type));
  if (column.type === DataType.DOUBLE) bytes.writeDoubleLE(value);
  else bytes.writeFloatLE(value);
  return bytes;
}

function encodeDecimal(column: ColumnSchema, value: unknown): Buffer {
  const precision = column.precision ?? 0;
  const scale = column.scale ?? 0;
  const unscaled = typeof value === 'string' ? parseDecimal(value, precision, scale) : null;
  if (unscaled === null)
    throw misfit(column, value, `a decimal string of ${precision} digits, ${scale} after the point`);
  return integerBytes(unscaled, cellBytes(column.type));
}

function encodeInteger(column: ColumnSchema, value: unknown, signed: boolean): Buffer {
  const bytes = cellBytes(column.type);
  const bits = BigInt(bytes * 8);
  if (typeof value !== 'bigint' && !(typeof value === 'number' && Number.isSafeInteger(value)))
    throw misfit(column, value, 'a whole number (a bigint beyond 2^53)');
  const integer = BigInt(value);
  if ((signed ? BigInt.asIntN(Number(bits), integer) : BigInt.asUintN(Number(bits), integer)) !== integer)
    throw misfit(column, value, `within ${bits} bits`);
  return integerBytes(integer, bytes);
}

function integerBytes(value: bigint, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  if (size === 16) {
    bytes.writeBigUInt64LE(BigInt.asUintN(64, value), 0);
    bytes.writeBigInt64LE(BigInt.asIntN(64, value >> 64n), 8);
  } else if (size === 8) bytes.writeBigUInt64LE(BigInt.asUintN(64, value), 0);
  else bytes.writeUIntLE(Number(BigInt.asUintN(size * 8, value)), 0, size);
  return bytes;
}

function readInt128(bytes: Buffer, at: number): bigint {
  return (bytes.readBigInt64LE(at + 8) << 64n) | bytes.readBigUInt64LE(at);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The value itself stays out of the message: it may be user data, and messages end in logs. */
function misfit(column: ColumnSchema, value: unknown, wanted: string): KuduError {
  const given = value instanceof Uint8Array ? 'bytes' : typeof value;
  return new KuduError('usage', `column ${JSON.stringify(column.name)} takes ${wanted}; got another ${given}`, {
    notRun: true,
  });
}
