import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { fetchKafka } from '../../src/demo/artifacts.ts';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { runCommand } from '../../src/demo/run-command.ts';
import { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import type { TabletView } from '../../src/api/shapes.ts';
import { artifactOptions } from '../support/cluster.ts';

export type Delivery = 'exactly-once' | 'at-least-once';

/** As built: what is measured is what is shipped. */
export const OWN_PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

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
): Promise<void> {
  const sink = { type: 'kafka', topic: name, delivery, partitions: 3, replicationFactor: 1, createTopics: true };
  const response = await fetch(`${url}/v1/streams`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name, tables: [pattern], start, sink }),
  });
  if (response.status !== 201) throw new Error(`stream ${name}: ${response.status} ${await response.text()}`);
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

/** Records a second that Kafka's own producer reaches with records of that size, acks=all. */
export async function producerCeiling(kafka: KafkaServer, records: number, recordBytes: number): Promise<number> {
  const install = await fetchKafka(await artifactOptions());
  await kafka.createTopic('ceiling', 3);
  const { exitCode, output } = await runCommand(install.java, [
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
  const rates = [...output.matchAll(/([\d.,]+) records\/sec/g)].map((match) => Number(match[1]!.replaceAll(',', '')));
  const last = rates.at(-1);
  if (exitCode !== 0 || last === undefined) throw new Error(`ProducerPerformance failed:\n${output}`);
  return last;
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
