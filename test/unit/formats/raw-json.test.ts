import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeRawString, parseRawJson, type RawJson } from '../../../src/formats/raw-json.ts';

function decode(raw: RawJson): unknown {
  if (raw instanceof Map)
    return Object.fromEntries([...(raw as ReadonlyMap<string, RawJson>)].map(([name, value]) => [name, decode(value)]));
  if (Array.isArray(raw)) return (raw as RawJson[]).map(decode);
  return JSON.parse(raw as string) as unknown;
}

describe('parseRawJson', () => {
  it('keeps scalars as they are written', () => {
    const text = '{"a":[1,-0.0,1e3,12345678901234567890,true,null,"x\\n\\ud834\\udd1e"], "b" : {} ,"c":[]}';
    const a = ['1', '-0.0', '1e3', '12345678901234567890', 'true', 'null', '"x\\n\\ud834\\udd1e"'];
    assert.deepEqual(
      parseRawJson(text),
      new Map<string, unknown>([
        ['a', a],
        ['b', new Map()],
        ['c', []],
      ]),
    );
    assert.equal(decodeRawString('"x\\n\\ud834\\udd1e"'), 'x\n𝄞');
    assert.equal(decodeRawString('"\\\\"'), '\\');
  });

  it('reads what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.boolean(), (value, isPretty) => {
        const text = JSON.stringify(value, null, isPretty ? 2 : undefined);
        assert.deepEqual(decode(parseRawJson(text)), JSON.parse(text));
      }),
    );
  });

  it('reads strings of any length', () => {
    const long = JSON.stringify({ text: '\\"'.repeat(1_000_000) });
    assert.deepEqual(decode(parseRawJson(long)), JSON.parse(long));
  });

  for (const bad of ['', '{', '{"a":1,"a":2}', '01', '1 1', '"', '[1,]', 'nul', '{a:1}', '{"a"}', '[1', '['.repeat(99)])
    it(`refuses ${bad.slice(0, 20)}, and shows nothing of it`, () => {
      assert.throws(() => parseRawJson(bad), /^SyntaxError: not JSON: [a-z ]+ at character \d+$/);
    });
});
