/**
 * Captures the segments of test/golden/wal from real tablet servers: `node --import tsx test/support/capture-wal.ts
 * [case ...]`. Each case is a folder with the segments and with `expected.json`, which is what Kudu's own `kudu wal
 * dump` reads in them. test/golden/wal/README.md says how each came about; a new capture has other ids and times.
 */
import { copyFile, link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { KuduCluster, TabletServer } from '../../src/demo/kudu-servers.ts';
import { startKudu } from './cluster.ts';
import { javaTool, writeMixed } from './java-tools.ts';
import { readKuduDump, type DumpedEntry } from './kudu-wal-dump.ts';

const GOLDEN_DIR = fileURLToPath(new URL('../golden/wal', import.meta.url));
/** Kudu allocates a megabyte of zeros ahead; that much of it is kept. */
const KEPT_ZEROS = 512;
const SMALL_LOGS = ['--log_segment_size_mb=1', '--enable_log_gc=false'];

async function cli(kudu: KuduCluster, ...args: readonly string[]): Promise<string> {
  const { exitCode, output } = await kudu.kuduCli(args);
  if (exitCode !== 0) throw new Error(`kudu ${args.join(' ')}: ${output}`);
  return output;
}

async function createSmall(kudu: KuduCluster, table: string, replicas: number): Promise<void> {
  await javaTool('create-table', { masters: kudu.masters, table, shape: 'small', buckets: 1, replicas });
}

async function tabletOf(kudu: KuduCluster, table: string): Promise<string> {
  const listed = await cli(kudu, 'table', 'list', kudu.masters[0]!, '--list_tablets', `--tables=${table}`);
  const id = /T ([0-9a-f]{32})/.exec(listed)?.[1];
  if (id === undefined) throw new Error(`no tablet of ${table} in: ${listed}`);
  return id;
}

async function leaderOf(kudu: KuduCluster, table: string): Promise<TabletServer> {
  const listed = await cli(kudu, 'table', 'list', kudu.masters[0]!, '--list_tablets', `--tables=${table}`);
  const address = /L [0-9a-f]{32} (\S+)/.exec(listed)?.[1];
  const leader = kudu.tservers.find((server) => server.rpc === address);
  if (leader === undefined) throw new Error(`no leader of ${table} in: ${listed}`);
  return leader;
}

function logDir(server: TabletServer, tabletId: string): string {
  return join(server.walDir, 'wals', tabletId);
}

/** Copies the segments of `dir`, without most of the zeros at their ends, and writes down what Kudu reads in them. */
async function capture(kudu: KuduCluster, name: string, dir: string): Promise<void> {
  const target = join(GOLDEN_DIR, name);
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  const expected: Record<string, readonly DumpedEntry[]> = {};
  for (const segment of (await readdir(dir)).filter((file) => file.startsWith('wal-')).sort()) {
    const whole = join(target, `${segment}.whole`);
    await copyFile(join(dir, segment), whole); // one state of a file that may still grow
    expected[segment] = readKuduDump(await cli(kudu, 'wal', 'dump', whole, '--print_entries=pb', '--truncate_data=0'));
    const bytes = await readFile(whole);
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === 0) end--;
    await writeFile(join(target, segment), bytes.subarray(0, Math.min(bytes.length, end + KEPT_ZEROS)));
    await rm(whole);
  }
  const lines = Object.entries(expected).map(
    ([segment, entries]) =>
      `${JSON.stringify(segment)}: [\n${entries.map((entry) => JSON.stringify(entry)).join(',\n')}\n]`,
  );
  await writeFile(join(target, 'expected.json'), `{\n${lines.join(',\n')}\n}\n`);
  process.stderr.write(`# ${name}: ${Object.values(expected).flat().length} entries\n`);
}

/** Waits until a restarted server's tablet is through with rewriting its log. */
async function waitForBootstrap(server: TabletServer, tabletId: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const names = await readdir(join(server.walDir, 'wals'));
    if (names.includes(tabletId) && !names.some((name) => name.startsWith(`${tabletId}.recovery`))) break;
    await sleep(100);
  }
  await sleep(1500); // the new term's first operation and what it settles
}

