/** How much may be spent at once, and how fast it comes back. */
export interface Allowance {
  readonly burst: number;
  readonly perSecond: number;
}

interface Bucket {
  left: number;
  atMs: number;
}

/**
 * Token buckets, one for each key. There are so many at most; of more keys than that those that were spent from longest
 * ago are forgotten, so that nobody who has many keys makes it grow.
 */
export class TokenBuckets {
  readonly #allowance: Allowance;
  readonly #maxKeys: number;
  readonly #nowMs: () => number;
  /** In the order in which they were spent from. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(allowance: Allowance, { maxKeys = 10_000, nowMs = () => performance.now() } = {}) {
    this.#allowance = allowance;
    this.#maxKeys = maxKeys;
    this.#nowMs = nowMs;
  }

  /** Spends one. False where there is none left; then nothing is spent. */
  spend(key: string): boolean {
    const left = this.#left(key);
    if (left < 1) return false;
    this.#buckets.delete(key);
    this.#buckets.set(key, { left: left - 1, atMs: this.#nowMs() });
    if (this.#buckets.size > this.#maxKeys)
      for (const oldest of this.#buckets.keys()) return this.#buckets.delete(oldest);
    return true;
  }

  isSpent(key: string): boolean {
    return this.#left(key) < 1;
  }

  /** Seconds until there is one again, 0 where there is. */
  secondsUntilNext(key: string): number {
    return Math.max(0, (1 - this.#left(key)) / this.#allowance.perSecond);
  }

  get size(): number {
    return this.#buckets.size;
  }

  #left(key: string): number {
    const { burst, perSecond } = this.#allowance;
    const bucket = this.#buckets.get(key);
    if (!bucket) return burst;
    const seconds = Math.max(0, this.#nowMs() - bucket.atMs) / 1000;
    return Math.min(burst, bucket.left + seconds * perSecond);
  }
}
