import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RecordOp, type DecodedRecord, type RowRecord, type TombstoneRecord } from '../../../src/formats/decoder.ts';
import { jsonDecoder } from '../../../src/formats/json-decode.ts';
import { encodeSchemaChange, encodeTabletEvent } from '../../../src/formats/json-schema.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { column, float64, int64 } from '../../support/row-bytes.ts';

const decoder = jsonDecoder('s');
const KEY = column('id', DataType.INT64, { isKey: true, id: 0 });
const POSITION = 't/3.7.2';

const sourceOf = (more: object = {}): object => ({
  name: 's',
  snapshot: 'false',
  table_id: 'table',
  tablet_id: 't',
  term: 3,
  index: 7,
  row: 2,
  hybrid_time: '7353716506897408000',
  kudu_op: 'INSERT',
  ...more,
});
const INSERT = { op: 'c', before: null, after: { id: 5, a: 'x\\y', f: 1.5 }, source: sourceOf() };

function decode(value: object | string | null, key: string | null = '{"id":5}'): DecodedRecord {
  const text = typeof value === 'object' && value !== null ? JSON.stringify(value) : value;
  return decoder.decode({
    key: key === null ? null : Buffer.from(key),
    value: text === null ? null : Buffer.from(text),
    position: POSITION,
  });
}

function rowOf(value: object, key?: string | null): RowRecord {
  const decoded = decode(value, key);
  assert.ok(decoded.kind === 'row');
  return decoded;
}

describe('a JSON record', () => {
  it('says which row of which operation it is of, and has its cells by their names', () => {
    const { tableId, tabletId, op, term, index, row, time, cells } = rowOf(INSERT);
    assert.deepEqual(
      { tableId, tabletId, op, term, index, row, time },
      {
        tableId: 'table',
        tabletId: 't',
        op: RecordOp.INSERT,
        term: 3,
        index: 7,
        row: 2,
        time: 7353716506897408000n,
      },
    );
    assert.deepEqual([cells.names, cells.has('a'), cells.has('b')], [['id', 'a', 'f'], true, false]);
    assert.deepEqual([cells.fits('a', DataType.STRING), cells.fits('a', DataType.INT32)], [true, false]);
    assert.equal(decoder.canonical({ type: DataType.STRING }, Buffer.from(cells.textOf('a'))).toString(), '"x\\\\y"');
    assert.equal(decoder.canonical({ type: DataType.DOUBLE }, Buffer.from('1.50')).toString(), '1.5');
    assert.deepEqual(cells.keyCell(KEY), int64(5n));
  });

  for (const [op, source, is] of [
    ['u', { kudu_op: 'UPDATE_IGNORE' }, RecordOp.UPDATE],
    ['u', { kudu_op: 'UPSERT' }, RecordOp.UPSERT],
    ['u', { kudu_op: 'UPSERT_IGNORE' }, RecordOp.UPSERT_IGNORE],
    ['u', { kudu_op: undefined }, RecordOp.UPDATE],
    ['d', { kudu_op: 'DELETE' }, RecordOp.DELETE],
    ['c', { kudu_op: 'UPSERT' }, RecordOp.INSERT],
    ['d', { snapshot: 'true', row: null, kudu_op: null }, RecordOp.COPY_DELETE],
    ['d', { snapshot: 'incremental', row: null, kudu_op: null }, RecordOp.COPY_DELETE],
    ['r', { snapshot: 'true', row: null, kudu_op: null }, RecordOp.COPY],
    ['r', { snapshot: 'incremental', row: null, kudu_op: null }, RecordOp.COPY],
    ['d', { snapshot: true, row: null, kudu_op: null }, RecordOp.COPY_DELETE], // as version 0.1 wrote it
  ] as const)
    it(`of op ${op} with ${JSON.stringify(source)} is of operation ${is}`, () => {
      const [before, after] = op === 'd' ? [{ id: 5 }, null] : [null, { id: 5, a: 1 }];
      const record = rowOf({ op, before, after, source: sourceOf(source) });
      assert.deepEqual([record.op, record.row], [is, 'row' in source ? 0 : 2]);
      assert.deepEqual(record.cells.names, op === 'd' ? ['id'] : ['id', 'a']);
    });

  it('is the whole row where it is inserted or copied, and where the stream has such images and this one is not partial', () => {
    const whole = jsonDecoder('s', 'after');
    const isWhole = (op: string, source: object, by = whole): boolean => {
      const value = { op, before: null, after: { id: 5, a: 1 }, source: sourceOf(source) };
      const decoded = by.decode({ key: null, value: Buffer.from(JSON.stringify(value)), position: POSITION });
      return decoded.kind === 'row' && decoded.isWhole;
    };
    const update = { kudu_op: 'UPDATE' };
    assert.deepEqual([isWhole('u', update), isWhole('u', update, decoder)], [true, false]);
    assert.equal(isWhole('u', { ...update, image: 'partial' }), false);
    assert.deepEqual([isWhole('c', {}, decoder), isWhole('r', { snapshot: 'true' }, decoder)], [true, true]);
  });

  it('has the key of its own image, whatever the other one begins with', () => {
    const record = { op: 'u', before: { id: 5, a: 1 }, after: { id: 6, a: 1 }, source: sourceOf() };
    rowOf(record, '{"id":6}').checkKey([KEY]);
    assert.throws(() => {
      rowOf(record, '{"id":5}').checkKey([KEY]);
    }, /its key is not that of its value/);
  });

  it('is of no row where it is a mark, or has neither key nor value', () => {
    assert.equal(decode({ resolved: '1', source: 'none' }).kind, 'mark');
    assert.equal(decode(null, null).kind, 'mark');
  });

  it('of another stream says of which tablet it is, and is not looked at', () => {
    const source = { name: 'other', tablet_id: 't' };
    assert.deepEqual(decode({ op: 'strange', source }), { kind: 'foreign', tabletId: 't' });
  });

  it('without value has the cells of its key', () => {
    const decoded = decode(null) as TombstoneRecord;
    assert.deepEqual([decoded.kind, decoded.cells.names, decoded.cells.keyCell(KEY)], ['tombstone', ['id'], int64(5n)]);
  });

  it('has the key of its value, in whatever order and with whatever space', () => {
    const twoKeys = [KEY, column('k', DataType.STRING, { isKey: true })];
    const record = { ...INSERT, after: { id: 5, k: 'x', a: 1 } };
    for (const key of ['{"id":5,"k":"x"}', ' { "k":"x", "id": 5 }', null]) rowOf(record, key).checkKey(twoKeys);
    for (const key of ['{"k":"x"}', '{"id":6,"k":"x"}', '{"id":5,"k":"x","b":1}'])
      assert.throws(() => {
        rowOf(record, key).checkKey(twoKeys);
      }, /^SyntaxError: its key is not that of its value$/);
  });

  it('is read no further than it is asked for, and what is wrong in it has words without its values', () => {
    const broken = { op: 'z', after: 'secret', source: sourceOf({ index: 1.5, term: '3', row: 'x' }) };
    const record = rowOf(broken);
    assert.equal(record.tableId, 'table');
    const says = (read: () => unknown, message: string): void => {
      assert.throws(read, { name: 'SyntaxError', message });
    };
    says(() => record.op, 'an operation that is none');
    says(() => record.index, 'a whole number is missing');
    says(() => record.term, 'a whole number is missing');
    says(() => record.cells, 'an object is missing');
    says(() => decode('{"source":7}'), 'an object is missing');
    says(() => decode({ source: {} }), 'a value is missing');
    says(() => decode({ source: { tablet_id: 5 } }), 'a text is missing');
    says(() => decode('secret'), 'not JSON: no value at character 0');
    const nested = rowOf({ ...INSERT, after: { id: { secret: 5 } } }).cells;
    assert.equal(nested.fits('id', DataType.INT64), false);
    says(() => nested.textOf('id'), 'a value is missing');
    says(() => nested.keyCell(KEY), 'a value is missing');
    const tombstone = decode(null, '{bad') as TombstoneRecord;
    says(() => tombstone.cells, 'not JSON: no name at character 1');
  });
});

