import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import type { SinkRecord } from '../../src/change/record.ts';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import { freePort } from '../../src/demo/ports.ts';
import { partitionForKey } from '../../src/sinks/kafka/murmur2.ts';
import { KafkaBrokers } from '../../src/sinks/kafka/kafka-brokers.ts';
import { createKafkaSink, type KafkaSinkOptions } from '../../src/sinks/kafka/kafka-sink.ts';
import { compareSinkIds, parseSinkId } from '../../src/sinks/sink-id.ts';
import { SinkError, type Sink, type TabletWriter } from '../../src/sinks/sink.ts';
import { positionAt, recordAt, tabletOf } from '../contract/sink.ts';
import { startKafka } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { someSidecar } from '../support/sink-load.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { passwordLogin } from '../support/kafka-logins.ts';
import { TopicReader, type TopicRecord } from '../support/topic-reader.ts';
import { batches } from '../support/record-batches.ts';

const never = new AbortController().signal;
/** By the id that every broker of our tests gives its cluster. */
const STORE = `kafka:${Buffer.from('spoor-test-kafka').toString('base64url')}`;

let kafka: KafkaServer;
before(async () => {
  kafka = await startKafka();
});
after(async () => {
  await kafka[Symbol.asyncDispose]();
});

function sinkOf(streamName: string, changes: Partial<KafkaSinkOptions> = {}): Sink {
  return createKafkaSink({
    ...someSidecar(),
    streamName,
    brokers: kafka.brokers,
    topic: `${streamName}.{table}`,
    schemaTopic: `${streamName}.schema-changes`,
    delivery: 'exactly-once',
    partitions: 3,
    replicationFactor: 1,
    createTopics: true,
    logger: keepingLogger(),
    ...changes,
  });
}

interface Listener {
  readonly name: string;
  readonly protocol: 'PLAINTEXT' | 'SASL_PLAINTEXT';
  readonly at: string;
  readonly advertised: string;
}

/** From the broker's next start on. */
async function addListener({ name, protocol, at, advertised }: Listener, settings: readonly string[] = []) {
  const file = join(dirname(kafka.logFile), 'server.properties');
  const append = (text: string, key: string, value: string): string =>
    text.replace(new RegExp(`^(${key}=.*)$`, 'm'), `$1,${value}`);
  let text = await readFile(file, 'utf8');
  text = append(text, 'listeners', `${name}://${at}`);
  text = append(text, 'advertised\\.listeners', `${name}://${advertised}`);
  text = append(text, 'listener\\.security\\.protocol\\.map', `${name}:${protocol}`);
  await writeFile(file, `${[text.trimEnd(), ...settings].join('\n')}\n`);
}

function schemaRecord(index: number, before: object | null): SinkRecord {
  const key = Buffer.from(`{"table_id":"t","schema_version":${index}}`);
  const value = Buffer.from(JSON.stringify({ table_id: 't', schema_version: index, before, after: {} }));
  return recordAt(index, 0, { kind: 'schema', key, value, ...(before === null && { isFirst: true }) });
}

async function readTopic(topic: string, count: number): Promise<TopicRecord[]> {
  const seen: TopicRecord[] = [];
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [topic],
    onRecord: (record) => seen.push(record),
  });
  await reader.settle(() => seen.length >= count, { quietMs: 300, timeoutMs: 20_000 });
  return seen;
}

/** Deletes a topic and makes it again, as soon as the broker takes the name. */
async function makeAnew(topic: string): Promise<void> {
  const topics = [{ topic, numPartitions: 3, replicationFactor: 1 }];
  await kafka.withAdmin(async (admin) => {
    await admin.deleteTopics({ topics: [topic] });
    await eventually('the name is free', () => admin.createTopics({ topics, waitForLeaders: false }));
  });
}

const refused =
  (pattern: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof SinkError);
    assert.equal(error.kind, 'refused');
    assert.match(error.message, pattern);
    return true;
  };

