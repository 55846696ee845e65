import { AsyncLocalStorage } from 'node:async_hooks';
import type { TestContext } from 'node:test';
import { Steps } from '../../src/sinks/file/disk.ts';

// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called on whose it is
const TAKE = Steps.prototype.take;
const current = new AsyncLocalStorage<SteppedProcess>();

/** From now on the file sink's steps are those of the {@link SteppedProcess} that takes them. */
export function countSteps(t: TestContext): void {
  t.mock.method(Steps.prototype, 'take', async function (this: Steps, work: () => Promise<unknown>) {
    await current.getStore()?.step();
    return TAKE.call(this, work);
  });
}

/** A process whose steps on the disk are counted, and which dies, or falls asleep, before one of them. */
export class SteppedProcess {
  steps = 0;
  readonly asleep: Promise<void>;
  wake!: () => void;
  readonly #stopAt: number;
  readonly #how: 'dies' | 'sleeps';
  #fallAsleep!: () => void;
  readonly #woken: Promise<void>;

  constructor(stopAt = Number.POSITIVE_INFINITY, how: 'dies' | 'sleeps' = 'dies') {
    this.#stopAt = stopAt;
    this.#how = how;
    this.asleep = new Promise((resolve) => (this.#fallAsleep = resolve));
    this.#woken = new Promise((resolve) => (this.wake = resolve));
  }

  get hasStopped(): boolean {
    return this.steps >= this.#stopAt;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return current.run(this, work);
  }

  async step(): Promise<void> {
    this.steps++;
    if (!this.hasStopped) return;
    if (this.#how === 'dies') throw new Error('the process has died');
    this.#fallAsleep();
    await this.#woken;
  }
}
