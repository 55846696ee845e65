import type { RowOperation } from '../kudu/writer.ts';

/** Of a hundred operations: the rest are updates. */
const INSERTS_PERCENT = 60;
const DELETES_PERCENT = 10;
/** Updates and deletes choose among this many of the youngest orders. */
const OPEN_ORDERS = 5_000;

const CUSTOMERS = ['Ada', 'Björn', 'Chloé', 'Dmitri', 'Eşe', '芳子'];
const STATES = ['packed', 'shipped', 'delivered'];

/**
 * Makes up the life of orders: they are placed, change state and some are cancelled. Every operation it makes is one
 * that Kudu applies, so their number is the number of records that Spoor owes.
 */
export class OrderLoad {
  readonly #random: () => number;
  readonly #open: bigint[] = [];
  #nextId = 1n;

  /** `random` answers numbers from 0 up to but not including 1. */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** The next operations; no key is in them twice. */
  take(count: number, nowMicros: bigint): readonly RowOperation[] {
    const operations: RowOperation[] = [];
    const touched = new Set<bigint>();
    while (operations.length < count) {
      const dice = this.#random() * 100;
      const at = this.#open.length === 0 ? -1 : Math.floor(this.#random() * this.#open.length);
      const id = this.#open[at];
      if (dice < INSERTS_PERCENT || id === undefined || touched.has(id))
        operations.push(this.#place(touched, nowMicros));
      else {
        touched.add(id);
        if (dice < INSERTS_PERCENT + DELETES_PERCENT) {
          this.#forget(at);
          operations.push({ type: 'delete', row: { order_id: id } });
        } else operations.push({ type: 'update', row: { order_id: id, state: this.#oneOf(STATES) } });
      }
    }
    return operations;
  }

  #place(touched: Set<bigint>, nowMicros: bigint): RowOperation {
    const id = this.#nextId++;
    touched.add(id);
    if (this.#open.length === OPEN_ORDERS) this.#forget(Math.floor(this.#random() * OPEN_ORDERS));
    this.#open.push(id);
    const cents = Math.floor(this.#random() * 100_000);
    const price = `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
    const row = { order_id: id, customer: this.#oneOf(CUSTOMERS), price, state: 'placed', placed_at: nowMicros };
    return { type: 'insert', row };
  }

  #forget(at: number): void {
    const last = this.#open.pop();
    if (last !== undefined && at < this.#open.length) this.#open[at] = last;
  }

  #oneOf(values: readonly string[]): string {
    return values[Math.floor(this.#random() * values.length)]!;
  }
}
