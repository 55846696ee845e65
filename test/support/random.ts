/** Random choices that come again with the same seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 .. below - 1 */
  next(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.next(times) === 0;
  }

  pick<T>(from: readonly T[]): T {
    const one = from[this.next(from.length)];
    if (one === undefined) throw new RangeError('nothing to pick from');
    return one;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.next(256)));
  }
}
