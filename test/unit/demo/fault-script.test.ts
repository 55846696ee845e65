import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { breaksAfterMs, stepFault, type FaultKind, type FaultPhase } from '../../../src/demo/fault-script.ts';

/** Runs the script against a load of 1,000 rows a second; `lagAt` and `writesAt` by seconds. @returns what happened when */
function play(kind: FaultKind, lagAt: (s: number) => number, writesAt: (s: number) => number = () => 1_000): string[] {
  let phase: FaultPhase = { kind: 'ahead', atMs: 10_000 };
  const events: string[] = [];
  for (let ms = 0; ms <= 60_000; ms += 500) {
    const written = 1_000_000;
    const seen = { nowMs: ms, written, shipped: written - lagAt(ms / 1000), writtenPerSecond: writesAt(ms / 1000) };
    const next = stepFault(phase, seen, { kind, rate: 1_000 });
    phase = next.phase;
    if (next.effect) events.push(`${ms / 1000} ${next.effect}`);
  }
  return events;
}

describe('the script of a fault', () => {
  it('breaks early enough to be seen to recover', () => {
    assert.deepEqual([null, 60_000, 12_000].map(breaksAfterMs), [10_000, 10_000, 4_000]);
  });

  it('brings a broker back, and sees that the lag has gone and stays so', () => {
    const lag = (s: number): number => (s > 10 && s < 25 ? 8_000 : 10);
    assert.deepEqual(play('broker', lag), ['10 break', '18 mend', '27 tell-recovered']);
  });

  it('leaves a sidecar dead, and does not take the time before its lag shows for the recovery', () => {
    const lag = (s: number): number => (s > 12 && s < 32 ? 5_000 : 10);
    assert.deepEqual(play('sidecar', lag), ['10 break', '34 tell-recovered']);
  });

  it('does not take a load that stands still for one that has recovered', () => {
    const writes = (s: number): number => (s > 10 && s < 20 ? 0 : 1_000);
    assert.deepEqual(
      play('leader', () => 10, writes),
      ['10 break', '22 tell-recovered'],
    );
  });

  it('does not tell what never comes', () => {
    assert.deepEqual(
      play('broker', (s) => (s > 10 ? 9_000 : 0)),
      ['10 break', '18 mend'],
    );
  });
});
