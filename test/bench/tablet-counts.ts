import { setTimeout as sleep } from 'node:timers/promises';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { startKafka, startKudu } from '../support/cluster.ts';
import { createStream, startSidecars, tabletsOf, until, type Delivery, type Servers } from './bench-cluster.ts';
import { measureLatency, type Latency } from './latency.ts';
import { measureOpenPage, type OpenPage } from './open-page.ts';
import { cpuPercent } from './process-usage.ts';

const TSERVERS = 3;
/** With one replica a tablet, so that it is not Kudu's replication that is measured. */
const LOAD = { replicas: 1, rate: 300, flushesPerSecond: 15 };
const MAX_TABLETS = 1_000;
/** Rows that every idle tablet has, about. */
const ROWS_A_TABLET = 10;
/** A stream is idle once its last markers are written. */
const SETTLE_MS = 20_000;
const READY_TIMEOUT_MS = 300_000;
/** Between two restarts: what one left behind is shipped. */
const BETWEEN_MS = 10_000;

export interface TabletCount extends Latency {
  readonly version: string;
  readonly delivery: Delivery;
  readonly tablets: number;
}

/**
 * The same few rows over few tablets and over many: what each costs a row, and what it costs the broker.
 * @param programs by version: the sidecars of each are measured one after the other, so that they can be compared
 */
export async function measureTabletCounts(options: {
  readonly programs: ReadonlyMap<string, string>;
  readonly counts: readonly number[];
  readonly deliveries: readonly Delivery[];
  readonly seconds: number;
  readonly say: (line: string) => void;
}): Promise<TabletCount[]> {
  const { programs, counts, deliveries, seconds, say } = options;
  const measured: TabletCount[] = [];
  for (const tablets of counts)
    for (const delivery of deliveries)
      for (const [version, program] of programs) {
        say(`# ${LOAD.rate} rows/s over ${tablets} tablets for ${seconds} s, ${delivery}, ${version}`);
        await withServers(program, async (servers) => {
          const name = `counts-${tablets}-${delivery}`;
          const latency = await measureLatency({ ...servers, ...LOAD, name, tablets, delivery, seconds });
          measured.push({ ...latency, version, delivery, tablets });
        });
      }
  return measured;
}

export interface IdleTablets {
  readonly tablets: number;
  /** Percent of a core: before there was a stream, and with one. */
  readonly brokerCpuBefore: number;
  readonly brokerCpu: number;
  readonly sidecarsCpu: number;
  /** Of rounds. */
  readonly openPage: readonly OpenPage[];
}

/** Every tablet of a stream has shipped some rows, and then nothing happens. */
export async function measureIdleTablets(program: string, tablets: number, seconds: number): Promise<IdleTablets> {
  return withServers(program, async (servers) => {
    const { kudu, kafka, sidecars } = servers;
    const { url } = sidecars[0]!;
    using client = await KuduClient.connect({ masters: kudu.masters, timeoutMs: 60_000 });
    const table = await client.createTable({
      name: 'bench_idle.rows',
      columns: [
        { name: 'id', type: 'INT64', key: true },
        { name: 'note', type: 'STRING' },
      ],
      hash: [{ columns: ['id'], buckets: tablets }],
      numReplicas: 1,
    });
    await sleep(SETTLE_MS);
    const [brokerCpuBefore] = await cpuPercent([kafka.pid], seconds);
    await createStream(url, 'idle', 'bench_idle.*', 'exactly-once');
    await table.write(
      Array.from({ length: ROWS_A_TABLET * tablets }, (_, i) => ({
        type: 'insert' as const,
        row: { id: BigInt(i), note: `row ${i}` },
      })),
    );
    await until('all tablets have shipped', READY_TIMEOUT_MS, async () => {
      const views = await tabletsOf(url, 'idle');
      return views.length === tablets && views.every(({ state, lagOps }) => state === 'running' && lagOps === 0);
    });
    await sleep(SETTLE_MS);
    const [brokerCpu, ...sidecarsCpu] = await cpuPercent([kafka.pid, ...sidecars.map(({ pid }) => pid)], seconds);
    return {
      tablets,
      brokerCpuBefore: brokerCpuBefore!,
      brokerCpu: brokerCpu!,
      sidecarsCpu: sidecarsCpu.reduce((a, b) => a + b, 0),
      openPage: await measureOpenPage(servers, seconds),
    };
  });
}

/** What a row waits at most while all sidecars are restarted, one after the other, under the usual load. */
export async function measureRollingRestart(program: string, tablets: number): Promise<Latency> {
  return withServers(program, async (servers) => {
    const meanwhile = async (): Promise<void> => {
      for (const sidecar of servers.sidecars) {
        await sidecar.restart();
        await sidecar.waitUntilReady();
        await sleep(BETWEEN_MS);
      }
    };
    const seconds = ((BETWEEN_MS + 5_000) * servers.sidecars.length) / 1000;
    return measureLatency({
      ...servers,
      ...LOAD,
      name: 'restart',
      tablets,
      delivery: 'exactly-once',
      seconds,
      meanwhile,
    });
  });
}

/** New ones, for one measurement. */
async function withServers<T>(program: string, measure: (servers: Servers) => Promise<T>): Promise<T> {
  await using kudu = await startKudu({
    tservers: TSERVERS,
    masterFlags: [`--max_create_tablets_per_ts=${MAX_TABLETS}`],
  });
  await using kafka = await startKafka({ lasting: true });
  await using dir = await WorkDir.create('spoor-bench-counts');
  const sidecars = await startSidecars(kudu, kafka, dir.path, { SPOOR_SYSTEM_TABLE_REPLICAS: '1' }, program);
  try {
    return await measure({ kudu, kafka, sidecars });
  } finally {
    await Promise.all(sidecars.map((sidecar) => sidecar[Symbol.asyncDispose]()));
  }
}
