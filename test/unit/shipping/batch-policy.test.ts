import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TabletPosition } from '../../../src/change/position.ts';
import { countForBatch } from '../../../src/shipping/batch-policy.ts';
import { ReadQueue } from '../../../src/shipping/read-queue.ts';

const at = (index: number, copy?: TabletPosition['copy']): TabletPosition => ({
  opId: { term: 1n, index: BigInt(index) },
  tableName: 't',
  schemaVersion: 0,
  ...(copy && { copy }),
});
const again = (index: number) => ({
  cut: 9n,
  at: 90n,
  rows: 0,
  onlyLog: true as const,
  replayAfter: { term: 1n, index: BigInt(index) },
});
const queueOf = (positions: readonly TabletPosition[]): ReadQueue =>
  positions.reduce((queue, upTo) => queue.push({ upTo, bytes: 10, hasRecords: true, readAtMs: 0 }), ReadQueue.EMPTY);

describe('how many reads one write takes', () => {
  it('is as many as its size allows, and one at least', () => {
    const queue = queueOf([at(1), at(2), at(3)]);
    assert.deepEqual(
      [5, 10, 25, 100].map((size) => countForBatch(queue, size, at(0))),
      [1, 1, 2, 3],
    );
  });

  it('ends where a rewind begins, and nowhere within it', () => {
    const rewind = [at(9, again(0)), at(9, again(3)), at(9, again(6)), at(9), at(10)];
    assert.equal(countForBatch(queueOf([at(7), at(8), ...rewind]), 1000, at(6)), 3);
    assert.equal(countForBatch(queueOf(rewind), 1000, at(8)), 1);
    assert.equal(countForBatch(queueOf(rewind.slice(1)), 1000, at(9, again(0))), 4);
    assert.equal(
      countForBatch(queueOf([at(9, { cut: 9n, at: 90n, rows: 0 }), at(9)]), 1000, at(8)),
      2,
      'any other copy',
    );
  });
});
