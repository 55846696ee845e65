import assert from 'node:assert/strict';
import fs, { closeSync, openSync, readdirSync, readlinkSync, statSync, writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, it, mock } from 'node:test';
import fc from 'fast-check';
import { SpoorError } from '../../../src/errors.ts';
import { MIN_OPID } from '../../../src/kudu/opid.ts';
import { CommitOrder } from '../../../src/wal/commit-order.ts';
import { HoldStore } from '../../../src/wal/hold-store.ts';
import { TabletLogReader } from '../../../src/wal/log-reader.ts';
import type { SegmentSource } from '../../../src/wal/segment-source.ts';
import { TabletFolder } from '../../../src/wal/tablet-folder.ts';
import { WalWatcher } from '../../../src/wal/wal-watcher.ts';
import { FakeTablet, filesBelow, segmentOf } from '../../support/fake-tablet.ts';
import { opId } from '../../support/log-entries.ts';
import { headerBytes, TEST_TABLET } from '../../support/segment-bytes.ts';

const HEADER_BYTES = headerBytes({ sequenceNumber: 1n }).length;

/** Called before every call of those that a look makes to the file system. */
let beforeCall: ((name: string) => void) | null = null;

before(() => {
  for (const name of ['statSync', 'readdirSync', 'linkSync', 'renameSync', 'openSync', 'rmSync'] as const) {
    const real = fs[name] as (...args: unknown[]) => unknown;
    mock.method(fs, name, (...args: unknown[]) => {
      beforeCall?.(name);
      return real(...args);
    });
  }
  syncBuiltinESMExports();
});
after(() => {
  mock.restoreAll();
  syncBuiltinESMExports();
});

/** A tablet, and a sidecar that holds its log and follows it without reading, as beside a replica that is not shipped. */
class World implements Disposable {
  readonly tablet = new FakeTablet();
  #store = this.#open();
  #folder = this.#newFolder();
  #source: SegmentSource | null = this.#folder.follow();
  /** Up to here all is done with. */
  safe = 0;

  get hold() {
    return this.#store.enable(TEST_TABLET);
  }

  get holdDir(): string {
    return this.#store.dir;
  }

  follow(): SegmentSource {
    return this.#folder.follow();
  }

  look(): void {
    if (this.#source !== null) this.#folder.look();
  }

  stopSidecar(): void {
    this.#source?.[Symbol.dispose]();
    this.#source = null;
  }

  startSidecar(): void {
    this.stopSidecar();
    this.#store = this.#open();
    this.#folder = this.#newFolder();
    this.#source = this.#folder.follow();
  }

  /** The server does something just before the `n`th time that a look turns to the file system. */
  lookWhile(n: number, action: () => void): void {
    let left = n + 1;
    beforeCall = () => {
      if (--left > 0) return;
      beforeCall = null;
      action();
    };
    this.look();
    beforeCall = null;
    if (left > 0) action();
    this.look(); // the system told of it
  }

  /**
   * Some bytes of a held segment go bad, behind its header (which has no checksum) or its first: `at` between 0 and 1 of it.
   * Never of the one that is being written.
   */
  damage(which: number, at: number): void {
    const live = this.tablet.exists
      ? statSync(this.tablet.path(this.tablet.numbers.at(-1)!), { bigint: true }).ino
      : -1n;
    const files = filesBelow(this.holdDir).filter(({ path, inode }) => path.includes('/wal-') && inode !== live);
    if (files.length === 0) return;
    const { path } = files[which % files.length]!;
    const fd = openSync(path, 'r+');
    const bytes = Buffer.from('damaged!');
    const room = Math.max(0, statSync(path).size - bytes.length - HEADER_BYTES);
    writeSync(fd, bytes, 0, bytes.length, at === 0 ? 0 : HEADER_BYTES + Math.floor(at * room));
    closeSync(fd);
  }

  /** All operations that somebody gets who begins to read now, and how that ended. */
  async read(): Promise<{ indexes: number[]; error: unknown }> {
    const reader = new TabletLogReader(this.follow(), { signal: AbortSignal.timeout(10_000) });
    const order = new CommitOrder(this.safe === 0 ? MIN_OPID : opId(1, this.safe));
    const indexes: number[] = [];
    try {
      for (;;) {
        const chunk = await reader.next();
        if (chunk.kind === 'idle' || chunk.kind === 'gone') return { indexes, error: null };
        if (chunk.kind === 'missing' || (chunk.kind === 'segment' && chunk.restarted)) order.restart();
        if (chunk.kind !== 'entries') continue;
        for (const entry of chunk.entries) order.push(entry);
        indexes.push(
          ...order
            .take()
            .map(({ replicate }) => Number(replicate.opId.index))
            .filter((index) => index > this.safe),
        );
      }
    } catch (error) {
      return { indexes, error };
    } finally {
      await reader[Symbol.asyncDispose]();
    }
  }

  [Symbol.dispose](): void {
    this.stopSidecar();
    this.tablet[Symbol.dispose]();
  }

  #open(): HoldStore {
    const store = HoldStore.open({ dir: join(this.tablet.walDir, 'spoor-hold'), walDir: this.tablet.walDir });
    store.enable(TEST_TABLET);
    return store;
  }

