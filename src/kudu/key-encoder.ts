import { cellBytes, decodeCell, encodeCell, isVarLength, type CellValue } from './cell-codec.ts';
import { KuduError } from './errors.ts';
import { cellOf, rowOf } from './named-cells.ts';
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
    const value = cellOf(row, column.name);
    if (value === undefined || value === null) break;
    cells.push(encodeCell(column, value));
  }
  return encodeKeyCells(columns, cells);
}

/** {@link encodeKeyPrefix} of cells as a scan gives them: little-endian numbers, the bytes of strings. */
export function encodeKeyCells(columns: readonly ColumnSchema[], cells: readonly Buffer[]): Buffer {
  if (cells.length === 1 && columns.length === 1 && !isVarLength(columns[0]!.type))
    return orderedInteger(columns[0]!, cells[0]!);
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
  const value = cellOf(row, column.name);
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

/** The reverse of {@link encodeKey}; a bound of only some columns has the least values of the others. @throws {KuduError} `protocol` */
export function decodeKey(columns: readonly ColumnSchema[], key: Buffer): Record<string, CellValue> {
  return rowOf(
    keyCells(columns, key).map((cell, i): [string, CellValue] => [columns[i]!.name, decodeCell(columns[i]!, cell)]),
  );
}

/** The reverse of {@link encodeKeyCells}. @throws {KuduError} `protocol` */
export function keyCells(columns: readonly ColumnSchema[], key: Buffer): Buffer[] {
  const cells: Buffer[] = [];
  let at = 0;
  for (const [i, column] of columns.entries()) {
    if (at >= key.length && !(isVarLength(column.type) && i === columns.length - 1)) break;
    if (isVarLength(column.type)) {
      const [bytes, next] = i === columns.length - 1 ? [key.subarray(at), key.length] : unescapeZeros(key, at);
      cells.push(bytes);
      at = next;
      continue;
    }
    const size = cellBytes(column.type);
    if (at + size > key.length) throw new KuduError('protocol', 'an encoded key ends within a column');
    const bytes = Buffer.from(key.subarray(at, at + size));
    if (!UNSIGNED.has(column.type)) bytes[0]! ^= 0x80;
    cells.push(bytes.reverse());
    at += size;
  }
  return cells;
}

/** A string that others follow: 00 stands as 00 01, the end as 00 00. */
function unescapeZeros(key: Buffer, from: number): [bytes: Buffer, next: number] {
  const bytes: number[] = [];
  for (let at = from; at < key.length; at++) {
    if (key[at] !== 0) bytes.push(key[at]!);
    else if (key[++at] === 0) return [Buffer.from(bytes), at + 1];
    else bytes.push(0);
  }
  throw new KuduError('protocol', 'an encoded key has a string without an end');
}
