import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  REPAIR_AFTER_MS,
  seeToGap,
  type GapSituation,
  type GapStep,
  type Verdict,
} from '../../../src/placement/gap-core.ts';

type Answer = Verdict | 'none';
/** By what the others said, and by how long the gap has lasted or the tablet is dropped: a cell that is missing does not compile. */
type Table = Readonly<Record<Answer, Readonly<Record<'at once' | 'after 30 s' | 'after 10 min', GapStep>>>>;
const AFTER_MS = { 'at once': 0, 'after 30 s': 30_000, 'after 10 min': 600_000 } as const;

const situation = (more: Partial<GapSituation>): GapSituation => ({
  afterIndex: 7n,
  lastsMs: 0,
  markedIndex: 0n,
  verdict: null,
  sinkWorks: true,
  droppedForMs: null,
  isAskedFor: false,
  repair: 'auto',
  ...more,
});

const ASKS = { 'at once': 'asks-others', 'after 30 s': 'asks-others', 'after 10 min': 'asks-others' } as const;
const REPAIRS = { 'at once': 'repairs', 'after 30 s': 'repairs', 'after 10 min': 'repairs' } as const;

const BY_ITSELF: Table = {
  none: ASKS,
  lost: REPAIRS,
  nobody: { 'at once': 'asks-others', 'after 30 s': 'repairs', 'after 10 min': 'repairs' },
  silent: { 'at once': 'asks-others', 'after 30 s': 'asks-others', 'after 10 min': 'repairs' },
};
const WHERE_ASKED_FOR: Table = { none: ASKS, lost: REPAIRS, nobody: REPAIRS, silent: REPAIRS };
const BY_HAND: Table = { none: ASKS, lost: ASKS, nobody: ASKS, silent: ASKS };
const WHERE_DROPPED: Table = {
  none: ASKS,
  lost: REPAIRS,
  nobody: REPAIRS,
  silent: { 'at once': 'asks-others', 'after 30 s': 'asks-others', 'after 10 min': 'repairs' },
};

describe('a gap', () => {
  const cases: readonly (readonly [string, Table, (ms: number) => Partial<GapSituation>])[] = [
    ['is repaired by itself', BY_ITSELF, (lastsMs) => ({ lastsMs })],
    ['is repaired at once where somebody has asked', WHERE_ASKED_FOR, (lastsMs) => ({ lastsMs, isAskedFor: true })],
    ['of which nothing was shipped joins by a copy', WHERE_ASKED_FOR, (lastsMs) => ({ lastsMs, afterIndex: 0n })],
    ['stays until somebody asks', BY_HAND, (lastsMs) => ({ lastsMs, repair: 'manual' })],
    ['of a dropped tablet is its end', WHERE_DROPPED, (droppedForMs) => ({ droppedForMs, repair: 'manual' })],
    ['waits for a sink that works', BY_HAND, (lastsMs) => ({ lastsMs, isAskedFor: true, sinkWorks: false })],
  ];
  for (const [name, table, more] of cases)
    it(name, () => {
      for (const [answer, row] of Object.entries(table))
        for (const [when, step] of Object.entries(row)) {
          const verdict = answer === 'none' ? null : (answer as Verdict);
          const made = seeToGap(situation({ verdict, ...more(AFTER_MS[when as keyof typeof AFTER_MS]) }));
          assert.equal(made, step, `${answer} ${when}`);
        }
    });

  it('is over where a marker is past it, whatever else is so', () => {
    for (const verdict of [null, ...(Object.keys(REPAIR_AFTER_MS) as Verdict[])])
      for (const sinkWorks of [true, false])
        assert.equal(seeToGap(situation({ markedIndex: 8n, verdict, sinkWorks })), 'begins-anew');
    assert.equal(seeToGap(situation({ markedIndex: 7n })), 'asks-others', 'what is marked is only what came before it');
  });
});
