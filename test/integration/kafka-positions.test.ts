import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import kafkajs from 'kafkajs';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import { KafkaCluster } from '../../src/sinks/kafka/cluster.ts';
import { createKafkaSink, type KafkaSinkOptions } from '../../src/sinks/kafka/kafka-sink.ts';
import type { TransactionMetrics } from '../../src/sinks/transaction-metrics.ts';
import { encodePosition, positionGroup } from '../../src/sinks/kafka/position.ts';
import { OFFSET_COMMIT, OFFSET_FETCH } from '../../src/sinks/kafka/wire/offset-apis.ts';
import { SinkError, type Sink } from '../../src/sinks/sink.ts';
import { openWhenBack, positionAt, recordAt, tabletOf } from '../contract/sink.ts';
import { startKafka } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { someSidecar } from '../support/sink-load.ts';
import { TopicReader } from '../support/topic-reader.ts';
import { batches } from '../support/record-batches.ts';
import { RecordBatch } from '../../src/change/record-batch.ts';

/*
 * What docs/sinks.md says of positions, lanes and the way from version 0.1, with a real broker: whose a tablet is, that
 * a lane harms no other, and what becomes of records in the topic of positions that are none.
 */

const never = new AbortController().signal;
const OTHER = 'ffffffffffffffffffffffffffffffff';

let kafka: KafkaServer;
before(async () => {
  kafka = await startKafka();
});
after(async () => {
  await kafka[Symbol.asyncDispose]();
});

interface Ends {
  committed: number;
  fenced: number;
  failed: number;
  overdue: number;
}

function sinkOf(streamName: string, changes: Partial<KafkaSinkOptions> = {}, ends?: Ends): Sink {
  return createKafkaSink({
    ...someSidecar(),
    streamName,
    brokers: kafka.brokers,
    topic: '{stream}.{table}',
    schemaTopic: `${streamName}.schema-changes`,
    delivery: 'exactly-once',
    partitions: 3,
    replicationFactor: 1,
    createTopics: true,
    logger: keepingLogger(),
    ...(ends && { metrics: countingIn(ends) }),
    ...changes,
  });
}

function countingIn(ends: Ends): TransactionMetrics {
  return {
    transaction(outcome) {
      ends[outcome]++;
    },
  };
}

function noEnds(): Ends {
  return { committed: 0, fenced: 0, failed: 0, overdue: 0 };
}

async function valuesOf(topic: string, count: number): Promise<string[]> {
  const seen: string[] = [];
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [topic],
    onRecord: ({ headers }) => seen.push(headers['spoor.pos'] ?? ''),
  });
  await reader.settle(() => seen.length >= count, { quietMs: 400, timeoutMs: 20_000 });
  return seen.sort();
}

const refused =
  (pattern: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof SinkError);
    assert.match(error.message, pattern);
    assert.equal(error.kind, 'refused');
    return true;
  };

/** Appends a record to every partition of a topic, as somebody else would. */
async function appendEverywhere(topic: string, key: string, value: string | null): Promise<void> {
  const client = new kafkajs.Kafka({ brokers: [...kafka.brokers], logLevel: kafkajs.logLevel.NOTHING });
  const producer = client.producer();
  await producer.connect();
  const messages = Array.from({ length: 16 }, (_, partition) => ({ key, value, partition }));
  await producer.send({ topic, messages });
  await producer.disconnect();
}

