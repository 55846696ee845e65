import {
  KAFKA_SECRET_FILES,
  KAFKA_TLS_FILES,
  kafkaSecretsOf,
  kafkaTlsFault,
  type KafkaOptions,
  type KafkaSasl,
  type KafkaTls,
} from '../config/kafka-options.ts';
import { pathsOf } from '../config/environment.ts';
import { rereadFiles } from '../config/reread-files.ts';
import { KerberosTickets } from '../kudu/gssapi/tickets.ts';
import type { KerberosOptions } from '../kudu/security/options.ts';
import type { KafkaAccess, KafkaLogin } from '../sinks/kafka/security/access.ts';
import { KerberosLogin } from '../sinks/kafka/security/kerberos-login.ts';
import { OAuthLogin } from '../sinks/kafka/security/oauth-login.ts';
import { OAuthTokens } from '../sinks/kafka/security/oauth-tokens.ts';
import { PasswordLogin } from '../sinks/kafka/security/password-login.ts';
import { requestToken } from '../sinks/kafka/security/token-endpoint.ts';
import type { Logger } from '../util/logger.ts';
import type { SecretMask } from '../util/secret-mask.ts';

type KafkaFiles = KafkaOptions['files'];

/**
 * How brokers are reached at the moment, by all connections of this process. Certificates, keys, passwords and secrets
 * follow their files from the start until it is disposed of: connections that are opened, and log-ins that are done anew,
 * have what is in force then. What cannot be used is logged, and the old ones stay.
 */
export class KafkaAccessInForce implements KafkaAccess, AsyncDisposable {
  readonly login: KafkaLogin | null;
  readonly #files: KafkaFiles;
  readonly #mask: SecretMask;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #following: Promise<unknown>;
  #tls: KafkaTls | null;
  #sasl: KafkaSasl | null;
  #tokens: OAuthTokens | null = null;

  /**
   * @param deps.kerberos as whom, for GSSAPI: as to Kudu
   * @param deps.mask learns each secret that comes
   */
  constructor(
    { tls, sasl, files }: Pick<KafkaOptions, 'tls' | 'sasl' | 'files'>,
    deps: { readonly kerberos: KerberosOptions | undefined; readonly mask: SecretMask; readonly logger: Logger },
  ) {
    this.#tls = tls;
    this.#sasl = sasl;
    this.#files = files;
    this.#mask = deps.mask;
    this.#logger = deps.logger;
    this.login = this.#loginOf(sasl, deps.kerberos);
    const fault = tls && kafkaTlsFault(tls);
    if (fault !== null) this.#logger.error({ reason: fault }, 'no broker can be reached with these certificates');
    this.#following = this.#follow(this.#stop.signal);
  }

  tls(): KafkaTls | null {
    return this.#tls;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#tokens?.[Symbol.asyncDispose]();
    await this.#following;
  }

  #loginOf(sasl: KafkaSasl | null, kerberos: KerberosOptions | undefined): KafkaLogin | null {
    if (sasl === null) return null;
    const { signal } = this.#stop;
    if (sasl.mechanism === 'gssapi')
      return new KerberosLogin(new KerberosTickets(kerberos ?? {}), sasl.serviceName, signal);
    if (sasl.mechanism !== 'oauthbearer') {
      const { mechanism, username } = sasl;
      return new PasswordLogin({ mechanism, username, password: () => this.#secret() });
    }
    const { tokenUrl, clientId, scope } = sasl;
    const endpoint = { tokenUrl, clientId, ...(scope !== undefined && { scope }) };
    const current = { clientSecret: () => this.#secret(), ca: () => this.#tls?.ca };
    this.#tokens = new OAuthTokens({
      request: (s) => requestToken({ ...endpoint, ...current }, s),
      onToken: (value) => {
        this.#mask.add(value);
      },
      logger: this.#logger,
    });
    return new OAuthLogin(this.#tokens, signal);
  }

  /** The password, or the client's secret; whoever asks has one. */
  #secret(): string {
    const sasl = this.#sasl;
    if (sasl === null || sasl.mechanism === 'gssapi') return '';
    return sasl.mechanism === 'oauthbearer' ? sasl.clientSecret : sasl.password;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const logger = this.#logger;
    await Promise.all([
      rereadFiles(
        {
          files: pathsOf(this.#files, KAFKA_TLS_FILES),
          logger,
          take: (values) => {
            this.#takeTls(values);
          },
        },
        signal,
      ),
      rereadFiles(
        {
          files: pathsOf(this.#files, KAFKA_SECRET_FILES),
          logger,
          take: (values) => {
            this.#takeSecret(values);
          },
        },
        signal,
      ),
    ]);
  }

  /** @throws {Error} no connection can be made with them */
  #takeTls(values: Partial<Record<(typeof KAFKA_TLS_FILES)[number], string | undefined>>): void {
    const { SPOOR_KAFKA_SSL_CA: ca, SPOOR_KAFKA_SSL_CERT: cert, SPOOR_KAFKA_SSL_KEY: key } = values;
    const tls = { ...this.#tls, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
    this.#mask.add(...kafkaSecretsOf({ tls, sasl: null }));
    const fault = kafkaTlsFault(tls);
    if (fault !== null) throw new Error(fault);
    this.#tls = tls;
  }

  #takeSecret(values: Partial<Record<(typeof KAFKA_SECRET_FILES)[number], string | undefined>>): void {
    const { SPOOR_KAFKA_SASL_PASSWORD: password, SPOOR_KAFKA_OAUTH_CLIENT_SECRET: clientSecret } = values;
    const old = this.#sasl;
    if (old === null || old.mechanism === 'gssapi') return;
    this.#sasl =
      old.mechanism === 'oauthbearer'
        ? { ...old, clientSecret: clientSecret ?? old.clientSecret }
        : { ...old, password: password ?? old.password };
    this.#mask.add(...kafkaSecretsOf({ tls: null, sasl: this.#sasl }));
  }
}
