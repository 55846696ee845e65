import { setTimeout as sleep } from 'node:timers/promises';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import type { StreamView } from '../../src/api/shapes.ts';
import { createStream, loadgen } from './bench-cluster.ts';

/** Rows a second that Kudu takes from its own generator: over all rounds, and in the slowest and the fastest of them. */
export interface WriteRate {
  readonly all: number;
  readonly slowest: number;
  readonly fastest: number;
}

export interface WriteThroughput {
  /** Of tables that no stream has. */
  readonly plain: WriteRate;
  /** Of tables that a stream ships while they are written. */
  readonly shipped: WriteRate;
  /** Of tables whose stream is paused: their logs are held, and nothing is shipped beside the load. */
  readonly held: WriteRate;
}

/** Each kind of table comes as often first, second and third in a round. */
const ROUNDS = 9;
const SHIP_TIMEOUT_MS = 120_000;

/** Writes the same load to tables with and without a stream, in turns, so that a slow minute slows them all. */
export async function measureWriteThroughput(
  kudu: KuduCluster,
  url: string,
  rowsPerRound: number,
): Promise<WriteThroughput> {
  await createStream(url, 'writes-shipped', 'writes_shipped_*', 'exactly-once');
  await createStream(url, 'writes-held', 'writes_held_*', 'exactly-once');
  const paused = await fetch(`${url}/v1/streams/writes-held/pause`, { method: 'POST' });
  if (!paused.ok) throw new Error(`pause: ${paused.status} ${await paused.text()}`);
  const seconds = { plain: [] as number[], shipped: [] as number[], held: [] as number[] };
  await loadgen(kudu, 'writes_warm_up', rowsPerRound / 4);
  const kinds = Object.keys(seconds) as (keyof typeof seconds)[];
  for (let round = 0; round < ROUNDS; round++)
    for (let turn = 0; turn < kinds.length; turn++) {
      const kind = kinds[(round + turn) % kinds.length]!; // what comes later in a round meets the flushes of the others
      const startMs = performance.now();
      await loadgen(kudu, `writes_${kind}_${round}`, rowsPerRound);
      seconds[kind].push((performance.now() - startMs) / 1000);
      await untilShipped(url); // or it would go on beside the next load
    }
  const rate = (times: readonly number[]): WriteRate => ({
    all: (rowsPerRound * times.length) / times.reduce((a, b) => a + b),
    slowest: rowsPerRound / Math.max(...times),
    fastest: rowsPerRound / Math.min(...times),
  });
  return { plain: rate(seconds.plain), shipped: rate(seconds.shipped), held: rate(seconds.held) };
}

async function untilShipped(url: string): Promise<void> {
  const deadline = performance.now() + SHIP_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const response = await fetch(`${url}/v1/streams/writes-shipped`);
    const { tablets } = (await response.json()) as StreamView;
    if (tablets.every(({ lagOps }) => lagOps === 0)) return;
    await sleep(200);
  }
  throw new Error('what was written is not shipped');
}
