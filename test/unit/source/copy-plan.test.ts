import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CopyProgress, TabletPosition } from '../../../src/change/position.ts';
import {
  copyStep,
  insteadOf,
  obstacleOf,
  positionAtCut,
  rewindScope,
  rewindStep,
  type CopyRequest,
  type CopyStep,
  type Obstacle,
} from '../../../src/source/copy-plan.ts';
import { SpoorError } from '../../../src/errors.ts';
import type { Rewind } from '../../../src/streams/stored-stream.ts';
import { MemoryCopier } from '../../support/copied-table.ts';
import { opId } from '../../support/log-entries.ts';

const NOTHING_ASKED: CopyRequest = { repairs: false, resync: null, joinsAgain: false, rewind: null };
const at = (index: number, more: Partial<TabletPosition> = {}): TabletPosition => ({
  opId: opId(1, index),
  tableName: 't',
  schemaVersion: 0,
  ...more,
});
const begun: CopyProgress = { cut: 7n, at: 70n, rows: 3 };
const again: CopyProgress = { cut: 7n, at: 70n, rows: 0, onlyLog: true, replayAfter: opId(1, 3) };
const rewind: Rewind = { id: 'w', to: { time: 6n } };

/** `copy-now`, `copy-now since 6`, `copy-behind-log, replaces`. */
function say(step: CopyStep | null): string {
  if (step === null) return 'none';
  if (step.kind === 'resume' || step.kind === 'rewind') return step.kind;
  const { since, replaces } = step.scope;
  return `${step.kind}${since === undefined ? '' : ` since ${since}`}${replaces ? ', replaces' : ''}`;
}

