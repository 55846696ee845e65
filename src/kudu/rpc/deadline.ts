import { setMaxListeners } from 'node:events';
import { KuduError } from '../errors.ts';
import { backoffMs, type Backoff } from '../../util/backoff.ts';

/** What every call of the public API takes. */
export interface CallOptions {
  /** The whole time of the call, retries included, in milliseconds. Default: the client's `timeoutMs`. */
  readonly timeoutMs?: number | undefined;
  /** Gives the call up; it then rejects with the signal's reason. What the server has begun goes on. */
  readonly signal?: AbortSignal | undefined;
}

/** A point in time (of the monotonic clock) by which a call must be over, and the caller's signal. */
export class Deadline {
  readonly #atMs: number;
  readonly signal: AbortSignal | undefined;

  private constructor(atMs: number, signal: AbortSignal | undefined) {
    this.#atMs = atMs;
    this.signal = signal;
  }

  static from(options: CallOptions, defaultTimeoutMs: number): Deadline {
    return new Deadline(performance.now() + (options.timeoutMs ?? defaultTimeoutMs), options.signal);
  }

  /** The same, but at most `ms` from now: the time of one attempt among several. */
  atMost(ms: number): Deadline {
    return new Deadline(Math.min(this.#atMs, performance.now() + ms), this.signal);
  }

  /** `ms` from now, whoever waits: for work that several callers share, which the first of them must not end. */
  static detached(ms: number): Deadline {
    return new Deadline(performance.now() + ms, undefined);
  }

  remainingMs(): number {
    return Math.max(0, this.#atMs - performance.now());
  }

  /**
   * Waits for `promise`, but no longer than this deadline and the signal allow; what it does later is then nobody's concern.
   * @throws {KuduError} `timeout`, with what `describe` says; the signal's reason when it aborts
   */
  async race<T>(promise: Promise<T>, describe: () => KuduError): Promise<T> {
    const { signal } = this;
    promise.catch(() => undefined); // nobody else may be waiting for it, and what nobody hears of ends the process
    signal?.throwIfAborted();
    if (signal) setMaxListeners(0, signal); // many calls may hang on one
    let cleanUp = (): void => undefined;
    const limit = new Promise<never>((_, reject) => {
      const timer = setTimeout(() => {
        reject(describe());
      }, this.remainingMs());
      const onAbort = (): void => {
        reject(abortReason(signal));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      cleanUp = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
    });
    try {
      return await Promise.race([promise, limit]);
    } finally {
      cleanUp();
    }
  }

  /** Sleeps, but not past the deadline. @throws the signal's reason when it aborts */
  async sleep(ms: number): Promise<void> {
    const { signal } = this;
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(abortReason(signal));
      };
      const timer = setTimeout(
        () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        Math.min(ms, this.remainingMs()),
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

/** What a call rejects with when its signal aborts. */
function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason });
}

const AGAIN: Backoff = { baseMs: 10, capMs: 1000 };

/**
 * Milliseconds to wait before attempt `attempt` (1 is the first repetition): rising from 10 to 1000, spread at random
 * so that many clients which lost the same server do not come back together.
 */
export function pauseBefore(attempt: number, random: () => number = Math.random): number {
  const ceiling = backoffMs(attempt + 1, AGAIN);
  return ceiling / 2 + (ceiling / 2) * random();
}