describe('the topics of a stream', () => {
  it('are created as the stream says, the schema topic compacted and in one piece', async () => {
    await using sink = sinkOf('made');
    await using writer = await sink.openTablet(tabletOf('made'), never);
    await writer.write(batches([schemaRecord(1, null), recordAt(2)]), positionAt(2), never);
    await kafka.withAdmin(async (admin) => {
      const { topics } = await admin.fetchTopicMetadata({ topics: ['made.shop.orders', 'made.schema-changes'] });
      assert.deepEqual(
        new Map(topics.map(({ name, partitions }) => [name, partitions.length])),
        new Map([
          ['made.shop.orders', 3],
          ['made.schema-changes', 1],
        ]),
      );
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [
          { type: kafkajs.ConfigResourceTypes.TOPIC, name: 'made.schema-changes', configNames: ['cleanup.policy'] },
        ],
      });
      assert.equal(resources[0]!.configEntries[0]!.configValue, 'compact');
    });
    assert.deepEqual(
      (await readTopic('made.schema-changes', 1)).map(({ key }) => String(key)),
      ['{"table_id":"t","schema_version":1}'],
    );
  });

  it('are created with the settings that the stream gives, but for the schema topic', async () => {
    await using sink = sinkOf('configured', {
      topicConfig: { 'retention.ms': '86400000', 'max.message.bytes': '2000000' },
    });
    await using writer = await sink.openTablet(tabletOf('configured'), never);
    await writer.write(batches([schemaRecord(1, null), recordAt(2)]), positionAt(2), never);
    const settingsOf = async (name: string): Promise<Record<string, string>> =>
      kafka.withAdmin(async (admin) => {
        const configNames = ['retention.ms', 'max.message.bytes'];
        const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name, configNames }];
        const answer = await admin.describeConfigs({ includeSynonyms: false, resources });
        const entries = answer.resources[0]!.configEntries.map((entry) => [entry.configName, entry.configValue]);
        return Object.fromEntries(entries) as Record<string, string>;
      });
    const given = { 'retention.ms': '86400000', 'max.message.bytes': '2000000' };
    assert.deepEqual(await settingsOf('configured.shop.orders'), given);
    assert.notDeepEqual(await settingsOf('configured.schema-changes'), given);
  });

  it('are not created with a setting that Kafka does not know, and it is said which', async () => {
    await using sink = sinkOf('misconfigured', { topicConfig: { 'retention.msec': '1' } });
    await using writer = await sink.openTablet(tabletOf('misconfigured'), never);
    await assert.rejects(
      writer.write(batches([recordAt(1)]), positionAt(1), never),
      refused(/create topic misconfigured\.shop\.orders: INVALID_CONFIG.*retention\.msec/),
    );
  });

  it('are taken as they are: a key goes where any Kafka client puts it', async () => {
    await kafka.createTopic('seven.shop.orders', 7);
    await using sink = sinkOf('seven');
    await using writer = await sink.openTablet(tabletOf('seven'), never);
    const records = Array.from({ length: 50 }, (_, i) => recordAt(i + 1));
    await writer.write(batches(records), positionAt(50), never);
    const partitioner = kafkajs.Partitioners.DefaultPartitioner();
    const partitionMetadata = Array.from({ length: 7 }, (_, partitionId) => ({ partitionId, leader: 1 }));
    for (const { key, partition } of await readTopic('seven.shop.orders', 50)) {
      const expected = partitioner({
        topic: '',
        message: { key, value: '' },
        partitionMetadata: partitionMetadata as never,
      });
      assert.equal(partition, expected);
    }
  });

  it('block when one is missing and may not be made, and go on once it is there', async () => {
    await using sink = sinkOf('absent', { createTopics: false });
    {
      await using writer = await sink.openTablet(tabletOf('absent'), never);
      await assert.rejects(
        writer.write(batches([recordAt(1)]), positionAt(1), never),
        refused(/topic absent\.shop\.orders does not exist/),
      );
    }
    await kafka.createTopic('absent.shop.orders', 2);
    await using writer = await sink.openTablet(tabletOf('absent'), never);
    assert.equal(writer.position, null);
    await writer.write(batches([recordAt(1)]), positionAt(1), never);
    assert.equal((await readTopic('absent.shop.orders', 1)).length, 1);
  });

  it('need none for schemas to begin with, but no change of a schema gets lost', async () => {
    await kafka.createTopic('quiet.shop.orders', 1);
    const lines: LogLine[] = [];
    await using sink = sinkOf('quiet', { createTopics: false, logger: keepingLogger(lines) });
    {
      await using writer = await sink.openTablet(tabletOf('quiet'), never);
      await writer.write(batches([schemaRecord(1, null), recordAt(2)]), positionAt(2), never);
      await writer.write(batches([schemaRecord(3, null)]), positionAt(3), never);
      assert.equal(lines.filter(({ level }) => level === 'warn').length, 1);
      await assert.rejects(
        writer.write(batches([schemaRecord(4, {})]), positionAt(4), never),
        refused(/topic quiet\.schema-changes/),
      );
    }
    await kafka.createTopic('quiet.schema-changes', 1);
    await using writer = await sink.openTablet(tabletOf('quiet'), never);
    assert.deepEqual(writer.position, positionAt(3));
    await writer.write(batches([schemaRecord(4, {})]), positionAt(4), never);
    assert.equal((await readTopic('quiet.schema-changes', 1)).length, 1);
  });

  for (const delivery of ['exactly-once', 'at-least-once'] as const)
    it(`may be deleted: ${delivery} makes them anew and forgets no position`, async () => {
      const name = `deleted-${delivery}`;
      await using sink = sinkOf(name, { delivery });
      {
        await using writer = await sink.openTablet(tabletOf(name), never);
        await writer.write(batches([recordAt(1)]), positionAt(1), never);
      }
      await kafka.withAdmin((admin) => admin.deleteTopics({ topics: [`${name}.shop.orders`] }));
      await sleep(500); // the broker deletes in the background
      {
        await using writer = await sink.openTablet(tabletOf(name), never);
        assert.deepEqual(writer.position, positionAt(1));
        await writer.write(batches([recordAt(2)]), positionAt(2), never).catch(() => undefined); // it may learn of it only now
      }
      await using writer = await sink.openTablet(tabletOf(name), never);
      if (writer.position?.opId.index !== 2n) await writer.write(batches([recordAt(2)]), positionAt(2), never);
      const seen = await readTopic(`${name}.shop.orders`, 1);
      assert.ok(seen.every(({ key }) => String(key) === '{"id":2}'));
    });

  for (const delivery of ['exactly-once', 'at-least-once'] as const)
    it(`are known in which making they are, when a tablet is opened and while it is written to: ${delivery}`, async () => {
      const name = `generations-${delivery}`;
      const topic = `${name}.shop.orders`;
      // For a moment after it was made a broker may not know of a topic, or that it leads it.
      const open = (sink: Sink) => eventually('it is opened', () => sink.openTablet(tabletOf(name), never));
      const isAnew = (before: string, { sinkId = '' }: TabletWriter) =>
        compareSinkIds(before, sinkId) === 'topic-made-anew';
      let first: string;
      {
        await using sink = sinkOf(name, { delivery });
        await using writer = await open(sink);
        assert.equal(writer.sinkId, STORE, 'there is none yet');
        assert.ok(!(await kafka.withAdmin((admin) => admin.listTopics())).includes(topic), 'to look does not make it');
        await writer.write(batches([recordAt(1)]), positionAt(1), never);
        first = writer.sinkId!;
        assert.deepEqual([parseSinkId(first).store, parseSinkId(first).topic?.name], [STORE, topic]);
      }
      let second: string;
      {
        await using sink = sinkOf(name, { delivery, lookAgainMs: 100 });
        let writer = await open(sink);
        assert.equal(writer.sinkId, first, 'known when it is opened, and the same after a restart');
        await writer.write(batches([recordAt(2)]), positionAt(2), never);
        await makeAnew(topic);
        const deadline = performance.now() + 20_000;
        for (let index = 3; !isAnew(first, writer); index++) {
          assert.ok(performance.now() < deadline, 'nobody has noticed');
          try {
            await writer.write(batches([recordAt(index)]), positionAt(index), never); // most often the new topic takes it
          } catch {
            await writer[Symbol.asyncDispose]();
            writer = await open(sink);
          }
          await sleep(20);
        }
        second = writer.sinkId!;
        await writer[Symbol.asyncDispose]();
      }
      await makeAnew(topic);
      await using sink = sinkOf(name, { delivery });
      await eventually('it is known when it is opened', async () => {
        await using writer = await sink.openTablet(tabletOf(name), never);
        assert.ok(writer.position !== null, 'it is on the schema topic too');
        return isAnew(first, writer) && isAnew(second, writer);
      });
    });

  for (const delivery of ['exactly-once', 'at-least-once'] as const)
    it(`take keys and marks in partitions that are added while they are written to: ${delivery}`, async () => {
      const name = `grown-${delivery}`;
      const topic = `${name}.shop.orders`;
      const lookAgainMs = 200;
      await kafka.createTopic(topic, 1);
      await using sink = sinkOf(name, { delivery, lookAgainMs });
      await using writer = await sink.openTablet(tabletOf(name), never);
      await writer.write(batches([recordAt(1, 1)]), positionAt(1), never);
      const partitionsNow = async (): Promise<number> => {
        const { topics } = await kafka.withAdmin((admin) => admin.fetchTopicMetadata({ topics: [topic] }));
        return topics[0]!.partitions.filter(({ leader }) => leader >= 0).length;
      };
      await kafka.withAdmin((admin) => admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] }));
      await eventually('the brokers know it', async () => (await partitionsNow()) === 3);
      await sleep(2 * lookAgainMs);
      const rows = Array.from({ length: 30 }, (_, i) => recordAt(i + 2, i));
      await writer.write(batches([...rows, recordAt(32, 0, { kind: 'resolved' })]), positionAt(32), never);
      const seen = (await readTopic(topic, 34)).slice();
      const ofRows = seen.filter(
        ({ key, headers }) => key !== null && headers['spoor.pos'] !== recordAt(1, 1).position,
      );
      for (const { key, partition } of ofRows) assert.equal(partition, partitionForKey(Buffer.from(key!), 3));
      const marks = seen.filter(({ key }) => key === null).map(({ partition }) => partition);
      assert.deepEqual(marks.sort(), [0, 1, 2]);
    });

  for (const delivery of ['exactly-once', 'at-least-once'] as const)
    it(`take rows without marks while they are compacted: ${delivery}`, async () => {
      const name = `compacted-${delivery}`;
      const topic = `${name}.shop.orders`;
      const lines: LogLine[] = [];
      const lookAgainMs = 1_000;
      await kafka.createTopic(topic, 2, { 'cleanup.policy': 'compact,delete' });
      await using brokers = new KafkaBrokers({ brokers: kafka.brokers, logger: keepingLogger() });
      assert.deepEqual(await brokers.compactedOf([topic, 'is-not-there'], never), [topic]);
      await using sink = sinkOf(name, { delivery, lookAgainMs, logger: keepingLogger(lines) });
      let writer = await open(sink);
      let index = 0;
      /** Answers whether it was taken at once. */
      const write = async (): Promise<boolean> => {
        index++;
        for (let isFirst = true; ; isFirst = false)
          try {
            const mark = recordAt(index, 0, { kind: 'resolved', position: `m${index}` });
            await writer.write(batches([recordAt(index, index), mark]), positionAt(index), never);
            return isFirst;
          } catch (error) {
            assert.ok(error instanceof SinkError && /left out of the next try/.test(error.message), String(error));
            await writer[Symbol.asyncDispose]();
            writer = await open(sink);
          }
      };
      const setPolicy = async (value: string): Promise<void> => {
        const configEntries = [{ name: 'cleanup.policy', value }];
        const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries }];
        await kafka.withAdmin((admin) => admin.alterConfigs({ validateOnly: false, resources }));
        await sleep(500);
      };
      async function open(from: Sink): Promise<TabletWriter> {
        return from.openTablet(tabletOf(name), never);
      }
      assert.ok(await write(), 'it was known beforehand');
      assert.equal(
        lines.filter(({ message }) => message.startsWith('the topic is compacted and takes no marks')).length,
        1,
      );
      await setPolicy('delete');
      await sleep(lookAgainMs);
      assert.ok(await write());
      await setPolicy('compact');
      await write(); // perhaps refused once: it is asked now and then only
      await write();
      await writer[Symbol.asyncDispose]();
      const seen = await readTopic(topic, 6);
      const marks = seen.filter(({ key }) => key === null).map(({ headers }) => headers['spoor.resolved']);
      assert.deepEqual(marks, ['m2', 'm2'], 'one in each partition, of the time when it was not compacted');
      const rows = seen.filter(({ key }) => key !== null).map(({ headers }) => headers['spoor.pos']);
      assert.deepEqual(rows.sort(), [1, 2, 3, 4].map((i) => recordAt(i, i).position).sort());
    });

  it('are refused where they are compacted, and a record may lack columns that one before it has', async () => {
    const topic = 'partial.shop.orders';
    await kafka.createTopic(topic, 1, { 'cleanup.policy': 'compact' });
    await using whole = sinkOf('partial', {});
    await (await whole.openTablet(tabletOf('partial'), never))[Symbol.asyncDispose]();
    await using partial = sinkOf('partial', { partialRows: true });
    await assert.rejects(
      partial.openTablet(tabletOf('partial'), never),
      (error: unknown) =>
        error instanceof SinkError &&
        error.kind === 'refused' &&
        /partial\.shop\.orders is compacted/.test(error.message),
    );
  });

  it('follow a table that is renamed, the position too', async () => {
    await using sink = sinkOf('renamed');
    const renamed = { ...positionAt(2), tableName: 'shop.sales' };
    {
      await using writer = await sink.openTablet(tabletOf('renamed'), never);
      await writer.write(batches([recordAt(1)]), positionAt(1), never);
      assert.equal(parseSinkId(writer.sinkId!).topic?.name, 'renamed.shop.orders');
      await writer.write(batches([recordAt(2, 2, { table: 'shop.sales' })]), renamed, never);
      assert.equal(parseSinkId(writer.sinkId!).topic?.name, 'renamed.shop.sales');
    }
    await using writer = await sink.openTablet(tabletOf('renamed'), never);
    assert.deepEqual(writer.position, renamed);
    assert.equal(parseSinkId(writer.sinkId!).topic?.name, 'renamed.shop.sales');
    assert.equal((await readTopic('renamed.shop.sales', 1)).length, 1);
  });

  it('say which record they do not take; nothing of its write is seen', async () => {
    await kafka.createTopic('tight.shop.orders', 1, { 'max.message.bytes': '20000' });
    await using sink = sinkOf('tight');
    {
      await using writer = await sink.openTablet(tabletOf('tight'), never);
      const large = recordAt(2, 2, { value: Buffer.alloc(30_000, 'x') });
      await assert.rejects(
        writer.write(batches([recordAt(1)], [large]), positionAt(2), never),
        refused(
          /topic tight\.shop\.orders does not take the record .*3\.2\.0 of 30000 bytes \(table shop\.orders, key /,
        ),
      );
    }
    await using writer = await sink.openTablet(tabletOf('tight'), never);
    await writer.write(batches([recordAt(3)]), positionAt(3), never);
    assert.deepEqual(
      (await readTopic('tight.shop.orders', 1)).map(({ key }) => String(key)),
      ['{"id":3}'],
    );
  });

  it('may take less than we like to send: batches shrink until they fit', async () => {
    await kafka.createTopic('small.shop.orders', 1, { 'max.message.bytes': '5000' });
    await using sink = sinkOf('small');
    const records = Array.from({ length: 300 }, (_, i) => recordAt(i + 1, i, { value: Buffer.alloc(500, 'x') }));
    let failures = 0;
    for (let done = false; !done;) {
      await using writer = await sink.openTablet(tabletOf('small'), never);
      done = await writer.write(batches(records), positionAt(300), never).then(
        () => true,
        (error: unknown) => {
          assert.ok(error instanceof SinkError && error.kind === 'unavailable', String(error));
          assert.ok(++failures < 6);
          return false;
        },
      );
    }
    assert.equal((await readTopic('small.shop.orders', 300)).length, 300);
  });

  it('cannot be made with more replicas than there are brokers, and the broker says so', async () => {
    await using sink = sinkOf('greedy', { replicationFactor: 3 });
    await using writer = await sink.openTablet(tabletOf('greedy'), never);
    await assert.rejects(
      writer.write(batches([recordAt(1)]), positionAt(1), never),
      refused(/create topic greedy\.\S+: INVALID_REPLICATION_FACTOR: .*replication factor/),
    );
  });

  it('name the table whose name makes none', async () => {
    await using sink = sinkOf('odd');
    await using writer = await sink.openTablet(tabletOf('odd'), never);
    const record = recordAt(1, 1, { table: 'x'.repeat(256) });
    await assert.rejects(
      writer.write(batches([record]), positionAt(1), never),
      refused(/table "x+" makes the topic name/),
    );
  });
});

