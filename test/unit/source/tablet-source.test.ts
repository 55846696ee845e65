import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { CopyOp, RowOp, type Change, type MissingChanges } from '../../../src/change/change.ts';
import { isAhead, positionJson, positionToJson, type TabletPosition } from '../../../src/change/position.ts';
import { SpoorError } from '../../../src/errors.ts';
import { compileJson } from '../../../src/formats/json.ts';
import { recordsOf } from '../../support/record-batches.ts';
import type { ChangeRead } from '../../../src/source/change-source.ts';
import type { TabletSource, TabletSourceOptions } from '../../../src/source/tablet-source.ts';
import { collectGarbage } from '../../../src/util/collect-garbage.ts';
import { Slots } from '../../../src/util/slots.ts';
import { START, MemoryCopier, insert, keyOf, marker, openCopied } from '../../support/copied-table.ts';
import { eventually } from '../../support/eventually.ts';
import type { Rewind } from '../../../src/streams/stored-stream.ts';
import { opId, timeOf } from '../../support/log-entries.ts';

async function readAll(source: TabletSource): Promise<ChangeRead[]> {
  const reads: ChangeRead[] = [];
  for (;;) {
    const read = await source.next();
    if (read.kind === 'gone') return reads;
    reads.push(read);
  }
}

/** `2 INSERT 2`, `5 ROW 3` or `5 DELETED 4`: index, what, key. */
function seen(reads: readonly ChangeRead[]): string[] {
  const json = compileJson({ streamName: 's', version: '0', tombstones: false });
  const names = new Map<number, string>([
    [RowOp.INSERT, 'INSERT'],
    [CopyOp.ROW, 'ROW'],
    [CopyOp.DELETED, 'DELETED'],
  ]);
  const rowsOf = (change: Change): string[] =>
    change.kind === 'rows'
      ? recordsOf(json, change).map(({ key }, row) => {
          const op = names.get(change.ops[row]!)!;
          return `${change.opId.index} ${op} ${(JSON.parse(key.toString()) as { k: number }).k}`;
        })
      : [`${change.opId.index} ${change.kind === 'event' ? change.event : change.kind}`];
  return reads.flatMap(({ changes }) => changes.flatMap(rowsOf));
}

/** Each copy has a cut of its own. */
class CutsInTurn extends MemoryCopier {
  readonly #cuts: number[];

  constructor(keys: readonly number[], cuts: readonly number[]) {
    super(keys, cuts[0]!);
    this.#cuts = [...cuts];
  }

