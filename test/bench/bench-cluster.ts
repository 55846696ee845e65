import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { fetchKafka } from '../../src/demo/artifacts.ts';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { runCommand } from '../../src/demo/run-command.ts';
import { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import type { TabletView } from '../../src/api/shapes.ts';
import { artifactOptions, startKafka } from '../support/cluster.ts';

export type Delivery = 'exactly-once' | 'at-least-once';

/** As built: what is measured is what is shipped. */
export const OWN_PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Servers {
  readonly kudu: KuduCluster;
  readonly kafka: KafkaServer;
  readonly sidecars: readonly SidecarProcess[];
}

/** One sidecar beside each tablet server. */
export async function startSidecars(
  kudu: KuduCluster,
  kafka: KafkaServer,
  dir: string,
  env: Readonly<Record<string, string>> = {},
  main = OWN_PROGRAM,
): Promise<SidecarProcess[]> {
  return Promise.all(
    kudu.tservers.map(async (tserver, number) => {
      const sidecar = await SidecarProcess.start({
        name: `sidecar-${number}`,
        command: [process.execPath, main],
        masters: kudu.masters,
        tserver,
        brokers: kafka.brokers,
        dir: join(dir, 'sidecars'),
        env: { SPOOR_LOG_LEVEL: 'warn', ...env },
      });
      await sidecar.waitUntilReady();
      return sidecar;
    }),
  );
}

/** Makes a stream of every table that matches `pattern`. @throws {Error} with the API's answer */
export async function createStream(
  url: string,
  name: string,
  pattern: string,
  delivery: Delivery,
  start: 'now' | 'snapshot' = 'now',
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const sink = kafkaSink(name, delivery);
  const response = await fetch(`${url}/v1/streams`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name, tables: [pattern], start, sink, ...more }),
  });
  if (response.status !== 201) throw new Error(`stream ${name}: ${response.status} ${await response.text()}`);
}

/** Into a topic of the stream's name. */
export function kafkaSink(stream: string, delivery: Delivery): Readonly<Record<string, unknown>> {
  return { type: 'kafka', topic: stream, delivery, partitions: 3, replicationFactor: 1, createTopics: true };
}

/** Writes rows of int64, int32 and string with Kudu's own generator, into a table that it makes in `database`. */
export async function loadgen(
  kudu: KuduCluster,
  database: string,
  rows: number,
  table: { readonly tablets: number; readonly replicas: number } = { tablets: 4, replicas: 3 },
): Promise<void> {
  const threads = 4;
  const { exitCode, output } = await kudu.kuduCli([
    'perf',
    'loadgen',
    kudu.masters.join(','),
    `--auto_database=${database}`,
    '--keep_auto_table=true',
    `--table_num_hash_partitions=${table.tablets}`,
    '--table_num_range_partitions=1',
    `--table_num_replicas=${table.replicas}`,
    `--num_threads=${threads}`,
    `--num_rows_per_thread=${rows / threads}`,
  ]);
  if (exitCode !== 0) throw new Error(`kudu perf loadgen failed:\n${output}`);
}

/** What Kafka's own producer does with records of that size, acks=all. */
export interface Ceiling {
  readonly rowsPerSecond: number;
  /** Of its own process. */
  readonly cpuSecondsPerMillion: number;
}

/**
 * Measured warm, on a broker that does nothing else: what the second half of a run costs that is twice as long, so that neither
 * the start of a JVM nor the compiling of its code is in it.
 */
export async function producerCeiling(records: number, recordBytes: number): Promise<Ceiling> {
  await using kafka = await startKafka({ lasting: true });
  await kafka.createTopic('ceiling', 3);
  await produce(kafka, records, recordBytes); // for the broker's sake
  const [half, whole] = [await produce(kafka, records, recordBytes), await produce(kafka, 2 * records, recordBytes)];
  return {
    rowsPerSecond: records / (whole.seconds - half.seconds),
    cpuSecondsPerMillion: ((whole.cpuSeconds - half.cpuSeconds) / records) * 1e6,
  };
}

async function produce(
  kafka: KafkaServer,
  records: number,
  recordBytes: number,
): Promise<{ readonly seconds: number; readonly cpuSeconds: number }> {
  const install = await fetchKafka(await artifactOptions());
  const startMs = performance.now();
  // The shell says what its children have used.
  const { exitCode, output } = await runCommand('bash', [
    '-c',
    '"$@" && times',
    'bash',
    install.java,
    '-Xmx512m',
    '-cp',
    install.classPath,
    'org.apache.kafka.tools.ProducerPerformance',
    '--topic=ceiling',
    `--num-records=${records}`,
    `--record-size=${recordBytes}`,
    '--throughput=-1',
    '--producer-props',
    `bootstrap.servers=${kafka.brokers.join(',')}`,
    'acks=all',
  ]);
  const children = /(\d+)m([\d.]+)s (\d+)m([\d.]+)s\s*$/.exec(output);
  if (exitCode !== 0 || !children) throw new Error(`ProducerPerformance failed:\n${output}`);
  const [userMin, userS, systemMin, systemS] = children.slice(1).map(Number) as [number, number, number, number];
  const cpuSeconds = 60 * (userMin + systemMin) + userS + systemS;
  return { seconds: (performance.now() - startMs) / 1000, cpuSeconds };
}

/** Records that the sidecars say are acknowledged for a stream, summed. */
export async function shippedRecords(sidecars: readonly SidecarProcess[], stream: string): Promise<number> {
  const pages = await Promise.all(
    sidecars.map(async ({ url }) => (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(10_000) })).text()),
  );
  let sum = 0;
  for (const page of pages)
    for (const line of page.split('\n'))
      if (line.startsWith('spoor_records_shipped_total{') && line.includes(`stream="${stream}"`))
        sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  return sum;
}

export async function tabletsOf(url: string, stream: string): Promise<readonly TabletView[]> {
  const response = await fetch(`${url}/v1/streams/${stream}`, { signal: AbortSignal.timeout(10_000) });
  return ((await response.json()) as { readonly tablets: readonly TabletView[] }).tablets;
}

/** @throws {Error} when it is not so within that time */
export async function until(what: string, timeoutMs: number, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs / 1000} s: ${what}`);
    await sleep(100);
  }
}