describe('a broker that asks who we are', () => {
  let address: string;
  before(async () => {
    const port = await freePort();
    address = `127.0.0.1:${port}`;
    await addListener({ name: 'SASL', protocol: 'SASL_PLAINTEXT', at: address, advertised: address }, [
      'listener.name.sasl.sasl.enabled.mechanisms=PLAIN',
      'listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required ' +
        'user_spoor="right" user_nobody="right";',
      'listener.name.sasl.connections.max.reauth.ms=12000',
      'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users=User:ANONYMOUS;User:spoor',
      'connections.max.idle.ms=2000',
    ]);
    await kafka.restart();
  });

  const asUser = (username: string, password: string): Partial<KafkaSinkOptions> => ({
    brokers: [address],
    access: { tls: () => null, login: passwordLogin(username, password) },
  });

  it('is told, and again before the session ends', async () => {
    await using sink = sinkOf('sasl', asUser('spoor', 'right'));
    await sink.check(never);
    await using writer = await sink.openTablet(tabletOf('sasl'), never);
    for (let index = 1; index <= 8; index++) {
      await writer.write(batches([recordAt(index)]), positionAt(index), never);
      await sleep(500); // kafkajs authenticates anew 10 s before the session's 12 s are over
    }
    assert.equal((await readTopic('sasl.shop.orders', 8)).length, 8);
  });

  it('closes a socket that is idle, and nobody notices', async () => {
    for (const delivery of ['exactly-once', 'at-least-once'] as const) {
      const name = `idle-${delivery}`;
      await using sink = sinkOf(name, { ...asUser('spoor', 'right'), delivery });
      await using writer = await sink.openTablet(tabletOf(name), never);
      await writer.write(batches([recordAt(1)]), positionAt(1), never);
      await sleep(4_500);
      await writer.write(batches([recordAt(2)]), positionAt(2), never);
      await sink.check(never);
    }
  });

  it('refuses a wrong password, and it is said', async () => {
    await using sink = sinkOf('wrong', asUser('spoor', 'wrong'));
    await assert.rejects(sink.check(never), refused(/refused to authenticate us/));
    await assert.rejects(sink.openTablet(tabletOf('wrong'), never), refused(/refused to authenticate us/));
  });

  it('refuses whom it knows and does not allow, and it is said what', async () => {
    await using sink = sinkOf('nobody', asUser('nobody', 'right'));
    await assert.rejects(
      sink.openTablet(tabletOf('nobody'), never),
      refused(/topic nobody\.shop\.orders: TOPIC_AUTHORIZATION_FAILED/),
    );
  });

  it('is not waited for when it does not speak TLS', async () => {
    await using sink = sinkOf('tls', { access: { tls: () => ({}), login: null } });
    await assert.rejects(sink.check(never), SinkError);
  });
});

