import type { Agent } from 'undici';

/** PEM. */
export interface TlsClientOptions {
  /** Whom to trust; null for Node's own roots (and NODE_EXTRA_CA_CERTS). */
  readonly ca: string | null;
  /** What is shown to servers that ask who calls; null for nothing. */
  readonly identity: { readonly cert: string; readonly key: string } | null;
}

/** What of an answer is looked at. It is fetch's own. */
export type FetchAnswer = Pick<Response, 'ok' | 'status' | 'statusText' | 'url' | 'text' | 'body'>;

export interface FetchInit {
  readonly method?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/** `fetch` with a CA and a certificate of one's own, which Node's does not take. Redirects are not followed: a token goes where it was sent. */
export class TlsFetch implements Disposable {
  readonly #options: TlsClientOptions;
  #agent: Promise<Agent> | null = null;

  constructor(options: TlsClientOptions) {
    this.#options = options;
  }

  /** Loads what the first call needs, which takes a second where the CPU is short: as long as some callers wait. */
  async prepare(): Promise<void> {
    await (this.#agent ??= this.#open());
  }

  /** @throws what `fetch` throws */
  async fetch(url: string | URL, init: FetchInit): Promise<FetchAnswer> {
    const { fetch } = await import('undici'); // 200 ms and 10 MB that plain HTTP does without
    const dispatcher = await (this.#agent ??= this.#open());
    return await fetch(url, { ...init, redirect: 'error', dispatcher });
  }

  async #open(): Promise<Agent> {
    const { Agent: AgentOfUndici } = await import('undici');
    const { ca, identity } = this.#options;
    return new AgentOfUndici({ connect: { minVersion: 'TLSv1.2', ...(ca !== null && { ca }), ...identity } });
  }

  /** Calls in hand go on to their end. */
  [Symbol.dispose](): void {
    void this.#agent?.then((agent) => agent.close()).catch(() => undefined);
    this.#agent = null;
  }
}
