import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encodeKey, encodeKeyPrefix } from '../../../src/kudu/key-encoder.ts';
import { decodeKey } from '../../../src/kudu/key-encoder.ts';
import { partitionBounds } from '../../../src/kudu/partition-bounds.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { column } from '../../support/kudu-columns.ts';

const COLUMNS = [
  column('i', DataType.INT32, { id: 0, isKey: true }),
  column('s', DataType.STRING, { id: 1, isKey: true }),
  column('d', DataType.DECIMAL64, { id: 2, isKey: true, precision: 12, scale: 2 }),
  column('b', DataType.BINARY, { id: 3, isKey: true }),
];
const table = {
  tableId: 't',
  name: 'table',
  schema: { columns: COLUMNS },
  partitionSchema: { hash: [{ columnIds: [1], buckets: 4, seed: 0 }], rangeColumnIds: [0, 1], customHashRanges: [] },
  numReplicas: 1,
  owner: '',
  comment: '',
  extraConfigs: {},
};

describe('the bounds of a partition', () => {
  it('are read as they were encoded, whatever is in the strings', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        fc.string({ unit: fc.constantFrom('\0', '\x01', 'a', 'é') }),
        fc.integer({ min: -(10 ** 11), max: 10 ** 11 }),
        fc.uint8Array(),
        (i, s, cents, bytes) => {
          const sign = cents < 0 ? '-' : '';
          const d = `${sign}${Math.trunc(Math.abs(cents) / 100)}.${String(Math.abs(cents) % 100).padStart(2, '0')}`;
          const row = { i, s, d, b: Buffer.from(bytes) };
          assert.deepEqual(decodeKey(COLUMNS, encodeKey(COLUMNS, row)), row);
        },
      ),
    );
  });

  it('have the buckets, and of the range what is bounded', () => {
    const bucket = Buffer.from([0, 0, 0, 2]);
    const range = COLUMNS.slice(0, 2);
    const start = Buffer.concat([bucket, encodeKeyPrefix(range, { i: -5 })]);
    const end = Buffer.concat([bucket, encodeKeyPrefix(range, { i: 7, s: 'x' })]);
    const hash = [{ columns: ['s'], bucket: 2, buckets: 4 }];
    assert.deepEqual(partitionBounds(table, { hashBuckets: [2], start, end }), {
      hash,
      range: { lower: { i: -5, s: '' }, upper: { i: 7, s: 'x' } },
    });
    const next = Buffer.from([0, 0, 0, 3]);
    assert.deepEqual(partitionBounds(table, { hashBuckets: [2], start: bucket, end: next }), {
      hash,
      range: { lower: null, upper: null },
    });
    const unranged = { ...table, partitionSchema: { ...table.partitionSchema, rangeColumnIds: [] } };
    assert.deepEqual(partitionBounds(unranged, { hashBuckets: [2], start: bucket, end: next }), { hash, range: null });
  });
});
