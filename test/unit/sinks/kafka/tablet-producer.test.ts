import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BatchLimits, nextSequence } from '../../../../src/sinks/kafka/tablet-producer.ts';

describe('nextSequence', () => {
  const MAX = 2 ** 31 - 1;
  for (const [sequence, count, next] of [
    [0, 5, 5],
    [MAX - 5, 5, MAX],
    [MAX, 1, 0], // kafkajs goes to 0 whatever the count, and the broker then refuses the batch
    [MAX - 4, 10, 5],
  ] as const)
    it(`is ${next} after ${count} records from ${sequence} on`, () => {
      assert.equal(nextSequence(sequence, count), next);
    });
});

describe('BatchLimits', () => {
  it('starts below the megabyte that brokers take, and shrinks by topic until it fits', () => {
    const limits = new BatchLimits();
    assert.ok(limits.of('a') < 1_000_000);
    limits.shrink('a', 40_000);
    limits.shrink('a', 80_000); // an earlier batch, refused later
    assert.equal(limits.of('a'), 10_000);
    assert.ok(limits.of('b') > 100_000);
  });
});
