import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KafkaCluster } from '../../src/sinks/kafka/cluster.ts';
import { ExactlyOnceWriter } from '../../src/sinks/kafka/exactly-once-writer.ts';
import { toSinkError } from '../../src/sinks/kafka/kafka-error.ts';
import { BatchLimits, TabletProducer, type StreamContext } from '../../src/sinks/kafka/tablet-producer.ts';
import { TransactionTimes, timesToAskFor } from '../../src/sinks/kafka/transaction-time.ts';
import { StreamTopics } from '../../src/sinks/kafka/topics.ts';
import {
  ADD_OFFSETS_TO_TXN,
  ADD_PARTITIONS_TO_TXN,
  END_TXN,
  LIST_OFFSETS,
  METADATA,
  PRODUCE,
  TXN_OFFSET_COMMIT,
} from '../../src/sinks/kafka/wire/apis.ts';
import { ByteReader, ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import { SinkError } from '../../src/sinks/sink.ts';
import { positionAt, recordAt, tabletOf } from '../contract/sink.ts';
import { FakeBroker, type FakeRequest } from '../support/fake-broker.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';

const REQUEST_TIMEOUT_MS = 500;
const TOPIC = 'cdc.t';
const SCHEMA_TOPIC = 'schema-changes';
const NOT_LEADER = 6;
const PRODUCER_FENCED = 90;
const CONCURRENT_TRANSACTIONS = 51;
const UNKNOWN_TOPIC = 3;
const never = new AbortController().signal;

interface World extends AsyncDisposable {
  readonly writer: ExactlyOnceWriter;
  /** What came, in its order: api key and node. */
  readonly asked: { readonly apiKey: number; readonly node: number }[];
  readonly times: TransactionTimes;
  readonly lines: LogLine[];
  readonly count: (apiKey: number) => number;
}

/** What a broker does with a request: the error code of its answer, or no answer yet. */
type Play = (request: FakeRequest, node: number, answer: (errorCode: number, throttleMs?: number) => void) => void;

const obliging: Play = (_request, _node, answer) => {
  answer(0);
};

/** A writer, and a cluster of two brokers of which each leads one of the topic's two partitions. */
async function start(play: Play, options: { grantedMs?: number; wantedMs?: number } = {}): Promise<World> {
  const asked: World['asked'] = [];
  const lines: LogLine[] = [];
  const brokers: FakeBroker[] = [];
  const serve =
    (node: number) =>
    (request: FakeRequest): void => {
      asked.push({ apiKey: request.apiKey, node });
      play(request, node, (errorCode, throttleMs = 0) => {
        request.answer(answerTo(request, errorCode, throttleMs));
      });
    };
  const answerTo = ({ apiKey, body }: FakeRequest, errorCode: number, throttleMs: number): Buffer => {
    const w = new ByteWriter();
    const partitions = <T>(topics: readonly { topic: string; partitions: T[] }[], fields: (p: T) => void): void => {
      w.array(topics, ({ topic, partitions: ps }) => w.string(topic).array(ps, (p) => (fields(p), w)));
    };
    const r = new ByteReader(body);
    switch (apiKey) {
      case METADATA.key: {
        const topics = r.array(() => r.string());
        w.int32(0).array(brokers, ({ address: { host, port } }) =>
          w
            .int32(brokers.findIndex(({ address }) => address.port === port))
            .string(host)
            .int32(port)
            .string(null),
        );
        w.string('id').int32(0);
        w.array(topics, (topic) => {
          const isMissing = topic === SCHEMA_TOPIC;
          w.int16(isMissing ? UNKNOWN_TOPIC : 0)
            .string(topic)
            .boolean(false);
          return w.array(isMissing ? [] : [0, 1], (p) => w.int16(0).int32(p).int32(p).int32(0).int32(0).int32(0));
        });
        break;
      }
      case LIST_OFFSETS.key:
        w.int32(0);
        partitions([{ topic: TOPIC, partitions: [0, 1] }], (p) => w.int32(p).int16(0).int64(0n).int64(0n));
        break;
      case PRODUCE.key:
        partitions([{ topic: TOPIC, partitions: [0] }], (p) =>
          w.int32(p).int16(errorCode).int64(0n).int64(0n).int64(0n).int32(0).string(null),
        );
        w.int32(throttleMs);
        break;
      case TXN_OFFSET_COMMIT.key:
        w.int32(throttleMs);
        partitions([{ topic: TOPIC, partitions: [0] }], (p) => w.int32(p).int16(errorCode));
        break;
      case ADD_PARTITIONS_TO_TXN.key:
        w.int32(throttleMs);
        partitions([{ topic: TOPIC, partitions: [0] }], (p) => w.int32(p).int16(errorCode));
        break;
      default:
        assert.ok([ADD_OFFSETS_TO_TXN.key, END_TXN.key].includes(apiKey), `request ${apiKey}`);
        w.int32(throttleMs).int16(errorCode);
    }
    return w.finish();
  };
  for (const node of [0, 1]) {
    const broker = await FakeBroker.start(serve(node));
    broker.maxVersionOf.set(METADATA.key, 9); // without topic ids
    brokers.push(broker);
  }
  const cluster = new KafkaCluster(
    brokers.map(({ address: { host, port } }) => `${host}:${port}`),
    { clientId: 'test', connectTimeoutMs: 500, requestTimeoutMs: REQUEST_TIMEOUT_MS, logger: keepingLogger(lines) },
  );
  const topicOptions = { createTopics: false, partitions: 1, replicationFactor: 1, schemaTopic: SCHEMA_TOPIC };
  const stream: StreamContext = {
    cluster,
    topics: new StreamTopics(cluster, { ...topicOptions, lookAgainMs: 1_000 }, keepingLogger(), never),
    nameTopic: () => TOPIC,
    batchLimits: new BatchLimits(),
    transactionTimes: new TransactionTimes(),
    logger: keepingLogger(lines),
    sinkId: () => '',
    clashOf: () => null,
    warnOfSharedTopics: () => undefined,
    warnOfMissingSchemaTopic: () => undefined,
    failure: toSinkError,
  };
  const ms = options.grantedMs ?? 60_000;
  const producer = new TabletProducer(
    stream,
    {
      identity: { transactionalId: 'x', producerId: 1n, epoch: 0 },
      coordinator: 0,
      groupCoordinator: 0,
      lane: 1,
      transactionTime: { ms, wantedMs: options.wantedMs ?? ms },
      offsets: [],
    },
    { transactional: true },
  );
  const writer = new ExactlyOnceWriter(stream, producer, tabletOf('s'), null);
  return {
    writer,
    asked,
    times: stream.transactionTimes,
    lines,
    count: (apiKey) => asked.filter((request) => request.apiKey === apiKey).length,
    async [Symbol.asyncDispose]() {
      await cluster[Symbol.asyncDispose]();
      for (const broker of brokers) await broker[Symbol.asyncDispose]();
    },
  };
}

/** Enough different keys for both partitions. */
const RECORDS = Array.from({ length: 20 }, (_, i) => recordAt(1, i, { key: Buffer.from(`{"id":${i}}`) }));

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(5);
}

