import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keptOf } from '../../../src/placement/kept-tablet.ts';
import { changeMembers, generationIn, membershipIn, withMembers } from '../../../src/streams/membership.ts';
import type { StoredStream } from '../../../src/streams/stored-stream.ts';

const table = (tableId: string, name: string) => ({ tableId, name, tablets: [] });

describe('a change of the patterns of a stream', () => {
  const A = table('A', 'shop.a');
  const B = table('B', 'shop.b');
  const MOVED = table('M', 'other.m'); // joined as shop.m
  const joined = new Map([
    ['A', { name: 'shop.a' }],
    ['M', { name: 'shop.m' }],
  ]);
  const CASES: {
    why: string;
    before: string[];
    after: string[];
    tables: (typeof A)[];
    joins: string;
    leaves: string;
  }[] = [
    { why: 'a new one', before: ['shop.a'], after: ['shop.a', 'shop.b'], tables: [A, B], joins: 'B', leaves: 'M' },
    { why: 'one less', before: ['shop.a', 'shop.b'], after: ['shop.b'], tables: [A, B], joins: '', leaves: 'A,M' },
    {
      why: 'narrower: who matches before and after stays, joined by now or not',
      before: ['shop.*'],
      after: ['shop.a', 'shop.b', 'shop.m'],
      tables: [A, B, MOVED],
      joins: '',
      leaves: '',
    },
    {
      why: 'of the name that one joined by, which has another now that is asked for: it begins anew',
      before: ['shop.*'],
      after: ['other.*'],
      tables: [A, MOVED],
      joins: 'M',
      leaves: 'A',
    },
    {
      why: 'of one that is about to join, which must not come by itself later with what is known of now',
      before: ['shop.*'],
      after: ['shop.a', 'shop.m'],
      tables: [A, B],
      joins: '',
      leaves: 'B',
    },
    { why: 'of one that was dropped', before: ['shop.*'], after: ['x'], tables: [], joins: '', leaves: 'A,M' },
  ];
  for (const { why, before, after, tables, joins, leaves } of CASES)
    it(why, () => {
      const change = changeMembers(before, after, joined, tables);
      assert.deepEqual([change.joins.map(({ tableId }) => tableId).join(), change.leaves.join()], [joins, leaves]);
    });

  it('begins a membership with each time that a table joins, and says whether it was in before', () => {
    const first = withMembers(new Map(), { joins: [A], leaves: [] }, () => false, 2);
    const left = withMembers(first, { joins: [], leaves: ['A'] }, () => false, 3);
    const again = withMembers(left, { joins: [A], leaves: [] }, () => false, 4);
    assert.deepEqual(
      [first, left, again].map((memberships) => membershipIn({ generation: 'g', memberships }, 'A')),
      [
        { id: '2', again: false },
        { id: '3', again: true },
        { id: '4', again: true },
      ],
    );
    const generations = [new Map(), first, left, again].map((memberships) =>
      generationIn({ generation: 'g', memberships }, 'A'),
    );
    assert.deepEqual(generations, ['g', 'g.2', 'g.3', 'g.4'], "the first has the stream's own: that of version 0.1");
    assert.equal(generationIn({ generation: 'g', memberships: again }, 'B'), 'g', 'another table of that name');
  });

  it('leaves nothing of an earlier membership to a later one', () => {
    const position = { opId: { term: 1n, index: 5n }, tableName: 'shop.a', schemaVersion: 0 };
    const asked = { id: 'x', from: 'snapshot', requestedAt: '' } as const;
    const details = {
      starts: new Map([['t', position]]),
      resyncs: new Map([['t', asked]]),
      gapRepairs: new Map([['t', asked]]),
      rewinds: new Map(),
      skips: new Map(),
      corrections: new Map([['t', { id: 'y', keys: [] }]]),
      ended: new Set(['t']),
    };
    const stored = { generation: 'g', memberships: new Map() } as unknown as StoredStream;
    const before = keptOf({ stored, details }, 'A', 't');
    assert.deepEqual([before.start, before.resync, before.isEnded], [position, asked, true]);
    const memberships = new Map([['A', { id: '4', again: true }]]);
    const { generation, start, resync, gapRepair, correction, isEnded } = keptOf(
      { stored: { ...stored, memberships }, details },
      'A',
      't',
    );
    assert.deepEqual(
      [generation, start, resync, gapRepair, correction, isEnded],
      ['g.4', undefined, undefined, undefined, undefined, false],
    );
  });
});
