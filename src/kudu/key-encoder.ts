import { encodeCell, isVarLength } from './cell-codec.ts';
import { KuduError } from './errors.ts';
import type { RowInput } from './row-operations.ts';
import { DataType, type ColumnSchema } from './schema.ts';

const UNSIGNED: ReadonlySet<DataType> = new Set([
  DataType.UINT8,
  DataType.UINT16,
  DataType.UINT32,
  DataType.UINT64,
  DataType.BOOL,
]);

/**
 * Key columns as bytes whose order is the order of the keys (kudu/common/key_encoder.h): whole numbers big-endian
 * with the sign bit turned over; strings with 00 as 00 01 and an end of 00 00, except in the last place, where they
 * stand as they are.
 *
 * @throws {KuduError} `usage` when a column is not set, or its value does not fit
 */
export function encodeKey(columns: readonly ColumnSchema[], row: RowInput): Buffer {
  const missing = columns.find((column) => !isSet(column, row));
  if (missing) throw new KuduError('usage', `key column ${JSON.stringify(missing.name)} is not set`, { notRun: true });
  return encodeKeyPrefix(columns, row);
}

/** {@link encodeKey} up to the first column that is not set: a bound that stands before all keys which begin so. */
export function encodeKeyPrefix(columns: readonly ColumnSchema[], row: RowInput): Buffer {
  const cells: Buffer[] = [];
  for (const column of columns) {
    const value = row[column.name];
    if (value === undefined || value === null) break;
    cells.push(encodeCell(column, value));
  }
  return encodeKeyCells(columns, cells);
}

/** {@link encodeKeyPrefix} of cells as a scan gives them: little-endian numbers, the bytes of strings. */
export function encodeKeyCells(columns: readonly ColumnSchema[], cells: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  for (const [i, bytes] of cells.entries()) {
    const column = columns[i]!;
    if (!isVarLength(column.type)) parts.push(orderedInteger(column, bytes));
    else if (i === columns.length - 1) parts.push(bytes);
    else parts.push(escapeZeros(bytes), END_OF_STRING);
  }
  return Buffer.concat(parts);
}

function isSet(column: ColumnSchema, row: RowInput): boolean {
  const value = row[column.name];
  return value !== undefined && value !== null;
}

function orderedInteger(column: ColumnSchema, littleEndian: Buffer): Buffer {
  const ordered = Buffer.from(littleEndian).reverse();
  if (!UNSIGNED.has(column.type)) ordered[0]! ^= 0x80;
  return ordered;
}

const END_OF_STRING = Buffer.from([0, 0]);

function escapeZeros(bytes: Buffer): Buffer {
  if (!bytes.includes(0)) return bytes;
  const escaped: number[] = [];
  for (const byte of bytes) {
    escaped.push(byte);
    if (byte === 0) escaped.push(1);
  }
  return Buffer.from(escaped);
}
