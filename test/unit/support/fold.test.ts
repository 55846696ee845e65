import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RowOp, type Change } from '../../../src/change/change.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import type { SinkRecord } from '../../../src/change/record.ts';
import { compileRowLayout } from '../../../src/change/row-layout.ts';
import { compileJson } from '../../../src/formats/json.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { TableFold } from '../../support/fold.ts';
import { parseLossless } from '../../support/lossless-json.ts';
import { opId, timeOf } from '../../support/log-entries.ts';
import { column, encodeRows, float64, int32, int64, type TestCell } from '../../support/row-bytes.ts';
import { recordsOf } from '../../support/record-batches.ts';

const KEY = column('k', DataType.INT64, { isKey: true, id: 10 });
const A = column('a', DataType.INT32, { nullable: true, id: 11 });
const FIXED = column('fixed', DataType.INT32, { nullable: true, immutable: true, id: 12 });
const V0: TableSchema = { columns: [KEY, A, FIXED] };
const ADDED = column('b', DataType.DOUBLE, { id: 13, readDefault: float64(-0), writeDefault: float64(1) });
const V1: TableSchema = { columns: [KEY, { ...A, name: 'renamed' }, FIXED, ADDED] };
const TABLET = { tableId: 'table1', tabletId: 'tablet1', tableName: 't' };
const format = compileJson({ streamName: 's', version: '0', tombstones: true });

function row(index: number, op: number, cells: readonly TestCell[], schema = V0): SinkRecord[] {
  const write = encodeRows(schema, [{ op, cells }]);
  const layout = compileRowLayout(schema, schema);
  const id = opId(1, index);
  const results = Uint8Array.of(1);
  const rest = { hybridTime: timeOf(id), layout, results, autoIncrementCounter: null };
  return recordsOf(format, decodeWrite({ tablet: TABLET, opId: id, ...rest, ...write }));
}

function schema(index: number, version: number, after: TableSchema): SinkRecord[] {
  const id = opId(1, index);
  const tables = { before: null, after: { tableName: 't', schema: after } };
  const change: Change = { kind: 'schema', tablet: TABLET, opId: id, hybridTime: timeOf(id), version, ...tables };
  return recordsOf(format, change);
}

function foldOf(...records: SinkRecord[][]): TableFold {
  const fold = new TableFold();
  for (const record of records.flat()) fold.push(record);
  return fold;
}
const k = (value: bigint): Buffer => int64(value);
const START = schema(0, 0, V0);
const ONE = row(1, RowOp.INSERT, [k(1n), int32(5), int32(6)]);

