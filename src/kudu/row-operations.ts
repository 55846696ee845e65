import {
  cellBytes,
  decodeBytes,
  decodeFixed,
  encodeCell,
  isVarLength,
  type CellInput,
  type CellValue,
} from './cell-codec.ts';
import { KuduError } from './errors.ts';
import { cellOf, rowOf } from './named-cells.ts';
import type { ColumnSchema, TableSchema } from './schema.ts';

/** Source: kudu/common/row_operations.proto RowOperationsPB.Type. */
export const RowOpType = {
  INSERT: 1,
  UPDATE: 2,
  DELETE: 3,
  UPSERT: 5,
  /** Bounds of a range partition: never in a write. */
  RANGE_LOWER_BOUND: 6,
  RANGE_UPPER_BOUND: 7,
  EXCLUSIVE_RANGE_LOWER_BOUND: 8,
  INCLUSIVE_RANGE_UPPER_BOUND: 9,
  INSERT_IGNORE: 10,
  UPDATE_IGNORE: 11,
  DELETE_IGNORE: 12,
  UPSERT_IGNORE: 13,
} as const;
export type RowOpType = (typeof RowOpType)[keyof typeof RowOpType];

/** Columns by name. A column that is missing, or undefined, is not set; null sets it to NULL. */
export type RowInput = Readonly<Record<string, CellInput | undefined>>;
/** A row that was read: every column that was asked for. */
export type Row = Record<string, CellValue>;

export interface EncodedRows {
  readonly rows: Buffer;
  readonly indirect: Buffer;
}

/**
 * Packs row operations as a tablet server takes them (kudu/common/row_operations.cc). A row is:
 *
 *     u8 type | isset bitmap | null bitmap, if the schema has a nullable column | cells that are set and not null
 *
 * The schema is the one that goes along in the request; the server maps it to its own by name.
 */
export class RowOperationsEncoder {
  readonly #schema: TableSchema;
  readonly #positions: ReadonlyMap<string, number>;
  readonly #bitmapBytes: number;
  readonly #hasNullable: boolean;
  readonly #rows: Buffer[] = [];
  readonly #indirect: Buffer[] = [];
  #rowBytes = 0;
  #indirectBytes = 0;

  constructor(schema: TableSchema) {
    this.#schema = schema;
    this.#positions = new Map(schema.columns.map((column, i) => [column.name, i]));
    this.#bitmapBytes = Math.ceil(schema.columns.length / 8);
    this.#hasNullable = schema.columns.some((column) => column.nullable);
  }

  /** Bytes so far. */
  get bytes(): number {
    return this.#rowBytes + this.#indirectBytes;
  }

  get count(): number {
    return this.#rows.length;
  }

  /** @throws {KuduError} `usage` for a column that the schema has not, or a value that does not fit; nothing is added then */
  add(type: RowOpType, row: RowInput): void {
    for (const name of Object.keys(row))
      if (row[name] !== undefined && !this.#positions.has(name))
        throw new KuduError('usage', `there is no column ${JSON.stringify(name)}`, { notRun: true });
    const isSet = Buffer.alloc(this.#bitmapBytes);
    const isNull = Buffer.alloc(this.#hasNullable ? this.#bitmapBytes : 0);
    const cells: Buffer[] = [Buffer.from([type]), isSet, isNull];
    const varying: Buffer[] = [];
    let varyingBytes = this.#indirectBytes;
    this.#schema.columns.forEach((column, i) => {
      const value = cellOf(row, column.name);
      if (value === undefined) return;
      setBit(isSet, i);
      if (value === null) {
        if (!column.nullable) throw notNullable(column);
        setBit(isNull, i);
        return;
      }
      const bytes = encodeCell(column, value);
      if (!isVarLength(column.type)) {
        cells.push(bytes);
        return;
      }
      const cell = Buffer.alloc(16);
      cell.writeBigUInt64LE(BigInt(varyingBytes), 0);
      cell.writeBigUInt64LE(BigInt(bytes.length), 8);
      cells.push(cell);
      varying.push(bytes);
      varyingBytes += bytes.length;
    });
    const encoded = Buffer.concat(cells);
    this.#rows.push(encoded);
    this.#rowBytes += encoded.length;
    this.#indirect.push(...varying);
    this.#indirectBytes = varyingBytes;
  }

  finish(): EncodedRows {
    return {
      rows: Buffer.concat(this.#rows, this.#rowBytes),
      indirect: Buffer.concat(this.#indirect, this.#indirectBytes),
    };
  }
}

export interface DecodedRowOperation {
  readonly type: number;
  /** Only columns that are set. */
  readonly row: Row;
}

/** Reads packed row operations back. @throws {RangeError} when the bytes do not fit the schema */
export function decodeRowOperations(schema: TableSchema, encoded: EncodedRows): readonly DecodedRowOperation[] {
  const { rows, indirect } = encoded;
  const bitmapBytes = Math.ceil(schema.columns.length / 8);
  const nullBytes = schema.columns.some((column) => column.nullable) ? bitmapBytes : 0;
  const operations: DecodedRowOperation[] = [];
  for (let at = 0; at < rows.length;) {
    const type = rows.readUInt8(at);
    const isSet = slice(rows, at + 1, bitmapBytes);
    const isNull = slice(rows, at + 1 + bitmapBytes, nullBytes);
    at += 1 + bitmapBytes + nullBytes;
    const cells: [string, CellValue][] = [];
    for (const [i, column] of schema.columns.entries()) {
      if (!hasBit(isSet, i)) continue;
      if (column.nullable && hasBit(isNull, i)) {
        cells.push([column.name, null]);
        continue;
      }
      const cell = slice(rows, at, cellBytes(column.type));
      at += cell.length;
      const value = isVarLength(column.type)
        ? decodeBytes(column, indirectBytes(cell, 0, indirect))
        : decodeFixed(column, cell, 0);
      cells.push([column.name, value]);
    }
    operations.push({ type, row: rowOf(cells) });
  }
  return operations;
}

/** The bytes that a var-length cell points at. @throws {RangeError} when it points outside */
export function indirectBytes(rows: Buffer, at: number, indirect: Buffer): Buffer {
  return slice(indirect, Number(rows.readBigUInt64LE(at)), Number(rows.readBigUInt64LE(at + 8)));
}

function hasBit(bitmap: Buffer, bit: number): boolean {
  return (bitmap[bit >> 3]! & (1 << (bit & 7))) !== 0;
}

function setBit(bitmap: Buffer, bit: number): void {
  bitmap[bit >> 3]! |= 1 << (bit & 7);
}

function slice(bytes: Buffer, at: number, length: number): Buffer {
  if (at + length > bytes.length) throw new RangeError(`want ${length} bytes at ${at}, have ${bytes.length} in all`);
  return bytes.subarray(at, at + length);
}

function notNullable(column: ColumnSchema): KuduError {
  return new KuduError('usage', `column ${JSON.stringify(column.name)} is NOT NULL`, { notRun: true });
}
