import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { remembered } from '../../../src/util/remembered.ts';

describe('what is worked out of the last that was given', () => {
  it('is worked out again when anything of that is another, and is the same result, itself, when nothing is', () => {
    let times = 0;
    const sum = remembered((...numbers: readonly { readonly n: number }[]) => {
      times++;
      return { sum: numbers.reduce((all, { n }) => all + n, 0) };
    });
    const [one, two] = [{ n: 1 }, { n: 2 }];
    const first = sum(one, two);
    assert.equal(first.sum, 3);
    assert.equal(sum(one, two), first);
    assert.equal(times, 1);
    assert.equal(sum(one).sum, 1);
    assert.notEqual(sum(one, two), first);
    assert.notEqual(sum(one, { n: 2 }), first, 'an equal one is another');
    assert.equal(times, 4);
  });
});
