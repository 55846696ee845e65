import type { CurrentCredentials, HttpCredentials } from '../../src/util/http-credentials.ts';

/** Credentials that stay as they are until `change` is called. */
export class GivenCredentials implements CurrentCredentials {
  readonly #listeners = new Set<(credentials: HttpCredentials) => void>();
  #current: HttpCredentials;

  constructor(given: Partial<HttpCredentials> = {}) {
    this.#current = { tokens: null, tls: null, ...given };
  }

  get current(): HttpCredentials {
    return this.#current;
  }

  onChange(listener: (credentials: HttpCredentials) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  change(given: Partial<HttpCredentials>): void {
    this.#current = { ...this.#current, ...given };
    for (const listener of this.#listeners) listener(this.#current);
  }
}

/** Nobody is asked for anything, or whoever calls for one token. */
export function withToken(operate: string | null): GivenCredentials {
  return new GivenCredentials({ tokens: operate === null ? null : { operate, read: null } });
}
