import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RowOp } from '../../../src/change/change.ts';
import type { CellInput } from '../../../src/kudu/cell-codec.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { compileWhere, Truth } from '../../../src/selection/where.ts';
import { parseCondition, WhereError } from '../../../src/selection/where-syntax.ts';
import { imagedBatch } from '../../support/image-batches.ts';
import { column } from '../../support/row-bytes.ts';

const T = DataType;
const nullable = { nullable: true };
const SCHEMA: TableSchema = {
  columns: [
    column('k', T.INT8, { isKey: true }),
    column('i16', T.INT16, nullable),
    column('i32', T.INT32, nullable),
    column('i64', T.INT64, nullable),
    column('f', T.FLOAT, nullable),
    column('d', T.DOUBLE, nullable),
    column('flag', T.BOOL, nullable),
    column('s', T.STRING, nullable),
    column('v', T.VARCHAR, { nullable: true, length: 5 }),
    column('b', T.BINARY, nullable),
    column('d32', T.DECIMAL32, { nullable: true, precision: 9, scale: 2 }),
    column('d64', T.DECIMAL64, { nullable: true, precision: 18, scale: 2 }),
    column('d128', T.DECIMAL128, { nullable: true, precision: 38, scale: 2 }),
    column('day', T.DATE, nullable),
    column('at', T.UNIXTIME_MICROS, nullable),
    column('odd "name`', T.STRING, nullable),
  ],
};

function truth(where: string, values: Readonly<Record<string, CellInput>>): Truth {
  const batch = imagedBatch(SCHEMA, [{ op: RowOp.INSERT, values: { k: 1, ...values } }]);
  return compileWhere(parseCondition(where), SCHEMA)(batch, 0, batch.cells);
}