describe('a transaction is not ended while a request of it may still arrive', () => {
  it('of a write that was cut short: it is waited for', async () => {
    const held: (() => void)[] = [];
    await using world = await start((request, _node, answer) => {
      if (request.apiKey !== PRODUCE.key) answer(0);
      else
        held.push(() => {
          answer(0);
        });
    });
    const { writer, count } = world;
    const stop = new AbortController();
    const write = writer.write([RECORDS], positionAt(1), stop.signal);
    write.catch(() => undefined);
    await until(() => held.length === 2);
    stop.abort(new Error('the sidecar stops'));
    await assert.rejects(write, /the sidecar stops/);
    const disposed = writer[Symbol.asyncDispose]();
    await sleep(100);
    assert.equal(count(END_TXN.key), 0, 'records are on the wire');
    for (const answer of held) answer();
    await disposed;
    assert.equal(count(END_TXN.key), 1, 'they are there: it can be aborted');
  });

  it('where one leader refuses and the other has not answered yet', async () => {
    const held: (() => void)[] = [];
    await using world = await start((request, node, answer) => {
      if (request.apiKey === PRODUCE.key && node === 1)
        held.push(() => {
          answer(0);
        });
      else answer(request.apiKey === PRODUCE.key ? NOT_LEADER : 0);
    });
    const { writer, count } = world;
    await assert.rejects(writer.write([RECORDS], positionAt(1), never), /NOT_LEADER/);
    await until(() => held.length === 1);
    const disposed = writer[Symbol.asyncDispose]();
    await sleep(100);
    assert.equal(count(END_TXN.key), 0);
    for (const answer of held) answer();
    await disposed;
    assert.equal(count(END_TXN.key), 1);
  });

  it('where a broker fell silent or hung up: the next fence ends it', async () => {
    for (const hangsUp of [false, true]) {
      await using world = await start((request, _node, answer) => {
        if (request.apiKey !== PRODUCE.key) answer(0);
        else if (hangsUp) request.hangUp();
      });
      const { writer, count } = world;
      await assert.rejects(writer.write([RECORDS], positionAt(1), never), SinkError);
      await writer[Symbol.asyncDispose]();
      assert.equal(count(END_TXN.key), 0);
    }
  });

  it('nor is anything asked behind the end by a step that would try again', async () => {
    await using world = await start((request, _node, answer) => {
      if (request.apiKey === ADD_OFFSETS_TO_TXN.key) answer(CONCURRENT_TRANSACTIONS);
      else answer(request.apiKey === ADD_PARTITIONS_TO_TXN.key ? UNKNOWN_TOPIC : 0);
    });
    const { writer, asked } = world;
    await assert.rejects(writer.write([RECORDS], positionAt(1), never), /UNKNOWN_TOPIC/);
    await writer[Symbol.asyncDispose]();
    await sleep(100);
    assert.equal(asked.at(-1)!.apiKey, END_TXN.key);
  });
});

