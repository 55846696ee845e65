import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TableSchemas } from '../../src/api/shapes.ts';
import { runCli } from '../../src/cli/program.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import { Apicurio } from '../support/apicurio.ts';
import { serversMissing } from '../support/cluster.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';

describe('a stream in Avro', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let registry: Apicurio;
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let client: KuduClient;
  before(async () => {
    [registry, lease] = await Promise.all([Apicurio.start(), leaseCluster()]);
    cluster = lease.cluster;
    client = await KuduClient.connect({ masters: cluster.kudu.masters });
  });
  after(async () => {
    client[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  async function createTable(name: string): Promise<KuduTable> {
    return client.createTable({
      name,
      columns: [
        { name: 'id', type: 'INT64', key: true },
        { name: 'n', type: 'INT32', default: 5 },
        { name: 'price', type: 'DECIMAL', precision: 9, scale: 2, nullable: true },
        { name: 'note', type: 'STRING', nullable: true },
        { name: 'at', type: 'UNIXTIME_MICROS', nullable: true },
      ],
      hash: [{ columns: ['id'], buckets: 2 }],
      numReplicas: 3,
    });
  }

  /** Inserts, updates of some columns, upserts and deletes of the same rows. */
  async function change(name: string, rows: number): Promise<void> {
    const table = await client.openTable({ name });
    const n = table.description.schema.columns.some((column) => column.name === 'n') ? { n: -1 } : {};
    const ids = Array.from({ length: rows }, (_, id) => BigInt(id));
    await table.write(
      ids.map((id) => ({ type: 'upsert', row: { id, price: `${id}.05`, note: `row ${id}`, at: id * 1_000_001n } })),
    );
    await table.write(
      ids.filter((id) => id % 3n === 0n).map((id) => ({ type: 'update', row: { id, ...n, note: null } })),
    );
    await table.write(ids.filter((id) => id % 5n === 0n).map((id) => ({ type: 'delete', row: { id } })));
    await table.write(ids.filter((id) => id % 7n === 0n).map((id) => ({ type: 'upsert', row: { id, price: null } })));
  }

  async function verify(stream: string): Promise<string> {
    let out = '';
    const code = await runCli(['verify', stream], {
      out: (text) => (out += text),
      err: (text) => (out += text),
      env: {
        SPOOR_KUDU_MASTERS: cluster.masters,
        SPOOR_KAFKA_BROKERS: cluster.kafka.brokers.join(),
        SPOOR_HTTP_LISTEN: cluster.sidecars[0]!.url.replace('http://', ''),
      },
      cwd: cluster.dir,
      readStdin: () => '',
    });
    assert.equal(code, 0, out);
    return out;
  }

  it('has the tables in it, after copies, partial updates, ALTERs of its columns and a leader that dies', async (t) => {
    await createTable('av.orders');
    await change('av.orders', 300);
    await cluster.createStream('avro', ['av.*'], {
      start: 'snapshot',
      sink: { topic: 'avro.{table}' },
      images: 'full',
      format: { type: 'avro', registry: ['http://127.0.0.1:1', registry.url] },
      resolved: { intervalMs: 1000 },
    });
    await cluster.waitForTablets('avro', isCaughtUp);
    await registry.demand('FULL', 'avro.av.orders-value');
    await change('av.orders', 300);
    const alterations = [
      { steps: [{ add: { name: 'more', type: 'INT32', default: 9 } }] },
      { steps: [{ rename: 'note', to: 'text' }, { add: { name: 'note', type: 'STRING', nullable: true } }] },
      { steps: [{ drop: 'more' }] },
    ] as const;
    for (const alteration of alterations) {
      await client.alterTable({ name: 'av.orders' }, alteration);
      await change('av.orders', 100);
    }
    await cluster.sidecars[0]!.kill();
    await change('av.orders', 200);
    await cluster.startOther(0);
    await cluster.waitForTablets('avro', isCaughtUp);
    t.diagnostic((await verify('avro')).replace(/\s*\n\s*/g, '; '));
    const subjects = (await (await fetch(`${registry.url}/subjects`)).json()) as string[];
    assert.deepEqual(subjects.sort(), ['avro.av.orders-key', 'avro.av.orders-value']);
    const versions = (await (await fetch(`${registry.url}/subjects/avro.av.orders-value/versions`)).json()) as number[];
    assert.equal(versions.length, 4);
  });

  it('blocks a table alone that the registry refuses, with its words, until it is mended', async () => {
    await Promise.all([createTable('re.good'), createTable('re.bad')]);
    await cluster.createStream('refused', ['re.*'], {
      sink: { topic: 'refused.{table}' },
      format: { type: 'avro', registry: registry.url },
    });
    await Promise.all([change('re.good', 10), change('re.bad', 10)]);
    await cluster.waitForTablets('refused', isCaughtUp);
    await registry.demand('FULL', 'refused.re.bad-value');
    await client.alterTable(
      { name: 're.bad' },
      { steps: [{ drop: 'n' }, { add: { name: 'n', type: 'STRING', nullable: true } }] },
    );
    const bad = await client.openTable({ name: 're.bad' });
    await bad.write([{ type: 'upsert', row: { id: 1n, n: 'text', price: null, note: null, at: null } }]);
    await change('re.good', 20);
    const tablets = await waitFor(async () => {
      const views = await cluster.tablets('refused');
      return views.some(({ state }) => state === 'blocked') ? views : null;
    });
    for (const { table, state, error } of tablets.filter((view) => view.state === 'blocked')) {
      assert.deepEqual([table, state, error!.code], ['re.bad', 'blocked', 'SPOOR_SINK_REFUSED']);
      assert.match(error!.message, /answered 409 for subject refused\.re\.bad-value: .*ncompatible/);
    }
    await waitFor(async () => {
      const good = (await cluster.tablets('refused')).filter(({ table }) => table === 're.good');
      return good.every(isCaughtUp) ? good : null;
    });
    await registry.demand('NONE', 'refused.re.bad-value');
    await cluster.waitForTablets('refused', isCaughtUp, 120_000);
    await verify('refused');
  });

  it('hands out the schemas that it has registered', async () => {
    const { status, body } = await cluster.api<TableSchemas[]>('GET', '/v1/streams/refused/schemas?table=re.good');
    assert.equal(status, 200);
    const registered = await fetch(`${registry.url}/subjects/refused.re.good-value/versions/latest`);
    const { schema } = (await registered.json()) as { schema: string };
    assert.deepEqual([body.length, body[0]!.topic, body[0]!.avro!.value], [1, 'refused.re.good', schema]);
  });

  it('refuses two tables in one topic, which has one schema', async () => {
    const { status, body } = await cluster.api('POST', '/v1/streams', {
      name: 'shared',
      tables: ['re.*'],
      sink: { type: 'kafka', topic: 'shared' },
      format: { type: 'avro', registry: registry.url },
    });
    assert.equal(status, 400);
    assert.match(JSON.stringify(body), /share the topic shared, and a topic has one schema in avro/);
  });
});

async function waitFor<T>(look: () => Promise<T | null>): Promise<T> {
  for (let tries = 0; tries < 600; tries++) {
    const found = await look();
    if (found !== null) return found;
    await sleep(100);
  }
  throw new Error('not in time');
}
