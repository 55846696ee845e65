import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KuduCluster, TabletServer } from '../../src/demo/kudu-servers.ts';
import { SpoorError } from '../../src/errors.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { formatOpId, MIN_OPID, parseOpId, type OpId } from '../../src/kudu/opid.ts';
import { OpIdType } from '../../src/kudu/tserver-proxy.ts';
import { CommitOrder } from '../../src/wal/commit-order.ts';
import { HoldStore } from '../../src/wal/hold-store.ts';
import type { SegmentSource } from '../../src/wal/segment-source.ts';
import type { TabletHold } from '../../src/wal/tablet-hold.ts';
import { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { assertIntact } from '../support/intact-table.ts';

/** As many as a log keeps beyond log GC: under full load those of half a second, for a sidecar on a busy machine. */
const RETAINED = 4;

/** Small segments, and GC as eager as it gets: what is not linked soon is gone. */
const EAGER_GC = [
  '--log_segment_size_mb=1',
  `--log_min_segments_to_retain=${RETAINED}`,
  '--log_compression_codec=no_compression',
  '--flush_threshold_secs=1',
  '--flush_threshold_mb=1',
  '--maintenance_manager_polling_interval_ms=50',
];

/** A tablet server and what a sidecar beside it holds: every tablet, from its first moment. Nobody reads. */
class HeldServer implements Disposable {
  readonly server: TabletServer;
  store: HoldStore;
  watcher: WalWatcher;
  #sources: SegmentSource[] = [];

  constructor(server: TabletServer) {
    this.server = server;
    [this.store, this.watcher] = this.#start();
  }

  get holdDir(): string {
    return join(this.server.walDir, 'spoor-hold');
  }

  hold(tabletId: string): TabletHold {
    const hold = this.store.get(tabletId);
    assert.ok(hold, `${this.server.rpc} holds nothing of ${tabletId}`);
    return hold;
  }

  /** The sidecar is killed and starts again. */
  restartSidecar(): void {
    this[Symbol.dispose]();
    [this.store, this.watcher] = this.#start();
  }

  /** Reads all that is held and there, and ends where there is no more. */
  async read(tabletId: string, after: OpId): Promise<{ ops: string[]; last: string; segments: number }> {
    const order = new CommitOrder(after);
    await using reader = this.watcher.read(tabletId, AbortSignal.timeout(30_000));
    const ops: string[] = [];
    let segments = 0;
    for (;;) {
      const chunk = await reader.next();
      if (chunk.kind === 'missing' || (chunk.kind === 'segment' && chunk.restarted)) order.restart();
      if (chunk.kind === 'segment') segments++;
      if (chunk.kind === 'idle' || chunk.kind === 'gone') break;
      if (chunk.kind !== 'entries') continue;
      for (const entry of chunk.entries) order.push(entry);
      for (const { replicate, commit } of order.take())
        if (replicate.opId.index > after.index)
          ops.push(`${formatOpId(replicate.opId)} ${commit.readRowResults().join('')}`);
    }
    return { ops, last: formatOpId(order.committed), segments };
  }

  async liveSegments(tabletId: string): Promise<string[]> {
    const names = await readdir(join(this.server.walDir, 'wals', tabletId)).catch(() => []);
    return names.filter((name) => name.startsWith('wal-'));
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source[Symbol.dispose]();
    this.#sources = [];
    this.watcher[Symbol.dispose]();
  }

  #start(): [HoldStore, WalWatcher] {
    const store = HoldStore.open({ dir: this.holdDir, walDir: this.server.walDir });
    const watcher = new WalWatcher({ walDir: this.server.walDir, hold: store });
    const follow = (tabletId: string): void => {
      store.enable(tabletId);
      this.#sources.push(watcher.follow(tabletId));
    };
    for (const tabletId of new Set([...watcher.tabletIds, ...store.tabletIds()])) follow(tabletId);
    watcher.on('tablet-appeared', (tabletId) => {
      if (store.get(tabletId) === null) follow(tabletId);
    });
    return [store, watcher];
  }
}

