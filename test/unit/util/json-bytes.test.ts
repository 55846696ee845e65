import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  base64StringBytes,
  maxJsonStringBytes,
  writeBase64String,
  writeJsonString,
} from '../../../src/util/json-bytes.ts';

function jsonOf(bytes: Uint8Array): string {
  const out = Buffer.alloc(maxJsonStringBytes(bytes.length));
  return out.toString('utf8', 0, writeJsonString(out, 0, bytes, 0, bytes.length));
}

/** The bytes behind a string with surrogate escapes. */
function bytesBehind(text: string): Buffer {
  return Buffer.concat(
    Array.from(text, (char) => {
      const code = char.codePointAt(0)!;
      return code >= 0xdc80 && code <= 0xdcff ? Buffer.of(code - 0xdc00) : Buffer.from(char);
    }),
  );
}

describe('json bytes', () => {
  it('writes valid UTF-8 as JSON that reads back the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.equal(JSON.parse(jsonOf(Buffer.from(text))), text);
      }),
      { numRuns: 2000 },
    );
    const all = Array.from({ length: 0x250 }, (_, i) => String.fromCodePoint(i)).join('') + '\u2028\u{1f600}\u{10ffff}';
    assert.equal(JSON.parse(jsonOf(Buffer.from(all))), all);
  });

  it('escapes what JSON wants escaped and nothing else', () => {
    assert.equal(
      jsonOf(Buffer.from('a"b\\c/\b\t\n\f\r\u0001\u001f\u007fé😀')),
      '"a\\"b\\\\c/\\b\\t\\n\\f\\r\\u0001\\u001f\u007fé😀"',
    );
    assert.equal(jsonOf(Buffer.alloc(0)), '""');
  });

  it('keeps bytes that are not UTF-8: each comes out as a lone surrogate, and can be had back', () => {
    assert.equal(jsonOf(Buffer.of(0x61, 0xff, 0x62)), '"a\\udcffb"');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        assert.deepEqual(bytesBehind(JSON.parse(jsonOf(bytes)) as string), Buffer.from(bytes));
      }),
      { numRuns: 5000 },
    );
  });

  it('takes for UTF-8 exactly what the platform does', () => {
    const heads = [0x7f, 0x80, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff];
    const tails = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
    const strict = new TextDecoder('utf8', { fatal: true, ignoreBOM: true });
    for (const a of heads)
      for (const b of tails)
        for (const c of tails)
          for (const d of tails)
            for (const bytes of [Buffer.of(a), Buffer.of(a, b), Buffer.of(a, b, c), Buffer.of(a, b, c, d)]) {
              let valid = true;
              try {
                strict.decode(bytes);
              } catch {
                valid = false;
              }
              assert.equal(!/\\udc[89a-f]/.test(jsonOf(bytes)), valid, bytes.toString('hex'));
            }
  });

  it('writes base64 as the platform does', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const out = Buffer.alloc(base64StringBytes(bytes.length));
        const end = writeBase64String(out, 0, bytes, 0, bytes.length);
        assert.equal(end, out.length);
        assert.equal(out.toString(), `"${Buffer.from(bytes).toString('base64')}"`);
      }),
    );
  });
});