const CASES: Readonly<Record<string, () => Promise<void>>> = {
  /** leader-lz4, rewritten-snappy, rewritten-zlib-flushed, rewritten-uncompressed, altered, closed, crashed-before-commit */
  async single() {
    await using kudu = await startKudu({ tservers: 1, flags: [...SMALL_LOGS, '--flush_threshold_secs=100000'] });
    const [server] = kudu.tservers as [TabletServer];
    const { masters } = kudu;
    const master = masters[0]!;
    await createSmall(kudu, 'mixed', 1);
    const mixed = await tabletOf(kudu, 'mixed');
    await writeMixed({ masters, table: 'mixed', ops: 360, keys: 60, threads: 4, flush: 12, seed: 7 });

    await createSmall(kudu, 'altered', 1);
    const altered = await tabletOf(kudu, 'altered');
    const write = (table: string, seed: number): Promise<unknown> =>
      writeMixed({ masters, table, ops: 24, keys: 12, threads: 1, flush: 6, seed });
    await write('altered', 1);
    await cli(kudu, 'table', 'add_column', master, 'altered', 'extra', 'INT32', '--default_value=[42]');
    await write('altered', 2);
    await cli(kudu, 'table', 'rename_column', master, 'altered', 'note', 'remark');
    await write('altered', 3);
    await cli(kudu, 'table', 'delete_column', master, 'altered', 'amount');
    await cli(kudu, 'table', 'rename_table', master, 'altered', 'altered.later');
    await write('altered.later', 4);

    await createSmall(kudu, 'closed', 1);
    const closed = await tabletOf(kudu, 'closed');
    await writeMixed({ masters, table: 'closed', ops: 48, keys: 16, threads: 2, flush: 8, seed: 3 });
    const kept = join(server.walDir, 'kept');
    await mkdir(kept);
    await link(join(logDir(server, closed), 'wal-000000001'), join(kept, 'wal-000000001'));
    await cli(kudu, 'table', 'delete', master, 'closed');
    await sleep(2000);
    await capture(kudu, 'closed', kept);

    await capture(kudu, 'leader-lz4', logDir(server, mixed));
    await capture(kudu, 'altered', logDir(server, altered));
    for (const [name, codec, flags] of [
      ['rewritten-snappy', 'snappy', ['--flush_threshold_secs=1']],
      ['rewritten-zlib-flushed', 'zlib', []],
      ['rewritten-uncompressed', 'no_compression', []],
    ] as const) {
      await server.kill();
      await server.restart([`--log_compression_codec=${codec}`, ...flags]);
      await waitForBootstrap(server, mixed);
      await capture(kudu, name, logDir(server, mixed));
      await sleep(5000); // time to flush, where the flags say so
    }

    await cli(kudu, 'tserver', 'set_flag', server.rpc, 'fault_crash_before_append_commit', '1', '--force');
    await writeMixed(
      { masters, table: 'mixed', ops: 4, keys: 4, threads: 1, flush: 4, seed: 9 },
      AbortSignal.timeout(4000),
    ).catch(() => null);
    await capture(kudu, 'crashed-before-commit', logDir(server, mixed));
  },

  /** follower-batches, overwritten-terms, copied */
  async replicated() {
    await using kudu = await startKudu({ tservers: 3, flags: SMALL_LOGS });
    const { masters } = kudu;
    await createSmall(kudu, 'replicated', 3);
    const tabletId = await tabletOf(kudu, 'replicated');
    const write = (ops: number, seed: number): Promise<unknown> =>
      writeMixed({ masters, table: 'replicated', ops, keys: 40, threads: 4, flush: 4, seed });
    await write(40, 1);
    const leader = await leaderOf(kudu, 'replicated');
    const followers = kudu.tservers.filter((server) => server !== leader);
    const [behind, other] = followers as [TabletServer, TabletServer];
    await behind.freeze(); // it gets what it missed in few large requests
    await write(160, 2);
    behind.thaw();
    await sleep(3000);
    await capture(kudu, 'follower-batches', logDir(behind, tabletId));

    for (const follower of followers) await follower.freeze();
    await writeMixed(
      { masters, table: 'replicated', ops: 16, keys: 40, threads: 4, flush: 4, seed: 3 },
      AbortSignal.timeout(4000),
    ).catch(() => null);
    await leader.freeze();
    for (const follower of followers) follower.thaw();
    await write(16, 4);
    leader.thaw();
    await sleep(5000);
    await capture(kudu, 'overwritten-terms', logDir(leader, tabletId));

    await cli(kudu, 'remote_replica', 'delete', other.rpc, tabletId, 'captured');
    await sleep(5000);
    await write(16, 5);
    await capture(kudu, 'copied', logDir(other, tabletId));
  },

  /** transaction */
  async transaction() {
    const flags = [...SMALL_LOGS, '--enable_txn_system_client_init'];
    await using kudu = await startKudu({
      tservers: 1,
      flags,
      masterFlags: [
        '--txn_manager_enabled',
        '--txn_manager_status_table_num_replicas=1',
        '--enable_txn_system_client_init',
      ],
    });
    const [server] = kudu.tservers as [TabletServer];
    await createSmall(kudu, 'transacted', 1);
    const tabletId = await tabletOf(kudu, 'transacted');
    await cli(
      kudu,
      'perf',
      'loadgen',
      kudu.masters[0]!,
      '--table_name=transacted',
      '--num_threads=1',
      '--num_rows_per_thread=20',
      '--txn_start',
      '--txn_commit',
    );
    await sleep(1500);
    await capture(kudu, 'transaction', logDir(server, tabletId));
  },

  /** encrypted */
  async encrypted() {
    await using kudu = await startKudu({
      tservers: 1,
      flags: [...SMALL_LOGS, '--encrypt_data_at_rest'],
      masterFlags: ['--encrypt_data_at_rest'],
    });
    const [server] = kudu.tservers as [TabletServer];
    await createSmall(kudu, 'secret', 1);
    const dir = logDir(server, await tabletOf(kudu, 'secret'));
    const target = join(GOLDEN_DIR, 'encrypted');
    await rm(target, { recursive: true, force: true });
    await mkdir(target, { recursive: true });
    await writeFile(join(target, 'wal-000000001'), (await readFile(join(dir, 'wal-000000001'))).subarray(0, 1024));
  },
};

for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(CASES)) await CASES[name]!();
