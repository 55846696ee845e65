import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { murmur2, partitionForKey } from '../../../../src/sinks/kafka/murmur2.ts';

describe('murmur2', () => {
  // What org.apache.kafka.common.utils.Utils.murmur2 answers in Java (UtilsTest of apache/kafka).
  const GOLDEN: readonly [key: string, hash: number][] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ];
  for (const [key, hash] of GOLDEN)
    it(`hashes ${JSON.stringify(key)} as Java does`, () => {
      assert.equal(murmur2(Buffer.from(key)), hash);
    });

  it('clears the sign bit before it takes the remainder, as the Java partitioner does', () => {
    assert.equal(partitionForKey(Buffer.from('21'), 1000), (-973932308 & 0x7fffffff) % 1000);
  });

  it('always finds a partition of the topic, and the same one for the same key', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 5000 }), (key, partitions) => {
        const partition = partitionForKey(key, partitions);
        assert.ok(Number.isInteger(partition) && partition >= 0 && partition < partitions);
        assert.equal(partitionForKey(Buffer.from(key), partitions), partition);
      }),
    );
  });
});
