/** The last answer to a question, for as long as it is fresh; then, and after a failure, the question is asked again. */
export class RecentAnswer<T> {
  readonly #maxAgeMs: number;
  #last: { readonly answer: T; readonly atMs: number } | null = null;

  constructor(maxAgeMs: number) {
    this.#maxAgeMs = maxAgeMs;
  }

  async ask(question: () => Promise<T>): Promise<T> {
    const atMs = performance.now();
    if (this.#last === null || atMs - this.#last.atMs > this.#maxAgeMs) this.#last = { answer: await question(), atMs };
    return this.#last.answer;
  }
}
