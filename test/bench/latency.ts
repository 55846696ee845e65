import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { TopicReader } from '../support/topic-reader.ts';
import type { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import { createStream, tabletsOf, until, type Delivery } from './bench-cluster.ts';
import { cpuSeconds } from './process-usage.ts';

export interface LatencyOptions {
  readonly kudu: KuduCluster;
  readonly kafka: KafkaServer;
  readonly sidecars: readonly SidecarProcess[];
  /** How the cluster lets clients in, where it does not take anybody. */
  readonly client?: Partial<Parameters<typeof KuduClient.connect>[0]>;
  /** Of stream and topic, and so of the table. */
  readonly name: string;
  readonly delivery: Delivery;
  readonly tablets: number;
  readonly replicas: number;
  /** Rows a second. */
  readonly rate: number;
  /** Rows are written in small flushes, so many a second: about what a few dozen clients of an application do. */
  readonly flushesPerSecond: number;
  readonly seconds: number;
  /** What is done to them while it is measured, for no longer than that. */
  readonly meanwhile?: () => Promise<void>;
}

export interface Latency {
  readonly samplesMs: readonly number[];
  readonly achievedRate: number;
  /** Percent of a core, while it was measured. */
  readonly brokerCpu: number;
  /** Of all sidecars together. */
  readonly sidecarsCpu: number;
  /** Records whose position had come before. */
  readonly repeats: number;
}

const READY_TIMEOUT_MS = 180_000;
/** Left out at the start: topics are made, connections opened, and the broker's code is still being compiled. */
const WARM_UP_MS = 20_000;

/**
 * Writes at a steady rate and measures, for each row, the time from its commit to its arrival at a `read_committed`
 * consumer: from the operation's hybrid time, which Kudu gives it before it is replicated, so Kudu's own part is in.
 */
export async function measureLatency(options: LatencyOptions): Promise<Latency> {
  const { kudu, kafka, sidecars, name, delivery, tablets, replicas, rate, flushesPerSecond, seconds, meanwhile } =
    options;
  const table = `bench_latency.${name}`;
  using client = await KuduClient.connect({ masters: kudu.masters, timeoutMs: 60_000, ...options.client });
  await client.createTable({
    name: table,
    columns: [
      { name: 'id', type: 'INT64', key: true },
      { name: 'amount', type: 'INT32' },
      { name: 'note', type: 'STRING' },
    ],
    hash: [{ columns: ['id'], buckets: tablets }],
    numReplicas: replicas,
  });
  const { url } = sidecars[0]!;
  await createStream(url, name, table, delivery);
  await until('all tablets are shipped', READY_TIMEOUT_MS, async () => {
    const views = await tabletsOf(url, name);
    return views.length === tablets && views.every(({ state }) => state === 'running');
  });
  const orders = await client.openTable({ name: table });
  await kafka.createTopic(name, 3).catch(() => undefined); // the stream may have been first

  const samplesMs: number[] = [];
  const positions = new Set<string>();
  let repeats = 0;
  let measureFrom = Number.POSITIVE_INFINITY;
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [name],
    maxWaitMs: 10,
    onRecord: ({ value, headers }) => {
      const nowMs = performance.timeOrigin + performance.now();
      if (!value) return;
      const position = headers['spoor.pos'] ?? '';
      if (positions.has(position)) repeats++;
      else positions.add(position);
      if (nowMs < measureFrom) return;
      // Cheaper than parsing thousands of records a second beside what is being measured.
      const at = value.indexOf('"ts_us":') + 8;
      samplesMs.push(nowMs - Number(value.toString('latin1', at, value.indexOf(',', at))) / 1000);
    },
  });
  const perFlush = rate / flushesPerSecond;
  const startMs = performance.now();
  const endMs = startMs + WARM_UP_MS + seconds * 1000;
  measureFrom = performance.timeOrigin + startMs + WARM_UP_MS;
  let written = 0;
  let cpuBefore: readonly [number, number] | null = null;
  let done: Promise<void> = Promise.resolve();
  const inFlight = new Set<Promise<unknown>>();
  for (let flush = 0; performance.now() < endMs; flush++) {
    if (cpuBefore === null && performance.now() >= startMs + WARM_UP_MS) {
      cpuBefore = await cpuOf(kafka, sidecars);
      done = meanwhile?.() ?? done;
      done.catch(() => undefined); // told below
    }
    const dueMs = startMs + (flush * 1000) / flushesPerSecond;
    if (dueMs > performance.now()) await sleep(dueMs - performance.now());
    const rows = Array.from({ length: perFlush }, (_, i) => ({
      type: 'insert' as const,
      row: { id: BigInt(flush * perFlush + i), amount: i, note: `row ${i} of flush ${flush}` },
    }));
    const write = orders.write(rows).finally(() => inFlight.delete(write));
    inFlight.add(write);
    written += rows.length;
  }
  await done;
  const cpu = await cpuOf(kafka, sidecars);
  const percentOf = (at: 0 | 1): number => ((cpu[at] - (cpuBefore ?? cpu)[at]) / seconds) * 100;
  await Promise.all(inFlight);
  await reader.settle(() => reader.count >= written, { quietMs: 500, timeoutMs: 60_000 });
  const achievedRate = written / ((performance.now() - startMs) / 1000);
  return { samplesMs, achievedRate, brokerCpu: percentOf(0), sidecarsCpu: percentOf(1), repeats };
}

/** Seconds so far: of the broker, and of all sidecars. */
async function cpuOf(kafka: KafkaServer, sidecars: readonly SidecarProcess[]): Promise<readonly [number, number]> {
  const own = await Promise.all(sidecars.map(({ pid }) => cpuSeconds(pid)));
  return [await cpuSeconds(kafka.pid), own.reduce((a, b) => a + b, 0)];
}
