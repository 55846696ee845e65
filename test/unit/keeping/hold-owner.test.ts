import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HoldTakenError, objectionTo } from '../../../src/keeping/hold-owner.ts';
import { LocalLogs } from '../../../src/app/local-logs.ts';
import { FileLock } from '../../../src/util/file-lock.ts';
import { FakeTablet, filesBelow } from '../../support/fake-tablet.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';
import { TEST_TABLET } from '../../support/segment-bytes.ts';

const UUIDS = ['a'.repeat(32), 'b'.repeat(32)] as const;

/** What a tablet server writes there at its first start; kudu/fs/fs.proto InstanceMetadataPB. */
function writeInstance(walDir: string, uuid: string): void {
  writeFileSync(join(walDir, 'instance'), `kuduinst\x01\0\0\0\x40\0\0\0\n ${uuid}\x12\x0eFormatted at x`, 'latin1');
}

describe('the owner of held logs', () => {
  let dir: string;
  let holdDir: string;
  let servers: FakeTablet[];
  let open: LocalLogs[];
  let lines: LogLine[];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'spoor-hold-owner-'));
    holdDir = join(dir, 'hold');
    servers = UUIDS.map((uuid) => {
      const server = new FakeTablet();
      writeInstance(server.walDir, uuid);
      return server;
    });
    open = [];
    lines = [];
  });
  afterEach(async () => {
    for (const logs of open) await logs[Symbol.asyncDispose]();
    for (const server of servers) server[Symbol.dispose]();
    rmSync(dir, { recursive: true });
  });

  /** A sidecar beside one of the two tablet servers. */
  function sidecar(
    number: 0 | 1,
    own: { readonly walDir?: string; readonly holdDir?: string; readonly prefix?: string } = {},
  ): LocalLogs {
    const logs = new LocalLogs(
      {
        walDir: own.walDir ?? servers[number]!.walDir,
        hold: { dir: own.holdDir ?? holdDir, maxBytes: 0, maxAgeS: 0, minFreePercent: 0 },
        markerIntervalMs: 1000,
        tserver: `node-${number}:7050`,
        systemTables: { prefix: own.prefix ?? 'spoor.' },
      },
      keepingLogger(lines),
    );
    open.push(logs);
    return logs;
  }
  async function end(logs: LocalLogs): Promise<void> {
    await logs[Symbol.asyncDispose]();
  }
  /** One that has held two segments, and has ended. */
  async function leaveHeld(number: 0 | 1, own: Parameters<typeof sidecar>[1] = {}): Promise<void> {
    const logs = sidecar(number, own);
    logs.open();
    servers[number]!.append();
    servers[number]!.roll();
    logs.parts.keepers.keep(TEST_TABLET);
    await end(logs);
  }
  const heldFiles = (): string[] => filesBelow(join(holdDir, TEST_TABLET)).map(({ path }) => path);

  describe("a folder that is not to be Spoor's", () => {
    const walDir = (): string => servers[0]!.walDir;
    const CASES: readonly (readonly [what: string, folder: () => string, why: RegExp])[] = [
      ["the tablets' logs", () => join(walDir(), 'wals'), /within the tablet server's own .*\/wals/],
      ['below them', () => join(walDir(), 'wals', 'hold'), /within the tablet server's own/],
      ['tablet-meta, where each name is a tablet', () => join(walDir(), 'tablet-meta', 'x'), /within .*tablet-meta/],
      ['SPOOR_WAL_DIR itself', walDir, /or a folder around it/],
      ['the same, by a link', () => join(dir, 'link'), /or a folder around it/],
      ["another tablet server's logs", () => join(servers[1]!.walDir, 'wals'), /holds the logs of a tablet server/],
      ['a folder with something else in it', () => join(dir, 'used'), /has something else in it \(photos\)/],
    ];
    for (const [what, folder, why] of CASES)
      it(`is refused before anything is made or changed in it: ${what}`, () => {
        for (const server of servers) server.append();
        symlinkSync(walDir(), join(dir, 'link'));
        mkdirSync(join(dir, 'used', 'photos'), { recursive: true, mode: 0o755 });
        const before = [walDir(), servers[1]!.walDir, join(dir, 'used')].map((path) => filesBelow(path));
        assert.throws(
          () => {
            sidecar(0, { holdDir: folder() }).open();
          },
          (error: Error) => why.test(error.message) && error.message.includes(`${walDir()}/spoor-hold, the default`),
        );
        const after = [walDir(), servers[1]!.walDir, join(dir, 'used')].map((path) => filesBelow(path));
        assert.deepEqual(after, before);
        assert.equal(statSync(join(dir, 'used')).mode & 0o777, 0o755);
      });

    it('takes an empty one, and one that the file system has put something into', () => {
      mkdirSync(join(holdDir, 'lost+found'), { recursive: true });
      sidecar(0).open();
    });
  });

  describe('SPOOR_WAL_DIR that is none', () => {
    const CASES: readonly (readonly [what: string, folder: () => string, why: RegExp])[] = [
      ['the folder wals in it', () => join(servers[0]!.walDir, 'wals'), /is the folder wals in one, give [^ ]*$/],
      ['the folder around it', () => dirname(servers[0]!.walDir), /not the --fs_wal_dir/],
      ['a folder of --fs_data_dirs', () => join(dir, 'data'), /may be one of --fs_data_dirs: give --fs_wal_dir/],
      ['a folder that is not there', () => join(dir, 'no'), /there is no such folder/],
      ['an empty one', () => join(dir, 'empty'), /no tablet server has used it yet/],
      ['one with it inside', () => join(dir, 'around'), /has one in it, give .*\/around\/tserver$/],
    ];
    for (const [what, folder, why] of CASES)
      it(`is told with what to give, and nothing is made in it: ${what}`, () => {
        for (const name of ['data', 'empty', 'around/tserver/wals']) mkdirSync(join(dir, name), { recursive: true });
        writeInstance(join(dir, 'data'), UUIDS[0]);
        writeInstance(join(dir, 'around/tserver'), UUIDS[0]);
        const before = filesBelow(dir);
        const logs = sidecar(0, { walDir: folder() });
        assert.throws(() => {
          logs.open();
        }, why);
        assert.deepEqual(filesBelow(dir), before);
      });
  });

  it('refuses a second sidecar with the same folder, says whose it is, and touches nothing', () => {
    const first = sidecar(0);
    first.open();
    first.parts.keepers.keep(TEST_TABLET);
    const held = heldFiles();
    assert.ok(held.length > 0);
    assert.throws(
      () => {
        sidecar(1).open();
      },
      (error: Error) => {
        assert.ok(error instanceof HoldTakenError);
        for (const told of [holdDir, UUIDS[0], 'node-0:7050', `process ${process.pid}`, hostname()])
          assert.ok(error.message.includes(told), `${error.message} names ${told}`);
        return true;
      },
    );
    assert.deepEqual(heldFiles(), held);
  });

  it('refuses a second sidecar beside the same tablet server, whatever its folder', async () => {
    const first = sidecar(0);
    first.open();
    const second = sidecar(0, { holdDir: join(dir, 'another') });
    assert.throws(() => {
      second.open();
    }, /has a sidecar: process \d+ on host .*, beside tablet server a{32} \(node-0:7050\), with SPOOR_HOLD_DIR/);
    assert.equal(existsSync(join(dir, 'another')), false);
    await end(first);
    second.open(); // it is free again
  });

  it('takes one of another installation beside the same tablet server, with held logs of its own', () => {
    sidecar(0).open();
    assert.throws(() => {
      sidecar(0, { prefix: 'other.' }).open();
    }, /is used by another sidecar/);
    sidecar(0, { prefix: 'other.', holdDir: join(dir, 'another') }).open();
    assert.throws(() => {
      sidecar(0, { prefix: 'other.', holdDir: join(dir, 'third') }).open();
    }, /A tablet server has one: stop that one first, or give this one a SPOOR_SYSTEM_TABLE_PREFIX/);
  });

  it('leaves the logs of another tablet server alone while that one has no sidecar', async () => {
    await leaveHeld(0);
    const held = heldFiles();
    writeFileSync(join(holdDir, '.dropped-something'), ''); // what its own sidecar would clear away
    assert.throws(() => {
      sidecar(1).open();
    }, /holds the logs of tablet server a{32} \(last at node-0:7050\), and the one beside this sidecar is b{32}/);
    assert.deepEqual([heldFiles(), existsSync(join(holdDir, '.dropped-something'))], [held, true]);
    sidecar(0).open(); // and its own goes on with them
    assert.deepEqual(heldFiles(), held);
  });

  it('takes a folder of another in which nothing is held', async () => {
    const first = sidecar(0);
    first.open();
    await end(first);
    const second = sidecar(1);
    second.open();
    await end(second);
    assert.match(readFileSync(join(holdDir, 'owner.json'), 'utf8'), new RegExp(UUIDS[1]));
  });

  for (const { why, known } of [
    { why: 'no owner was written down', known: null },
    { why: 'the prefix alone was', known: '{"systemTablePrefix":"spoor."}' },
    { why: 'the file was cut short', known: '{"systemTab' },
  ])
    it(`takes over what an earlier version held, where ${why}`, async () => {
      await leaveHeld(0);
      const held = heldFiles();
      if (known === null) rmSync(join(holdDir, 'owner.json'));
      else writeFileSync(join(holdDir, 'owner.json'), known);
      rmSync(join(holdDir, 'spoor.lock'));
      const logs = sidecar(0);
      logs.open();
      assert.deepEqual([logs.parts.holds.tabletIds(), heldFiles()], [[TEST_TABLET], held]);
      assert.match(readFileSync(join(holdDir, 'owner.json'), 'utf8'), new RegExp(UUIDS[0]));
    });

  it('goes on with the folder of its tablet server on another machine, with other addresses', async () => {
    await leaveHeld(0);
    const moved = new LocalLogs(
      {
        walDir: servers[0]!.walDir,
        hold: { dir: holdDir, maxBytes: 0, maxAgeS: 0, minFreePercent: 0 },
        markerIntervalMs: 1000,
        tserver: 'node-9:7050',
        systemTables: { prefix: 'spoor.' },
      },
      keepingLogger(lines),
    );
    open.push(moved);
    moved.open();
    assert.deepEqual(moved.parts.holds.tabletIds(), [TEST_TABLET]);
  });

  it('refuses held logs of streams with another prefix, or of another cluster', async () => {
    const first = sidecar(0);
    first.open();
    first.ofCluster('cluster-1');
    first.parts.keepers.keep(TEST_TABLET);
    await end(first);
    assert.throws(() => {
      sidecar(0, { prefix: 'other.' }).open();
    }, /SPOOR_SYSTEM_TABLE_PREFIX spoor\., given is other\./);
    const second = sidecar(0);
    second.open();
    assert.throws(() => {
      second.ofCluster('cluster-2');
    }, /of cluster cluster-1, and the masters in SPOOR_KUDU_MASTERS are of cluster cluster-2/);
    second.ofCluster('cluster-1');
  });

  it('makes nothing in a folder that no tablet server has used: Kudu would not take it any more', () => {
    const walDir = join(dir, 'fresh');
    mkdirSync(walDir);
    const logs = new LocalLogs(
      {
        walDir,
        hold: { dir: join(walDir, 'spoor-hold'), maxBytes: 0, maxAgeS: 0, minFreePercent: 0 },
        markerIntervalMs: 1000,
        tserver: 'node-0:7050',
        systemTables: { prefix: 'spoor.' },
      },
      keepingLogger(lines),
    );
    assert.throws(() => {
      logs.open();
    }, /no tablet server has used it yet/);
    assert.deepEqual(filesBelow(walDir), []);
    assert.equal(existsSync(join(walDir, 'spoor-hold')), false);
  });

  it('is no hindrance to who comes after a kill -9', async () => {
    const path = join(dir, 'spoor.lock');
    const program = fileURLToPath(new URL('../../support/lock-and-hang.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    assert.equal(said.toString(), 'locked\n');
    assert.equal(FileLock.take(path, ''), null);
    assert.equal(FileLock.noteOf(path), '{}');
    child.kill('SIGKILL');
    await once(child, 'close');
    const lock = FileLock.take(path, '');
    assert.ok(lock);
    lock[Symbol.dispose]();
  });

  it('objects to what is known to be of another, and to nothing that is not known', () => {
    const ours = { systemTablePrefix: 'spoor.', tserverUuid: 'u1', tserver: 'a:1', clusterId: 'c1' };
    const cases: [object, RegExp | null][] = [
      [{}, null],
      [ours, null],
      [{ ...ours, tserver: 'b:1' }, null],
      [{ tserverUuid: 'u2' }, /tablet server u2 \(last at an address not known\)/],
      [{ systemTablePrefix: 'x.' }, /SYSTEM_TABLE_PREFIX x\./],
      [{ ...ours, clusterId: 'c2' }, /cluster c2/],
    ];
    for (const [known, expected] of cases) {
      const objection = objectionTo(known, ours);
      if (expected === null) assert.equal(objection, null);
      else assert.match(objection ?? '', expected);
    }
  });
});
