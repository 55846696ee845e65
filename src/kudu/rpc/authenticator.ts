import { create } from '@bufbuild/protobuf';
import { AuthenticationTypePBSchema, type AuthenticationTypePB, type NegotiatePB } from '../proto/rpc_pb.ts';
import { KuduError } from '../errors.ts';
import { RpcErrorCode } from '../status.ts';

/** Source: kudu/rpc/rpc_header.proto NegotiatePB.NegotiateStep. */
export const NegotiateStep = {
  SASL_SUCCESS: 0,
  NEGOTIATE: 1,
  SASL_INITIATE: 2,
  SASL_CHALLENGE: 3,
  SASL_RESPONSE: 4,
  TLS_HANDSHAKE: 5,
  TOKEN_EXCHANGE: 6,
  JWT_EXCHANGE: 7,
} as const;

/** Source: kudu/rpc/rpc_header.proto RpcFeatureFlag. */
export const RpcFeature = { APPLICATION_FEATURE_FLAGS: 1, TLS: 2, TLS_AUTHENTICATION_ONLY: 3 } as const;

/** The negotiation of one connection, as an authenticator sees it. */
export interface NegotiationLink {
  /** `host:port` of the server. */
  readonly address: string;
  /** Sends one step and waits for the server's next. @throws {KuduError} `rpc` when the server refuses */
  exchange(step: Omit<Partial<NegotiatePB>, '$typeName'> & { readonly step: number }): Promise<NegotiatePB>;
}

/**
 * Who this client says it is, and how it proves that. One is shared by all connections of a client.
 *
 * PLAIN is what there is today. A token or a Kerberos ticket is another implementation: it offers its kind in
 * `authnTypes`, runs its own steps over the link, and returns the nonce that the connection context must carry.
 */
export interface Authenticator {
  /** What the first message offers, in no order: the server picks one. */
  readonly authnTypes: readonly AuthenticationTypePB[];
  /** Runs after the server's answer to the offer, until the server is content. */
  authenticate(link: NegotiationLink, answer: NegotiatePB): Promise<{ readonly encodedNonce?: Uint8Array }>;
}

/** SASL PLAIN: the server takes the name as given and ignores the password; only trusted subnets may use it. */
export class PlainAuthenticator implements Authenticator {
  readonly authnTypes = [create(AuthenticationTypePBSchema, { type: { case: 'sasl', value: {} } })];
  readonly #user: string;

  /** @param user the name that the server's access lists see; calls of the server's own need its service user */
  constructor(user: string) {
    if (user === '' || user.includes('\0'))
      throw new KuduError('usage', `a user name is not empty and has no NUL; got ${JSON.stringify(user)}`);
    this.#user = user;
  }

  async authenticate(link: NegotiationLink, answer: NegotiatePB): Promise<{ readonly encodedNonce?: Uint8Array }> {
    const mechanisms = answer.saslMechanisms.map((mechanism) => mechanism.mechanism);
    if (!mechanisms.includes('PLAIN'))
      throw new KuduError(
        'rpc',
        `${link.address} wants ${mechanisms.join(', ') || 'no SASL mechanism'}; this client knows PLAIN only`,
        { code: RpcErrorCode.FATAL_UNAUTHORIZED, address: link.address, notRun: true }, // as the servers say it
      );
    const reply = await link.exchange({
      step: NegotiateStep.SASL_INITIATE,
      saslMechanisms: [{ $typeName: 'kudu.rpc.NegotiatePB.SaslMechanism', mechanism: 'PLAIN' }],
      token: Buffer.from(`\0${this.#user}\0${this.#user}`),
    });
    if (reply.step !== NegotiateStep.SASL_SUCCESS)
      throw new KuduError('protocol', `${link.address} answers PLAIN with step ${reply.step}`, {
        address: link.address,
        notRun: true,
      });
    return reply.nonce.length === 0 ? {} : { encodedNonce: reply.nonce };
  }
}
