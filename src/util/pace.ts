import { setTimeout as sleep } from 'node:timers/promises';

/** The longest sleep before the limit, which may change, is asked for again. */
const STEP_MS = 250;

/** Holds work back to so many units a second, evenly, whoever does it. */
export class Pace {
  readonly #perSecond: () => number;
  /** Until when what was taken so far has used up the time. */
  #paidUntilMs = 0;

  /** @param perSecond asked before and while work is held back; 0 is no limit */
  constructor(perSecond: () => number) {
    this.#perSecond = perSecond;
  }

  /** What is done at once should not be more than this: a quarter of a second of it. */
  get most(): number {
    const rate = this.#perSecond();
    return rate === 0 ? Number.POSITIVE_INFINITY : Math.max(1, Math.round((rate * STEP_MS) / 1000));
  }

  /** Resolves when so many units may be done. @throws the signal's reason when it aborts */
  async take(units: number, signal: AbortSignal): Promise<void> {
    for (let left = units; left > 0;) {
      signal.throwIfAborted();
      const rate = this.#perSecond();
      if (rate === 0) return;
      const nowMs = performance.now();
      const waitMs = Math.min(STEP_MS, Math.max(0, this.#paidUntilMs - nowMs));
      if (waitMs > 0) {
        await sleep(waitMs, undefined, { signal });
        continue;
      }
      const piece = Math.min(left, this.most); // so that a limit that is raised or lowered counts at once
      this.#paidUntilMs = nowMs + (piece * 1000) / rate;
      left -= piece;
    }
  }
}
