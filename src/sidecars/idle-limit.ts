import { LinkedAbort } from '../util/linked-abort.ts';

/** A signal that aborts with another one, or when a wait under its watch takes too long. */
export class IdleLimit implements Disposable {
  readonly #linked: LinkedAbort;
  readonly #ms: number;

  constructor(outer: AbortSignal, ms: number) {
    this.#linked = new LinkedAbort(outer);
    this.#ms = ms;
  }

  get signal(): AbortSignal {
    return this.#linked.signal;
  }

  async watch<T>(wait: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#linked.abort(new DOMException(`nothing came for ${this.#ms / 1000} s`, 'TimeoutError'));
    }, this.#ms);
    try {
      return await wait();
    } catch (error) {
      throw this.signal.aborted ? this.signal.reason : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The chunks, each waited for under watch; what their taker takes his time with is not counted. */
  async *chunksOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const iterator = chunks[Symbol.asyncIterator]();
    try {
      for (;;) {
        const result = await this.watch(() => iterator.next());
        if (result.done === true) return;
        yield result.value;
      }
    } finally {
      await iterator.return?.();
    }
  }

  [Symbol.dispose](): void {
    this.#linked[Symbol.dispose]();
  }
}
