import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { protoSchemas } from '../../src/formats/protobuf/proto-schema.ts';
import { DataType, type TableSchema } from '../../src/kudu/schema.ts';
import { Apicurio } from '../support/apicurio.ts';
import { serversMissing } from '../support/cluster.ts';
import { decodeWithClickHouse } from '../support/consumers/chdb.ts';
import { snippet } from '../support/consumers/doc-snippets.ts';
import { differencesFromKudu } from '../support/consumers/kudu-rows.ts';
import { ORDERS, Orders, REGISTRY } from '../support/consumers/orders.ts';
import { runPython } from '../support/consumers/python.ts';
import { column } from '../support/row-bytes.ts';
import { TopicReader } from '../support/topic-reader.ts';

const STREAMS = ['avro', 'protobuf'] as const;
const PRINT_ROWS = readFileSync(new URL('../support/consumers/print-rows.py', import.meta.url), 'utf8');

const PRINT_JSON_NAMES = `
import json, k_pb2, v_pb2
assert k_pb2.Key.DESCRIPTOR.full_name == "cdc.odd_1._9.Key"
print(json.dumps([field.json_name for field in v_pb2.Value.DESCRIPTOR.fields]))
`;

/** Decoders that share nothing with us, nor with each other, and a real registry. */
describe('readers of Avro and Protocol Buffers', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let orders: Orders;
  let registry: Apicurio;
  let schema: TableSchema;
  let dump: readonly string[];

  before(async () => {
    orders = await Orders.start('types');
    registry = orders.servers.use(await Apicurio.start());
    for (const name of STREAMS) await orders.stream(`stream-${name}`, name, { registry });
    await writeAndAlter();
    ({ schema, dump } = await orders.shipped(STREAMS));
  });
  after(() => orders[Symbol.asyncDispose]());

  /** Mixed operations, changes of leaders, a column more, one less, and another name for one. */
  async function writeAndAlter(): Promise<void> {
    const write = () => orders.load({ ops: 4_000, rate: 2_000, keys: 500 });
    using first = write();
    await orders.stepDown();
    await orders.alter([{ add: { name: 'note', type: 'STRING', nullable: true } }]);
    await first.finished();
    await write().finished();
    await orders.alter([{ drop: 'int16' }]);
    await write().finished();
    await orders.alter([{ rename: 'int8', to: 'tiny' }]);
    await write().finished();
    await orders.shipped(STREAMS);
    // By names a column is another one then, in rows that were not written since; a field of Protobuf keeps its number.
    await orders.resync('avro');
  }

  function addresses(stream: string): Record<string, string> {
    return { 'cdc.shop.orders': `${stream}.${ORDERS}`, [REGISTRY]: registry.url, 'kafka:9092': orders.brokers };
  }

  it("Python's confluent-kafka and fastavro make Kudu's rows of the topic", async () => {
    const program = snippet('python-avro', addresses('avro'));
    const rows = await runPython(`${program}\n\n${PRINT_ROWS}`);
    assert.deepEqual(differencesFromKudu(schema, rows, dump), []);
  });

  it("Python's confluent-kafka and what protoc makes of the registry's text make Kudu's rows of the topic", async () => {
    const { 'kafka:9092': brokers, ...others } = addresses('protobuf');
    const program = snippet('python-protobuf', {
      'cdc.shop.orders': others['cdc.shop.orders']!,
      'kafka:9092': brokers!,
    });
    const rows = await runPython(`${program}\n\n${PRINT_ROWS}`, { first: snippet('protobuf-compile', others) });
    assert.deepEqual(differencesFromKudu(schema, rows, dump), []);
  });

  it('protoc takes texts of odd names, and one program both of a table', async () => {
    const names = ['foo_bar', 'fooBar', 'a}"b', 'Decimal', 'optional', 'message', 'größe', '9', ''];
    const price = { type: DataType.DECIMAL64, precision: 18, scale: 2 };
    const columns = [
      column('Key', price.type, { isKey: true, id: 0, ...price }),
      ...names.map((name, i) => column(name, price.type, { id: i + 1, ...price })),
    ];
    const { key, value } = protoSchemas({ columns }, 'cdc.odd-1.9', { decimals: 'precise', time: 'isostring' });
    const printed = await runPython(PRINT_JSON_NAMES, {
      env: { KEY: key, VALUE: value },
      first: `printf '%s' "$KEY" > k.proto; printf '%s' "$VALUE" > v.proto
        python3 -m grpc_tools.protoc -I. --python_out=. k.proto v.proto`,
    });
    assert.deepEqual(JSON.parse(printed.join('\n')), ['Key', ...names]);
  });

  it("ClickHouse's decoder makes Kudu's rows of the topic in Avro", async () => {
    const values: Buffer[] = [];
    await using reader = await TopicReader.start({
      brokers: orders.cluster.kafka.brokers,
      topics: [`avro.${ORDERS}`],
      onRecord: ({ value }) => {
        if (value) values.push(Buffer.from(value));
      },
    });
    await reader.settle(() => values.length > 0, { timeoutMs: 60_000 });
    const rows = new Map<string | null, string>();
    for (const { before, after: row } of await decodeWithClickHouse(registry.url, schema, values))
      if (row.get('id') === null) rows.delete(before.get('id') ?? null);
      else rows.set(row.get('id') ?? null, JSON.stringify(Object.fromEntries(row)));
    assert.deepEqual(differencesFromKudu(schema, [...rows.values()], dump), []);
  });
});
