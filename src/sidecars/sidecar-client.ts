/** Calls the API of other sidecars, with the token that all of a cluster have. */
export class SidecarClient {
  readonly #token: string | null;

  constructor(token: string | null) {
    this.#token = token;
  }

  /** GETs, or POSTs a JSON body. @throws what `fetch` throws; an answer of whatever status is none of that */
  async call(http: string, path: string, options: { signal: AbortSignal; body?: string }): Promise<Response> {
    const { signal, body } = options;
    return fetch(`http://${http}${path}`, {
      headers: {
        ...(this.#token !== null && { authorization: `Bearer ${this.#token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { method: 'POST', body }),
      signal,
    });
  }
}
