import type { HybridTime } from '../kudu/hybrid-time.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import { Cell, RowOp, type ChangeBatch, type TabletRef } from './change.ts';
import { RowFormatError, type RowLayout } from './row-layout.ts';

/** One committed write operation, as the log has it. */
export interface CommittedWrite {
  readonly tablet: TabletRef;
  readonly opId: OpId;
  readonly hybridTime: HybridTime;
  readonly layout: RowLayout;
  /** RowOperationsPB.rows and .indirect_data. */
  readonly rows: Buffer;
  readonly indirect: Buffer;
  /** One byte a row operation: 1 applied, 0 rejected or ignored (kudu-facts 0.3). */
  readonly results: Uint8Array;
  /** The counter in the request: the last value given out before this operation; null for other tables. */
  readonly autoIncrementCounter: bigint | null;
}

/**
 * Reads the applied rows of one committed write, in the order of the operation.
 *
 * Row format: u8 operation, isset bitmap, null bitmap if any column is nullable, then the cells that are set and not
 * null, without padding. A non-nullable column whose null bit is set carries its bytes all the same. The bytes of
 * rejected rows are there too and are stepped over.
 * Errors: {@link RowFormatError} when bytes and results do not fit together; never a row that was not written.
 * Source: kudu/common/row_operations.cc RowOperationsPBDecoder; kudu-facts 3.3, 5.4 to 5.7, 6.6.
 */
export function decodeWrite(write: CommittedWrite): ChangeBatch {
  const { layout, rows, results } = write;
  const width = layout.tabletSchema.columns.length;
  const rowCount = countApplied(results);
  const ops = new Uint8Array(rowCount);
  const rowIndexes = new Int32Array(rowCount);
  const cells = new Int32Array(rowCount * width);
  const counter = layout.autoIncrement < 0 ? null : new AutoIncrement(write);
  const autoIncrement = counter ? new BigInt64Array(rowCount) : null;

  let at = 0;
  let applied = 0;
  for (let row = 0; row < results.length; row++) {
    if (at >= rows.length) throw corrupt(write, `has ${row} row operations and ${results.length} results`);
    const value = counter ? counter.next(at) : 0n;
    if (results[row] === 0) {
      at = stepOverRow(write, at);
    } else {
      ops[applied] = rows[at]!;
      rowIndexes[applied] = row;
      if (autoIncrement) autoIncrement[applied] = value;
      at = readRow(write, row, at, cells, applied * width);
      applied++;
    }
    if (at > rows.length) throw corrupt(write, `ends within row operation ${row}`);
  }
  if (at !== rows.length) throw corrupt(write, `has more row operations than its ${results.length} results`);
  return {
    kind: 'rows',
    tablet: write.tablet,
    opId: write.opId,
    hybridTime: write.hybridTime,
    copy: null,
    schema: layout.tabletSchema,
    rowCount,
    ops,
    rowIndexes,
    cells,
    rows,
    indirect: write.indirect,
    autoIncrement,
    before: null,
    partial: null,
  };
}

function countApplied(results: Uint8Array): number {
  let applied = 0;
  for (let i = 0; i < results.length; i++) if (results[i] !== 0) applied++;
  return applied;
}

/** Reads an applied row at `at` into `cells` from `base` on; answers where the next row begins. */
function readRow(write: CommittedWrite, row: number, at: number, cells: Int32Array, base: number): number {
  const { layout, rows } = write;
  const { width, bitmapBytes, hasNullBitmap, cellBytes, nullable, varLength, immutable, target, keyColumns } = layout;
  const op = rows[at]!;
  const isInsert = op === RowOp.INSERT || op === RowOp.INSERT_IGNORE;
  const leftOut = leftOutBy(write, op);
  const isset = at + 1;
  const nulls = isset + bitmapBytes;
  at = hasNullBitmap ? nulls + bitmapBytes : nulls;
  for (let j = 0; j < width; j++) {
    const cell = base + target[j]!;
    if (((rows[isset + (j >> 3)]! >> (j & 7)) & 1) === 0) {
      const code = leftOut[target[j]!]!;
      if (code === Cell.UNSET && (isInsert || j < keyColumns))
        throw corrupt(write, `row operation ${row} was applied without a value for column ${j} of the request`);
      cells[cell] = code;
      continue;
    }
    const nullBit = hasNullBitmap && ((rows[nulls + (j >> 3)]! >> (j & 7)) & 1) === 1;
    if (op === RowOp.UPDATE_IGNORE && immutable[j] === 1) {
      cells[cell] = Cell.UNSET; // what may not change is dropped, the rest applied (kudu-facts 5.6)
      if (!nullBit) at += cellBytes[j]!;
    } else if (nullBit && nullable[j] === 1) {
      cells[cell] = Cell.NULL;
    } else {
      cells[cell] = at;
      if (varLength[j] === 1) checkVarLength(write, row, at);
      at += cellBytes[j]!;
    }
  }
  for (const place of layout.missing) cells[base + place] = leftOut[place]!;
  return at;
}

