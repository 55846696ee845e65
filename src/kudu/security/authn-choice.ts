import { KuduError } from '../errors.ts';
import { RpcErrorCode, SecurityFault } from '../status.ts';
import type { AuthMode, EncryptionPolicy } from './options.ts';

/** Source: kudu/rpc/rpc_header.proto AuthenticationTypePB. */
export type AuthnType = 'sasl' | 'token' | 'certificate' | 'jwt';

/** What this client may do, and what it holds, at one negotiation: it may be other things at the next. */
export interface Held {
  readonly auth: AuthMode;
  readonly encryption: EncryptionPolicy;
  /**
   * `ready`: a ticket for the server is in hand. `failed`: there was to be one. `absent`: there is neither keytab nor
   * cache. `unknown`: nobody has looked yet, as nobody has said that there is to be Kerberos.
   */
  readonly kerberos: 'ready' | 'failed' | 'absent' | 'unknown';
  /** An authentication token of the masters, and a CA by which to know who gets it. */
  readonly hasToken: boolean;
  /** A JWT, and such a CA. */
  readonly hasJwt: boolean;
}

/** The server's answer to the offer. */
export interface Answer {
  readonly hasTls: boolean;
  readonly type: AuthnType;
  /** With `sasl` alone. */
  readonly mechanisms: readonly string[];
}

export type Choice =
  | { readonly do: 'token' | 'jwt' | 'gssapi' | 'plain' }
  /** Look whether there is a ticket, and choose again. */
  | { readonly do: 'look-for-ticket' }
  | { readonly do: 'refuse'; readonly fault: number; readonly why: string };

/**
 * The kinds of authentication to offer: all that are possible, of which the server picks one.
 * A certificate is none of them: servers alone hold such.
 */
export function offeredTypes(held: Held): readonly AuthnType[] {
  if (held.auth === 'jwt') return ['jwt'];
  return held.hasToken ? ['sasl', 'token'] : ['sasl'];
}

/** How to go on after the server's answer. Source: kudu/rpc/client_negotiation.cc, kudu-security 1.3 and 8. */
export function choose(held: Held, answer: Answer): Choice {
  if (held.encryption === 'required' && !answer.hasTls)
    return refuse(SecurityFault.NO_TLS, 'does not speak TLS, and SPOOR_KUDU_ENCRYPTION is required');
  if (answer.type === 'sasl') return chooseMechanism(held, answer.mechanisms);
  const isOffered = offeredTypes(held).includes(answer.type);
  if (answer.type === 'certificate' || !isOffered)
    return refuse(SecurityFault.NO_MECHANISM, `picks authentication by ${answer.type}, which was not offered`);
  if (!answer.hasTls) return refuse(SecurityFault.NO_TLS, `wants the ${answer.type} over a connection in the clear`);
  return { do: answer.type };
}

function chooseMechanism({ auth, kerberos }: Held, mechanisms: readonly string[]): Choice {
  const listed = mechanisms.join(', ') || 'no mechanism';
  // Servers pick sasl, offered or not, for as long as they have no certificate or key of the masters.
  if (auth === 'jwt')
    return refuse(
      SecurityFault.NOT_READY,
      `does not take a JWT (it offers ${listed}): it has only just started, or runs without --enable_jwt_token_auth`,
    );
  const plain: Choice | null = mechanisms.includes('PLAIN') ? { do: 'plain' } : null;
  const noPlain = (): Choice => refuse(SecurityFault.NO_MECHANISM, `offers ${listed}, not a log-in by name`);
  if (auth === 'plain') return plain ?? noPlain();
  if (!mechanisms.includes('GSSAPI')) {
    if (auth === 'kerberos')
      return refuse(SecurityFault.NO_MECHANISM, `offers ${listed}, not Kerberos, and SPOOR_KUDU_AUTH is kerberos`);
    return plain ?? noPlain();
  }
  switch (kerberos) {
    case 'ready':
      return { do: 'gssapi' };
    case 'unknown':
      return { do: 'look-for-ticket' };
    case 'failed':
      // To say PLAIN now would be another user, and one that nobody has proved.
      return refuse(SecurityFault.NO_TICKET, 'wants Kerberos, and there is no ticket for it');
    case 'absent':
      if (auth === 'auto' && plain) return plain;
      return refuse(SecurityFault.NO_MECHANISM, 'wants Kerberos, and there is neither keytab nor ticket');
  }
}

function refuse(fault: number, why: string): Choice {
  return { do: 'refuse', fault, why };
}

/** What to do about a negotiation that failed. */
export type AfterFailure = 'give-up' | 'wait' | 'renew-token' | 'without-token';

/**
 * Pure. Tokens end, keys are changed, servers have only just started: none of this is news for a caller.
 * @param held by which it was tried
 */
export function afterFailure(error: unknown, held: Held): AfterFailure {
  if (!(error instanceof KuduError)) return 'give-up';
  const { hasToken } = held;
  if (error.kind === 'security') {
    if (error.code === SecurityFault.NOT_READY) return 'wait';
    // By a certificate of the operator's own, or of a cluster that was made anew: the masters' CA is not its.
    return hasToken && error.code === SecurityFault.UNTRUSTED_SERVER ? 'without-token' : 'give-up';
  }
  if (error.kind !== 'rpc' || !hasToken) return 'give-up';
  if (error.code === RpcErrorCode.FATAL_INVALID_AUTHENTICATION_TOKEN) return 'renew-token';
  // Signed with a key that the server has yet to hear of.
  return error.code === RpcErrorCode.ERROR_UNAVAILABLE ? 'wait' : 'give-up';
}
