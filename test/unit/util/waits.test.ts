import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AskedWaits, Waits } from '../../../src/util/waits.ts';

describe('waits', () => {
  it('are as old as their reason, and over when a round does not name them', () => {
    const waits = new Waits();
    const round = (nowMs: number, said: Record<string, string>): void => {
      for (const [key, what] of Object.entries(said)) waits.note(key, what, nowMs);
      waits.endRound();
    };
    round(1, { a: 'its turn', b: 'its log' });
    round(2, { a: 'its turn', b: 'its turn' });
    assert.deepEqual([waits.get('a')?.sinceMs, waits.get('b')?.sinceMs], [1, 2]);
    round(3, { b: 'its turn' });
    round(4, { a: 'its turn', b: 'its turn' });
    assert.deepEqual([waits.get('a')?.sinceMs, waits.get('b')?.sinceMs], [4, 2]);
  });

  it('of which somebody asks now and then last until they end, or nobody asks any more', () => {
    const waits = new AskedWaits();
    const since = (key: string, what: string, nowMs: number): number => waits.note(key, what, nowMs).sinceMs;
    assert.deepEqual([since('a', 'x', 1), since('b', 'x', 2), since('a', 'x', 3)], [1, 2, 1]);
    assert.equal(since('a', 'y', 4), 4, 'another reason');
    waits.end('a');
    assert.equal(since('a', 'y', 5), 5);
    assert.equal(since('b', 'x', 4_000_000), 4_000_000, 'forgotten');
  });
});
