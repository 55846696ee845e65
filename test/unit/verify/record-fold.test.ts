import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { VersionColumn } from '../../../src/formats/decoder.ts';
import { jsonDecoder } from '../../../src/formats/json-decode.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import {
  FoldOp,
  OneOf,
  RecordFold,
  type FoldCut,
  type FoldRecord,
  type FoldState,
} from '../../../src/verify/record-fold.ts';
import type { Version } from '../../../src/verify/version.ts';

function columnOf(id: number, name: string, more: Partial<VersionColumn> = {}): VersionColumn {
  return {
    id,
    name,
    type: DataType.INT32,
    isKey: id === 0,
    immutable: false,
    writeDefault: Buffer.from('null'),
    ...more,
  };
}

function versionOf(version: number, ...columns: VersionColumn[]): Version {
  return { version, columns, byName: new Map(columns.map((c) => [c.name, c])), keys: [], since: 0n, alteredAt: null };
}

const K = columnOf(0, 'k');
const A = columnOf(1, 'a', { writeDefault: Buffer.from('7') });
const FIXED = columnOf(2, 'fixed', { immutable: true, writeDefault: Buffer.from('8') });
const V1 = versionOf(1, K, A, FIXED);
const V2 = versionOf(2, K, { ...A, name: 'b' }, columnOf(3, 'a', { writeDefault: Buffer.from('9') }));

const DECODER = jsonDecoder('s');

let index = 0;
function record(op: FoldOp, cells: Record<string, unknown>, more: Partial<FoldRecord> = {}): FoldRecord {
  const raw = new Map(Object.entries({ k: 1, ...cells }).map(([name, value]) => [name, Buffer.from(String(value))]));
  index++;
  const isWhole = op === FoldOp.INSERT || op === FoldOp.COPY;
  return { op, index, row: 0, time: BigInt(index), versions: [V1], cells: raw, isReadable: true, isWhole, ...more };
}

function show(state: FoldState): unknown {
  if (state.kind !== 'row') return state.kind;
  const texts = [...state.cells].map(([id, cell]) => [
    id,
    cell instanceof OneOf ? cell.values.map((value) => value?.toString() ?? 'read default') : cell.toString(),
  ]);
  return { ...Object.fromEntries(texts), ...(state.isComplete ? {} : { partial: true }) };
}

const INSERT = record(FoldOp.INSERT, { a: 5, fixed: 6 });
const DELETE = record(FoldOp.DELETE, {});
const UPDATE = record(FoldOp.UPDATE, { a: 4 });
const UPSERT = record(FoldOp.UPSERT, { a: 3 });
const ONLY_KEY = new Map([['k', Buffer.from('1')]]);
const ROW = { 0: '1', 1: '5', 2: '6' };

