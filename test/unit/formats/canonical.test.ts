import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { canonicalCodec, canonicalDefault, canonicalToJson } from '../../../src/formats/canonical.ts';
import { DataType, type ColumnSchema } from '../../../src/kudu/schema.ts';
import { column, float32, float64, int64 } from '../../support/row-bytes.ts';

const CASES: readonly [column: ColumnSchema, cell: Buffer, text: string][] = [
  [column('f', DataType.FLOAT), float32(0.1), '0.10000000149011612'],
  [column('f', DataType.FLOAT), float32(-0), '-0'],
  [column('f', DataType.DOUBLE), float64(1e21), '1e+21'],
  [column('f', DataType.DOUBLE), float64(Number.NaN), 'NaN'],
  [column('f', DataType.DOUBLE), float64(Number.NEGATIVE_INFINITY), '-Infinity'],
  [column('i', DataType.INT64), int64(2n ** 53n + 1n), '9007199254740993'],
  [column('d', DataType.DECIMAL64, { precision: 9, scale: 2 }), int64(-5n), '"-0.05"'],
];

describe('the canonical text', () => {
  for (const [of, cell, text] of CASES)
    it(`of a cell of type ${of.type} is ${text}, a default's too`, () => {
      const out = Buffer.alloc(2 + canonicalCodec(of).maxBytesOf(cell.length));
      const end = canonicalCodec(of).write(out, 2, cell, 0, Buffer.alloc(0));
      assert.equal(out.toString('latin1', 2, end), text);
      assert.equal(canonicalDefault(of, cell).toString(), text);
    });

  it('of no default is that of null', () => {
    assert.equal(canonicalDefault(column('f', DataType.DOUBLE), null).toString(), 'null');
  });

  it('is JSON, but for three numbers', () => {
    assert.deepEqual(['NaN', '-Infinity', '-0', '"x"'].map(canonicalToJson), ['"NaN"', '"-Infinity"', '-0', '"x"']);
  });
});
