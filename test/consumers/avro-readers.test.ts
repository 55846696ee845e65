import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import type { TableSchema } from '../../src/kudu/schema.ts';
import { Apicurio } from '../support/apicurio.ts';
import { serversMissing } from '../support/cluster.ts';
import { decodeWithClickHouse } from '../support/consumers/chdb.ts';
import { snippet } from '../support/consumers/doc-snippets.ts';
import { differencesFromKudu } from '../support/consumers/kudu-rows.ts';
import { OpenServers } from '../support/consumers/open-servers.ts';
import { runPython } from '../support/consumers/python.ts';
import { javaTool } from '../support/java-tools.ts';
import { USUAL_FLAGS } from '../support/leased-cluster.ts';
import { Load } from '../support/load.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';

const TABLE = 'shop.orders';
const TOPIC = `avro.${TABLE}`;
const REGISTRY = 'http://registry:8080/apis/ccompat/v7';
const PRINT_ROWS = readFileSync(new URL('../support/consumers/print-rows.py', import.meta.url), 'utf8');

/** Two decoders that share nothing with us, nor with each other, and a registry that refuses. */
describe('readers of Avro', { skip: await serversMissing(), timeout: 600_000 }, () => {
  const servers = new OpenServers();
  let cluster: SpoorCluster;
  let apicurio: Apicurio;
  let client: KuduClient;
  let schema: TableSchema;
  let dump: readonly string[];

  before(async () => {
    cluster = servers.use(await SpoorCluster.start({ flags: USUAL_FLAGS }));
    apicurio = servers.use(await Apicurio.start());
    client = servers.use(await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000 }));
    await javaTool('create-table', { masters: cluster.masters, table: TABLE, shape: 'types', buckets: 3 });
    await create('avro', [TABLE]);
    await cluster.waitForTablets('avro', ({ state }) => state === 'running');
    await writeAndAlter();
    await cluster.waitForTablets('avro', isCaughtUp);
    ({ schema } = (await client.openTable({ name: TABLE })).description);
    dump = await cluster.dump(TABLE);
  });
  after(async () => servers[Symbol.asyncDispose]());

  async function create(stream: string, tables: readonly string[]): Promise<void> {
    const text = snippet('stream-avro', {
      '"name": "orders"': `"name": "${stream}"`,
      '["shop.orders"]': JSON.stringify(tables),
      'cdc.': `${stream}.`,
      [REGISTRY]: apicurio.url,
    });
    const { status, body } = await cluster.api('POST', '/v1/streams', JSON.parse(text));
    assert.equal(status, 201, JSON.stringify(body));
  }

  /** Mixed operations, changes of leaders, a column more and one less. */
  async function writeAndAlter(): Promise<void> {
    using watch = await ReplicaWatch.open(cluster);
    const write = (): Load => Load.start(cluster, TABLE, { ops: 4_000, rate: 2_000, keys: 500 });
    using first = write();
    for (const tabletId of await watch.tabletIds(TABLE)) await watch.stepDown(tabletId);
    await client.alterTable(
      { name: TABLE },
      { steps: [{ add: { name: 'note', type: 'STRING', nullable: true } }] },
      { timeoutMs: 60_000 },
    );
    await first.finished();
    await write().finished();
    await client.alterTable({ name: TABLE }, { steps: [{ drop: 'int16' }] }, { timeoutMs: 60_000 });
    await write().finished();
  }

  it("Python's confluent-kafka and fastavro make Kudu's rows of the topic", async () => {
    const program = snippet('python-avro', {
      'cdc.shop.orders': TOPIC,
      [REGISTRY]: apicurio.url,
      'kafka:9092': cluster.kafka.brokers.join(','),
    });
    const rows = await runPython(`${program}\n\n${PRINT_ROWS}`);
    assert.deepEqual(differencesFromKudu(schema, rows, dump), []);
  });

  it("ClickHouse's decoder makes Kudu's rows of the topic", async () => {
    const values: Buffer[] = [];
    await using reader = await TopicReader.start({
      brokers: cluster.kafka.brokers,
      topics: [TOPIC],
      onRecord: ({ value }) => {
        if (value) values.push(Buffer.from(value));
      },
    });
    await reader.settle(() => values.length > 0, { timeoutMs: 60_000 });
    const rows = new Map<string | null, string>();
    for (const { before, after: row } of await decodeWithClickHouse(apicurio.url, schema, values))
      if (row.get('id') === null) rows.delete(before.get('id') ?? null);
      else rows.set(row.get('id') ?? null, JSON.stringify(Object.fromEntries(row)));
    assert.deepEqual(differencesFromKudu(schema, [...rows.values()], dump), []);
  });
});
