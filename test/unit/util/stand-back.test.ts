import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { NiceResult } from '../../../src/util/cpu-priority.ts';
import { BACK, StandBack, nextStance, type Stance } from '../../../src/util/stand-back.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';

describe('standing back', () => {
  /** Plays one lag a second; answers the stance after each. */
  const stances = (lags: readonly number[], maxLagS = 5): string[] => {
    let stance: Stance = BACK;
    return lags.map((lag, second) => (stance = nextStance(stance, lag, second * 1000, maxLagS)).kind);
  };

  it('has a floor, and comes back to it only when the work has been on time for a while', () => {
    assert.deepEqual(stances([0, 5, 5.1, 4, 2.6]), ['back', 'back', 'forward', 'forward', 'forward']);
    const calm = stances([6, ...Array<number>(11).fill(2)]);
    assert.deepEqual(calm, [...Array<string>(11).fill('forward'), 'back']);
    const disturbed = stances([6, ...Array<number>(9).fill(2), 3, ...Array<number>(9).fill(2)]);
    assert.ok(disturbed.every((kind) => kind === 'forward'));
  });

  it('has none where none is wanted', () => {
    assert.deepEqual(stances([10_000, 20_000], 0), ['back', 'back']);
  });

  it('never goes back within 10 s of being late, nor stays back while it is', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 60 }), (lags) => {
        for (const [at, kind] of stances(lags).entries()) {
          if (lags[at]! > 5) assert.equal(kind, 'forward');
          if (kind === 'back') assert.ok(lags.slice(Math.max(0, at - 9), at + 1).every((lag) => lag <= 5));
        }
      }),
    );
  });

  function standing(results: Partial<Record<number, NiceResult[]>> = {}, nice = 10, ownNice = 0) {
    const [asked, lines] = [[] as number[], [] as LogLine[]];
    const state = { lag: 0 };
    const setNice = (value: number): NiceResult => {
      asked.push(value);
      return results[value]?.shift() ?? 'done';
    };
    const logger = keepingLogger(lines);
    const standBack = new StandBack({ nice, ownNice, maxLagS: 5, lagSeconds: () => state.lag, setNice, logger });
    let second = 0;
    const look = (lag: number, times = 1): void => {
      state.lag = lag;
      for (; times > 0; times--) standBack.look(second++ * 1000);
    };
    return { asked, lines, look, standBack };
  }

  it('asks once for each change, says both, and asks again where the system had no time', () => {
    const { asked, lines, look } = standing({ 0: ['again'] });
    look(0, 3);
    assert.deepEqual([asked, lines], [[10], []], 'that it stands back at first is no news');
    look(21, 5);
    assert.deepEqual(asked, [10, 0, 0]);
    look(0, 20);
    assert.deepEqual(asked, [10, 0, 0, 10]);
    assert.deepEqual(
      lines.map(({ level, message }) => `${level} ${message}`),
      ['info is late, and works at normal priority until it is not', 'info stands back again'],
    );
  });

  it('says once that it may not, and goes on', () => {
    const { asked, lines, look } = standing({ 0: ['refused', 'refused'] });
    for (const lag of [0, 9, 0, 9]) look(lag, 15);
    assert.deepEqual(asked, [10, 0, 10, 0]);
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['warn', 'info'],
    );
    assert.match(lines[0]!.message, /may not work at normal priority.*CAP_SYS_NICE.*LimitNICE/);
  });

  it('does nothing at all where it is not to stand back', async () => {
    for (const [nice, ownNice] of [
      [0, 0],
      [5, 7],
    ] as const) {
      const { asked, standBack } = standing({}, nice, ownNice);
      await standBack.run(new AbortController().signal);
      assert.deepEqual(asked, []);
    }
  });

  it('comes back to the priority that it was started with', () => {
    const { asked, look } = standing({}, 10, 5);
    look(0);
    look(9);
    assert.deepEqual(asked, [10, 5]);
  });
});
