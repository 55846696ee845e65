import type { ChunkSender } from './tablet-lane.ts';

/**
 * Chunks of a write that are on their way: so many at a time, in the order in which they are started. Those behind one that failed
 * fail because of it, so its reason is the write's.
 */
export class ChunksInFlight implements ChunkSender {
  readonly #most: number;
  readonly #signal: AbortSignal;
  readonly #onWay = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | null = null;

  /** @param signal once it aborts nothing more is sent: what is taken of the records after that may be others' */
  constructor(most: number, signal: AbortSignal) {
    this.#most = most;
    this.#signal = signal;
  }

  async start(send: () => Promise<void>): Promise<void> {
    this.#signal.throwIfAborted();
    this.#throwIfFailed();
    const sent = send().then(
      () => {
        this.#onWay.delete(sent);
      },
      (error: unknown) => {
        this.#onWay.delete(sent);
        this.#failure ??= { error };
      },
    );
    this.#onWay.add(sent);
    while (this.#onWay.size >= this.#most) {
      await Promise.race(this.#onWay);
      this.#throwIfFailed();
    }
  }

  /** Resolves when all that was started is there. */
  async drain(): Promise<void> {
    while (this.#onWay.size > 0 && this.#failure === null) await Promise.race(this.#onWay);
    this.#throwIfFailed();
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error;
  }
}
