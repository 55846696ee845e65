import { WorkDir } from '../../src/demo/work-dir.ts';
import { startKafka, startKudu } from '../support/cluster.ts';
import { startSidecars, type Delivery } from './bench-cluster.ts';
import { measureLatency, type Latency } from './latency.ts';

const TSERVERS = 3;
const RATE = 300;
const FLUSHES_PER_SECOND = 15;
const MAX_TABLETS = 1_000;

export interface TabletCount extends Latency {
  readonly version: string;
  readonly delivery: Delivery;
  readonly tablets: number;
}

/**
 * The same few rows over few tablets and over many: what each costs a row, and what it costs the broker. On servers of
 * its own, with one replica a tablet, so that it is not Kudu's replication that is measured.
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
        say(`# ${RATE} rows/s over ${tablets} tablets for ${seconds} s, ${delivery}, ${version}`);
        const masterFlags = [`--max_create_tablets_per_ts=${MAX_TABLETS}`];
        await using kudu = await startKudu({ tservers: TSERVERS, masterFlags });
        await using kafka = await startKafka({ lasting: true });
        await using dir = await WorkDir.create('spoor-bench-counts');
        const sidecars = await startSidecars(kudu, kafka, dir.path, { SPOOR_SYSTEM_TABLE_REPLICAS: '1' }, program);
        try {
          const name = `counts-${tablets}-${delivery}`;
          const load = { tablets, replicas: 1, rate: RATE, flushesPerSecond: FLUSHES_PER_SECOND, seconds };
          const latency = await measureLatency({ kudu, kafka, sidecars, name, delivery, ...load });
          measured.push({ ...latency, version, delivery, tablets });
        } finally {
          await Promise.all(sidecars.map((sidecar) => sidecar[Symbol.asyncDispose]()));
        }
      }
  return measured;
}
