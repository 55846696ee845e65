import { isVarLength } from '../kudu/cell-codec.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { keyColumnsOf } from '../kudu/key-columns.ts';
import { encodeKeyCells, keyCells } from '../kudu/key-encoder.ts';
import type { OpId } from '../kudu/opid.ts';
import type { RowBlock } from '../kudu/row-block.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { Cell, CopyOp, type ChangeBatch, type CopyKind, type TabletRef } from './change.ts';
import { RowFormatError } from './row-layout.ts';

/** Some rows of a copy, as a scan answered them. */
export interface CopiedRows {
  readonly copy: CopyKind;
  readonly tablet: TabletRef;
  /** The cut of the copy, and its time. */
  readonly opId: OpId;
  readonly hybridTime: HybridTime;
  /** In force at the cut. */
  readonly schema: TableSchema;
  readonly block: RowBlock;
  /** For each column of `schema` its place in the block; -1 where it was dropped since and cannot be read any more. */
  readonly places: Int32Array;
  /** The first rows of the block that are left out. */
  readonly skip: number;
  /** Of the rest so many are taken; all without it. */
  readonly take?: number;
}

/**
 * The rows of a scan as a batch of changes. Nothing is copied: the cells are offsets into the answer's own bytes.
 * @throws {RowFormatError} a value lies outside of its bytes
 */
export function copiedRows(copied: CopiedRows): ChangeBatch {
  const { copy, tablet, opId, hybridTime, schema, block, places, skip, take = Infinity } = copied;
  const { rows, indirect, rowBytes, offsets, nullsAt } = block;
  const width = schema.columns.length;
  const rowCount = Math.min(take, block.rowCount - skip);
  const ops = new Uint8Array(rowCount);
  const cells = new Int32Array(rowCount * width);
  const isVar = schema.columns.map(({ type }) => isVarLength(type));
  for (let row = 0; row < rowCount; row++) {
    const start = (row + skip) * rowBytes;
    ops[row] = block.isDeleted(row + skip) ? CopyOp.DELETED : CopyOp.ROW;
    for (let column = 0; column < width; column++) {
      const place = places[column]!;
      let cell: number;
      if (place < 0) cell = Cell.UNSET;
      else if (nullsAt !== null && ((rows[start + nullsAt + (place >> 3)]! >> (place & 7)) & 1) === 1) cell = Cell.NULL;
      else {
        cell = start + offsets[place]!;
        if (isVar[column] === true && !isInside(rows, cell, indirect))
          throw new RowFormatError('corrupt', `a scan of tablet ${tablet.tabletId} has a value outside of its bytes`);
      }
      cells[row * width + column] = cell;
    }
  }
  return {
    kind: 'rows',
    tablet,
    opId,
    hybridTime,
    copy,
    schema,
    rowCount,
    ops,
    rowIndexes: new Int32Array(rowCount),
    cells,
    rows,
    indirect,
    autoIncrement: null,
    before: null,
    partial: null,
  };
}

/**
 * The delete of a row that a table has not, by its encoded primary key.
 * @throws {KuduError} `protocol` when the key is none of that schema
 */
export function deletedRow(
  row: Pick<CopiedRows, 'copy' | 'tablet' | 'opId' | 'hybridTime' | 'schema'> & { key: Buffer },
): ChangeBatch {
  const { copy, tablet, opId, hybridTime, schema, key } = row;
  const keyColumns = schema.columns.filter(({ isKey }) => isKey);
  const values = keyCells(keyColumns, key);
  const cells = new Int32Array(schema.columns.length).fill(Cell.UNSET);
  const rows: Buffer[] = [];
  const indirect: Buffer[] = [];
  let [at, indirectAt] = [0, 0];
  for (const [place, column] of schema.columns.entries()) {
    if (!column.isKey) continue;
    let bytes = values.shift()!;
    if (isVarLength(column.type)) {
      indirect.push(bytes);
      const pointer = Buffer.alloc(16);
      pointer.writeBigUInt64LE(BigInt(indirectAt), 0);
      pointer.writeBigUInt64LE(BigInt(bytes.length), 8);
      indirectAt += bytes.length;
      bytes = pointer;
    }
    cells[place] = at;
    rows.push(bytes);
    at += bytes.length;
  }
  return {
    kind: 'rows',
    tablet,
    opId,
    hybridTime,
    copy,
    schema,
    rowCount: 1,
    ops: Uint8Array.of(CopyOp.DELETED),
    rowIndexes: new Int32Array(1),
    cells,
    rows: Buffer.concat(rows),
    indirect: Buffer.concat(indirect),
    autoIncrement: null,
    before: null,
    partial: null,
  };
}

/** The encoded primary key of a row of a block. @param places as in {@link CopiedRows} */
export function encodedKey(schema: TableSchema, block: RowBlock, places: Int32Array, row: number): Buffer {
  const key = keyColumnsOf(schema);
  return encodeKeyCells(
    key.columns,
    key.places.map((place) => block.bytes(row, places[place]!)!),
  );
}

/** u64 offset and u64 length, both little-endian, of bytes that are there. */
function isInside(rows: Buffer, cell: number, indirect: Buffer): boolean {
  const end = rows.readUInt32LE(cell) + rows.readUInt32LE(cell + 8);
  return rows.readUInt32LE(cell + 4) === 0 && rows.readUInt32LE(cell + 12) === 0 && end <= indirect.length;
}
