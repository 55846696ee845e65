import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { TokenBuckets } from '../../../src/util/token-buckets.ts';

describe('token buckets', () => {
  it('give so many at once and then so many a second, to each key its own', () => {
    let nowMs = 0;
    const buckets = new TokenBuckets({ burst: 3, perSecond: 2 }, { nowMs: () => nowMs });
    assert.deepEqual(
      [1, 2, 3, 4].map(() => buckets.spend('a')),
      [true, true, true, false],
    );
    assert.ok(buckets.isSpent('a') && !buckets.isSpent('b'));
    assert.equal(buckets.secondsUntilNext('a'), 0.5);
    assert.equal(buckets.secondsUntilNext('b'), 0);
    nowMs = 499;
    assert.equal(buckets.spend('a'), false);
    nowMs = 500;
    assert.deepEqual([buckets.spend('a'), buckets.spend('a')], [true, false]);
    nowMs = 1_000_000;
    assert.deepEqual(
      [1, 2, 3, 4].map(() => buckets.spend('a')),
      [true, true, true, false],
      'never more than at first',
    );
  });

  it('never give more than that, whenever they are asked', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3000), { maxLength: 200 }), (pausesMs) => {
        let nowMs = 0;
        const buckets = new TokenBuckets({ burst: 5, perSecond: 1 }, { nowMs: () => nowMs });
        let given = 0;
        for (const pauseMs of pausesMs) {
          nowMs += pauseMs;
          if (buckets.spend('a')) given++;
        }
        assert.ok(given <= 5 + nowMs / 1000);
      }),
    );
  });

  it('forget those that were not spent from for longest', () => {
    const buckets = new TokenBuckets({ burst: 1, perSecond: 1 }, { maxKeys: 2, nowMs: () => 0 });
    for (const key of ['a', 'b', 'c']) assert.ok(buckets.spend(key));
    assert.equal(buckets.size, 2);
    assert.deepEqual(
      ['b', 'c'].map((key) => buckets.isSpent(key)),
      [true, true],
    );
    assert.ok(!buckets.isSpent('a'));
  });
});
