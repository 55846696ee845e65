import { setMaxListeners } from 'node:events';

/**
 * A signal of one's own that aborts with others' too. Dispose it when the work is done: nothing of it is left on them
 * then, however long they live and however often one is made.
 *
 * Not `AbortSignal.any`: on Node 20 a signal keeps a place for each that was ever made of it (some 60 bytes, for as long as
 * it lives), and nothing holds a signal that only `any` knows, so that a time-out in it may never fire.
 */
export class LinkedAbort implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: readonly AbortSignal[];

  constructor(...outer: readonly AbortSignal[]) {
    this.#outer = outer;
    for (const signal of outer) {
      setMaxListeners(0, signal); // hundreds of tablets may hang on one
      if (signal.aborted) this.abort(signal.reason);
      else signal.addEventListener('abort', this.#onOuterAbort);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason?: unknown): void {
    this[Symbol.dispose]();
    this.#controller.abort(reason);
  }

  [Symbol.dispose](): void {
    for (const signal of this.#outer) signal.removeEventListener('abort', this.#onOuterAbort);
  }

  readonly #onOuterAbort = (): void => {
    this.abort(this.#outer.find(({ aborted }) => aborted)?.reason);
  };
}
