import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  BACK_FOR_MS,
  HOPE_CAP_MS,
  PATIENCE_MS,
  SLOW_MS,
  TROUBLE_MS,
  TURN_MS,
  UNTRIED,
  WORKED_FOR_MS,
  place,
  seatOf,
  shipsDropped,
  stepTrial,
  turnOf,
  type OtherStandIn,
  type Placing,
  type ReplicaHealth,
  type Seat,
  type Sight,
  type Trial,
} from '../../../src/placement/placement-core.ts';

const HEALTHS: readonly ReplicaHealth[] = ['runs', 'silent', 'down'];
const SEATS: readonly Seat[] = ['taken', 'back', 'left', 'vacant'];
const OTHERS: readonly OtherStandIn[] = ['none', 'ships', 'claims-before', 'claims-behind'];

type Case = 'able, ships' | 'able, idle' | 'unable, ships' | 'unable, idle';
const CASES: Record<Case, { readonly can: boolean; readonly isShipping: boolean }> = {
  'able, ships': { can: true, isShipping: true },
  'able, idle': { can: true, isShipping: false },
  'unable, ships': { can: false, isShipping: true },
  'unable, idle': { can: false, isShipping: false },
};
const caseNames = Object.keys(CASES) as Case[];

type Row = Record<OtherStandIn, Placing>;
const all = (placing: Placing): Row => ({
  none: placing,
  ships: placing,
  'claims-before': placing,
  'claims-behind': placing,
});
const BACK = all('stands-back');
const SHIPS = all('ships');
const TRIES_ALONE: Row = { ...BACK, none: 'tries' };
/** A claim of one that comes later is no hindrance, but that one is to see ours first. */
const UNLESS_ANOTHER: Row = { ...BACK, none: 'ships', 'claims-behind': 'ships' };

describe('who ships a tablet', () => {
  /** Beside the leader; the seat is its own. An empty cell does not compile. */
  const LEADER: Record<ReplicaHealth, Record<Case, Row>> = {
    runs: {
      'able, ships': SHIPS,
      'able, idle': SHIPS,
      'unable, ships': TRIES_ALONE,
      'unable, idle': TRIES_ALONE,
    },
    silent: {
      'able, ships': SHIPS,
      'able, idle': BACK,
      'unable, ships': TRIES_ALONE,
      'unable, idle': BACK,
    },
    down: {
      'able, ships': BACK,
      'able, idle': BACK,
      'unable, ships': BACK,
      'unable, idle': BACK,
    },
  };

  for (const health of HEALTHS)
    for (const name of caseNames)
      it(`the leader's sidecar, whose replica ${health}: ${name}`, () => {
        const expected = LEADER[health][name];
        for (const other of OTHERS)
          for (const seat of SEATS)
            assert.equal(place({ role: 'leader', health, seat, other, ...CASES[name] }), expected[other], other);
      });

  /** Beside a voter that runs. An empty cell does not compile. */
  const VOTER: Record<Seat, Record<Case, Row>> = {
    taken: {
      'able, ships': BACK,
      'able, idle': BACK,
      'unable, ships': BACK,
      'unable, idle': BACK,
    },
    back: {
      'able, ships': SHIPS,
      'able, idle': BACK,
      'unable, ships': TRIES_ALONE,
      'unable, idle': BACK,
    },
    left: {
      'able, ships': SHIPS,
      'able, idle': BACK,
      'unable, ships': TRIES_ALONE,
      'unable, idle': BACK,
    },
    vacant: {
      'able, ships': SHIPS,
      'able, idle': UNLESS_ANOTHER,
      'unable, ships': TRIES_ALONE,
      'unable, idle': BACK,
    },
  };

  for (const seat of SEATS)
    for (const name of caseNames)
      it(`a voter's sidecar, where the leader's place is ${seat}: ${name}`, () => {
        for (const other of OTHERS)
          assert.equal(
            place({ role: 'voter', health: 'runs', seat, other, ...CASES[name] }),
            VOTER[seat][name][other],
            other,
          );
      });

  it('is none whose replica has no vote or knows no leader, nor a stand-in without a whole log that goes on', () => {
    for (const seat of SEATS)
      for (const other of OTHERS)
        for (const name of caseNames) {
          for (const health of HEALTHS)
            assert.equal(place({ role: 'none', health, seat, other, ...CASES[name] }), 'stands-back');
          for (const health of ['silent', 'down'] as const)
            assert.equal(place({ role: 'voter', health, seat, other, ...CASES[name] }), 'stands-back');
        }
  });
});

