import assert from 'node:assert/strict';
import fs, { mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename, join } from 'node:path';
import { afterEach, describe, it, mock } from 'node:test';
import { identify } from '../../../src/wal/log-folder.ts';
import { batchHeaderBytes, readSegmentStart } from '../../../src/wal/segment-format.ts';
import { eventually } from '../../support/eventually.ts';
import { filesBelow, segmentOf } from '../../support/fake-tablet.ts';
import { HeldTablet } from '../../support/held-tablet.ts';
import { TEST_TABLET } from '../../support/segment-bytes.ts';

afterEach(() => {
  mock.restoreAll();
  syncBuiltinESMExports();
});

describe('TabletHold.release', () => {
  it('lets go of segments as their last operation is done with, never of the one being written', () => {
    using bench = new HeldTablet();
    for (let i = 0; i < 4; i++) bench.fill(2);
    bench.link();
    assert.equal(bench.hold.firstIndex, 1n);
    assert.equal(bench.hold.release(1n), 0);
    assert.equal(bench.hold.release(2n), 1);
    assert.deepEqual([bench.held, bench.hold.firstIndex], [['own-1: 2 3 4 5'], 3n]);
    bench.link(); // the server still has it
    assert.equal(bench.hold.release(7n), 2);
    assert.deepEqual(bench.held, ['own-1: 4 5']);
    bench.hold.release(1000n);
    bench.link();
    assert.deepEqual([bench.held, bench.hold.firstIndex, bench.hold.oldestAtMs], [['own-1: 5'], null, null]);
    assert.equal(filesBelow(bench.dir).length, 1);
  });

  it('knows without reading any operation, which may be large, where it begins: its footer says it', () => {
    using bench = new HeldTablet();
    bench.fill(2);
    bench.link();
    const path = bench.tablet.path(1);
    const bytes = fs.readFileSync(path);
    const start = readSegmentStart(bytes);
    assert.ok(start.kind === 'header');
    bytes[start.endOffset + batchHeaderBytes(2) + 1]! ^= 0x55;
    fs.writeFileSync(path, bytes);
    assert.equal(bench.hold.firstIndex, 1n);
  });

  it('lets go of whole incarnations, their folders included, once it was read what their unclosed ends have', async () => {
    using bench = new HeldTablet();
    bench.fill(2);
    bench.tablet.append();
    bench.link();
    bench.tablet.restart();
    bench.link();
    bench.tablet.append();
    bench.hold.release(2n);
    assert.deepEqual(bench.held, ['own-2: 2 3', 'own-1: 2'].toSorted());
    bench.hold.release(3n); // 1.3 is in the end of the first incarnation, that the crash left open
    await eventually('it was read and went', () => bench.held.length === 1);
    assert.deepEqual(bench.held, ['own-2: 3']);
    assert.equal(readdirSync(join(bench.dir, TEST_TABLET)).length, 1);
  });

  it('lets go of nothing behind what is still needed, be it COMMITs alone', () => {
    using bench = new HeldTablet();
    const { tablet } = bench;
    for (const [number, scripts] of [
      [1, ['R1.1 R1.2']],
      [2, ['C1.1 C1.2']],
      [3, ['R1.3']],
    ] as const)
      writeFileSync(tablet.path(number), segmentOf(number, scripts, number < 3));
    bench.hold.link(identify(tablet.folder)!, tablet.folder, [1, 2, 3]);
    assert.equal(bench.hold.release(1n), 0);
    assert.equal(bench.hold.release(2n), 2);
  });

  it('keeps what it cannot read, and says so once', async () => {
    using bench = new HeldTablet();
    bench.fill(1);
    bench.link();
    const encrypted = Buffer.concat([Buffer.from('kuduenc'), Buffer.alloc(100, 1)]);
    writeFileSync(bench.tablet.path(1), encrypted);
    bench.hold.release(1000n);
    await eventually('it was read', () => bench.lines.length > 0);
    bench.hold.release(1001n);
    bench.hold.release(1002n);
    assert.deepEqual(bench.held, ['own-1: 1 2']);
    assert.equal(filesBelow(bench.dir).length, 2);
    assert.deepEqual(
      bench.lines.map(({ level }) => level),
      ['error'],
    );
  });

  it('costs next to nothing when nothing goes', () => {
    using bench = new HeldTablet();
    bench.fill(5);
    bench.link();
    bench.hold.release(2n);
    const calls = ['statSync', 'openSync', 'readdirSync', 'readSync'] as const;
    for (const name of calls)
      mock.method(fs, name, () => {
        throw new Error(`${name} was called`);
      });
    syncBuiltinESMExports();
    for (let i = 0; i < 1000; i++) assert.equal(bench.hold.release(BigInt(i % 5)), 0);
    assert.deepEqual(bench.lines, []);
  });
});