describe('a tablet of a lane', () => {
  it('that is handed over fences nobody, and the others of its lane notice nothing', async () => {
    const stream = 'handed-over';
    const ends = noEnds();
    await using before = sinkOf(stream, {}, ends);
    await using after = sinkOf(stream);
    const one = await before.openTablet(tabletOf(stream), never);
    await using two = await before.openTablet(tabletOf(stream, { tabletId: OTHER }), never);
    await one.write(batches([recordAt(1)]), positionAt(1), never);
    await one[Symbol.asyncDispose]();
    await using taken = await after.openTablet(tabletOf(stream), never);
    assert.deepEqual(taken.position, positionAt(1));
    await taken.write(batches([recordAt(2)]), positionAt(2), never);
    await two.write(batches([recordAt(1)]), positionAt(1), never);
    assert.deepEqual({ fenced: ends.fenced, failed: ends.failed }, { fenced: 0, failed: 0 });
  });

  it('that is taken from a lane that lives is lost to it, and its other tablets go on', async () => {
    const stream = 'taken-away';
    const ends = noEnds();
    await using before = sinkOf(stream, {}, ends);
    await using after = sinkOf(stream);
    let isTold = false;
    const one = await before.openTablet(tabletOf(stream, { onFenced: () => (isTold = true) }), never);
    await using two = await before.openTablet(tabletOf(stream, { tabletId: OTHER }), never);
    await one.write(batches([recordAt(1)]), positionAt(1), never);
    let written = 0;
    const taking = new AbortController();
    const writing = (async () => {
      for (; !taking.signal.aborted || written < 10; written++)
        await two.write(
          batches([recordAt(written + 1, written, { position: `${OTHER}/3.${written + 1}.0` })]),
          positionAt(written + 1),
          never,
        );
    })();
    const taken = await after.openTablet(tabletOf(stream), never);
    assert.deepEqual(taken.position, positionAt(1));
    taking.abort();
    await eventually('it is told without a write', () => isTold);
    await assert.rejects(one.write(batches([recordAt(2)]), positionAt(2), never), { kind: 'fenced' });
    await taken.write(batches([recordAt(2)]), positionAt(2), never);
    await writing;
    // A commit that meets the fence in its midst is refused in other words (UNKNOWN_SERVER_ERROR, seen with Kafka 4.3.1).
    assert.ok(ends.fenced + ends.failed > 0, 'its lane was fenced, and has opened anew');
    const positions = await valuesOf(`${stream}.shop.orders`, written + 2);
    assert.equal(positions.length, written + 2);
    assert.equal(new Set(positions).size, positions.length);
    await one[Symbol.asyncDispose]();
    await taken[Symbol.asyncDispose]();
  });

  it('has operations in several transactions that are too large for one, and each row once, whoever goes on', async () => {
    const stream = 'large';
    const rows = 20_000;
    const tablet = tabletOf(stream);
    function* slicesOf(index: number, failsAt = Infinity): Generator<RecordBatch> {
      for (let row = 0; row < rows; row += 500) {
        if (row >= failsAt) throw new Error('the log is gone');
        const position = (i: number): string => `${tablet.tabletId}/3.${index}.${row + i}`;
        yield RecordBatch.of(
          Array.from({ length: 500 }, (_, i) => recordAt(index, row + i, { position: position(i) })),
        );
      }
    }
    const again = (index: number, failsAt?: number) => ({ [Symbol.iterator]: () => slicesOf(index, failsAt) });
    const ends = noEnds();
    {
      await using sink = sinkOf(stream, { maxTransactionBytes: 200_000 }, ends);
      await using writer = await sink.openTablet(tablet, never);
      await writer.write(batches([recordAt(1)]), positionAt(1), never);
      await assert.rejects(writer.write(again(2, rows / 2), positionAt(2), never), /the log is gone/);
    }
    assert.ok(ends.committed > 3, `${ends.committed} transactions`);
    await using sink = sinkOf(stream, { maxTransactionBytes: 1_000_000 });
    await using writer = await sink.openTablet(tablet, never);
    assert.deepEqual(writer.position, positionAt(1));
    await writer.write(again(2), positionAt(2), never);
    const positions = await valuesOf(`${stream}.shop.orders`, rows + 1);
    assert.equal(positions.length, rows + 1);
    assert.equal(new Set(positions).size, rows + 1, 'each once');
  });

  it('is nobody’s of another installation with a stream of the same name', async () => {
    const stream = 'same-name';
    const ends = noEnds();
    await using mine = sinkOf(stream, { installation: 'one', sidecar: 's' }, ends);
    await using theirs = sinkOf(stream, { installation: 'two', sidecar: 's' }, ends);
    await using a = await mine.openTablet(tabletOf(stream), never);
    await using b = await theirs.openTablet(tabletOf(stream), never);
    for (let index = 1; index <= 5; index++) {
      await a.write(batches([recordAt(index)]), positionAt(index), never);
      await b.write(batches([recordAt(index + 100)]), positionAt(index + 100), never);
    }
    assert.deepEqual({ fenced: ends.fenced, failed: ends.failed }, { fenced: 0, failed: 0 });
    await using again = sinkOf(stream, { installation: 'one', sidecar: 'other' });
    await using writer = await again.openTablet(tabletOf(stream), never);
    assert.deepEqual(writer.position, positionAt(5));
  });

  it('that fails has the others written all the same, and is written aside', async () => {
    const stream = 'culprit';
    await using sink = sinkOf(stream);
    await kafka.createTopic('culprit.narrow', 1, { 'max.message.bytes': '2000' });
    const narrow = tabletOf(stream, { tabletId: OTHER, tableName: 'narrow' });
    await using sound = await sink.openTablet(tabletOf(stream), never);
    await using sick = await sink.openTablet(narrow, never);
    const large = recordAt(1, 1, { table: 'narrow', value: Buffer.alloc(20_000), position: `${OTHER}/3.1.0` });
    const [failed, written] = await Promise.allSettled([
      sick.write(batches([large]), { ...positionAt(1), tableName: 'narrow' }, never),
      sound.write(batches([recordAt(1)]), positionAt(1), never),
    ]);
    assert.equal(written.status, 'fulfilled');
    assert.ok(failed.status === 'rejected');
    assert.ok(refused(/does not take the record .*max\.message\.bytes/)(failed.reason));
  });
});

