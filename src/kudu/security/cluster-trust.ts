import { X509Certificate } from 'node:crypto';
import { decodeMessage } from '../rpc/framing.ts';
import { TokenPBSchema, type SignedTokenPB } from '../proto/rpc_pb.ts';

/** A token is renewed when less than this part of its life is left. */
const RENEW_BELOW = 1 / 4;

/** An authentication token in hand. */
export interface AuthnToken {
  readonly token: SignedTokenPB;
  /** The name that it stands for. */
  readonly user: string;
  /** By the monotonic clock; infinite where this machine's clock and the master's are too far apart to tell. */
  readonly renewAtMs: number;
  readonly endsAtMs: number;
}

/**
 * What the leading master has said last: of whom to trust (the cluster's own CA) and as whom to go to the tablet servers
 * (an authentication token). Both come with every answer to ConnectToMaster and take the place of those before.
 */
export class ClusterTrust {
  #caPems: readonly string[] = [];
  #token: AuthnToken | null = null;

  /** The cluster's CA, PEM; none before a leader has answered. */
  get caPems(): readonly string[] {
    return this.#caPems;
  }

  get token(): AuthnToken | null {
    return this.#token;
  }

  /** @param nowMs of the monotonic clock, `wallMs` of the other */
  adopt(
    answer: { readonly caCertDer: readonly Uint8Array[]; readonly authnToken?: SignedTokenPB | undefined },
    nowMs: number = performance.now(),
    wallMs: number = Date.now(),
  ): void {
    if (answer.caCertDer.length > 0) this.#caPems = answer.caCertDer.map((der) => new X509Certificate(der).toString());
    if (answer.authnToken) this.#token = authnTokenOf(answer.authnToken, nowMs, wallMs);
  }

  /** A server has refused it. One that has come meanwhile stays. */
  drop(token: AuthnToken): void {
    if (this.#token === token) this.#token = null;
  }
}

function authnTokenOf(token: SignedTokenPB, nowMs: number, wallMs: number): AuthnToken {
  const { expireUnixEpochSeconds, authn } = decodeMessage(TokenPBSchema, token.tokenData);
  const leftMs = Number(expireUnixEpochSeconds) * 1000 - wallMs;
  // Just made and over already: the clocks differ. The servers then say when it is over.
  const isTold = leftMs > 0;
  return {
    token,
    user: authn?.username ?? '',
    renewAtMs: isTold ? nowMs + leftMs * (1 - RENEW_BELOW) : Infinity,
    endsAtMs: isTold ? nowMs + leftMs : Infinity,
  };
}
