import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeTimeLeft, Pace, renderBar } from '../../../src/cli/progress-bar.ts';
import { Progress } from '../../../src/cli/progress.ts';
import { columnsOf, paintFor, wrap, wrapIndented } from '../../../src/cli/text-style.ts';
import { renderTable } from '../../../src/cli/text-table.ts';
import { RUNS, StreamWait } from '../../../src/cli/wait-for-stream.ts';
import type { StreamView, TabletView } from '../../../src/api/shapes.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

const terminal = { screen: () => ({ columns: 100, rows: 24 }) };

describe('colours', () => {
  it('are for terminals, and not with NO_COLOR', () => {
    assert.equal(paintFor({ ...terminal, env: {} })('red', 'x'), '\x1b[31mx\x1b[0m');
    assert.equal(paintFor({ ...terminal, env: { NO_COLOR: '' } })('red', 'x'), '\x1b[31mx\x1b[0m');
    assert.equal(paintFor({ ...terminal, env: { NO_COLOR: '1' } })('red', 'x'), 'x');
    assert.equal(paintFor({ env: {} })('red', 'x'), 'x');
    assert.equal(paintFor({ screen: () => null, env: {} })('red', 'x'), 'x');
  });
});

describe('lines', () => {
  it('are as wide as the terminal, else 80', () => {
    assert.deepEqual(
      [columnsOf(terminal), columnsOf({}), columnsOf({ screen: () => ({ columns: 3, rows: 1 }) })],
      [100, 80, 40],
    );
  });

  it('are wrapped between words, which stay whole', () => {
    assert.deepEqual(wrap('a bb ccc dddd', 6), ['a bb', 'ccc', 'dddd']);
    assert.deepEqual(wrap('/a/very/long/path x', 6), ['/a/very/long/path', 'x']);
    assert.deepEqual(wrap('', 6), []);
    assert.equal(wrapIndented('  a bb ccc dddd', 7, 4), '  a bb\n    ccc\n    dddd');
  });
});

describe('a table that has to fit', () => {
  const rows = [['a-rather-long-name', '0123456789abcdef', 'running', '1000']];
  const fit = (columns: number) =>
    renderTable(['name', 'id', 'state', 'lag'], rows, new Set([3]), { columns, shrinks: [0, 1], drops: [3] }).split(
      '\n',
    )[1];

  it('has its cells cut, the widest first, and then columns left out', () => {
    assert.equal(fit(80), 'a-rather-long-name  0123456789abcdef  running  1000');
    assert.equal(fit(45), 'a-rather-long…  0123456789abc…  running  1000');
    assert.equal(fit(30), 'a-rather…  012345678…  running');
    assert.equal(fit(5), 'a-rather…  01234567…  running', 'no more can be done');
  });
});

describe('a bar', () => {
  it('is as full as the work is done, within its columns', () => {
    assert.equal(renderBar(0.5, 'half', 40), `[${'#'.repeat(11)}${'.'.repeat(12)}]   50.0 %  half`);
    for (const columns of [30, 60, 80, 200]) assert.ok(renderBar(1, 'words', columns).length <= columns);
    assert.match(renderBar(7, '', 40), /^\[#+\] {2}100\.0 %$/);
  });

  it('tells the time that is left by the pace so far', () => {
    const pace = new Pace();
    pace.note(0.1, 0);
    pace.note(0.2, 1_000);
    assert.equal(pace.secondsLeft, null, 'a second says little');
    pace.note(0.3, 2_000);
    assert.equal(Math.round(pace.secondsLeft!), 7);
    pace.note(0, 3_000);
    assert.equal(pace.secondsLeft, null, 'it began anew');
    assert.deepEqual([6.2, 150, 7_300, null].map(describeTimeLeft), [
      'about 7 s left',
      'about 3 min left',
      'about 2 h 2 min left',
      '',
    ]);
  });

  it('is a line now and then where there is no terminal, and none for what is over soon', () => {
    let [err, nowMs] = ['', 0];
    using progress = new Progress({ err: (text) => (err += text) }, () => nowMs);
    progress.show({ share: 0.1, words: 'copying' });
    assert.equal(err, '');
    nowMs = 6_000;
    progress.show({ share: 0.4, words: 'copying', notes: ['1 blocked'] });
    progress.show({ share: 0.5, words: 'copying' });
    assert.match(err, /^\S+Z 40\.0 %; copying; about 12 s left; 1 blocked\n$/);
  });
});

describe('the wait for a stream', () => {
  const view = (...tablets: TabletView[]) => ({ tablets, paused: false }) as unknown as StreamView;
  const copy = { kind: 'all', hybridTime: '1', rows: 300, totalRows: 1000, percent: 30, secondsLeft: 6 } as const;
  const running = tabletView();

  it('is over when all run, with nothing left to copy', () => {
    const wait = new StreamWait(RUNS, 0);
    const half = wait.look(view(running, tabletView({ tabletId: 'b', state: 'base-copy', copy })), 1);
    assert.deepEqual(
      [half.isDone, half.share, half.words],
      [false, 0.65, '1 of 2 tablets run, 300 rows copied in the rest'],
    );
    assert.match(half.notes![0]!, /^1 base-copy: waits for /);
    assert.equal(wait.look(view(running), 2).isDone, true);
    assert.equal(wait.look(view(), 2).isDone, true, 'no table matches yet');
    assert.equal(wait.look({ ...view(tabletView({ state: 'paused' })), paused: true }, 2).isDone, true);
    assert.equal(wait.look(view({ ...running, applyOpId: null }), 2).isDone, false);
  });

  it('for copies sees each begin before it takes them for done, or waits until it would have', () => {
    const wait = new StreamWait({ copies: ({ tabletId }) => tabletId === running.tabletId }, 0);
    assert.equal(wait.look(view(running, tabletView({ tabletId: 'b' })), 1).words, '1 of 2 tablets run');
    assert.equal(wait.look(view({ ...running, copy }), 2).isDone, false);
    assert.equal(wait.look(view(running), 3).isDone, true);
    const named = new StreamWait({ copies: () => true, resync: 'r1' }, 0);
    assert.equal(named.look(view(running), 60_000).isDone, false, 'however long nobody has begun it');
    assert.equal(named.look(view({ ...running, resynced: 'r1' }), 60_000).isDone, true);
    const other = new StreamWait({ copies: () => true }, 0);
    assert.deepEqual(
      [other.look(view(running), 14_000).isDone, other.look(view(running), 16_000).isDone],
      [false, true],
    );
  });
});
