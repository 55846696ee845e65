import assert from 'node:assert/strict';
import { getPriority } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CellInput } from '../../src/kudu/cell-codec.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { DataType } from '../../src/kudu/schema.ts';
import { WriteError } from '../../src/kudu/writer.ts';
import { checkTopic } from '../soak/checker.ts';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';

/** One marker interval (SPOOR_MARKER_INTERVAL_MS), and what the marker's own write and a batch take on a busy machine. */
const MAX_REPEATED_MS = 1000 + 1500;

const TRANSACTIONS = /^spoor_transactions_total\{stream="main",outcome="committed"\} (\d+)$/gm;

const OPS = form(120_000, 300_000);

/** Everything together: three tablet servers, three sidecars, a broker, and writers through Kudu's own Java client. */
describe('whole system', () => {
  let cluster: SpoorCluster;
  before(async () => {
    cluster = await SpoorCluster.start();
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  const createTable = async (table: string, shape = 'small'): Promise<void> => {
    await javaTool('create-table', { masters: cluster.masters, table, shape });
  };
  const isRunning = ({ state }: { state: string }): boolean => state === 'running';

  it('ships many mixed operations: fold equals table, one record for each applied row', async () => {
    await createTable('shop.main');
    await cluster.createStream('main', ['shop.main']);
    const { applied, rows, ignored, rejected } = await writeMixed({
      masters: cluster.masters,
      table: 'shop.main',
      ops: OPS,
    });
    assert.equal(rows, OPS);
    assert.ok(ignored > 10_000 && rejected > 10_000, 'many rows must have had no effect, or this test shows little');
    await cluster.assertFoldIsTable('main', 'shop.main', applied);
    const tablets = await cluster.waitForTablets('main', (tablet) => isRunning(tablet) && tablet.lagOps === 0);
    assert.equal(tablets.length, 4);
    const pages = cluster.sidecars.map(async ({ url }) => (await fetch(`${url}/metrics`)).text());
    const counts = [...(await Promise.all(pages)).join('\n').matchAll(TRANSACTIONS)].map(([, count]) => Number(count));
    assert.ok(counts.length > 0 && counts.every((count) => count > 0), `transactions committed: ${counts.join(', ')}`);
  });

  it('stands back for the tablet servers once it works and is not far behind', async () => {
    for (const { pid } of cluster.sidecars) await eventually('it stands back', () => getPriority(pid) === 10, 60_000);
  });

  it('loses and repeats nothing when sidecars are stopped and killed under load, exactly-once', async () => {
    await createTable('shop.restarts');
    await cluster.createStream('restarts', ['shop.restarts']);
    const writing = writeMixed({ masters: cluster.masters, table: 'shop.restarts', ops: 30_000, rate: 1500, seed: 2 });
    const load = { over: false };
    void writing.finally(() => (load.over = true));
    for (let round = 0; !load.over; round++) {
      const sidecar = cluster.sidecars[round % 3]!;
      await (round % 2 === 0 ? sidecar.kill() : sidecar.stop());
      await sleep(500);
      await sidecar.restart();
      await sleep(1000);
    }
    const { applied } = await writing;
    await cluster.assertFoldIsTable('restarts', 'shop.restarts', applied);
  });

  it('at-least-once under load: nothing is lost, clean stops repeat nothing, a kill at most a marker interval and the batch in hand', async (t) => {
    await createTable('shop.repeats');
    await cluster.createStream('repeats', ['shop.repeats'], { sink: { delivery: 'at-least-once' } });
    const areShipped = async (): Promise<unknown> =>
      cluster.waitForTablets('repeats', (tablet) => isRunning(tablet) && tablet.role === 'leader');
    await areShipped(); // a stand-in that was quicker to begin is fenced, and what it has not saved comes again
    using load = Load.start(cluster, 'shop.repeats', { rate: 800, seed: 14 });
    await sleep(3000);
    for (const sidecar of cluster.sidecars) {
      await sidecar.stop();
      // Handed over to a stand-in, and back.
      await cluster.waitForTablets('repeats', (tablet) => isRunning(tablet) && !sidecar.url.endsWith(tablet.sidecar!));
      await sleep(1000);
      await sidecar.restart();
      await areShipped();
    }
    await sleep(MAX_REPEATED_MS + 1000); // so that what a clean stop repeated could not pass for what a kill may repeat
    const kills = new Map<string, { readonly fromMs: number; readonly toMs: number }[]>(); // by tablet
    // Another replica may be elected meanwhile, beside a sidecar that was killed already, or is not yet.
    for (let turn = 0; turn < 3 || (kills.size < 4 && turn < 9); turn++) {
      const sidecar = cluster.sidecars[turn % 3]!;
      await areShipped();
      const shipped = await cluster.tablets('repeats');
      const fromMs = Date.now() - MAX_REPEATED_MS;
      await sidecar.kill();
      for (const { tabletId, sidecar: by } of shipped)
        if (sidecar.url.endsWith(by ?? 'nobody'))
          kills.set(tabletId, [...(kills.get(tabletId) ?? []), { fromMs, toMs: Date.now() }]);
      await sidecar.restart();
      await sleep(1500);
    }
    assert.equal(kills.size, 4, 'every tablet was shipped by one that was killed');
    const { applied } = await load.stop();
    await cluster.waitForTablets('repeats', (tablet) => isRunning(tablet) && tablet.lagOps === 0);

    const seen = new Set<string>();
    const repeats = new Map<string, { count: number; oldestMs: number }>(); // by tablet
    const wrong: string[] = [];
    await using reader = await TopicReader.start({
      brokers: cluster.kafka.brokers,
      topics: ['repeats'],
      onRecord: ({ value, headers }) => {
        const position = headers['spoor.pos'] ?? '';
        if (!value) return;
        if (!seen.has(position)) {
          seen.add(position);
          return;
        }
        const tabletId = position.split('/')[0]!;
        const { ts_ms: atMs } = (JSON.parse(value.toString()) as { source: { ts_ms: number } }).source;
        const kill = kills.get(tabletId)!.find(({ fromMs, toMs }) => fromMs <= atMs && atMs <= toMs);
        if (!kill) {
          wrong.push(`${position} of ${atMs}, killed ${JSON.stringify(kills.get(tabletId))}`);
          return;
        }
        const known = repeats.get(tabletId) ?? { count: 0, oldestMs: 0 };
        const ageMs = kill.fromMs + MAX_REPEATED_MS - atMs;
        repeats.set(tabletId, { count: known.count + 1, oldestMs: Math.max(known.oldestMs, ageMs) });
      },
    });
    await reader.settle(() => seen.size >= applied, { timeoutMs: 60_000 });
    for (const [tabletId, { count, oldestMs }] of repeats)
      t.diagnostic(`${tabletId}: ${count} records came again, the oldest ${oldestMs} ms old when it was killed`);
    assert.deepEqual(wrong.slice(0, 10), []);
    assert.ok(repeats.size > 0, 'nothing was repeated: this shows nothing');
    // What came again has the same bytes, and without it there is one record a row, in order, which fold into the table.
    const { records } = await checkTopic(cluster, 'repeats', 'shop.repeats', { repeats: true, atLeast: applied });
    assert.equal(records, applied);
  });

  it('ships every type with its edge values', async () => {
    await createTable('shop.types', 'types');
    await cluster.createStream('types', ['shop.types']);
    const [line] = await javaTool('write-types', { masters: cluster.masters, table: 'shop.types' });
    const { applied } = JSON.parse(line!) as { applied: number };
    await cluster.assertFoldIsTable('types', 'shop.types', applied);
  });

  it('ships a compound key of every type that a key may have', async () => {
    await createTable('shop.keys', 'keys');
    await cluster.createStream('keys', ['shop.keys']);
    const { applied } = await writeMixed({ masters: cluster.masters, table: 'shop.keys', ops: 3000, seed: 13 });
    await cluster.assertFoldIsTable('keys', 'shop.keys', applied);
  });

  it('ships rows by the schema of their moment while columns and the table change under load', async () => {
    using client = await KuduClient.connect({ masters: cluster.kudu.masters });
    await client.createTable({
      name: 'shop.altered',
      columns: [
        { name: 'id', type: 'INT64', key: true },
        { name: 'a', type: 'INT32', nullable: true },
        { name: 'b', type: 'STRING', nullable: true },
      ],
      hash: [{ columns: ['id'], buckets: 2 }],
      numReplicas: 3,
    });
    const { tableId } = (await client.openTable({ name: 'shop.altered' })).description;
    await cluster.createStream('altered', ['shop.altered']);
    const stop = new AbortController();
    const writing = upsertUntil(client, tableId, stop.signal);
    for (const alteration of [
      { steps: [{ add: { name: 'c', type: 'STRING', default: 'fresh' } }] },
      { steps: [{ rename: 'a', to: 'amount' }] },
      { steps: [{ drop: 'b' }] },
      { renameTo: 'shop.renamed' },
      { steps: [{ add: { name: 'b', type: 'DOUBLE', nullable: true } }] },
    ] as const) {
      await sleep(700);
      await client.alterTable({ tableId }, alteration, { timeoutMs: 60_000 });
    }
    await sleep(700);
    stop.abort();
    const rows = await writing;
    await cluster.waitForTablets('altered', (tablet) => isRunning(tablet) && tablet.lagOps === 0);
    const fold = await cluster.fold('altered', rows);
    assert.equal(fold.records, rows);
    assert.deepEqual(fold.compare(await cluster.dump('shop.renamed')).differences, []);
    const tables = (await cluster.tablets('altered')).map(({ table }) => table);
    assert.deepEqual(new Set(tables), new Set(['shop.renamed']));
  });

  it('is blocked with the reason while the topic is missing, writes go on, and goes on by itself', async () => {
    await createTable('shop.blocked');
    await cluster.createStream('blocked', ['shop.blocked'], {
      sink: { createTopics: false, schemaTopic: 'blocked.schema' },
    });
    const { applied } = await writeMixed({ masters: cluster.masters, table: 'shop.blocked', ops: 2000, seed: 6 });
    const tablets = await cluster.waitForTablets('blocked', ({ state }) => state === 'blocked');
    for (const { error } of tablets) {
      assert.equal(error?.code, 'SPOOR_SINK_REFUSED');
      assert.match(error.message, /topic.*blocked/i);
    }
    const metrics = await (await fetch(`http://${tablets[0]!.sidecar!}/metrics`)).text();
    assert.match(metrics, /^spoor_tablet_error\{stream="blocked",.*,code="SPOOR_SINK_REFUSED"\} 1$/m);
    assert.match(metrics, /^spoor_kudu_up 1$/m);
    const [, aheadS] = /^spoor_clock_offset_seconds (\S+)$/m.exec(metrics)!;
    assert.ok(Math.abs(Number(aheadS)) < 1, aheadS);
    assert.doesNotMatch(metrics, /^spoor_tserver_without_sidecar/m);
    await cluster.kafka.createTopic('blocked', 2);
    await cluster.waitForTablets('blocked', (tablet) => isRunning(tablet) && tablet.lagOps === 0);
    const seen = new Set<string>();
    await using reader = await TopicReader.start({
      brokers: cluster.kafka.brokers,
      topics: ['blocked'],
      onRecord: ({ value, headers }) => {
        if (value) seen.add(headers['spoor.pos'] ?? '');
      },
    });
    await reader.settle(() => seen.size >= applied, { timeoutMs: 30_000 });
    assert.equal(seen.size, applied);
  });

  it('ships a stream that was made while the broker was down, with all that was written meanwhile', async () => {
    await createTable('shop.outage');
    await cluster.kafka.kill();
    await cluster.createStream('outage', ['shop.outage']);
    const { applied } = await writeMixed({ masters: cluster.masters, table: 'shop.outage', ops: 5000, seed: 7 });
    await cluster.waitForTablets('outage', ({ state }) => state === 'blocked');
    const ready = await cluster.api<{ kafka?: unknown }>('GET', '/readyz');
    assert.equal(ready.status, 503);
    await cluster.kafka.restart();
    await cluster.waitForTablets('outage', (tablet) => isRunning(tablet) && tablet.lagOps === 0);
    await cluster.assertFoldIsTable('outage', 'shop.outage', applied);
  });

  it('takes in a table that appears later, from its first operation, and lets go of a deleted stream', async () => {
    await cluster.createStream('later', ['late.*']);
    await createTable('late.one');
    const first = await writeMixed({ masters: cluster.masters, table: 'late.one', ops: 3000, seed: 8 });
    await cluster.assertFoldIsTable('later', 'late.one', first.applied);

    assert.equal((await cluster.api('DELETE', '/v1/streams/later')).status, 204);
    assert.equal((await cluster.api('GET', '/v1/streams/later')).status, 404);
    await sleep(2500); // every sidecar looks at the streams once a second
    await writeMixed({ masters: cluster.masters, table: 'late.one', ops: 1000, seed: 9 });
    const fold = await cluster.fold('later', first.applied, { quietMs: 3000 });
    assert.equal(fold.records, first.applied);
  });

  it('begins anew when a stream of the same name is made again', async () => {
    await createTable('shop.again');
    await cluster.createStream('again', ['shop.again']);
    await writeMixed({ masters: cluster.masters, table: 'shop.again', ops: 1000, seed: 10 });
    await cluster.waitForTablets('again', (tablet) => isRunning(tablet) && tablet.lagOps === 0);
    await cluster.api('DELETE', '/v1/streams/again');
    await sleep(2500);
    const between = await writeMixed({ masters: cluster.masters, table: 'shop.again', ops: 1000, seed: 11 });
    assert.ok(between.applied > 0);
    const before = await countOf('again');
    await cluster.createStream('again', ['shop.again']);
    const { applied } = await writeMixed({ masters: cluster.masters, table: 'shop.again', ops: 1000, seed: 12 });
    await cluster.waitForTablets('again', (tablet) => isRunning(tablet) && tablet.lagOps === 0);
    await sleep(500);
    assert.equal((await countOf('again')) - before, applied, 'from "now" on, not from where the first one stopped');
  });

  /** Upserts whole rows on few keys with the newest schema that it knows; answers how many rows Kudu took. */
  async function upsertUntil(client: KuduClient, tableId: string, stop: AbortSignal): Promise<number> {
    let table = await client.openTable({ tableId });
    let taken = 0;
    for (let batch = 0; !stop.aborted; batch++) {
      const { columns } = table.description.schema;
      const rows = Array.from({ length: 20 }, (_, i) =>
        Object.fromEntries(
          columns.map(({ name, type }): [string, CellInput] => {
            if (name === 'id') return [name, BigInt((batch * 7 + i) % 200)];
            return [name, type === DataType.STRING ? `text ${batch}` : batch + i];
          }),
        ),
      );
      try {
        await table.write(rows.map((row) => ({ type: 'upsert' as const, row })));
        taken += rows.length;
      } catch (error) {
        // The schema changed; a tablet may have taken its part before another refused.
        if (!(error instanceof WriteError)) throw error;
        taken += rows.length - error.indexes.length;
        table = await client.openTable({ tableId });
      }
    }
    return taken;
  }

  /** Row records in a topic, tombstones not counted. */
  async function countOf(topic: string): Promise<number> {
    let rows = 0;
    await using reader = await TopicReader.start({
      brokers: cluster.kafka.brokers,
      topics: [topic],
      onRecord: ({ value }) => {
        if (value) rows += 1;
      },
    });
    await reader.settle(() => rows > 0, { timeoutMs: 30_000 });
    return rows;
  }
});
