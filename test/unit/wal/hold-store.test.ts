import assert from 'node:assert/strict';
import fs, { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, it, mock } from 'node:test';
import { HoldDirError, HoldStore } from '../../../src/wal/hold-store.ts';
import { identify } from '../../../src/wal/log-folder.ts';
import { eventually } from '../../support/eventually.ts';
import { filesBelow, segmentOf } from '../../support/fake-tablet.ts';
import { HeldTablet } from '../../support/held-tablet.ts';
import { hiddenKey, instanceFile } from '../../support/instance-file.ts';
import { LocalSegment } from '../../../src/wal/local-segment.ts';
import { TEST_TABLET } from '../../support/segment-bytes.ts';

afterEach(() => {
  mock.restoreAll();
  syncBuiltinESMExports();
});

describe('HoldStore', () => {
  it('goes on on a full disk: the log is read, each trouble told once, and all is made up for when there is room', () => {
    using bench = new HeldTablet();
    const { tablet, store, lines } = bench;
    store.get(TEST_TABLET)!.drop();
    const full = (): never => {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    };
    mock.method(fs, 'mkdirSync', full);
    mock.method(fs, 'writeFileSync', full);
    syncBuiltinESMExports();
    const hold = store.enable(TEST_TABLET);
    const link = (): boolean => hold.link(identify(tablet.folder)!, tablet.folder, tablet.numbers);
    for (let looks = 0; looks < 3; looks++) {
      assert.ok(link());
      hold.describe('what it is of');
    }
    assert.match(hold.failure?.message ?? '', /ENOSPC/);
    assert.equal(hold.note, null);
    assert.deepEqual(
      lines.filter(({ level }) => level === 'warn' || level === 'error').map(({ message }) => message),
      ['no folder for a held log', 'segments cannot be held', 'what a held log is of was not kept'],
    );
    mock.restoreAll();
    syncBuiltinESMExports();
    assert.ok(link());
    hold.describe('what it is of');
    assert.deepEqual([hold.failure, hold.note], [null, 'what it is of']);
    assert.equal(hold.incarnations().length, 1);
  });

  it('links every segment that is listed: the same file, that only its owner may read, whatever becomes of its name', () => {
    using bench = new HeldTablet();
    const { tablet } = bench;
    bench.fill(2);
    assert.ok(bench.link() && bench.link());
    assert.deepEqual(bench.held, ['own-1: 1 2']);
    const [generation] = bench.hold.incarnations();
    for (const { path, sequenceNumber, inode } of generation!.segments) {
      const live = statSync(tablet.path(sequenceNumber), { bigint: true });
      assert.equal(inode, live.ino);
      assert.equal(statSync(path, { bigint: true }).ino, live.ino);
      assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.match(path, /\/spoor-hold\/0123456789abcdef0123456789abcdef\/g000000001\.[\d.]+\/wal-00000000[12]$/);
    }
    for (const dir of [bench.dir, join(bench.dir, TEST_TABLET)]) assert.equal(statSync(dir).mode & 0o777, 0o700);
    tablet.collect();
    bench.fill(1);
    assert.ok(bench.link());
    assert.deepEqual(bench.held, ['own-1: 1 2 3']);
    tablet.remove();
    assert.equal(filesBelow(bench.dir).length, 3);
  });

  it('links a segment that is not yet born', () => {
    using bench = new HeldTablet();
    const path = bench.tablet.path(2);
    writeFileSync(path, Buffer.alloc(12));
    assert.ok(bench.hold.link(identify(bench.tablet.folder)!, bench.tablet.folder, [1, 2]));
    assert.deepEqual(bench.held, ['own-1: 1 2']);
    assert.equal(bench.hold.firstIndex, null);
  });

  it('begins a folder with every incarnation, in the order in which they were seen', () => {
    using bench = new HeldTablet();
    bench.fill(2);
    bench.link();
    bench.tablet.restart();
    bench.link();
    bench.tablet.remove();
    bench.tablet.copyIn(1);
    bench.link();
    assert.deepEqual(
      readdirSync(join(bench.dir, TEST_TABLET)).map((name) => name.slice(0, 10)),
      ['g000000001', 'g000000002', 'g000000003'],
    );
    assert.deepEqual(bench.hold.segmentsOf(identify(bench.tablet.folder)!).length, 2);
  });

  it('keeps nothing when the folder was exchanged since it was listed', () => {
    using bench = new HeldTablet();
    const { tablet } = bench;
    bench.fill(1);
    const listed = identify(tablet.folder)!;
    tablet.restart();
    assert.equal(bench.hold.link(listed, tablet.folder, [1, 2]), false);
    assert.deepEqual([bench.held, filesBelow(bench.dir)], [[], []]);
    bench.link();
    const again = identify(tablet.folder)!;
    tablet.remove();
    assert.equal(bench.hold.link(again, tablet.folder, [1, 2, 3]), false);
    assert.deepEqual(bench.held, ['own-1: 1 2']);
  });

  it('keeps nothing when the folder is exchanged between two links', () => {
    for (const [after, how] of [
      [1, 'restart'],
      [2, 'restart'],
      [1, 'remove'],
      [2, 'remove'],
    ] as const) {
      using bench = new HeldTablet();
      bench.fill(1);
      bench.fill(1);
      bench.link();
      bench.fill(1);
      bench.fill(1);
      const before = bench.held;
      const { linkSync } = fs;
      let calls = 0;
      mock.method(fs, 'linkSync', (from: string, to: string) => {
        linkSync(from, to);
        if (++calls === after) bench.tablet[how]();
      });
      syncBuiltinESMExports();
      assert.equal(bench.link(), false);
      mock.restoreAll();
      syncBuiltinESMExports();
      assert.deepEqual(bench.held, before);
      assert.equal(filesBelow(bench.dir).length, 3);
    }
  });

  it('leaves out what log GC takes between listing and linking', () => {
    using bench = new HeldTablet();
    bench.fill(1);
    bench.fill(1);
    const identity = identify(bench.tablet.folder)!;
    bench.tablet.collect();
    assert.ok(bench.hold.link(identity, bench.tablet.folder, [1, 2, 3]));
    assert.deepEqual(bench.held, ['own-1: 2 3']);
  });

  it('believes no name: where a folder has the identity of an incarnation and not its files, it is another', () => {
    using bench = new HeldTablet();
    bench.fill(1);
    bench.link();
    const path = bench.tablet.path(1);
    writeFileSync(`${path}.other`, segmentOf(1, ['R1.1'], true));
    fs.renameSync(`${path}.other`, path);
    bench.reopen();
    bench.link();
    assert.equal(readdirSync(join(bench.dir, TEST_TABLET)).length, 2);
    const { ino } = statSync(path, { bigint: true });
    assert.ok(bench.hold.segmentsOf(identify(bench.tablet.folder)!).some(({ inode }) => inode === ino));
  });

  it('goes on without holding when links cannot be made, says so once, and links when they can', () => {
    using bench = new HeldTablet();
    bench.fill(1);
    mock.method(fs, 'linkSync', () => {
      throw Object.assign(new Error('too many links'), { code: 'EMLINK' });
    });
    syncBuiltinESMExports();
    assert.ok(bench.link() && bench.link());
    assert.match(String(bench.hold.failure), /too many links/);
    assert.deepEqual(bench.held, []);
    assert.deepEqual(
      bench.lines.map(({ level, message }) => [level, message]),
      [['error', 'segments cannot be held']],
    );
    mock.restoreAll();
    syncBuiltinESMExports();
    assert.ok(bench.link());
    assert.equal(bench.hold.failure, null);
    assert.deepEqual(bench.held, ['own-1: 1 2']);
  });

  it('says how many segments the server would have to keep: one more than the longest present log has', () => {
    using bench = new HeldTablet();
    assert.equal(bench.store.neededSegments(), 1);
    bench.link();
    assert.equal(bench.store.neededSegments(), 1, 'only what is being written');
    for (let i = 0; i < 3; i++) bench.fill(2);
    bench.link();
    assert.equal(bench.store.neededSegments(), 5);
    bench.tablet.collect(2);
    bench.hold.release(4n);
    assert.equal(bench.store.neededSegments(), 3);
    bench.tablet.restart();
    bench.link();
    const present = bench.hold.segmentsOf(identify(bench.tablet.folder)!).length;
    assert.equal(bench.store.neededSegments(), present === 1 ? 1 : present + 1, 'an earlier log counts not');
    bench.hold.drop();
    assert.equal(bench.store.neededSegments(), 1);
  });

  it('goes on where an earlier process stopped', () => {
    using bench = new HeldTablet();
    bench.fill(2);
    bench.link();
    bench.tablet.restart();
    bench.link();
    const { held } = bench;
    const { bytes, oldestAtMs, firstIndex } = bench.hold;
    bench.store = bench.open();
    assert.deepEqual(bench.store.tabletIds(), [TEST_TABLET]);
    bench.hold = bench.store.get(TEST_TABLET)!;
    assert.equal(bench.store.enable(TEST_TABLET), bench.hold);
    assert.deepEqual(bench.held, held);
    assert.deepEqual([bench.hold.bytes, bench.hold.oldestAtMs, bench.hold.firstIndex], [bytes, oldestAtMs, firstIndex]);
    bench.link();
    assert.deepEqual(bench.held, held);
  });

  it('refuses a folder on another filesystem, and what is no tablet id', { skip: !existsSync('/dev/shm') }, () => {
    using bench = new HeldTablet();
    const dir = `/dev/shm/spoor-hold-${process.pid}`;
    assert.throws(
      () => HoldStore.open({ dir, walDir: bench.tablet.walDir }),
      (error) => error instanceof HoldDirError && /on another filesystem than .*set SPOOR_HOLD_DIR/.test(error.message),
    );
    fs.rmSync(dir, { recursive: true, force: true });
    for (const id of ['', '../x', 'ABCDEF0123456789abcdef0123456789'])
      assert.throws(() => bench.store.enable(id), RangeError);
  });

  it('refuses a folder that files of the server cannot be linked into', () => {
    using bench = new HeldTablet();
    writeFileSync(join(bench.tablet.walDir, 'instance'), instanceFile());
    bench.open();
    for (const [code, pattern] of [
      ['EXDEV', /on another mount/],
      ['EPERM', /as the tablet server's own user/],
    ] as const) {
      mock.method(fs, 'linkSync', () => {
        throw Object.assign(new Error(code), { code });
      });
      syncBuiltinESMExports();
      assert.throws(
        () => bench.open(),
        (error) => error instanceof HoldDirError && pattern.test(error.message),
      );
      mock.restoreAll();
    }
    assert.deepEqual(readdirSync(bench.dir), [TEST_TABLET]);
  });

  it('tells who listens which tablets are to be held', () => {
    using bench = new HeldTablet();
    const told: string[] = [];
    const end = bench.store.onEnabled((id) => told.push(id.slice(0, 2)));
    bench.store.enable('aa'.repeat(16));
    bench.store.enable('aa'.repeat(16));
    end();
    bench.store.enable('bb'.repeat(16));
    assert.deepEqual(told, ['aa']);
  });
});

describe('TabletHold.receive', () => {
  const segment = (number: number, from: number, to: number, isClosed = true): Buffer[] => {
    const scripts = Array.from({ length: to - from + 1 }, (_, i) => `R1.${from + i} C1.${from + i}`);
    const bytes = segmentOf(number, scripts, isClosed);
    return [bytes.subarray(0, 50), bytes.subarray(50)];
  };

  it('encrypts them where the tablet server encrypts its own, and has the key near them', async () => {
    using bench = new HeldTablet();
    const key = Buffer.alloc(16, 'k');
    const instance = instanceFile({ serverKey: hiddenKey(key), serverKeyVersion: 'encryptionkey@0' });
    writeFileSync(join(bench.tablet.walDir, 'instance'), instance);
    const elsewhere = fs.mkdtempSync(join(bench.tablet.walDir, '..', 'spoor-hold-elsewhere-'));
    try {
      const store = HoldStore.open({ dir: elsewhere, walDir: bench.tablet.walDir });
      const hold = store.enable(TEST_TABLET);
      await hold.receive('uuid-1.g1', 7, segment(7, 1, 4));
      const { path } = hold.incarnations()[0]!.segments[0]!;
      const [plain, file] = [Buffer.concat(segment(7, 1, 4)), fs.readFileSync(path)];
      assert.equal(file.subarray(0, 7).toString(), 'kuduenc');
      assert.ok(!file.includes('kudulogf') && !file.includes(TEST_TABLET));
      const received = new LocalSegment(path, 7);
      const read = Buffer.alloc(plain.length + 10);
      assert.deepEqual(read.subarray(0, received.read(read, 0) as number), plain);
      received.release();
      assert.deepEqual([hold.received('uuid-1')[0]!.segments[0]!.size, hold.firstIndex], [plain.length, 1n]);
      // Where it cannot be encrypted as the server's own are, it is not kept.
      fs.rmSync(join(bench.tablet.walDir, 'instance'));
      const kept = instanceFile({ serverKey: hiddenKey(key), serverKeyVersion: 'kudu_cluster_key@1' });
      writeFileSync(join(bench.tablet.walDir, 'instance'), kept);
      const other = HoldStore.open({ dir: elsewhere, walDir: bench.tablet.walDir }).enable(TEST_TABLET);
      await assert.rejects(other.receive('uuid-1.g1', 8, segment(8, 5, 6)), /is not kept: .*another provider/);
    } finally {
      fs.rmSync(elsewhere, { recursive: true });
    }
  });

  it("stores another sidecar's log as files of our own, to be read where its operations belong", async () => {
    using bench = new HeldTablet();
    bench.fill(3);
    bench.fill(3);
    bench.fill(3);
    bench.tablet.collect(2);
    bench.tablet.append();
    bench.link();
    assert.deepEqual(bench.held, ['own-1: 3 4']);
    await bench.hold.receive('uuid-1.g1', 7, segment(7, 1, 4), { lastAppendMs: 1_234_000 });
    await bench.hold.receive('uuid-1.g1', 8, segment(8, 5, 6));
    assert.deepEqual(bench.held, ['peer-1: 7 8', 'own-1: 3 4']);
    const [received] = bench.hold.incarnations();
    for (const { path } of received!.segments) {
      assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
    }
    assert.deepEqual(fs.readFileSync(received!.segments[0]!.path), Buffer.concat(segment(7, 1, 4)));
    assert.equal(bench.hold.oldestAtMs, 1_234_000);
    assert.equal(bench.hold.firstIndex, 1n);
    bench.reopen();
    assert.deepEqual(bench.held, ['peer-1: 7 8', 'own-1: 3 4']);
    assert.equal(bench.hold.release(4n), 1);
    bench.hold.release(6n);
    await eventually('what has no successor was read and went', () => bench.held.length === 1);
    assert.deepEqual(readdirSync(join(bench.dir, TEST_TABLET)).length, 1);
  });

  it('puts what fills a hole between what is on either side of it', async () => {
    using bench = new HeldTablet();
    for (let i = 0; i < 5; i++) bench.fill(3);
    bench.hold.link(identify(bench.tablet.folder)!, bench.tablet.folder, [1, 2, 4, 5]);
    assert.deepEqual(bench.held, ['own-1: 1 2', 'own-1: 4 5']);
    await bench.hold.receive('b', 3, segment(3, 6, 10));
    await bench.hold.receive('b', 9, segment(9, 12, 15)); // the log that is being written has it
    await bench.hold.receive('a', 1, segment(1, 4, 4));
    assert.deepEqual(bench.held, ['own-1: 1 2', 'peer-2: 1', 'peer-1: 3', 'own-1: 4 5']);
  });

  it('reads behind a segment without an end as a log of its own, and takes the whole one for it', async () => {
    using bench = new HeldTablet();
    await bench.hold.receive('a', 1, segment(1, 1, 2, false));
    await bench.hold.receive('a', 2, segment(2, 5, 6));
    assert.deepEqual(bench.held, ['peer-1: 1', 'peer-1: 2']);
    await bench.hold.receive('a', 1, segment(1, 1, 4));
    assert.deepEqual(bench.held, ['peer-1: 1 2']);
  });

  it('keeps nothing of what does not come whole, nor of what comes after the end', async () => {
    using bench = new HeldTablet();
    const broken = new Error('connection lost');
    function* breaking(): Generator<Uint8Array> {
      yield segment(1, 1, 2)[0]!;
      throw broken;
    }
    await assert.rejects(bench.hold.receive('a', 1, breaking()), broken);
    assert.deepEqual([bench.held, filesBelow(bench.dir)], [[], []]);
    async function* late(): AsyncGenerator<Uint8Array> {
      yield* segment(1, 1, 2);
      bench.hold.drop();
      await Promise.resolve();
    }
    await assert.rejects(bench.hold.receive('a', 1, late()), /is held no more/);
    await eventually('nothing is left', () => readdirSync(bench.dir).length === 0);
    for (const name of ['', '..', '.x', 'a/b', 'x'.repeat(101)])
      await assert.rejects(bench.hold.receive(name, 1, []), RangeError);
    await assert.rejects(bench.hold.receive('a', 0, []), RangeError);
  });

  it('is not in the way of letting go while something arrives', async () => {
    using bench = new HeldTablet();
    await bench.hold.receive('a', 1, segment(1, 1, 2));
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield* segment(2, 3, 4);
      bench.hold.release(2n);
      await eventually('the first went', () => bench.held.length === 0);
    }
    await bench.hold.receive('a', 2, slow());
    assert.deepEqual(bench.held, ['peer-1: 2']);
  });
});

describe('TabletHold.drop', () => {
  it('lets go of everything, and may be held anew at once', async () => {
    using bench = new HeldTablet();
    bench.fill(1);
    bench.link();
    const { hold } = bench;
    hold.drop();
    hold.drop();
    assert.deepEqual([bench.store.get(TEST_TABLET), bench.store.tabletIds()], [null, []]);
    assert.deepEqual([hold.incarnations(), hold.bytes, hold.firstIndex], [[], 0, null]);
    bench.link();
    assert.equal(hold.release(1000n), 0);
    await assert.rejects(hold.receive('peer', 1, [segmentOf(1, ['R1.1'], true)]), /is held no more/);
    bench.hold = bench.store.enable(TEST_TABLET);
    bench.link();
    assert.deepEqual(bench.held, ['own-1: 1 2']);
    await eventually('all of the first is gone', () => filesBelow(bench.dir).length === 2);
    assert.equal(statSync(bench.tablet.path(1)).nlink, 2);
    assert.deepEqual(bench.lines, []);
  });
});
