import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DemoFigures, statusLine } from '../../../src/demo/figures.ts';

describe('demo figures', () => {
  it('gives the rate of the last seconds, not of the whole run', () => {
    const figures = new DemoFigures(1_000);
    let shipped = 0;
    let last = 0;
    for (let second = 1; second <= 20; second++) {
      shipped += second <= 10 ? 5_000 : 100;
      last = figures.next(1_000 + second * 1_000, { written: shipped, shipped, worstAgeMs: 1 }).rowsPerSecond;
    }
    assert.equal(last, 100);
  });

  it('has no rate before time has passed', () => {
    assert.equal(new DemoFigures(5).next(5, { written: 9, shipped: 9, worstAgeMs: 0 }).rowsPerSecond, 0);
  });

  it('gives the age of the oldest row that is not shipped, also where nothing arrives at all', () => {
    const figures = new DemoFigures(0);
    const lagAt = (atMs: number, written: number, shipped: number, worstAgeMs = 0): number =>
      figures.next(atMs, { written, shipped, worstAgeMs }).lagMs;
    assert.equal(lagAt(1_000, 1_000, 1_000, 20), 20);
    assert.deepEqual([lagAt(2_000, 2_000, 1_000), lagAt(31_000, 22_025, 1_000)], [1_000, 30_000]);
    assert.equal(lagAt(32_000, 22_025, 1_500, 29_000), 31_000, 'some have come, older ones than that have not');
    assert.equal(lagAt(33_000, 22_025, 2_000, 29_000), 31_000, 'the next was written behind the look at 2 s');
    assert.equal(lagAt(34_000, 22_025, 22_025, 3_000), 3_000);
    assert.equal(lagAt(35_000, 22_025, 22_025), 0);
  });

  it('prints what a person reads, and no negative lag when the consumer is ahead of the count', () => {
    const figures = { written: 12_000, shipped: 12_010, lagMs: 31.4, elapsedMs: 72_900, rowsPerSecond: 999.6 };
    assert.equal(statusLine(figures), '1:12  written 12,000  shipped 12,010  lag 0 rows, 31 ms  1,000 rows/s');
  });
});
