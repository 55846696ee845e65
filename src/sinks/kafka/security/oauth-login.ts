import type { AuthenticationProviderArgs } from 'kafkajs';
import type { KafkaLogin } from './access.ts';
import { AuthenticationRefused, isAuthenticationRefused } from './authentication-refused.ts';
import type { OAuthTokens } from './oauth-tokens.ts';
import { saslMessage } from './sasl-message.ts';

const SEPARATOR = '\u0001';
/** What a client says to the server's reasons, so that it ends the exchange. */
const ABORT = Buffer.from(SEPARATOR);

/** SASL OAUTHBEARER (RFC 7628). kafkajs's own takes a refusal for a success, and hears of it by a closed socket. */
export class OAuthLogin implements KafkaLogin {
  readonly mechanism = 'OAUTHBEARER';
  readonly #tokens: OAuthTokens;
  readonly #stop: AbortSignal;

  /** @param stop ends what waits for a token */
  constructor(tokens: OAuthTokens, stop: AbortSignal) {
    this.#tokens = tokens;
    this.#stop = stop;
  }

  async prepare(_host: string, signal: AbortSignal): Promise<void> {
    await this.#tokens.current(signal);
  }

  async authenticate({ saslAuthenticate }: AuthenticationProviderArgs): Promise<void> {
    const token = await this.#tokens.current(this.#stop);
    const message = `n,,${SEPARATOR}auth=Bearer ${token}${SEPARATOR}${SEPARATOR}`;
    try {
      const reasons = await saslAuthenticate(saslMessage(Buffer.from(message)));
      if (!reasons || reasons.length === 0) return;
      await saslAuthenticate(saslMessage(ABORT)); // the broker fails it, with these reasons or better ones
      throw new AuthenticationRefused(reasons.toString());
    } catch (error) {
      if (isAuthenticationRefused(error)) this.#tokens.refused(token);
      throw error;
    }
  }
}
