import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KuduError } from '../../../src/kudu/errors.ts';
import { RowBlock } from '../../../src/kudu/row-block.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { column } from '../../support/kudu-columns.ts';

const SCHEMA = {
  columns: [
    column('k', DataType.INT16, { isKey: true }),
    column('s', DataType.STRING, { nullable: true }),
    column('gone', DataType.IS_DELETED),
  ],
};
/** u16 key, u64 offset and u64 length, u8 deleted, u8 nulls: NULL cells are zeros. */
const ROWS = Buffer.from(
  ['0100', '0100000000000000', '0200000000000000', '00', '00', '0200', '00'.repeat(16), '01', '02'].join(''),
  'hex',
);

describe('row block', () => {
  it('reads rows with a null bitmap behind their cells, 1 for NULL', () => {
    const block = new RowBlock(SCHEMA, 2, ROWS, Buffer.from('xab'));
    assert.deepEqual(
      [...block],
      [
        { k: 1, s: 'ab' },
        { k: 2, s: null },
      ],
    );
    assert.deepEqual([block.isDeleted(0), block.isDeleted(1)], [false, true]);
    assert.equal(block.bytes(0, 1)!.toString(), 'ab');
    assert.equal(block.bytes(1, 1), null);
  });

  it('has no bitmap when no column may be null', () => {
    const block = new RowBlock({ columns: [column('k', DataType.INT8)] }, 2, Buffer.from([1, 2]), Buffer.alloc(0));
    assert.deepEqual([...block], [{ k: 1 }, { k: 2 }]);
  });

  it('counts rows of no columns', () => {
    const block = new RowBlock({ columns: [] }, 3, Buffer.alloc(0), Buffer.alloc(0));
    assert.deepEqual([...block], [{}, {}, {}]);
  });

  it('refuses bytes that are not so many rows, and a cell that points outside', () => {
    assert.throws(() => new RowBlock(SCHEMA, 3, ROWS, Buffer.from('xab')), KuduError);
    assert.throws(() => new RowBlock(SCHEMA, 2, ROWS, Buffer.from('xa')).row(0), RangeError);
  });
});
