import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import type { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { startKafka, startKudu } from '../support/cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';
import {
  OWN_PROGRAM,
  createStream,
  loadgen,
  producerCeiling,
  shippedRecords,
  startSidecars,
  type Delivery,
} from './bench-cluster.ts';
import { measureLatency } from './latency.ts';
import { measureManyTablets } from './many-tablets.ts';
import { measureIdleTablets, measureRollingRestart, measureTabletCounts } from './tablet-counts.ts';
import { percentile } from './percentiles.ts';
import { cpuSeconds, peakMemoryMib } from './process-usage.ts';
import { measureWriteThroughput, type WriteRate, type WriteThroughput } from './write-throughput.ts';

/*
 * Measures Spoor on real servers in one run: how fast a backlog drains, what that costs, and how long a change takes
 * from its commit in Kudu to a read_committed consumer; beside them what Kafka's own producer reaches here with records
 * of the same size, and what a stream costs Kudu's writers. Absolute numbers are of this machine at this moment; ratios within a run travel.
 */

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '30' },
    rates: { type: 'string', default: '1000,5000' },
    delivery: { type: 'string', default: 'exactly-once,at-least-once' },
    only: { type: 'string', default: 'latency,writes,drain,tablets,tablets-eos,idle,restart' },
    counts: { type: 'string', default: '4,60,600' },
    beside: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(
    'npm run bench -- [--rows 1000000] [--seconds 30] [--rates 1000,5000] [--delivery exactly-once,at-least-once]\n' +
      '                 [--only latency,writes,drain,tablets,tablets-eos,idle,restart] [--counts 4,60,600]\n' +
      '                 [--beside <dist/cli/main.js of another version, for tablets-eos>]\n',
  );
  process.exit(0);
}
const ROWS = Number(values.rows);
const SECONDS = Number(values.seconds);
const RATES = values.rates.split(',').filter(Boolean).map(Number);
const DELIVERIES = values.delivery.split(',') as Delivery[];
const ONLY = values.only.split(',');
const DRAIN_TIMEOUT_MS = 600_000;
/** Promised of a sidecar beside 200 idle tablets (percent of a core, MiB resident) and of any backlog (MiB at most). */
const LIMITS = { idleCpuPercent: 5, idleMib: 250, backlogMib: 300 };

interface Drain {
  readonly delivery: Delivery;
  readonly rowsPerSecond: number;
  readonly cpuSecondsPerMillion: number;
  readonly peakMib: number;
  readonly recordBytes: number;
}

async function measureDrain(
  kudu: KuduCluster,
  kafka: KafkaServer,
  sidecars: readonly SidecarProcess[],
  delivery: Delivery,
): Promise<Drain> {
  const stream = `drain-${delivery}`;
  const database = databaseOf(delivery);
  await createStream(sidecars[0]!.url, stream, `${database}.*`, delivery);
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  await loadgen(kudu, database, ROWS);
  await Promise.all(sidecars.map((sidecar) => sidecar.restart()));
  const cpuBefore = await sum(sidecars.map(({ pid }) => cpuSeconds(pid)));
  const drain = await measureShipping(sidecars, stream, delivery, cpuBefore);
  return { ...drain, recordBytes: await meanRecordBytes(kafka, stream) };
}

/** From the first record on, until all rows are acknowledged. */
async function measureShipping(
  sidecars: readonly SidecarProcess[],
  stream: string,
  delivery: Delivery,
  cpuBefore: number,
): Promise<Drain> {
  let first: { atMs: number; count: number } | null = null;
  const deadline = performance.now() + DRAIN_TIMEOUT_MS;
  for (;;) {
    const count = await shippedRecords(sidecars, stream);
    const atMs = performance.now();
    if (count > 0) first ??= { atMs, count };
    if (first && count >= ROWS) {
      const cpu = (await sum(sidecars.map(({ pid }) => cpuSeconds(pid)))) - cpuBefore;
      const peaks = await Promise.all(sidecars.map(({ pid }) => peakMemoryMib(pid)));
      return {
        delivery,
        rowsPerSecond: ((ROWS - first.count) / (atMs - first.atMs)) * 1000,
        cpuSecondsPerMillion: (cpu / ROWS) * 1e6,
        peakMib: Math.max(...peaks),
        recordBytes: Number.NaN,
      };
    }
    if (atMs > deadline) throw new Error(`${stream}: ${count} of ${ROWS} rows after ${DRAIN_TIMEOUT_MS / 1000} s`);
    await sleep(100);
  }
}

