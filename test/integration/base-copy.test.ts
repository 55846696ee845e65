import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import type { TableAlteration } from '../../src/kudu/ddl.ts';
import type { StreamView } from '../../src/api/shapes.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { leaseCluster, USUAL_FLAGS, type LeasedCluster } from '../support/leased-cluster.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';

/** Keys of the table whose copy is interrupted, three of five of which hold a row when it begins. */
const KEYS = form(40_000, 1_700_000);
/** A table of many rows that flushes every few seconds is busy with compactions and nothing else. */
const FLAGS = form(
  USUAL_FLAGS,
  USUAL_FLAGS.map((flag) => (flag.startsWith('--flush_threshold') ? '--flush_threshold_secs=60' : flag)),
);

/** Tables that hold rows before a stream wants them. Each time the topic must fold into the table, row for row. */
describe('base copy', { skip: await serversMissing(), timeout: 900_000 + KEYS }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let watch: ReplicaWatch;
  let client: KuduClient;
  before(async () => {
    lease = await leaseCluster({ flags: FLAGS });
    cluster = lease.cluster;
    watch = await ReplicaWatch.open(cluster);
    client = await KuduClient.connect({ masters: cluster.kudu.masters });
  });
  afterEach(async () => {
    for (const tserver of cluster.kudu.tservers) if (!tserver.running) await tserver.restart();
    for (const sidecar of cluster.sidecars) if (!sidecar.running) await sidecar.restart();
  });
  after(async () => {
    client[Symbol.dispose]();
    watch[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
  });

  /** A table in which three keys of five hold a row, some of them not their first one. */
  async function tableWithRows(table: string, keys: number, shape = 'small'): Promise<void> {
    await javaTool('create-table', { masters: cluster.masters, table, shape });
    const ops = Math.min(keys / 4, 50_000);
    await writeMixed({ masters: cluster.masters, table, fill: (3 * keys) / 5, ops, keys, flush: 500 });
  }

  async function rowCount(table: string): Promise<number> {
    return (await cluster.dump(table)).length;
  }

  const change = async (stream: string, body: object): Promise<void> => {
    const answer = await cluster.api<StreamView>('PATCH', `/v1/streams/${stream}`, body);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
  };

  /** Resolves when some of the stream's copies are under way, and none is whole. */
  const copying = (stream: string): Promise<unknown> =>
    cluster.waitForTablets(
      stream,
      ({ state, copy }) => state === 'base-copy' && (copy === undefined || copy.rows >= 0),
    );

  it('copies the rows that were there, under load, and then ships the log', async (t) => {
    await tableWithRows('bc.first', 20_000, 'types');
    using load = Load.start(cluster, 'bc.first', { rate: 2000, keys: 20_000 });
    await sleep(1500);
    await cluster.createStream('first', ['bc.first'], { start: 'snapshot' });
    await cluster.waitForTablets('first', ({ state }) => state === 'running');
    await sleep(1500);
    await load.stop();
    await cluster.waitForTablets('first', isCaughtUp);
    const fold = await cluster.foldIsTable('first', 'bc.first');
    t.diagnostic(`${fold.baseRows} rows copied, ${fold.records} changes`);
    assert.ok(fold.baseRows > 1000 && fold.records > 1000);
  });

  it('goes on in the middle: the leader killed with its sidecar, sidecars restarted, each row copied once', async (t) => {
    await tableWithRows('bc.killed', KEYS);
    const before = await rowCount('bc.killed');
    t.diagnostic(`${before} rows before`);
    using load = Load.start(cluster, 'bc.killed', { rate: 1000, keys: KEYS });
    await cluster.createStream('killed', ['bc.killed'], { start: 'snapshot', copyRowsPerSecond: KEYS / 40 });
    const copied = async (): Promise<number> =>
      (await cluster.tablets('killed')).reduce((sum, { copy }) => sum + (copy?.rows ?? 0), 0);
    const startedMs = performance.now();
    await eventually('the copy is under way', async () => (await copied()) > (3 * KEYS) / 40, 30_000 + KEYS / 5);
    t.diagnostic(`${await copied()} rows copied within ${Math.round(performance.now() - startedMs)} ms`);
    const leaders = await watch.leaders();
    const [first] = (await cluster.tablets('killed')).filter(({ copy }) => (copy?.rows ?? 0) > KEYS / 80);
    const number = leaders.get(first!.tabletId)!;
    await Promise.all([cluster.kudu.tservers[number]!.kill(), cluster.sidecars[number]!.kill()]);
    await sleep(3000);
    await cluster.kudu.tservers[number]!.restart();
    await cluster.sidecars[number]!.restart();
    await cluster.sidecars[(number + 1) % 3]!.restart();
    await sleep(1000);
    await Promise.all(cluster.sidecars.map((sidecar) => sidecar.kill()));
    for (const sidecar of cluster.sidecars) await sidecar.restart();
    assert.ok(
      (await cluster.tablets('killed')).some(({ state }) => state !== 'running'),
      'the copy is over already',
    );
    await change('killed', { copyRowsPerSecond: 0 });
    await cluster.waitForTablets('killed', ({ state }) => state === 'running', 120_000 + KEYS / 5);
    t.diagnostic(`whole ${Math.round(performance.now() - startedMs)} ms after its begin`);
    await load.stop();
    await cluster.waitForTablets('killed', isCaughtUp);
    const fold = await cluster.foldIsTable('killed', 'bc.killed'); // which refuses a row that comes twice in one copy
    t.diagnostic(`${fold.baseRows} copied, ${fold.records} changes`);
    assert.equal(fold.copies.size, 4, 'one copy a tablet');
  });

  it('copies once more, behind the log, when the copy outlives the history of the table', async (t) => {
    await tableWithRows('bc.old', 20_000);
    const { tableId } = await client.getTable({ name: 'bc.old' });
    await client.alterTable({ tableId }, { extraConfigs: { 'kudu.table.history_max_age_sec': '8' } });
    using load = Load.start(cluster, 'bc.old', { rate: 1000, keys: 20_000 });
    await cluster.createStream('old', ['bc.old'], { start: 'snapshot', copyRowsPerSecond: 300 });
    await eventually('copies are under way', async () =>
      (await cluster.tablets('old')).some(({ copy }) => (copy?.rows ?? 0) > 100),
    );
    await Promise.all(cluster.sidecars.map((sidecar) => sidecar.stop())); // an open scanner would go on for ever
    await sleep(12_000);
    for (const sidecar of cluster.sidecars) await sidecar.restart();
    await change('old', { copyRowsPerSecond: 0 });
    await cluster.waitForTablets('old', ({ state }) => state === 'running', 120_000);
    await load.stop();
    await cluster.waitForTablets('old', isCaughtUp);
    // Log that was shipped in between speaks of rows that are copied later.
    const fold = await cluster.foldIsTable('old', 'bc.old', { lenient: true });
    t.diagnostic(`${fold.baseRows} rows copied, ${fold.records} changes`);
    const logs = await Promise.all(cluster.sidecars.map(({ logFile }) => readFile(logFile, 'utf8')));
    assert.ok(logs.some((log) => log.includes('the copy took longer than the table keeps its history')));
  });

  it('reads columns by what they are while they change their names under it', async () => {
    await client.createTable({
      name: 'bc.alter',
      columns: [
        { name: 'k', type: 'INT64', key: true },
        { name: 'a', type: 'INT32', nullable: true },
        { name: 'b', type: 'INT32', nullable: true },
        { name: 'gone', type: 'STRING', nullable: true },
      ],
      hash: [{ columns: ['k'], buckets: 2 }],
      numReplicas: 3,
    });
    const table = await client.openTable({ name: 'bc.alter' });
    const { tableId } = table.description;
    for (let from = 0; from < 12_000; from += 1000)
      await table.write(
        Array.from({ length: 1000 }, (_, i) => ({
          type: 'insert' as const,
          row: { k: BigInt(from + i), a: from + i, b: -from - i, gone: `row ${from + i}` },
        })),
      );
    await cluster.createStream('alter', ['bc.alter'], { start: 'snapshot', copyRowsPerSecond: 250 });
    const alterations: TableAlteration[] = [
      {
        steps: [
          { rename: 'a', to: 'x' },
          { rename: 'b', to: 'a' },
          { rename: 'x', to: 'b' },
        ],
      },
      { steps: [{ drop: 'gone' }, { add: { name: 'gone', type: 'STRING', default: 'anew' } }] },
      { steps: [{ rename: 'k', to: 'key' }] },
    ];
    for (const [i, alteration] of alterations.entries()) {
      await eventually('the copy is under way', async () =>
        (await cluster.tablets('alter')).every(
          ({ copy, state }) => state === 'base-copy' && (copy?.rows ?? 0) > 500 * (i + 1),
        ),
      );
      await client.alterTable({ tableId }, alteration);
      // Scanners that were open know the old names: another one must not take the new ones for those.
      await cluster.sidecars[i]!.restart();
    }
    // A sidecar that was just restarted has to begin before it can say so.
    await eventually('the copy goes on after the last of them', async () =>
      (await cluster.tablets('alter')).some(({ state }) => state === 'base-copy'),
    );
    await change('alter', { copyRowsPerSecond: 0 });
    await cluster.waitForTablets('alter', isCaughtUp);
    const fold = await cluster.foldIsTable('alter', 'bc.alter');
    assert.equal(fold.baseRows, 12_000);
  });

  it('shows how far it is, and copies no faster than it may, which may change while it runs', async () => {
    await tableWithRows('bc.slow', 10_000);
    const rows = await rowCount('bc.slow');
    await cluster.createStream('slow', ['bc.slow'], { start: 'snapshot', copyRowsPerSecond: 100 });
    const views = await eventually('all of it is counted', async () => {
      const tablets = await cluster.tablets('slow');
      return tablets.some(({ copy }) => copy?.totalRows != null && copy.secondsLeft != null) && tablets;
    });
    for (const { copy } of views.filter(({ copy }) => copy?.totalRows != null)) {
      assert.ok(copy!.rows < 1000 && copy!.totalRows! > 500 && copy!.percent! < 100);
    }
    const text = await (await fetch(`${cluster.sidecars[0]!.url}/metrics`)).text();
    assert.match(text, /spoor_copy_rows\{|spoor_tablet_state/);
    await copying('slow');
    const startedMs = performance.now();
    const at = async (): Promise<number> =>
      (await cluster.tablets('slow')).reduce((sum, { copy }) => sum + (copy?.rows ?? 0), 0);
    const [first, firstMs] = [await at(), performance.now()];
    await sleep(4000);
    const perSecond = ((await at()) - first) / ((performance.now() - firstMs) / 1000);
    assert.ok(perSecond < 3 * 100 * 1.5, `${perSecond} rows a second on three sidecars`);
    await change('slow', { copyRowsPerSecond: 100_000 });
    await cluster.waitForTablets('slow', isCaughtUp, 30_000);
    assert.ok(performance.now() - startedMs < (1000 * rows) / 300, 'the new pace counts at once');
    const fold = await cluster.foldIsTable('slow', 'bc.slow');
    assert.equal(fold.baseRows, rows);
  });

  it('at-least-once: copies what was there, over a kill', async () => {
    await tableWithRows('bc.alo', 20_000);
    using load = Load.start(cluster, 'bc.alo', { rate: 500, keys: 20_000 });
    const sink = { delivery: 'at-least-once' };
    await cluster.createStream('copied-alo', ['bc.alo'], { start: 'snapshot', copyRowsPerSecond: 1500, sink });
    await sleep(3000);
    await Promise.all(cluster.sidecars.map((sidecar) => sidecar.kill()));
    for (const sidecar of cluster.sidecars) await sidecar.restart();
    await change('copied-alo', { copyRowsPerSecond: 0 });
    await cluster.waitForTablets('copied-alo', ({ state }) => state === 'running');
    await load.stop();
    await cluster.waitForTablets('copied-alo', isCaughtUp);
    await cluster.foldIsTable('copied-alo', 'bc.alo', { lenient: true });
  });
});
