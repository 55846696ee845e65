import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encodeKey, encodeKeyPrefix, decodeKey } from '../../../src/kudu/key-encoder.ts';
import type { HashDimension } from '../../../src/kudu/partition.ts';
import { partitionBounds } from '../../../src/kudu/partition-bounds.ts';
import { RowOpType, RowOperationsEncoder, type RowInput } from '../../../src/kudu/row-operations.ts';
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

  it("have the hash schema of their own range: the one that it was made with, the table's, or none", () => {
    const range = COLUMNS.slice(0, 2);
    const key = (row: RowInput): Buffer => encodeKeyPrefix(range, row);
    const customHashRange = (lower: RowInput, upper: RowInput, hash: readonly HashDimension[]) => {
      const encoder = new RowOperationsEncoder({ columns: COLUMNS });
      encoder.add(RowOpType.RANGE_LOWER_BOUND, lower);
      encoder.add(RowOpType.RANGE_UPPER_BOUND, upper);
      return { bounds: encoder.finish(), hash };
    };
    const customHashRanges = [
      customHashRange({ i: 10 }, { i: 20 }, [
        { columnIds: [0, 1], buckets: 3, seed: 5 },
        { columnIds: [3], buckets: 2, seed: 0 },
      ]),
      customHashRange({ i: 20 }, {}, []),
    ];
    const mixed = { ...table, partitionSchema: { ...table.partitionSchema, customHashRanges } };
    const ofTable = Buffer.from([0, 0, 0, 3]);
    const ofRange = Buffer.from([0, 0, 0, 2, 0, 0, 0, 1]);
    const bounds = (hashBuckets: readonly number[], start: Buffer, end: Buffer) =>
      partitionBounds(mixed, { hashBuckets, start, end });
    assert.deepEqual(bounds([3], ofTable, Buffer.concat([ofTable, key({ i: 10 })])), {
      hash: [{ columns: ['s'], bucket: 3, buckets: 4 }],
      range: { lower: null, upper: { i: 10, s: '' } },
    });
    assert.deepEqual(
      bounds([2, 1], Buffer.concat([ofRange, key({ i: 10 })]), Buffer.concat([ofRange, key({ i: 20 })])),
      {
        hash: [
          { columns: ['i', 's'], bucket: 2, buckets: 3 },
          { columns: ['b'], bucket: 1, buckets: 2 },
        ],
        range: { lower: { i: 10, s: '' }, upper: { i: 20, s: '' } },
      },
    );
    assert.deepEqual(bounds([], key({ i: 20 }), Buffer.alloc(0)), {
      hash: [],
      range: { lower: { i: 20, s: '' }, upper: null },
    });
  });

  it('are refused where the tablet has other dimensions than its range', () => {
    const start = Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]);
    const stray = { hashBuckets: [1, 0], start, end: Buffer.alloc(0) };
    assert.throws(() => partitionBounds(table, stray), /a tablet has 2 buckets, its range 1 of them/);
  });

  it('name columns as the table does, whatever JavaScript means by the name', () => {
    const odd = ['__proto__', 'constructor', 'toString'].map((name, id) =>
      column(name, DataType.INT32, { id, isKey: true }),
    );
    const named = {
      ...table,
      schema: { columns: odd },
      partitionSchema: { hash: [], rangeColumnIds: [0, 1, 2], customHashRanges: [] },
    };
    const row = Object.fromEntries([
      ['__proto__', 1],
      ['constructor', 2],
      ['toString', 3],
    ]);
    assert.deepEqual(partitionBounds(named, { hashBuckets: [], start: encodeKey(odd, row), end: Buffer.alloc(0) }), {
      hash: [],
      range: { lower: row, upper: null },
    });
    assert.throws(() => encodeKey(odd, {}), /"__proto__" is not set/);
    assert.throws(() => encodeKey(odd, Object.fromEntries([['__proto__', 1]])), /"constructor" is not set/);
  });
});