/** The rows that a drain has left in its table, copied into another stream. */
async function measureCopy(sidecars: readonly SidecarProcess[], delivery: Delivery): Promise<Drain> {
  const stream = `copy-${delivery}`;
  const cpuBefore = await sum(sidecars.map(({ pid }) => cpuSeconds(pid)));
  await createStream(sidecars[0]!.url, stream, `${databaseOf(delivery)}.*`, delivery, 'snapshot');
  return measureShipping(sidecars, stream, delivery, cpuBefore);
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

async function sum(parts: readonly Promise<number>[]): Promise<number> {
  return (await Promise.all(parts)).reduce((a, b) => a + b, 0);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => (i === 0 ? cell.padEnd(46) : cell.padStart(14))).join('');
}

/** Latency, what a stream costs the writers, drains, and the ceiling, on one cluster. */
async function measureThree(): Promise<void> {
  // All sidecars are stopped while a backlog is written: nobody holds the log then but the server's own flag.
  await using kudu = await startKudu({ flags: ['--log_min_segments_to_retain=64'] });
  await using kafka = await startKafka({ lasting: true });
  await using dir = await WorkDir.create('spoor-bench');
  const sidecars = await startSidecars(kudu, kafka, dir.path);
  try {
    // Latency first: after millions of rows Kudu compacts for minutes, and that would be measured with it.
    const latencies: string[][] = [];
    if (ONLY.includes('latency')) {
      say(
        '# a round that does not count: a broker that has just started is slower by half, whatever is measured first',
      );
      const load = { kudu, kafka, sidecars, tablets: 4, replicas: 3, flushesPerSecond: 100 };
      await measureLatency({ ...load, name: 'latency-warm-up', delivery: DELIVERIES[0]!, rate: 1000, seconds: 10 });
      for (const delivery of DELIVERIES)
        for (const rate of RATES) {
          say(`# latency at ${rate} rows/s for ${SECONDS} s, ${delivery}`);
          const { samplesMs, achievedRate } = await measureLatency({
            ...load,
            name: `latency-${delivery}-${rate}`,
            delivery,
            rate,
            seconds: SECONDS,
          });
          const at = (share: number): string => percentile(samplesMs, share).toFixed(1);
          latencies.push([
            `${delivery}, ${Math.round(achievedRate)} rows/s written`,
            at(0.5),
            at(0.95),
            at(0.99),
            at(1),
          ]);
        }
    }
    let writes: WriteThroughput | null = null;
    if (ONLY.includes('writes')) {
      say('# what a stream costs the writers: the same load to tables with and without one');
      writes = await measureWriteThroughput(kudu, sidecars[0]!.url, ROWS);
    }
    const drains: Drain[] = [];
    let copy: Drain | null = null;
    let ceiling = Number.NaN;
    if (ONLY.includes('drain')) {
      for (const delivery of DELIVERIES) {
        say(`# draining ${ROWS} rows, ${delivery}`);
        drains.push(await measureDrain(kudu, kafka, sidecars, delivery));
      }
      say(`# a base copy of these rows, ${DELIVERIES[0]!}`);
      copy = await measureCopy(sidecars, DELIVERIES[0]!);
      say("# the ceiling: Kafka's own producer, same record size, sidecars stopped");
      await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
      ceiling = await producerCeiling(kafka, ROWS, drains[0]?.recordBytes ?? 500);
    }

    if (drains.length > 0) {
      say('');
      say(row(['backlog drain', 'rows/s', 'of ceiling', 'CPU s/M rows', 'peak MiB', 'bytes/record']));
      for (const drain of drains)
        say(
          row([
            `  ${drain.delivery}`,
            drain.rowsPerSecond.toFixed(0),
            (drain.rowsPerSecond / ceiling).toFixed(2),
            drain.cpuSecondsPerMillion.toFixed(1),
            drain.peakMib.toFixed(0),
            String(drain.recordBytes),
          ]),
        );
      say(row(['  ceiling: ProducerPerformance, acks=all', ceiling.toFixed(0)]));
    }
    if (copy) {
      say('');
      say(row(['base copy', 'rows/s', 'of the drain', 'CPU s/M rows', 'peak MiB']));
      say(
        row([
          `  ${copy.delivery}`,
          copy.rowsPerSecond.toFixed(0),
          (copy.rowsPerSecond / drains[0]!.rowsPerSecond).toFixed(2),
          copy.cpuSecondsPerMillion.toFixed(1),
          copy.peakMib.toFixed(0),
        ]),
      );
    }
    if (latencies.length > 0) {
      say('');
      say(row(['latency, commit to read_committed consumer, ms', 'p50', 'p95', 'p99', 'max']));
      for (const cells of latencies) say(row([`  ${cells[0]}`, ...cells.slice(1)]));
    }
    if (writes) {
      say('');
      say(row(["kudu's own write throughput", 'rows/s', 'of plain', 'slowest', 'fastest']));
      for (const [kind, { all, slowest, fastest }] of Object.entries<WriteRate>({ ...writes }))
        say(
          row([
            `  ${kind}`,
            all.toFixed(0),
            (all / writes.plain.all).toFixed(2),
            slowest.toFixed(0),
            fastest.toFixed(0),
          ]),
        );
    }
  } finally {
    await Promise.all(sidecars.map((sidecar) => sidecar[Symbol.asyncDispose]()));
  }
}