describe("the place of the leader's sidecar", () => {
  const held = { lives: true, yields: false };
  const yielded = { lives: true, yields: true };
  const dead = { lives: false, yields: false };
  for (const [why, leader, forMs, turn, seat] of [
    ['who lives and can has it', held, BACK_FOR_MS, 0, 'taken'],
    ['one that has just come may not know yet that it cannot', held, BACK_FOR_MS - 1, 0, 'back'],
    ['one that died has been silent for long enough', dead, 0, 0, 'vacant'],
    ['and the next in turn waits for a claim of the first', dead, TURN_MS - 1, 1, 'left'],
    ['but no longer than that', dead, TURN_MS, 1, 'vacant'],
    ['and so on', dead, 2 * TURN_MS - 1, 2, 'left'],
    ['one that yields may be able again in a moment', yielded, PATIENCE_MS - 1, 0, 'left'],
    ['or not', yielded, PATIENCE_MS, 0, 'vacant'],
    ['turns come behind that', yielded, PATIENCE_MS + TURN_MS - 1, 1, 'left'],
    ['what a dead one said last does not count', { lives: false, yields: true }, 0, 0, 'vacant'],
  ] as const)
    it(`is ${seat}: ${why}`, () => {
      assert.equal(seatOf(leader, forMs, turn), seat);
    });

  it('goes round by the order of the uuids, past those that do not live and past the leader', () => {
    const turns = (self: string, alive: string): number =>
      turnOf(self, 'b', ['d', 'c', 'b', 'a'], (uuid) => alive.includes(uuid));
    assert.deepEqual(
      ['a', 'c', 'd'].map((self) => turns(self, 'abcd')),
      [0, 1, 2],
    );
    assert.deepEqual(
      ['a', 'c', 'd'].map((self) => turns(self, 'cd')),
      [0, 0, 1],
    );
  });
});

describe('what came of shipping from here', () => {
  const untried: Trial = UNTRIED;
  const works: Trial = { kind: 'works', failures: 2, sinceMs: 0 };
  const troubled: Trial = { kind: 'troubled', failures: 0, sinceMs: 0 };
  const failed: Trial = { kind: 'failed', failures: 1, hopeAtMs: 15_000 };
  /** An empty cell does not compile. */
  const STEPS: Record<Trial['kind'], Record<Sight, readonly (readonly [Trial, number, Trial])[]>> = {
    untried: {
      idle: [[untried, 5, untried]],
      works: [[untried, 5, { kind: 'works', failures: 0, sinceMs: 5 }]],
      slow: [[untried, 5, { kind: 'troubled', failures: 0, sinceMs: 5 }]],
      troubled: [[untried, 5, { kind: 'troubled', failures: 0, sinceMs: 5 }]],
    },
    works: {
      idle: [[works, 5, { kind: 'untried', failures: 2 }]],
      works: [
        [works, WORKED_FOR_MS - 1, works],
        [works, WORKED_FOR_MS, { ...works, failures: 0 }],
      ],
      slow: [[works, 5, { kind: 'troubled', failures: 2, sinceMs: 5 }]],
      troubled: [[works, 5, { kind: 'troubled', failures: 2, sinceMs: 5 }]],
    },
    troubled: {
      idle: [[troubled, TROUBLE_MS, UNTRIED]],
      works: [[troubled, TROUBLE_MS, { kind: 'works', failures: 0, sinceMs: TROUBLE_MS }]],
      slow: [
        [troubled, SLOW_MS - 1, troubled],
        [troubled, SLOW_MS, { kind: 'failed', failures: 1, hopeAtMs: SLOW_MS + 15_000 }],
      ],
      troubled: [
        [troubled, TROUBLE_MS - 1, troubled],
        [troubled, TROUBLE_MS, { kind: 'failed', failures: 1, hopeAtMs: TROUBLE_MS + 15_000 }],
        [
          { ...troubled, failures: 30 },
          TROUBLE_MS,
          { kind: 'failed', failures: 31, hopeAtMs: TROUBLE_MS + HOPE_CAP_MS },
        ],
      ],
    },
    failed: {
      idle: [
        [failed, 14_999, failed],
        [failed, 15_000, { kind: 'untried', failures: 1 }],
      ],
      works: [[failed, 5, { kind: 'works', failures: 1, sinceMs: 5 }]],
      slow: [[failed, 20_000, { kind: 'failed', failures: 1, hopeAtMs: 35_000 }]],
      troubled: [[failed, 20_000, { kind: 'failed', failures: 1, hopeAtMs: 35_000 }]],
    },
  };
  for (const [kind, bySight] of Object.entries(STEPS))
    for (const [sight, steps] of Object.entries(bySight))
      it(`${kind}, then ${sight}`, () => {
        for (const [trial, nowMs, expected] of steps)
          assert.deepEqual(stepTrial(trial, sight as Sight, nowMs), expected);
      });
});

describe('what is left of a dropped tablet', () => {
  const turns = (self: string, alive: readonly string[], nowMs: number): boolean =>
    shipsDropped(
      { voterUuids: ['a', 'b', 'c'], sinceMs: 1000 },
      { self, lives: (uuid) => alive.includes(uuid) },
      1000 + nowMs,
    );

  it('is shipped by the living sidecars of its voters in turn, each later than the one before', () => {
    const at = (nowMs: number): string[] => ['a', 'b', 'c', 'd'].filter((self) => turns(self, ['b', 'c', 'd'], nowMs));
    assert.deepEqual(at(19_000), []);
    assert.deepEqual(at(21_000), ['a', 'b'], 'one that is not heard of may think that it lives');
    assert.deepEqual(
      ['b', 'c'].filter((self) => turns(self, ['b', 'c'], 21_000)),
      ['b'],
    );
    assert.deepEqual(
      ['b', 'c'].filter((self) => turns(self, ['b', 'c'], 41_000)),
      ['b', 'c'],
    );
    assert.equal(turns('d', ['b', 'c', 'd'], 41_000), false);
    assert.equal(turns('d', ['b', 'c', 'd'], 61_000), true, 'one whose replica was moved away comes last');
  });
});
