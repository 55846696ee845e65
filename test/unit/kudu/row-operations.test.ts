import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  RowOpType,
  RowOperationsEncoder,
  decodeRowOperations,
  type RowInput,
} from '../../../src/kudu/row-operations.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { EVERY_TYPE, column } from '../../support/kudu-columns.ts';

const SMALL = {
  columns: [column('k', DataType.INT32, { isKey: true }), column('s', DataType.STRING, { nullable: true })],
};

function encode(operations: readonly [RowOpType, RowInput][], schema: TableSchema = SMALL) {
  const encoder = new RowOperationsEncoder(schema);
  for (const [type, row] of operations) encoder.add(type, row);
  return encoder.finish();
}

describe('row operations', () => {
  it('lays a row out as kudu-facts 3.3 says: type, set, null, cells; strings aside', () => {
    const { rows, indirect } = encode([
      [RowOpType.INSERT, { k: 1, s: 'ab' }],
      [RowOpType.UPSERT, { k: 2, s: null }],
      [RowOpType.DELETE, { k: 3 }],
      [RowOpType.INSERT, { k: 4, s: 'c' }],
    ]);
    const string = (offset: number, length: number): string =>
      Buffer.from(BigUint64Array.of(BigInt(offset), BigInt(length)).buffer).toString('hex');
    assert.equal(
      rows.toString('hex'),
      [
        '010300',
        '01000000',
        string(0, 2),
        '050302',
        '02000000',
        '030100',
        '03000000',
        '010300',
        '04000000',
        string(2, 1),
      ].join(''),
    );
    assert.equal(indirect.toString(), 'abc');
  });

  it('has no null bitmap when no column may be null', () => {
    const schema = { columns: [column('k', DataType.INT8, { isKey: true })] };
    assert.equal(encode([[RowOpType.INSERT, { k: -1 }]], schema).rows.toString('hex'), '0101ff');
  });

  it('refuses an unknown column, NULL where it may not be, and adds nothing then', () => {
    const encoder = new RowOperationsEncoder(SMALL);
    encoder.add(RowOpType.INSERT, { k: 1, s: 'kept' });
    assert.throws(() => {
      encoder.add(RowOpType.INSERT, { k: 2, x: 1 });
    }, /no column "x"/);
    assert.throws(() => {
      encoder.add(RowOpType.INSERT, { k: null });
    }, /"k" is NOT NULL/);
    assert.throws(() => {
      encoder.add(RowOpType.INSERT, { k: 2 ** 40, s: 'lost' });
    }, /"k" takes/);
    assert.equal(encoder.count, 1);
    assert.deepEqual(decodeRowOperations(SMALL, encoder.finish()), [
      { type: RowOpType.INSERT, row: { k: 1, s: 'kept' } },
    ]);
  });

  it('reads back any rows of any types, set and unset', () => {
    const optional = <T>(value: fc.Arbitrary<T>) => fc.option(fc.option(value, { nil: null }), { nil: undefined });
    const row = fc.record({
      int64: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
      int8: optional(fc.integer({ min: -128, max: 127 })),
      bool: optional(fc.boolean()),
      double: optional(fc.double()),
      string: optional(fc.string({ unit: 'grapheme' })),
      binary: optional(fc.uint8Array().map((bytes) => Buffer.from(bytes))),
      time: optional(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)),
    });
    const type = fc.constantFrom(...Object.values(RowOpType));
    fc.assert(
      fc.property(fc.array(fc.tuple(type, row), { maxLength: 5 }), (operations) => {
        const decoded = decodeRowOperations(EVERY_TYPE, encode(operations, EVERY_TYPE));
        const isSet = (entry: [string, unknown]): boolean => entry[1] !== undefined;
        assert.deepEqual(
          decoded.map(({ type, row }) => [type, row]),
          operations
            .map(([type, given]) => [type, Object.fromEntries(Object.entries(given).filter(isSet))])
            .map(([type, given]) => [type, inSchemaOrder(given as Record<string, unknown>)]),
        );
      }),
    );
  });

  it('refuses bytes that end early or point outside', () => {
    const whole = encode([[RowOpType.INSERT, { k: 1, s: 'ab' }]]);
    for (let length = 1; length < whole.rows.length; length++)
      assert.throws(() => decodeRowOperations(SMALL, { ...whole, rows: whole.rows.subarray(0, length) }), RangeError);
    assert.throws(() => decodeRowOperations(SMALL, { ...whole, indirect: Buffer.from('a') }), RangeError);
  });
});

function inSchemaOrder(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(EVERY_TYPE.columns.filter(({ name }) => name in row).map(({ name }) => [name, row[name]]));
}
