/** Work that was started and not waited for: at most `limit` at a time, and every failure comes out. */
export class InFlight {
  readonly #limit: number;
  readonly #pending: Promise<void>[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Starts `work` once there is room; rejects when something started earlier failed. */
  async start(work: () => Promise<void>): Promise<void> {
    while (this.#pending.length >= this.#limit) await this.#pending.shift();
    const running = work();
    running.catch(() => undefined); // seen by whoever waits for it
    this.#pending.push(running);
  }

  /** Resolves when all is done; rejects with the first failure. */
  async drain(): Promise<void> {
    while (this.#pending.length > 0) await this.#pending.shift();
  }
}
