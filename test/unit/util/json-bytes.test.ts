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

  it('looks at every byte of long text, wherever it stands', () => {
    const odd = ['"', '\\', '\n', '\u001f', '\u0000', 'é', '漢', '😀'];
    const part = fc.constantFrom('x', 'seventh', 'plain text, some words long', ' !#[]~\u007f', ...odd);
    fc.assert(
      fc.property(fc.array(part, { maxLength: 60 }), fc.nat(7), fc.nat(7), (parts, from, at) => {
        const text = parts.join('');
        const length = Buffer.byteLength(text);
        // What stands around it is no part of it, and what it is written beside stays.
        const source = Buffer.concat([Buffer.alloc(from, '"'), Buffer.from(text), Buffer.alloc(4, 0)]);
        const out = Buffer.alloc(at + maxJsonStringBytes(length) + 4, 0xee);
        const end = writeJsonString(out, at, source, from, from + length);
        assert.equal(out.toString('utf8', at, end), JSON.stringify(text));
        assert.ok([...out.subarray(0, at), ...out.subarray(end)].every((byte) => byte === 0xee));
      }),
      { numRuns: 5000 },
    );
    for (let byte = 0; byte < 256; byte++)
      for (let place = 0; place < 64; place++) {
        const bytes = Buffer.alloc(64, 'plain');
        bytes[place] = byte;
        const escaped =
          byte < 0x80 ? JSON.stringify(String.fromCharCode(byte)).slice(1, -1) : `\\udc${byte.toString(16)}`;
        const rest = Buffer.alloc(64, 'plain').toString();
        assert.equal(jsonOf(bytes), `"${rest.slice(0, place)}${escaped}${rest.slice(place + 1)}"`);
      }
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
