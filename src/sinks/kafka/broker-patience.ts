/** However slow a broker is: a transaction's round trips must fit into its time-out, see transaction-time.ts. */
const LONGEST_MS = 30_000;
/**
 * So long without a slow answer, and a broker counts as quick again. Some of its answers come from memory and are quick
 * at all times, others wait for disks and replicas: one quick answer says nothing, and none of the slow ones may come in
 * less than the longest patience.
 */
const CALM_MS = 2 * LONGEST_MS;
/** Of our patience; the rest is for the way there and back. */
const BROKERS_SHARE = 0.8;

/**
 * How long we wait for one broker before we take it for dead. It begins with what a healthy cluster needs, so that a
 * failure is noticed soon, and is doubled each time that it ran out: a broker that needs longer for every answer would
 * otherwise be cut off and asked anew for ever.
 */
export class BrokerPatience {
  readonly #baseMs: number;
  #ms: number;
  #slowAtMs = Number.NEGATIVE_INFINITY;

  constructor(baseMs: number) {
    this.#baseMs = baseMs;
    this.#ms = baseMs;
  }

  get ms(): number {
    return this.#ms;
  }

  /** For requests that say how long the broker may work on them: its answer is to come before we give up on it. */
  get brokerMs(): number {
    return Math.ceil(this.#ms * BROKERS_SHARE);
  }

  /** Nothing came in `waitedMs`. Sockets that fell silent side by side waited equally long, and count once. */
  ranOut(waitedMs: number, nowMs: number): void {
    this.#ms = Math.max(this.#ms, Math.min(2 * waitedMs, LONGEST_MS));
    this.#slowAtMs = nowMs;
  }

  /** @param tookMs at least as long as the broker took: a request may have waited for those before it */
  answered(tookMs: number, nowMs: number): void {
    if (this.#ms === this.#baseMs) return;
    if (tookMs > this.#baseMs / 2) this.#slowAtMs = nowMs;
    else if (nowMs - this.#slowAtMs >= CALM_MS) this.#ms = this.#baseMs;
  }
}
