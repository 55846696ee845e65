import { join } from 'node:path';
import { KafkaServer } from './kafka-server.ts';
import type { KafkaInstall } from './artifacts.ts';
import type { ChangeTally } from './change-tally.ts';
import { RedisServer } from './redis-server.ts';
import { StreamWatcher } from './stream-watcher.ts';
import { TopicWatcher } from './topic-watcher.ts';

/** Where the demo ships to. */
export interface DemoTarget extends AsyncDisposable {
  readonly name: 'Kafka' | 'Redis';
  readonly address: string;
  /** Of the sidecars: how they find it. */
  readonly sidecarEnv: Readonly<Record<string, string>>;
  /** Of the stream. */
  readonly sink: object;
  /** What the records of a table are in, for a person: `Topic      cdc.demo.orders`. */
  placeOf(table: string): string;
  /** Reads that of the table, from its beginning on. */
  watch(table: string): Promise<AsyncDisposable & { readonly tally: ChangeTally }>;
}

export async function kafkaTarget(install: KafkaInstall, dir: string): Promise<DemoTarget> {
  const server = await KafkaServer.start({ install, dir: join(dir, 'kafka') });
  const topicOf = (table: string): string => `cdc.${table}`;
  return {
    name: 'Kafka',
    address: server.brokers.join(','),
    sidecarEnv: { SPOOR_KAFKA_BROKERS: server.brokers.join(',') },
    sink: { type: 'kafka', topic: topicOf('{table}'), delivery: 'exactly-once', partitions: 3, replicationFactor: 1 },
    placeOf: (table) => `Topic      ${topicOf(table)}`,
    watch: async (table) => {
      const topic = topicOf(table);
      const isThere = (await server.withAdmin((admin) => admin.listTopics())).includes(topic);
      if (!isThere) await server.createTopic(topic, 3);
      return TopicWatcher.open(server.brokers, topic);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

export async function redisTarget(dir: string): Promise<DemoTarget> {
  const server = await RedisServer.start({ dir: join(dir, 'redis') });
  const keyOf = (table: string): string => `cdc.${table}`;
  return {
    name: 'Redis',
    address: `127.0.0.1:${server.port}`,
    sidecarEnv: { SPOOR_REDIS_URL: server.url },
    sink: { type: 'redis', key: keyOf('{table}') },
    placeOf: (table) => `Key        ${keyOf(table)}`,
    watch: (table) => StreamWatcher.open(server.port, keyOf(table)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
