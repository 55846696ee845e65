import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KafkaServer } from './kafka-server.ts';
import type { KafkaInstall } from './artifacts.ts';
import type { ChangeTally } from './change-tally.ts';
import { FileWatcher } from './file-watcher.ts';
import { RedisServer } from './redis-server.ts';
import type { RunningServer } from './running-server.ts';
import { StreamWatcher } from './stream-watcher.ts';
import { TopicWatcher } from './topic-watcher.ts';

/** What the demo can ship to, by how it is asked for. */
export const TARGETS = { 'to-kafka': 'Kafka', 'to-redis': 'Redis', 'to-files': 'files' } as const;

/** Where the demo ships to. */
export interface DemoTarget extends AsyncDisposable {
  readonly name: (typeof TARGETS)[keyof typeof TARGETS];
  readonly address: string;
  /** What can be killed and started again; null where there is nothing of that kind. */
  readonly server: RunningServer | null;
  /** Of the sidecars: how they find it. */
  readonly sidecarEnv: Readonly<Record<string, string>>;
  /** Of the stream. */
  readonly sink: object;
  /** What the records of a table are in, for a person: `Topic      cdc.demo.orders`. */
  placeOf(table: string): string;
  /** Reads that of the table, from its beginning on. */
  watch(table: string): Promise<AsyncDisposable & { readonly tally: ChangeTally }>;
}

/** @param kafka null where none is wanted */
export async function openTarget(
  ships: keyof typeof TARGETS,
  kafka: KafkaInstall | null,
  dir: string,
): Promise<DemoTarget> {
  if (kafka !== null) return kafkaTarget(kafka, dir);
  return ships === 'to-redis' ? redisTarget(dir) : fileTarget(dir);
}

async function kafkaTarget(install: KafkaInstall, dir: string): Promise<DemoTarget> {
  const server = await KafkaServer.start({ install, dir: join(dir, 'kafka') });
  const topicOf = (table: string): string => `cdc.${table}`;
  return {
    name: 'Kafka',
    address: server.brokers.join(','),
    server,
    sidecarEnv: { SPOOR_KAFKA_BROKERS: server.brokers.join(',') },
    sink: { type: 'kafka', topic: topicOf('{table}'), delivery: 'exactly-once', partitions: 3, replicationFactor: 1 },
    placeOf: (table) => `Topic      ${topicOf(table)}`,
    watch: (table) => Promise.resolve(new TopicWatcher(server.brokers, topicOf(table))),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function redisTarget(dir: string): Promise<DemoTarget> {
  const server = await RedisServer.start({ dir: join(dir, 'redis') });
  const keyOf = (table: string): string => `cdc.${table}`;
  return {
    name: 'Redis',
    address: `127.0.0.1:${server.port}`,
    server,
    sidecarEnv: { SPOOR_REDIS_URL: server.url },
    sink: { type: 'redis', key: keyOf('{table}') },
    placeOf: (table) => `Key        ${keyOf(table)}`,
    watch: (table) => StreamWatcher.open(server.port, keyOf(table)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function fileTarget(dir: string): Promise<DemoTarget> {
  const cdc = join(dir, 'cdc');
  await mkdir(cdc);
  return {
    name: 'files',
    address: cdc,
    server: null,
    sidecarEnv: {},
    sink: { type: 'file', dir: cdc },
    placeOf: () => `Folder     ${cdc}`,
    watch: () => Promise.resolve(new FileWatcher(cdc)),
    [Symbol.asyncDispose]: () => Promise.resolve(), // it goes with the demo's folder
  };
}
