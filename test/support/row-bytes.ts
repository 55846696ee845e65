import { DataType, type ColumnSchema, type TableSchema } from '../../src/kudu/schema.ts';

/** A cell as a test gives it: raw bytes (var-length: the value itself), null, or absent for a column that is not set. */
export type TestCell = Buffer | null | undefined;

export interface TestRow {
  readonly op: number;
  /** By place in the request's schema. */
  readonly cells: readonly TestCell[];
}

/** A column with everything that a test does not care about filled in. */
export function column(name: string, type: DataType, more: Partial<ColumnSchema> = {}): ColumnSchema {
  return {
    name,
    type,
    isKey: false,
    nullable: false,
    readDefault: null,
    writeDefault: null,
    immutable: false,
    autoIncrementing: false,
    comment: '',
    encoding: 0,
    compression: 0,
    ...more,
  };
}

/**
 * Row operations in the bytes that a client sends, written down here a second time from the format's description
 * (kudu-facts 3.3), so that the decoder is not held against itself.
 */
export function encodeRows(schema: TableSchema, rows: readonly TestRow[]): { rows: Buffer; indirect: Buffer } {
  const width = schema.columns.length;
  const hasNulls = schema.columns.some((c) => c.nullable);
  const out: Buffer[] = [];
  const indirect: Buffer[] = [];
  let indirectBytes = 0;
  for (const { op, cells } of rows) {
    const isset = Buffer.alloc(Math.ceil(width / 8));
    const nulls = Buffer.alloc(isset.length);
    const values: Buffer[] = [];
    schema.columns.forEach((c, j) => {
      const cell = cells[j];
      if (cell === undefined) return;
      isset[j >> 3]! |= 1 << (j & 7);
      if (cell === null) {
        nulls[j >> 3]! |= 1 << (j & 7);
      } else if (c.type === DataType.STRING || c.type === DataType.BINARY || c.type === DataType.VARCHAR) {
        const pointer = Buffer.alloc(16);
        pointer.writeBigUInt64LE(BigInt(indirectBytes), 0);
        pointer.writeBigUInt64LE(BigInt(cell.length), 8);
        values.push(pointer);
        indirect.push(cell);
        indirectBytes += cell.length;
      } else values.push(cell);
    });
    out.push(Buffer.of(op), isset, ...(hasNulls ? [nulls] : []), ...values);
  }
  return { rows: Buffer.concat(out), indirect: Buffer.concat(indirect) };
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

export function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return bytes;
}

export function int128(value: bigint): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value), 0);
  bytes.writeBigInt64LE(BigInt.asIntN(64, value >> 64n), 8);
  return bytes;
}

export function float64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}

export function float32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}
