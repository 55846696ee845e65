import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { fileNow, steadyNow, wallTimeOf } from '../../../src/util/steady-clock.ts';

/** Sets the machine's clock. */
function clockOf(t: TestContext): { setByMs: number } {
  const realNow = Date.now.bind(Date);
  const clock = { setByMs: 0 };
  t.mock.method(Date, 'now', () => realNow() + clock.setByMs);
  return clock;
}

const HOUR_MS = 3_600_000;

describe('the steady clock', () => {
  for (const ms of [HOUR_MS, -HOUR_MS])
    it(`goes on evenly when the machine's clock is set by ${ms / HOUR_MS} h, by which people read its times`, (t) => {
      const before = steadyNow();
      clockOf(t).setByMs = ms;
      const passed = steadyNow() - before;
      assert.ok(passed >= 0 && passed < 10_000, String(passed));
      assert.equal(wallTimeOf(before), new Date(before + ms).toISOString());
    });

  it('makes no file old that the machine wrote before its clock was set ahead, or while it was behind', (t) => {
    const wroteAtMs = Date.now();
    const clock = clockOf(t);
    clock.setByMs = 24 * HOUR_MS;
    assert.ok(fileNow() - wroteAtMs < 10_000);
    clock.setByMs = -24 * HOUR_MS;
    assert.ok(fileNow() - wroteAtMs < 10_000);
    assert.ok(Math.abs(fileNow() - Date.now()) < 10_000, 'what is written now is as old as it is');
  });
});
