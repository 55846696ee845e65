import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { alterSteps, createTableRequest, type TableSpec } from '../../../src/kudu/ddl.ts';
import { CreateTableRequestPBSchema } from '../../../src/kudu/proto/master_pb.ts';
import { decodeRowOperations, RowOpType } from '../../../src/kudu/row-operations.ts';
import { schemaFromPb } from '../../../src/kudu/schema-codec.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { column } from '../../support/kudu-columns.ts';

const SPEC: TableSpec = { name: 't', columns: [{ name: 'k', type: 'INT32', key: true }] };

function request(spec: Partial<TableSpec>) {
  const { request, requiredFeatures } = createTableRequest({ ...SPEC, ...spec });
  return { pb: create(CreateTableRequestPBSchema, request), requiredFeatures };
}

describe('DDL', () => {
  it('puts key columns first, then the auto-incrementing one, whatever the order given', () => {
    const { pb, requiredFeatures } = request({
      columns: [
        { name: 'v', type: 'STRING', nullable: true },
        { name: 'k', type: 'INT32', key: true },
      ],
      autoIncrementing: true,
    });
    const { columns } = schemaFromPb(pb.schema!);
    assert.deepEqual(
      columns.map(({ name, isKey, autoIncrementing }) => [name, isKey, autoIncrementing]),
      [
        ['k', true, false],
        ['auto_incrementing_id', true, true],
        ['v', false, false],
      ],
    );
    assert.deepEqual(requiredFeatures, [11]);
  });

  it('chooses the size of a decimal by its digits', () => {
    for (const [precision, type] of [
      [1, DataType.DECIMAL32],
      [9, DataType.DECIMAL32],
      [10, DataType.DECIMAL64],
      [18, DataType.DECIMAL64],
      [19, DataType.DECIMAL128],
      [38, DataType.DECIMAL128],
    ] as const) {
      const columns = [...SPEC.columns, { name: 'd', type: 'DECIMAL' as const, precision }];
      assert.equal(request({ columns }).pb.schema!.columns[1]!.type, type);
    }
  });

  it('says that a table is not range partitioned, as leaving it out would mean: by the whole key', () => {
    const { pb } = request({ hash: [{ columns: ['k'], buckets: 3 }] });
    assert.deepEqual(pb.partitionSchema!.rangeSchema!.columns, []);
    assert.deepEqual(pb.partitionSchema!.hashSchema[0]!.columns[0]!.identifier, { case: 'name', value: 'k' });
  });

  it('packs range bounds in pairs, with what they include', () => {
    const { pb, requiredFeatures } = request({
      range: {
        columns: ['k'],
        partitions: [
          { lower: {}, upper: { k: 5 } },
          { lower: { k: 5 }, upper: { k: 9 }, lowerInclusive: false, upperInclusive: true },
        ],
      },
    });
    const { rows, indirectData } = pb.splitRowsRangeBounds!;
    const bounds = { rows: Buffer.from(rows), indirect: Buffer.from(indirectData) };
    assert.deepEqual(decodeRowOperations(schemaFromPb(pb.schema!), bounds), [
      { type: RowOpType.RANGE_LOWER_BOUND, row: {} },
      { type: RowOpType.RANGE_UPPER_BOUND, row: { k: 5 } },
      { type: RowOpType.EXCLUSIVE_RANGE_LOWER_BOUND, row: { k: 5 } },
      { type: RowOpType.INCLUSIVE_RANGE_UPPER_BOUND, row: { k: 9 } },
    ]);
    assert.deepEqual(requiredFeatures, [1]);
  });

  for (const [why, spec] of [
    ['no key column', { columns: [{ name: 'v', type: 'INT32' }] }],
    ['a key that may be NULL', { columns: [{ name: 'k', type: 'INT32', key: true, nullable: true }] }],
    ['a decimal without digits', { columns: [...SPEC.columns, { name: 'd', type: 'DECIMAL' }] }],
    ['a decimal of too many digits', { columns: [...SPEC.columns, { name: 'd', type: 'DECIMAL', precision: 39 }] }],
    ['a default that does not fit', { columns: [...SPEC.columns, { name: 'v', type: 'INT8', default: 128 }] }],
    ['a bound on an unknown column', { range: { columns: ['k'], partitions: [{ lower: { x: 1 }, upper: {} }] } }],
  ] as const satisfies readonly (readonly [string, Partial<TableSpec>])[])
    it(`refuses ${why}`, () => {
      assert.throws(() => createTableRequest({ ...SPEC, ...spec }), { name: 'KuduError', kind: 'usage' });
    });

  it('writes a default by the type of its column, and takes one away', () => {
    const schema = { columns: [column('k', DataType.INT32, { isKey: true }), column('v', DataType.INT16)] };
    const { steps } = alterSteps(schema, [
      { changeDefault: 'v', value: 258 },
      { changeDefault: 'v', value: null },
    ]);
    assert.deepEqual(
      steps.map((step) => step.alterColumn?.delta),
      [
        { name: 'v', defaultValue: Buffer.from([2, 1]) },
        { name: 'v', removeDefault: true },
      ],
    );
    assert.throws(() => alterSteps(schema, [{ changeDefault: 'x', value: 1 }]), /no column "x"/);
  });
});
