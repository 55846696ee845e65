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
    before: batch.before && {
      present: batch.before.present.subarray(from, end),
      cells: batch.before.cells.subarray(from * width, end * width),
    },
    partial: batch.partial && batch.partial.subarray(from, end),
  };
}