describe('TableFold', () => {
  it('ends in the table, whatever way numbers are printed', () => {
    const big = 2n ** 53n + 1n;
    const fold = foldOf(START, ONE, row(2, RowOp.INSERT, [k(big)]), row(3, RowOp.UPDATE, [k(1n), null]));
    const dump = ['{"k":1,"a":null,"fixed":6}', `{"k":${big},"a":null,"fixed":null}`];
    assert.deepEqual(fold.compare(dump), { rows: 2, differences: [] });
    assert.equal(fold.records, 3);
    assert.deepEqual(Object.fromEntries(fold.counts), { INSERT: 2, UPDATE: 1 });
  });

  it('names every row that is missing, left over or different', () => {
    const fold = foldOf(START, ONE, row(2, RowOp.INSERT, [k(2n)]));
    assert.deepEqual(fold.compare(['{"k":1,"a":4,"fixed":6}', '{"k":9007199254740993,"a":1,"fixed":1}']).differences, [
      'different: 1 a is 5, the table has 4',
      'missing: {"k":9007199254740993,"a":1,"fixed":1}',
      'left over: 2',
    ]);
  });

  it('fills a row that an UPSERT makes with defaults, and lets an UPSERT_IGNORE change no immutable column', () => {
    const fold = foldOf(
      schema(0, 1, V1),
      row(1, RowOp.UPSERT, [k(1n), undefined, int32(3)], V1),
      row(2, RowOp.UPSERT_IGNORE, [k(1n), int32(8), int32(9)], V1),
      row(3, RowOp.UPSERT_IGNORE, [k(2n), int32(8), int32(9)], V1),
    );
    const dump = ['{"k":1,"renamed":8,"fixed":3,"b":1.0}', '{"k":2,"renamed":8,"fixed":9,"b":1}'];
    assert.deepEqual(fold.compare(dump).differences, []);
  });

  it('follows columns by their id over ALTERs', () => {
    const fold = foldOf(START, ONE, schema(2, 1, V1), row(3, RowOp.INSERT, [k(2n), int32(7)], V1));
    const dump = ['{"k":1,"renamed":5,"fixed":6,"b":-0.0}', '{"k":2,"renamed":7,"fixed":null,"b":1}'];
    assert.deepEqual(fold.compare(dump).differences, []);
    const again: TableSchema = { columns: [KEY, { ...A, id: 20, readDefault: int32(1) }, FIXED] };
    const dropped = foldOf(START, ONE, schema(2, 1, { columns: [KEY, FIXED] }), schema(3, 2, again));
    assert.deepEqual(dropped.compare(['{"k":1,"a":1,"fixed":6}']).differences, []);
  });

  it('finds the version by its columns where schema records come apart', () => {
    const fold = new TableFold();
    for (const { value } of [...START, ...schema(2, 1, V1)]) fold.addSchema(value!);
    for (const record of [...ONE, ...row(3, RowOp.INSERT, [k(2n), int32(7)], V1)]) fold.push(record);
    const dump = ['{"k":1,"renamed":5,"fixed":6,"b":-0.0}', '{"k":2,"renamed":7,"fixed":null,"b":1}'];
    assert.deepEqual(fold.compare(dump).differences, []);
    assert.throws(() => {
      fold.push(row(4, RowOp.UPDATE, [k(2n), int32(7)])[0]!);
    }, /no schema version/);
  });

  const BROKEN: [why: string, records: SinkRecord[][], error: RegExp][] = [
    ['a record twice', [START, ONE, ONE], /comes after/],
    ['records out of order', [START, row(3, RowOp.INSERT, [k(3n)]), ONE], /comes after/],
    ['an insert of a row that is there', [START, ONE, row(2, RowOp.INSERT, [k(1n)])], /row that is there/],
    ['an update of none', [START, row(2, RowOp.UPDATE, [k(1n), int32(1)])], /update of a row that is not there/],
    ['a delete of none', [START, row(2, RowOp.DELETE, [k(1n)])], /delete of a row that is not there/],
    ['a changed immutable column', [START, ONE, row(2, RowOp.UPSERT, [k(1n), null, int32(1)])], /may not change/],
    ['a lone tombstone', [START, ONE, row(2, RowOp.DELETE, [k(1n)]).slice(1)], /does not follow/],
    [
      'two tombstones',
      [START, ONE, row(2, RowOp.DELETE, [k(1n)]), row(2, RowOp.DELETE, [k(1n)]).slice(1)],
      /does not follow/,
    ],
    [
      'a position of another tablet',
      [START, ONE.map((r) => ({ ...r, position: 'tablet2/1.1.0' }))],
      /position and source/,
    ],
    ['a key of another row', [START, ONE.map((r) => ({ ...r, key: Buffer.from('{"k":2}') }))], /not that of the value/],
  ];
  for (const [why, records, error] of BROKEN)
    it(`throws at ${why}`, () => {
      assert.throws(() => foldOf(...records), error);
    });

  it('throws when a key changes its partition', () => {
    const fold = foldOf(START, ONE);
    assert.throws(() => {
      fold.push(row(2, RowOp.UPDATE, [k(1n), int32(1)])[0]!, 1);
    }, /was in partition 0/);
  });

  it('reads JSON without losing anything', () => {
    const text = '{"a":[1,-0.0,1e3,12345678901234567890,true,null,"x\\n\\ud834\\udd1e"],"b":{},"c":[]}';
    const a = [1n, -0, 1000, 12345678901234567890n, true, null, 'x\n𝄞'];
    assert.deepEqual(
      parseLossless(text),
      new Map<string, unknown>([
        ['a', a],
        ['b', new Map()],
        ['c', []],
      ]),
    );
    for (const bad of ['', '{', '{"a":1,"a":2}', '01', '1 ', '"\n"', '[1,]', 'nul'])
      assert.throws(() => parseLossless(bad), SyntaxError, bad);
  });
});