describe('the topic of positions', () => {
  it('is made so that it stays small: a sidecar reads it whole when it starts', async () => {
    const positionsTopic = 'made-positions';
    await using sink = sinkOf('maker', { positionsTopic });
    await using writer = await sink.openTablet(tabletOf('maker'), never);
    assert.equal(writer.position, null);
    const configNames = ['cleanup.policy', 'segment.bytes', 'min.cleanable.dirty.ratio'];
    const { resources } = await kafka.withAdmin((admin) =>
      admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: positionsTopic, configNames }],
      }),
    );
    const settings = new Map(
      resources[0]!.configEntries.map(({ configName, configValue }) => [configName, configValue]),
    );
    assert.deepEqual(
      configNames.map((name) => settings.get(name)),
      ['compact', '16777216', '0.1'],
    );
  });

  it('may hold what others wrote; a position that is none is refused, until it is deleted', async () => {
    const stream = 'strangers';
    await using sink = sinkOf(stream, { installation: 'i' });
    {
      await using writer = await sink.openTablet(tabletOf(stream), never);
      await writer.write(batches([recordAt(1)]), positionAt(1), never);
    }
    await appendEverywhere('spoor.positions', 'hello', 'world');
    {
      await using again = sinkOf(stream, { installation: 'i' });
      await using writer = await again.openTablet(tabletOf(stream), never);
      assert.deepEqual(writer.position, positionAt(1));
    }
    const key = JSON.stringify({ installation: 'i', stream, tablet: tabletOf(stream).tabletId });
    await appendEverywhere('spoor.positions', key, '{"spoor":9}');
    await using again = sinkOf(stream, { installation: 'i' });
    await assert.rejects(again.openTablet(tabletOf(stream), never), /was not written by Spoor, or by a newer version/);
    await appendEverywhere('spoor.positions', key, null);
    await using writer = await openWhenBack(again, tabletOf(stream));
    assert.equal(writer.position, null);
  });

  it('is refused where it would forget, or has too few partitions', async () => {
    await kafka.createTopic('forgets', 16, { 'cleanup.policy': 'delete' });
    await using forgetful = sinkOf('forgetful', { positionsTopic: 'forgets' });
    await assert.rejects(
      forgetful.openTablet(tabletOf('forgetful'), never),
      refused(/topic forgets, where Spoor keeps positions, has cleanup\.policy=delete/),
    );
    await kafka.createTopic('few', 3, { 'cleanup.policy': 'compact' });
    await using small = sinkOf('small', { positionsTopic: 'few' });
    await assert.rejects(small.openTablet(tabletOf('small'), never), refused(/has 3 partitions and needs 16/));
  });

  it('takes the positions of any number of tablets, however little it takes at a time', async () => {
    const stream = 'many';
    const positionsTopic = 'narrow-positions';
    await kafka.createTopic(positionsTopic, 16, { 'cleanup.policy': 'compact', 'max.message.bytes': '3000' });
    await using sink = sinkOf(stream, { positionsTopic });
    const tablets = Array.from({ length: 40 }, (_, i) => tabletOf(stream, { tabletId: String(i).padStart(32, '0') }));
    // One waits for the claim of all: a claim is small, and forty are not.
    const writers = [];
    for (const tablet of tablets) writers.push(await sink.openTablet(tablet, never));
    await Promise.all(writers.map((writer) => writer.write([], positionAt(5), AbortSignal.timeout(20_000))));
    for (const writer of writers) await writer[Symbol.asyncDispose]();
    await using other = sinkOf(stream, { positionsTopic });
    await using taken = await other.openTablet(tablets[39]!, never);
    assert.deepEqual(taken.position, positionAt(5));
  });

  it('may be made anew while it is written to: tablets are taken anew, and who went on before goes on', async () => {
    const stream = 'anew';
    const lines: LogLine[] = [];
    const positionsTopic = 'anew-positions';
    await using sink = sinkOf(stream, { positionsTopic, lookAgainMs: 200, logger: keepingLogger(lines) });
    const writer = await sink.openTablet(tabletOf(stream), never);
    await writer.write(batches([recordAt(1)]), positionAt(1), never);
    await kafka.withAdmin((admin) => admin.deleteTopics({ topics: [positionsTopic] }));
    await eventually('the writer is of no use any more', async () => {
      return writer.write([], positionAt(1), never).then(
        () => false,
        () => true,
      );
    });
    await writer[Symbol.asyncDispose]();
    await using next = await openWhenBack(sink, tabletOf(stream));
    // The new topic knows nothing, or what the old writer still moved there: the replicator knows better.
    if (next.position) assert.deepEqual(next.position, positionAt(1));
    await next.write(batches([recordAt(2)]), positionAt(2), never);
    await using other = sinkOf(stream, { positionsTopic });
    await using taken = await other.openTablet(tabletOf(stream), never);
    assert.deepEqual(taken.position, positionAt(2));
  });
});

