import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import { createKafkaSink, type KafkaSinkOptions } from '../../src/sinks/kafka/kafka-sink.ts';
import { SinkError } from '../../src/sinks/sink.ts';
import { assertComplete, positionAt, recordAt, tabletOf, type SeenRecord } from '../contract/sink.ts';
import { startKafka } from '../support/cluster.ts';
import { keepingLogger } from '../support/loggers.ts';
import { seededRandom, shipLog, someSidecar } from '../support/sink-load.ts';
import { TopicReader } from '../support/topic-reader.ts';
import { batches } from '../support/record-batches.ts';

const DELIVERIES = ['exactly-once', 'at-least-once'] as const;
const KILLS = 5;
const never = new AbortController().signal;
const seed = Date.now() % 1_000_000;

let kafka: KafkaServer;
before(async () => {
  kafka = await startKafka();
});
after(async () => {
  await kafka[Symbol.asyncDispose]();
});

function sinkOf(streamName: string, changes: Partial<KafkaSinkOptions> = {}) {
  return createKafkaSink({
    ...someSidecar(),
    streamName,
    brokers: kafka.brokers,
    topic: 'cdc.{stream}.{table}',
    delivery: 'exactly-once',
    partitions: 3,
    replicationFactor: 1,
    createTopics: true,
    logger: keepingLogger(),
    ...changes,
  });
}

async function readAll(streamName: string, last: number): Promise<readonly SeenRecord[]> {
  const seen: SeenRecord[] = [];
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [`cdc.${streamName}.shop.orders`],
    onRecord: ({ key, value, headers, timestampMs }) =>
      seen.push({ key: String(key), value: value && String(value), position: headers['spoor.pos']!, timestampMs }),
  });
  const isThere = (): boolean => seen.some((record) => record.position.endsWith(`/3.${last}.0`));
  await reader.settle(isThere, { quietMs: 700, timeoutMs: 30_000 });
  return seen;
}

for (const delivery of DELIVERIES)
  describe(`Kafka ${delivery}, seed ${seed}`, () => {
    const promises = { exactlyOnce: delivery === 'exactly-once' };

    it('neither loses nor disorders, wherever the connection breaks', async () => {
      const streamName = `cut-${delivery}`;
      const random = seededRandom(seed);
      let cuts = 0;
      await using sink = sinkOf(streamName, {
        delivery,
        requestTimeoutMs: 2_000,
        // Any request may be the last of its socket: before the broker has it, while it works on it, before its answer.
        socketFactory: ({ host, port, onConnect }) => {
          const socket = connect({ host, port }, onConnect);
          const write = socket.write.bind(socket) as (bytes: Buffer, encoding: BufferEncoding) => boolean;
          socket.write = ((bytes: Buffer, encoding: BufferEncoding) => {
            const taken = write(bytes, encoding);
            if (random(12) === 0) {
              cuts++;
              setTimeout(() => socket.destroy(new Error('cut')), random(6));
            }
            return taken;
          }) as typeof socket.write;
          return socket;
        },
      });
      const kinds = new Set<string>();
      await shipLog({
        sink,
        tablet: tabletOf(streamName),
        last: 300,
        random,
        onFailure: (error) => kinds.add(error.kind),
      });
      assert.ok(cuts > 5, `${cuts} cuts`);
      assert.deepEqual([...kinds], ['unavailable'], 'a broken connection is nobody else taking over');
      assertComplete(await readAll(streamName, 300), 300, promises);
    });

    it('neither loses nor disorders when two sidecars take the tablet from each other', async () => {
      const streamName = `rivals-${delivery}`;
      await using one = sinkOf(streamName, { delivery });
      await using two = sinkOf(streamName, { delivery });
      let fenced = 0;
      const rival = (sink: typeof one, random: (n: number) => number): Promise<void> =>
        shipLog({
          sink,
          tablet: tabletOf(streamName),
          last: 80,
          random,
          onFailure: ({ kind }) => {
            assert.notEqual(kind, 'refused');
            if (kind === 'fenced') fenced++;
          },
        });
      await Promise.all([rival(one, seededRandom(seed)), rival(two, seededRandom(seed + 1))]);
      assert.ok(fenced > 0);
      assertComplete(await readAll(streamName, 80), 80, promises);
    });

    it('neither loses nor disorders when the process is killed again and again', async () => {
      const streamName = `killed-${delivery}`;
      const random = seededRandom(seed);
      const last = 2_000;
      let output = '';
      for (let round = 0; !output.endsWith('done\n'); round++) {
        assert.ok(round <= KILLS, 'the last one is left alone and ends');
        const child = spawn(
          process.execPath,
          ['--import', 'tsx', fileURLToPath(new URL('../support/sink-child.ts', import.meta.url))].concat(
            kafka.brokers[0]!,
            streamName,
            delivery,
            String(last),
            String(random(1e9)),
          ),
          { stdio: ['ignore', 'pipe', 'inherit'] },
        );
        const exited = once(child, 'exit');
        child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
        await once(child.stdout, 'data');
        if (round < KILLS) {
          await sleep(100 + random(500));
          child.kill('SIGKILL');
        }
        await exited;
      }
      assertComplete(await readAll(streamName, last), last, promises);
    });

    it('answers a frozen broker with a time-out, and goes on when it thaws', async () => {
      const streamName = `frozen-${delivery}`;
      await using sink = sinkOf(streamName, { delivery, requestTimeoutMs: 1_500 });
      {
        await using writer = await sink.openTablet(tabletOf(streamName), never);
        await writer.write(batches([recordAt(1, 0)]), positionAt(1), never);
        await kafka.freeze();
        try {
          const start = performance.now();
          await assert.rejects(
            writer.write(batches([recordAt(2, 0)]), positionAt(2), never),
            (error) => error instanceof SinkError && error.kind === 'unavailable',
          );
          assert.ok(performance.now() - start < 4_000, 'within a few seconds');
        } finally {
          kafka.thaw();
        }
      }
      await shipLog({ sink, tablet: tabletOf(streamName), last: 5, random: () => 0 });
      assertComplete(await readAll(streamName, 5), 5, promises);
    });
  });
