import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import type { StreamView } from '../../src/api/shapes.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import type { TableFold } from '../support/fold.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';

/** Of a table whose log is to be let go: few tablets and little held, so that it is soon longer than may be. */
const GAP_TABLETS = 2;
const HOLD_BYTES = 2 << 20;
const COPIED_ROWS = 12_000;
const CHANGED_KEYS = 2_000;

/** Streams that take tables in and let them go, are copied again, and lose their log: fold equals table each time. */
describe('joining and resync', { skip: await serversMissing(), timeout: 900_000 }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let watch: ReplicaWatch;
  let client: KuduClient;
  before(async () => {
    lease = await leaseCluster();
    cluster = lease.cluster;
    watch = await ReplicaWatch.open(cluster);
    client = await KuduClient.connect({ masters: cluster.kudu.masters });
  });
  afterEach(async () => {
    if (!cluster.kafka.running) await cluster.kafka.restart();
  });
  after(async () => {
    client[Symbol.dispose]();
    watch[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
  });

  async function createTable(
    table: string,
    rows: number,
    options: { keys?: number; shape?: string; buckets?: number } = {},
  ): Promise<void> {
    const { keys = rows, shape = 'small', buckets = 4 } = options;
    await javaTool('create-table', { masters: cluster.masters, table, shape, buckets });
    if (rows > 0) await writeMixed({ masters: cluster.masters, table, ops: rows, keys });
  }

  /** Rows by inserts alone, with ids from `first` on. */
  async function insert(table: string, first: number, count: number): Promise<void> {
    const opened = await client.openTable({ name: table });
    for (let from = first; from < first + count; from += 1000)
      await opened.write(
        Array.from({ length: Math.min(1000, first + count - from) }, (_, i) => ({
          type: 'insert' as const,
          row: { id: BigInt(from + i), amount: i, note: `row ${from + i}` },
        })),
      );
  }

  const resync = async (stream: string, body: object = {}): Promise<{ status: number; body: unknown }> =>
    cluster.api('POST', `/v1/streams/${stream}/resync`, body);

  const metric = async (name: string, stream: string): Promise<number> => {
    const pages = await Promise.all(cluster.sidecars.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
    const lines = pages.flatMap((page) => page.split('\n'));
    return lines
      .filter((line) => line.startsWith(`${name}{`) && line.includes(`stream="${stream}"`))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  };

  /** Fold equals table, of one table of a stream. */
  const foldOf = async (stream: string, table: string, lenient = false): Promise<TableFold> =>
    cluster.foldIsTable(stream, table, { tabletIds: await watch.tabletIds(table), lenient });

  it('copies a stream again while it runs: whole, a table of it, a tablet of it', async () => {
    await createTable('rs.a', 8000);
    await createTable('rs.b', 4000);
    await cluster.createStream('again', ['rs.*']);
    await cluster.waitForTablets('again', ({ state }) => state === 'running');
    using a = Load.start(cluster, 'rs.a', { rate: 800, keys: 8000 });
    using b = Load.start(cluster, 'rs.b', { rate: 400, keys: 4000 });
    await sleep(1000);
    assert.equal((await resync('again')).status, 200);
    await eventually('all tablets are copied', async () => (await metric('spoor_resyncs_total', 'again')) === 8);
    assert.equal((await resync('again', { tables: ['rs.b'] })).status, 200);
    await eventually('those of a table are copied', async () => (await metric('spoor_resyncs_total', 'again')) === 12);
    const [tabletId] = await watch.tabletIds('rs.a');
    assert.equal((await resync('again', { tablets: [tabletId] })).status, 200);
    await eventually('the one is copied', async () => (await metric('spoor_resyncs_total', 'again')) === 13);
    await a.stop();
    await b.stop();
    await cluster.waitForTablets('again', isCaughtUp);
    const folds = [await foldOf('again', 'rs.a', true), await foldOf('again', 'rs.b', true)]; // it began behind some rows
    assert.deepEqual(
      folds.map(({ copies }) => copies.size),
      [5, 8],
    );
  });

  it('says what of a resync is wrong', async () => {
    await createTable('wrong.a', 0);
    await cluster.createStream('refused', ['wrong.a']);
    for (const [body, path] of [
      [{ tables: ['wrong.b'] }, 'tables[0]'],
      [{ tablets: ['f'.repeat(32)] }, 'tablets[0]'],
      [{ from: 'yesterday' }, 'from'],
      [{ form: 'gap' }, 'form'],
      [{ tables: [] }, 'tables'],
    ] as const) {
      const { status, body: problem } = await resync('refused', body);
      assert.equal(status, 400, JSON.stringify(problem));
      assert.deepEqual(
        (problem as { errors: { path: string }[] }).errors.map((fault) => fault.path),
        [path],
      );
    }
    assert.equal((await resync('nope')).status, 404);
  });

  it('takes tables in and lets them go: by a copy what holds rows, from its first operation what comes later', async () => {
    await createTable('join.first', 2000);
    await createTable('join.rows', 6000);
    await createTable('elsewhere', 40_000, { buckets: 1 });
    await cluster.createStream('join', ['join.first']);
    const patch = async (body: object): Promise<StreamView> => {
      const answer = await cluster.api<StreamView>('PATCH', '/v1/streams/join', body);
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return answer.body;
    };
    using load = Load.start(cluster, 'join.rows', { rate: 500, keys: 6000 });
    await sleep(1000);
    await patch({ tables: ['join.*'] });
    await createTable('join.later', 3000);
    // Its log does not begin with its first operation any more, so it joins by a copy, too.
    const [elsewhere] = await watch.tabletIds('elsewhere');
    // Whichever replica leads, and is asked; and the sidecars, which hold a new tablet until they know what it is of.
    await eventually('the begin of its log is nowhere any more', async () => {
      const servers = cluster.kudu.tservers.map((_, at) => at);
      const firsts = await Promise.all(servers.map((at) => watch.firstSegment(at, elsewhere!)));
      const held = await Promise.all(servers.map((at) => watch.heldTablets(at)));
      return firsts.every((first) => first > 1) && held.every((tabletIds) => !tabletIds.includes(elsewhere!));
    });
    await client.alterTable({ name: 'elsewhere' }, { steps: [{ changeDefault: 'note', value: 'none' }] });
    await insert('elsewhere', 900_000, 100);
    await client.alterTable({ name: 'elsewhere' }, { renameTo: 'join.renamed' });
    await insert('join.renamed', 1_000_000, 500);
    await load.stop();
    await eventually('all four are in', async () => (await cluster.tablets('join')).length === 13);
    await cluster.waitForTablets('join', isCaughtUp, 90_000);
    assert.ok((await foldOf('join', 'join.rows')).baseRows > 1000, 'a copy');
    assert.equal((await foldOf('join', 'join.later')).baseRows, 0, 'no copy');
    assert.ok((await foldOf('join', 'join.renamed')).baseRows > 0, 'a copy');
    const told = await cluster.schemaRecords('join');
    const names = told.flatMap(({ before, after }) => [before?.table, after?.table]);
    assert.ok(!names.includes('elsewhere'), 'what it was called before it joined is not told');

    const left = await patch({ tables: ['join.first', 'join.later'] });
    assert.equal(left.tablets.length, 8, 'those that leave are not in the answer any more');
    const before = await foldOf('join', 'join.rows');
    await writeMixed({ masters: cluster.masters, table: 'join.rows', ops: 500, keys: 100 });
    await writeMixed({ masters: cluster.masters, table: 'join.later', ops: 500, keys: 100 });
    await cluster.waitForTablets('join', isCaughtUp);
    const tabletIds = await watch.tabletIds('join.rows');
    const then = await cluster.fold('join', before.records, { tabletIds });
    assert.equal(then.records, before.records, 'nothing of a table that left');
    await foldOf('join', 'join.later');

    // And it comes back, however far its log has gone, as if it had never been there: by a copy.
    const back = await patch({ tables: { add: ['join.*'] } });
    assert.ok(back.tablets.every(({ table, state }) => table !== 'join.rows' || state !== 'running'));
    await eventually('all four are in', async () => (await cluster.tablets('join')).length === 13);
    await cluster.waitForTablets('join', isCaughtUp, 120_000);
    for (const table of ['join.rows', 'join.later', 'join.renamed']) await foldOf('join', table);
    assert.equal((await cluster.schemaEvents('join')).length, 5, 'of each tablet that came back');
  });

  it('refuses changes that would move records, and says which may be made', async () => {
    await createTable('keep.a', 0);
    await cluster.createStream('keep', ['keep.a']);
    const { status, body } = await cluster.api<{ errors: { path: string; message: string }[] }>(
      'PATCH',
      '/v1/streams/keep',
      { start: 'snapshot', name: 'other', sink: { topic: 'elsewhere', partitions: 5 } },
    );
    assert.equal(status, 400);
    assert.deepEqual(
      body.errors.map(({ path }) => path),
      ['start', 'name', 'sink.topic'],
    );
    assert.match(body.errors[0]!.message, /what can is tables, copyRowsPerSecond/);
  });

  describe('a log that was let go', () => {
    before(async () => cluster.replaceSidecars({ SPOOR_HOLD_MAX_BYTES: String(HOLD_BYTES) }));
    after(async () => cluster.replaceSidecars({}));

    /** A stream whose rows are copied, and the log of what was written to the first {@link CHANGED_KEYS} of them lost. */
    async function loseLog(name: string, historySeconds?: number): Promise<void> {
      const table = `gap.${name}`;
      await createTable(table, 0, { shape: 'types', buckets: GAP_TABLETS });
      const { tableId } = await client.getTable({ name: table });
      if (historySeconds !== undefined)
        await client.alterTable(
          { tableId },
          { extraConfigs: { 'kudu.table.history_max_age_sec': `${historySeconds}` } },
        );
      await writeMixed({ masters: cluster.masters, table, ops: 0, fill: COPIED_ROWS, keys: COPIED_ROWS });
      await cluster.createStream(name, [table], { start: 'snapshot' });
      await cluster.waitForTablets(name, isCaughtUp);
      await cluster.kafka.kill();
      using load = Load.start(cluster, table, { rate: 3000, keys: CHANGED_KEYS, threads: 2 });
      await cluster.waitForTablets(name, ({ state }) => state === 'gap', 120_000);
      await load.stop();
    }

    it('is made up for by a diff scan: what changed and no more, deletes too', async (t) => {
      await loseLog('diff');
      await cluster.kafka.restart();
      await cluster.waitForTablets('diff', isCaughtUp, 120_000);
      const fold = await cluster.foldIsTable('diff', 'gap.diff');
      const repaired = fold.baseRows - COPIED_ROWS + fold.baseDeletes;
      t.diagnostic(`${repaired} rows by the repair, ${fold.baseDeletes} deletes; ${CHANGED_KEYS} keys changed`);
      assert.ok(fold.baseDeletes > 100);
      assert.ok(repaired <= 1.2 * CHANGED_KEYS);
      // A tablet whose log another sidecar still had needed none; one whose sidecar changed as it ended may not be counted.
      const repairs = await metric('spoor_resyncs_total', 'diff');
      assert.ok(repairs >= 1 && repairs <= GAP_TABLETS, `${repairs} repairs of ${GAP_TABLETS} tablets`);
    });

    it('is made up for by all rows, which is told, where the table does not keep what it changed', async () => {
      const historySeconds = 3;
      await loseLog('short', historySeconds);
      await sleep((historySeconds + 1) * 1000);
      await cluster.kafka.restart();
      await cluster.waitForTablets('short', isCaughtUp, 120_000);
      const fold = await cluster.foldIsTable('short', 'gap.short', {});
      // A tablet whose log another sidecar still had needed no repair.
      const events = fold.events.map(({ event }) => event);
      assert.ok(events.length >= 1 && events.length <= GAP_TABLETS, events.join());
      assert.ok(events.every((event) => event === 'recopied'));
      assert.ok(events.length >= (await metric('spoor_resyncs_total', 'short')), 'a repair was not told');
    });
  });
});
