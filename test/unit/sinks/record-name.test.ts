import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nameRow } from '../../../src/sinks/record-name.ts';

describe('the name of a row', () => {
  const name = (key: string, table = 'shop.a'): string =>
    nameRow({ kind: 'row', table, key: Buffer.from(key), value: null, position: 't/base.1', timestampMs: 0 });

  it('is its key, as a person can read it', () => {
    assert.equal(name('{"id":7,"n":"é 芳子 😀"}'), 'table shop.a, key {"id":7,"n":"é 芳子 😀"}');
    assert.equal(name(''), 'table shop.a, without a key');
  });

  it('is bounded, and says how long the key is', () => {
    const long = name(`{"k":"${'😀'.repeat(8000)}"}`);
    assert.ok(long.length < 500);
    assert.match(long, /😀… \(16008 characters\)$/u);
    assert.doesNotMatch(long, /\p{Cs}/u, 'no half of a character');
  });

  it('drives no terminal, breaks no line and turns no text around', () => {
    assert.equal(
      name('\u001b[2J\n\u202eabc\u2028', 'a\u0007b'),
      'table a\\u{7}b, key \\u{1b}[2J\\u{a}\\u{202e}abc\\u{2028}',
    );
  });
});