describe('what a position owes before the log goes on', () => {
  const CASES: readonly [what: string, position: TabletPosition, asked: Partial<CopyRequest>, step: string][] = [
    ['1 a gap behind a known time', at(4, { time: 5n }), { repairs: true }, 'copy-now since 6'],
    ['2 a gap behind no known time', at(4), { repairs: true }, 'copy-now, replaces'],
    ['2 a gap at the very begin', at(0), { repairs: true }, 'copy-now'],
    [
      '2 a gap at the begin of a table that joins again',
      at(0),
      { repairs: true, joinsAgain: true },
      'copy-now, replaces',
    ],
    ['2 a gap in a copy', at(7, { time: 5n, copy: begun }), { repairs: true }, 'copy-now, replaces'],
    ['3 a copy is wanted', at(0, { copy: 'wanted' }), {}, 'copy-now'],
    ['3 and the table joins again', at(0, { copy: 'wanted' }), { joinsAgain: true }, 'copy-now, replaces'],
    ['3 and a resync was asked for besides', at(0, { copy: 'wanted' }), { resync: 'r' }, 'copy-now'],
    ['4 a copy is under way', at(7, { copy: begun }), {}, 'resume'],
    ['4 and a resync was asked for besides', at(7, { copy: begun }), { resync: 'r' }, 'resume'],
    ['5 a copy was given up', at(9, { copy: begun }), {}, 'copy-behind-log'],
    ['5 one that replaces', at(9, { copy: { ...begun, replaces: true } }), {}, 'copy-behind-log, replaces'],
    ['5 of a table that joins again', at(9, { copy: begun }), { joinsAgain: true }, 'copy-behind-log, replaces'],
    ['6 a resync was asked for', at(9), { resync: 'r' }, 'copy-behind-log'],
    ['6 another one than the last', at(9, { resync: 'q' }), { resync: 'r' }, 'copy-behind-log'],
    ['7 a resync that was begun', at(9, { resync: 'r' }), { resync: 'r' }, 'none'],
    ['7 nothing', at(9), { joinsAgain: true }, 'none'],
    ['4 a rewind is under way', at(7, { copy: again }), {}, 'resume'],
    ['6 a rewind is under way, and a resync was asked for', at(7, { copy: again }), { resync: 'r' }, 'copy-behind-log'],
    ['2 a gap in a rewind', at(7, { time: 5n, copy: again }), { repairs: true }, 'copy-now, replaces'],
  ];
  for (const [what, position, asked, step] of CASES)
    it(what, () => {
      assert.equal(say(copyStep(position, { ...NOTHING_ASKED, ...asked })), step);
    });

  describe('where a step cannot be done', () => {
    /** Of each step and obstacle: what takes its place. */
    type Table = Record<string, { readonly step: CopyStep } & Record<Obstacle, string>>;
    const unasked: Table = {
      'all rows': {
        step: { kind: 'copy-now', scope: {} },
        'history-gone': 'none',
        'log-gap': 'none',
        'log-unreadable': 'none',
        other: 'none',
      },
      'what changed': {
        step: { kind: 'copy-now', scope: { since: 6n } },
        'history-gone': 'copy-now, replaces',
        'log-gap': 'none',
        'log-unreadable': 'none',
        other: 'none',
      },
      'the rest of a copy': {
        step: { kind: 'resume', copy: begun },
        'history-gone': 'copy-behind-log',
        'log-gap': 'copy-now, replaces',
        'log-unreadable': 'none',
        other: 'none',
      },
      'the rest of a repair': {
        step: { kind: 'resume', copy: { ...begun, since: 6n } },
        'history-gone': 'copy-now, replaces',
        'log-gap': 'copy-now, replaces',
        'log-unreadable': 'none',
        other: 'none',
      },
      'the rest of a rewind': {
        step: { kind: 'resume', copy: again },
        'history-gone': 'copy-behind-log',
        'log-gap': 'copy-now, replaces',
        'log-unreadable': 'copy-now, replaces',
        other: 'none',
      },
      'a rewind that was begun': {
        step: { kind: 'rewind', rewind },
        'history-gone': 'copy-now, replaces',
        'log-gap': 'copy-now, replaces',
        'log-unreadable': 'copy-now, replaces',
        other: 'none',
      },
      'a copy behind the log': {
        step: { kind: 'copy-behind-log', scope: {} },
        'history-gone': 'none',
        'log-gap': 'none',
        'log-unreadable': 'none',
        other: 'none',
      },
    };
    const asked: Table = {
      ...unasked,
      'a copy behind the log': { ...unasked['a copy behind the log']!, 'log-unreadable': 'copy-now, replaces' },
    };
    for (const [request, table] of [
      [NOTHING_ASKED, unasked],
      [{ ...NOTHING_ASKED, resync: 'r' }, asked],
    ] as const)
      for (const [what, { step, ...cells }] of Object.entries(table))
        it(`${what}${request.resync === null ? '' : ', asked for'}`, () => {
          for (const [obstacle, expected] of Object.entries(cells) as [Obstacle, string][]) {
            const instead = insteadOf(step, obstacle, at(7, { copy: begun }), request);
            assert.equal(say(instead?.step ?? null), expected, obstacle);
          }
        });

    it('a rewind, before its cut: what keeps the log from being read is told', () => {
      for (const obstacle of ['history-gone', 'log-gap', 'log-unreadable', 'other'] as const)
        assert.equal(insteadOf({ kind: 'rewind', rewind }, obstacle, at(7), NOTHING_ASKED), null, obstacle);
    });

    it('it comes to an end: no step comes twice', () => {
      const obstacles: Obstacle[] = ['history-gone', 'log-gap', 'log-unreadable', 'other'];
      const follow = (step: CopyStep, before: readonly string[]): void => {
        assert.ok(!before.includes(say(step)), [...before, say(step)].join(' → '));
        for (const obstacle of obstacles) {
          const next = insteadOf(step, obstacle, at(7, { copy: begun }), { ...NOTHING_ASKED, resync: 'r' });
          if (next) follow(next.step, [...before, say(step)]);
        }
      };
      follow({ kind: 'resume', copy: begun }, []);
      follow({ kind: 'resume', copy: { ...begun, since: 6n } }, []);
      follow({ kind: 'resume', copy: again }, []);
      follow({ kind: 'rewind', rewind }, []);
      follow({ kind: 'copy-now', scope: { since: 6n } }, []);
    });

    it('which obstacle an error is', () => {
      assert.deepEqual(
        (['SPOOR_WAL_GAP', 'SPOOR_SNAPSHOT_TOO_OLD', 'SPOOR_WAL_DIVERGED', 'SPOOR_WAL_ENCRYPTED'] as const).map(
          (code) => obstacleOf(new SpoorError(code, '')),
        ),
        ['log-gap', 'history-gone', 'log-unreadable', 'other'],
      );
      assert.equal(obstacleOf(new Error('EIO')), 'other');
    });
  });

  it('a rewind: once for each request, and as far back as the log or the history goes', () => {
    assert.equal(say(rewindStep(at(7), NOTHING_ASKED)), 'none');
    assert.equal(say(rewindStep(at(7), { ...NOTHING_ASKED, rewind })), 'rewind');
    assert.equal(say(rewindStep(at(7, { rewound: 'v' }), { ...NOTHING_ASKED, rewind })), 'rewind');
    assert.equal(say(rewindStep(at(7, { rewound: 'w' }), { ...NOTHING_ASKED, rewind })), 'none');

    const cut = { replayAfter: null };
    const behind = { kind: 'behind', opId: opId(1, 3) } as const;
    assert.equal(rewindScope(rewind, { kind: 'nothing' }, cut), null);
    assert.deepEqual(rewindScope(rewind, behind, cut), {
      scope: { onlyLog: true, replayAfter: opId(1, 3) },
      rewound: { by: 'log', after: opId(1, 3) },
    });
    const ahead = rewindScope(rewind, behind, { replayAfter: opId(1, 2) });
    assert.deepEqual(ahead?.rewound, { by: 'log', after: opId(1, 2) }, 'what is stamped ahead of the cut as well');
    assert.deepEqual(rewindScope(rewind, { kind: 'gone' }, cut)?.scope, { since: 6n });
    const toOperation = { id: 'w', to: { opId: opId(1, 2) } };
    assert.deepEqual(rewindScope(toOperation, { kind: 'gone' }, cut)?.scope, { replaces: true });
  });

  it('at the cut of a copy: which resync it was for, and what was put right before, goes with it', async () => {
    const cut = await new MemoryCopier([], 9).makeCut();
    const resyncOf = (before: TabletPosition, resync: string | null): unknown =>
      positionAtCut(before, cut, {}, { resync }).resync;
    assert.equal(resyncOf(at(0), null), undefined, 'a base copy');
    assert.equal(resyncOf(at(4), null), 'repair');
    assert.equal(resyncOf(at(4, { resync: 'q' }), null), 'q');
    assert.equal(resyncOf(at(4, { resync: 'q' }), 'r'), 'r');
    const stands = positionAtCut(at(4, { corrected: 'c' }), cut, { since: 6n }, { resync: null });
    assert.deepEqual([stands.corrected, stands.copy.cut, stands.copy.since], ['c', 9n, 6n]);
  });
});
