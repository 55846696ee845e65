import type { KafkaLogin } from '../../src/sinks/kafka/security/access.ts';
import { PasswordLogin } from '../../src/sinks/kafka/security/password-login.ts';

/** SASL PLAIN. */
export function passwordLogin(username: string, password: string): KafkaLogin {
  return new PasswordLogin({ mechanism: 'plain', username, password: () => password });
}
