import assert from 'node:assert/strict';
import { it } from 'node:test';
import { murmur2Hash64 } from '../../../src/kudu/murmur2.ts';

// The values that Kudu's own tests hold its clients to (kudu/util/hash_util-test.cc).
for (const [text, seed, hash] of [
  ['ab', 0, 7115271465109541368n],
  ['abcdefg', 0, 2601573339036254301n],
  ['quick brown fox', 42, 3575930248840144026n],
] as const)
  it(`hashes ${JSON.stringify(text)} as Kudu does`, () => {
    assert.equal(murmur2Hash64(Buffer.from(text), seed), hash);
  });
