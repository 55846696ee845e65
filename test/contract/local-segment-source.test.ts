import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readlink, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, mock } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldStore } from '../../src/wal/hold-store.ts';
import type { LogFeed } from '../../src/wal/log-reader.ts';
import { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { eventually } from '../support/eventually.ts';
import { segmentBytes, TEST_TABLET } from '../support/segment-bytes.ts';
import { describeSegmentSource, type LogUnderTest } from './segment-source.ts';

/** So slow that no test passes by it. */
const NO_POLL_MS = 3_600_000;

/** A `--fs_wal_dir` with one tablet, moved about as a tablet server does (kudu-facts 4.3, 4.5). */
class LocalLog implements LogUnderTest {
  readonly walDir: string;
  readonly tablet: string;
  readonly watcher: WalWatcher;
  readonly isHeld: boolean;

  private constructor(walDir: string, pollMs: number, hold: HoldStore | null) {
    this.walDir = walDir;
    this.tablet = join(walDir, 'wals', TEST_TABLET);
    this.isHeld = hold !== null;
    this.watcher = new WalWatcher({ walDir, pollMs, ...(hold && { hold }) });
  }

  static async open(options: { readonly pollMs?: number; readonly isHeld?: boolean } = {}): Promise<LocalLog> {
    const walDir = await mkdtemp(join(tmpdir(), 'spoor-wal-'));
    await mkdir(join(walDir, 'wals', TEST_TABLET), { recursive: true });
    const hold = options.isHeld === true ? HoldStore.open({ dir: join(walDir, 'spoor-hold'), walDir }) : null;
    hold?.enable(TEST_TABLET);
    return new LocalLog(walDir, options.pollMs ?? NO_POLL_MS, hold);
  }

  follow(): ReturnType<WalWatcher['follow']> {
    return this.watcher.follow(TEST_TABLET);
  }

  async write(sequenceNumber: number, bytes: Buffer): Promise<void> {
    await mkdir(this.tablet, { recursive: true });
    const path = this.segment(sequenceNumber);
    const file = await open(path, 'r+').catch(() => null);
    if (file !== null) {
      await file.write(bytes);
      await file.close();
      return;
    }
    const unborn = join(this.tablet, '.kudutmp.newsegmentABCDEF');
    await writeFile(unborn, bytes);
    await rename(unborn, path);
    await writeFile(join(this.tablet, 'index.000000000'), '');
  }

  async collect(sequenceNumber: number): Promise<void> {
    await rm(this.segment(sequenceNumber));
  }

  async restart(segments: readonly Buffer[]): Promise<void> {
    const aside = `${this.tablet}.recovery`;
    await rename(this.tablet, aside);
    for (const [i, bytes] of segments.entries()) await this.write(i + 1, bytes);
    await rename(aside, `${aside}-1234567890`);
    await rm(`${aside}-1234567890`, { recursive: true });
  }

  async remove(): Promise<void> {
    await rm(this.tablet, { recursive: true, force: true });
  }

  async copy(segments: readonly (readonly [number, Buffer])[], restarted: readonly Buffer[]): Promise<void> {
    await mkdir(this.tablet);
    for (const [sequenceNumber, bytes] of segments) {
      await writeFile(this.segment(sequenceNumber), bytes);
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate); // for the watcher to see it
    }
    await this.restart(restarted);
  }

  segment(sequenceNumber: number): string {
    return join(this.tablet, `wal-${String(sequenceNumber).padStart(9, '0')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.watcher[Symbol.dispose]();
    await rm(this.walDir, { recursive: true, force: true });
  }
}

describeSegmentSource('a tablet folder', () => LocalLog.open());
describeSegmentSource('a tablet folder that is held', () => LocalLog.open({ isHeld: true }));

describe('where the system gives no notifications', () => {
  before(() => {
    mock.method(fs, 'watch', () => {
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }); // fs.inotify.max_user_watches
    });
    syncBuiltinESMExports();
  });
  after(() => {
    mock.restoreAll();
    syncBuiltinESMExports();
  });
  describeSegmentSource('a tablet folder that cannot be watched', () => LocalLog.open({ pollMs: 500 }));
  describeSegmentSource('a held tablet folder that cannot be watched', () =>
    LocalLog.open({ pollMs: 500, isHeld: true }),
  );

  it('looks at the folder of a tablet that is there much oftener than the poll does', async () => {
    await using log = await LocalLog.open();
    await log.write(1, segmentBytes(['R1.1']));
    using source = log.follow();
    await log.write(2, segmentBytes([], { sequenceNumber: 2 }));
    await eventually('the second segment is seen', () => {
      const news = source.peek();
      if (news?.kind !== 'segment' || news.file.sequenceNumber === 2) return news !== null;
      news.file.release();
      source.shift();
      return false;
    });
  });
});

describe('where the system has lost its notifications', () => {
  const POLL_MS = 100;
  before(() => {
    mock.method(fs, 'watch', () => Object.assign(new EventEmitter(), { close: () => undefined }));
    syncBuiltinESMExports();
  });
  after(() => {
    mock.restoreAll();
    syncBuiltinESMExports();
  });

  for (const isHeld of [false, true])
    it(`a log that rests is left alone, and goes on within a poll${isHeld ? ', held' : ''}`, async (t) => {
      await using log = await LocalLog.open({ pollMs: POLL_MS, isHeld });
      await log.write(1, segmentBytes(['R1.1'], { zeros: 4096 }));
      const wals = join(log.walDir, 'wals');
      const longAgo = new Date(Date.now() - 60_000); // or everything is looked at until that is settled
      await utimes(wals, longAgo, longAgo);
      await using reader = log.watcher.read(TEST_TABLET, t.signal);
      const read = async (): Promise<number> => {
        for (let entries = 0; ;) {
          const chunk = await reader.next();
          if (chunk.kind === 'entries') entries += chunk.entries.length;
          if (chunk.kind === 'idle' && entries > 0) return entries;
        }
      };
      assert.equal(await read(), 1);
      await sleep(3 * POLL_MS);
      const listing = mock.method(fs, 'readdirSync');
      syncBuiltinESMExports();
      const more = read();
      await sleep(5 * POLL_MS);
      assert.equal(listing.mock.callCount(), 0, 'nothing is listed while nothing is new');
      listing.mock.restore();
      syncBuiltinESMExports();
      await log.write(1, segmentBytes(['R1.1', 'C1.1', 'R1.2'], { zeros: 4096 }));
      assert.equal(await more, 2);
      // The next segment, with no byte in it yet, is announced by the footer of this one.
      await log.write(1, segmentBytes(['R1.1', 'C1.1', 'R1.2'], { closed: true }));
      await log.write(2, segmentBytes(['C1.2'], { sequenceNumber: 2, zeros: 4096 }));
      assert.equal(await read(), 1);
      // Another folder in its place shows in the folder of all logs.
      await log.restart([segmentBytes(['R1.1', 'C1.1', 'R1.2', 'C1.2', 'R2.3'], { zeros: 4096 })]);
      assert.equal(await read(), 5);
      const gone = (async () => {
        while ((await reader.next()).kind !== 'gone');
      })();
      await log.remove();
      await gone;
    });
});

describe('WalWatcher', () => {
  it('tells which tablets appear and are removed, a restart being neither', async () => {
    await using log = await LocalLog.open();
    const seen: string[] = [];
    log.watcher.on('tablet-appeared', (id) => seen.push(`+${id.slice(0, 2)}`));
    log.watcher.on('tablet-removed', (id) => seen.push(`-${id.slice(0, 2)}`));
    assert.deepEqual(log.watcher.tabletIds, [TEST_TABLET]);
    await mkdir(join(log.walDir, 'wals', 'ff'.repeat(16)));
    await mkdir(join(log.walDir, 'wals', 'not-a-tablet'));
    await eventually('a tablet appears', () => seen.length === 1);
    await log.restart([segmentBytes(['R1.1'])]);
    await rm(join(log.walDir, 'wals', 'ff'.repeat(16)), { recursive: true });
    await eventually('a tablet is removed', () => seen.length > 1);
    assert.deepEqual(seen, ['+ff', '-ff']);
    await log.remove();
    await eventually('the other is removed', () => seen.length > 2);
    assert.deepEqual(seen, ['+ff', '-ff', `-${TEST_TABLET.slice(0, 2)}`]);
    assert.deepEqual(log.watcher.tabletIds, []);
  });

  it('refuses a folder that is no fs_wal_dir', async () => {
    await using log = await LocalLog.open();
    assert.throws(() => new WalWatcher({ walDir: join(log.walDir, 'wals') }), { code: 'ENOENT' });
  });

  it('passes on what the file system refuses, and goes on when it does no more', async () => {
    await using log = await LocalLog.open();
    await log.write(1, segmentBytes(['R1.1'], { closed: true }));
    const stop = new AbortController();
    await using reader = log.watcher.read(TEST_TABLET, stop.signal);
    while ((await reader.next()).kind !== 'idle');
    const refusal = Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    const refusing = mock.method(fs, 'openSync', () => {
      throw refusal;
    });
    syncBuiltinESMExports();
    const refused = assert.rejects(reader.next(), refusal);
    await log.write(2, segmentBytes(['C1.1'], { sequenceNumber: 2 }));
    await refused;
    refusing.mock.restore();
    syncBuiltinESMExports();
    await log.write(3, Buffer.alloc(100));
    const entries = await eventually('the log goes on', async () => {
      const chunk = await reader.next(); // may refuse once more, for what was noticed meanwhile
      return chunk.kind === 'entries' && chunk.entries;
    });
    assert.equal(entries.length, 1);
  });

  it('keeps nothing open for readers that are done, nor for segments that all have passed', async () => {
    await using log = await LocalLog.open();
    const openSegments = async (): Promise<number> => {
      const links = await Promise.all(
        (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
      );
      return links.filter((link) => link.startsWith(log.tablet)).length;
    };
    for (let number = 1; number <= 4; number++)
      await log.write(number, segmentBytes([], { sequenceNumber: number, closed: number < 4 }));
    const stop = new AbortController();
    const readers = [1, 2].map(() => log.watcher.read(TEST_TABLET, stop.signal));
    assert.equal(await openSegments(), 4); // shared
    for (const reader of readers) while ((await reader.next()).kind !== 'idle');
    assert.equal(await openSegments(), 1);
    for (const reader of readers) await reader[Symbol.asyncDispose]();
    assert.equal(await openSegments(), 0);
  });

  it('gives entries within milliseconds of their writing, hundreds of idle tablets beside it', async () => {
    await using log = await LocalLog.open();
    const stop = new AbortController();
    const idle: LogFeed[] = [];
    for (let i = 0; i < 200; i++) {
      const id = i.toString(16).padStart(32, '0');
      await mkdir(join(log.walDir, 'wals', id));
      idle.push(log.watcher.read(id, stop.signal));
    }
    await log.write(1, segmentBytes([], { zeros: 1 << 20 }));
    const reader = log.watcher.read(TEST_TABLET, stop.signal);
    while ((await reader.next()).kind !== 'idle');
    const scripts: string[] = [];
    const delays: number[] = [];
    for (let i = 1; i <= 50; i++) {
      scripts.push(`R1.${i}`);
      const next = reader.next();
      const written = performance.now();
      await log.write(1, segmentBytes(scripts, { zeros: 100 }));
      assert.equal((await next).kind, 'entries');
      delays.push(performance.now() - written);
      assert.equal((await reader.next()).kind, 'idle');
    }
    delays.sort((a, b) => a - b);
    assert.ok(delays[25]! < 20, `half of them took ${delays[25]} ms and more`); // about 0.5 ms where the machine is free
    for (const each of [...idle, reader]) await each[Symbol.asyncDispose]();
  });
});
