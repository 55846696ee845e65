import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { dumpWal } from '../../src/cli/wal-dump.ts';
import { KuduMarkerWriter } from '../../src/kudu-side/marker-writer.ts';
import type { KuduCluster, TabletServer } from '../../src/demo/kudu-servers.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import type { AlterStep } from '../../src/kudu/ddl.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import type { TabletOfTable } from '../../src/kudu/extension-writer.ts';
import { type OpId, formatOpId } from '../../src/kudu/opid.ts';
import type { RowInput } from '../../src/kudu/row-operations.ts';
import { TserverErrorCode } from '../../src/kudu/status.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import { decodeMarker, encodeMarker, type ApplyMarker } from '../../src/change/apply-marker.ts';
import { MarkerError, type MarkerErrorKind } from '../../src/keeping/marker-writing.ts';
import type { CommitEntry, ReplicateEntry } from '../../src/wal/entry.ts';
import { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { serversMissing, startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { javaTool } from '../support/java-tools.ts';

const NEVER = new AbortController().signal;

/** What a replica's log has of extensions, in the order of the log; `committed` is the size of the result, if any. */
async function readExtensions(
  server: TabletServer,
  tabletId: string,
): Promise<readonly { readonly opId: OpId; readonly bytes: Buffer; readonly results: number | null }[]> {
  using watcher = new WalWatcher({ walDir: server.walDir });
  await using log = watcher.read(tabletId, NEVER);
  const replicates: ReplicateEntry[] = [];
  const commits = new Map<string, CommitEntry>();
  for (let chunk = await log.next(); chunk.kind !== 'idle' && chunk.kind !== 'gone'; chunk = await log.next()) {
    if (chunk.kind !== 'entries') continue;
    for (const entry of chunk.entries)
      if (entry.kind === 'replicate') replicates.push(entry);
      else commits.set(formatOpId(entry.opId), entry);
  }
  return replicates.flatMap((entry) => {
    const bytes = entry.readExtension();
    if (!bytes) return [];
    const commit = commits.get(formatOpId(entry.opId));
    return [{ opId: entry.opId, bytes, results: commit?.hasResult ? commit.readRowResults().length : null }];
  });
}

async function onlyTablet(table: KuduTable): Promise<TabletOfTable> {
  const [tablet] = await table.tablets();
  return { tableId: table.description.tableId, tabletId: tablet!.tabletId };
}

/** Upserts rows `0, 1, 2 ...` of whatever columns the table has now, until it is stopped. */
class Load implements AsyncDisposable {
  rows = 0;
  #stopped = false;
  #table: KuduTable;
  readonly #client: KuduClient;
  readonly #running: Promise<void>;

  constructor(client: KuduClient, table: KuduTable) {
    this.#client = client;
    this.#table = table;
    this.#running = this.#run();
  }

  /** Resolves when it has written more. */
  async advanced(): Promise<void> {
    const { rows } = this;
    await eventually('the writer goes on', () => this.rows > rows);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const batch = Array.from({ length: 20 }, (_, i) => ({
        type: 'upsert' as const,
        row: this.#row(this.rows + i),
      }));
      try {
        const { rowErrors } = await this.#table.write(batch);
        assert.deepEqual(rowErrors, []);
        this.rows += batch.length;
      } catch (error) {
        if (!KuduError.is(error, 'tserver', TserverErrorCode.MISMATCHED_SCHEMA)) throw error;
        this.#table = await this.#client.openTable({ tableId: this.#table.description.tableId });
      }
    }
  }

  #row(n: number): RowInput {
    const { columns } = this.#table.description.schema;
    const entries = columns.flatMap(({ name, isKey, nullable, precision, length }) => {
      if (nullable && !isKey) return [];
      if (precision !== undefined) return [[name, `${n % 7}.25`] as const];
      return [[name, length === undefined ? n % 100 : `v${n}`] as const];
    });
    return Object.fromEntries(entries);
  }
}

