import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultToJson } from '../../../src/formats/json-cells.ts';
import { canonicalText, isOfType, keyCell } from '../../../src/formats/json-values.ts';
import { encodeKeyCells } from '../../../src/kudu/key-encoder.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { column, int128, int32, int64 } from '../../support/row-bytes.ts';

describe('canonicalText', () => {
  const CASES: [type: DataType, raw: string, text: string][] = [
    [DataType.INT64, '9007199254740993', '9007199254740993'],
    [DataType.DOUBLE, '-0.0', '-0'],
    [DataType.DOUBLE, '1e3', '1000'],
    [DataType.FLOAT, '0.10000000149011612', '0.10000000149011612'],
    [DataType.DOUBLE, '"NaN"', 'NaN'],
    [DataType.DOUBLE, '"-Infinity"', '-Infinity'],
    [DataType.DOUBLE, '"text"', '"text"'],
    [DataType.DOUBLE, 'null', 'null'],
    [DataType.STRING, '"\\u0061\\u00e9\\/"', '"aé/"'],
    [DataType.STRING, '"\\udc80\\n"', '"\\udc80\\n"'],
    [DataType.DECIMAL64, '"-0.05"', '"-0.05"'],
  ];
  for (const [type, raw, text] of CASES)
    it(`of ${raw} is ${text}`, () => {
      assert.equal(canonicalText(type, raw), text);
    });
});

describe('isOfType', () => {
  const RAWS = ['null', 'true', '12', '-1.5', '1e3', '"NaN"', '"-0.05"', '"text"'];
  const CASES: [type: keyof typeof DataType, of: string[]][] = [
    ['BOOL', ['true']],
    ['INT64', ['12']],
    ['DATE', ['12']],
    ['DOUBLE', ['12', '-1.5', '1e3', '"NaN"']],
    ['DECIMAL64', ['"-0.05"']],
    ['STRING', ['"NaN"', '"-0.05"', '"text"']],
    ['BINARY', ['"NaN"', '"-0.05"', '"text"']],
    ['IS_DELETED', []],
  ];
  for (const [type, of] of CASES)
    it(`of ${type}: null and ${of.join(', ')}`, () => {
      assert.deepEqual(
        RAWS.filter((raw) => isOfType(DataType[type], raw)),
        ['null', ...of],
      );
    });
});

describe('keyCell', () => {
  const decimal = { precision: 4, scale: 2 };
  const CASES: [why: string, type: DataType, cell: Buffer, more?: object][] = [
    ['a byte', DataType.INT8, Buffer.from([0x80])],
    ['a number below zero', DataType.INT32, int32(-2)],
    ['a number beyond 2^53', DataType.INT64, int64(-(2n ** 63n))],
    ['days', DataType.DATE, int32(-719_162)],
    ['a decimal', DataType.DECIMAL32, int32(-5), decimal],
    ['a decimal of more digits than its column has', DataType.DECIMAL64, int64(10n ** 17n), decimal],
    ['a large decimal', DataType.DECIMAL128, int128(-(10n ** 37n)), decimal],
    ['text', DataType.STRING, Buffer.from('a\0é𝄞"\\\n')],
    ['text that is no UTF-8', DataType.STRING, Buffer.from([0x61, 0xff, 0xc3, 0x00, 0xf0, 0x9d, 0x84, 0x9e, 0x80])],
    ['text that is too long', DataType.VARCHAR, Buffer.from('abcdef'), { length: 2 }],
    ['bytes', DataType.BINARY, Buffer.from([0, 255, 0, 0, 1])],
  ];
  for (const [why, type, cell, more] of CASES)
    it(`of ${why} is what a scan's cells give`, () => {
      for (const columns of [[column('k', type, more)], [column('k', type, more), column('l', DataType.INT8)]]) {
        const cells = [cell, Buffer.from([7])].slice(0, columns.length);
        const read = columns.map((each, i) => keyCell(each, defaultToJson(each, cells[i]!).toString()));
        assert.deepEqual(encodeKeyCells(columns, read), encodeKeyCells(columns, cells));
      }
    });

  for (const [type, raw] of [
    [DataType.INT8, '300'],
    [DataType.INT32, '"5"'],
    [DataType.STRING, '5'],
    [DataType.INT64, 'null'],
    [DataType.INT64, '18446744073709551616'],
    [DataType.BOOL, '1'],
    [DataType.DOUBLE, '1.5'],
  ] as const)
    it(`refuses ${raw} for a column of type ${type}`, () => {
      assert.throws(() => keyCell(column('k', type), raw), SyntaxError);
    });
});
