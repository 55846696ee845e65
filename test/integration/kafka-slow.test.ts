import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import { createKafkaSink } from '../../src/sinks/kafka/kafka-sink.ts';
import { SinkError, type Sink, type SinkTablet, type TabletWriter } from '../../src/sinks/sink.ts';
import { assertComplete, positionAt, recordAt, tabletOf, type SeenRecord } from '../contract/sink.ts';
import { startKafka } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { someSidecar } from '../support/sink-load.ts';
import { keepingLogger } from '../support/loggers.ts';
import { SlowProxy } from '../support/slow-proxy.ts';
import { TopicReader } from '../support/topic-reader.ts';
import { batches } from '../support/record-batches.ts';

/**
 * Every answer takes much longer than a socket may be silent at first, and the three round trips of a transaction take
 * longer than a writer that is closed has for its last position.
 */
const REQUEST_TIMEOUT_MS = 400;
const ANSWER_MS = 1_200;
const OPERATIONS = 3;
/** Patience is doubled twice, for the address that is configured; some more where the machine is slow besides. */
const MOST_FAILURES = 5;
const never = new AbortController().signal;

let kafka: KafkaServer;
let proxy: SlowProxy;
before(async () => {
  kafka = await startKafka();
  const [host, port] = kafka.brokers[0]!.split(':');
  proxy = await SlowProxy.start({ host: host!, port: Number(port) }, ANSWER_MS);
});
after(async () => {
  await proxy[Symbol.asyncDispose]();
  await kafka[Symbol.asyncDispose]();
});

async function readAll(streamName: string): Promise<readonly SeenRecord[]> {
  const seen: SeenRecord[] = [];
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [`${streamName}.shop.orders`],
    onRecord: ({ key, value, headers, timestampMs }) =>
      seen.push({ key: String(key), value: value && String(value), position: headers['spoor.pos']!, timestampMs }),
  });
  await reader.settle(() => seen.length >= OPERATIONS, { quietMs: 700, timeoutMs: 30_000 });
  return seen;
}

/** Both wait for answers nearly all the time, so they do that side by side. */
describe('a broker that needs longer for every answer than a healthy one may be silent', { concurrency: true }, () => {
  for (const delivery of ['exactly-once', 'at-least-once'] as const)
    it(`gets everything once, in order, and the position; a stop does not wait for it: ${delivery}`, async () => {
      const streamName = `slow-${delivery}`;
      await using sink = createKafkaSink({
        ...someSidecar(),
        streamName,
        brokers: kafka.brokers,
        topic: '{stream}.{table}',
        delivery,
        partitions: 3,
        replicationFactor: 1,
        createTopics: true,
        requestTimeoutMs: REQUEST_TIMEOUT_MS,
        socketFactory: ({ onConnect }) => proxy.connect(onConnect),
        logger: keepingLogger(),
      });
      const failures: SinkError[] = [];
      let writer = await open(sink, tabletOf(streamName), failures);
      for (let index = 1; index <= OPERATIONS;) {
        try {
          await writer.write(batches([recordAt(index, index % 3)]), positionAt(index), never);
          index++;
        } catch (error) {
          assert.ok(error instanceof SinkError);
          failures.push(error);
          await writer[Symbol.asyncDispose]();
          writer = await open(sink, tabletOf(streamName), failures);
          assert.equal(writer.position?.opId.index ?? 0n, BigInt(index - 1));
        }
      }
      assert.ok(failures.length <= MOST_FAILURES, failures.map(({ message }) => message).join('\n'));
      assert.ok(failures.every(({ kind }) => kind === 'unavailable'));
      const last = positionAt(OPERATIONS);
      await eventually('the position is saved', () =>
        isDeepStrictEqual(writer.saved === undefined ? last : writer.saved, last),
      );
      assertComplete(await readAll(streamName), OPERATIONS, { exactlyOnce: true });

      const stop = new AbortController();
      const cut = writer.write(batches([recordAt(OPERATIONS + 1)]), positionAt(OPERATIONS + 1), stop.signal);
      setTimeout(() => {
        stop.abort(new Error('stop'));
      }, ANSWER_MS / 2);
      await assert.rejects(cut, SinkError);
      const start = performance.now();
      await writer[Symbol.asyncDispose]();
      await sink[Symbol.asyncDispose]();
      assert.ok(performance.now() - start < 5_000, 'within a few seconds');
    });
});

/** As the core does, which never loses patience itself; a test does. */
async function open(sink: Sink, tablet: SinkTablet, failures: SinkError[]): Promise<TabletWriter> {
  for (;;) {
    try {
      return await sink.openTablet(tablet, never);
    } catch (error) {
      assert.ok(error instanceof SinkError);
      failures.push(error);
      assert.ok(failures.length <= MOST_FAILURES, failures.map(({ message }) => message).join('\n'));
    }
  }
}
