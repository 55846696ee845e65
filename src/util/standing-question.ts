import { steadyNow } from './steady-clock.ts';
import { waitFor } from './wait-for.ts';

export interface StandingAnswer<T> {
  readonly answer: T;
  /** When it was asked for, by {@link steadyNow}: what came about since may not be in it. */
  readonly askedAtMs: number;
}

/**
 * A question that goes on when nobody waits for it any more: who asks next has its answer. Else one who waits for less
 * than an answer takes would never have any, however often he asks.
 */
export class StandingQuestion<T> {
  readonly #timeoutMs: number;
  #asked: Promise<StandingAnswer<T>> | null = null;

  /** @param timeoutMs how long an answer may take */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /**
   * @param question asked where none is under way
   * @param signal for how long this one waits
   */
  async ask(question: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<StandingAnswer<T>> {
    if (this.#asked === null) {
      const askedAtMs = steadyNow();
      const asked = question(AbortSignal.timeout(this.#timeoutMs))
        .then((answer) => ({ answer, askedAtMs }))
        .finally(() => {
          this.#asked = null;
        });
      asked.catch(() => undefined); // told to whoever waits for it
      this.#asked = asked;
    }
    return waitFor(this.#asked, signal);
  }
}
