import type { ColumnFilter, SystemTable } from '../../src/streams/system-table.ts';
import type { Random } from './random.ts';

/** What befalls a call: it works, it is never made, its answer is lost, or it is done only later. */
export const FAULTS = ['none', 'not-run', 'answer-lost', 'late'] as const;
export type Fault = (typeof FAULTS)[number];

/** Lets calls of several processes happen one at a time, in a random order. */
export class Turns {
  readonly #random: Random;
  #waiting: (() => void)[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Goes on until all of the work is done, and nothing waits any more. */
  async runAll(work: readonly Promise<unknown>[]): Promise<void> {
    const all = { areDone: false };
    void Promise.allSettled(work).then(() => (all.areDone = true));
    for (;;) {
      await new Promise(setImmediate); // whatever can go on by itself has
      if (this.#waiting.length === 0) {
        if (all.areDone) return;
        continue;
      }
      const [next] = this.#waiting.splice(this.#random.next(this.#waiting.length), 1);
      next!();
    }
  }
}

/** A process has crashed: nothing that it asks for is answered. */
class CrashError extends Error {
  override readonly name = 'CrashError';
}

/** A shared table as one process sees it. */
export class RacingTable<Column extends string> implements SystemTable<Column> {
  hasCrashed = false;
  readonly #shared: SystemTable<Column>;
  readonly #turns: Turns;
  readonly #faultOf: () => Fault | 'crash';

  constructor(shared: SystemTable<Column>, turns: Turns, faultOf: () => Fault | 'crash') {
    this.#shared = shared;
    this.#turns = turns;
    this.#faultOf = faultOf;
  }

  async scan(wanted: Partial<Record<Column, ColumnFilter>>, signal: AbortSignal) {
    await this.#turns.wait();
    if (this.hasCrashed) throw new CrashError();
    return this.#shared.scan(wanted, signal);
  }

  insert(row: Record<Column, string>, signal: AbortSignal): Promise<boolean> {
    return this.#write(() => this.#shared.insert(row, signal));
  }

  update(row: Record<Column, string>, signal: AbortSignal): Promise<boolean> {
    return this.#write(() => this.#shared.update(row, signal));
  }

  upsert(rows: readonly Record<Column, string>[], signal: AbortSignal): Promise<void> {
    return this.#write(() => this.#shared.upsert(rows, signal));
  }

  delete(keys: readonly Partial<Record<Column, string>>[], signal: AbortSignal): Promise<boolean> {
    return this.#write(() => this.#shared.delete(keys, signal));
  }

  async #write<T>(call: () => Promise<T>): Promise<T> {
    await this.#turns.wait();
    if (this.hasCrashed) throw new CrashError();
    const fault = this.#faultOf();
    if (fault === 'none') {
      const answer = await call();
      await this.#turns.wait(); // others act between the write and its answer
      return answer;
    }
    if (fault === 'crash') this.hasCrashed = true;
    else if (fault === 'answer-lost') await call();
    else if (fault === 'late') void this.#turns.wait().then(call);
    throw new CrashError(fault);
  }
}
