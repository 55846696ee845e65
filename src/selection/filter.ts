import { Cell, CopyOp, RowOp, type ChangeBatch } from '../change/change.ts';
import { formatOpId } from '../kudu/opid.ts';
import { Truth, type RowTest } from './where.ts';

/** Which rows a stream wants. */
export interface RowFilter {
  /** Null: all. */
  readonly test: RowTest | null;
  /** It asks for key columns alone: of a row it never changes. */
  readonly isOfKey: boolean;
  /** Operations that are left out, by the `op` of their records. */
  readonly skipped: ReadonlySet<string>;
}

/** In the place of an operation: the row is left out. */
const LEFT_OUT = 0;

/** What the `op` of a row's record is: c, u, d or r. */
export function letterOf({ ops, before, partial }: ChangeBatch, row: number): 'c' | 'u' | 'd' | 'r' {
  switch (ops[row]) {
    case RowOp.INSERT:
    case RowOp.INSERT_IGNORE:
      return 'c';
    case RowOp.UPSERT:
    case RowOp.UPSERT_IGNORE:
      return before?.present[row] === 0 && partial?.[row] !== 1 ? 'c' : 'u';
    case RowOp.DELETE:
    case RowOp.DELETE_IGNORE:
    case CopyOp.DELETED:
      return 'd';
    case CopyOp.ROW:
      return 'r';
    default:
      return 'u';
  }
}

/**
 * The rows of a batch that a stream wants; null where there are none. An update by which a row comes under the condition is
 * an INSERT, and one by which it is not under it any more is a DELETE.
 * @throws {Error} the condition needs an image of a row, and there is none
 */
export function filterRows(batch: ChangeBatch, filter: RowFilter): ChangeBatch | null {
  const { test, skipped } = filter;
  if (test === null && skipped.size === 0) return batch;
  const { rowCount, ops } = batch;
  const becomes = new Uint8Array(rowCount);
  let kept = 0;
  let isSame = true;
  for (let row = 0; row < rowCount; row++) {
    const op = test === null ? ops[row]! : operationUnder(test, filter.isOfKey, batch, row);
    becomes[row] = op;
    if (op !== ops[row]) isSame = false;
    if (op !== LEFT_OUT) kept++;
  }
  const filtered = isSame ? batch : kept === 0 ? null : pickRows(batch, becomes, kept);
  return filtered === null || skipped.size === 0 ? filtered : withoutSkipped(filtered, skipped);
}

function withoutSkipped(batch: ChangeBatch, skipped: ReadonlySet<string>): ChangeBatch | null {
  const becomes = batch.ops.map((op, row) => (skipped.has(letterOf(batch, row)) ? LEFT_OUT : op));
  const kept = becomes.reduce((sum, op) => sum + Number(op !== LEFT_OUT), 0);
  return kept === batch.rowCount ? batch : kept === 0 ? null : pickRows(batch, becomes, kept);
}

/** What a row's operation is to the rows under the condition. */
function operationUnder(test: RowTest, isOfKey: boolean, batch: ChangeBatch, row: number): number {
  const op = batch.ops[row]!;
  const after = (): boolean => test(batch, row, batch.cells) === Truth.TRUE;
  if (isOfKey) return after() ? op : LEFT_OUT;
  if (op === CopyOp.DELETED) return op; // what the row was is not known, and nobody minds a delete of none
  if (op === CopyOp.ROW) return after() ? op : batch.copy === 'incremental' ? CopyOp.DELETED : LEFT_OUT;
  if (batch.partial?.[row] === 1) throw noImage(batch, row);
  if (op === RowOp.INSERT || op === RowOp.INSERT_IGNORE) return after() ? op : LEFT_OUT;
  const { before } = batch;
  if (before === null) throw noImage(batch, row);
  const was = before.present[row] === 1 && test(batch, row, before.cells) === Truth.TRUE;
  if (op === RowOp.DELETE || op === RowOp.DELETE_IGNORE) return was ? op : LEFT_OUT;
  if (after()) return was || before.present[row] === 0 ? op : RowOp.INSERT;
  return was ? RowOp.DELETE : LEFT_OUT;
}

function noImage({ opId, rowIndexes }: ChangeBatch, row: number): Error {
  return new Error(
    `where asks for more than the key, and what row ${rowIndexes[row]} of operation ${formatOpId(opId)} was before cannot be had; a resync mends it`,
  );
}

/** Some rows, with the operations that they have now. */
function pickRows(batch: ChangeBatch, becomes: Uint8Array, kept: number): ChangeBatch {
  const { schema, cells, before, ops } = batch;
  const width = schema.columns.length;
  const rows = new Int32Array(kept);
  for (let row = 0, at = 0; row < becomes.length; row++) if (becomes[row] !== LEFT_OUT) rows[at++] = row;
  const isKey = schema.columns.map((column) => column.isKey);
  const pickedCells = pickCells(cells, width, rows);
  const present = before && pickBytes(before.present, rows);
  for (const [at, row] of rows.entries()) {
    const op = becomes[row]!;
    if (op === ops[row]) continue;
    if (op === RowOp.INSERT) present![at] = 0;
    else for (let place = 0; place < width; place++) if (!isKey[place]) pickedCells[at * width + place] = Cell.UNSET;
  }
  return {
    ...batch,
    rowCount: kept,
    ops: pickBytes(becomes, rows),
    rowIndexes: Int32Array.from(rows, (row) => batch.rowIndexes[row]!),
    cells: pickedCells,
    autoIncrement: batch.autoIncrement && BigInt64Array.from(rows, (row) => batch.autoIncrement![row]!),
    before: before && { present: present!, cells: pickCells(before.cells, width, rows) },
    partial: batch.partial && pickBytes(batch.partial, rows),
  };
}

function pickBytes(from: Uint8Array, rows: Int32Array): Uint8Array {
  const picked = new Uint8Array(rows.length);
  for (let at = 0; at < rows.length; at++) picked[at] = from[rows[at]!]!;
  return picked;
}

function pickCells(from: Int32Array, width: number, rows: Int32Array): Int32Array {
  const picked = new Int32Array(rows.length * width);
  for (let at = 0; at < rows.length; at++) {
    const start = rows[at]! * width;
    picked.set(from.subarray(start, start + width), at * width);
  }
  return picked;
}
