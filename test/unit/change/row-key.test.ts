import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cell, RowOp, type ChangeBatch } from '../../../src/change/change.ts';
import { rowKey, rowsWithKeys } from '../../../src/change/row-key.ts';
import { encodeKey } from '../../../src/kudu/key-encoder.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { column, int32 } from '../../support/row-bytes.ts';

const SCHEMA: TableSchema = {
  columns: [
    column('a', DataType.STRING, { isKey: true, id: 1 }),
    column('b', DataType.INT32, { isKey: true, id: 2 }),
    column('c', DataType.STRING, { isKey: true, id: 3 }),
    column('v', DataType.INT32, { id: 4 }),
  ],
};
const ROWS = [
  { a: 'x\0y', b: -7, c: '' },
  { a: '', b: 2_000_000, c: 'end\0' },
];

/** The rows as a log has them: numbers in place, strings behind pointers. */
function batchOf(rows: typeof ROWS): ChangeBatch {
  const cells: number[] = [];
  const parts: Buffer[] = [];
  let indirect = Buffer.alloc(0);
  const put = (bytes: Buffer): void => {
    cells.push(parts.reduce((sum, { length }) => sum + length, 0));
    parts.push(bytes);
  };
  const putText = (text: string): void => {
    const pointer = Buffer.alloc(16);
    pointer.writeBigUInt64LE(BigInt(indirect.length), 0);
    pointer.writeBigUInt64LE(BigInt(Buffer.byteLength(text)), 8);
    put(pointer);
    indirect = Buffer.concat([indirect, Buffer.from(text)]);
  };
  for (const { a, b, c } of rows) {
    putText(a);
    put(int32(b));
    putText(c);
    cells.push(Cell.NULL);
  }
  return {
    kind: 'rows',
    tablet: { tableId: 't', tabletId: 't', tableName: 't' },
    opId: { term: 1n, index: 1n },
    hybridTime: 1n,
    copy: null,
    schema: SCHEMA,
    rowCount: rows.length,
    ops: new Uint8Array(rows.length).fill(RowOp.UPSERT),
    rowIndexes: Int32Array.from(rows, (_, row) => row),
    cells: Int32Array.from(cells),
    rows: Buffer.concat(parts),
    indirect,
    autoIncrement: null,
    before: null,
    partial: null,
  };
}
const keyOf = (row: (typeof ROWS)[number]): Buffer =>
  encodeKey(
    SCHEMA.columns.filter(({ isKey }) => isKey),
    row,
  );

describe('the key of a row of a batch', () => {
  it('is the same as that of the values', () => {
    const batch = batchOf(ROWS);
    for (const [row, values] of ROWS.entries()) assert.deepEqual(rowKey(batch, row), keyOf(values));
  });

  it('is what Kudu counted where the table counts its rows', () => {
    const schema = { columns: [column('id', DataType.INT64, { isKey: true, id: 1, autoIncrementing: true })] };
    const cells = Int32Array.of(Cell.AUTO);
    const batch = { ...batchOf([]), schema, rowCount: 1, cells, autoIncrement: BigInt64Array.of(41n) };
    assert.deepEqual(rowKey(batch, 0), encodeKey(schema.columns, { id: 41n }));
  });

  it('has the default of a column that the writer left out', () => {
    const [a, , c] = SCHEMA.columns;
    const b = column('b', DataType.INT32, { isKey: true, id: 2, writeDefault: int32(7) });
    const batch = batchOf([ROWS[0]!]);
    const cells = batch.cells.map((cell, place) => (place === 1 ? Cell.DEFAULT : cell));
    const schema = { columns: [a!, b, c!, SCHEMA.columns[3]!] };
    assert.deepEqual(rowKey({ ...batch, schema, cells }, 0), keyOf({ ...ROWS[0]!, b: 7 }));
  });

  it('tells which rows are among some', () => {
    const wanted = new Set([keyOf(ROWS[1]!).toString('hex')]);
    const found = rowsWithKeys(batchOf([...ROWS, ROWS[1]!]), wanted);
    assert.deepEqual(
      found.map(({ rowCount, rowIndexes }) => [rowCount, ...rowIndexes]),
      [
        [1, 1],
        [1, 2],
      ],
    );
  });
});
