import { LinkedAbort } from './linked-abort.ts';

/**
 * A signal that aborts with another one or when its time is over, whichever comes first. Dispose it when the work is
 * done, so that neither the timer nor the listener stays behind.
 */
export class TimeLimit implements Disposable {
  readonly #linked: LinkedAbort;
  readonly #timer: NodeJS.Timeout;

  constructor(outer: AbortSignal, ms: number) {
    this.#linked = new LinkedAbort(outer);
    this.#timer = setTimeout(() => {
      this.#linked.abort(new DOMException(`not done within ${ms / 1000} s`, 'TimeoutError'));
    }, ms);
    this.#timer.unref();
  }

  get signal(): AbortSignal {
    return this.#linked.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#linked[Symbol.dispose]();
  }
}
