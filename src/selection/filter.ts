import { isDelete, isInsert, Cell, CopyOp, RowOp, type ChangeBatch } from '../change/change.ts';
import { pickRows } from '../change/slice-rows.ts';
import { letterOf } from '../formats/op-words.ts';
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
  const filtered = isSame ? batch : kept === 0 ? null : rowsUnder(batch, becomes);
  return filtered === null || skipped.size === 0 ? filtered : withoutSkipped(filtered, skipped);
}

function withoutSkipped(batch: ChangeBatch, skipped: ReadonlySet<string>): ChangeBatch | null {
  const isWanted = (row: number): boolean => !skipped.has(letterOf(batch, row));
  const wanted = batch.ops.reduce((sum, _, row) => sum + Number(isWanted(row)), 0);
  return wanted === batch.rowCount ? batch : wanted === 0 ? null : pickRows(batch, isWanted);
}

/** What a row's operation is to the rows under the condition. */
function operationUnder(test: RowTest, isOfKey: boolean, batch: ChangeBatch, row: number): number {
  const op = batch.ops[row]!;
  const after = (): boolean => test(batch, row, batch.cells) === Truth.TRUE;
  if (isOfKey) return after() ? op : LEFT_OUT;
  if (op === CopyOp.DELETED) return op; // what the row was is not known, and nobody minds a delete of none
  if (op === CopyOp.ROW) return after() ? op : batch.copy === 'incremental' ? CopyOp.DELETED : LEFT_OUT;
  if (batch.partial?.[row] === 1) throw noImage(batch, row);
  if (isInsert(op)) return after() ? op : LEFT_OUT;
  const { before } = batch;
  if (before === null) throw noImage(batch, row);
  const was = before.present[row] === 1 && test(batch, row, before.cells) === Truth.TRUE;
  // There was a row: where it is not known what it was, nobody minds a delete of none.
  if (isDelete(op)) return was || before.present[row] === 0 ? op : LEFT_OUT;
  if (after()) return was || before.present[row] === 0 ? op : RowOp.INSERT;
  return was ? RowOp.DELETE : LEFT_OUT;
}

function noImage({ opId, rowIndexes }: ChangeBatch, row: number): Error {
  return new Error(
    `where asks for more than the key, and what row ${rowIndexes[row]} of operation ${formatOpId(opId)} was before cannot be had; a resync mends it`,
  );
}

/** The rows that are not left out, as the operations that they are now. */
function rowsUnder(batch: ChangeBatch, becomes: Uint8Array): ChangeBatch {
  const picked = pickRows(batch, (row) => becomes[row] !== LEFT_OUT);
  const { columns } = batch.schema;
  const ops = becomes.filter((op) => op !== LEFT_OUT);
  for (const [row, op] of ops.entries()) {
    if (op === picked.ops[row]) continue;
    if (op === RowOp.INSERT) picked.before!.present[row] = 0;
    else
      for (const [place, { isKey }] of columns.entries())
        if (!isKey) picked.cells[row * columns.length + place] = Cell.UNSET;
  }
  return { ...picked, ops };
}
