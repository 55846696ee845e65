import { cellBytes, decodeBytes, decodeFixed, isVarLength, type CellValue } from './cell-codec.ts';
import { KuduError } from './errors.ts';
import type { RowwiseRowBlockPB } from './proto/common_pb.ts';
import { rowOf } from './named-cells.ts';
import { indirectBytes, type Row } from './row-operations.ts';
import { DataType, type TableSchema } from './schema.ts';

/**
 * A batch of rows as a scan answers it: the cells of each row one after another, without padding; behind them, if a
 * column may be null, a bitmap in which 1 is NULL. Nothing is decoded before it is asked for.
 * Source: kudu/common/wire_protocol.cc; kudu-facts 3.4.
 */
export class RowBlock {
  readonly schema: TableSchema;
  readonly rowCount: number;
  /** `rowCount` times {@link rowBytes}. */
  readonly rows: Buffer;
  /** What var-length cells point into. */
  readonly indirect: Buffer;
  readonly rowBytes: number;
  /** Where in a row each column's cell begins. */
  readonly offsets: readonly number[];
  /** Where in a row the bitmap of NULLs begins, or null where no column may be NULL. */
  readonly nullsAt: number | null;
  /** Where in a row the mark of a diff scan is, or -1. */
  readonly #isDeleted: number;

  /** @throws {KuduError} `protocol` when the bytes are not so many rows */
  constructor(schema: TableSchema, rowCount: number, rows: Buffer, indirect: Buffer) {
    const offsets: number[] = [];
    let bytes = 0;
    for (const column of schema.columns) {
      offsets.push(bytes);
      bytes += cellBytes(column.type);
    }
    this.nullsAt = schema.columns.some((column) => column.nullable) ? bytes : null;
    if (this.nullsAt !== null) bytes += Math.ceil(schema.columns.length / 8);
    if (rows.length !== rowCount * bytes)
      throw new KuduError('protocol', `a scan's answer has ${rows.length} bytes for ${rowCount} rows of ${bytes}`);
    this.schema = schema;
    this.rowCount = rowCount;
    this.rows = rows;
    this.indirect = indirect;
    this.rowBytes = bytes;
    this.offsets = offsets;
    this.#isDeleted = offsets[schema.columns.findIndex(({ type }) => type === DataType.IS_DELETED)] ?? -1;
  }

  isNull(row: number, column: number): boolean {
    if (this.nullsAt === null) return false;
    return ((this.rows[row * this.rowBytes + this.nullsAt + (column >> 3)]! >> (column & 7)) & 1) === 1;
  }

  /** The value of one cell. */
  value(row: number, column: number): CellValue {
    const columnSchema = this.schema.columns[column]!;
    if (this.isNull(row, column)) return null;
    return isVarLength(columnSchema.type)
      ? decodeBytes(columnSchema, this.bytes(row, column)!)
      : decodeFixed(columnSchema, this.rows, row * this.rowBytes + this.offsets[column]!);
  }

  /** The bytes of one cell as they are, or null for NULL. */
  bytes(row: number, column: number): Buffer | null {
    if (this.isNull(row, column)) return null;
    const { type } = this.schema.columns[column]!;
    const at = row * this.rowBytes + this.offsets[column]!;
    return isVarLength(type)
      ? indirectBytes(this.rows, at, this.indirect)
      : this.rows.subarray(at, at + cellBytes(type));
  }

  /** Whether a row of a diff scan was deleted in its window; false in other scans. */
  isDeleted(row: number): boolean {
    return this.#isDeleted >= 0 && this.rows[row * this.rowBytes + this.#isDeleted] === 1;
  }

  /** One row by column names; the marker of a diff scan is not among them. */
  row(row: number): Row {
    const cells: [string, CellValue][] = [];
    for (const [i, column] of this.schema.columns.entries())
      if (column.type !== DataType.IS_DELETED) cells.push([column.name, this.value(row, i)]);
    return rowOf(cells);
  }

  *[Symbol.iterator](): Generator<Row> {
    for (let row = 0; row < this.rowCount; row++) yield this.row(row);
  }
}

/** @throws {KuduError} `protocol` when a sidecar that the block names is not there, or is of another size */
export function rowBlockFromPb(schema: TableSchema, pb: RowwiseRowBlockPB, sidecars: readonly Buffer[]): RowBlock {
  if (pb.numRows === 0) return new RowBlock(schema, 0, EMPTY, EMPTY);
  // A projection without columns has rows of no bytes, and may come without sidecars.
  const rows = sidecars[pb.rowsSidecar] ?? EMPTY;
  return new RowBlock(schema, pb.numRows, rows, sidecars[pb.indirectDataSidecar] ?? EMPTY);
}

const EMPTY = Buffer.alloc(0);
