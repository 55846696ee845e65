import plain from 'kafkajs/src/broker/saslAuthenticator/plain.js';
import scram256 from 'kafkajs/src/broker/saslAuthenticator/scram256.js';
import scram512 from 'kafkajs/src/broker/saslAuthenticator/scram512.js';
import type { AuthenticationProviderArgs } from 'kafkajs';
import type { KafkaLogin } from './access.ts';

const AUTHENTICATORS = { plain, 'scram-sha-256': scram256, 'scram-sha-512': scram512 };

export interface PasswordLoginOptions {
  readonly mechanism: keyof typeof AUTHENTICATORS;
  readonly username: string;
  /** As it is at the moment. */
  readonly password: () => string;
}

/** SASL PLAIN and SCRAM, by kafkajs. */
export class PasswordLogin implements KafkaLogin {
  readonly #options: PasswordLoginOptions;

  constructor(options: PasswordLoginOptions) {
    this.#options = options;
  }

  get mechanism(): string {
    return this.#options.mechanism.toUpperCase();
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  async authenticate(connection: AuthenticationProviderArgs): Promise<void> {
    const { mechanism, username, password } = this.#options;
    // One exchange has one password, whatever becomes of its file meanwhile.
    await AUTHENTICATORS[mechanism]({ username, password: password() })(connection).authenticate();
  }
}
