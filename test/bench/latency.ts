import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { TopicReader } from '../support/topic-reader.ts';
import { createStream, type Delivery } from './bench-cluster.ts';

export interface LatencyOptions {
  readonly kudu: KuduCluster;
  readonly kafka: KafkaServer;
  /** API of a sidecar. */
  readonly url: string;
  readonly delivery: Delivery;
  /** Rows a second. */
  readonly rate: number;
  readonly seconds: number;
}

/** Rows are written in small flushes, so many a second: about what a few dozen clients of an application do. */
const FLUSHES_PER_SECOND = 100;
/** Left out at the start: topics are made, connections opened, and the broker's code is still being compiled. */
const WARM_UP_MS = 20_000;

/**
 * Writes at a steady rate and measures, for each row, the time from its commit to its arrival at a `read_committed`
 * consumer: from the operation's hybrid time, which Kudu gives it before it is replicated, so Kudu's own part is in.
 */
export async function measureLatency(options: LatencyOptions): Promise<{ samplesMs: number[]; achievedRate: number }> {
  const { kudu, kafka, url, delivery, rate, seconds } = options;
  const name = `latency-${delivery}-${rate}`;
  const table = `bench_latency.${name}`;
  using client = await KuduClient.connect({ masters: kudu.masters });
  await client.createTable({
    name: table,
    columns: [
      { name: 'id', type: 'INT64', key: true },
      { name: 'amount', type: 'INT32' },
      { name: 'note', type: 'STRING' },
    ],
    hash: [{ columns: ['id'], buckets: 4 }],
    numReplicas: 3,
  });
  await createStream(url, name, table, delivery);
  const orders = await client.openTable({ name: table });
  await kafka.createTopic(name, 3).catch(() => undefined); // the stream may have been first

  const samplesMs: number[] = [];
  let measureFrom = Number.POSITIVE_INFINITY;
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [name],
    maxWaitMs: 10,
    onRecord: ({ value }) => {
      const nowMs = performance.timeOrigin + performance.now();
      if (nowMs < measureFrom || !value) return;
      // Cheaper than parsing thousands of records a second beside what is being measured.
      const at = value.indexOf('"ts_us":') + 8;
      samplesMs.push(nowMs - Number(value.toString('latin1', at, value.indexOf(',', at))) / 1000);
    },
  });
  const perFlush = rate / FLUSHES_PER_SECOND;
  const startMs = performance.now();
  const endMs = startMs + WARM_UP_MS + seconds * 1000;
  measureFrom = performance.timeOrigin + startMs + WARM_UP_MS;
  let written = 0;
  const inFlight = new Set<Promise<unknown>>();
  for (let flush = 0; performance.now() < endMs; flush++) {
    const dueMs = startMs + (flush * 1000) / FLUSHES_PER_SECOND;
    if (dueMs > performance.now()) await sleep(dueMs - performance.now());
    const rows = Array.from({ length: perFlush }, (_, i) => ({
      type: 'insert' as const,
      row: { id: BigInt(flush * perFlush + i), amount: i, note: `row ${i} of flush ${flush}` },
    }));
    const write = orders.write(rows).finally(() => inFlight.delete(write));
    inFlight.add(write);
    written += rows.length;
  }
  await Promise.all(inFlight);
  await reader.settle(() => reader.count >= written, { quietMs: 500, timeoutMs: 60_000 });
  return { samplesMs, achievedRate: written / ((performance.now() - startMs) / 1000) };
}