const TRUE: readonly (readonly [string, Readonly<Record<string, CellInput>>])[] = [
  ['k = 1 and not k<>1', {}],
  ['1 >= k AND 0 < k', {}],
  ['k != 1 OR (k = 1 AND k IN (3, 2, +1))', {}],
  ['i16 < -5', { i16: -32768 }],
  ['i32 <= 2147483647 AND i32 > -2147483648', { i32: 2147483647 }],
  ['i64 > 9007199254740992 AND i64 < 9007199254740994', { i64: 9007199254740993n }],
  ['i64 = -9223372036854775808', { i64: -(2n ** 63n) }],
  ['f = 0.1', { f: 0.1 }],
  ['d > 1e300 AND d != 1', { d: Number.POSITIVE_INFINITY }],
  ['d != 1', { d: NaN }],
  ['d = 0', { d: -0 }],
  ['flag = TRUE', { flag: true }],
  ['flag != true', { flag: false }],
  ["s = 'it''s' AND s < 'ju' AND s LIKE 'i_''%'", { s: "it's" }],
  ["s > 'Z'", { s: 'é' }],
  ["s LIKE '%b%d' AND s NOT LIKE 'b%' AND NOT s LIKE '_'", { s: 'abcd' }],
  ["s LIKE '_😀_' AND s LIKE '___'", { s: 'é😀x' }],
  ["s LIKE '100\\%'", { s: '100%' }],
  ["s LIKE ''", { s: '' }],
  ["v LIKE '%' AND v >= 'ab'", { v: 'abc' }],
  ["b = X'00ff' AND b < x'0100'", { b: Buffer.from('00ff', 'hex') }],
  ['d32 = -1.5 AND d32 < 0', { d32: '-1.50' }],
  ['d64 > 99999999999999.98', { d64: '99999999999999.99' }],
  ['d128 < -99999999999999999999.5', { d128: '-999999999999999999999.00' }],
  ['d128 BETWEEN 18446744073709551616 AND 18446744073709551617', { d128: '18446744073709551616.01' }],
  ["day >= '2026-01-31' AND day < 20485", { day: 20484 }],
  ["at = '2026-01-31T12:00:00.5Z' AND at > '2026-01-31' AND at < '2026-01-31 12:01'", { at: 1769860800500000n }],
  ['at = 1769860800500000', { at: 1769860800500000n }],
  ['s IS NULL AND k IS NOT NULL', {}],
  ['"odd ""name`" = \'x\' AND `odd "name``` IS NOT NULL', { 'odd "name`': 'x' }],
  ["s = 'x' OR k = 1", { s: null }],
];
const UNKNOWN = [
  "s = 'x'",
  "NOT s = 'x'",
  "s != 'x' AND k = 1",
  "s NOT IN ('a')",
  "s NOT LIKE 'a'",
  "s = 'x' OR k = 2",
  'i64 NOT BETWEEN 1 AND 2',
];
const WRONG: readonly (readonly [string, RegExp])[] = [
  ['', /^character 1: the end where a column is wanted/],
  ['k', /^character 2: the end where a comparison/],
  ['k = ', /^character 4: the end where a value is wanted/],
  ['k = 1 k', /^character 7: "k" where AND, OR or the end/],
  ['(k = 1', /^character 7: the end where "\)"/],
  ['k = NULL', /^character 5: nothing compares with NULL: use IS NULL/],
  ['k IN ()', /^character 7: "\)" where a value/],
  ['k NOT 1', /^character 7: "1" where IN, LIKE or BETWEEN/],
  ['k = i16', /^character 5: "i16" where a value/],
  ["s = 'x", /^character 5: a ' that is not closed/],
  ['k = 1; DROP', /^character 6: ";" means nothing here/],
  ['K = 1', /^character 1: the table has no column "K"/],
  ['k = 128', /^character 5: column "k" takes within 8 bits/],
  ['k = 1.5', /^character 5: column "k" takes a whole number/],
  ['i64 = 9223372036854775808', /^character 7: column "i64" takes within 64 bits/],
  ['s = 1', /^character 5: column "s" takes a text in single quotes/],
  ["v = 'abcdef'", /^character 5: column "v" takes at most 5 characters/],
  ['d32 = 1.005', /^character 7: .* 9 digits, 2 after the point/],
  ['flag = 1', /^character 8: column "flag" takes TRUE or FALSE/],
  ['flag < TRUE', /^character 8: a BOOL is compared by = and != alone/],
  ["day = '2026-02-30'", /^character 7: column "day" takes a day/],
  ["at = '2026-01-31T25:00'", /^character 6: column "at" takes a time in UTC/],
  ["k LIKE '1'", /^character 1: LIKE is for STRING/],
  ["s LIKE 'a\\'", /^character 8: a pattern ends in/],
  [`${'('.repeat(101)}k = 1`, /more than 100 levels/],
  ["b = X'0'", /^character 5: column "b" takes bytes in hexadecimal/],
];

describe('a condition', () => {
  for (const [where, values] of TRUE)
    it(`holds: ${where}`, () => {
      assert.equal(truth(where, values), Truth.TRUE);
      assert.equal(truth(`NOT (${where})`, values), Truth.FALSE);
    });

  for (const where of UNKNOWN)
    it(`is neither true nor false of a null: ${where}`, () => {
      assert.equal(truth(where, { s: null, i64: null }), Truth.UNKNOWN);
    });

  it('is not true of NaN but by !=', () => {
    for (const by of ['=', '<', '<=', '>', '>=']) assert.equal(truth(`d ${by} 1`, { d: NaN }), Truth.FALSE, by);
  });

  for (const [where, says] of WRONG)
    it(`is none, and says where: ${where.slice(0, 40)}`, () => {
      assert.throws(
        () => compileWhere(parseCondition(where), SCHEMA),
        (error) => error instanceof WhereError && says.test(error.message),
      );
    });

  it('takes a pattern of many stars over a long text in a moment', () => {
    assert.equal(truth(`s LIKE '${'%a'.repeat(50)}b'`, { s: 'a'.repeat(20_000) }), Truth.FALSE);
  });
});
