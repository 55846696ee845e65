import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nearest } from '../../../src/util/nearest.ts';

describe('nearest', () => {
  const KNOWN = ['tables', 'start', 'sink', 'format'];
  const CASES: [word: string, meant: string | null][] = [
    ['table', 'tables'], // one left out
    ['tabels', 'tables'], // neighbours swapped count once
    ['strat', 'start'],
    ['formats', 'format'],
    ['sikn', 'sink'],
    ['xy', null],
    ['partitions', null],
  ];
  for (const [word, meant] of CASES)
    it(`${word} is ${meant ?? 'nothing known'}`, () => {
      assert.equal(nearest(word, KNOWN), meant);
    });
});
