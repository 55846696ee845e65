import { setTimeout as sleep } from 'node:timers/promises';
import { KafkaCodeError } from './wire/error-codes.ts';

export interface Patience {
  /** With which answers of a broker. */
  readonly codes: ReadonlySet<number>;
  /** First pause; each next one is twice as long, up to `maxPauseMs`. */
  readonly pauseMs: number;
  readonly maxPauseMs: number;
  /** After so long the last error is thrown. */
  readonly forMs: number;
}

/** Repeats `attempt` while a broker answers that it is about to be ready. */
export async function whileSettling<T>(attempt: () => Promise<T>, patience: Patience, signal: AbortSignal): Promise<T> {
  const start = performance.now();
  for (let pauseMs = patience.pauseMs; ; pauseMs = Math.min(pauseMs * 2, patience.maxPauseMs)) {
    try {
      return await attempt();
    } catch (error) {
      if (
        !(error instanceof KafkaCodeError && patience.codes.has(error.code)) ||
        performance.now() - start + pauseMs > patience.forMs
      )
        throw error;
    }
    await sleep(pauseMs, undefined, { signal });
  }
}