describe('a position of version 0.1', () => {
  for (const delivery of ['exactly-once', 'at-least-once'] as const)
    it(`is taken over from its group, and its sidecars can write nothing more: ${delivery}`, async () => {
      const stream = `legacy-${delivery}`;
      const tablet = tabletOf(stream);
      const id = positionGroup(stream, tablet.tabletId);
      const topic = `${stream}.shop.orders`;
      await kafka.createTopic(topic, 3);
      const client = new kafkajs.Kafka({ brokers: [...kafka.brokers], logLevel: kafkajs.logLevel.NOTHING });
      const old = client.producer({ transactionalId: id, maxInFlightRequests: 1, idempotent: true });
      await old.connect();
      const transaction = await old.transaction();
      await transaction.send({ topic, messages: [{ key: 'k', value: 'open', partition: 0 }] });
      await commitOffset(id, encodePosition(positionAt(7), tablet.streamGeneration, [topic]));
      for (let life = 0; life < 2; life++) {
        await using sink = sinkOf(stream, { delivery });
        await using writer = await sink.openTablet(tablet, never);
        assert.deepEqual(writer.position, positionAt(7), `life ${life}`);
      }
      await assert.rejects(transaction.commit());
      await old.disconnect().catch(() => undefined);
      assert.match((await offsetsOf(id))[0]!.metadata ?? '', /"spoor":2/);
      {
        await using sink = sinkOf(stream, { delivery });
        await using writer = await sink.openTablet(tablet, never);
        await writer.write(batches([recordAt(8)]), positionAt(8), never);
      }
      await using sink = sinkOf(stream, { delivery });
      await using writer = await sink.openTablet(tablet, never);
      assert.deepEqual(writer.position, positionAt(8));
      assert.equal((await valuesOf(topic, 1)).length, 1, 'what was open has been aborted');
    });

  it('is asked for only where one may be: a tablet that is new leaves no group and no producer behind', async () => {
    const stream = `new-${randomUUID()}`;
    await using sink = sinkOf(stream);
    await using writer = await sink.openTablet(tabletOf(stream), never);
    assert.equal(writer.position, null);
    assert.deepEqual(await offsetsOf(positionGroup(stream, tabletOf(stream).tabletId)), []);
  });
});

async function withCluster<T>(work: (cluster: KafkaCluster) => Promise<T>): Promise<T> {
  const options = { clientId: 'test', connectTimeoutMs: 3_000, requestTimeoutMs: 5_000, logger: keepingLogger() };
  await using cluster = new KafkaCluster(kafka.brokers, options);
  return await work(cluster);
}

async function commitOffset(groupId: string, offsets: ReturnType<typeof encodePosition>): Promise<void> {
  await withCluster(async (cluster) => {
    const coordinator = await cluster.findCoordinator('group', groupId, never);
    const answers = await cluster.send(coordinator, 1, OFFSET_COMMIT, { groupId, offsets }, never);
    for (const { errorCode } of answers) assert.equal(errorCode, 0);
  });
}

async function offsetsOf(groupId: string) {
  return withCluster(async (cluster) => {
    const coordinator = await cluster.findCoordinator('group', groupId, never);
    return (await cluster.send(coordinator, 1, OFFSET_FETCH, { groupId }, never)).offsets;
  });
}