describe('the fold of one key', () => {
  const CASES: { why: string; records: FoldRecord[]; is: unknown; ofNow?: unknown }[] = [
    { why: 'no record', records: [], is: 'absent', ofNow: 'unknown' },
    { why: 'an insert is the whole row', records: [INSERT], is: ROW },
    { why: 'an update sets what it names', records: [INSERT, UPDATE], is: { ...ROW, 1: '4' } },
    { why: 'a delete removes', records: [INSERT, DELETE], is: 'absent' },
    {
      why: 'an update of nothing is one that comes again',
      records: [UPDATE],
      is: 'absent',
      ofNow: { 0: '1', 1: '4', partial: true },
    },
    {
      why: 'an upsert of nothing takes defaults',
      records: [UPSERT],
      is: { 0: '1', 1: '3', 2: '8' },
      ofNow: { 0: '1', 1: '3', partial: true },
    },
    { why: 'an upsert of a row sets what it names', records: [INSERT, UPSERT], is: { ...ROW, 1: '3' } },
    {
      why: 'an upsert behind a delete is of nothing',
      records: [DELETE, UPSERT],
      is: { 0: '1', 1: '3', 2: '8' },
    },
    {
      why: 'an UPSERT_IGNORE of a row leaves what is immutable',
      records: [INSERT, record(FoldOp.UPSERT_IGNORE, { a: 2, fixed: 1 })],
      is: { ...ROW, 1: '2' },
    },
    {
      why: 'an UPSERT_IGNORE of nothing sets it; of who knows what, not',
      records: [record(FoldOp.UPSERT_IGNORE, { a: 2, fixed: 1 })],
      is: { 0: '1', 1: '2', 2: '1' },
      ofNow: { 0: '1', 1: '2', partial: true },
    },
    { why: 'a row of a copy is the whole row', records: [UPSERT, record(FoldOp.COPY, { a: 5, fixed: 6 })], is: ROW },
    { why: 'a repair says what was deleted', records: [INSERT, record(FoldOp.COPY_DELETE, {})], is: 'absent' },
    { why: 'a tombstone removes, whoever put it there', records: [INSERT, record(FoldOp.TOMBSTONE, {})], is: 'absent' },
    { why: 'an older record that comes last is the last word', records: [DELETE, INSERT], is: ROW },
    {
      why: 'columns go by their ids over a rename',
      records: [INSERT, record(FoldOp.UPDATE, { b: 1, a: 2 }, { versions: [V2] })],
      is: { 0: '1', 1: '1', 2: '6', 3: '2' },
    },
    {
      why: 'of two versions that it may be, both count',
      records: [INSERT, record(FoldOp.UPDATE, { a: 2 }, { versions: [V1, V2] })],
      is: { 0: '1', 1: ['2', '5'], 2: '6', 3: ['read default', '2'] },
    },
    {
      why: 'and what comes later makes it certain',
      records: [
        INSERT,
        record(FoldOp.UPDATE, { a: 2 }, { versions: [V1, V2] }),
        record(FoldOp.UPDATE, { b: 1, a: 0 }, { versions: [V2] }),
      ],
      is: { 0: '1', 1: '1', 2: '6', 3: '0' },
    },
    {
      why: 'so do defaults of either version',
      records: [record(FoldOp.UPSERT, {}, { versions: [V1, V2] })],
      is: { 0: '1', 1: '7', 2: ['8', 'read default'], 3: ['read default', '9'] },
      ofNow: { 0: '1', partial: true },
    },
    {
      why: 'of a row with a record that cannot be read only the key is known',
      records: [INSERT, { ...UPSERT, isReadable: false, cells: ONLY_KEY }],
      is: { 0: '1', partial: true },
    },
    {
      why: 'and what is set behind it',
      records: [{ ...INSERT, isReadable: false, cells: ONLY_KEY }, UPSERT],
      is: { 0: '1', 1: '3', partial: true },
    },
  ];
  for (const { why, records, is, ofNow } of CASES)
    it(why, () => {
      for (const [base, expected] of [
        ['absent', is],
        ['unknown', ofNow ?? is],
      ] as const) {
        const fold = new RecordFold(base, [], DECODER);
        for (const each of records) fold.push(each);
        assert.deepEqual(show(fold.end().state), expected, `base ${base}`);
      }
    });

  it('takes numbers with a point and escaped texts in their one form', () => {
    const version = versionOf(
      1,
      K,
      columnOf(1, 'a', { type: DataType.DOUBLE }),
      columnOf(2, 'b', { type: DataType.STRING }),
    );
    const fold = new RecordFold('absent', [], DECODER);
    fold.push(record(FoldOp.INSERT, { a: '1e2', b: '"\\u0061"' }, { versions: [version] }));
    assert.deepEqual(show(fold.end().state), { 0: '1', 1: '100', 2: '"a"' });
  });

  it('counts records whose position does not rise', () => {
    const fold = new RecordFold('absent', [], DECODER);
    const copy = record(FoldOp.COPY, { a: 5, fixed: 6 });
    for (const each of [INSERT, UPDATE, INSERT, UPDATE, copy, copy, record(FoldOp.UPDATE, { a: 1 })]) fold.push(each);
    assert.equal(fold.repeats, 3);
  });
});

