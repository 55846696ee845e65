import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shipsDropped, shipsHere, type LocalReplica } from '../../../src/replication/local-replica.ts';

const replica = (changes: Partial<LocalReplica> = {}): LocalReplica => ({
  tabletId: 'tablet',
  isLeader: false,
  isRunning: true,
  leaderUuid: 'a',
  voterUuids: ['a', 'b', 'c'],
  ...changes,
});
const ships = (self: string, alive: readonly string[], changes: Partial<LocalReplica> = {}): boolean =>
  shipsHere(replica(changes), { self, alive: new Set(alive) });

describe('who ships a tablet', () => {
  it('is the sidecar of the leader, whoever else lives', () => {
    assert.equal(ships('a', ['a', 'b', 'c'], { isLeader: true }), true);
    assert.equal(ships('a', [], { isLeader: true }), true);
    assert.equal(ships('b', ['a', 'b', 'c']), false);
    assert.equal(ships('c', ['a', 'b', 'c']), false);
  });

  it("is one of the others, and only one, where the leader's does not live", () => {
    const shippers = ['b', 'c'].filter((self) => ships(self, ['b', 'c']));
    assert.deepEqual(shippers, ['b']);
    assert.equal(ships('c', ['c']), true);
  });

  it('is ourselves although our own heartbeat is late', () => {
    assert.equal(ships('b', []), true);
  });

  it('is nobody while no leader is known, and none that is no voter', () => {
    assert.equal(ships('b', ['b', 'c'], { leaderUuid: null }), false);
    assert.equal(ships('b', ['b', 'c'], { voterUuids: ['a', 'c'] }), false);
    assert.equal(ships('b', ['b', 'c'], { voterUuids: [] }), false);
  });

  it('is never who has no whole log', () => {
    assert.equal(ships('a', ['a'], { isLeader: true, isRunning: false }), false);
    assert.equal(ships('b', ['b'], { isRunning: false }), false);
  });
});

describe('what is left of a dropped tablet', () => {
  const turns = (self: string, alive: readonly string[], nowMs: number): boolean =>
    shipsDropped({ voterUuids: ['a', 'b', 'c'], sinceMs: 1000 }, { self, alive: new Set(alive) }, 1000 + nowMs);

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