/** One tablet server with hundreds of tablets, on a cluster of its own. */
async function measureOne(): Promise<void> {
  const delivery = DELIVERIES[0]!;
  say(`# 200 tablets on one tablet server, idle for ${SECONDS} s, then a backlog of ${ROWS} rows in 100, ${delivery}`);
  const { idle, backlog } = await measureManyTablets({ delivery, idleSeconds: SECONDS, backlogRows: ROWS });
  say('');
  say(row(['many tablets on one tablet server', 'CPU % of core', 'limit', 'MiB', 'limit', 'rows/s']));
  say(
    row([
      `  ${idle.tablets} idle tablets, resident`,
      idle.cpuPercent.toFixed(1),
      String(LIMITS.idleCpuPercent),
      idle.residentMib.toFixed(0),
      String(LIMITS.idleMib),
      '-',
    ]),
  );
  say(
    row([
      `  backlog in ${backlog.tablets} tablets, peak`,
      '-',
      '-',
      backlog.peakMib.toFixed(0),
      String(LIMITS.backlogMib),
      backlog.rowsPerSecond.toFixed(0),
    ]),
  );
}

/** What many tablets cost, on clusters of their own; of another version too where one is given. */
async function measureCounts(): Promise<void> {
  const counts = values.counts.split(',').map(Number);
  const programs = new Map([['this version', OWN_PROGRAM]]);
  if (values.beside !== undefined) programs.set('the other', values.beside);
  const measured = await measureTabletCounts({ programs, counts, deliveries: DELIVERIES, seconds: SECONDS, say });
  const lines = measured.map(({ version, tablets, delivery, samplesMs, achievedRate, brokerCpu, sidecarsCpu }) => [
    `${tablets} tablets, ${delivery}, ${version}`,
    achievedRate.toFixed(0),
    percentile(samplesMs, 0.5).toFixed(1),
    percentile(samplesMs, 0.99).toFixed(1),
    brokerCpu.toFixed(0),
    sidecarsCpu.toFixed(0),
  ]);
  say('');
  say(row(['few rows over many tablets', 'rows/s', 'p50 ms', 'p99 ms', 'broker CPU %', 'sidecars CPU %']));
  for (const [name, ...cells] of lines) say(row([`  ${name!}`, ...cells]));
}

/** What a stream of many tablets costs while nothing happens. */
async function measureIdle(): Promise<void> {
  const tablets = 1_000;
  say(`# a stream of ${tablets} tablets with nothing to do for ${SECONDS} s`);
  const { brokerCpuBefore, brokerCpu, sidecarsCpu } = await measureIdleTablets(OWN_PROGRAM, tablets, SECONDS);
  const cells = [brokerCpuBefore, brokerCpu, sidecarsCpu].map((percent) => percent.toFixed(1));
  say('');
  say(row(['idle, CPU % of a core', 'broker before', 'broker', 'sidecars']));
  say(row([`  ${tablets} tablets`, ...cells]));
}

/** What rows wait while all sidecars are restarted in turn, over the largest of the counts. */
async function measureRestart(): Promise<void> {
  const tablets = Math.max(...values.counts.split(',').map(Number));
  say(`# all sidecars are restarted, one after the other, under a load over ${tablets} tablets`);
  const { samplesMs, repeats } = await measureRollingRestart(OWN_PROGRAM, tablets);
  const cells = [0.5, 0.99, 1].map((share) => percentile(samplesMs, share).toFixed(0));
  say('');
  say(row(['rolling restart, commit to consumer, ms', 'p50', 'p99', 'max', 'repeats']));
  say(row([`  ${tablets} tablets`, ...cells, String(repeats)]));
}

if (['latency', 'writes', 'drain'].some((section) => ONLY.includes(section))) await measureThree();
if (ONLY.includes('tablets')) await measureOne();
if (ONLY.includes('tablets-eos')) await measureCounts();
if (ONLY.includes('idle')) await measureIdle();
if (ONLY.includes('restart')) await measureRestart();
