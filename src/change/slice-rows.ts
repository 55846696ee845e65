import { isVarLength } from '../kudu/cell-codec.ts';
import type { ChangeBatch } from './change.ts';

/** The rows `from` to `to` (exclusive, cut at the end) of a batch, as a view. */
export function sliceRows(batch: ChangeBatch, from: number, to: number): ChangeBatch {
  const width = batch.schema.columns.length;
  const end = Math.min(to, batch.rowCount);
  return {
    ...batch,
    rowCount: end - from,
    ops: batch.ops.subarray(from, end),
    rowIndexes: batch.rowIndexes.subarray(from, end),
    cells: batch.cells.subarray(from * width, end * width),
    autoIncrement: batch.autoIncrement && batch.autoIncrement.subarray(from, end),
  };
}

/** A fixed-size cell takes this or less, and so does the pointer of another one. */
const FIXED_CELL_BYTES = 16;

/** About how many bytes the values of a row take. */
export function rowBytes({ schema: { columns }, cells, rows }: ChangeBatch, row: number): number {
  let bytes = 0;
  for (const [i, { type }] of columns.entries()) {
    const cell = cells[row * columns.length + i]!;
    if (cell < 0) continue;
    bytes += FIXED_CELL_BYTES;
    if (isVarLength(type)) bytes += rows.readUInt32LE(cell + 8);
  }
  return bytes;
}
