import type { AuthenticationProviderArgs } from 'kafkajs';

/** How brokers are reached, and who we are to them: asked anew for each connection, since both change while we run. */
export interface KafkaAccess {
  /** For a socket that is opened now; null: no TLS. */
  tls(): BrokerTls | null;
  /** Null: no SASL. */
  readonly login: KafkaLogin | null;
}

/** PEM. Without a CA Node's own are trusted. */
export interface BrokerTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** One way of saying who we are, for all connections to all brokers. */
export interface KafkaLogin {
  /** By its name in SASL. */
  readonly mechanism: string;
  /**
   * Gets what {@link authenticate} needs and others give (a token, a ticket), before the broker is kept waiting for it.
   * @param host of the broker
   * @throws {SinkError} with who does not give it, and why
   */
  prepare(host: string, signal: AbortSignal): Promise<void>;
  /**
   * Logs one connection in, the first time or again.
   * @throws {Error} one of {@link isAuthenticationRefused} where the broker refuses; {SinkError} as {@link prepare} does
   */
  authenticate(connection: AuthenticationProviderArgs): Promise<void>;
}

/** Brokers in the clear that ask nobody who he is. */
export const OPEN_ACCESS: KafkaAccess = { tls: () => null, login: null };
