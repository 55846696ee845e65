import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel, type Message } from 'kafkajs';
import { KuduClient } from '../../src/kudu/client.ts';
import type { TableAlteration } from '../../src/kudu/ddl.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import type { ColumnSchema } from '../../src/kudu/schema.ts';
import type { RowOperation } from '../../src/kudu/writer.ts';
import { createKafkaReader } from '../../src/sinks/kafka/kafka-reader.ts';
import { showPlace } from '../../src/sinks/kafka/record-place.ts';
import type { RecordPlace, StoredRecord } from '../../src/sinks/reader.ts';
import { serversMissing } from '../support/cluster.ts';
import { keepingLogger } from '../support/loggers.ts';
import { Random } from '../support/random.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { isCaughtUp, type CliEnd, type SpoorCluster } from '../support/spoor-cluster.ts';

const TYPES = ['insert', 'upsert', 'upsert', 'update', 'update', 'delete'] as const;
/** Random rows of a table with the key `day`, `id` (from 10 on), whatever other columns it has at the moment. */
class Writer implements AsyncDisposable {
  rows = 0;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(
    client: KuduClient,
    tableId: string,
    options: { readonly days: () => readonly number[]; readonly ids: number; readonly pauseMs?: number },
  ) {
    this.#done = this.#write(client, tableId, options);
    this.#done.catch(() => undefined);
  }

