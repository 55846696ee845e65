import { setTimeout as sleep } from 'node:timers/promises';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import type { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import { TopicReader } from '../support/topic-reader.ts';
import { createStream, loadgen, shippedRecords, type Delivery, type Servers } from './bench-cluster.ts';
import { cpuSeconds, peakMemoryMib } from './process-usage.ts';

const DRAIN_TIMEOUT_MS = 600_000;
/** To look takes 2 ms of a sidecar's CPU: ten times a second is for when the first row comes and for when the last is near. */
const LOOK_MS = 100;
const SELDOM_MS = 1_000;
const NEAR_THE_END = 0.75;

export interface Drain {
  readonly what: string;
  readonly rowsPerSecond: number;
  /** Of all sidecars together. */
  readonly cpuSecondsPerMillion: number;
  /** Of the largest of them. */
  readonly peakMib: number;
}

export interface Backlog {
  readonly drains: readonly Drain[];
  readonly recordBytes: number;
}

/** How fast a backlog of `rows` is shipped, in each delivery, and then the same rows as a base copy. */
export async function measureBacklog(
  servers: Servers,
  rows: number,
  deliveries: readonly Delivery[],
): Promise<Backlog> {
  const { kafka, sidecars } = servers;
  const drains: Drain[] = [];
  for (const delivery of deliveries) drains.push(await measureDrain(servers, rows, delivery));
  drains.push(await measureCopy(sidecars, rows, deliveries[0]!));
  return { drains, recordBytes: await meanRecordBytes(kafka, `drain-${deliveries[0]!}`) };
}

async function measureDrain({ kudu, sidecars }: Servers, rows: number, delivery: Delivery): Promise<Drain> {
  const stream = `drain-${delivery}`;
  const database = databaseOf(delivery);
  await createStream(sidecars[0]!.url, stream, `${database}.*`, delivery);
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  await loadgen(kudu, database, rows);
  await Promise.all(sidecars.map((sidecar) => sidecar.restart()));
  const cpuBefore = await cpuOf(sidecars);
  return measureShipping(sidecars, stream, rows, `drain, ${delivery}`, cpuBefore);
}

/** The rows that a drain has left in its table, copied into another stream. */
async function measureCopy(sidecars: readonly SidecarProcess[], rows: number, delivery: Delivery): Promise<Drain> {
  const stream = `copy-${delivery}`;
  const cpuBefore = await cpuOf(sidecars);
  await createStream(sidecars[0]!.url, stream, `${databaseOf(delivery)}.*`, delivery, 'snapshot');
  return measureShipping(sidecars, stream, rows, `base copy, ${delivery}`, cpuBefore);
}

/** From the first record on, until all rows are acknowledged. */
export async function measureShipping(
  sidecars: readonly SidecarProcess[],
  stream: string,
  rows: number,
  what: string,
  cpuBefore: number,
): Promise<Drain> {
  let first: { atMs: number; count: number } | null = null;
  const deadline = performance.now() + DRAIN_TIMEOUT_MS;
  for (;;) {
    const count = await shippedRecords(sidecars, stream);
    const atMs = performance.now();
    if (count > 0) first ??= { atMs, count };
    if (first && count >= rows) {
      const cpu = (await cpuOf(sidecars)) - cpuBefore;
      const peaks = await Promise.all(sidecars.map(({ pid }) => peakMemoryMib(pid)));
      return {
        what,
        rowsPerSecond: ((rows - first.count) / (atMs - first.atMs)) * 1000,
        cpuSecondsPerMillion: (cpu / rows) * 1e6,
        peakMib: Math.max(...peaks),
      };
    }
    if (atMs > deadline) throw new Error(`${stream}: ${count} of ${rows} rows after ${DRAIN_TIMEOUT_MS / 1000} s`);
    await sleep(count === 0 || count > NEAR_THE_END * rows ? LOOK_MS : SELDOM_MS);
  }
}

async function cpuOf(sidecars: readonly SidecarProcess[]): Promise<number> {
  const seconds = await Promise.all(sidecars.map(({ pid }) => cpuSeconds(pid)));
  return seconds.reduce((a, b) => a + b, 0);
}

function databaseOf(delivery: Delivery): string {
  return `bench_${delivery.replaceAll('-', '_')}`;
}

async function meanRecordBytes(kafka: KafkaServer, topic: string): Promise<number> {
  let bytes = 0;
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [topic],
    onRecord: ({ key, value }) => (bytes += (key?.length ?? 0) + (value?.length ?? 0)),
  });
  await reader.settle(() => reader.count >= 1000, { quietMs: 0, timeoutMs: 60_000 });
  return Math.round(bytes / reader.count);
}
