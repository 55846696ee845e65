import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KafkaCluster } from '../../src/sinks/kafka/cluster.ts';
import { createKafkaSink } from '../../src/sinks/kafka/kafka-sink.ts';
import { Producer } from '../../src/sinks/kafka/producer.ts';
import { BatchLimits } from '../../src/sinks/kafka/record-planner.ts';
import { StreamTopics } from '../../src/sinks/kafka/topics.ts';
import { CREATE_TOPICS, METADATA } from '../../src/sinks/kafka/wire/cluster-apis.ts';
import { END_TXN, PRODUCE } from '../../src/sinks/kafka/wire/transaction-apis.ts';
import { ByteReader, ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import { positionAt, recordAt, tabletOf } from '../contract/sink.ts';
import { FakeBroker, type FakeRequest } from '../support/fake-broker.ts';
import { keepingLogger } from '../support/loggers.ts';
import { ModelKafka, type Fate } from '../support/model-kafka.ts';
import { someSidecar } from '../support/sink-load.ts';
import { partitionBatch } from '../support/kafka-batches.ts';
import { batches } from '../support/record-batches.ts';

const REQUEST_TIMEOUT_MS = 500;
const TOPIC = 'cdc.t';
const REQUEST_TIMED_OUT = 7;
const never = new AbortController().signal;

function clusterOf(...brokers: FakeBroker[]): KafkaCluster {
  for (const broker of brokers) broker.maxVersionOf.set(METADATA.key, 9); // without topic ids
  return new KafkaCluster(
    brokers.map(({ address: { host, port } }) => `${host}:${port}`),
    { clientId: 'test', connectTimeoutMs: 500, requestTimeoutMs: REQUEST_TIMEOUT_MS, logger: keepingLogger() },
  );
}

/** A cluster of the broker alone, which leads the one partition of the topic. */
function metadataOf(broker: FakeBroker, leader = 1): Buffer {
  const { host, port } = broker.address;
  const w = new ByteWriter().int32(0);
  w.array([1], (id) => w.int32(id).string(host).int32(port).string(null));
  w.string('id').int32(1);
  w.array([TOPIC], (topic) =>
    w
      .int16(0)
      .string(topic)
      .boolean(false)
      .array([0], (p) => w.int16(0).int32(p).int32(leader).int32(0).int32(0).int32(0)),
  );
  return w.finish();
}

describe('a slow broker', () => {
  it('that was silent is asked last where others may know as well', async () => {
    const asked = { silent: 0, other: 0 };
    await using silent = await FakeBroker.start(() => asked.silent++);
    await using other: FakeBroker = await FakeBroker.start((request) => {
      asked.other++;
      request.answer(metadataOf(other));
    });
    await using cluster = clusterOf(silent, other);
    for (let i = 0; i < 5; i++) await cluster.check(never);
    assert.deepEqual(asked, { silent: 1, other: 5 });
  });

  it('that knows of no leader is asked last: it may be behind the others', async () => {
    const asked = { behind: 0, other: 0 };
    await using behind: FakeBroker = await FakeBroker.start((request) => {
      asked.behind++;
      request.answer(metadataOf(behind, -1));
    });
    await using other: FakeBroker = await FakeBroker.start((request) => {
      asked.other++;
      request.answer(metadataOf(other));
    });
    await using cluster = clusterOf(behind, other);
    const leaders: unknown[] = [];
    for (let i = 0; i < 5; i++) leaders.push((await cluster.findTopics([TOPIC], never, 'allow')).get(TOPIC)?.leaders);
    assert.deepEqual(leaders, [[-1], [1], [1], [1], [1]]);
    assert.deepEqual(asked, { behind: 1, other: 4 });
  });

  it('is asked once for one thing, although it is both known and configured', async () => {
    let asked = 0;
    await using broker: FakeBroker = await FakeBroker.start((request) => {
      if (asked++ === 0) request.answer(metadataOf(broker));
    });
    await using cluster = clusterOf(broker);
    await cluster.check(never);
    await assert.rejects(cluster.check(never), /no answer for 500 ms/);
    assert.equal(asked, 2);
  });

  it('gets more time for its replicas when they did not make it, and for topics', async () => {
    const timeoutsMs: number[] = [];
    const serve = (broker: FakeBroker, request: FakeRequest): void => {
      const r = new ByteReader(request.body);
      const w = new ByteWriter();
      if (request.apiKey === METADATA.key) {
        request.answer(metadataOf(broker));
        return;
      }
      const code = timeoutsMs.length === 3 ? 0 : REQUEST_TIMED_OUT;
      if (request.apiKey === PRODUCE.key) {
        r.nullableString(); // transactional id
        r.int16(); // acks
        timeoutsMs.push(r.int32());
        w.array([TOPIC], (topic) =>
          w.string(topic).array([0], (p) => {
            w.int32(p).int16(code);
            for (let field = 0; field < 3; field++) w.int64(0n);
            w.int32(0).string(null);
          }),
        ).int32(0);
      } else {
        assert.equal(request.apiKey, CREATE_TOPICS.key);
        timeoutsMs.push(request.body.readInt32BE(request.body.length - 5));
        w.int32(0).array([TOPIC], (topic) => w.string(topic).int16(code).string(null));
      }
      request.answer(w.finish());
    };
    await using broker: FakeBroker = await FakeBroker.start((request) => {
      serve(broker, request);
    });
    await using cluster = clusterOf(broker);
    const opened = {
      identity: { transactionalId: 'x', producerId: 1n, epoch: 0 },
      coordinator: 1,
      channel: 1,
      transactionTime: { ms: 60_000, wantedMs: 60_000 },
    };
    const producer = new Producer(cluster, opened, {
      transactional: false,
      batchLimits: new BatchLimits(),
      marks: { refused: () => undefined },
      compression: 'none',
    });
    const topic = (await cluster.findTopics([TOPIC], never)).get(TOPIC)!;
    const { parts, count } = partitionBatch(TOPIC, 0, [recordAt(1)]);
    const send = () => producer.send([{ topic, partition: 0, parts, count, bytes: 100 }], never);
    const create = () =>
      cluster.createTopics([{ topic: TOPIC, partitions: 1, replicationFactor: 1, config: {} }], never);
    await assert.rejects(send(), /REQUEST_TIMED_OUT/);
    await assert.rejects(create(), /REQUEST_TIMED_OUT/);
    await assert.rejects(send(), /REQUEST_TIMED_OUT/);
    await send();
    assert.deepEqual(timeoutsMs, [400, 800, 1_600, 3_200], 'four fifths of our patience, which doubles');
  });

  it('that falls silent while a topic is waited for is unavailable as soon as at any time', async () => {
    let asked = 0;
    await using broker: FakeBroker = await FakeBroker.start((request) => {
      if (asked++ === 0) request.answer(metadataOf(broker)); // the topic is there; whether it is led is not told
    });
    await using cluster = clusterOf(broker);
    const options = {
      createTopics: false,
      partitions: 1,
      replicationFactor: 1,
      topicConfig: {},
      schemaTopic: 's',
      lookAgainMs: 60_000,
    };
    const topics = new StreamTopics(cluster, options, keepingLogger(), never);
    const start = performance.now();
    await assert.rejects(topics.find(TOPIC, never), /no answer for/);
    assert.ok(performance.now() - start < 4 * REQUEST_TIMEOUT_MS);
  });

  it('does not keep a stop waiting for its position', async () => {
    const stop = new AbortController();
    let ends = 0;
    const fate = (apiKey: number): Fate => {
      if (apiKey !== END_TXN.key || ends++ === 0) return 'serve'; // the first says whose the tablet is
      stop.abort(new Error('stop'));
      return 'silent';
    };
    await using kafka = await ModelKafka.start({ fate });
    kafka.createTopic('s.shop.orders', 1);
    await using sink = createKafkaSink({
      ...someSidecar(),
      streamName: 's',
      brokers: kafka.brokers,
      topic: '{stream}.{table}',
      delivery: 'at-least-once',
      partitions: 1,
      replicationFactor: 1,
      createTopics: true,
      requestTimeoutMs: 30_000,
      logger: keepingLogger(),
    });
    const writer = await sink.openTablet(tabletOf('s'), never);
    const start = performance.now();
    await writer.write(batches([recordAt(1)]), positionAt(1), stop.signal);
    assert.equal(writer.saved, null);
    assert.ok(performance.now() - start < 3_000, 'the records are there');
    await writer[Symbol.asyncDispose]();
    assert.ok(performance.now() - start < 9_000, 'a few seconds for the position, and no more');
  });
});
