export interface ChangeSample {
  readonly key: string;
  readonly value: string;
  /** What stands beside the two. */
  readonly beside: string;
}

interface Envelope {
  readonly op: string;
  readonly ts_ms: number;
}

/** What a consumer has seen of a stream's changes. */
export class ChangeTally {
  readonly #samples = new Map<string, ChangeSample>();
  #rows = 0;
  #worstAgeMs = 0;

  /** Changes seen, tombstones not counted: each is one row that changed. */
  get rows(): number {
    return this.#rows;
  }

  /** The first of each kind of change, by its `op`. */
  get samples(): ReadonlyMap<string, ChangeSample> {
    return this.#samples;
  }

  /** The longest time from commit in Kudu to here since this was last asked, in milliseconds. */
  takeWorstAgeMs(): number {
    const worst = this.#worstAgeMs;
    this.#worstAgeMs = 0;
    return worst;
  }

  see(key: string, value: string, beside: string): void {
    const { op, ts_ms } = JSON.parse(value) as Envelope;
    this.#rows++;
    this.#worstAgeMs = Math.max(this.#worstAgeMs, Date.now() - ts_ms);
    if (!this.#samples.has(op)) this.#samples.set(op, { key, value, beside });
  }
}
