/** A signal that aborts with another one, or when a wait under its watch takes too long. */
export class IdleLimit implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #ms: number;

  constructor(outer: AbortSignal, ms: number) {
    this.#outer = outer;
    this.#ms = ms;
    if (outer.aborted) this.#onOuterAbort();
    else outer.addEventListener('abort', this.#onOuterAbort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  async watch<T>(wait: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#controller.abort(new DOMException(`nothing came for ${this.#ms / 1000} s`, 'TimeoutError'));
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
    this.#outer.removeEventListener('abort', this.#onOuterAbort);
  }

  readonly #onOuterAbort = (): void => {
    this.#controller.abort(this.#outer.reason);
  };
}
