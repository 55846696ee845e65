import type { Logger } from '../util/logger.ts';
import { TokenBuckets, type Allowance } from '../util/token-buckets.ts';
import { ProblemError } from './problem.ts';

/** What one client may have of the API. */
export interface ClientAllowances {
  /** Calls, of those who are let in. */
  readonly calls: Allowance;
  /** New connections. */
  readonly connections: Allowance;
  /** Calls that are refused at the door, and bytes that are no request: wrong tokens, wrong origins, garbage. */
  readonly refusals: Allowance;
  /** TLS handshakes that fail; each takes as long as hundreds of other refusals. */
  readonly handshakes: Allowance;
  /** Connections at a time. */
  readonly openConnections: number;
  /** Of all clients together. Counted here: Node goes on to count those that were cut off until its next turn. */
  readonly allConnections: number;
}

/** Far more than a CLI in a loop, a scrape and all sidecars of a cluster ask, and what a core does in a tenth of its time. */
export const ALLOWANCES: Omit<ClientAllowances, 'openConnections' | 'allConnections'> = {
  calls: { burst: 1000, perSecond: 200 },
  connections: { burst: 1000, perSecond: 200 },
  refusals: { burst: 100, perSecond: 2 },
  handshakes: { burst: 50, perSecond: 1 },
};
/** How often each thing is told. */
const TELL_EVERY_MS = 60_000;

/**
 * What each client, by its address, has had of the API lately. A client is never kept from what another one at its address
 * may do: who shows a right token is counted apart from those who show none or a wrong one.
 */
export class ClientLimits {
  readonly #calls: TokenBuckets;
  readonly #connections: TokenBuckets;
  readonly #refusals: TokenBuckets;
  readonly #handshakes: TokenBuckets;
  readonly #openConnections: number;
  readonly #allConnections: number;
  #connected = 0;
  readonly #open = new Map<string, number>();
  readonly #toldMs = new Map<string, number>();
  readonly #logger: Logger;

  constructor(allowances: ClientAllowances, logger: Logger) {
    this.#calls = new TokenBuckets(allowances.calls);
    this.#connections = new TokenBuckets(allowances.connections);
    this.#refusals = new TokenBuckets(allowances.refusals);
    this.#handshakes = new TokenBuckets(allowances.handshakes);
    this.#openConnections = allowances.openConnections;
    this.#allConnections = allowances.allConnections;
    this.#logger = logger;
  }

  /** Whether a client may have one more connection. If so, `release` must be called when it has ended. */
  connect(address: string): boolean {
    if (this.#connected >= this.#allConnections) {
      this.#tell(address, 'more clients of the API than may be connected at a time, others are turned away');
      return false;
    }
    const open = this.#open.get(address) ?? 0;
    if (open >= this.#openConnections || this.#handshakes.isSpent(address) || !this.#connections.spend(address)) {
      this.#tell(
        address,
        'connections of a client of the API are cut off, it has or opens too many, or none comes to anything',
      );
      return false;
    }
    this.#open.set(address, open + 1);
    this.#connected++;
    return true;
  }

  release(address: string): void {
    this.#connected--;
    const open = (this.#open.get(address) ?? 0) - 1;
    if (open > 0) this.#open.set(address, open);
    else this.#open.delete(address);
  }

  tellUnread(address: string): void {
    this.#tell(
      address,
      'a client of the API sends calls and does not wait for their answers, its connection is cut off',
    );
  }

  failedHandshake(address: string): void {
    this.#handshakes.spend(address);
  }

  /** Counts a call of somebody who is let in. @param who tells callers at one address apart */
  admit(address: string, who: string): ProblemError | null {
    const key = `${who} ${address}`;
    return this.#calls.spend(key) ? null : this.#tooMany(address, this.#calls.secondsUntilNext(key));
  }

  /** Counts what is refused. @returns what to answer in the place of the reason: whoever goes on is told no more */
  refuse(address: string): ProblemError | null {
    return this.#refusals.spend(address) ? null : this.#tooMany(address, this.#refusals.secondsUntilNext(address));
  }

  #tooMany(address: string, seconds: number): ProblemError {
    this.#tell(address, 'calls of a client of the API are answered 429, it makes too many or has too many refused');
    const headers = { 'retry-after': String(Math.ceil(seconds)), connection: 'close' };
    return new ProblemError(429, 'Too many calls from this address.', {}, headers);
  }

  /** @param what constant; told once a minute for each, however many clients there are */
  #tell(address: string, what: string): void {
    const nowMs = performance.now();
    if (nowMs - (this.#toldMs.get(what) ?? -Infinity) < TELL_EVERY_MS) return;
    this.#toldMs.set(what, nowMs);
    this.#logger.warn({ address }, what);
  }
}
