import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RecentMap } from '../../../src/util/recent-map.ts';

describe('a map of what was asked for last', () => {
  it('keeps no more than it is to, and of these what was asked for last', () => {
    const map = new RecentMap<string, { readonly of: string }>(3);
    let made = 0;
    const of = (key: string): string => map.of(key, () => ({ of: `${key}${++made}` })).of;
    assert.deepEqual(['a', 'b', 'c', 'a', 'd'].map(of), ['a1', 'b2', 'c3', 'a1', 'd4']);
    assert.deepEqual(['a', 'c', 'd', 'b'].map(of), ['a1', 'c3', 'd4', 'b5'], 'b was the oldest');
    map.delete('c');
    assert.equal(of('c'), 'c6');
  });
});
