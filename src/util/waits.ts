import { steadyNow } from './steady-clock.ts';

/** What somebody waits for, in words for a person, and since when by {@link steadyNow}. */
export interface Wait {
  readonly for: string;
  readonly sinceMs: number;
}

/** What one waits for at the moment. */
export class CurrentWait {
  /** Null: for nothing. */
  now: Wait | null = null;

  begin(what: string): void {
    this.now = { for: what, sinceMs: steadyNow() };
  }

  end(): void {
    this.now = null;
  }
}

/** Remembers since when each of many has waited for what it waits for now. */
export class Waits {
  #waits = new Map<string, Wait>();
  #next = new Map<string, Wait>();

  get(key: string): Wait | undefined {
    return this.#waits.get(key);
  }

  /** To be said anew in each round; who says the same as in the round before has waited ever since. */
  note(key: string, what: string, nowMs = steadyNow()): void {
    const last = this.#waits.get(key);
    this.#next.set(key, last?.for === what ? last : { for: what, sinceMs: nowMs });
  }

  /** Ends a round: who said nothing in it waits no more. */
  endRound(): void {
    if (this.#waits.size === 0 && this.#next.size === 0) return;
    this.#waits = this.#next;
    this.#next = new Map();
  }
}

/** Entries that nobody asked for in so long are forgotten. */
const FORGET_AFTER_MS = 3_600_000;

/** The same where whoever tells is asked now and then, of some of them. */
export class AskedWaits {
  readonly #waits = new Map<string, { readonly wait: Wait; readonly askedAtMs: number }>();

  note(key: string, what: string, nowMs = steadyNow()): Wait {
    for (const [old, { askedAtMs }] of this.#waits)
      if (nowMs - askedAtMs > FORGET_AFTER_MS) this.#waits.delete(old);
      else break; // in the order of asking
    const last = this.#waits.get(key)?.wait;
    const wait = last?.for === what ? last : { for: what, sinceMs: nowMs };
    this.#waits.delete(key);
    this.#waits.set(key, { wait, askedAtMs: nowMs });
    return wait;
  }

  /** It waits no more. */
  end(key: string): void {
    this.#waits.delete(key);
  }
}