describe('TabletHold, its figures and limits', () => {
  it('counts the space of each file once', () => {
    using bench = new HeldTablet();
    bench.fill(1);
    bench.link();
    const blocks = bench.tablet.numbers.map((number) => statSync(bench.tablet.path(number)).blocks * 512);
    assert.equal(bench.hold.bytes, blocks[0]! + blocks[1]!);
    writeFileSync(bench.tablet.path(2), Buffer.alloc(1 << 20, 7), { flag: 'r+' }); // the one being written grows
    assert.ok(bench.hold.bytes >= 1 << 20);
    const { path } = bench.hold.incarnations()[0]!.segments[0]!;
    const twin = join(bench.dir, TEST_TABLET, 'g000000000.1.1.1');
    const { bytes } = bench.hold;
    mkdirSync(twin);
    fs.linkSync(path, join(twin, basename(path)));
    bench.reopen();
    assert.equal(bench.hold.bytes, bytes);
  });

  it('is as old as the last entry of its oldest segment', () => {
    using bench = new HeldTablet();
    bench.fill(1);
    bench.fill(1);
    utimesSync(bench.tablet.path(1), 1000, 1000);
    utimesSync(bench.tablet.path(2), 2000, 2000);
    bench.link();
    assert.equal(bench.hold.oldestAtMs, 1_000_000);
    bench.tablet.collect(); // changes the file's ctime
    bench.reopen();
    assert.equal(bench.hold.oldestAtMs, 1_000_000);
    bench.hold.release(1n);
    assert.equal(bench.hold.oldestAtMs, 2_000_000);
    bench.hold.release(2n);
    assert.equal(bench.hold.oldestAtMs, null);
  });

  it('lets go of what is beyond a limit, and says what was lost', async () => {
    using bench = new HeldTablet();
    for (let i = 1; i <= 4; i++) {
      bench.fill(3);
      utimesSync(bench.tablet.path(i), i * 1000, i * 1000);
    }
    bench.link();
    const { hold } = bench;
    assert.equal(hold.letGo({}, Date.now()), null);
    assert.equal(hold.letGo({ maxBytes: 0, maxAgeMs: 0 }, Date.now()), null);
    assert.equal(hold.letGo({ maxAgeMs: 5_000_000 }, 6_000_000), null);
    assert.deepEqual(hold.letGo({ maxAgeMs: 5_000_000 }, 6_000_001), { fromIndex: 1n, toIndex: 3n });
    assert.deepEqual(hold.letGo({ maxBytes: hold.bytes - 1 }, 0), { fromIndex: 4n, toIndex: 6n });
    assert.deepEqual(bench.held, ['own-1: 3 4 5']);
    bench.link();
    assert.deepEqual(hold.letGo({ maxBytes: 1 }, 0), { fromIndex: 7n, toIndex: 12n });
    assert.deepEqual(bench.held, ['own-1: 5']);
    assert.equal(filesBelow(bench.dir).length, 1);
    bench.tablet.append();
    bench.tablet.restart();
    bench.link();
    assert.equal(hold.letGo({ maxBytes: 1 }, 0), null); // it has to be read first
    await eventually('it was read', () => hold.letGo({ maxBytes: 1 }, 0) !== null);
  });
});