describe('holding the logs of real tablet servers', { timeout: 180_000 }, () => {
  let kudu: KuduCluster;
  let client: KuduClient;
  let held: HeldServer[];
  let table: string;
  let tabletId: string;
  let loaded = 1;

  before(async () => {
    kudu = await startKudu({ tservers: 3, flags: EAGER_GC });
    client = await KuduClient.connect({ masters: kudu.masters });
    held = kudu.tservers.map((server) => new HeldServer(server));
  });
  after(async () => {
    for (const server of held) server[Symbol.dispose]();
    client[Symbol.dispose]();
    await kudu[Symbol.asyncDispose]();
  });

  async function cli(...args: readonly string[]): Promise<string> {
    const { exitCode, output } = await kudu.kuduCli(args);
    assert.equal(exitCode, 0, `kudu ${args.join(' ')}: ${output}`);
    return output;
  }

  /** Kudu's own load generator, into a table with one tablet of three replicas. */
  async function load(rows: number): Promise<void> {
    const firstKey = loaded;
    loaded += rows;
    const into = table ? [`--table_name=${table}`] : ['--keep_auto_table', '--table_num_replicas=3'];
    await cli(
      'perf',
      'loadgen',
      kudu.masters[0]!,
      '--num_threads=2',
      `--num_rows_per_thread=${rows / 2}`,
      '--flush_per_n_rows=100',
      `--seq_start=${firstKey}`, // no key twice
      '--string_len=200',
      '--table_num_hash_partitions=1',
      '--table_num_range_partitions=1',
      '--error_buffer_size_bytes=0',
      ...into,
    );
  }

  const uuidOf = async ({ server }: HeldServer): Promise<string> =>
    (await client.tabletServer(server.rpc).getStatus({ timeoutMs: 2000 })).uuid;

  async function isServing({ server }: HeldServer): Promise<boolean> {
    const tablets = await client.tabletServer(server.rpc).listTablets({ timeoutMs: 2000 });
    const tablet = tablets.find((one) => one.tabletId === tabletId);
    return tablet?.state === 'running' && tablet.dataState === 'ready';
  }

  /** The newest operation that all of these replicas know to be committed, once they have come to rest. */
  async function lastCommitted(servers: readonly HeldServer[]): Promise<string> {
    const ask = async (): Promise<string> => {
      const opIds = await Promise.all(
        servers.map(async (server) =>
          client.tabletServer(server.server.rpc).getLastOpId({
            serverUuid: await uuidOf(server),
            tabletId,
            type: OpIdType.COMMITTED,
          }),
        ),
      );
      return [...new Set(opIds.map(formatOpId))].join();
    };
    return eventually('all replicas have committed the same', async () => {
      const first = await ask();
      await sleep(300);
      return !first.includes(',') && first === (await ask()) && first;
    });
  }

  /** Every operation from the first to the last is read, once and in order, and the same on all of them. */
  async function assertReadable(servers: readonly HeldServer[]): Promise<OpId> {
    const last = await lastCommitted(servers);
    const [term, index] = last.split('.').map(BigInt) as [bigint, bigint];
    let reference: string[] | null = null;
    for (const server of servers) {
      const { ops } = await eventually(`all is read at ${server.server.rpc}`, async () => {
        const read = await server.read(tabletId, MIN_OPID);
        return read.ops.at(-1)?.startsWith(`${last} `) === true && read;
      });
      assert.equal(ops.length, Number(index));
      assert.deepEqual(
        ops.map((op) => BigInt(/\.(\d+) /.exec(op)![1]!)),
        Array.from({ length: ops.length }, (_, i) => BigInt(i + 1)),
      );
      reference ??= ops;
      assert.deepEqual(ops, reference);
    }
    return { term, index };
  }

  it('keeps every operation through roll-over and GC, for a sidecar that begins to read later', async () => {
    await load(60_000);
    table = (await client.listTables())[0]!.name;
    tabletId = held[0]!.watcher.tabletIds[0]!;
    for (const server of held) {
      await eventually('GC took segments', async () => (await server.liveSegments(tabletId)).length <= RETAINED);
      assert.ok(server.hold(tabletId).incarnations()[0]!.segments.length >= 6);
      server.restartSidecar();
    }
    await assertReadable(held);
  });

  it('keeps every operation over kill -9 and restart of the tablet server', async () => {
    const victim = held[1]!;
    for (let round = 1; round <= 2; round++) {
      const loading = load(20_000);
      const segments = victim.hold(tabletId).bytes;
      await eventually('some was written', () => victim.hold(tabletId).bytes > segments + (1 << 20));
      await victim.server.kill();
      await victim.server.restart();
      await loading;
    }
    assert.ok(victim.hold(tabletId).incarnations().length >= 2);
    await assertReadable(held);
  });

  it('keeps every operation of a follower that is tombstoned and copied anew in place, twice (kudu-facts 8.6)', async () => {
    const victim = held[2]!;
    for (let round = 1; round <= 2; round++) {
      const loading = load(6_000); // no more than the others keep until the copy begins
      const incarnations = (await readdir(join(victim.holdDir, tabletId))).length;
      await cli('remote_replica', 'delete', victim.server.rpc, tabletId, 'test');
      await eventually('the copy is held', async () => {
        const dirs = await readdir(join(victim.holdDir, tabletId));
        return dirs.length > incarnations && (await isServing(victim));
      });
      await loading;
    }
    await assertReadable(held);
  });

  it('keeps what there was of a replica that moves away and back, and another sidecar has the rest', async () => {
    const away = held[2]!;
    held.push(new HeldServer(await kudu.addTabletServer()));
    const host = held[3]!;
    await kudu.waitForTabletServers(4);
    const move = async (from: HeldServer, to: HeldServer): Promise<void> => {
      const master = kudu.masters[0]!;
      await cli('tablet', 'change_config', 'move_replica', master, tabletId, await uuidOf(from), await uuidOf(to));
      await eventually('the replica has moved', async () => {
        const [there, here] = await Promise.all([to.liveSegments(tabletId), from.liveSegments(tabletId)]);
        return there.length > 0 && here.length === 0 && (await isServing(to));
      });
    };
    await move(away, host);
    await load(20_000);
    await eventually('GC took segments of what will be copied', async () => {
      const live = await Promise.all([...held.slice(0, 2), host].map((server) => server.liveSegments(tabletId)));
      return live.every((names) => names.length <= RETAINED);
    });
    await move(host, away);
    await load(4_000);
    const others = held.slice(0, 2);
    const end = await assertReadable(others);
    const { ops } = await others[0]!.read(tabletId, MIN_OPID);
    const first = host.hold(tabletId).firstIndex!;
    const hosted = await host.read(tabletId, parseOpId(ops[Number(first) - 2]!.split(' ')[0]!));
    assert.ok(hosted.ops.length > 20_000 / 100 / 2, `${hosted.ops.length} operations were held where it was a guest`);
    assert.deepEqual(hosted.ops, ops.slice(Number(first) - 1, Number(first) - 1 + hosted.ops.length));
    // What was written while it was away it has only as far as the copy brought it: all, or a gap is told.
    const own = await away.read(tabletId, MIN_OPID).catch((error: unknown) => error);
    if (own instanceof Error) assert.ok(own instanceof SpoorError && own.code === 'SPOOR_WAL_GAP', own.message);
    const source = others[0]!.hold(tabletId);
    for (const [i, { segments }] of source.incarnations().entries())
      for (const { path, sequenceNumber } of segments)
        await away.hold(tabletId).receive(`server-0.${i}`, sequenceNumber, createReadStream(path));
    assert.deepEqual(await assertReadable(held.slice(0, 3)), end);
  });

  it('leaves the table intact, and shrinks to the segment being written once all is done with', async () => {
    const assertAllIntact = async (): Promise<void> => {
      const report = await assertIntact(kudu, table, 1);
      assert.match(report, new RegExp(`, ${((3 * (loaded - 1)) / 1000).toFixed(2)}k rows summed`));
    };
    await assertAllIntact();
    // A replica that lost its log to somebody who held it would show that at its next start.
    await held[2]!.server.kill();
    await held[2]!.server.restart();
    await assertAllIntact();
    const end = await lastCommitted(held.slice(0, 3));
    const index = BigInt(end.split('.')[1]!);
    for (const server of held) {
      const hold = server.hold(tabletId);
      const before = hold.bytes;
      await eventually('all is let go', async () => {
        hold.release(index);
        const left = await readdir(join(server.holdDir, tabletId), { recursive: true });
        return left.filter((name) => /wal-\d+$/.test(name)).length === 1;
      });
      assert.ok(hold.bytes <= 8 << 20, `${hold.bytes} of ${before} bytes`);
      hold.drop();
      await eventually('nothing is left', async () => (await readdir(server.holdDir)).length === 0);
    }
    await assertAllIntact();
  });
});
