import type { Slots } from '../util/slots.ts';

/** A place among the tablets that are copied at a time, and what is done first when it comes. */
export class Turn<T> implements Disposable {
  hasCome = false;
  readonly done: Promise<T>;
  /** Why it did not come to its end. */
  #failure: Error | null = null;
  /** Of who waits for something else meanwhile. */
  #reject: (reason: unknown) => void = () => undefined;
  #giveBack: (() => void) | null = null;
  readonly #onOver: () => void;
  #isOver = false;

  constructor(slots: Slots, signal: AbortSignal, begin: () => Promise<T>, onOver: () => void) {
    this.#onOver = onOver;
    this.done = slots.acquire(signal).then((giveBack) => {
      this.#giveBack = giveBack;
      if (this.#isOver) giveBack();
      this.hasCome = true;
      return begin();
    });
    this.done.catch((reason: unknown) => {
      this.#failure = reason instanceof Error ? reason : new Error(String(reason));
      this.#reject(this.#failure);
    });
  }

  /** What comes of the work, unless the turn fails first. One at a time: a race would add to {@link done} each time. */
  async meanwhile<R>(work: Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      work.then(resolve, reject);
      if (this.#failure) reject(this.#failure);
    });
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#onOver();
    this.#giveBack?.();
  }
}
