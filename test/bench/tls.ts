import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import type { KuduTable } from '../../src/kudu/table.ts';
import type { KuduSecurity } from '../../src/demo/kudu-security.ts';
import { TLS_AND_PLAIN } from '../support/secure-kudu.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

const ROWS = 600_000;
const ROWS_A_WRITE = 2_000;
const ROUNDS = 7;
const POLL_MS = 50;
const TABLE = 'bench.tls';
const CLEAR_FLAGS = ['--rpc_encryption=disabled', '--rpc_authentication=disabled'];
const IN_THE_CLEAR: KuduSecurity = {
  ...TLS_AND_PLAIN,
  masterFlags: CLEAR_FLAGS,
  tserverFlags: CLEAR_FLAGS,
  sidecarEnv: { SPOOR_KUDU_AUTH: 'plain' },
  client: { encryption: 'optional', auth: 'plain' },
};

interface Side extends AsyncDisposable {
  readonly cluster: SpoorCluster;
  readonly table: KuduTable;
}

/**
 * What TLS costs where bytes go over it: base copies into Kafka, and bare scans that nobody looks at, with and without, in
 * turn, so that whatever else the machine does meets both. Each pair is told, and the median of the quotients.
 */
export async function measureTls(print: (line: string) => void): Promise<void> {
  await using clear = await open(IN_THE_CLEAR);
  await using tls = await open(TLS_AND_PLAIN);
  await pairs('base copy', clear, tls, baseCopy, print);
  await pairs('bare scan', clear, tls, scan, print);
}

async function pairs(
  what: string,
  clear: Side,
  tls: Side,
  rowsPerS: (side: Side) => Promise<number>,
  print: (line: string) => void,
): Promise<void> {
  await rowsPerS(clear); // what is compiled and cached by the first is there for all
  await rowsPerS(tls);
  const quotients: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    // Who goes first changes, as the machine may be warming up or cooling down.
    const rates = new Map<Side, number>();
    for (const side of round % 2 === 0 ? [clear, tls] : [tls, clear]) rates.set(side, await rowsPerS(side));
    const [without, with_] = [rates.get(clear)!, rates.get(tls)!];
    quotients.push(with_ / without);
    print(
      `${what}, rows/s: in the clear ${Math.round(without)}, TLS ${Math.round(with_)}: ${(with_ / without).toFixed(2)}`,
    );
  }
  const median = quotients.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]!;
  print(`${what} with TLS: ${median.toFixed(2)} of that without (median of ${ROUNDS} pairs)`);
}

async function open(security: KuduSecurity): Promise<Side> {
  const cluster = await SpoorCluster.start({
    tservers: 1,
    security,
    env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1', SPOOR_NICE: '0' },
  });
  const client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000, ...security.client });
  const table = await client.createTable({
    name: TABLE,
    numReplicas: 1,
    columns: [
      { name: 'id', type: 'INT64', key: true },
      { name: 'price', type: 'DECIMAL', precision: 18, scale: 2 },
      { name: 'state', type: 'STRING' },
      { name: 'note', type: 'STRING', nullable: true },
    ],
    hash: [{ columns: ['id'], buckets: 2 }],
  });
  for (let id = 0; id < ROWS; id += ROWS_A_WRITE)
    await table.write(
      Array.from({ length: ROWS_A_WRITE }, (_, i) => ({
        type: 'insert' as const,
        row: {
          id: BigInt(id + i),
          price: `${id + i}.50`,
          state: 'delivered',
          note: `order ${id + i}, left at the door`,
        },
      })),
    );
  return {
    cluster,
    table,
    [Symbol.asyncDispose]: async () => {
      client[Symbol.dispose]();
      await cluster[Symbol.asyncDispose]();
    },
  };
}

let streams = 0;

/** From the first rows that a sidecar has copied to the last. */
async function baseCopy({ cluster }: Side): Promise<number> {
  const stream = `copy-${++streams}`;
  await cluster.createStream(stream, [TABLE], { start: 'snapshot' });
  let begin: { readonly rows: number; readonly atMs: number } | null = null;
  for (;;) {
    const tablets = await cluster.tablets(stream);
    const rows = tablets.reduce((sum, { copy }) => sum + (copy?.rows ?? 0), 0);
    if (begin === null && rows > 0) begin = { rows, atMs: performance.now() };
    if (begin !== null && tablets.every(({ state }) => state === 'running')) break;
    await sleep(POLL_MS);
  }
  const seconds = (performance.now() - begin.atMs) / 1000;
  await cluster.api('DELETE', `/v1/streams/${stream}`);
  return (ROWS - begin.rows) / seconds;
}

async function scan({ table }: Side): Promise<number> {
  const beganMs = performance.now();
  let rows = 0;
  for await (const block of table.scan()) rows += block.rowCount;
  if (rows !== ROWS) throw new Error(`${rows} rows of ${ROWS}`);
  return ROWS / ((performance.now() - beganMs) / 1000);
}