it('a record that a rewind has brought again is no repeat, and one outside of what it told is', () => {
  const fold = new RecordFold('absent', [], DECODER, [{ fromIndex: 5, index: 9 }]);
  const update = (index: number): FoldRecord => record(FoldOp.UPDATE, { a: 1 }, { index });
  for (const each of [INSERT, update(5), update(8), update(5), update(8)]) fold.push(each);
  assert.equal(fold.repeats, 0);
  for (const each of [update(9), update(4), update(9)]) fold.push(each);
  assert.equal(fold.repeats, 2);
});

describe('records that cannot be read', () => {
  const unreadable = (op: FoldOp, more: Partial<FoldRecord> = {}): FoldRecord =>
    record(op, {}, { isReadable: false, cells: ONLY_KEY, ...more });
  const CASES: { why: string; records: FoldRecord[]; cuts?: FoldCut[]; is: number }[] = [
    { why: 'count', records: [INSERT, unreadable(FoldOp.UPDATE), UPDATE, unreadable(FoldOp.UPSERT)], is: 2 },
    { why: 'not before a whole row', records: [unreadable(FoldOp.INSERT), record(FoldOp.COPY, { a: 5 })], is: 0 },
    {
      why: 'not before one that cannot be read either',
      records: [unreadable(FoldOp.UPDATE), unreadable(FoldOp.INSERT)],
      is: 1,
    },
    { why: 'not before a delete', records: [unreadable(FoldOp.INSERT), record(FoldOp.DELETE, {})], is: 0 },
    { why: 'not of an update that comes again behind a delete', records: [DELETE, unreadable(FoldOp.UPDATE)], is: 0 },
    {
      why: 'not before a copy that has not the row',
      records: [unreadable(FoldOp.INSERT, { index: 10, time: 100n })],
      cuts: [{ index: 50, time: 1000n, isCertain: true }],
      is: 0,
    },
  ];
  for (const { why, records, cuts = [], is } of CASES)
    it(why, () => {
      const fold = new RecordFold('absent', cuts, DECODER);
      for (const each of records) fold.push(each);
      fold.end();
      assert.equal(fold.unreadable, is);
    });
});

describe('a tablet that was copied again', () => {
  const cut = (isCertain = true): FoldCut => ({ index: 50, time: 1000n, isCertain });
  const at = (op: FoldOp, index: number, time: bigint, cells = {}): FoldRecord => record(op, cells, { index, time });
  const OLD = at(FoldOp.INSERT, 10, 100n, { a: 5, fixed: 6 });
  const CASES: { why: string; records: FoldRecord[]; is: unknown }[] = [
    { why: 'has nothing of a row that no record tells of since', records: [OLD], is: 'absent' },
    {
      why: 'has what the copy has',
      records: [OLD, at(FoldOp.COPY, 50, 1000n, { a: 1, fixed: 2 })],
      is: { 0: '1', 1: '1', 2: '2' },
    },
    {
      why: 'has nothing left that an upsert behind the cut could keep',
      records: [OLD, at(FoldOp.UPSERT, 60, 2000n, { a: 4 })],
      is: { 0: '1', 1: '4', 2: '8' },
    },
    {
      why: 'keeps a row of the copy when operations before the cut come again',
      records: [at(FoldOp.COPY, 50, 1000n, { a: 1, fixed: 2 }), at(FoldOp.UPDATE, 49, 999n, { a: 1 })],
      is: { 0: '1', 1: '1', 2: '2' },
    },
    {
      why: 'keeps what lies before the cut in the log and behind it in time',
      records: [OLD, at(FoldOp.INSERT, 49, 1001n, { a: 3, fixed: 3 })],
      is: { 0: '1', 1: '3', 2: '3' },
    },
  ];
  for (const { why, records, is } of CASES)
    it(why, () => {
      const fold = new RecordFold('absent', [cut()], DECODER);
      for (const each of records) fold.push(each);
      assert.deepEqual(show(fold.end().state), is);
    });

  it('may have lost a row where the copy may be of another stream', () => {
    const fold = new RecordFold('absent', [cut(false)], DECODER);
    fold.push(OLD);
    assert.deepEqual([show(fold.end().state), fold.end().mayBeGone], [ROW, true]);
    fold.push(at(FoldOp.UPDATE, 60, 2000n, { a: 4 }));
    assert.equal(fold.end().mayBeGone, false);
  });
});
