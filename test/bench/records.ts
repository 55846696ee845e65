import { KuduClient } from '../../src/kudu/client.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import type { RowOperation } from '../../src/kudu/writer.ts';
import { Random } from '../support/random.ts';
import { measureShipping, type Drain } from './backlog.ts';
import { createStream, kafkaSink, type Servers } from './bench-cluster.ts';
import { cpuSeconds } from './process-usage.ts';

/** What a stream says beside its name and tables, and what it is called in the table of results. */
export interface Variant {
  readonly name: string;
  readonly definition: Readonly<Record<string, unknown>>;
  /** What its sink has beside. */
  readonly sink?: Readonly<Record<string, unknown>>;
}

/** What is written while nobody ships, to be shipped then. */
export const WORKLOADS = ['inserts', 'whole upserts', 'rows written and updated', 'updates of cold rows'] as const;
export type Workload = (typeof WORKLOADS)[number];

export interface RecordsDrain extends Drain {
  readonly workload: Workload;
  readonly variant: string;
  /** Of the tablet server, for as many rows. */
  readonly serverCpuSecondsPerMillion: number;
}

const TABLE = 'records.t';
const BATCH = 1000;
const WRITERS = 4;

/** One table, and a backlog of each workload for each variant in turn. */
export async function measureRecords(
  { kudu, sidecars }: Servers,
  rows: number,
  workloads: readonly Workload[],
  variants: readonly Variant[],
): Promise<RecordsDrain[]> {
  using client = await KuduClient.connect({ masters: kudu.masters, timeoutMs: 60_000 });
  const table = await client.createTable({
    name: TABLE,
    columns: [
      { name: 'id', type: 'INT64', key: true },
      { name: 'state', type: 'INT32' },
      { name: 'amount', type: 'DECIMAL', precision: 12, scale: 2, nullable: true },
      { name: 'customer', type: 'STRING', nullable: true },
      { name: 'note', type: 'STRING', nullable: true },
      { name: 'at', type: 'UNIXTIME_MICROS' },
    ],
    hash: [{ columns: ['id'], buckets: 4 }],
    numReplicas: 1,
  });
  const writer = new Writer(table);
  await writer.write('inserts', 2 * rows); // cold rows
  const measured: RecordsDrain[] = [];
  let streams = 0;
  // The first does not count: a broker that has just started is slower by half.
  for (const workload of [workloads[0]!, ...workloads])
    for (const { name, definition, sink } of streams === 0 ? variants.slice(0, 1) : variants) {
      const stream = `records-${streams++}`;
      await createStream(sidecars[0]!.url, stream, TABLE, 'exactly-once', 'now', {
        ...definition,
        sink: { ...kafkaSink(stream, 'exactly-once'), ...sink },
      });
      await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
      const records = await writer.write(workload, rows);
      await Promise.all(sidecars.map((sidecar) => sidecar.restart()));
      const pids = kudu.tservers.map(({ pid }) => pid);
      const serverCpu = async (): Promise<number> =>
        (await Promise.all(pids.map(cpuSeconds))).reduce((sum, seconds) => sum + seconds, 0);
      const before = await serverCpu();
      const sidecarsBefore = (await Promise.all(sidecars.map(({ pid }) => cpuSeconds(pid)))).reduce((a, b) => a + b, 0);
      const drain = await measureShipping(sidecars, stream, records, name, sidecarsBefore);
      const serverCpuSecondsPerMillion = (((await serverCpu()) - before) / records) * 1e6;
      if (streams > 1) measured.push({ ...drain, workload, variant: name, serverCpuSecondsPerMillion });
      const deleted = await fetch(`${sidecars[0]!.url}/v1/streams/${stream}`, { method: 'DELETE' });
      if (!deleted.ok) throw new Error(`stream ${stream}: ${deleted.status} ${await deleted.text()}`);
    }
  return measured;
}

class Writer {
  readonly #table: KuduTable;
  readonly #random = new Random(4711);
  #ids = 0;

  constructor(table: KuduTable) {
    this.#table = table;
  }

  /** @returns how many row operations that were */
  async write(workload: Workload, rows: number): Promise<number> {
    let left = rows;
    let written = 0;
    const one = async (): Promise<void> => {
      while (left > 0) {
        const count = Math.min(BATCH, left);
        left -= count;
        for (const operations of this.#batches(workload, count)) {
          const { rowErrors } = await this.#table.write(operations);
          if (rowErrors[0]) throw new Error(rowErrors[0].message);
          written += operations.length;
        }
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, one));
    return written;
  }

  #batches(workload: Workload, count: number): readonly RowOperation[][] {
    switch (workload) {
      case 'inserts':
        return [this.#fresh(count)];
      case 'whole upserts':
        return [this.#known(count).map((id) => ({ type: 'upsert', row: this.#row(id) }))];
      case 'updates of cold rows':
        return [this.#known(count).map((id) => ({ type: 'update', row: { id, state: this.#random.next(100) } }))];
      case 'rows written and updated': {
        const written = this.#fresh(count);
        return [written, written.map(({ row }) => ({ type: 'update', row: { id: row['id'], state: 1 } }))];
      }
    }
  }

  #fresh(count: number): RowOperation[] {
    return Array.from({ length: count }, () => ({ type: 'insert', row: this.#row(BigInt(this.#ids++)) }));
  }

  /** Each once. */
  #known(count: number): bigint[] {
    const ids = new Set<number>();
    while (ids.size < count) ids.add(this.#random.next(this.#ids));
    return Array.from(ids, BigInt);
  }

  #row(id: bigint): RowOperation['row'] {
    return {
      id,
      state: 0,
      amount: `${this.#random.next(1_000_000)}.25`,
      customer: `customer ${this.#random.next(100_000)}`,
      note: 'what a person wrote, some words long',
      at: 1_795_340_944_066_750n + id,
    };
  }
}