  #newFolder(): TabletFolder {
    return new TabletFolder(this.tablet.walsDir, TEST_TABLET, { hold: this.#store, onUnused: () => undefined });
  }
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

type ServerAction = 'burst' | 'append' | 'roll' | 'collect' | 'restart' | 'remove' | 'copy' | 'elsewhere';
const SERVER_ACTIONS: readonly ServerAction[] = [
  'append',
  'append',
  'roll',
  'roll',
  'collect',
  'restart',
  'remove',
  'copy',
];

function act(tablet: FakeTablet, action: ServerAction, n: number): void {
  if (action === 'append') for (let i = 0; i <= n % 3; i++) tablet.append();
  else if (action === 'roll') tablet.roll();
  else if (action === 'burst') {
    for (let i = 0; i < 2; i++) {
      tablet.append();
      tablet.roll();
    }
    tablet.collect(2);
  } else if (action === 'collect') tablet.collect(1 + (n % 3));
  else if (action === 'restart') tablet.restart();
  else if (action === 'remove') tablet.remove();
  else if (action === 'copy') tablet.copyIn(1 + (n % 6));
  else if (!tablet.exists) tablet.lastIndex += n % 3; // goes on on other machines
}

describe('a held tablet folder', () => {
  const step = fc.record({
    sidecar: fc.constantFrom('looks', 'looks', 'looks', 'releases', 'restarts', 'is read'),
    server: fc.constantFrom(...SERVER_ACTIONS),
    /** At which call of a look it happens; more than a look has: after it. */
    at: fc.nat({ max: 30 }),
    n: fc.nat({ max: 9 }),
  });

  it('gives every operation that is not done with, whatever the server does and whenever it does it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        using world = new World();
        const { tablet } = world;
        for (const { sidecar, server, at, n } of steps) {
          world.lookWhile(at, () => {
            act(tablet, server, n);
          });
          if (sidecar === 'releases') {
            world.safe = Math.min(tablet.lastIndex, world.safe + n);
            world.hold.release(BigInt(world.safe));
          } else if (sidecar === 'restarts') world.startSidecar();
          else if (sidecar === 'is read') await assertComplete(world);
        }
        await assertComplete(world);
        assertSound(world);
      }),
      { numRuns: 150 },
    );
  });

  it('skips nothing of what was lost while the sidecar was away, and goes on with what another sidecar has', async () => {
    const ends = { whole: 0, gap: 0 };
    const away = fc.array(
      fc.record({ server: fc.constantFrom(...SERVER_ACTIONS, 'elsewhere'), n: fc.nat({ max: 9 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(step, away), { minLength: 3, maxLength: 12 }), async (rounds) => {
        using world = new World();
        const { tablet } = world;
        let sent = 0;
        for (const [{ sidecar, server, at, n }, meanwhile] of rounds) {
          world.lookWhile(at, () => {
            act(tablet, server, n);
          });
          if (sidecar === 'releases') {
            world.safe = Math.min(tablet.lastIndex, world.safe + n);
            world.hold.release(BigInt(world.safe));
          }
          world.stopSidecar();
          for (const { server: action, n: m } of meanwhile) act(tablet, action, m);
          world.startSidecar();
          let read = await world.read();
          const last = read.indexes.at(-1) ?? world.safe;
          assert.deepEqual(read.indexes, range(world.safe + 1, last), 'nothing is skipped');
          if (read.error === null) ends.whole++;
          else {
            assert.ok(read.error instanceof SpoorError && read.error.code === 'SPOOR_WAL_GAP');
            ends.gap++;
            // From the first that is missing on, in two segments.
            const middle = last + 1 + Math.floor((tablet.lastIndex - last) / 2);
            await receive(world, `peer-${++sent}`, 7, range(last + 1, middle));
            await receive(world, `peer-${sent}`, 8, range(middle + 1, tablet.lastIndex));
            read = await world.read();
            assert.equal(read.error, null);
            assert.deepEqual(read.indexes, range(world.safe + 1, tablet.lastIndex));
          }
        }
        assertSound(world);
      }),
      { numRuns: 100 },
    );
    assert.ok(ends.whole > 100 && ends.gap > 5, JSON.stringify(ends));
  });

  it('gives all that is whole anywhere in it, whatever goes bad, and all once another sidecar has filled the rest', async () => {
    const ends = { whole: 0, reordered: 0, filled: 0 };
    const bad = fc.array(fc.record({ which: fc.nat({ max: 20 }), tenths: fc.nat({ max: 10 }) }), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(step, bad), { minLength: 3, maxLength: 20 }), async (rounds) => {
        using world = new World();
        const { tablet } = world;
        let sent = 0;
        for (const [{ sidecar, server, at, n }, damages] of rounds) {
          world.lookWhile(at, () => {
            act(tablet, server, n);
          });
          if (sidecar === 'releases') {
            world.safe = Math.min(tablet.lastIndex, world.safe + n);
            world.hold.release(BigInt(world.safe));
          } else if (sidecar === 'restarts') world.startSidecar();
          for (const { which, tenths } of damages) world.damage(which, tenths / 10);
          // It gets further by what is held, in another order, or by what comes, or it is through.
          for (let known = 0; ; known = world.hold.damagedCount) {
            const read = await world.read();
            const last = read.indexes.at(-1) ?? world.safe;
            assert.deepEqual(read.indexes, range(world.safe + 1, last), 'nothing is skipped');
            if (read.error === null && last === tablet.lastIndex) break;
            if (read.error !== null) assert.ok(read.error instanceof SpoorError && read.error.code === 'SPOOR_WAL_GAP');
            if (world.hold.damagedCount > known) {
              ends.reordered++;
              continue;
            }
            const middle = last + 1 + Math.floor((tablet.lastIndex - last) / 2);
            await receive(world, `peer-${++sent}`, 7, range(last + 1, middle));
            await receive(world, `peer-${sent}`, 8, range(middle + 1, tablet.lastIndex));
            ends.filled++;
            const filled = await world.read();
            assert.equal(filled.error, null);
            assert.deepEqual(filled.indexes, range(world.safe + 1, tablet.lastIndex), 'what came is read');
          }
          ends.whole++;
        }
        assertSound(world);
      }),
      { numRuns: 60 },
    );
    assert.ok(ends.filled > 10 && ends.reordered > 10, JSON.stringify(ends));
  });

  it('gives a follower what was linked just before the folder went, and was not told of by then', async () => {
    using world = new World();
    const reader = new TabletLogReader(world.follow(), { signal: AbortSignal.timeout(10_000) });
    while ((await reader.next()).kind !== 'idle');
    world.tablet.append();
    world.tablet.roll();
    world.tablet.append();
    let isLinked = false;
    beforeCall = (name) => {
      if (isLinked) {
        beforeCall = null;
        world.tablet.remove();
      }
      isLinked ||= name === 'renameSync';
    };
    world.look();
    assert.equal(beforeCall, null);
    const seen: string[] = [];
    for (;;) {
      const chunk = await reader.next();
      if (chunk.kind === 'entries') seen.push(...chunk.entries.map(({ kind, opId: { index } }) => `${kind} ${index}`));
      if (chunk.kind === 'gone') break;
    }
    assert.deepEqual(seen, ['replicate 1', 'commit 1', 'replicate 2', 'commit 2']);
    await reader[Symbol.asyncDispose]();
  });

  it('opens what is held when its turn comes', async () => {
    using world = new World();
    for (let i = 0; i < 200; i++) {
      world.tablet.append();
      world.tablet.roll();
      world.look();
    }
    world.tablet.collect(200);
    const openFiles = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(world.tablet.walDir);
        } catch {
          return false;
        }
      }).length;
    assert.equal(openFiles(), 0);
    const { indexes, error } = await world.read();
    assert.deepEqual([indexes.length, error], [200, null]);
    assert.equal(openFiles(), 0);
  });

  it('is held from the moment when it is to be, where it is followed already', () => {
    using tablet = new FakeTablet();
    const hold = HoldStore.open({ dir: join(tablet.walDir, 'spoor-hold'), walDir: tablet.walDir });
    using watcher = new WalWatcher({ walDir: tablet.walDir, hold, pollMs: 3_600_000 });
    using source = watcher.follow(TEST_TABLET);
    assert.equal(source.tabletId, TEST_TABLET);
    assert.deepEqual(filesBelow(hold.dir), []);
    hold.enable(TEST_TABLET);
    assert.equal(filesBelow(hold.dir).length, 1);
  });
});

async function receive(world: World, name: string, number: number, indexes: readonly number[]): Promise<void> {
  if (indexes.length === 0) return;
  const scripts = indexes.map((index) => `R1.${index} C1.${index}`);
  await world.hold.receive(name, number, [segmentOf(number, scripts, true)]);
}

async function assertComplete(world: World): Promise<void> {
  const { indexes, error } = await world.read();
  assert.equal(error, null);
  assert.deepEqual(indexes, range(world.safe + 1, world.tablet.lastIndex));
}

/** Every link is under the number that its file had, beside files of the same incarnation only. */
function assertSound(world: World): void {
  const incarnationOf = new Map<string, number>();
  for (const { path, inode } of filesBelow(world.holdDir)) {
    const [generation, name] = path.split('/').slice(-2) as [string, string];
    if (generation.startsWith('p')) continue;
    const birth = world.tablet.births.get(inode);
    assert.equal(name, `wal-${String(birth?.number).padStart(9, '0')}`);
    assert.equal(incarnationOf.get(generation) ?? birth?.incarnation, birth?.incarnation, generation);
    incarnationOf.set(generation, birth!.incarnation);
  }
}