function leftOutBy(write: CommittedWrite, op: number): Int32Array {
  switch (op) {
    case RowOp.INSERT:
    case RowOp.INSERT_IGNORE:
      return write.layout.leftOutByInsert;
    case RowOp.UPSERT:
    case RowOp.UPSERT_IGNORE:
      return write.layout.leftOutByUpsert;
    case RowOp.UPDATE:
    case RowOp.UPDATE_IGNORE:
    case RowOp.DELETE:
    case RowOp.DELETE_IGNORE:
      return write.layout.leftOutByOthers;
    default:
      throw new RowFormatError('unsupported', `write ${formatOpId(write.opId)} has a row operation of kind ${op}`);
  }
}

/** Where the row after the one at `at` begins, or (`column` given) where that column's cell is, -1 for none. */
function stepOverRow(write: CommittedWrite, at: number, column = -1): number {
  const { layout, rows } = write;
  const op = rows[at]!;
  leftOutBy(write, op); // an unknown kind may be laid out otherwise
  const isUpdate = op === RowOp.UPDATE || op === RowOp.UPDATE_IGNORE;
  const isset = at + 1;
  const nulls = isset + layout.bitmapBytes;
  at = layout.hasNullBitmap ? nulls + layout.bitmapBytes : nulls;
  for (let j = 0; j < layout.width; j++) {
    const isSet = ((rows[isset + (j >> 3)]! >> (j & 7)) & 1) === 1;
    const nullBit = layout.hasNullBitmap && ((rows[nulls + (j >> 3)]! >> (j & 7)) & 1) === 1;
    // The server reads no bytes for an immutable column that an UPDATE sets to null, be it nullable or not.
    const hasBytes = isSet && !(nullBit && (layout.nullable[j] === 1 || (isUpdate && layout.immutable[j] === 1)));
    if (j === column) return hasBytes ? at : -1;
    if (hasBytes) at += layout.cellBytes[j]!;
  }
  return at;
}

/** A cell of an applied row points into the indirect bytes; whoever reads it later need not ask. */
function checkVarLength(write: CommittedWrite, row: number, at: number): void {
  const { rows, indirect } = write;
  if (at + 16 > rows.length) throw corrupt(write, `ends within row operation ${row}`);
  const end = readUint32(rows, at) + readUint32(rows, at + 8);
  if (readUint32(rows, at + 4) !== 0 || readUint32(rows, at + 12) !== 0 || end > indirect.length)
    throw corrupt(write, `has a value in row operation ${row} that lies outside its bytes`);
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/**
 * Counts as the tablet server does when it prepares the operation: every INSERT takes the next number, the ones that
 * are rejected later too; an UPSERT brings its own and may push the counter ahead (kudu-facts 6.6).
 */
class AutoIncrement {
  readonly #write: CommittedWrite;
  #counter: bigint | null;

  constructor(write: CommittedWrite) {
    this.#write = write;
    this.#counter = write.autoIncrementCounter;
  }

  /** The value of the row at `at`; the last one given out, where the row takes none. */
  next(at: number): bigint {
    const { rows, layout } = this.#write;
    const op = rows[at]!;
    if (op === RowOp.INSERT || op === RowOp.INSERT_IGNORE) {
      if (this.#counter === null) throw corrupt(this.#write, 'lacks the counter of its auto-incrementing column');
      this.#counter++;
    } else if (op === RowOp.UPSERT || op === RowOp.UPSERT_IGNORE) {
      const cell = stepOverRow(this.#write, at, layout.autoIncrement);
      if (cell >= 0 && cell + 8 <= rows.length) {
        const value = rows.readBigInt64LE(cell);
        if (this.#counter === null || value > this.#counter) this.#counter = value;
      }
    }
    return this.#counter ?? 0n;
  }
}

function corrupt(write: CommittedWrite, what: string): RowFormatError {
  return new RowFormatError('corrupt', `write ${formatOpId(write.opId)} ${what}`);
}
