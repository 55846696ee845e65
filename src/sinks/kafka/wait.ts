import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { KafkaCodeError } from './wire/error-codes.ts';

/** Resolves as `work` does, or rejects at once with the signal's reason; what `work` does later is then nobody's concern. */
export async function waitFor<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    work.catch(() => undefined);
    throw asError(signal.reason);
  }
  setMaxListeners(0, signal); // 200 tablets may wait on one
  let stop: () => void;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => {
      reject(asError(signal.reason));
    };
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop!);
  }
}

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

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
