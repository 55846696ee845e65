import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { cellCodec, defaultToJson } from '../../../src/formats/json-cells.ts';
import { DataType, type ColumnSchema } from '../../../src/kudu/schema.ts';
import { column, float32, float64, int32, int64, int128 } from '../../support/row-bytes.ts';

const T = DataType;
const int16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16LE(value);
  return bytes;
};
const utf8 = (text: string): Buffer => Buffer.from(text);
const decimal = (type: DataType, scale: number): ColumnSchema => column('d', type, { precision: 9, scale });

const CASES: readonly [column: ColumnSchema, cell: Buffer, json: string][] = [
  [column('b', T.BOOL), Buffer.of(0), 'false'],
  [column('b', T.BOOL), Buffer.of(1), 'true'],
  [column('i', T.INT8), Buffer.of(0x80), '-128'],
  [column('i', T.INT8), Buffer.of(0x7f), '127'],
  [column('i', T.INT16), int16(-32768), '-32768'],
  [column('i', T.INT16), int16(32767), '32767'],
  [column('i', T.INT32), int32(-2147483648), '-2147483648'],
  [column('i', T.INT32), int32(2147483647), '2147483647'],
  [column('i', T.INT64), int64(-(2n ** 63n)), '-9223372036854775808'],
  [column('i', T.INT64), int64(2n ** 63n - 1n), '9223372036854775807'],
  [column('i', T.INT64), int64(2n ** 53n + 1n), '9007199254740993'],
  [column('t', T.UNIXTIME_MICROS), int64(-1n), '-1'],
  [column('t', T.DATE), int32(-719162), '-719162'],
  [column('f', T.FLOAT), float32(0.1), '0.10000000149011612'],
  [column('f', T.FLOAT), float32(3.4028234663852886e38), '3.4028234663852886e+38'],
  [column('f', T.FLOAT), float32(1.401298464324817e-45), '1.401298464324817e-45'],
  [column('f', T.FLOAT), float32(-0), '-0.0'],
  [column('f', T.FLOAT), float32(Number.NaN), '"NaN"'],
  [column('f', T.DOUBLE), float64(0.1), '0.1'],
  [column('f', T.DOUBLE), float64(0), '0'],
  [column('f', T.DOUBLE), float64(-0), '-0.0'],
  [column('f', T.DOUBLE), float64(1e21), '1e+21'],
  [column('f', T.DOUBLE), float64(Number.MAX_VALUE), '1.7976931348623157e+308'],
  [column('f', T.DOUBLE), float64(-Number.MIN_VALUE), '-5e-324'],
  [column('f', T.DOUBLE), float64(-2.2250738585072014e-308), '-2.2250738585072014e-308'],
  [column('f', T.DOUBLE), float64(Number.POSITIVE_INFINITY), '"Infinity"'],
  [column('f', T.DOUBLE), float64(Number.NEGATIVE_INFINITY), '"-Infinity"'],
  [decimal(T.DECIMAL32, 0), int32(-7), '"-7"'],
  [decimal(T.DECIMAL32, 2), int32(0), '"0.00"'],
  [decimal(T.DECIMAL32, 2), int32(-5), '"-0.05"'],
  [decimal(T.DECIMAL32, 2), int32(123456), '"1234.56"'],
  [decimal(T.DECIMAL32, 9), int32(-999999999), '"-0.999999999"'],
  [decimal(T.DECIMAL64, 4), int64(-1n), '"-0.0001"'],
  [decimal(T.DECIMAL64, 0), int64(999999999999999999n), '"999999999999999999"'],
  [decimal(T.DECIMAL64, 18), int64(-999999999999999999n), '"-0.999999999999999999"'],
  [decimal(T.DECIMAL128, 38), int128(-1n), `"-0.${'0'.repeat(37)}1"`],
  [decimal(T.DECIMAL128, 2), int128(-(10n ** 38n) + 1n), `"-${'9'.repeat(36)}.99"`],
  [decimal(T.DECIMAL128, 0), int128(-(2n ** 64n)), '"-18446744073709551616"'],
  [decimal(T.DECIMAL128, 0), int128(2n ** 63n), '"9223372036854775808"'],
  // The server does not check a decimal's precision (kudu-facts trap 24): all 128 bits must fit.
  [decimal(T.DECIMAL128, 1), int128(-(2n ** 127n)), '"-17014118346046923173168730371588410572.8"'],
  [column('s', T.STRING), utf8(''), '""'],
  [column('s', T.STRING), utf8('é😀"\n'), '"é😀\\"\\n"'],
  [column('s', T.VARCHAR, { length: 2 }), utf8('longer than two'), '"longer than two"'],
  [column('x', T.BINARY), Buffer.of(0, 255, 1), '"AP8B"'],
  [column('x', T.BINARY), utf8(''), '""'],
];

describe('json cells', () => {
  for (const [col, cell, json] of CASES)
    it(`writes ${Object.keys(T).find((name) => T[name as keyof typeof T] === col.type)} as ${json}`, () => {
      assert.equal(defaultToJson(col, cell).toString(), json);
      assert.doesNotThrow(() => JSON.parse(json) as unknown);
    });

  it('reads a cell anywhere in the rows, and a string anywhere in the indirect bytes', () => {
    const rows = Buffer.concat([Buffer.from('xxx'), int64(3n), int64(4n)]);
    const out = Buffer.alloc(40);
    const end = cellCodec(column('s', T.STRING)).write(out, 5, rows, 3, Buffer.from('abcdefghij'));
    assert.equal(out.toString('utf8', 5, end), '"defg"');
  });

  it('never needs more room than it says', () => {
    for (const [col, cell] of CASES) {
      const { maxBytesOf } = cellCodec(col);
      assert.ok(defaultToJson(col, cell).length <= maxBytesOf(cell.length), col.name);
    }
  });

  it('writes every double as the shortest text that gives it back', () => {
    fc.assert(
      fc.property(fc.double(), (value) => {
        const parsed: unknown = JSON.parse(defaultToJson(column('f', T.DOUBLE), float64(value)).toString());
        assert.ok(Object.is(typeof parsed === 'string' ? Number(parsed) : parsed, value), String(value));
      }),
      { numRuns: 2000 },
    );
  });

  it('writes decimals of every size and scale as their exact value', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n }), fc.nat({ max: 38 }), (unscaled, scale) => {
        const text = JSON.parse(defaultToJson(decimal(T.DECIMAL128, scale), int128(unscaled)).toString()) as string;
        assert.match(text, scale === 0 ? /^-?\d+$/ : new RegExp(`^-?\\d+\\.\\d{${scale}}$`));
        assert.match(text, /^-?(0|[1-9]\d*)(\.|$)/, 'no needless leading zero');
        assert.equal(BigInt(text.replace('.', '')), unscaled);
        assert.equal(text.startsWith('-'), unscaled < 0n);
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses types that no client can make', () => {
    for (const type of [T.UINT8, T.INT128, T.IS_DELETED]) assert.throws(() => cellCodec(column('c', type)), RangeError);
  });
});
