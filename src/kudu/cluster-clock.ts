import { hybridTimeToMicros, type HybridTime } from './hybrid-time.ts';

/** What this machine and Kudu may differ by and still mean the same time: the way of an answer, and no more. */
const AGREES_WITHIN_MS = 1_000;
/** An answer that took longer says too little of what time it is now. */
const MAX_ANSWER_MS = 1_000;
/** Kudu without its hybrid clock counts operations, from 1 on: that is no time of day. */
const EARLIEST_MS = Date.UTC(2010);

/**
 * What time it is, told so that every machine of a cluster tells the same: by Kudu, whose servers keep their clocks
 * together or do not run. What one machine writes down for another to compare is of this clock, and so is what is compared
 * with the times of operations. Between answers it goes on evenly, whatever the machine's own clock is set to.
 */
export class ClusterClock {
  /** Kudu's time at zero of `performance.now()`; null while no answer was good for it. */
  #originMs: number | null = null;

  /**
   * A server says what time it is.
   * @param askedAtMs when it was asked, by `performance.now()`
   */
  note(time: HybridTime, askedAtMs: number): void {
    const ms = Number(hybridTimeToMicros(time)) / 1000;
    const nowMs = performance.now();
    const isGood = nowMs - askedAtMs <= MAX_ANSWER_MS || this.#originMs === null;
    if (isGood && ms >= EARLIEST_MS) this.#originMs = ms - nowMs;
  }

  /** In milliseconds since 1970. The machine's own clock, which knows it best, where that does not go wrong. */
  readonly now = (): number => {
    const ownMs = Date.now();
    if (this.#originMs === null) return ownMs;
    const kuduMs = this.#originMs + performance.now();
    return Math.abs(kuduMs - ownMs) <= AGREES_WITHIN_MS ? ownMs : kuduMs;
  };

  /** By how much Kudu's time is ahead of this machine's, in milliseconds; null while no server has told a time of day. */
  get aheadMs(): number | null {
    return this.#originMs === null ? null : this.#originMs + performance.now() - Date.now();
  }
}
