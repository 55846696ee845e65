import { parseArgs } from 'node:util';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { Apicurio } from '../support/apicurio.ts';
import { startKafka, startKudu } from '../support/cluster.ts';
import { buildOldVersion } from '../support/old-version.ts';
import { measureBacklog, type Backlog } from './backlog.ts';
import { OWN_PROGRAM, producerCeiling, startSidecars, type Delivery, type Servers } from './bench-cluster.ts';
import { measureLatency } from './latency.ts';
import { measureManyTablets } from './many-tablets.ts';
import { measureIdleTablets, measureRollingRestart, measureTabletCounts } from './tablet-counts.ts';
import { percentile } from './percentiles.ts';
import { measureRedis } from './redis.ts';
import { measureRecords, WORKLOADS, type Variant, type Workload } from './records.ts';
import { measureTls } from './tls.ts';
import { measureWriteThroughput, type WriteRate } from './write-throughput.ts';

/*
 * Measures Spoor on real servers in one run: how fast a backlog drains, what that costs, and how long a change takes
 * from its commit in Kudu to a read_committed consumer; beside them what Kafka's own producer reaches here with records
 * of the same size, and what a stream costs Kudu's writers. Absolute numbers are of this machine at this moment; ratios
 * within a run travel. With --beside another version is measured in turn, on servers of its own.
 */

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '30' },
    rates: { type: 'string', default: '1000,5000' },
    delivery: { type: 'string', default: 'exactly-once,at-least-once' },
    only: { type: 'string', default: 'latency,writes,drain,redis,images,formats,tablets,tablets-eos,idle,restart,tls' },
    counts: { type: 'string', default: '4,60,600' },
    rounds: { type: 'string', default: '1' },
    beside: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(
    'npm run bench -- [--rows 1000000] [--seconds 30] [--rates 1000,5000] [--delivery exactly-once,at-least-once]\n' +
      '                 [--only latency,writes,drain,redis,images,formats,tablets,tablets-eos,idle,restart,tls] [--counts 4,60,600]\n' +
      '                 [--beside <another version: a commit, or its main.js> [--rounds 1]]\n' +
      '--beside and --rounds: for latency, drain, tablets-eos (one round) and restart\n',
  );
  process.exit(0);
}
const ROWS = Number(values.rows);
const SECONDS = Number(values.seconds);
const RATES = values.rates.split(',').filter(Boolean).map(Number);
const DELIVERIES = values.delivery.split(',') as Delivery[];
const ONLY = values.only.split(',');
const ROUNDS = Number(values.rounds);
/** Promised of a sidecar beside 200 idle tablets (percent of a core, MiB resident) and of any backlog (MiB at most). */
const LIMITS = { idleCpuPercent: 5, idleMib: 250, backlogMib: 300 };
/** By version: its main.js. */
const PROGRAMS = new Map([['this version', OWN_PROGRAM]]);
if (values.beside !== undefined)
  PROGRAMS.set('the other', values.beside.endsWith('.js') ? values.beside : await buildOldVersion(values.beside));

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => (i === 0 ? cell.padEnd(58) : cell.padStart(14))).join('');
}

/** Three tablet servers and a broker for each version in turn, and its sidecars. */
async function inTurn(
  measure: (servers: Servers, version: string) => Promise<void>,
  flags: string[] = [],
): Promise<void> {
  for (let round = 0; round < ROUNDS; round++)
    for (const [version, program] of PROGRAMS) {
      await using kudu = await startKudu({ flags });
      await using kafka = await startKafka({ lasting: true });
      await using dir = await WorkDir.create('spoor-bench');
      const sidecars = await startSidecars(kudu, kafka, dir.path, {}, program);
      try {
        await measure({ kudu, kafka, sidecars }, version);
      } finally {
        await Promise.all(sidecars.map((sidecar) => sidecar[Symbol.asyncDispose]()));
      }
    }
}

async function measureLatencies(): Promise<void> {
  const lines: string[][] = [];
  await inTurn(async (servers, version) => {
    say('# a round that does not count: a broker that has just started is slower by half, whatever is measured first');
    const load = { ...servers, tablets: 4, replicas: 3, flushesPerSecond: 100 };
    await measureLatency({ ...load, name: 'latency-warm-up', delivery: DELIVERIES[0]!, rate: 1000, seconds: 10 });
    for (const rate of RATES)
      for (const delivery of DELIVERIES) {
        say(`# latency at ${rate} rows/s for ${SECONDS} s, ${delivery}, ${version}`);
        const name = `latency-${delivery}-${rate}`;
        const { samplesMs, achievedRate } = await measureLatency({ ...load, name, delivery, rate, seconds: SECONDS });
        const at = (share: number): string => percentile(samplesMs, share).toFixed(1);
        const what = `  ${delivery}, ${Math.round(achievedRate)} rows/s written, ${version}`;
        lines.push([what, at(0.5), at(0.95), at(0.99), at(1)]);
      }
  });
  say('');
  say(row(['latency, commit to read_committed consumer, ms', 'p50', 'p95', 'p99', 'max']));
  for (const cells of lines) say(row(cells));
}

