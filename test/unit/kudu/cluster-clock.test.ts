import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClusterClock } from '../../../src/kudu/cluster-clock.ts';
import { microsToHybridTime } from '../../../src/kudu/hybrid-time.ts';

const BEGAN_MS = Date.UTC(2026, 0, 1);
const hybridTime = (ms: number) => microsToHybridTime(BigInt(ms) * 1000n);

describe("the cluster's clock", () => {
  it("is Kudu's whatever the machine's own is set to, and goes on evenly between its answers", (t) => {
    let [passedMs, setByMs] = [5_000, 0];
    t.mock.method(performance, 'now', () => passedMs);
    t.mock.method(Date, 'now', () => BEGAN_MS + passedMs + setByMs);
    const clock = new ClusterClock();
    assert.equal(clock.now(), BEGAN_MS + 5_000, "the machine's own, before a server has answered");
    assert.equal(clock.aheadMs, null);

    clock.note(hybridTime(BEGAN_MS + 4_990), 4_980);
    assert.equal(clock.now(), BEGAN_MS + 5_000, "the machine's own, which agrees but for the answer's way");
    assert.equal(clock.aheadMs, -10);
    for (setByMs of [3_600_000, -3_600_000, 86_400_000, -2_000]) {
      passedMs += 10_000;
      assert.equal(clock.now(), BEGAN_MS + passedMs - 10);
    }

    clock.note(hybridTime(BEGAN_MS + passedMs - 50_000), passedMs - 50_000);
    assert.equal(clock.now(), BEGAN_MS + passedMs - 10, 'an answer of long ago, as after a SIGSTOP, is not heeded');
    clock.note(hybridTime(BEGAN_MS + passedMs - 5_000), passedMs);
    assert.equal(clock.now(), BEGAN_MS + passedMs - 5_000, 'the newest one counts');
  });

  it("is the machine's own where Kudu runs without a clock", () => {
    const clock = new ClusterClock();
    clock.note(123_456n, performance.now());
    assert.ok(Math.abs(clock.now() - Date.now()) < 1_000);
  });
});
