import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encodeKey, encodeKeyPrefix } from '../../../src/kudu/key-encoder.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { column } from '../../support/kudu-columns.ts';

const NUMBER = column('n', DataType.INT64);
const TEXT = column('t', DataType.STRING);

describe('key encoder', () => {
  it('writes INT64 50 as a server does (kudu-facts 10.5)', () => {
    assert.equal(encodeKey([NUMBER], { n: 50n }).toString('hex'), '8000000000000032');
  });

  it('ends a string with 00 00 and marks its zeros, but not in the last place', () => {
    assert.equal(encodeKey([TEXT, NUMBER], { t: 'a\0b', n: 0n }).toString('hex'), '6100016200008000000000000000');
    assert.equal(encodeKey([TEXT], { t: 'a\0b' }).toString('hex'), '610062');
  });

  it('keeps the order of the keys', () => {
    const key = fc.tuple(
      fc.string({ unit: fc.constantFrom('\0', '\x01', 'a', 'é') }),
      fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    );
    fc.assert(
      fc.property(key, key, ([t1, n1], [t2, n2]) => {
        const byText = Buffer.from(t1).compare(Buffer.from(t2));
        const expected = byText !== 0 ? byText : n1 < n2 ? -1 : n1 > n2 ? 1 : 0;
        const encoded = encodeKey([TEXT, NUMBER], { t: t1, n: n1 }).compare(
          encodeKey([TEXT, NUMBER], { t: t2, n: n2 }),
        );
        assert.equal(encoded, expected);
      }),
    );
  });

  it('refuses a key with a column missing, and names it', () => {
    assert.throws(() => encodeKey([TEXT, NUMBER], { t: 'a' }), /"n" is not set/);
    assert.throws(() => encodeKey([NUMBER], { n: null }), /"n" is not set/);
  });

  it('writes a bound of the first columns as the beginning of their keys', () => {
    const prefix = encodeKeyPrefix([TEXT, NUMBER], { t: 'a' });
    assert.ok(encodeKey([TEXT, NUMBER], { t: 'a', n: -5n }).subarray(0, prefix.length).equals(prefix));
  });
});
