import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KuduCluster, TabletServer } from '../../src/demo/kudu-servers.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { formatOpId } from '../../src/kudu/opid.ts';
import { OpIdType } from '../../src/kudu/tserver-proxy.ts';
import { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { LogFollower } from '../support/log-follower.ts';

/**
 * Small segments, and GC as eager as it gets: what is not opened soon is gone. Three stay, those of some tenths of a
 * second under full load: a reader on a busy machine may be late by as much.
 */
const EAGER_GC = [
  '--log_min_segments_to_retain=3',
  '--log_segment_size_mb=1',
  '--log_compression_codec=no_compression',
  '--flush_threshold_secs=1',
  '--flush_threshold_mb=1',
  '--maintenance_manager_polling_interval_ms=50',
];

/** A tablet server and followers of every tablet that appears on it, each from the tablet's first moment. */
class FollowedServer implements AsyncDisposable {
  readonly server: TabletServer;
  readonly watcher: WalWatcher;
  readonly #followers = new Map<string, LogFollower[]>();
  paused = false;

  constructor(server: TabletServer) {
    this.server = server;
    this.watcher = new WalWatcher({ walDir: server.walDir });
    this.watcher.on('tablet-appeared', (tabletId) => {
      const follower = new LogFollower(this.watcher, tabletId, { paused: this.paused });
      this.#followers.set(tabletId, [...(this.#followers.get(tabletId) ?? []), follower]);
    });
  }

  /** The last one, where a tablet came more than once. */
  follower(tabletId: string): LogFollower {
    const follower = this.#followers.get(tabletId)?.at(-1);
    if (follower === undefined) throw new Error(`tablet ${tabletId} never appeared at ${this.server.rpc}`);
    return follower;
  }

  async segmentsOnDisk(tabletId: string): Promise<number> {
    const names = await readdir(join(this.server.walDir, 'wals', tabletId));
    return names.filter((name) => name.startsWith('wal-')).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const follower of [...this.#followers.values()].flat()) await follower[Symbol.asyncDispose]();
    this.watcher[Symbol.dispose]();
  }
}

/** By what the servers encrypt their logs. What CI does not follow here so, plain logs, other tests do all the time. */
const CIPHERS = form<readonly (number | null)[]>([256], [null, 128, 192, 256]);

for (const bits of CIPHERS)
  describe(
    `following the ${bits === null ? 'plain' : `AES-${bits}`} logs of real tablet servers`,
    { timeout: 300_000 },
    () => {
      let kudu: KuduCluster;
      let client: KuduClient;
      let followed: FollowedServer[];

      before(async () => {
        const encryption = bits === null ? [] : ['--encrypt_data_at_rest', `--encryption_key_length=${bits}`];
        kudu = await startKudu({ tservers: 3, flags: [...EAGER_GC, ...encryption] });
        client = await KuduClient.connect({ masters: kudu.masters });
        followed = kudu.tservers.map((server) => new FollowedServer(server));
      });
      after(async () => {
        for (const server of followed) await server[Symbol.asyncDispose]();
        client[Symbol.dispose]();
        await kudu[Symbol.asyncDispose]();
      });

      /** Starts writing `rows` rows with Kudu's own load generator, into a new table with one tablet of three replicas. */
      function load(rows: number): { tablet: Promise<string>; table: Promise<string>; done: Promise<void> } {
        const threads = 2;
        const before = new Set(followed.flatMap((server) => server.watcher.tabletIds));
        const tables = client.listTables();
        const done = kudu
          .kuduCli([
            'perf',
            'loadgen',
            kudu.masters[0]!,
            `--num_threads=${threads}`,
            `--num_rows_per_thread=${rows / threads}`,
            '--flush_per_n_rows=100',
            '--use_random',
            '--string_len=200',
            '--table_num_hash_partitions=1',
            '--table_num_range_partitions=1',
            '--table_num_replicas=3',
            '--keep_auto_table',
            '--error_buffer_size_bytes=0',
          ])
          .then(({ exitCode, output }) => {
            assert.equal(exitCode, 0, output);
          });
        const tablet = eventually('a tablet appears on every server', () =>
          followed[0]!.watcher.tabletIds.find(
            (id) => !before.has(id) && followed.every((server) => server.watcher.tabletIds.includes(id)),
          ),
        );
        const table = eventually('the table is there', async () => {
          const known = new Set((await tables).map((entry) => entry.name));
          return (await client.listTables()).find((entry) => !known.has(entry.name))?.name;
        });
        return { tablet, table, done };
      }

      /** The newest operation that a replica knows to be committed, once it has come to rest. */
      async function lastCommitted(tabletId: string): Promise<string> {
        const ask = async (): Promise<string> => {
          const opIds = await Promise.all(
            kudu.tservers.map(async ({ rpc }) => {
              const tserver = client.tabletServer(rpc);
              const { uuid } = await tserver.getStatus();
              return tserver.getLastOpId({ serverUuid: uuid, tabletId, type: OpIdType.COMMITTED });
            }),
          );
          return [...new Set(opIds.map(formatOpId))].join();
        };
        return eventually('all replicas have committed the same', async () => {
          const first = await ask();
          await sleep(300);
          return !first.includes(',') && first === (await ask()) && first;
        });
      }

      /** Every operation came out, on every replica, once and in order, and the rows are those that were written. */
      async function assertComplete(tabletId: string, rows: number): Promise<void> {
        const last = await lastCommitted(tabletId);
        const index = Number(last.split('.')[1]);
        const [first, ...others] = await Promise.all(
          followed.map(async (server) => {
            const follower = server.follower(tabletId);
            await follower.reached(last);
            return follower;
          }),
        );
        assert.equal(first!.lastCommitted, last);
        assert.deepEqual(
          first!.committed.map((op) => Number(/^\d+\.(\d+)/.exec(op)![1])),
          Array.from({ length: index }, (_, i) => i + 1),
        );
        assert.equal(first!.rows, rows);
        for (const other of others) assert.deepEqual(other.committed, first!.committed);
        for (const server of followed) assert.equal(server.follower(tabletId).missing, 0);
      }

      it('gives every operation, while segments roll over and GC takes them (trap 4)', async () => {
        const { tablet, done } = load(60_000);
        const tabletId = await tablet;
        await done;
        await assertComplete(tabletId, 60_000);
        for (const server of followed) {
          const { segments } = server.follower(tabletId);
          assert.ok(segments >= 6, `${segments} segments`);
          await eventually('GC took segments', async () => (await server.segmentsOnDisk(tabletId)) < segments - 2);
        }
      });

      it('gives every operation to a reader that was behind while GC took its segments (trap 29)', async () => {
        for (const server of followed) server.paused = true;
        const { tablet, done } = load(60_000);
        const tabletId = await tablet;
        await done;
        for (const server of followed) {
          server.paused = false;
          await eventually('GC took the first segments', async () => {
            const names = await readdir(join(server.server.walDir, 'wals', tabletId));
            return !names.includes('wal-000000001') && !names.includes('wal-000000002');
          });
          server.follower(tabletId).start();
        }
        await assertComplete(tabletId, 60_000);
      });

      it('goes on after kill -9 and restart, with what only the rewritten log has (traps 7, 8, 10)', async () => {
        const { tablet, done } = load(60_000);
        const tabletId = await tablet;
        const victim = followed[1]!;
        for (let round = 1; round <= 2; round++) {
          const from = victim.follower(tabletId).committed.length;
          await eventually('some more was written', () => victim.follower(tabletId).committed.length > from + 40);
          await victim.server.kill();
          await victim.server.restart();
          await eventually('the new log is followed', () => victim.follower(tabletId).restarts === round + 1);
        }
        await done;
        await assertComplete(tabletId, 60_000);
      });

      it('goes on with the new log when the replica is deleted and copied anew (traps 29, 36)', async () => {
        const { tablet, done } = load(60_000);
        const tabletId = await tablet;
        const victim = followed[2]!;
        await eventually('some was written', () => victim.follower(tabletId).committed.length > 100);
        const first = victim.follower(tabletId);
        const { exitCode, output } = await kudu.kuduCli([
          'remote_replica',
          'delete',
          victim.server.rpc,
          tabletId,
          'test',
        ]);
        assert.equal(exitCode, 0, output);
        await eventually('the copy is followed', () => first.restarts >= 2 || first.failure !== null);
        assert.equal(first.failure, null);
        await done;
        const last = await lastCommitted(tabletId);
        await first.reached(last);
        assert.deepEqual(first.committed, followed[0]!.follower(tabletId).committed);
      });

      it('gives all that was written, and then says that the tablet is gone, when its table is dropped (trap 29)', async () => {
        const rows = 20_000;
        const { tablet, table, done } = load(rows);
        const [tabletId, name] = await Promise.all([tablet, table]);
        await done;
        const last = await lastCommitted(tabletId);
        const { exitCode, output } = await kudu.kuduCli(['table', 'delete', kudu.masters[0]!, name]);
        assert.equal(exitCode, 0, output);
        for (const server of followed) {
          const follower = server.follower(tabletId);
          await eventually('the tablet is gone', () => follower.gone);
          assert.equal(follower.lastCommitted, last);
          assert.equal(follower.rows, rows);
          assert.equal(follower.failure, null);
          assert.ok(!server.watcher.tabletIds.includes(tabletId));
        }
      });
    },
  );
