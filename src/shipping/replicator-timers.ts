/** The timers of one tablet: whatever is under way ends with {@link clear}. */
export class ReplicatorTimers {
  readonly #timers = new Set<NodeJS.Timeout>();
  #flush: { readonly timer: NodeJS.Timeout; readonly atMs: number } | null = null;

  /** Between half of `ms` and all of it, so that tablets which failed together do not come back together. */
  after(ms: number, then: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        then();
      },
      ms * (0.5 + Math.random() / 2),
    );
    this.#timers.add(timer);
  }

  /** One timer is enough, at the earliest time asked for: whatever is due later is found when it fires. */
  flushIn(ms: number, then: () => void): void {
    const atMs = performance.now() + ms;
    if (this.#flush && this.#flush.atMs <= atMs) return;
    clearTimeout(this.#flush?.timer);
    const timer = setTimeout(() => {
      this.#flush = null;
      then();
    }, ms);
    this.#flush = { timer, atMs };
  }

  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    clearTimeout(this.#flush?.timer);
  }
}
