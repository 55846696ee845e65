import { asError } from '../../../util/as-error.ts';
import { backoffMs, type Backoff } from '../../../util/backoff.ts';
import type { Logger } from '../../../util/logger.ts';
import { steadyNow } from '../../../util/steady-clock.ts';
import { TimeLimit } from '../../../util/time-limit.ts';
import { waitFor } from '../../../util/wait-for.ts';
import { dueAtMs, isGivenUp, stateOf, type GrantedToken } from './token-life.ts';

export interface OAuthTokensOptions {
  /** Gets a token. @throws {SinkError} */
  readonly request: (signal: AbortSignal) => Promise<GrantedToken>;
  /** Called with each token, before anybody uses it: it is a secret. */
  readonly onToken?: (value: string) => void;
  readonly logger: Logger;
}

/** Who has a token that will do for now waits no longer than that for a better one. */
const BETTER_WITHIN_MS = 2_000;
const AGAIN: Backoff = { baseMs: 1_000, capMs: 30_000 };
/** So long a failure is everybody's answer who asks: many connections are one request, also where it fails. */
const FAILURE_STANDS_MS = 1_000;
/** Timers take no more, 24 days. */
const MAX_TIMER_MS = 0x7fff_ffff;

/**
 * The one token of all connections: asked for when somebody needs one, renewed before it ends as long as it is used, and
 * after a broker has refused it.
 */
export class OAuthTokens implements AsyncDisposable {
  readonly #options: OAuthTokensOptions;
  readonly #stop = new AbortController();
  #token: GrantedToken | null = null;
  #isUsed = false;
  #request: Promise<GrantedToken> | null = null;
  #failure: { readonly error: Error; readonly atMs: number } | null = null;
  #failures = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: OAuthTokensOptions) {
    this.#options = options;
  }

  /** A token that is good now. @throws {SinkError} there is none to be had; the signal's reason */
  async current(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const token = this.#token;
    const state = stateOf(token, steadyNow());
    if (token === null || state === 'over') return this.#use(await waitFor(this.#renew(), signal));
    if (state === 'good') return this.#use(token);
    using limit = new TimeLimit(signal, BETTER_WITHIN_MS);
    try {
      return this.#use(await waitFor(this.#renew(), limit.signal));
    } catch {
      signal.throwIfAborted();
      return this.#use(token); // why there is no other was logged
    }
  }

  /** A broker did not take this token. */
  refused(value: string): void {
    if (this.#token?.value !== value || !isGivenUp(this.#token, steadyNow())) return;
    this.#token = null;
    this.#rest();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#rest();
    await this.#request?.catch(() => undefined);
  }

  /** Whoever asked for the first one uses it, too: there may be one connection, which asks again when it is nearly over. */
  #use(token: GrantedToken): string {
    if (token === this.#token) this.#isUsed = true;
    return token.value;
  }

  #renew(): Promise<GrantedToken> {
    const failure = this.#failure;
    if (failure !== null && steadyNow() - failure.atMs < FAILURE_STANDS_MS) return Promise.reject(failure.error);
    this.#request ??= this.#ask().finally(() => (this.#request = null));
    return this.#request;
  }

  async #ask(): Promise<GrantedToken> {
    this.#rest();
    try {
      const token = await this.#options.request(this.#stop.signal);
      this.#options.onToken?.(token.value);
      [this.#token, this.#isUsed, this.#failure, this.#failures] = [token, false, null, 0];
      this.#renewIn(dueAtMs(token) - steadyNow());
      return token;
    } catch (error) {
      this.#failure = { error: asError(error), atMs: steadyNow() };
      this.#failures++;
      const left = this.#token === null ? 0 : this.#token.endsMs - steadyNow();
      if (left > 0 && !this.#stop.signal.aborted) {
        const reason = asError(error).message;
        this.#options.logger.warn(
          { reason, leftMs: Math.round(left) },
          'the token for kafka is not renewed, trying again',
        );
        this.#renewIn(backoffMs(this.#failures, AGAIN));
      }
      throw error;
    }
  }

  /** As long as somebody has used the one that there is, and it has not ended: from then on whoever needs one asks. */
  #renewIn(ms: number): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        const [token, nowMs] = [this.#token, steadyNow()];
        const state = stateOf(token, nowMs);
        if (token !== null && state === 'good')
          this.#renewIn(dueAtMs(token) - nowMs); // they run early, by up to 1 ms
        else if (this.#isUsed && state === 'due') this.#renew().catch(() => undefined);
      },
      Math.min(Math.max(ms, 1), MAX_TIMER_MS),
    ).unref();
  }

  #rest(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