async function measureWrites(): Promise<void> {
  await inTurn(async ({ kudu, sidecars }) => {
    say('# what a stream costs the writers: the same load to tables with and without one');
    const writes = await measureWriteThroughput(kudu, sidecars[0]!.url, ROWS);
    say('');
    say(row(["kudu's own write throughput", 'rows/s', 'of plain', 'slowest', 'fastest']));
    for (const [kind, { all, slowest, fastest }] of Object.entries<WriteRate>({ ...writes }))
      say(
        row([`  ${kind}`, all.toFixed(0), (all / writes.plain.all).toFixed(2), slowest.toFixed(0), fastest.toFixed(0)]),
      );
  });
}

async function measureBacklogs(): Promise<void> {
  const measured: (Backlog & { readonly version: string })[] = [];
  // All sidecars are stopped while a backlog is written: nobody holds the log then but the server's own flag.
  await inTurn(
    async (servers, version) => {
      say(`# a backlog of ${ROWS} rows, ${version}`);
      measured.push({ version, ...(await measureBacklog(servers, ROWS, DELIVERIES)) });
    },
    ['--log_min_segments_to_retain=64'],
  );
  say("# Kafka's own producer with records of that size, when all else has ended");
  const { recordBytes } = measured[0]!;
  const ceiling = await producerCeiling(ROWS, recordBytes);
  say('');
  say(row(['backlog', 'rows/s', 'of producer', 'CPU s/M rows', 'of producer', 'peak MiB']));
  for (const { version, drains } of measured)
    for (const { what, rowsPerSecond, cpuSecondsPerMillion, peakMib } of drains)
      say(
        row([
          `  ${what}, ${version}`,
          rowsPerSecond.toFixed(0),
          (rowsPerSecond / ceiling.rowsPerSecond).toFixed(2),
          cpuSecondsPerMillion.toFixed(1),
          (cpuSecondsPerMillion / ceiling.cpuSecondsPerMillion).toFixed(2),
          peakMib.toFixed(0),
        ]),
      );
  const what = `  Kafka's producer, warm, acks=all, ${recordBytes} bytes a record`;
  say(row([what, ceiling.rowsPerSecond.toFixed(0), '', ceiling.cpuSecondsPerMillion.toFixed(1)]));
}

/** Redis beside Kafka, and beside what Redis itself reaches. */
async function measureRedisBacklogs(): Promise<void> {
  const { drains, entryBytes, ceiling, redisCpuSecondsPerMillion } = await measureRedis(ROWS, say);
  say('');
  say(row(['Redis', 'rows/s', 'of XADD', 'CPU s/M rows', 'peak MiB', "Redis's CPU"]));
  for (const [at, { what, rowsPerSecond, cpuSecondsPerMillion, peakMib }] of drains.entries())
    say(
      row([
        `  ${what}`,
        rowsPerSecond.toFixed(0),
        (rowsPerSecond / ceiling.rowsPerSecond).toFixed(2),
        cpuSecondsPerMillion.toFixed(1),
        peakMib.toFixed(0),
        at === 0 ? redisCpuSecondsPerMillion.toFixed(1) : '',
      ]),
    );
  const what = `  redis-benchmark, pipelined XADD, ${entryBytes} bytes an entry`;
  say(row([what, ceiling.rowsPerSecond.toFixed(0), '', '', '', ceiling.redisCpuSecondsPerMillion.toFixed(1)]));
}

const IMAGES: readonly Variant[] = ['changed', 'after', 'full'].map((images) => ({
  name: images,
  definition: { images },
}));

/** What whole rows cost, by what was written. */
async function measureImages(): Promise<void> {
  await compareRecords('images', WORKLOADS, IMAGES);
}

