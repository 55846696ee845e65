import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decimalToString, parseDecimal } from '../../../src/kudu/decimal.ts';

describe('decimal text', () => {
  for (const [unscaled, scale, text] of [
    [0n, 0, '0'],
    [0n, 2, '0.00'],
    [-1n, 2, '-0.01'],
    [-1230n, 2, '-12.30'],
    [5n, 1, '0.5'],
    [10n ** 38n - 1n, 38, `0.${'9'.repeat(38)}`],
  ] as const)
    it(`writes ${unscaled} with scale ${scale} as ${text}`, () => {
      assert.equal(decimalToString(unscaled, scale), text);
    });

  for (const [text, precision, scale, unscaled] of [
    ['7', 3, 2, 700n],
    ['+7.5', 3, 2, 750n],
    ['.5', 3, 2, 50n],
    ['-7.', 3, 2, -700n],
    ['7.100', 3, 2, 710n],
    ['000001', 3, 2, 100n],
  ] as const)
    it(`reads ${text}`, () => {
      assert.equal(parseDecimal(text, precision, scale), unscaled);
    });

  for (const [text, why] of [
    ['7.123', 'a digit would be lost'],
    ['10', 'more digits than the precision, with those after the point counted'],
    ['', 'no digit'],
    ['.', 'no digit'],
    ['-', 'no digit'],
    ['1e2', 'not a plain decimal'],
    [' 1', 'not a plain decimal'],
    ['1,5', 'not a plain decimal'],
  ] as const)
    it(`refuses ${JSON.stringify(text)}: ${why}`, () => {
      assert.equal(parseDecimal(text, 3, 2), null);
    });

  it('reads back whatever it wrote', () => {
    const limit = 10n ** 38n - 1n;
    fc.assert(
      fc.property(fc.bigInt(-limit, limit), fc.integer({ min: 0, max: 38 }), (unscaled, scale) => {
        assert.equal(parseDecimal(decimalToString(unscaled, scale), 38, scale), unscaled);
      }),
    );
  });
});
