import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatOpId } from '../../../src/kudu/opid.ts';
import { CutFinder, type FoundCut } from '../../../src/keeping/cut-finder.ts';
import { opId } from '../../support/log-entries.ts';

const SECOND = 1_000_000n << 12n;
const NOW = 1_795_340_944_066_750n << 12n;
const never = new AbortController().signal;

/** An operation `index` of term 1, or `term.index`; stamped `at` seconds from the start; `cut` is one. */
interface Op {
  readonly index: number;
  readonly term?: number;
  readonly at: number;
  readonly cut?: boolean;
}
const timeAt = (seconds: number): bigint => NOW + BigInt(Math.round(seconds * 1e6)) * (SECOND / 1_000_000n);

function read(ops: readonly Op[], finder = new CutFinder()): CutFinder {
  for (const { index, term = 1, at, cut = false } of ops)
    finder.read({ opId: opId(term, index), hybridTime: timeAt(at) }, cut);
  return finder;
}

async function findAt(finder: CutFinder, at: number): Promise<FoundCut> {
  const found = await finder.find(timeAt(at), never);
  assert.ok(found !== 'log-too-young');
  return found;
}
const replayOf = ({ replayAfter }: FoundCut): string | null => replayAfter && formatOpId(replayAfter);

describe('cut finder', () => {
  it('finds a cut by its time, and that nothing before it is stamped behind it', async () => {
    const finder = read([
      { index: 1, at: 0 },
      { index: 2, at: 1, cut: true },
      { index: 3, at: 2 },
      { index: 4, at: 3, cut: true },
    ]);
    assert.deepEqual(await findAt(finder, 1), { opId: opId(1, 2), replayAfter: null, schemaVersion: 0 });
    assert.deepEqual(await findAt(finder, 3), { opId: opId(1, 4), replayAfter: null, schemaVersion: 0 });
  });

  const AHEAD: readonly { why: string; ops: readonly Op[]; replayAfter: string | null }[] = [
    {
      why: 'one that waited for its time (COMMIT_WAIT)',
      ops: [
        { index: 1, at: 0 },
        { index: 2, at: 5 },
        { index: 3, at: 1 },
        { index: 4, at: 2, cut: true },
      ],
      replayAfter: '1.1',
    },
    {
      why: 'the first of several, with those in order between them',
      ops: [
        { index: 1, at: 0 },
        { index: 2, at: 9 },
        { index: 3, at: 1 },
        { index: 4, at: 5 },
        { index: 5, at: 2, cut: true },
      ],
      replayAfter: '1.1',
    },
    {
      why: 'all of several, each ahead of the one before it',
      ops: [
        { index: 1, at: 0 },
        { index: 2, at: 5 },
        { index: 3, at: 9 },
        { index: 4, at: 1, cut: true },
      ],
      replayAfter: '1.1',
    },
    {
      why: 'the very first of a log',
      ops: [
        { index: 1, at: 3 },
        { index: 2, at: 1, cut: true },
      ],
      replayAfter: '1.0',
    },
    {
      why: 'one of the same time: rows are read as they were before it',
      ops: [
        { index: 1, at: 0 },
        { index: 2, at: 1 },
        { index: 3, at: 1, cut: true },
      ],
      replayAfter: '1.1',
    },
    {
      why: 'not one whose time has come by then',
      ops: [
        { index: 1, at: 0 },
        { index: 2, at: 2 },
        { index: 3, at: 1 },
        { index: 4, at: 3, cut: true },
      ],
      replayAfter: null,
    },
    {
      why: 'not one that another term overwrote',
      ops: [
        { index: 1, at: 0 },
        { index: 2, at: 9 },
        { index: 3, at: 1 },
        { index: 2, term: 2, at: 1.5 },
        { index: 3, term: 2, at: 2, cut: true },
      ],
      replayAfter: null,
    },
    {
      why: 'one that it meets again when the log begins anew',
      ops: [
        { index: 1, at: 0 },
        { index: 2, at: 5 },
        { index: 3, at: 1 },
        { index: 1, at: 0 },
        { index: 2, at: 5 },
        { index: 3, at: 1 },
        { index: 4, at: 2, cut: true },
      ],
      replayAfter: '1.1',
    },
    {
      why: 'one behind a hole in the log, from its own place on',
      ops: [
        { index: 1, at: 0 },
        { index: 7, term: 3, at: 20 },
        { index: 8, term: 3, at: 15, cut: true },
      ],
      replayAfter: '3.6',
    },
  ];
  for (const { why, ops, replayAfter } of AHEAD)
    it(`has read again what is stamped behind the cut: ${why}`, async () => {
      const cut = ops.find((op) => op.cut)!;
      assert.equal(replayOf(await findAt(read(ops), cut.at)), replayAfter);
    });

  it('agrees with a look at every operation before the cut, whatever they are stamped', () => {
    const times = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(times, (seconds) => {
        const finder = new CutFinder();
        for (const [i, at] of seconds.entries()) {
          read([{ index: i + 1, at }], finder);
          const before = seconds.slice(0, i).findIndex((earlier) => earlier >= at);
          const expected = before < 0 ? null : `1.${before}`;
          assert.equal(finder.replayAfter && formatOpId(finder.replayAfter).replace(/^\d+/, '1'), expected);
        }
      }),
    );
  });

  it('says so when the log does not reach back to what may be stamped behind the cut', async () => {
    const finder = read([
      { index: 50, at: 0 },
      { index: 51, at: 9.9, cut: true },
      { index: 52, at: 10.1, cut: true },
    ]);
    assert.equal(await finder.find(timeAt(9.9), never), 'log-too-young');
    assert.equal(replayOf(await findAt(finder, 10.1)), null);
  });

  it('tells the highest schema version of the ALTERs before the cut', async () => {
    const finder = new CutFinder();
    finder.readAlter(4);
    finder.readAlter(3); // a retry that failed
    read([{ index: 1, at: 0, cut: true }], finder);
    finder.readAlter(5);
    assert.equal((await findAt(finder, 0)).schemaVersion, 4);
  });

  it('waits for a cut that is not there yet, and no longer than its caller does', async () => {
    const finder = read([{ index: 1, at: 0 }]);
    const waiting = finder.find(timeAt(2), never);
    read(
      [
        { index: 2, at: 1, cut: true },
        { index: 3, at: 2, cut: true },
      ],
      finder,
    );
    const found = await waiting;
    assert.ok(found !== 'log-too-young');
    assert.deepEqual(found.opId, opId(1, 3), 'another cut is not the one that is asked for');
    const stop = new AbortController();
    const forgotten = finder.find(timeAt(99), stop.signal);
    stop.abort(new Error('no more'));
    await assert.rejects(forgotten, /no more/);
    assert.equal(finder.waiting, 0, 'whoever gave up is not kept until the next cut');
  });
});
