import type { CurrentCredentials } from '../util/http-credentials.ts';
import { TlsFetch, type FetchAnswer, type FetchInit } from '../util/tls-fetch.ts';

/**
 * Calls the API of other sidecars. All of a cluster have one token and one CA: each shows the others the certificate that
 * it serves with, and trusts those of the CA that clients of the API must be of, or Node's own where there is none.
 */
export class SidecarClient implements Disposable {
  readonly #credentials: CurrentCredentials;
  readonly #stopListening: () => void;
  #tls: TlsFetch | null = null;

  constructor(credentials: CurrentCredentials) {
    this.#credentials = credentials;
    this.#stopListening = credentials.onChange(() => {
      this.#closeTls(); // the next call shows what is in force by then
    });
  }

  /** So that the first call takes no longer than others. */
  async prepare(): Promise<void> {
    if (this.#credentials.current.tls !== null) await this.#openTls().prepare();
  }

  /**
   * GETs, or POSTs a JSON body.
   * @param http as that sidecar announces itself: `host:port`, or `https://host:port`
   * @throws what `fetch` throws; {Error} it would have to be called in the clear, and we are not; an answer of whatever
   *   status is none of that
   */
  async call(http: string, path: string, options: { signal: AbortSignal; body?: string }): Promise<FetchAnswer> {
    const { signal, body } = options;
    const { tokens, tls } = this.#credentials.current;
    const init: FetchInit = {
      headers: {
        ...(tokens !== null && { authorization: `Bearer ${tokens.operate}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { method: 'POST', body }),
      signal,
    };
    if (http.startsWith('https://')) return this.#openTls().fetch(`${http}${path}`, init);
    // Whoever writes into the table of the sidecars, or stands between, would have our token.
    if (tls !== null) throw new Error(`sidecar ${http} does not speak TLS, and is told no token`);
    return fetch(`http://${http}${path}`, init);
  }

  #openTls(): TlsFetch {
    const { tls } = this.#credentials.current;
    return (this.#tls ??= new TlsFetch({
      ca: tls?.clientCa ?? null,
      identity: tls && { cert: tls.cert, key: tls.key },
    }));
  }

  #closeTls(): void {
    this.#tls?.[Symbol.dispose]();
    this.#tls = null;
  }

  [Symbol.dispose](): void {
    this.#stopListening();
    this.#closeTls();
  }
}