  override async makeCut(): ReturnType<MemoryCopier['makeCut']> {
    const at = opId(1, this.#cuts.shift()!);
    return { ...(await super.makeCut()), opId: at, time: timeOf(at) };
  }
}

describe('the source of a tablet', () => {
  it('gives its turn among the copies back when it is closed between two reads', async () => {
    const copySlots = new Slots(1);
    const copier = new MemoryCopier([1, 2, 3], 1);
    const source = openCopied([], { copySlots, copier, from: { ...START, copy: 'wanted' } });
    await source.next(); // the schema
    await source.next(); // a row: its scan goes on
    await source[Symbol.asyncDispose]();
    assert.equal(copier.closed, 1, 'the scanner was closed');
    let isFree = false;
    void copySlots.acquire(AbortSignal.timeout(1000)).then(() => (isFree = true));
    await eventually('the next tablet may be copied', () => isFree);
  });

  it('says what it waits for: a turn, and then the cut', async () => {
    const copySlots = new Slots(1);
    const giveBack = await copySlots.acquire(new AbortController().signal);
    const copier = new MemoryCopier([1], 1);
    const cut = await copier.makeCut();
    let make!: () => void;
    copier.makeCut = () =>
      new Promise((resolve) => {
        make = () => {
          resolve(cut);
        };
      });
    const source = openCopied([], { copySlots, copier, from: { ...START, copy: 'wanted' } });
    assert.deepEqual([source.takesTurn, source.waits], [false, null]);
    const first = source.next();
    await eventually('it waits for a turn', () => source.takesTurn && /a turn among/.test(source.waits?.for ?? ''));
    giveBack();
    await eventually('it waits for the cut', () => /the cut of its copy/.test(source.waits?.for ?? ''));
    make();
    await first;
    assert.deepEqual([source.takesTurn, source.waits], [true, null], 'and then for nothing');
    await readAll(source);
    assert.equal(source.takesTurn, false);
  });

  it('keeps nothing of what it gave while it waits for what follows: an operation may be large', async () => {
    // Before a copy's cut as well, where the log is read beside the wait for a turn.
    for (const from of [START, { ...START, resync: 'r0' }]) {
      const copySlots = new Slots(1);
      await copySlots.acquire(new AbortController().signal);
      const resync = from === START ? null : 'r1';
      const source = openCopied([insert(1)], { copySlots, resync, from, copier: new MemoryCopier([1], 9) }, 'waits');
      const given = await (async () => new WeakRef(await source.next()))();
      const next = source.next();
      next.catch(() => undefined);
      await sleep(10);
      collectGarbage();
      assert.equal(given.deref(), undefined);
      await source[Symbol.asyncDispose]();
    }
  });

  it('copies all rows once more where that was asked for while another copy was under way', async () => {
    const copy = { cut: 3n, at: timeOf(opId(1, 3)), rows: 1, key: { after: keyOf(1), rows: 1 } };
    const from = { ...START, opId: opId(1, 3), copy };
    const log = [insert(1), insert(2), marker(3), insert(4), marker(5), insert(6)];
    const reads = await readAll(openCopied(log, { from, resync: 'r1', copier: new MemoryCopier([1, 2, 4], 5) }));
    assert.deepEqual(seen(reads), ['3 ROW 2', '3 ROW 4', '4 INSERT 4', '5 ROW 1', '5 ROW 2', '5 ROW 4', '6 INSERT 6']);
    assert.equal(reads.at(-1)!.position.resync, 'r1');
  });

  it('copies all rows behind the repair of a gap, where that was asked for', async () => {
    const from = { ...START, opId: opId(1, 2), time: 1n };
    const log = [insert(4), marker(5), insert(6)];
    const asked = { from, repairs: true, resync: 'r1', copier: new CutsInTurn([1, 2], [3, 5]) };
    const reads = await readAll(openCopied([marker(3), ...log], asked));
    const repair = ['3 schema', '3 ROW 1', '3 ROW 2'];
    assert.deepEqual(seen(reads), [...repair, '4 INSERT 4', '5 ROW 1', '5 ROW 2', '6 INSERT 6']);
    assert.equal(reads.at(-1)!.position.resync, 'r1');
  });

  it('puts rows right at a cut, in their own place among the operations', async () => {
    const correction = { id: 'c1', keys: [keyOf(2), keyOf(9)] };
    const log = [insert(1), insert(2), marker(3), insert(4)];
    const reads = await readAll(openCopied(log, { correction, copier: new MemoryCopier([1, 2, 4], 3) }));
    assert.deepEqual(seen(reads), ['1 INSERT 1', '2 INSERT 2', '3 ROW 2', '3 DELETED 9', '4 INSERT 4']);
    assert.deepEqual(reads.map(({ position }) => [position.opId.index, position.corrected]).slice(-2), [
      [3n, 'c1'],
      [4n, 'c1'],
    ]);
    const again = openCopied(log, { correction, from: { ...START, corrected: 'c1' } });
    assert.deepEqual(seen(await readAll(again)), ['1 INSERT 1', '2 INSERT 2', '4 INSERT 4'], 'it is done once');
  });

  it('ships again, behind a copy, what is stamped behind its cut and what follows that (COMMIT_WAIT, trap 44)', async () => {
    const log = [insert(1), insert(2), insert(3), marker(4), insert(5)];
    // Operation 2 waited for its time: it is before the cut in the log, and the rows as they were then lack it.
    const copier = new MemoryCopier([1, 3], 4, 1);
    const reads = await readAll(openCopied(log, { copier, from: { ...START, copy: 'wanted' } }));
    const rows = ['4 schema', '4 ROW 1', '4 ROW 3', '2 INSERT 2', '3 INSERT 3', '5 INSERT 5'];
    assert.deepEqual(seen(reads), rows);
    const done = reads.findIndex(({ completes }) => completes !== undefined);
    assert.deepEqual(seen([reads[done]!]), ['3 INSERT 3'], 'the copy is whole when the last of them is in the sink');
    assert.equal(reads[done]!.position.opId.index, 4n);

    // Whatever a crash leaves in the sink, what comes behind that is the rest.
    for (const [at, { position: from }] of reads.entries()) {
      const stored = positionJson.parse(JSON.parse(JSON.stringify(positionToJson(from))));
      const rest = await readAll(openCopied(log, { copier: new MemoryCopier([1, 3], 4, 1), from: stored }));
      assert.deepEqual(
        seen(rest),
        rows.slice(seen(reads.slice(0, at + 1)).length),
        `after ${seen([reads[at]!]).join()}`,
      );
    }
  });

  it('keeps no more in memory for that than a read of any log, and its positions stay in order', async () => {
    const operations = 6000;
    const log = Array.from({ length: operations }, (_, i) => insert(i + 1));
    const all = [log.flat(), marker(operations + 1)];
    const copier = new MemoryCopier([1], operations + 1, 1);
    const reads = await readAll(openCopied(all, { copier, from: { ...START, copy: 'wanted' } }));
    assert.equal(seen(reads).length, operations + 1, 'a schema, a row, and all operations but the first');
    const largest = Math.max(...reads.map(({ changes }) => changes.length));
    assert.ok(largest < operations / 2, `${largest} operations in one read`);
    for (const [i, { position }] of reads.entries())
      if (i > 0) assert.ok(isAhead(position, reads[i - 1]!.position), 'a sink can tell how far it is');
  });

  it('ships again, behind rows that are put right, what is stamped behind the cut of these rows, and of no others', async () => {
    const correction = { id: 'c1', keys: [keyOf(3)] };
    const log = [insert(1), insert(2), insert(3), insert(4), marker(5), insert(6)];
    const reads = await readAll(openCopied(log, { correction, copier: new MemoryCopier([1], 5, 1) }));
    const before = ['1 INSERT 1', '2 INSERT 2', '3 INSERT 3', '4 INSERT 4'];
    assert.deepEqual(seen(reads), [...before, '5 DELETED 3', '3 INSERT 3', '6 INSERT 6']);
  });

  it('ships again what a rewind asks for, behind an event that says so, and goes on; after a crash anywhere with the rest', async () => {
    const log = [insert(1), insert(2), insert(3), insert(4), marker(5), insert(6)];
    for (const to of [{ opId: opId(1, 3) }, { time: timeOf(opId(1, 3)) }]) {
      const rewind = { id: 'w1', to };
      const from = { ...START, opId: opId(1, 3), time: timeOf(opId(1, 3)) };
      const open = (position: TabletPosition): TabletSource =>
        openCopied(log, { rewind, from: position, copier: new MemoryCopier([], 5) });
      const reads = await readAll(open(from));
      const rows = ['4 INSERT 4', '5 rewound', '3 INSERT 3', '4 INSERT 4', '6 INSERT 6'];
      assert.deepEqual(seen(reads), rows);
      for (const [i, { position }] of reads.entries())
        assert.ok(isAhead(position, reads[i - 1]?.position ?? from), 'a sink can tell how far it is');
      assert.deepEqual(seen(await readAll(open({ ...START, opId: opId(1, 5), rewound: 'w1' }))), ['6 INSERT 6']);
      // Before its cut nothing has begun: then it is begun anew.
      const begun = reads.findIndex(({ position }) => position.rewound === 'w1');
      for (const [i, { position }] of reads.entries()) {
        if (i < begun) continue;
        const stored = positionJson.parse(JSON.parse(JSON.stringify(positionToJson(position))));
        assert.deepEqual(seen(await readAll(open(stored))), rows.slice(seen(reads.slice(0, i + 1)).length));
      }
    }
  });

  it('ships each operation of a rewind once more and no other, wherever it begins and however often it is begun anew', async () => {
    const shape = fc.record({
      before: fc.integer({ min: 1, max: 8 }),
      behind: fc.integer({ min: 1, max: 3 }),
      shipped: fc.nat(8),
      to: fc.nat(12),
      byTime: fc.boolean(),
      crashes: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(shape, async ({ before, behind, shipped, to, byTime, crashes }) => {
        const cut = before + 1;
        const indexes = (from: number, until: number): number[] =>
          Array.from({ length: Math.max(0, until - from) }, (_, i) => from + i);
        const log = [...indexes(1, cut).map(insert), marker(cut), ...indexes(cut + 1, cut + 1 + behind).map(insert)];
        const done = Math.min(shipped, before);
        const rewind = { id: 'w1', to: byTime ? { time: timeOf(opId(1, to)) } : { opId: opId(1, to) } };
        const inserts = (from: number, until: number): string[] =>
          indexes(from, until).map((index) => `${index} INSERT ${index}`);
        const again = to < cut ? [`${cut} rewound`, ...inserts(Math.max(1, to), cut)] : [];
        const wanted = [...inserts(done + 1, cut), ...again, ...inserts(cut + 1, cut + 1 + behind)];

        const given: ChangeRead[] = [];
        let position: TabletPosition = { ...START, opId: opId(done === 0 ? 0 : 1, done) };
        for (const reads of [...crashes, Number.POSITIVE_INFINITY]) {
          await using source = openCopied(log, { rewind, from: position, copier: new MemoryCopier([], cut) });
          for (let count = 0; count < reads; count++) {
            const read = await source.next();
            if (read.kind === 'gone') break;
            assert.ok(isAhead(read.position, position), 'a sink can tell how far it is');
            given.push(read);
            position = positionJson.parse(JSON.parse(JSON.stringify(positionToJson(read.position))));
          }
        }
        assert.deepEqual(seen(given), wanted);
        assert.equal(position.rewound, 'w1');
      }),
      { numRuns: 300 },
    );
  });

  it('ships nothing again where nothing is asked for before the cut', async () => {
    const log = [insert(1), marker(2), insert(3)];
    const rewind = { id: 'w1', to: { opId: opId(1, 9) } };
    const reads = await readAll(openCopied(log, { rewind, copier: new MemoryCopier([], 2) }));
    assert.deepEqual(seen(reads), ['1 INSERT 1', '3 INSERT 3']);
    assert.equal(reads.at(-1)!.position.rewound, 'w1');
  });

  it('reads the table where the log does not reach back as far as a rewind asks for', async () => {
    const log = [insert(7), insert(8), marker(9), insert(10)];
    const from = { ...START, opId: opId(1, 7) };
    const again = async (to: Rewind['to']): Promise<string[]> => {
      const copier = new MemoryCopier([7, 8], 9);
      return seen(await readAll(openCopied(log, { rewind: { id: 'w1', to }, from, copier })));
    };
    const changed = ['8 INSERT 8', '9 rewound', '9 ROW 7', '9 ROW 8', '10 INSERT 10'];
    assert.deepEqual(await again({ time: timeOf(opId(1, 2)) }), changed);
    assert.deepEqual(await again({ opId: opId(1, 2) }), [...changed.slice(0, 4), '9 recopied', '10 INSERT 10']);
    const byLog = ['8 INSERT 8', '9 rewound', '7 INSERT 7', '8 INSERT 8', '10 INSERT 10'];
    assert.deepEqual(await again({ opId: opId(1, 7) }), byLog);
  });

  it('copies all rows where the log of a rewind that was begun is gone by now', async () => {
    const copy = { cut: 9n, at: timeOf(opId(1, 9)), rows: 0, onlyLog: true, replayAfter: opId(1, 2) } as const;
    const from = { ...START, opId: opId(1, 9), rewound: 'w1', copy };
    const log = [insert(8), marker(9), marker(10), insert(11)];
    const rewind = { id: 'w1', to: { opId: opId(1, 3) } };
    const reads = await readAll(openCopied(log, { from, rewind, copier: new MemoryCopier([7, 8], 10) }));
    assert.deepEqual(seen(reads), ['10 schema', '10 ROW 7', '10 ROW 8', '10 recopied', '11 INSERT 11']);
    assert.equal(reads.at(-1)!.position.rewound, 'w1', 'it is not begun again');
  });

  it('says behind the copy of a table that joins again which rows of before are gone, whoever goes on with it', async () => {
    const log = [insert(1), marker(5), insert(6)];
    const joinsAgain = { joinsAgain: true, from: { ...START, copy: 'wanted' as const } };
    const reads = await readAll(openCopied(log, { ...joinsAgain, copier: new MemoryCopier([1, 2], 5) }));
    assert.deepEqual(seen(reads), ['5 schema', '5 ROW 1', '5 ROW 2', '5 recopied', '6 INSERT 6']);
    const from = reads[1]!.position;
    const taken = await readAll(openCopied(log, { joinsAgain: true, copier: new MemoryCopier([1, 2], 5), from }));
    assert.deepEqual(seen(taken).slice(-2), ['5 recopied', '6 INSERT 6']);

    // A copy that was given up behind its cut: another one takes its place, and says so all the same.
    const givenUp: TabletPosition = { ...from, opId: opId(1, 6) };
    const later = [insert(7), marker(8), insert(9)];
    const anew = await readAll(openCopied(later, { copier: new MemoryCopier([2], 8), from: givenUp }));
    assert.deepEqual(seen(anew), ['7 INSERT 7', '8 ROW 2', '8 recopied', '9 INSERT 9']);
  });

  it('calls its first copy the base copy, and each other one incremental: resync, repair, and rows put right', async () => {
    const kinds = async (log: Parameters<typeof openCopied>[0], options: Parameters<typeof openCopied>[1]) => {
      const reads = await readAll(openCopied(log, options));
      const batches = reads.flatMap(({ changes }) => changes.filter((change) => change.kind === 'rows'));
      return [...new Set(batches.map(({ copy }) => copy))];
    };
    const copier = (): MemoryCopier => new MemoryCopier([1, 2], 2);
    const log = [insert(1), marker(2), insert(3)];
    const wanted = { ...START, copy: 'wanted' as const };
    assert.deepEqual(await kinds(log, { copier: copier(), from: wanted }), ['base', null]);
    assert.deepEqual(await kinds(log, { copier: copier(), from: wanted, joinsAgain: true }), ['base', null]);
    assert.deepEqual(await kinds(log, { copier: copier(), resync: 'r1' }), [null, 'incremental']);
    const correction = { id: 'c1', keys: [keyOf(1), keyOf(9)] };
    assert.deepEqual(await kinds(log, { copier: copier(), correction }), [null, 'incremental']);
    const behind = { ...START, opId: opId(1, 1), time: 1n };
    assert.deepEqual(await kinds(log, { copier: copier(), from: behind, repairs: true }), ['incremental', null]);
  });

  it('copies all rows when that was asked for, although the log cannot be read up to there', async () => {
    const fault = new SpoorError('SPOOR_WAL_CORRUPT', 'wal-000000001 byte 7: bad');
    const source = openCopied([insert(1), fault], { resync: 'r1', copier: new MemoryCopier([1, 2], 5) });
    const reads: ChangeRead[] = [];
    while (reads.at(-1)?.completes === undefined) reads.push((await source.next()) as ChangeRead);
    assert.deepEqual(seen(reads), ['1 INSERT 1', '5 schema', '5 ROW 1', '5 ROW 2', '5 recopied']);
    await source[Symbol.asyncDispose]();

    const unasked = openCopied([insert(1), fault], {});
    await unasked.next();
    await assert.rejects(unasked.next(), fault);
  });

  describe('of a tablet that was dropped', () => {
    const DROPPED = { event: 'range-dropped' as const, partition: null, lastIndex: 1n };
    const dropped = { whyGone: () => Promise.resolve(DROPPED) };
    const upTo = (lastIndex: bigint) => ({ whyGone: () => Promise.resolve({ ...DROPPED, lastIndex }) });
    /** What its end says, and what was told once of it. */
    async function missingOf(log: Parameters<typeof openCopied>[0], options: Parameters<typeof openCopied>[1]) {
      const told: MissingChanges[] = [];
      const reads = await readAll(openCopied(log, { ...options, onMissing: (missing) => told.push(missing) }));
      const [end] = reads.at(-1)!.changes;
      assert.ok(end?.kind === 'event' && reads.at(-1)!.position.ended);
      assert.deepEqual(told, end.missing === null ? [] : [end.missing]);
      return { seen: seen(reads), missing: end.missing };
    }

    it('gives all of its log and then its end, although the copy that it owes cannot be had any more', async () => {
      const copier = new MemoryCopier([], 9);
      copier.makeCut = () => Promise.reject(new Error('no such tablet'));
      const owing: TabletPosition = { ...START, copy: 'wanted' };
      const reads = await readAll(openCopied([insert(1), insert(2)], { ...dropped, copier, from: owing }));
      assert.deepEqual(seen(reads), ['1 INSERT 1', '2 INSERT 2', '2 range-dropped']);
      assert.equal(reads.at(-1)!.position.ended, true);
    });

    it('takes no fault of the log for its end', async () => {
      const source = openCopied([insert(1), new Error('EIO')], dropped);
      assert.deepEqual(seen([(await source.next()) as ChangeRead]), ['1 INSERT 1']);
      await assert.rejects(source.next(), /EIO/);
    });

    it('gives what only another sidecar has of its log before its end', async () => {
      const log = [insert(1)];
      const asked: bigint[] = [];
      const fillRest: TabletSourceOptions['fillRest'] = ({ index }) => {
        asked.push(index);
        if (index === 1n) log.push(insert(2));
        return Promise.resolve(index === 1n ? 'filled' : 'nobody');
      };
      const reads = await readAll(openCopied(log, { ...dropped, fillRest }));
      assert.deepEqual(seen(reads), ['1 INSERT 1', '2 INSERT 2', '2 range-dropped']);
      assert.deepEqual(asked, [1n, 2n]);
    });

    it('says in its end what is missing, where its log ends before what was known to be in it', async () => {
      assert.deepEqual(await missingOf([insert(1), insert(2)], upTo(2n)), {
        seen: ['1 INSERT 1', '2 INSERT 2', '2 range-dropped'],
        missing: null,
      });
      assert.deepEqual(await missingOf([insert(1)], upTo(7n)), {
        seen: ['1 INSERT 1', '1 range-dropped'],
        missing: { operations: { fromIndex: 2n, toIndex: 7n }, copy: false },
      });
    });

    it('ends at a gap that nobody fills, without a try to copy what is not there', async () => {
      const copier = new MemoryCopier([], 9);
      copier.makeCut = () => new Promise(() => undefined);
      const from: TabletPosition = { ...START, opId: opId(1, 4) };
      assert.deepEqual(await missingOf([insert(9)], { ...upTo(9n), copier, from, repairs: true }), {
        seen: ['4 range-dropped'],
        missing: { operations: { fromIndex: 5n, toIndex: 9n }, copy: false },
      });
    });

    it('says that rows are missing whose copy was not whole', async () => {
      const copier = new MemoryCopier([], 9);
      copier.makeCut = () => Promise.reject(new Error('no such tablet'));
      const from: TabletPosition = { ...START, copy: 'wanted' };
      assert.deepEqual((await missingOf([insert(1)], { ...upTo(1n), copier, from })).missing, {
        operations: null,
        copy: true,
      });
    });

    it('does not ask for ever where what is given brings nothing', async () => {
      const reads = await readAll(openCopied([insert(1)], { ...dropped, fillRest: () => Promise.resolve('filled') }));
      assert.deepEqual(seen(reads), ['1 INSERT 1', '1 range-dropped']);
    });
  });
});
