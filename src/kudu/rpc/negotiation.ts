import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { create, toBinary } from '@bufbuild/protobuf';
import type { TLSSocket } from 'node:tls';
import { KuduError } from '../errors.ts';
import { ConnectionContextPBSchema, type NegotiatePB } from '../proto/rpc_pb.ts';
import { choose, offeredTypes, type Answer, type Choice, type Held } from '../security/authn-choice.ts';
import { serverEndPoint } from '../security/channel-bindings.ts';
import type { Credentials, SecurityContext } from '../security/security-context.ts';
import { SecurityFault } from '../status.ts';
import type { GssContext } from '../gssapi/context.ts';
import type { Deadline } from './deadline.ts';
import { CONNECTION_PREAMBLE, encodeRequest, newRequestHeader } from './framing.ts';
import { NegotiateStep, NegotiationLink, authenticationType, expectStep } from './negotiation-link.ts';
import { saslGssapi } from './sasl-gssapi.ts';
import { startTls } from './tls-tunnel.ts';

/** Call id of the message behind the negotiation (kudu/rpc/constants.h). */
const CONNECTION_CONTEXT_CALL_ID = -3;

/**
 * Source: kudu/rpc/rpc_header.proto RpcFeatureFlag. TLS for the authentication alone (3) is not listed: traffic on one
 * machine would go in the clear then, and there would be two ways to go wrong.
 */
const APPLICATION_FEATURE_FLAGS = 1;
const TLS = 2;
const FEATURES = [APPLICATION_FEATURE_FLAGS, TLS];

interface Negotiation {
  readonly address: string;
  readonly credentials: Credentials;
  readonly security: SecurityContext;
  readonly deadline: Deadline;
}

/**
 * Makes a new TCP connection one on which calls can be made: features, TLS where both sides have it, authentication, and
 * the connection context (kudu/rpc/client_negotiation.cc).
 *
 * @returns the stream for the calls: the socket, or the TLS over it. It stands still until somebody resumes it
 * @throws {KuduError} `rpc`: the server's refusal; `security`: ours; `network`, `protocol`
 */
export async function negotiate(socket: Socket, negotiation: Negotiation): Promise<Duplex> {
  const { address, credentials } = negotiation;
  let link = new NegotiationLink(socket, address);
  socket.write(CONNECTION_PREAMBLE);
  const answer = readAnswer(
    expectStep(
      link,
      await link.exchange({
        step: NegotiateStep.NEGOTIATE,
        supportedFeatures: FEATURES,
        authnTypes: offeredTypes(credentials.held).map(authenticationType),
      }),
      NegotiateStep.NEGOTIATE,
      'the offer',
    ),
  );
  const { choice, gss } = await decide(negotiation, answer);
  using login = gss;
  let stream: Duplex = socket;
  let tls: TLSSocket | null = null;
  if (answer.hasTls) {
    const isChecked = choice.do === 'token' || choice.do === 'jwt'; // else the server proves itself in another way, or never
    tls = await startTls(socket, link, isChecked ? credentials.caPems : null);
    stream = tls;
    link = new NegotiationLink(tls, address);
  }
  const { encodedNonce } = await authenticate(link, negotiation, choice, { gss: login, tls });
  link.release();
  await writeContext(stream, address, encodedNonce);
  return stream;
}

function readAnswer(message: NegotiatePB): Answer {
  return {
    hasTls: message.supportedFeatures.includes(TLS),
    type: message.authnTypes[0]?.type.case ?? 'sasl',
    mechanisms: message.saslMechanisms.map(({ mechanism }) => mechanism),
  };
}

type Accepted = Exclude<Choice, { readonly do: 'refuse' | 'look-for-ticket' }>;

