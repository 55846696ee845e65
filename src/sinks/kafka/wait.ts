import { setTimeout as sleep } from 'node:timers/promises';
import { KafkaCodeError } from './wire/error-codes.ts';

export interface Patience {
  /** With which answers of a broker. */
  readonly codes: ReadonlySet<number>;
  /** First pause; each next one is twice as long, up to `maxPauseMs`. */
  readonly pauseMs: number;
  readonly maxPauseMs: number;
  /**
   * So long after the first such answer the last one is thrown. How long the broker took for the first says nothing: a
   * slow one is asked again in any case.
   */
  readonly forMs: number;
}

/** Repeats `attempt` while a broker answers that it is about to be ready. @param onWait told what is waited for */
export async function whileSettling<T>(
  attempt: () => Promise<T>,
  patience: Patience,
  signal: AbortSignal,
  onWait?: (what: string) => void,
): Promise<T> {
  let sinceMs: number | null = null;
  for (let pauseMs = patience.pauseMs; ; pauseMs = Math.min(pauseMs * 2, patience.maxPauseMs)) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof KafkaCodeError && patience.codes.has(error.code))) throw error;
      const nowMs = performance.now();
      if (sinceMs === null) onWait?.(`Kafka, which answers: ${error.message}`);
      sinceMs ??= nowMs;
      if (nowMs - sinceMs + pauseMs > patience.forMs) throw error;
    }
    await sleep(pauseMs, undefined, { signal });
  }
}
