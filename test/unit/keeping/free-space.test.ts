import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { LocalLogs } from '../../../src/app/local-logs.ts';
import { chooseToLetGo, FreeSpaceFloor, type DiskSpace } from '../../../src/keeping/free-space.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeTablet, filesBelow } from '../../support/fake-tablet.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';
import { TEST_TABLET } from '../../support/segment-bytes.ts';

/** `3:10 4:0`: last written at 3 and frees 10, then one that frees nothing. */
function queuesOf(texts: Readonly<Record<string, string>>) {
  const parse = (text: string) =>
    text
      .split(' ')
      .filter(Boolean)
      .map((part) => part.split(':').map(Number) as [number, number])
      .map(([lastAppendMs, freesBytes]) => ({ lastAppendMs, freesBytes }));
  return new Map(Object.entries(texts).map(([tabletId, text]) => [tabletId, parse(text)]));
}

describe('what is let go of for the sake of the disk', () => {
  const CASES: readonly {
    why: string;
    free: number;
    queues: Record<string, string>;
    expected: Record<string, number>;
  }[] = [
    { why: 'nothing while there is enough', free: 100, queues: { a: '1:50' }, expected: {} },
    {
      why: 'the oldest of all, until a percent more than the bound is free',
      free: 99,
      queues: { a: '2:6 3:6 5:6', b: '1:3 4:3' },
      expected: { a: 2, b: 1 },
    },
    {
      why: 'all that frees something, where that is too little',
      free: 10,
      queues: { a: '1:20 2:0', b: '3:20' },
      expected: { a: 1, b: 1 },
    },
    {
      why: 'nothing of a log that the server has too',
      free: 10,
      queues: { a: '1:0 2:0', b: '3:200' },
      expected: { b: 1 },
    },
    { why: 'what stands before one that frees something', free: 10, queues: { a: '1:0 2:200' }, expected: { a: 2 } },
    {
      why: 'nothing in vain before another is enough',
      free: 90,
      queues: { a: '1:0 9:50', b: '3:50' },
      expected: { b: 1 },
    },
    { why: 'nothing where nothing helps', free: 0, queues: { a: '1:0', b: '' }, expected: {} },
  ];
  for (const { why, free, queues, expected } of CASES)
    it(`is ${why}`, () => {
      const chosen = chooseToLetGo({ totalBytes: 1000, freeBytes: free }, 10, queuesOf(queues));
      assert.deepEqual(Object.fromEntries(chosen), expected);
    });

  it('is never more than helps, never younger than what stays, and all that helps where it is not enough', () => {
    const segment = fc.record({ lastAppendMs: fc.nat(50), freesBytes: fc.constantFrom(0, 0, 1, 7, 30) });
    const queue = fc.array(segment, { maxLength: 6 }).map((all) => all.sort((a, b) => a.lastAppendMs - b.lastAppendMs));
    fc.assert(
      fc.property(fc.array(queue, { maxLength: 4 }), fc.nat(100), fc.nat(90), (all, freeBytes, bound) => {
        const queues = new Map(all.map((each, i) => [`t${i}`, each]));
        const chosen = chooseToLetGo({ totalBytes: 100, freeBytes }, bound, queues);
        const gone = [...chosen].map(([id, count]) => queues.get(id)!.slice(0, count));
        if (bound === 0 || freeBytes >= bound) return chosen.size === 0;
        const freed = gone.flat().reduce((sum, { freesBytes }) => sum + freesBytes, 0);
        const couldFree = [...queues.values()].flat().reduce((sum, { freesBytes }) => sum + freesBytes, 0);
        const wanted = Math.min(100, bound + 1) - freeBytes;
        assert.ok(freed >= Math.min(wanted, couldFree), 'enough, or all there is');
        for (const each of gone) {
          assert.ok(each.at(-1)!.freesBytes > 0, 'the last one of each helps');
          assert.ok(freed - each.at(-1)!.freesBytes < wanted || gone.length > 1);
        }
        const youngestMs = Math.max(...gone.flat().map(({ lastAppendMs }) => lastAppendMs));
        const youngest = gone.flat().filter(({ lastAppendMs }) => lastAppendMs === youngestMs);
        if (gone.length > 0)
          assert.ok(
            youngest.some(({ freesBytes }) => freed - freesBytes < wanted),
            'one of the youngest was needed',
          );
        return true;
      }),
    );
  });
});

