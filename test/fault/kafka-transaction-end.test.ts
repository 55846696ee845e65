import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKafkaSink } from '../../src/sinks/kafka/kafka-sink.ts';
import { TransactionTimes, timesToAskFor } from '../../src/sinks/kafka/transaction-time.ts';
import { END_TXN, PRODUCE } from '../../src/sinks/kafka/wire/transaction-apis.ts';
import { SinkError, type Sink } from '../../src/sinks/sink.ts';
import { positionAt, recordAt, tabletOf } from '../contract/sink.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger } from '../support/loggers.ts';
import { ModelKafka, type Fate } from '../support/model-kafka.ts';
import { someSidecar } from '../support/sink-load.ts';
import { batches } from '../support/record-batches.ts';

const TOPIC = 's.shop.orders';
const PRODUCER_FENCED = 90;
const never = new AbortController().signal;

function sinkOn(kafka: ModelKafka): Sink {
  return createKafkaSink({
    ...someSidecar(),
    streamName: 's',
    brokers: kafka.brokers,
    topic: '{stream}.{table}',
    delivery: 'exactly-once',
    partitions: 2,
    replicationFactor: 1,
    createTopics: true,
    requestTimeoutMs: 4_000,
    logger: keepingLogger(),
  });
}

/** Enough different keys for both partitions. */
const RECORDS = Array.from({ length: 20 }, (_, i) => recordAt(1, i, { key: Buffer.from(`{"id":${i}}`) }));

/** A writer of a tablet that is ours by now, of two brokers that each lead one partition; `trouble` begins behind that. */
async function withWriter(
  trouble: (apiKey: number, node: number) => Fate,
  work: (parts: { kafka: ModelKafka; sink: Sink; write: () => Promise<void> }) => Promise<void>,
): Promise<void> {
  let isTrouble = false;
  await using kafka = await ModelKafka.start({
    fate: (apiKey, node) => (isTrouble ? trouble(apiKey, node) : 'serve'),
    longestTransactionMs: 2_000,
  });
  kafka.createTopic(TOPIC, 2);
  const sink = sinkOn(kafka);
  try {
    const writer = await sink.openTablet(tabletOf('s'), never);
    await writer.write([], positionAt(0), never);
    await sleep(100);
    isTrouble = true;
    await work({ kafka, sink, write: () => writer.write(batches(RECORDS), positionAt(1), never) });
  } finally {
    await sink[Symbol.asyncDispose]();
  }
}

/** Resolves when a broker was asked to take records of a write, which goes on. */
async function isOnTheWire(kafka: ModelKafka, write: () => Promise<void>): Promise<void> {
  const before = kafka.asked.length;
  write().catch(() => undefined);
  await eventually('records are on the wire', () =>
    kafka.asked.slice(before).some(({ apiKey }) => apiKey === PRODUCE.key),
  );
}

describe('a transaction is not ended while a request of it may still arrive', () => {
  it('where the lane is closed in its midst: it is waited for, and then aborted', async () => {
    await withWriter(
      (apiKey) => (apiKey === PRODUCE.key ? { afterMs: 800 } : 'serve'),
      async ({ kafka, sink, write }) => {
        const before = kafka.ends.length;
        await isOnTheWire(kafka, write);
        const disposed = sink[Symbol.asyncDispose]();
        await sleep(50);
        assert.equal(kafka.ends.length, before, 'records are on the wire');
        await disposed;
        assert.deepEqual(
          kafka.ends.slice(before).map(({ commit }) => commit),
          [false],
        );
      },
    );
  });

  for (const fate of ['silent', 'hang-up'] as const)
    it(`where a broker is ${fate}: the next epoch ends it`, async () => {
      await withWriter(
        (apiKey, node) => (apiKey === PRODUCE.key && node === 1 ? fate : 'serve'),
        async ({ kafka, sink, write }) => {
          const before = kafka.ends.length;
          await isOnTheWire(kafka, write);
          await sink[Symbol.asyncDispose]();
          assert.equal(kafka.ends.length, before);
        },
      );
    });
});

describe('a transaction that the broker has ended', () => {
  it('when its time was over, and more is not allowed, needs a person', async () => {
    await withWriter(
      (apiKey) => (apiKey === END_TXN.key ? { refuse: PRODUCER_FENCED, afterMs: 2_200 } : 'serve'),
      async ({ write }) => {
        const error: unknown = await write().then(
          () => null,
          (e: unknown) => e,
        );
        assert.ok(error instanceof SinkError, String(error));
        assert.equal(error.kind, 'refused', error.message);
        assert.match(error.message, /60 s were asked for .* raise their transaction\.max\.timeout\.ms/);
        assert.match(
          error.message,
          /1\.9 s of its transaction\.timeout\.ms; of 2\d records sent, .* MB were acknowledged in/,
        );
      },
    );
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

describe('the time of a transaction', () => {
  it('is what brokers allow where that is less', async () => {
    await withWriter(
      () => 'serve',
      async ({ kafka, write }) => {
        await write();
        assert.deepEqual(kafka.timeoutsMs.slice(0, 6), [60_000, 30_000, 15_000, 7_500, 3_750, 1_875]);
      },
    );
  });
});
