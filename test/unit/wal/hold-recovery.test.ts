import assert from 'node:assert/strict';
import fs, { existsSync, linkSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename, join } from 'node:path';
import { afterEach, describe, it, mock } from 'node:test';
import { HoldStore } from '../../../src/wal/hold-store.ts';
import { identify } from '../../../src/wal/log-folder.ts';
import type { TabletHold } from '../../../src/wal/tablet-hold.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeTablet, filesBelow, segmentOf } from '../../support/fake-tablet.ts';
import { TEST_TABLET } from '../../support/segment-bytes.ts';

afterEach(() => {
  mock.restoreAll();
  syncBuiltinESMExports();
});

class Crash extends Error {}

/** Runs `task` as a process that dies at its `n`th change of the file system. @returns false when it made fewer */
function dieAt(n: number, task: () => void): boolean {
  let changes = 0;
  for (const name of ['linkSync', 'renameSync', 'rmSync', 'mkdirSync', 'rmdirSync', 'chmodSync'] as const) {
    const real = fs[name] as (...args: unknown[]) => unknown;
    mock.method(fs, name, (...args: unknown[]) => {
      if (++changes >= n) throw new Crash(`at ${name}`); // a dead process changes nothing more, not in `finally` either
      return real(...args);
    });
  }
  syncBuiltinESMExports();
  try {
    task();
  } catch (error) {
    if (!(error instanceof Crash) && !((error as Error).cause instanceof Crash)) throw error;
  } finally {
    mock.restoreAll();
    syncBuiltinESMExports();
  }
  return changes >= n;
}

const open = (tablet: FakeTablet): HoldStore =>
  HoldStore.open({ dir: join(tablet.walDir, 'spoor-hold'), walDir: tablet.walDir });
const link = (tablet: FakeTablet, hold: TabletHold): boolean =>
  hold.link(identify(tablet.folder)!, tablet.folder, tablet.numbers);

/** Everything on disk is known, named for what it is, and nothing is half done. */
function assertSound(tablet: FakeTablet, store: HoldStore): void {
  const hold = store.get(TEST_TABLET);
  const onDisk = filesBelow(store.dir);
  const sizes = new Map(onDisk.map(({ path, inode }) => [inode, statSync(path).blocks * 512]));
  const sum = [...sizes.values()].reduce((a, b) => a + b, 0);
  assert.equal(hold?.bytes ?? 0, sum, 'none is orphaned');
  const incarnationOf = new Map<string, number>();
  for (const { path, inode } of onDisk) {
    const birth = tablet.births.get(inode);
    assert.ok(birth, path);
    assert.equal(basename(path), `wal-${String(birth.number).padStart(9, '0')}`);
    const generation = basename(join(path, '..'));
    assert.equal(incarnationOf.get(generation) ?? birth.incarnation, birth.incarnation, 'one incarnation a folder');
    incarnationOf.set(generation, birth.incarnation);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  }
  for (const generation of hold === null ? [] : readdirSync(join(store.dir, TEST_TABLET)))
    assert.ok(incarnationOf.has(generation), `${generation} has no segment`);
  assert.deepEqual(
    readdirSync(store.dir).filter((name) => name !== TEST_TABLET),
    [],
  );
}

interface Step {
  readonly name: string;
  /** What was done before, undisturbed. */
  readonly before: (tablet: FakeTablet, hold: TabletHold) => void;
  readonly step: (tablet: FakeTablet, store: HoldStore) => void;
  /** Whether all that was there at the crash must be held after the next link. */
  readonly keeps: boolean;
}

function fill(tablet: FakeTablet): void {
  for (let i = 0; i < 3; i++) {
    tablet.append();
    tablet.roll();
  }
}