/** @throws {KuduError} `security` where the answer is not one to go on with */
async function decide(
  { address, credentials, security, deadline }: Negotiation,
  answer: Answer,
): Promise<{ readonly choice: Accepted; readonly gss: GssContext | null }> {
  let { gss, trouble, held } = credentials;
  let choice = choose(held, answer);
  if (choice.do === 'look-for-ticket') {
    ({ gss, trouble } = await security.findTicket(address, deadline));
    const missing: Held['kerberos'] = security.expectsTickets ? 'failed' : 'absent';
    held = { ...held, kerberos: gss ? 'ready' : missing };
    choice = choose(held, answer);
  }
  if (choice.do !== 'refuse' && choice.do !== 'look-for-ticket') return { choice, gss };
  gss?.[Symbol.dispose]();
  const { fault, why } = choice.do === 'refuse' ? choice : { fault: SecurityFault.NO_TICKET, why: 'wants Kerberos' };
  const cause = fault === SecurityFault.NO_TLS ? null : trouble;
  const isOfLibrary = cause?.code === SecurityFault.KERBEROS_LIBRARY;
  throw new KuduError('security', `${address} ${why}${cause ? `: ${cause.message}` : ''}`, {
    code: isOfLibrary ? SecurityFault.KERBEROS_LIBRARY : fault,
    address,
    notRun: true,
    ...(cause ? { cause } : {}),
  });
}

async function authenticate(
  link: NegotiationLink,
  { credentials, security }: Negotiation,
  choice: Accepted,
  { gss, tls }: { readonly gss: GssContext | null; readonly tls: TLSSocket | null },
): Promise<{ readonly encodedNonce?: Uint8Array }> {
  switch (choice.do) {
    case 'token': {
      const step = NegotiateStep.TOKEN_EXCHANGE;
      expectStep(link, await link.exchange({ step, authnToken: credentials.token!.token }), step, 'a token');
      return {};
    }
    case 'jwt': {
      const step = NegotiateStep.JWT_EXCHANGE;
      const jwtRaw = { $typeName: 'kudu.rpc.JwtRawPB' as const, jwtData: Buffer.from(credentials.jwt!) };
      expectStep(link, await link.exchange({ step, jwtRaw }), step, 'a JWT');
      return {};
    }
    case 'gssapi':
      return saslGssapi(link, gss!, tls ? bindingsOf(tls, link.address) : null);
    case 'plain':
      return saslPlain(link, security.user);
  }
}

function bindingsOf(tls: TLSSocket, address: string): Buffer {
  const certificate = tls.getPeerX509Certificate();
  if (!certificate) throw new KuduError('protocol', `${address} shows no certificate`, { address, notRun: true });
  return serverEndPoint(certificate.raw);
}

/** The server takes the name as given and ignores the password; only trusted subnets may use it. */
async function saslPlain(link: NegotiationLink, user: string): Promise<{ readonly encodedNonce?: Uint8Array }> {
  const reply = await link.exchange({
    step: NegotiateStep.SASL_INITIATE,
    saslMechanisms: [{ $typeName: 'kudu.rpc.NegotiatePB.SaslMechanism', mechanism: 'PLAIN' }],
    token: Buffer.from(`\0${user}\0${user}`),
  });
  const { nonce } = expectStep(link, reply, NegotiateStep.SASL_SUCCESS, 'PLAIN');
  return nonce.length === 0 ? {} : { encodedNonce: nonce };
}

/**
 * The server does not answer this one. It reads exactly its bytes and then waits for the *socket*, so a call that shares
 * its TLS record would lie in the server's TLS library unseen, until something else came: nothing may be written before
 * this has gone out.
 */
async function writeContext(stream: Duplex, address: string, encodedNonce: Uint8Array | undefined): Promise<void> {
  const context = create(ConnectionContextPBSchema, encodedNonce ? { encodedNonce } : {});
  const body = toBinary(ConnectionContextPBSchema, context);
  const bytes = Buffer.concat(encodeRequest(newRequestHeader(CONNECTION_CONTEXT_CALL_ID), body));
  await new Promise<void>((resolve, reject) => {
    const onError = (cause: Error): void => {
      const message = `the connection to ${address} broke: ${cause.message}`;
      reject(new KuduError('network', message, { address, notRun: true, cause }));
    };
    stream.once('error', onError);
    stream.write(bytes, (error) => {
      stream.off('error', onError);
      if (error) onError(error);
      else resolve();
    });
  });
}