describe('apply markers on real tablet servers', { skip: await serversMissing(), timeout: 240_000 }, () => {
  let kudu: KuduCluster;
  let client: KuduClient;
  let markers: KuduMarkerWriter;
  let table: KuduTable;
  let tablet: TabletOfTable;
  let load: Load;
  const written: ApplyMarker[] = [];

  before(async () => {
    kudu = await startKudu({ tservers: 3, flags: ['--enable_log_gc=false', '--log_segment_size_mb=1'] });
    client = await KuduClient.connect({ masters: kudu.masters });
    markers = new KuduMarkerWriter(client);
    // Every kind of column that a request must name and describe, and every kind that it may leave out.
    table = await client.createTable({
      name: 'shop.orders',
      columns: [
        { name: 'k_int', type: 'INT32', key: true },
        { name: 'k_text', type: 'VARCHAR', length: 12, key: true },
        { name: 'k_price', type: 'DECIMAL', precision: 12, scale: 2, key: true },
        { name: 'required', type: 'INT64', encoding: 4, compression: 3, comment: 'no default' },
        { name: 'required_text', type: 'VARCHAR', length: 40 },
        { name: 'required_price', type: 'DECIMAL', precision: 38, scale: 10 },
        { name: 'required_once', type: 'INT16', immutable: true },
        { name: 'state', type: 'INT8', default: 7 },
        { name: 'note', type: 'STRING', nullable: true },
        { name: 'extra', type: 'STRING', nullable: true },
      ],
      range: { columns: ['k_int'] },
      numReplicas: 3,
    });
    tablet = await onlyTablet(table);
    load = new Load(client, table);
  });
  after(async () => {
    await load[Symbol.asyncDispose]();
    client[Symbol.dispose]();
    await kudu[Symbol.asyncDispose]();
  });

  /** Another one each time, also in its size. */
  async function mark(writer = markers): Promise<void> {
    const index = BigInt(written.length + 1);
    const marker = {
      sidecar: 'sidecar-ü',
      streams: Array.from({ length: written.length % 5 }, (_, i) => ({
        generation: `generation-${i}`,
        position: { opId: { term: 1n, index }, tableName: 'shop.orders', schemaVersion: 0 },
        sink: 'kafka:abc',
      })),
    };
    await writer.write(tablet, marker, NEVER);
    written.push(marker);
  }

  /** Each once and in order, whatever restarts and step-downs there were: a repetition may only follow its original. */
  async function assertInEveryLog(servers: readonly TabletServer[] = kudu.tservers): Promise<void> {
    const wanted = written.map((marker) => encodeMarker(marker).toString('hex'));
    for (const server of servers) {
      let last: unknown;
      await eventually(`the markers are in the log of ${server.rpc}`, async () => {
        const found = await readExtensions(server, tablet.tabletId);
        const committed = found.filter(({ results }) => results === 0);
        const bytes = committed.map(({ bytes: one }) => one.toString('hex'));
        last = { found: found.length, committed: committed.length, wanted: wanted.length };
        return JSON.stringify(bytes.filter((one, i) => one !== bytes[i - 1])) === JSON.stringify(wanted);
      }).catch((error: unknown) => {
        throw new Error(`${String(error)}: ${JSON.stringify(last)}`);
      });
      const found = await readExtensions(server, tablet.tabletId);
      for (const { bytes } of found) assert.notEqual(decodeMarker(bytes), null);
      assert.ok(found.every(({ results }) => results === 0 || results === null));
    }
  }

  async function leaderUuid(): Promise<string> {
    const { tablets } = await client.getTabletLocations([tablet.tabletId]);
    return tablets[0]!.replicas.find(({ role }) => role === 'leader')!.uuid;
  }

  /** The servers as the tablet has them now: the one that leads it, and the others. */
  async function roles(): Promise<{ readonly leader: TabletServer; readonly followers: readonly TabletServer[] }> {
    return eventually('the tablet has a leader', async () => {
      const lists = await Promise.all(
        kudu.tservers.map(async (server) => {
          const tablets = await client.tabletServer(server.rpc).listTablets();
          return { server, role: tablets.find(({ tabletId }) => tabletId === tablet.tabletId)?.role };
        }),
      );
      const leader = lists.find(({ role }) => role === 'leader')?.server;
      return leader && { leader, followers: kudu.tservers.filter((server) => server !== leader) };
    });
  }

  const logFolder = async (server: TabletServer): Promise<bigint> =>
    (await stat(join(server.walDir, 'wals', tablet.tabletId), { bigint: true })).ino;

  it('lie in the log of each replica, byte for byte, beside the rows of a writer', async () => {
    for (let i = 0; i < 6; i++) {
      await mark();
      await load.advanced();
    }
    await assertInEveryLog();
  });

  it('survive ALTERs of value columns in between', async () => {
    const steps: readonly AlterStep[][] = [
      [{ add: { name: 'added', type: 'INT32', nullable: true } }],
      [{ add: { name: 'added_default', type: 'INT32', default: 4 } }],
      [{ drop: 'extra' }],
      [{ rename: 'note', to: 'remark' }],
      [{ changeDefault: 'state', value: 8 }],
    ];
    for (const one of steps) {
      await client.alterTable({ tableId: tablet.tableId }, { steps: one });
      await mark();
    }
    await assertInEveryLog();
  });

  it('survive those that a request must follow: a default gone, a key and a required column renamed', async () => {
    const steps: readonly AlterStep[][] = [
      [{ changeDefault: 'state', value: null }],
      [{ rename: 'k_text', to: 'k_name' }],
      [{ rename: 'required', to: 'needed' }],
      [{ drop: 'required_price' }],
    ];
    for (const one of steps) {
      await client.alterTable({ tableId: tablet.tableId }, { steps: one });
      await mark();
    }
    await client.alterTable({ tableId: tablet.tableId }, { renameTo: 'shop.renamed' });
    await mark();
    await assertInEveryLog();
  });

  it('go to the new leader after a step-down', async () => {
    for (let round = 0; round < 3; round++) {
      const before = await leaderUuid();
      const { leader, followers } = await roles();
      const { uuid } = await client.tabletServer(leader.rpc).getStatus();
      const next = await client.tabletServer(followers[round % 2]!.rpc).getStatus();
      await client
        .tabletServer(leader.rpc)
        .leaderStepDown({ serverUuid: uuid, tabletId: tablet.tabletId, newLeaderUuid: next.uuid });
      await mark();
      await eventually('the leader is another', async () => (await leaderUuid()) !== before);
      await mark();
    }
    await assertInEveryLog();
  });

  it('go to the new leader while the old one hangs (trap 34)', async () => {
    const { leader } = await roles();
    await leader.freeze();
    try {
      // After step-downs an election may take its time.
      await mark(new KuduMarkerWriter(client, { timeoutMs: 40_000 }));
      await mark();
    } finally {
      leader.thaw();
    }
    await mark();
    await assertInEveryLog();
  });

  it('survive kill -9 of each server in turn, whose restart rewrites the log', async () => {
    for (const server of kudu.tservers) {
      const folder = await logFolder(server);
      await mark();
      await server.kill();
      await mark();
      await server.restart();
      await eventually('the log is rewritten', async () => (await logFolder(server)) !== folder);
      await mark();
    }
    await assertInEveryLog();
  });

  it('are copied to a replica that was deleted', async () => {
    const { followers } = await roles();
    const [victim] = followers;
    const folder = await logFolder(victim!);
    await mark();
    const { exitCode, output } = await kudu.kuduCli(['remote_replica', 'delete', victim!.rpc, tablet.tabletId, 'test']);
    assert.equal(exitCode, 0, output);
    await mark();
    await eventually('the copy is there', async () => (await logFolder(victim!)) !== folder);
    await mark();
    await assertInEveryLog();
  });

  it('change nothing in the table', async () => {
    await load.stop();
    const { rows } = load;
    const before = await (await client.openTable({ tableId: tablet.tableId })).readAll();
    for (let i = 0; i < 3; i++) await mark();
    const after = await (await client.openTable({ tableId: tablet.tableId })).readAll();
    assert.deepEqual(after, before);
    assert.equal(before.length, rows);
    const { exitCode, output } = await kudu.kuduCli(['cluster', 'ksck', kudu.masters[0]!, '--checksum_scan']);
    assert.equal(exitCode, 0, output);
  });

  it('are small, come quickly, and are shown by `spoor wal dump`', async (t) => {
    const marker: ApplyMarker = {
      sidecar: 'tserver-1:7050',
      streams: [
        {
          generation: '0123456789abcdef',
          position: { opId: { term: 3n, index: 123_456n }, tableName: 'shop.orders', schemaVersion: 4 },
          sink: 'kafka:MkU3OEVBNTcwNTJENDM2Qk',
        },
      ],
    };
    const tookMs: number[] = [];
    for (let i = 0; i < 200; i++) {
      const began = performance.now();
      await markers.write(tablet, marker, NEVER);
      tookMs.push(performance.now() - began);
    }
    tookMs.sort((a, b) => a - b);
    const lines: string[] = [];
    const { leader } = await roles();
    await dumpWal(join(leader.walDir, 'wals', tablet.tabletId), (line) => lines.push(line));
    const shown = lines
      .map((line) => JSON.parse(line) as { readonly marker?: object; readonly bytes: number })
      .filter((line) => line.marker !== undefined);
    const last = shown.at(-1)!;
    assert.deepEqual(last.marker, {
      sidecar: 'tserver-1:7050',
      streams: [
        {
          generation: '0123456789abcdef',
          sink: 'kafka:MkU3OEVBNTcwNTJENDM2Qk',
          op_id: '3.123456',
          table: 'shop.orders',
          schema_version: 4,
        },
      ],
    });
    const percentile = (p: number): string => tookMs[Math.floor(tookMs.length * p)]!.toFixed(1);
    t.diagnostic(
      `marker of ${encodeMarker(marker).length} bytes: REPLICATE of ${last.bytes} bytes; ` +
        `p50 ${percentile(0.5)} ms, p99 ${percentile(0.99)} ms`,
    );
    assert.ok(last.bytes < 1000);
  });

  it('are refused, in a few words, where they cannot be', async () => {
    const fails = async (which: TabletOfTable, timeoutMs: number): Promise<MarkerError> => {
      const writer = new KuduMarkerWriter(client, { timeoutMs });
      const error = await writer.write(which, { sidecar: 'me', streams: [] }, NEVER).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof MarkerError, String(error));
      return error;
    };
    const counted = await client.createTable({
      name: 'shop.counted',
      columns: [{ name: 'k', type: 'STRING', key: true }],
      autoIncrementing: true,
      range: { columns: ['k'] },
      numReplicas: 3,
    });
    const other = await onlyTablet(counted);
    await markers.write(other, { sidecar: 'me', streams: [] }, NEVER);
    await counted.insert({ k: 'a' });
    await markers.write(other, { sidecar: 'me', streams: [] }, NEVER);
    await counted.insert({ k: 'a' });
    const ids = (await counted.readAll()).map((row) => row['auto_incrementing_id']);
    assert.deepEqual(ids, [1n, 2n], 'a marker does not count');
    await client.deleteTable({ tableId: other.tableId }, { reserveSeconds: 600 });
    await markers.write(other, { sidecar: 'me', streams: [] }, NEVER); // soft-deleted: it still takes writes
    using stranger = await KuduClient.connect({ masters: kudu.masters });
    await new KuduMarkerWriter(stranger).write(other, { sidecar: 'me', streams: [] }, NEVER);
    const { exitCode, output } = await kudu.kuduCli(['table', 'delete', kudu.masters[0]!, 'shop.renamed']);
    assert.equal(exitCode, 0, output);
    const refused = await eventually('the tablet is gone', async () => {
      const error = await fails(tablet, 5000);
      return error.kind === 'refused' && error;
    });
    assert.match(refused.message, /the tablet is dropped/);

    // A follower that is left alone leads nobody.
    tablet = other;
    const { leader, followers } = await roles();
    await Promise.all([leader.kill(), followers[0]!.kill()]);
    const lost = await fails(other, 4000);
    assert.match(lost.kind, /^(not-leader|retry)$/, lost.message); // whoever was asked last: the follower, or the dead
  });
});

