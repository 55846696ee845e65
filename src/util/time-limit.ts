/**
 * A signal that aborts with another one or when its time is over, whichever comes first. Dispose it when the work is
 * done, so that neither the timer nor the listener stays behind.
 *
 * Not `AbortSignal.any([signal, AbortSignal.timeout(ms)])`: on Node 20 nothing holds the timeout's signal there, the
 * garbage collector takes it, and it never fires.
 */
export class TimeLimit implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timer: NodeJS.Timeout;

  constructor(outer: AbortSignal, ms: number) {
    this.#outer = outer;
    this.#timer = setTimeout(() => {
      this.#controller.abort(new DOMException(`not done within ${ms / 1000} s`, 'TimeoutError'));
    }, ms);
    this.#timer.unref();
    if (outer.aborted) this.#onOuterAbort();
    else outer.addEventListener('abort', this.#onOuterAbort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#onOuterAbort);
  }

  readonly #onOuterAbort = (): void => {
    this.#controller.abort(this.#outer.reason);
  };
}
