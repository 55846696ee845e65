import { setTimeout as sleep } from 'node:timers/promises';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { startKafka, startKudu } from '../support/cluster.ts';
import {
  createStream,
  loadgen,
  shippedRecords,
  startSidecars,
  tabletsOf,
  until,
  type Delivery,
} from './bench-cluster.ts';
import { cpuPercent, memoryMib, peakMemoryMib } from './process-usage.ts';

/** What a sidecar takes beside a tablet server with many streamed tablets. */
export interface ManyTablets {
  readonly idle: { readonly tablets: number; readonly cpuPercent: number; readonly residentMib: number };
  readonly backlog: {
    readonly tablets: number;
    readonly rows: number;
    readonly rowsPerSecond: number;
    readonly peakMib: number;
  };
}

const TABLES = 4;
const TABLETS_PER_TABLE = 50;
const BACKLOG_TABLETS = 100;
const ROWS_PER_TABLE = 5000;
/** Until it has settled: a marker is due, the last transaction is over. */
const SETTLE_MS = 15_000;
const READY_TIMEOUT_MS = 120_000;
const DRAIN_TIMEOUT_MS = 600_000;

/**
 * On servers of its own, since all tablets are to be at one tablet server: every one of 200 has shipped some rows and
 * then nothing happens; after that a backlog lies in 100 more, all of which the sidecar finds at its start.
 */
export async function measureManyTablets(options: {
  readonly delivery: Delivery;
  /** How long it is watched doing nothing. */
  readonly idleSeconds: number;
  readonly backlogRows: number;
}): Promise<ManyTablets> {
  const { delivery, idleSeconds, backlogRows } = options;
  await using kudu = await startKudu({
    tservers: 1,
    flags: ['--log_min_segments_to_retain=64'],
    masterFlags: [`--max_create_tablets_per_ts=${BACKLOG_TABLETS}`],
  });
  await using kafka = await startKafka({ lasting: true });
  await using dir = await WorkDir.create('spoor-bench-many');
  const sidecars = await startSidecars(kudu, kafka, dir.path, { SPOOR_SYSTEM_TABLE_REPLICAS: '1' });
  const [sidecar] = sidecars;
  if (!sidecar) throw new Error('there is no sidecar');
  try {
    using client = await KuduClient.connect({ masters: kudu.masters, timeoutMs: 60_000 });
    await createStream(sidecar.url, 'many-idle', 'many_idle.*', delivery);
    for (let number = 0; number < TABLES; number++) {
      const table = await client.createTable({
        name: `many_idle.t${number}`,
        columns: [
          { name: 'id', type: 'INT64', key: true },
          { name: 'note', type: 'STRING' },
        ],
        hash: [{ columns: ['id'], buckets: TABLETS_PER_TABLE }],
        numReplicas: 1,
      });
      await table.write(
        Array.from({ length: ROWS_PER_TABLE }, (_, i) => ({
          type: 'insert' as const,
          row: { id: BigInt(i), note: `row ${i}` },
        })),
      );
    }
    const tablets = TABLES * TABLETS_PER_TABLE;
    await until('all idle tablets have shipped', READY_TIMEOUT_MS, async () => {
      const views = await tabletsOf(sidecar.url, 'many-idle');
      return views.length === tablets && views.every(({ state, lagOps }) => state === 'running' && lagOps === 0);
    });
    await sleep(SETTLE_MS);
    const [percent] = await cpuPercent([sidecar.pid], idleSeconds);
    const residentMib = await memoryMib(sidecar.pid);

    await createStream(sidecar.url, 'many-backlog', 'many_backlog.*', delivery);
    await sidecar.stop();
    await loadgen(kudu, 'many_backlog', backlogRows, { tablets: BACKLOG_TABLETS, replicas: 1 });
    await sidecar.restart();
    let first: { readonly count: number; readonly atMs: number } | null = null;
    let rowsPerSecond = Number.NaN;
    await until('the backlog is drained', DRAIN_TIMEOUT_MS, async () => {
      const count = await shippedRecords(sidecars, 'many-backlog');
      const atMs = performance.now();
      if (count > 0) first ??= { count, atMs };
      if (first && count >= backlogRows) rowsPerSecond = ((count - first.count) / (atMs - first.atMs)) * 1000;
      return count >= backlogRows;
    });
    return {
      idle: { tablets, cpuPercent: percent!, residentMib },
      backlog: {
        tablets: BACKLOG_TABLETS,
        rows: backlogRows,
        rowsPerSecond,
        peakMib: await peakMemoryMib(sidecar.pid),
      },
    };
  } finally {
    await sidecar[Symbol.asyncDispose]();
  }
}
