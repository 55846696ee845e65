import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TableSchemas } from '../../src/api/shapes.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import { Apicurio } from '../support/apicurio.ts';
import { form } from '../support/forms.ts';
import { serversMissing } from '../support/cluster.ts';
import { differencesFromKudu } from '../support/consumers/kudu-rows.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { foldProtobuf } from '../support/protobuf-fold.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';

describe('streams whose schemas are in a registry', { skip: await serversMissing(), timeout: 600_000 }, () => {
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
    const { code, out, err } = await cluster.cli(['verify', stream]);
    assert.equal(code, 0, out + err);
    return out + err;
  }

  const FORMATS = [
    { type: 'avro', images: 'full', options: {}, rule: 'FULL' },
    // Apicurio takes no other name for a field by any rule, although the field is its number.
    { type: 'protobuf', images: 'full', options: { decimals: 'precise', time: 'isostring' }, rule: 'NONE' },
    { type: 'protobuf', images: 'full', options: {}, rule: 'NONE' },
    { type: 'protobuf', images: 'after', options: { decimals: 'double', time: 'connect' }, rule: 'NONE' },
  ] as const;
  for (const [number, { type, images, options, rule }] of FORMATS.entries())
    it(`has the tables in ${type}, ${JSON.stringify(options)}, after copies, partial updates, ALTERs and a leader that dies`, async (t) => {
      const [stream, table] = [`${type}-${number}`, `t${number}.orders`];
      const isFolded = type === 'protobuf' && !('decimals' in options);
      await createTable(table);
      await change(table, 300);
      await cluster.createStream(stream, [table], {
        start: 'snapshot',
        sink: { topic: `${stream}.{table}` },
        images,
        format: { type, registry: ['http://127.0.0.1:1', registry.url], ...options },
        ...(!isFolded && { resolved: { intervalMs: 1000 } }), // a topic with marks never becomes quiet
      });
      await cluster.waitForTablets(stream, isCaughtUp);
      const subject = `${stream}.${table}`;
      await registry.demand(rule, `${subject}-value`);
      await change(table, 300);
      const alterations = [
        { steps: [{ add: { name: 'more', type: 'INT32', default: 9 } }] },
        { steps: [{ rename: 'note', to: 'text' }, { add: { name: 'note', type: 'STRING', nullable: true } }] },
        { steps: [{ drop: 'more' }] },
      ] as const;
      for (const alteration of alterations) {
        await client.alterTable({ name: table }, alteration);
        await change(table, 100);
      }
      if (number < 2) {
        await cluster.sidecars[number]!.kill();
        await change(table, 200);
        await cluster.startOther(number);
      }
      await cluster.waitForTablets(stream, isCaughtUp);
      t.diagnostic((await verify(stream)).replace(/\s*\n\s*/g, '; '));
      if (isFolded) {
        const { schema } = (await client.openTable({ name: table })).description;
        const rows = await foldProtobuf(cluster, registry.url, subject);
        assert.deepEqual(differencesFromKudu(schema, rows, await cluster.dump(table)), []);
      }
      const subjects = (await subjectsOf(registry)).filter((name) => name.startsWith(`${stream}.`));
      assert.deepEqual(subjects.sort(), [`${subject}-key`, `${subject}-value`]);
      const versions = await fetch(`${registry.url}/subjects/${subject}-value/versions`);
      assert.equal(((await versions.json()) as number[]).length, 4);
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

  /** What the API says to a stream, and with `?dryRun=true` what it would be. */
  async function ask(
    name: string,
    table: string,
    format: object,
    query = '',
  ): Promise<{ status: number; body: { missing: string[]; warnings: string[] } }> {
    const sink = { type: 'kafka', topic: `${name}.{table}`, partitions: 3, replicationFactor: 1 };
    return cluster.api('POST', `/v1/streams${query}`, { name, tables: [table], sink, start: 'now', format });
  }

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

  it('refuses a table that has no schema, or keys that would be one, when it is made', async () => {
    const columns = [
      { name: 'at', type: 'UNIXTIME_MICROS', key: true },
      { name: 'a-b', type: 'INT32' },
      { name: 'a.b', type: 'INT32' },
    ] as const;
    await client.createTable({ name: 'clash', columns, hash: [{ columns: ['at'], buckets: 2 }], numReplicas: 3 });
    const clash = /"a-b\\" and \\"a\.b\\" would both be the field a_b/;
    for (const type of ['avro', 'protobuf'])
      for (const query of ['', '?dryRun=true']) {
        const { status, body } = await ask('clash', 'clash', { type, registry: registry.url }, query);
        assert.deepEqual([status, clash.test(JSON.stringify(body))], [400, true], JSON.stringify(body));
        assert.match(JSON.stringify(body), /"path":"format"/);
      }
    const typed = { type: 'avro', registry: registry.url, names: 'avro_unicode', time: 'connect' };
    for (const format of [typed, { type: 'json', time: 'connect' }]) {
      const { status, body } = await ask('clash', 'clash', format);
      assert.equal(status, 400);
      assert.match(JSON.stringify(body), /time \\"connect\\" would write different keys as one/);
    }
    assert.equal((await ask('clash', 'clash', { ...typed, time: 'adaptive' })).status, 201);
  });

  it('says beforehand what its registry has against it', async () => {
    await createTable('dry.orders');
    const format = { type: 'avro', registry: registry.url };
    const plan = async (more: object): Promise<{ missing: string[]; warnings: string[] }> => {
      const { status, body } = await ask('dry', 'dry.orders', { ...format, ...more }, '?dryRun=true');
      assert.equal(status, 200, JSON.stringify(body));
      return body;
    };
    assert.deepEqual((await plan({})).missing, []);
    const { missing } = await plan({ autoRegister: false });
    assert.deepEqual(
      missing.map((text) => /^table "dry\.orders": subject (\S+) has not its schema/.exec(text)?.[1] ?? text),
      ['dry.dry.orders-key', 'dry.dry.orders-value'],
    );
    const away = await plan({ registry: 'http://127.0.0.1:1' });
    assert.match(away.warnings.join(), /schema registry http:\/\/127\.0\.0\.1:1 cannot be asked/);
    const wrong = await plan({ registry: registry.url.replace('ccompat', 'nothing') });
    assert.match(wrong.warnings.join(), /does not say which schemas it takes: the path may be missing/);
    const schema = JSON.stringify({ type: 'record', name: 'Envelope', fields: [{ name: 'op', type: 'int' }] });
    await post(registry, '/subjects/dry.dry.orders-value/versions', { schema });
    await registry.demand('FULL', 'dry.dry.orders-value');
    assert.deepEqual((await plan({})).missing, [
      'table "dry.orders": its schema is not compatible with what subject dry.dry.orders-value has',
    ]);
    assert.ok(!(await subjectsOf(registry)).includes('dry.dry.orders-key'), 'nothing is registered by it');
  });

  it(
    'has its schemas again in a registry that has lost them, and writes no number of before for long',
    { skip: form<string | false>('only in test:long: it waits for a minute', false) },
    async () => {
      await createTable('lost.orders');
      await cluster.createStream('lost', ['lost.orders'], {
        sink: { topic: 'lost.{table}' },
        format: { type: 'avro', registry: registry.url },
      });
      await change('lost.orders', 10);
      await cluster.waitForTablets('lost', isCaughtUp);
      await registry.makeAnew();
      // In another order than before: numbers of before are another's now.
      for (let i = 0; i < 40; i++)
        await post(registry, `/subjects/decoy-${i}/versions`, {
          schema: JSON.stringify({ type: 'fixed', name: `F${i}`, size: 1 }),
        });
      await waitFor(async () => {
        await change('lost.orders', 10);
        const there = await subjectsOf(registry);
        return ['key', 'value'].every((which) => there.includes(`lost.lost.orders-${which}`)) ? there : null;
      });
      await cluster.waitForTablets('lost', isCaughtUp);
      const [ids, before] = [new Set<number>(), new Set<number>()];
      let into = before;
      await using reader = await TopicReader.start({
        brokers: cluster.kafka.brokers,
        topics: ['lost.lost.orders'],
        onRecord: ({ value }) => {
          if (value) into.add(value.readInt32BE(1));
        },
      });
      await reader.settle(() => before.size > 0, { timeoutMs: 60_000 });
      into = ids;
      await change('lost.orders', 50);
      await cluster.waitForTablets('lost', isCaughtUp);
      await reader.settle(() => ids.size > 0, { timeoutMs: 60_000 });
      const latest = await fetch(`${registry.url}/subjects/lost.lost.orders-value/versions/latest`);
      const { id } = (await latest.json()) as { id: number };
      assert.deepEqual([...ids], [id]);
      const logs = await Promise.all(cluster.sidecars.map(({ logFile }) => readFile(logFile, 'utf8')));
      assert.match(logs.join('\n'), /has lost a schema and gave it another number/);
    },
  );
});

async function subjectsOf({ url }: Apicurio): Promise<string[]> {
  return (await (await fetch(`${url}/subjects`)).json()) as string[];
}

async function post({ url }: Apicurio, path: string, body: object): Promise<void> {
  const headers = { 'content-type': 'application/vnd.schemaregistry.v1+json' };
  const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.ok(response.ok, `${path}: ${response.status}`);
}

async function waitFor<T>(look: () => Promise<T | null>): Promise<T> {
  for (let tries = 0; tries < 900; tries++) {
    const found = await look();
    if (found !== null) return found;
    await sleep(100);
  }
  throw new Error('not in time');
}