describe('a JSON record of the schema changes', () => {
  const decodeSchema = (value: Buffer | null) => decoder.decodeSchema({ key: null, value, position: null });
  const tablet = { tableId: 'table', tabletId: 't', tableName: 'new' };
  const place = { tableId: 'table', tabletId: 't', index: 7, time: 5n };
  const opId = { term: 3n, index: 7n };

  it('has a version of the table, and what an ALTER found', () => {
    const columns = [KEY, column('f', DataType.DOUBLE, { id: 1, immutable: true, writeDefault: float64(-0) })];
    const before = { tableName: 'old', schema: { columns: [KEY] } };
    const after = { tableName: 'new', schema: { columns } };
    const change = { kind: 'schema', tablet, opId, hybridTime: 5n, version: 2, before, after } as const;
    const id = {
      id: 0,
      name: 'id',
      type: DataType.INT64,
      isKey: true,
      immutable: false,
      writeDefault: Buffer.from('null'),
    };
    const f = {
      id: 1,
      name: 'f',
      type: DataType.DOUBLE,
      isKey: false,
      immutable: true,
      writeDefault: Buffer.from('-0'),
    };
    const decoded = { kind: 'schema', ...place, version: 2, after: { name: 'new', columns: [id, f] } };
    assert.deepEqual(decodeSchema(encodeSchemaChange(change).value), {
      ...decoded,
      before: { name: 'old', columns: [id] },
    });
    assert.deepEqual(decodeSchema(encodeSchemaChange({ ...change, before: null }).value), { ...decoded, before: null });
  });

  it('or says what befell a tablet', () => {
    const event = 'recopied' as const;
    const { value } = encodeTabletEvent({
      kind: 'event',
      event,
      tablet,
      opId,
      hybridTime: 5n,
      partition: null,
      missing: null,
    });
    assert.deepEqual(decodeSchema(value), { kind: 'event', ...place, event });
  });

  it('or says nothing, or is none', () => {
    assert.equal(decodeSchema(null), null);
    for (const text of ['{"table_id":"table"}', '[]', 'x'])
      assert.throws(() => decodeSchema(Buffer.from(text)), SyntaxError);
  });
});