describe('the bound of free space', () => {
  function bench(t: TestContext, freePercents: readonly number[]) {
    const left = [...freePercents];
    const lines: LogLine[] = [];
    const measure = (): DiskSpace => ({
      totalBytes: 1000,
      freeBytes: (left.length > 1 ? left.shift()! : left[0]!) * 10,
    });
    const options = { dir: '/hold', minFreePercent: 10, logger: keepingLogger(lines), measure, actAgainMs: 10 };
    t.diagnostic(`free: ${freePercents.join(', ')}`);
    return { floor: new FreeSpaceFloor(options), lines, queues: () => queuesOf({ a: '1:5 2:5 3:5', b: '2:0' }) };
  }

  it('waits for what it let go of, tells it once, and when there is room again', (t) => {
    const { floor, lines, queues } = bench(t, [50, 9.9, 9.9, 9.8, 10.5, 11]);
    const counts = [0, 1, 5, 20, 30, 40].map((atMs) => Object.fromEntries(floor.look(atMs, queues)?.counts ?? []));
    assert.deepEqual(counts, [{}, { a: 3 }, {}, { a: 3 }, {}, {}]);
    assert.deepEqual(
      lines.map(({ level, message }) => [level, message]),
      [
        [
          'error',
          'the disk is nearly full, held logs are let go of: make room on it, or see to it that the streams ship',
        ],
        ['info', 'the disk of the held logs has room again'],
      ],
    );
  });

  it('does not wait while the disk goes on to fill', (t) => {
    const { floor, queues } = bench(t, [9.9, 9.5, 8.8, 8.7, 7.7]);
    const acts = [0, 1, 2, 3, 4].map((atMs) => floor.look(atMs, queues) !== null);
    assert.deepEqual(acts, [true, false, true, false, true]);
  });

  it('says so where nothing that is held would help, and does nothing', (t) => {
    const { floor, lines } = bench(t, [3]);
    for (const atMs of [0, 20, 40])
      assert.equal(
        floor.look(atMs, () => queuesOf({ b: '1:0' })),
        null,
      );
    assert.equal(lines.length, 1);
    assert.match(lines[0]!.message, /no held log would free anything of it/);
    assert.match(floor.whyFull ?? '', /^3 % of the disk of \/hold are free, SPOOR_HOLD_MIN_FREE_PERCENT is 10$/);
  });

  it('keeps a real disk free: what the server has no more goes, the oldest first, and the streams are told', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'spoor-small-disk-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', dir], { stdio: 'pipe' });
    } catch {
      rmSync(dir, { recursive: true });
      t.skip('a small disk takes root');
      return;
    }
    const before = process.env.TMPDIR;
    process.env.TMPDIR = dir;
    const lines: LogLine[] = [];
    try {
      using tablet = new FakeTablet();
      writeFileSync(join(tablet.walDir, 'instance'), `\n ${'a'.repeat(32)}`);
      await using logs = new LocalLogs(
        {
          walDir: tablet.walDir,
          hold: { dir: join(tablet.walDir, 'spoor-hold'), maxBytes: 0, maxAgeS: 0, minFreePercent: 10 },
          markerIntervalMs: 1000,
          tserver: 'node-1:7050',
          systemTables: { prefix: 'spoor.' },
        },
        keepingLogger(lines),
      );
      logs.open();
      const { keepers, holds } = logs.parts;
      keepers.keep(TEST_TABLET);
      for (let segments = 0; segments < 10; segments++) {
        tablet.append();
        tablet.roll();
        await eventually('the segment is held', () => holds.get(TEST_TABLET)!.letGoQueue().length === segments + 1);
      }
      tablet.collect(6); // four closed ones are the server's own too
      assert.deepEqual([...keepers.enforceLimits(Date.now())], [], 'there is room');

      const { bsize, blocks, bavail } = statfsSync(dir);
      const ballast = Math.floor(bavail - blocks * 0.1) + 1; // a block too many: a percent and it are wanted back
      writeFileSync(join(dir, 'ballast'), Buffer.alloc(ballast * bsize));
      assert.match(logs.freeSpace.whyFull ?? '', /^9\.\d % of the disk/);
      await assert.rejects(
        holds.get(TEST_TABLET)!.receive('other', 1, [Buffer.alloc(10)]),
        /no room for another sidecar's log: 9\.\d % of the disk/,
      );
      const lost = keepers.enforceLimits(Date.now()).get(TEST_TABLET)!;
      assert.ok(lost.toIndex < 7n);
      assert.match(lost.why, /SPOOR_HOLD_MIN_FREE_PERCENT is 10/);
      const kept = filesBelow(join(holds.dir, TEST_TABLET)).length;
      assert.equal(kept, 11 - Number(lost.toIndex), 'a segment for each operation, and the one being written');
      const { blocks: total, bavail: free } = statfsSync(dir);
      assert.ok(free / total >= 0.1, `${free} of ${total} blocks are free`);
    } finally {
      process.env.TMPDIR = before;
      if (before === undefined) delete process.env.TMPDIR;
      execFileSync('umount', [dir]);
      rmSync(dir, { recursive: true });
    }
  });
});
