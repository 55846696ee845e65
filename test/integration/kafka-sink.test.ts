import { after, before } from 'node:test';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import { createKafkaSink } from '../../src/sinks/kafka/kafka-sink.ts';
import { describeSink, type SeenRecord } from '../contract/sink.ts';
import { startKafka } from '../support/cluster.ts';
import { someSidecar } from '../support/sink-load.ts';
import { keepingLogger } from '../support/loggers.ts';
import { TopicReader } from '../support/topic-reader.ts';

let kafka: KafkaServer;
before(async () => {
  kafka = await startKafka();
});
after(async () => {
  await kafka[Symbol.asyncDispose]();
});

async function read(streamName: string, count: number): Promise<readonly SeenRecord[]> {
  const seen: SeenRecord[] = [];
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [`cdc.${streamName}.shop.orders`],
    onRecord: ({ key, value, headers, timestampMs }) =>
      seen.push({
        key: key!.toString(),
        value: value?.toString() ?? null,
        position: headers['spoor.pos']!,
        timestampMs,
      }),
  });
  await reader.settle(() => seen.length >= count, { quietMs: 500, timeoutMs: 30_000 });
  return seen;
}

for (const delivery of ['exactly-once', 'at-least-once'] as const)
  describeSink(
    `Kafka ${delivery}`,
    () => ({
      open: (streamName) =>
        createKafkaSink({
          ...someSidecar(),
          streamName,
          brokers: kafka.brokers,
          topic: 'cdc.{stream}.{table}',
          delivery,
          partitions: 3,
          replicationFactor: 1,
          createTopics: true,
          requestTimeoutMs: 3_000,
          logger: keepingLogger(),
        }),
      read,
      duringOutage: async (work) => {
        await kafka.kill();
        try {
          await work();
        } finally {
          await kafka.restart();
        }
      },
    }),
    { exactlyOnce: delivery === 'exactly-once' },
  );
