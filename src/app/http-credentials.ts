import { X509Certificate } from 'node:crypto';
import type { HttpOptions } from '../config/config.ts';
import { pathsOf } from '../config/environment.ts';
import { HTTP_TLS_NAMES, HTTP_TOKEN_NAMES, tlsFault } from '../config/http-secrets.ts';
import { rereadFiles } from '../config/reread-files.ts';
import type { CurrentCredentials, HttpCredentials, HttpTls } from '../util/http-credentials.ts';
import type { Logger } from '../util/logger.ts';
import type { SecretMask } from '../util/secret-mask.ts';

export interface HttpCredentialsDeps {
  /** Learns the tokens and keys that are new. */
  readonly mask: SecretMask;
  readonly logger: Logger;
  /** How often the files are looked at; every second when left out. */
  readonly everyMs?: number;
}

/** The API's tokens and certificates. They follow their files from the start until they are disposed of. */
export class HttpCredentialsInForce implements CurrentCredentials, AsyncDisposable {
  readonly #files: HttpOptions['files'];
  readonly #mask: SecretMask;
  readonly #logger: Logger;
  readonly #everyMs: number | undefined;
  readonly #listeners = new Set<(credentials: HttpCredentials) => void>();
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;
  #current: HttpCredentials;

  constructor({ credentials, files }: HttpOptions, { mask, logger, everyMs }: HttpCredentialsDeps) {
    this.#current = credentials;
    this.#files = files;
    this.#mask = mask;
    this.#logger = logger;
    this.#everyMs = everyMs;
    this.#following = this.#follow(this.#stop.signal);
  }

  get current(): HttpCredentials {
    return this.#current;
  }

  onChange(listener: (credentials: HttpCredentials) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const expired = expiredSince(this.#current.tls);
    if (expired !== null)
      this.#logger.error({ validTo: expired }, 'the certificate of the API has expired, clients will not take it');
    const common = { logger: this.#logger, ...(this.#everyMs !== undefined && { everyMs: this.#everyMs }) };
    await Promise.all([
      rereadFiles(
        {
          files: pathsOf(this.#files, HTTP_TOKEN_NAMES),
          ...common,
          take: (values) => {
            this.#takeTokens(values);
          },
        },
        signal,
      ),
      rereadFiles(
        {
          files: pathsOf(this.#files, HTTP_TLS_NAMES),
          ...common,
          take: (values) => {
            this.#takeTls(values);
          },
        },
        signal,
      ),
    ]);
  }

  /** @throws {Error} both would be the same */
  #takeTokens(values: { SPOOR_HTTP_TOKEN?: string | undefined; SPOOR_HTTP_TOKEN_READ?: string | undefined }): void {
    const { tokens } = this.#current;
    if (tokens === null) return;
    const operate = values.SPOOR_HTTP_TOKEN ?? tokens.operate;
    const read = values.SPOOR_HTTP_TOKEN_READ ?? tokens.read;
    if (operate === read) throw new Error('SPOOR_HTTP_TOKEN and SPOOR_HTTP_TOKEN_READ are the same');
    this.#mask.add(operate, read ?? '');
    this.#change({ ...this.#current, tokens: { operate, read } });
  }

  /** @throws {Error} it cannot be served with them */
  #takeTls(values: Partial<Record<(typeof HTTP_TLS_NAMES)[number], string | undefined>>): void {
    const { tls: old } = this.#current;
    if (old === null) return;
    const tls: HttpTls = {
      cert: values.SPOOR_HTTP_TLS_CERT ?? old.cert,
      key: values.SPOOR_HTTP_TLS_KEY ?? old.key,
      clientCa: values.SPOOR_HTTP_TLS_CLIENT_CA ?? old.clientCa,
    };
    this.#mask.add(tls.key);
    const fault = tlsFault(tls);
    if (fault) throw new Error(`${fault.name}: allowed: ${fault.allowed}`);
    const expired = expiredSince(tls);
    if (expired !== null) throw new Error(`SPOOR_HTTP_TLS_CERT: it has expired, ${expired}`);
    this.#change({ ...this.#current, tls });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }

  #change(credentials: HttpCredentials): void {
    this.#current = credentials;
    for (const listener of this.#listeners) listener(credentials);
  }
}

/** When its certificate expired, as that says; null where it has not. */
function expiredSince(tls: HttpTls | null): string | null {
  if (tls === null) return null;
  const { validTo } = new X509Certificate(tls.cert);
  return Date.parse(validTo) < Date.now() ? validTo : null;
}
