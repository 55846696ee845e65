import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AtLeastOnceWriter } from '../../src/sinks/kafka/at-least-once-writer.ts';
import { KafkaCluster } from '../../src/sinks/kafka/cluster.ts';
import { toSinkError } from '../../src/sinks/kafka/kafka-error.ts';
import { BatchLimits, TabletProducer, type StreamContext } from '../../src/sinks/kafka/tablet-producer.ts';
import type { TakenTablet } from '../../src/sinks/kafka/take-over.ts';
import { TransactionTimes } from '../../src/sinks/kafka/transaction-time.ts';
import { StreamTopics } from '../../src/sinks/kafka/topics.ts';
import {
  ADD_OFFSETS_TO_TXN,
  CREATE_TOPICS,
  END_TXN,
  LIST_OFFSETS,
  METADATA,
  PRODUCE,
  TXN_OFFSET_COMMIT,
} from '../../src/sinks/kafka/wire/apis.ts';
import { ByteReader, ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import { positionAt, recordAt, tabletOf } from '../contract/sink.ts';
import { FakeBroker, type FakeRequest } from '../support/fake-broker.ts';
import { keepingLogger } from '../support/loggers.ts';

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
function metadataOf(broker: FakeBroker): Buffer {
  const { host, port } = broker.address;
  const w = new ByteWriter().int32(0);
  w.array([1], (id) => w.int32(id).string(host).int32(port).string(null));
  w.string('id').int32(1);
  w.array([TOPIC], (topic) =>
    w
      .int16(0)
      .string(topic)
      .boolean(false)
      .array([0], (p) => w.int16(0).int32(p).int32(1).int32(0).int32(0).int32(0)),
  );
  return w.finish();
}

function contextOf(cluster: KafkaCluster): StreamContext {
  const options = { createTopics: false, partitions: 1, replicationFactor: 1, schemaTopic: 's', lookAgainMs: 60_000 };
  return {
    cluster,
    topics: new StreamTopics(cluster, options, keepingLogger(), never),
    nameTopic: () => TOPIC,
    batchLimits: new BatchLimits(),
    transactionTimes: new TransactionTimes(),
    logger: keepingLogger(),
    sinkId: () => '',
    clashOf: () => null,
    warnOfSharedTopics: () => undefined,
    warnOfMissingSchemaTopic: () => undefined,
    failure: toSinkError,
  };
}

const TAKEN: TakenTablet = {
  identity: { transactionalId: 'x', producerId: 1n, epoch: 0 },
  coordinator: 1,
  groupCoordinator: 1,
  lane: 1,
  transactionTime: { ms: 60_000, wantedMs: 60_000 },
  offsets: [],
};

/** As a broker that takes every record and position. */
function take(broker: FakeBroker, request: FakeRequest): void {
  const w = new ByteWriter();
  switch (request.apiKey) {
    case METADATA.key:
      request.answer(metadataOf(broker));
      return;
    case LIST_OFFSETS.key:
      w.int32(0).array([TOPIC], (topic) => w.string(topic).array([0], (p) => w.int32(p).int16(0).int64(0n).int64(0n)));
      break;
    case PRODUCE.key:
      w.array([TOPIC], (topic) =>
        w.string(topic).array([0], (p) => w.int32(p).int16(0).int64(0n).int64(0n).int64(0n).int32(0).string(null)),
      ).int32(0);
      break;
    case TXN_OFFSET_COMMIT.key:
      w.int32(0).array([TOPIC], (topic) => w.string(topic).array([0], (p) => w.int32(p).int16(0)));
      break;
    default:
      assert.ok([ADD_OFFSETS_TO_TXN.key, END_TXN.key].includes(request.apiKey), `request ${request.apiKey}`);
      w.int32(0).int16(0);
  }
  request.answer(w.finish());
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
    const producer = new TabletProducer(contextOf(cluster), TAKEN, { transactional: false });
    const topic = (await cluster.findTopics([TOPIC], never)).get(TOPIC)!;
    const send = () => producer.send([{ topic, partition: 0, records: [recordAt(1)], bytes: 100 }], never);
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
    const { topics } = contextOf(cluster);
    const start = performance.now();
    await assert.rejects(topics.find(TOPIC, never), /no answer for/);
    assert.ok(performance.now() - start < 4 * REQUEST_TIMEOUT_MS);
  });

  it('is given one position after the other, however long each takes', async () => {
    let isOpen = false;
    let ends = 0;
    await using broker: FakeBroker = await FakeBroker.start((request) => {
      if (request.apiKey === ADD_OFFSETS_TO_TXN.key) {
        assert.ok(!isOpen, 'a producer has one transaction at a time');
        isOpen = true;
      }
      // Longer than it is until the next position is due.
      if (request.apiKey !== END_TXN.key) take(broker, request);
      else
        setTimeout(() => {
          isOpen = false;
          ends++;
          take(broker, request);
        }, 1_300);
    });
    await using cluster = clusterOf(broker);
    await cluster.check(never);
    cluster.patienceWith(1).ranOut(10_000, performance.now());
    const stream = contextOf(cluster);
    const producer = new TabletProducer(stream, TAKEN, { transactional: false });
    await using writer = new AtLeastOnceWriter(stream, producer, tabletOf('s'), null, { last: null });
    for (let index = 1; ends < 3; index++) {
      await writer.write([[recordAt(index)]], positionAt(index), never);
      await sleep(100);
    }
  });

  it('does not keep a stop waiting for its position', async () => {
    await using broker: FakeBroker = await FakeBroker.start((request) => {
      if (request.apiKey === END_TXN.key) stop.abort(new Error('stop'));
      else take(broker, request);
    });
    const stop = new AbortController();
    await using cluster = clusterOf(broker);
    await cluster.check(never);
    cluster.patienceWith(1).ranOut(10_000, performance.now());
    const stream = contextOf(cluster);
    const producer = new TabletProducer(stream, TAKEN, { transactional: false });
    const writer = new AtLeastOnceWriter(stream, producer, tabletOf('s'), null, { last: null });
    const start = performance.now();
    await writer.write([[recordAt(1)]], positionAt(1), stop.signal);
    assert.equal(writer.saved, null);
    assert.ok(performance.now() - start < 2_000, 'the records are there');
    await writer[Symbol.asyncDispose]();
    assert.ok(performance.now() - start < 6_000, 'a few seconds for the position, and no more');
  });
});