describe('a broker that says of itself that it is elsewhere', () => {
  const kinds: Record<'closed' | 'unknown' | 'silent', { at: string; advertised: string }> = {
    closed: { at: '', advertised: '' },
    unknown: { at: '', advertised: 'no-such-host.invalid:9092' },
    silent: { at: '', advertised: '10.255.255.1:9092' },
  };

  before(async () => {
    kinds.closed.advertised = `127.0.0.1:${await freePort()}`;
    for (const [kind, listener] of Object.entries(kinds)) {
      listener.at = `127.0.0.1:${await freePort()}`;
      await addListener({ name: kind.toUpperCase(), protocol: 'PLAINTEXT', ...listener });
    }
    await kafka.restart();
  });

  for (const kind of ['closed', 'unknown', 'silent'] as const)
    it(`is named with that address, and with who gave it, by readiness and by a tablet: ${kind}`, async () => {
      const { at, advertised } = kinds[kind];
      const isNamed = (error: unknown): boolean =>
        error instanceof SinkError &&
        error.kind === 'unavailable' &&
        error.message.endsWith(
          `(broker 1 at ${advertised}, the address that ${at} gives of it: look at its advertised.listeners)`,
        );
      const signal = AbortSignal.timeout(5_000);
      await using brokers = new KafkaBrokers({ brokers: [at], logger: keepingLogger() });
      await assert.rejects(brokers.check(signal), isNamed);
      await using sink = sinkOf(`elsewhere-${kind}`, { brokers: [at] });
      await assert.rejects(sink.check(AbortSignal.timeout(5_000)), isNamed);
      await assert.rejects(sink.openTablet(tabletOf(`elsewhere-${kind}`), AbortSignal.timeout(30_000)), isNamed);
    });
});

it('finds a broker that answers among several', async () => {
  const closed = `127.0.0.1:${await freePort()}`;
  await using sink = sinkOf('several', { brokers: [closed, ...kafka.brokers] });
  await sink.check(never);
});