const STEPS: readonly Step[] = [
  {
    name: 'the first links',
    before: fill,
    step: (tablet, store) => link(tablet, store.enable(TEST_TABLET)),
    keeps: true,
  },
  {
    name: 'more links',
    before: (tablet, hold) => {
      fill(tablet);
      link(tablet, hold);
      fill(tablet);
    },
    step: (tablet, store) => link(tablet, store.enable(TEST_TABLET)),
    keeps: true,
  },
  {
    name: 'links of another incarnation',
    before: (tablet, hold) => {
      fill(tablet);
      link(tablet, hold);
      tablet.restart();
    },
    step: (tablet, store) => link(tablet, store.enable(TEST_TABLET)),
    keeps: true,
  },
  {
    name: 'links that come too late',
    before: (tablet, hold) => {
      fill(tablet);
      link(tablet, hold);
      fill(tablet);
    },
    step: (tablet, store) => {
      const listed = [identify(tablet.folder)!, tablet.numbers] as const;
      tablet.restart();
      store.get(TEST_TABLET)!.link(listed[0], tablet.folder, listed[1]);
    },
    keeps: false,
  },
  {
    name: 'letting go',
    before: (tablet, hold) => {
      fill(tablet);
      link(tablet, hold);
    },
    step: (_tablet, store) => store.get(TEST_TABLET)!.release(2n),
    keeps: false,
  },
  {
    name: 'letting go of whole incarnations',
    before: (tablet, hold) => {
      fill(tablet);
      link(tablet, hold);
      tablet.restart();
      link(tablet, hold);
    },
    step: (_tablet, store) => store.get(TEST_TABLET)!.letGo({ maxBytes: 1 }, Date.now()),
    keeps: false,
  },
  {
    name: 'the end of a hold',
    before: (tablet, hold) => {
      fill(tablet);
      link(tablet, hold);
    },
    step: (_tablet, store) => {
      store.get(TEST_TABLET)!.drop();
    },
    keeps: false,
  },
  {
    name: 'opening after a crash',
    before: (tablet, hold) => {
      fill(tablet);
      link(tablet, hold);
      const dir = join(tablet.walDir, 'spoor-hold');
      const generation = join(dir, TEST_TABLET, readdirSync(join(dir, TEST_TABLET))[0]!);
      linkSync(tablet.path(2), join(generation, '.new-wal-000000009-1'));
      mkdirSync(join(dir, TEST_TABLET, 'g000000002.1.2.3'));
      mkdirSync(join(dir, `.dropped-${'ab'.repeat(16)}-1-1`, 'g000000001.1.2.3'), { recursive: true });
      linkSync(tablet.path(1), join(dir, `.dropped-${'ab'.repeat(16)}-1-1`, 'g000000001.1.2.3', 'wal-000000001'));
      linkSync(tablet.path(1), join(dir, '.trial'));
    },
    step: (tablet) => open(tablet),
    keeps: true,
  },
];

describe('HoldStore after a crash', () => {
  for (const { name, before, step, keeps } of STEPS)
    it(`takes up every state that a crash may leave: ${name}`, async () => {
      let crashes = 0;
      for (let n = 1; ; n++) {
        using tablet = new FakeTablet();
        const store = open(tablet);
        before(tablet, store.enable(TEST_TABLET));
        const crashed = dieAt(n, () => {
          step(tablet, store);
        });
        if (!crashed) await eventually('what goes in the background is done', () => !existsDropped(store.dir));
        const held = filesBelow(store.dir).filter(({ path }) => /\/wal-\d+$/.test(path));
        const next = open(tablet);
        assertSound(tablet, next);
        const { exists } = tablet;
        const hold = next.enable(TEST_TABLET);
        if (exists) assert.ok(link(tablet, hold));
        assertSound(tablet, next);
        const inodes = new Set(filesBelow(next.dir).map(({ inode }) => inode));
        for (const number of tablet.numbers) assert.ok(inodes.has(statSync(tablet.path(number), { bigint: true }).ino));
        if (keeps)
          for (const { inode, path } of held)
            if (!path.includes('.dropped-')) assert.ok(inodes.has(inode), `${path} is missing after crash ${n}`);
        hold.release(1_000n);
        await eventually('all that is done with goes', () => filesBelow(next.dir).length === 1);
        assertSound(tablet, next);
        if (!crashed) break;
        crashes++;
      }
      assert.ok(crashes >= (name === 'the end of a hold' ? 1 : 2), `${crashes} crashes`);
    });

  it('clears away what was arriving from another sidecar, and leaves alone what is not ours', () => {
    using tablet = new FakeTablet();
    const dir = join(open(tablet).dir, TEST_TABLET);
    mkdirSync(join(dir, 'p000000001.peer'), { recursive: true });
    mkdirSync(join(dir, 'p000000002.peer.2'));
    writeFileSync(join(dir, 'p000000001.peer', '.new-wal-000000001-1'), 'half');
    writeFileSync(join(dir, 'p000000002.peer.2', 'wal-000000003'), segmentOf(3, ['R1.1', 'C1.1'], true));
    writeFileSync(join(dir, 'p000000002.peer.2', '.new-wal-000000004-1'), 'half');
    mkdirSync(join(dir, 'lost+found'));
    writeFileSync(join(dir, '..', 'README'), 'hello');
    const store = open(tablet);
    assert.deepEqual(
      store
        .get(TEST_TABLET)!
        .incarnations()
        .map(({ kind, segments }) => [kind, segments.length]),
      [['peer', 1]],
    );
    assert.deepEqual(readdirSync(dir).toSorted(), ['lost+found', 'p000000002.peer.2']);
    assert.deepEqual(readdirSync(join(dir, 'p000000002.peer.2')), ['wal-000000003']);
    assert.ok(existsSync(join(dir, '..', 'README')));
    renameSync(join(dir, '..', 'README'), join(dir, '..', 'READ.ME'));
  });
});

function existsDropped(dir: string): boolean {
  return readdirSync(dir).some((name) => name.startsWith('.dropped-'));
}
