/** A broker's error SASL_AUTHENTICATION_FAILED, in kafkajs's form. */
export class AuthenticationRefused extends Error {
  override readonly name = 'AuthenticationRefused';
  readonly type = TYPE;
}

const TYPE = 'SASL_AUTHENTICATION_FAILED';

/** Whether a broker has looked at who we say we are, and does not take it: not one that was away. */
export function isAuthenticationRefused(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name.startsWith('KafkaJSSASLAuthentication') || ('type' in error && error.type === TYPE);
}
