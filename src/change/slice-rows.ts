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

/** Some rows of a batch, in their order. */
export function pickRows(batch: ChangeBatch, isWanted: (row: number) => boolean): ChangeBatch {
  const width = batch.schema.columns.length;
  const rows = Array.from(batch.ops.keys()).filter(isWanted);
  const cellsOf = (cells: Int32Array): Int32Array => {
    const picked = new Int32Array(rows.length * width);
    for (const [i, row] of rows.entries()) picked.set(cells.subarray(row * width, (row + 1) * width), i * width);
    return picked;
  };
  return {
    ...batch,
    rowCount: rows.length,
    ops: Uint8Array.from(rows, (row) => batch.ops[row]!),
    rowIndexes: Int32Array.from(rows, (row) => batch.rowIndexes[row]!),
    cells: cellsOf(batch.cells),
    autoIncrement: batch.autoIncrement && BigInt64Array.from(rows, (row) => batch.autoIncrement![row]!),
    before: batch.before && {
      present: Uint8Array.from(rows, (row) => batch.before!.present[row]!),
      cells: cellsOf(batch.before.cells),
    },
    partial: batch.partial && Uint8Array.from(rows, (row) => batch.partial![row]!),
  };
}