/** What each format costs, of rows that were inserted. */
async function measureFormats(): Promise<void> {
  await using registry = await Apicurio.start();
  const json = (name: string, more: object, sink: object = {}): Variant => ({
    name,
    definition: { format: { type: 'json', ...more } },
    sink: { ...sink },
  });
  const typed = (type: string): Variant => ({ name: type, definition: { format: { type, registry: registry.url } } });
  await compareRecords(
    'formats',
    ['inserts'],
    [
      json('json', {}),
      json('json, schema block', { schema: 'block' }),
      json('json, lz4', {}, { compression: 'lz4' }),
      json('json, schema block, lz4', { schema: 'block' }, { compression: 'lz4' }),
      json('json, flat', { envelope: 'flat' }),
      json('json, isostring', { time: 'isostring' }),
      typed('avro'),
      typed('protobuf'),
    ],
  );
}

/** One tablet server, one table, one run; each variant beside the first. */
async function compareRecords(
  what: string,
  workloads: readonly Workload[],
  variants: readonly Variant[],
): Promise<void> {
  await using kudu = await startKudu({ tservers: 1, flags: ['--log_min_segments_to_retain=64'] });
  await using kafka = await startKafka({ lasting: true });
  await using dir = await WorkDir.create('spoor-bench');
  const sidecars = await startSidecars(kudu, kafka, dir.path, { SPOOR_SYSTEM_TABLE_REPLICAS: '1' });
  try {
    const rows = Math.round(ROWS / 5);
    const first = variants[0]!.name;
    say(`# backlogs of ${rows} rows: ${what}`);
    const measured = await measureRecords({ kudu, kafka, sidecars }, rows, workloads, variants);
    say('');
    say(row([what, 'rows/s', `of ${first}`, 'CPU s/M rows', "Kudu's", 'peak MiB']));
    for (const { workload, variant, ...drain } of measured) {
      const beside = measured.find((other) => other.workload === workload && other.variant === first)!;
      say(
        row([
          `  ${workload}, ${variant}`,
          drain.rowsPerSecond.toFixed(0),
          (drain.rowsPerSecond / beside.rowsPerSecond).toFixed(2),
          drain.cpuSecondsPerMillion.toFixed(1),
          drain.serverCpuSecondsPerMillion.toFixed(1),
          drain.peakMib.toFixed(0),
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
  const measured = await measureTabletCounts({
    programs: PROGRAMS,
    counts,
    deliveries: DELIVERIES,
    seconds: SECONDS,
    say,
  });
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
  const { brokerCpuBefore, brokerCpu, sidecarsCpu, openPage } = await measureIdleTablets(OWN_PROGRAM, tablets, SECONDS);
  const cells = [brokerCpuBefore, brokerCpu, sidecarsCpu].map((percent) => percent.toFixed(1));
  say('');
  say(row(['idle, CPU % of a core', 'broker before', 'broker', 'sidecars']));
  say(row([`  ${tablets} tablets`, ...cells]));
  say(row(['with a page open, CPU % of a core', 'its sidecar', 'before', 'others', 'before']));
  for (const { without, withPage, othersWithout, othersWithPage } of openPage)
    say(row(['', ...[withPage, without, othersWithPage, othersWithout].map((percent) => percent.toFixed(1))]));
}

/** What rows wait while all sidecars are restarted in turn, over the largest of the counts. */
async function measureRestart(): Promise<void> {
  const tablets = Math.max(...values.counts.split(',').map(Number));
  say(`# all sidecars are restarted, one after the other, under a load over ${tablets} tablets`);
  const lines: string[][] = [];
  for (let round = 0; round < ROUNDS; round++)
    for (const [version, program] of PROGRAMS) {
      const { samplesMs, repeats } = await measureRollingRestart(program, tablets);
      const cells = [0.5, 0.99, 1].map((share) => percentile(samplesMs, share).toFixed(0));
      lines.push([`  ${tablets} tablets, ${version}`, ...cells, String(repeats)]);
    }
  say('');
  say(row(['rolling restart, commit to consumer, ms', 'p50', 'p99', 'max', 'repeats']));
  for (const cells of lines) say(row(cells));
}

// Latency first: after millions of rows Kudu compacts for minutes, and that would be measured with it.
if (ONLY.includes('latency')) await measureLatencies();
if (ONLY.includes('writes')) await measureWrites();
if (ONLY.includes('drain')) await measureBacklogs();
if (ONLY.includes('redis')) await measureRedisBacklogs();
if (ONLY.includes('images')) await measureImages();
if (ONLY.includes('formats')) await measureFormats();
if (ONLY.includes('tablets')) await measureOne();
if (ONLY.includes('tablets-eos')) await measureCounts();
if (ONLY.includes('idle')) await measureIdle();
if (ONLY.includes('restart')) await measureRestart();
if (ONLY.includes('tls')) await measureTls(say);
