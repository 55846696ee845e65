import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { reauthenticatedBeforeEndMs } from '../../../../../src/sinks/kafka/security/session-life.ts';
import { dueAtMs, isGivenUp, lifeMs, stateOf } from '../../../../../src/sinks/kafka/security/token-life.ts';

const token = { value: 't', sinceMs: 1_000, endsMs: 11_000 };

describe('a token', () => {
  const STATES = [
    { nowMs: 1_000, state: 'good' },
    { nowMs: 8_999, state: 'good' },
    { nowMs: 9_000, state: 'due' },
    { nowMs: 10_999, state: 'due' },
    { nowMs: 11_000, state: 'over' },
  ] as const;
  for (const { nowMs, state } of STATES)
    it(`that lives from 1 s to 11 s is ${state} at ${nowMs} ms`, () => {
      assert.equal(stateOf(token, nowMs), state);
    });

  it('that there is none of is over', () => {
    assert.equal(stateOf(null, 0), 'over');
  });

  it('is due before a session that began with it is renewed, so that the new session lives as long', () => {
    for (const lifeOfIt of [1_000, 20_000, 3_600_000]) {
      const renewedAtMs = lifeOfIt - reauthenticatedBeforeEndMs(lifeOfIt);
      assert.ok(dueAtMs({ value: 't', sinceMs: 0, endsMs: lifeOfIt }) < renewedAtMs);
    }
  });

  it('that was refused is replaced, though one that is fresh is not: no endpoint is asked in a loop', () => {
    assert.deepEqual([isGivenUp(token, 5_999), isGivenUp(token, 6_000)], [false, true]);
  });
});

describe('the life of a token', () => {
  const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
  const CASES = [
    { why: 'as the endpoint says', expiresInS: 60, value: 'opaque', ms: 60_000 },
    { why: 'as it says itself', expiresInS: undefined, value: jwt({ exp: 1_030 }), ms: 30_000 },
    { why: 'the shorter of both', expiresInS: 60, value: jwt({ exp: 1_030 }), ms: 30_000 },
    { why: 'the shorter of both', expiresInS: 10, value: jwt({ exp: 1_030 }), ms: 10_000 },
    { why: 'none, where it is over', expiresInS: 60, value: jwt({ exp: 900 }), ms: 0 },
    { why: 'five minutes, where nobody says', expiresInS: undefined, value: 'opaque', ms: 300_000 },
    { why: 'five minutes, where it says nonsense', expiresInS: undefined, value: jwt({ exp: 'soon' }), ms: 300_000 },
    { why: 'five minutes, where it only looks like one', expiresInS: undefined, value: 'a.b.c', ms: 300_000 },
  ];
  for (const { why, expiresInS, value, ms } of CASES)
    it(`is ${why}`, () => {
      assert.equal(lifeMs(expiresInS, value, 1_000_000), ms);
    });
});

it('a session is renewed when 85 % of it are over, and one without end never', () => {
  assert.deepEqual([reauthenticatedBeforeEndMs(10_000), reauthenticatedBeforeEndMs(7)], [1_500, 2]);
  assert.equal(reauthenticatedBeforeEndMs(0), 0);
});
