import { setTimeout as sleep } from 'node:timers/promises';
import type { KuduClient } from '../kudu/client.ts';
import type { KuduTable } from '../kudu/table.ts';
import { OrderLoad } from './order-load.ts';

const TICK_MS = 50;
/** How many a single write may have to catch up with its rate. */
const MAX_WRITE_ROWS = 5_000;

/** The table that {@link OrderWriter} writes: 4 hash partitions, 3 replicas each. */
export async function createOrders(client: KuduClient, name: string, signal: AbortSignal): Promise<KuduTable> {
  return client.createTable(
    {
      name,
      columns: [
        { name: 'order_id', type: 'INT64', key: true },
        { name: 'customer', type: 'STRING' },
        { name: 'price', type: 'DECIMAL', precision: 10, scale: 2 },
        { name: 'state', type: 'STRING', nullable: true },
        { name: 'placed_at', type: 'UNIXTIME_MICROS' },
      ],
      hash: [{ columns: ['order_id'], buckets: 4 }],
      numReplicas: 3,
    },
    { signal },
  );
}

/** Writes the orders' life into a table at a steady rate. */
export class OrderWriter {
  readonly #table: KuduTable;
  readonly #rate: number;
  readonly #load = new OrderLoad(Math.random);
  #written = 0;
  #failure: Error | null = null;

  /** `rate`: row operations a second. */
  constructor(table: KuduTable, rate: number) {
    this.#table = table;
    this.#rate = rate;
  }

  /** Row operations that Kudu has applied. */
  get written(): number {
    return this.#written;
  }

  /** Why the load has ended by itself, or null. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Writes until `signal` aborts or a write fails; the write in hand is finished. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const started = performance.now();
    while (!signal.aborted && this.#failure === null) {
      const due = Math.floor(((performance.now() - started) / 1000) * this.#rate) - this.#written;
      if (due > 0) await this.#write(Math.min(due, MAX_WRITE_ROWS));
      await sleep(TICK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #write(count: number): Promise<void> {
    try {
      const { rowErrors } = await this.#table.write(this.#load.take(count, BigInt(Date.now()) * 1000n));
      const [first] = rowErrors;
      if (first !== undefined) throw new Error(`a row was rejected: ${first.message}`);
      this.#written += count;
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    }
  }
}
