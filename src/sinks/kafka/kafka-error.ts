import { SinkError } from '../sink.ts';
import { BatchError } from './producer.ts';
import { isAuthenticationRefused } from './security/authentication-refused.ts';
import { UnreachableError } from './unreachable-error.ts';
import { KafkaCodeError } from './wire/error-codes.ts';
import { errorCodeOf } from '../../util/error-code.ts';

/** OpenSSL's and Node's codes for a certificate or handshake that no retry makes good. */
const TLS_CODE = /^(ERR_TLS_|ERR_SSL_|CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|HOSTNAME_MISMATCH|EPROTO)/;

/** Whether this is the code of an error that no retry makes good, see above. */
export function isTlsCode(code: string): boolean {
  return TLS_CODE.test(code);
}

/**
 * Says what an error of the Kafka client means for the core: a broker's error code by its table, refused
 * authentication or TLS by a person, everything else (connection, time-out, abort) by trying again.
 */
export function toSinkError(error: unknown): SinkError {
  if (error instanceof SinkError) return error;
  if (error instanceof BatchError) return toSinkError(error.cause);
  if (error instanceof UnreachableError) {
    const { kind, message } = toSinkError(error.cause);
    return new SinkError(kind, `${message} (${error.message})`, error);
  }
  if (error instanceof KafkaCodeError) return new SinkError(error.kind, `Kafka refused ${error.message}`, error);
  if (!(error instanceof Error)) return new SinkError('unavailable', `Kafka failed: ${String(error)}`, error);
  if (error.name === 'AbortError' || error.name === 'TimeoutError')
    return new SinkError('unavailable', error.message, error);
  const code = errorCodeOf(error);
  if (isAuthenticationRefused(error))
    return new SinkError('refused', `Kafka refused to authenticate us: ${error.message}`, error);
  if (isTlsCode(code)) return new SinkError('refused', `no TLS connection to Kafka: ${error.message} (${code})`, error);
  return new SinkError('unavailable', `Kafka cannot be reached: ${error.message}`, error);
}
