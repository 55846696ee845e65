import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BoundedHold, lostLogError, type HoldLimits } from '../../../src/keeping/bounded-hold.ts';
import type { ReplicaHold } from '../../../src/keeping/replica-hold.ts';
import { opId } from '../../support/log-entries.ts';

const UNBOUNDED: HoldLimits = { maxBytes: 0, maxAgeMs: 0 };

/** A hold that stands at what it is told to, and gives up the operations from 1 to 30 when it is asked to. */
function bound(limits: Partial<HoldLimits>) {
  const asked: Parameters<ReplicaHold['letGo']>[0][] = [];
  const hold = {
    bytes: 0,
    oldestAtMs: null as number | null,
    letGo: (until: Parameters<ReplicaHold['letGo']>[0]) => {
      asked.push(until);
      return { fromIndex: 1n, toIndex: 30n };
    },
  };
  return { hold, asked, bounded: new BoundedHold(hold as unknown as ReplicaHold, { ...UNBOUNDED, ...limits }) };
}

describe('a bounded hold', () => {
  it('lets go by the limits that are set, and by no other', () => {
    const unbounded = bound({});
    unbounded.hold.bytes = 1e12;
    unbounded.hold.oldestAtMs = 0;
    assert.equal(unbounded.bounded.enforce(0n, 0), null);
    assert.deepEqual(unbounded.asked, []);
    const { hold, asked, bounded } = bound({ maxBytes: 1_000 });
    hold.bytes = 1_000;
    hold.oldestAtMs = 0;
    assert.equal(bounded.enforce(0n, 0), null);
    hold.bytes = 1_001;
    assert.match(bounded.enforce(0n, 0)!.why, /1001 bytes were held, SPOOR_HOLD_MAX_BYTES is 1000/);
    assert.deepEqual(asked, [{ maxBytes: 1_000 }]);
    const aged = bound({ maxAgeMs: 60_000 });
    aged.hold.oldestAtMs = Date.now() - 90_000;
    assert.match(aged.bounded.enforce(0n, 0)!.why, /the log was held for 90 s, SPOOR_HOLD_MAX_AGE_S is 60/);
    assert.deepEqual(aged.asked, [{ maxAgeMs: 60_000 }]);
  });

  it('tells of what goes only what a stream may still need', () => {
    const { asked, bounded } = bound({});
    const why = 'the disk is full';
    assert.deepEqual(bounded.letGoOfOldest(2, why, 0n), { fromIndex: 1n, toIndex: 30n, why });
    assert.deepEqual(bounded.letGoOfOldest(2, why, 12n), { fromIndex: 13n, toIndex: 30n, why });
    assert.equal(bounded.letGoOfOldest(2, why, 30n), null);
    assert.deepEqual(asked, [{ oldest: 2 }, { oldest: 2 }, { oldest: 2 }]);
  });

  it('knows how long it still lasts, by whichever limit is reached first', () => {
    const { hold, bounded } = bound({ maxBytes: 1_000_000, maxAgeMs: 60_000 });
    assert.equal(bounded.secondsUntilLimit(1_000_000), null);
    hold.oldestAtMs = 970_000;
    assert.equal(bounded.secondsUntilLimit(1_000_000), 30);
    for (let second = 0; second < 200; second++) {
      hold.bytes = second * 1_000;
      hold.oldestAtMs = Date.now();
      assert.equal(bounded.enforce(0n, second * 1_000), null);
    }
    hold.oldestAtMs = 1e15; // not in sight
    assert.ok(Math.abs(bounded.secondsUntilLimit(1_000_000)! - 801) < 1, `${bounded.secondsUntilLimit(1_000_000)}`);
  });
});

describe('the error of a log that was given up', () => {
  it('says what is missing, and why', () => {
    const { code, message } = lostLogError('t', { fromIndex: 4n, toIndex: 30n, why: 'it was too old' }, opId(2, 3));
    assert.equal(code, 'SPOOR_WAL_GAP');
    assert.match(message, /up to index 30 was let go: it was too old; the operations after 2\.3 up to index 30/);
  });
});
