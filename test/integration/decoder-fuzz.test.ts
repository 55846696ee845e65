import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RowOp } from '../../src/change/change.ts';
import type { KuduCluster, TabletServer } from '../../src/demo/kudu-servers.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import type { AlterStep } from '../../src/kudu/ddl.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import { schemaToPb } from '../../src/kudu/schema-codec.ts';
import type { CellInput } from '../../src/kudu/cell-codec.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../../src/kudu/schema.ts';
import type { RowOperation } from '../../src/kudu/writer.ts';
import { OpType, type ReplicateEntry } from '../../src/wal/entry.ts';
import { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { serversMissing, startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { FollowedTable } from '../support/followed-table.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { Random } from '../support/random.ts';
import { encodeRows, int32 } from '../support/row-bytes.ts';

/** Small segments and early flushes, so that a short run rolls over, flushes and replays; the log is kept whole. */
const FLAGS = ['--log_segment_size_mb=1', '--flush_threshold_secs=3', '--enable_log_gc=false'];
const SEED = Number(process.env['FUZZ_SEED'] ?? 20261123);
const OPERATIONS: readonly RowOperation['type'][] = [
  'insert',
  'insert-ignore',
  'upsert',
  'upsert-ignore',
  'update',
  'update-ignore',
  'delete',
  'delete-ignore',
];

describe('the decoder on real tablet servers', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let cluster: KuduCluster;
  let client: KuduClient;
  before(async () => {
    cluster = await startKudu({ tservers: 3, flags: FLAGS });
    client = await KuduClient.connect({ masters: cluster.masters });
  });
  after(async () => {
    client[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  it('gives the table out of each replica: every type, all kinds of operation, kill -9 and step-downs', async () => {
    const random = new Random(SEED);
    const table = { masters: cluster.masters, table: 'fuzz.types' };
    await javaTool('create-table', { ...table, shape: 'types', buckets: 2 });
    await using followed = await FollowedTable.follow(cluster, client, 'fuzz.types');
    // Before every second flush comes a write with COMMIT_WAIT (kudu-facts 5.9).
    const load = { ...table, ops: 12_000, keys: 150, threads: 3, flush: 40, rate: 800, seed: random.next(1e6) };
    const counts = await whileDisturbed(followed, random, () => writeMixed({ ...load, 'commit-wait-every': 2 }));
    const [edges] = await javaTool('write-types', { ...table, first: 1_000_000 });
    await followed.check(random);
    assert.ok(counts.rejected > 0 && counts.ignored > 0, 'the load was to be refused often');
    const proposed = await proposalsIn(cluster.tservers[0]!, followed.tablets[0]!.tabletId);
    const writes = proposed.filter(({ opType }) => opType === OpType.WRITE).map((entry) => entry.readWrite());
    const waited = writes.filter(({ isCommitWait }) => isCommitWait).length;
    assert.ok(waited > 20 && writes.length > 2 * waited, `${waited} of ${writes.length} writes waited for their time`);
    const { applied } = JSON.parse(edges!) as { applied: number };
    const { rowRecords, rejectedRows } = followed.totals;
    const believed = counts.applied + applied;
    assert.equal(rowRecords + rejectedRows, believed + counts.ignored + counts.rejected);
    // A client counts by the metrics of its answers. To a request that it sends again, a server that was restarted repeats
    // what it rebuilt from its log (Kudu's TabletBootstrap::PlayWriteRequest): the errors of rows, and no metrics.
    const retried = rowRecords - believed;
    assert.ok(retried >= 0 && retried <= load.threads * load.flush, `${rowRecords} came, ${believed} were applied`);
  });

  it('gives a compound key of every type', async () => {
    const random = new Random(SEED + 1);
    const table = { masters: cluster.masters, table: 'fuzz.keys' };
    await javaTool('create-table', { ...table, shape: 'keys', buckets: 2 });
    await using followed = await FollowedTable.follow(cluster, client, 'fuzz.keys');
    const counts = await writeMixed({ ...table, ops: 2000, keys: 100, threads: 2, seed: random.next(1e6) });
    await followed.check(random);
    assert.equal(followed.totals.rowRecords, counts.applied);
  });

  it('reads each row with the schema of its moment, while columns and names change under load', async () => {
    const random = new Random(SEED + 2);
    await client.createTable({
      name: 'fuzz.alter',
      columns: [
        { name: 'k', type: 'INT64', key: true },
        { name: 'a', type: 'INT32', nullable: true },
        { name: 's', type: 'STRING', nullable: true },
        { name: 'i', type: 'INT32', nullable: true, immutable: true },
      ],
      hash: [{ columns: ['k'], buckets: 2 }],
      numReplicas: 3,
    });
    await using followed = await FollowedTable.follow(cluster, client, 'fuzz.alter');
    await whileDisturbed(followed, random, async () => {
      const stop = new AbortController();
      const writers = [1, 2].map((n) => writeUnderAlters(client, followed.tableId, new Random(SEED + n), stop.signal));
      try {
        for (const alteration of ALTERATIONS) {
          await sleep(700);
          await client.alterTable({ tableId: followed.tableId }, alteration, { timeoutMs: 60_000 });
        }
        await sleep(700);
      } finally {
        stop.abort();
        await Promise.all(writers);
      }
    });
    await followed.check(random);
    assert.ok(followed.totals.rowRecords > 500, `only ${followed.totals.rowRecords} rows were written`);
  });

  it('never gives out what a new leader overwrote', async () => {
    const name = 'fuzz.overwritten';
    const table = await client.createTable({
      name,
      columns: [{ name: 'k', type: 'INT32', key: true }],
      range: { columns: ['k'] },
      numReplicas: 3,
    });
    const keys = new Set<string>();
    await using followed = await FollowedTable.follow(cluster, client, name, ({ kind, key }) => {
      if (kind === 'row') keys.add(key.toString());
    });
    await table.insert({ k: 1 });
    const { tabletId } = followed.tablets[0]!;
    const leader = await eventually('there is a leader', () => leaderOf(tabletId));
    const followers = cluster.tservers.filter((server) => server !== leader);
    const insertAt = ({ rpc }: TabletServer, k: number, timeoutMs: number): Promise<unknown> =>
      client.tabletServer(rpc).write(
        {
          tabletId: Buffer.from(tabletId),
          schema: schemaToPb(table.description.schema, { withIds: false }),
          rowOperations: { rows: encodeRows(table.description.schema, [{ op: RowOp.INSERT, cells: [int32(k)] }]).rows },
        },
        { timeoutMs },
      );
    for (const follower of followers) await follower.freeze();
    try {
      // Proposed, and in the leader's log. The first is on its way to the followers and will get there; the others wait
      // behind it, and no majority ever has them.
      for (const k of [2, 3, 4]) await assert.rejects(insertAt(leader, k, 500), KuduError);
      await leader.freeze();
      for (const follower of followers) follower.thaw();
      await eventually('another leads and takes a write', () =>
        Promise.any(followers.map((follower) => insertAt(follower, 5, 1000))),
      );
    } finally {
      for (const server of cluster.tservers) server.thaw();
    }
    await followed.check(new Random(SEED));
    keys.delete('{"k":2}');
    assert.deepEqual([...keys].sort(), ['{"k":1}', '{"k":5}']);
    const proposed = await proposalsIn(leader, tabletId);
    const indexes = new Set(proposed.map(({ opId }) => opId.index));
    assert.ok(proposed.length > indexes.size, 'nothing was overwritten after all');
  });

  it('reads a replica that is born after its leader, and perhaps copied from it', async () => {
    const late = cluster.tservers[2]!;
    await late.freeze();
    const created = client.createTable({
      name: 'fuzz.late',
      columns: [{ name: 'k', type: 'INT32', key: true }],
      hash: [{ columns: ['k'], buckets: 4 }],
      numReplicas: 3,
    });
    try {
      const table = await created;
      for (let k = 0; k < 50; k++) await table.insert({ k });
      // Leaders ask it for tablet copies meanwhile: some are carried out after it has begun a replica of its own.
      await sleep(2000);
    } finally {
      late.thaw();
    }
    await using followed = await FollowedTable.follow(cluster, client, 'fuzz.late');
    await followed.check(new Random(SEED));
    assert.equal(followed.totals.rowRecords, 50);
  });

  it('counts auto-incremented values, the ones that rejected rows burnt too', async () => {
    const random = new Random(SEED + 3);
    const table = await client.createTable({
      name: 'fuzz.auto',
      columns: [
        { name: 'k', type: 'INT32', key: true },
        { name: 's', type: 'STRING', nullable: true },
      ],
      autoIncrementing: true,
      hash: [{ columns: ['k'], buckets: 2 }],
      numReplicas: 3,
    });
    await using followed = await FollowedTable.follow(cluster, client, 'fuzz.auto');
    const tooLarge = 'x'.repeat(70_000);
    const k = (): number => random.next(20);
    let refused = 0;
    for (let round = 0; round < 40; round++) {
      const ops: RowOperation[] = Array.from({ length: 20 }, () => {
        const auto_incrementing_id = 1 + random.next(300);
        if (random.once(5)) return { type: 'insert-ignore', row: { k: k(), s: tooLarge } };
        if (random.once(4)) return { type: 'upsert', row: { k: k(), auto_incrementing_id, s: `upsert ${round}` } };
        if (random.once(6)) return { type: 'delete', row: { k: k(), auto_incrementing_id } };
        return { type: 'insert', row: { k: k(), s: `insert ${round}` } };
      });
      refused += (await table.write(ops)).rowErrors.length;
    }
    await followed.check(random);
    assert.deepEqual(followed.totals, { rowRecords: 800 - refused, rejectedRows: refused });
  });

  it('keeps bytes that are no UTF-8, in keys too', async () => {
    const table = await client.createTable({
      name: 'fuzz.bytes',
      columns: [
        { name: 'k', type: 'STRING', key: true },
        { name: 'v', type: 'VARCHAR', length: 10, nullable: true },
      ],
      range: { columns: ['k'] },
      numReplicas: 3,
    });
    const keys: string[] = [];
    await using followed = await FollowedTable.follow(cluster, client, 'fuzz.bytes', ({ kind, key }) => {
      if (kind === 'row') keys.push(key.toString());
    });
    await table.insert({ k: Buffer.from('a\xff\xed\xa0\x80', 'latin1'), v: Buffer.of(0xc0) });
    await table.delete({ k: Buffer.from('a\xff\xed\xa0\x80', 'latin1') });
    await followed.check(new Random(SEED));
    assert.deepEqual(
      keys,
      Array.from({ length: 6 }, () => '{"k":"a\\udcff\\udced\\udca0\\udc80"}'),
    );
  });

  async function leaderOf(tabletId: string): Promise<TabletServer | null> {
    for (const server of cluster.tservers) {
      const tablets = await client.tabletServer(server.rpc).listTablets();
      if (tablets.some((tablet) => tablet.tabletId === tabletId && tablet.role === 'leader')) return server;
    }
    return null;
  }

  /** Runs a load while tablet servers are killed and leaders step down, and until all servers are back. */
  async function whileDisturbed<T>(followed: FollowedTable, random: Random, load: () => Promise<T>): Promise<T> {
    const over = new AbortController();
    const disturbing = (async () => {
      while (!over.signal.aborted) {
        await sleep(500 + random.next(1500), undefined, { signal: over.signal }).catch(() => undefined);
        if (random.once(3)) {
          const server = random.pick(cluster.tservers);
          await server.kill();
          await sleep(random.next(1000));
          await server.restart();
        } else {
          // There may be no leader just now.
          await followed.stepDown(random.pick(followed.tablets).tabletId).catch(ignoreKuduError);
        }
      }
    })();
    try {
      return await load();
    } finally {
      over.abort();
      await disturbing;
    }
  }
});

/** All operations that a replica's log proposes, the overwritten ones among them. */
async function proposalsIn(server: TabletServer, tabletId: string): Promise<ReplicateEntry[]> {
  const { signal } = new AbortController();
  using watcher = new WalWatcher({ walDir: server.walDir });
  await using log = watcher.read(tabletId, signal);
  const proposed: ReplicateEntry[] = [];
  for (let chunk = await log.next(); chunk.kind !== 'idle'; chunk = await log.next())
    if (chunk.kind === 'entries')
      for (const entry of chunk.entries) if (entry.kind === 'replicate') proposed.push(entry);
  return proposed;
}

/** One after another; names come back with other columns behind them, and a name changes hands within one ALTER. */
const ALTERATIONS: readonly { readonly steps?: readonly AlterStep[]; readonly renameTo?: string }[] = [
  { steps: [{ add: { name: 'n', type: 'INT32', nullable: true } }] },
  { steps: [{ add: { name: 'd', type: 'STRING', default: 'first' } }] },
  { steps: [{ rename: 'a', to: 'a2' }] },
  { steps: [{ drop: 'n' }] },
  { steps: [{ add: { name: 'n', type: 'DOUBLE', nullable: true } }] },
  { steps: [{ changeDefault: 'd', value: 'second' }] },
  {
    steps: [
      { rename: 'n', to: 'swap' },
      { rename: 'd', to: 'n' },
      { rename: 'swap', to: 'd' },
    ],
  },
  { steps: [{ rename: 'k', to: 'key' }] },
  { renameTo: 'fuzz.renamed' },
  { steps: [{ drop: 'n' }, { add: { name: 'n', type: 'DECIMAL', precision: 20, scale: 3, default: '-0.001' } }] },
  { steps: [{ add: { name: 'i2', type: 'INT32', nullable: true, immutable: true } }] },
  { steps: [{ changeDefault: 'n', value: null }] },
  { steps: [{ rename: 's', to: 'a' }], renameTo: 'fuzz.alter' },
];

/** Random operations of all kinds on few keys, always with the table's newest schema that is known here. */
async function writeUnderAlters(client: KuduClient, tableId: string, random: Random, stop: AbortSignal): Promise<void> {
  let table = await client.openTable({ tableId });
  while (!stop.aborted) {
    const ops = Array.from({ length: 1 + random.next(12) }, () => randomOperation(table.description.schema, random));
    try {
      await table.write(ops, { timeoutMs: 60_000 });
    } catch (error) {
      ignoreKuduError(error);
      // The schema moved on, or it is not known what became of the write: the log knows.
      table = await client.openTable({ tableId });
    }
  }
}

function randomOperation(schema: TableSchema, random: Random): RowOperation {
  const type = random.pick(OPERATIONS);
  const row: Record<string, CellInput> = {};
  for (const column of schema.columns) {
    if (column.isKey) row[column.name] = random.next(60);
    else if (type.startsWith('delete')) continue;
    else if (isRequired(column, type) || random.next(3) > 0) row[column.name] = randomCell(column, random);
  }
  return { type, row };
}

function isRequired(column: ColumnSchema, type: RowOperation['type']): boolean {
  return !type.startsWith('update') && !column.nullable && column.writeDefault === null;
}

function randomCell(column: ColumnSchema, random: Random): CellInput {
  if (column.nullable && random.once(6)) return null;
  const ofType: Partial<Record<DataType, () => CellInput>> = {
    [DataType.INT32]: () => random.next(1000) - 500,
    [DataType.DOUBLE]: () => random.pick([0.1, -0, Number.NaN, Number.NEGATIVE_INFINITY, 1e300]),
    [DataType.STRING]: () => random.pick(['', 'é😀', '"\\\n', 'x'.repeat(random.next(100))]),
    [DataType.DECIMAL128]: () => random.pick(['0', '-12345678901234567.891', '0.001']),
  };
  const make = ofType[column.type];
  if (!make) throw new TypeError(`no random value of type ${column.type}`);
  return make();
}

function ignoreKuduError(error: unknown): void {
  if (!(error instanceof KuduError)) throw error;
}