  async #write(
    client: KuduClient,
    tableId: string,
    options: { days: () => readonly number[]; ids: number; pauseMs?: number },
  ): Promise<void> {
    const random = new Random(7);
    const below = (n: number): number => random.next(n);
    const value = ({ type }: ColumnSchema): string | number => (type === 8 ? `text "${below(1000)}"` : below(1000));
    while (!this.#isStopped())
      try {
        const table = await client.openTable({ tableId });
        const { columns } = table.description.schema;
        const days = options.days();
        for (let batches = 0; batches < 20 && !this.#isStopped(); batches++) {
          const operations = Array.from({ length: 100 }, (): RowOperation => {
            const type = TYPES[below(TYPES.length)]!;
            const row: Record<string, string | number | bigint | null> = {};
            for (const column of columns) {
              if (column.isKey)
                row[column.name] = column.name === 'id' ? BigInt(10 + below(options.ids)) : days[below(days.length)]!;
              else if (type === 'delete' || below(3) === 0) continue;
              else row[column.name] = column.nullable && below(4) === 0 ? null : value(column);
            }
            return { type, row };
          });
          await table.write(operations);
          this.rows += operations.length;
          await sleep(options.pauseMs ?? 20);
        }
      } catch (error) {
        if (!(error instanceof KuduError)) throw error; // altered, or a range is not there: with another look it goes on
      }
  }

  #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}

describe('spoor verify', { skip: await serversMissing(), timeout: 900_000 }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let client: KuduClient;
  before(async () => {
    lease = await leaseCluster();
    cluster = lease.cluster;
    client = await KuduClient.connect({ masters: cluster.kudu.masters });
  });
  after(async () => {
    client[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
  });

  function verify(...args: readonly string[]): Promise<CliEnd> {
    return cluster.cli(['verify', ...args]);
  }

  async function assertSound(t: TestContext, stream: string, ...args: readonly string[]): Promise<void> {
    const startMs = performance.now();
    const { code, out, err } = await verify(stream, ...args);
    t.diagnostic(`${out.replace(/\s*\n\s*/g, '; ')} ${Math.round(performance.now() - startMs)} ms`);
    assert.equal(code, 0, out + err);
    assert.match(out, /\nmissing +0\nextra +0\ndifferent +0\n$/);
    assert.match(err, /^(?:\d{4}-\S+Z .*\n)*$/, 'how far it is, and nothing else');
  }

  async function createDays(name: string, days: number): Promise<string> {
    const table = await client.createTable({
      name,
      columns: [
        { name: 'day', type: 'INT32', key: true },
        { name: 'id', type: 'INT64', key: true },
        { name: 'a', type: 'INT32', nullable: true },
        { name: 'b', type: 'INT32', default: 5 },
        { name: 'note', type: 'STRING', nullable: true },
      ],
      hash: [{ columns: ['id'], buckets: 2 }],
      range: {
        columns: ['day'],
        partitions: Array.from({ length: days }, (_, day) => ({ lower: { day }, upper: { day: day + 1 } })),
      },
      numReplicas: 3,
    });
    return table.description.tableId;
  }

  const dropDay = (day: number): TableAlteration => ({
    steps: [{ dropRange: { lower: { day }, upper: { day: day + 1 } } }],
  });
  const addDay = (day: number): TableAlteration => ({
    steps: [{ addRange: { lower: { day }, upper: { day: day + 1 } } }],
  });

  it('reports nothing where records are the rows themselves, and where they have the rows before them, under load and a resync', async (t) => {
    const tableId = await createDays('vff.load', 2);
    await using writer = new Writer(client, tableId, { days: () => [0, 1], ids: 2000, pauseMs: 60 });
    await sleep(1000);
    const formats = { flat: { type: 'json', envelope: 'flat' }, full: { type: 'json' } };
    for (const [name, format] of Object.entries(formats))
      await cluster.createStream(`vff-${name}`, ['vff.*'], { start: 'snapshot', images: 'full', format });
    for (const name of Object.keys(formats)) await assertSound(t, `vff-${name}`);
    await client.alterTable({ tableId }, { steps: [{ add: { name: 'c', type: 'INT32', default: 9 } }] });
    for (const name of Object.keys(formats)) {
      const { status } = await cluster.api('POST', `/v1/streams/vff-${name}/resync`, {});
      assert.ok(status < 300, String(status));
    }
    await sleep(1000);
    for (const name of Object.keys(formats)) await assertSound(t, `vff-${name}`);
    assert.ok(writer.rows > 1000, String(writer.rows));
  });

  it('reports nothing on a sound stream under load: a base copy, ALTERs, dropped ranges, a resync', async (t) => {
    const tableId = await createDays('vf.load', 3);
    let days = [0, 1, 2];
    await using writer = new Writer(client, tableId, { days: () => days, ids: 3000, pauseMs: 80 });
    await sleep(3000);
    await cluster.createStream('load', ['vf.*'], {
      start: 'snapshot',
      sink: { topic: 'load.{table}' },
      copyRowsPerSecond: 2000,
    });
    await assertSound(t, 'load');
    const [drop, add] = [dropDay(1), addDay(1)];
    const alterations: TableAlteration[] = [
      { steps: [{ add: { name: 'c', type: 'INT32', default: 9 } }] },
      { renameTo: 'vf.renamed' },
      { steps: [{ rename: 'a', to: 'x' }] },
      { steps: [{ drop: 'note' }, { add: { name: 'note', type: 'STRING', default: 'anew' } }] },
      drop,
      { steps: [{ drop: 'c' }] },
      add,
      { renameTo: 'vf.load' },
      {
        steps: [
          { rename: 'x', to: 'y' },
          { rename: 'b', to: 'x' },
        ],
      },
    ];
    for (const alteration of alterations) {
      if (alteration === drop) days = [0, 2];
      const altering = sleep(300).then(() => client.alterTable({ tableId }, alteration));
      await assertSound(t, 'load');
      await altering;
      if (alteration === add) days = [0, 1, 2];
    }
    const { status } = await cluster.api('POST', '/v1/streams/load/resync', {});
    assert.equal(status, 200);
    await assertSound(t, 'load');
    await assertSound(t, 'load', '--table', 'vf.load');
    t.diagnostic(`${writer.rows} rows written`);
  });

  it('reports nothing where records come again: at-least-once, its sidecars killed under load', async (t) => {
    const tableId = await createDays('twice.t', 2);
    await cluster.createStream('twice', ['twice.t'], { sink: { delivery: 'at-least-once' } });
    await using writer = new Writer(client, tableId, { days: () => [0, 1], ids: 500 });
    for (let kills = 0; kills < 3; kills++) {
      await sleep(1500);
      await cluster.sidecars[kills]!.kill();
      await cluster.sidecars[kills]!.restart();
      await cluster.sidecars[0]!.waitUntilReady(); // the one that is asked
      await assertSound(t, 'twice');
    }
    t.diagnostic(`${writer.rows} rows written`);
  });

  it('finds what is wrong, and has it put right', async (t) => {
    const tableId = await createDays('wrong.t', 1);
    await cluster.createStream('wrong', ['wrong.t'], { start: 'snapshot' });
    const table = await client.openTable({ tableId });
    for (let id = 0; id < 400; id++) await table.insert({ day: 0, id: BigInt(id), a: id, b: id, note: `row ${id}` });
    await cluster.waitForTablets('wrong', isCaughtUp);
    await assertSound(t, 'wrong');
    const records = await readTopic('wrong');
    await plant(records);

    const found = await verify('wrong');
    assert.equal(found.code, 1, found.err);
    assert.deepEqual(withoutRecords(found.out), [
      'repeated   wrong.t  {"day":0,"id":1}  1 times again',
      'missing    wrong.t  {"day":0,"id":1}',
      'missing    wrong.t  {"day":0,"id":2}',
      'repeated   wrong.t  {"day":0,"id":3}  1 times again',
      'different  wrong.t  {"day":0,"id":3}  a: want 3, have 77',
      'extra      wrong.t  {"day":0,"id":100000}',
    ]);
    assert.match(found.out, /\nmissing +2\nextra +1\ndifferent +1\nrepeated +2: .*--allow-repeats.*\n$/);
    const one = records.get('3')!;
    const { topic, partition, offset } = showPlace(one.place).fields;
    assert.ok(found.out.includes(`${one.position} (${topic}/${partition}/${offset})`), found.out);
    const limited = await verify('wrong', '--max-rows', '1', '--json');
    const lines = limited.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.equal(limited.code, 1);
    assert.deepEqual(
      lines.map(({ kind }) => kind),
      ['repeated', 'missing', 'summary'],
      'one of each',
    );
    const summary = lines.at(-1)!;
    assert.deepEqual([summary['missing'], summary['repeats'], summary['shown']], [2, 2, 1]);

    await using writer = new Writer(client, tableId, { days: () => [0], ids: 300 });
    const repaired = await verify('wrong', '--repair', '--allow-repeats');
    assert.equal(repaired.code, 0, repaired.out + repaired.err);
    assert.match(repaired.out, /\nmissing +2\nextra +1\ndifferent +1\n[^]*\nmissing +0\nextra +0\ndifferent +0\n$/);
    await assertSound(t, 'wrong', '--allow-repeats');
    const still = await verify('wrong'); // what came twice stays in the topic: a repair does not undo it
    assert.equal(still.code, 1, still.out);
    assert.match(still.out, /\nmissing +0\nextra +0\ndifferent +0\nrepeated +2: .*\n$/);
    t.diagnostic(`${writer.rows} rows written`);
  });

  it('puts right what it can, and says of which rows nobody can be asked', async (t) => {
    const table = await client.createTable({
      name: 'odd.t',
      columns: [
        { name: 'k', type: 'STRING', key: true },
        { name: 'a', type: 'INT32' },
      ],
      hash: [{ columns: ['k'], buckets: 2 }],
      numReplicas: 3,
    });
    await cluster.createStream('odd', ['odd.t'], { start: 'snapshot' });
    for (const k of ['good', 'better', Buffer.of(0x61, 0xff)]) await table.insert({ k, a: 1 });
    await cluster.waitForTablets('odd', isCaughtUp);
    await assertSound(t, 'odd');
    const records = await readTopic('odd');
    await produce(
      'odd',
      [...records.values()].map(({ key, place }) => ({ key: key!, partition: partitionOf(place), value: null })),
    );
    const { code, out, err } = await verify('odd', '--repair');
    assert.equal(code, 1, out + err);
    assert.match(
      out,
      /\nskipped {4}odd\.t {2}\{"k":"a\\udcff"\} {2}tablet [0-9a-f]{32} {2}is no key that the table can have\n/,
    );
    assert.match(
      out,
      /\nmissing +3\n[^]*\nrepaired +2\nskipped +1 could not be repaired\nmissing +1\nextra +0\ndifferent +0\n$/,
    );
  });

  it('reads what it has schemas of where the schema topic is another, and all of it once it was copied again', async (t) => {
    const tableId = await createDays('moved.t', 1);
    await client.openTable({ tableId }).then(async (table) => {
      for (let id = 0; id < 5; id++) await table.insert({ day: 0, id: BigInt(id), a: id });
    });
    await cluster.createStream('moved', ['moved.t'], { start: 'now' });
    const write = async (first: number, name: string): Promise<void> => {
      const table = await client.openTable({ tableId });
      for (let id = first; id < first + 10; id++) await table.insert({ day: 0, id: BigInt(id), [name]: id });
      await cluster.waitForTablets('moved', isCaughtUp);
    };
    const move = async (schemaTopic: string): Promise<void> => {
      assert.equal((await cluster.api('PATCH', '/v1/streams/moved', { sink: { schemaTopic } })).status, 200);
    };
    await write(10, 'a');
    await client.alterTable({ tableId }, { steps: [{ add: { name: 'c', type: 'INT32', default: 9 } }] });
    await write(20, 'a');
    await move('moved.schema2');
    await assertSound(t, 'moved');
    await client.alterTable({ tableId }, { steps: [{ rename: 'a', to: 'x' }] });
    await write(30, 'x'); // so the ALTER is shipped, to this topic or, where a sidecar has not heard of it yet, the old one
    await move('moved.schema3');
    const lost = await verify('moved');
    assert.equal(lost.code, 1, lost.err);
    assert.match(
      lost.out,
      /\nrows +35 read, 30 of them compared\nunseen +5 rows have no record: the stream began at now/,
    );
    assert.match(lost.out, /\nmissing +0\nextra +0\ndifferent +0\nunreadable +20\n$/);
    assert.equal(lost.out.match(/^unreadable {2}[0-9a-f]{32}\/\d+\.\d+\.0 \(moved\/\d\/\d+\) {2}/gm)?.length, 20);
    assert.equal((await cluster.api('POST', '/v1/streams/moved/resync', {})).status, 200);
    await assertSound(t, 'moved');
  });

  it('says from when on a stream can be verified, what it waits for, and how it is used', async () => {
    const early = await verify('wrong', '--at', '1');
    assert.equal(early.code, 1, early.err); // beyond the table's history
    assert.equal((await cluster.api('POST', '/v1/streams/wrong/pause')).status, 200);
    await cluster.waitForTablets('wrong', ({ state }) => state === 'paused');
    const paused = await verify('wrong', '--timeout', '2');
    assert.deepEqual([paused.code, paused.out], [1, '']);
    assert.match(paused.err, /^not every tablet runs after 2 s:\n {2}tablet [0-9a-f]{32} of wrong\.t: paused/);
    const strange = await verify('wrong', '--table', 'nope');
    assert.deepEqual([strange.code, strange.err], [2, 'the stream has no table "nope"\n']);
    assert.deepEqual((await verify('nobody')).code, 1);
  });

  async function readTopic(stream: string): Promise<Map<string, StoredRecord>> {
    await using reader = createKafkaReader({
      streamName: stream,
      brokers: cluster.kafka.brokers,
      topic: stream,
      schemaTopic: `${stream}.schema`,
      logger: keepingLogger(),
    });
    const last = new Map<string, StoredRecord>();
    for await (const records of reader.read(stream, AbortSignal.timeout(30_000)))
      for (const record of records) last.set(/"(?:id|k)":(\d+|".*")/.exec(record.key!.toString())![1]!, record);
    return last;
  }

  /** Row 1 removed by a delete, row 2 by a tombstone, row 3 stale, and one row too many. */
  async function plant(records: ReadonlyMap<string, StoredRecord>): Promise<void> {
    const send = async (of: string, change: { key?: string; value: string | null }): Promise<void> => {
      const { key, place, position } = records.get(of)!;
      const headers = { 'spoor.pos': position! };
      await produce('wrong', [
        { partition: partitionOf(place), key: change.key ?? key!, value: change.value, headers },
      ]);
    };
    const text = (of: string): string => records.get(of)!.value!.toString();
    await send('1', {
      value: text('1')
        .replace(/"op":"[cr]"/, '"op":"d"')
        .replace(/"before":null,"after":\{.*?\}/, '"before":{"day":0,"id":1},"after":null'),
    });
    await send('2', { value: null });
    await send('3', { value: text('3').replace('"a":3', '"a":77') });
    await send('4', { key: '{"day":0,"id":100000}', value: text('4').replace('"id":4', '"id":100000') });
  }

  async function produce(topic: string, messages: Message[]): Promise<void> {
    const kafka = new Kafka({ brokers: [...cluster.kafka.brokers], logLevel: logLevel.NOTHING });
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic, messages });
    await producer.disconnect();
  }
});

function partitionOf(place: RecordPlace): number {
  return showPlace(place).fields.partition;
}

function withoutRecords(out: string): string[] {
  const lines = out.split('\n').filter((line) => /^(missing|extra|different|repeated) +wrong/.test(line));
  return lines.map((line) => line.replace(/ {2}(records: .*|no record)$/, ''));
}