describe('a transaction that the broker has ended', () => {
  const endedAfter =
    (ms: number, throttleMs = 0): Play =>
    (request, _node, answer) => {
      if (request.apiKey !== END_TXN.key) answer(0, throttleMs);
      else
        setTimeout(() => {
          answer(PRODUCER_FENCED);
        }, ms);
    };
  const failed = async ({ writer }: World): Promise<SinkError> => {
    const error: unknown = await writer.write([RECORDS], positionAt(1), never).then(
      () => null,
      (e: unknown) => e,
    );
    assert.ok(error instanceof SinkError, String(error));
    return error;
  };

  it('in its time belongs to another writer by now', async () => {
    await using world = await start(endedAfter(0), { grantedMs: 5_000 });
    const { kind, message } = await failed(world);
    assert.equal(kind, 'fenced', message);
    assert.equal(world.times.wantedMs('x'), 0);
  });

  it('when its time was over is tried again with more, and says what took so long', async () => {
    await using world = await start(endedAfter(350, 100), { grantedMs: 300 });
    const { kind, message } = await failed(world);
    assert.equal(kind, 'unavailable', message);
    assert.match(
      message,
      /0\.3 s of its transaction\.timeout\.ms; of 20 records sent, .* MB were acknowledged in .* s/,
    );
    assert.match(message, /a quota of the brokers slows us down \(it made us wait 100 ms/);
    assert.match(message, /the next try asks for 1\.2 s/);
    assert.equal(world.times.wantedMs('x'), 1_200);
  });

  it('when its time was over, and more is not allowed, needs a person', async () => {
    await using world = await start(endedAfter(350), { grantedMs: 300, wantedMs: 1_200 });
    const { kind, message } = await failed(world);
    assert.equal(kind, 'refused');
    assert.match(message, /1\.2 s were asked for .* raise their transaction\.max\.timeout\.ms/);
  });

  it('is given as much as brokers allow as shipped before more than that is tried', () => {
    const times = new TransactionTimes();
    let ms = 60_000;
    const wanted = [1, 2, 3].map(() => (ms = times.ranOut('x', { ms, wantedMs: ms })));
    assert.deepEqual(wanted, [240_000, 900_000, 3_600_000]);
    assert.deepEqual([...timesToAskFor(3_600_000)].slice(0, 3), [3_600_000, 900_000, 450_000]);
    assert.equal([...timesToAskFor(3_600_000)].at(-1), 1_757);
  });
});

describe('a quota', () => {
  it('is no silence, however long it makes us wait with requests on the way', async () => {
    let heldUntilMs = 0;
    await using world = await start((request, node, answer) => {
      // As a broker that reads no more of this socket until the wait is over.
      const waitMs = Math.max(0, heldUntilMs - performance.now());
      if (request.apiKey === ADD_OFFSETS_TO_TXN.key) heldUntilMs = performance.now() + 3 * REQUEST_TIMEOUT_MS;
      setTimeout(
        () => {
          answer(0, request.apiKey === ADD_OFFSETS_TO_TXN.key ? 3 * REQUEST_TIMEOUT_MS : 0);
        },
        node === 0 ? waitMs : 0,
      );
    });
    const other = world.writer.write([RECORDS], positionAt(1), never);
    await other;
    const warnings = world.lines.filter(({ level }) => level === 'warn');
    assert.equal(warnings.length, 1, 'said once, whatever the number of waits');
  });
});

describe('a schema topic that is missing and may not be made', () => {
  it('is not asked for by every transaction', async () => {
    await using world = await start(obliging);
    const { writer, count } = world;
    await writer.write([RECORDS], positionAt(1), never);
    const asked = count(METADATA.key);
    for (let i = 2; i <= 10; i++) await writer.write([RECORDS], positionAt(i), never);
    assert.ok(count(METADATA.key) <= asked + 1, `${count(METADATA.key) - asked} questions of 9 transactions`);
    await sleep(1_050);
    const before = count(METADATA.key);
    await writer.write([RECORDS], positionAt(11), never);
    assert.ok(count(METADATA.key) > before, 'it is looked for again, now and then');
  });
});