const TRANSACTIONS = '--enable_txn_system_client_init';

it('wait for the end of a multi-row transaction', { skip: await serversMissing(), timeout: 120_000 }, async () => {
  await using cluster = await startKudu({
    tservers: 1,
    flags: [TRANSACTIONS, '--txn_keepalive_interval_ms=6000', '--txn_staleness_tracker_interval_ms=500'],
    masterFlags: [
      TRANSACTIONS,
      '--txn_manager_enabled',
      '--txn_manager_lazily_initialized',
      '--txn_manager_status_table_num_replicas=1',
    ],
  });
  using client = await KuduClient.connect({ masters: cluster.masters });
  const table = { masters: cluster.masters, table: 'txn.rows' };
  await javaTool('create-table', { ...table, shape: 'small', buckets: 1, replicas: 1 });
  const opened = await client.openTable({ name: 'txn.rows' });
  const tablet = await onlyTablet(opened);
  const markers = new KuduMarkerWriter(client);
  const marker = { sidecar: 'me', streams: [] };
  await markers.write(tablet, marker, NEVER);
  await eventually('the transaction is made', async () =>
    javaTool('write-transaction', { ...table, first: 10, end: 'open' }),
  );
  let kind: MarkerErrorKind | null = null;
  const began = performance.now();
  await markers.write(tablet, marker, NEVER).catch((error: unknown) => {
    if (error instanceof MarkerError) kind = error.kind;
  });
  assert.equal(kind, 'locked');
  assert.ok(performance.now() - began < 4000, 'it does not wait for the end');
  await eventually('the transaction is given up', async () => {
    await markers.write(tablet, marker, NEVER);
    return true;
  });
});

it('carry a token where tablet servers enforce access control', { skip: await serversMissing() }, async () => {
  await using cluster = await startKudu({ tservers: 1, flags: ['--tserver_enforce_access_control'] });
  using client = await KuduClient.connect({ masters: cluster.masters });
  const table = await client.createTable({
    name: 'guarded',
    columns: [{ name: 'k', type: 'INT8', key: true }],
    numReplicas: 1,
  });
  const tablet = await onlyTablet(table);
  const marker = { sidecar: 'me', streams: [] };
  const markers = new KuduMarkerWriter(client);
  for (let i = 0; i < 2; i++) await markers.write(tablet, marker, NEVER);
  const [server] = cluster.tservers;
  assert.deepEqual(
    (await readExtensions(server!, tablet.tabletId)).map(({ bytes }) => decodeMarker(bytes)),
    [marker, marker],
  );
  const lines: string[] = [];
  await dumpWal(join(server!.walDir, 'wals', tablet.tabletId), (line) => lines.push(line));
  assert.equal(lines.filter((line) => line.includes('"marker"')).length, 2);
  assert.ok(!/token/i.test(lines.join('\n')));
});
