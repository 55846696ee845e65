import { KuduError } from '../errors.ts';
import type { GssContext } from '../gssapi/context.ts';
import { SecurityFault } from '../status.ts';
import { NegotiateStep, expectStep, type NegotiationLink } from './negotiation-link.ts';

/** Layers of RFC 4752. Servers want integrity at least; it is used for the nonce and the channel bindings alone. */
const INTEGRITY_LAYER = 2;
/** The largest message that we take, 24 bits. */
const MAX_MESSAGE = 0x00ffff;

/**
 * SASL GSSAPI (RFC 4752), in Kudu's messages: the ticket, the server's proof, the layers, the server's content.
 *
 * @param gss a log-in that was begun
 * @param channelBindings what the server must say of the TLS that this goes over; null without TLS
 * @returns the nonce that the connection context must carry
 * @throws {KuduError} `security` UNTRUSTED_SERVER for a server that does not prove itself, or somebody between it and us;
 *   `rpc` when the server refuses
 */
export async function saslGssapi(
  link: NegotiationLink,
  gss: GssContext,
  channelBindings: Buffer | null,
): Promise<{ readonly encodedNonce?: Uint8Array }> {
  let answer = await link.exchange({
    step: NegotiateStep.SASL_INITIATE,
    saslMechanisms: [{ $typeName: 'kudu.rpc.NegotiatePB.SaslMechanism', mechanism: 'GSSAPI' }],
    token: gss.firstToken,
  });
  for (let isDone = false; !isDone;) {
    expectStep(link, answer, NegotiateStep.SASL_CHALLENGE, 'a ticket');
    const step = await gss.accept(answer.token);
    isDone = step.isDone;
    answer = await link.exchange({ step: NegotiateStep.SASL_RESPONSE, token: step.token });
  }
  expectStep(link, answer, NegotiateStep.SASL_CHALLENGE, 'the end of the log-in');
  const layers = gss.unwrap(answer.token);
  if (layers.length !== 4 || (layers[0]! & INTEGRITY_LAYER) === 0)
    throw new KuduError('protocol', `${link.address} offers the layers ${layers.toString('hex')}, not integrity`, {
      address: link.address,
      notRun: true,
    });
  const chosen = Buffer.alloc(4);
  chosen.writeUInt32BE(MAX_MESSAGE);
  chosen[0] = INTEGRITY_LAYER;
  const done = await link.exchange({ step: NegotiateStep.SASL_RESPONSE, token: gss.wrap(chosen) });
  expectStep(link, done, NegotiateStep.SASL_SUCCESS, 'the choice of a layer');
  if (channelBindings) {
    const told = done.channelBindings.length === 0 ? null : gss.unwrap(unframed(link, done.channelBindings));
    if (!told?.equals(channelBindings))
      throw new KuduError(
        'security',
        `${link.address} ${told ? 'logs in over another TLS connection than this' : 'does not say over which TLS connection it logs in'}: somebody may be between it and us`,
        { code: SecurityFault.UNTRUSTED_SERVER, address: link.address, notRun: true },
      );
  }
  return done.nonce.length === 0 ? {} : { encodedNonce: framed(gss.wrap(done.nonce)) };
}

/** What is wrapped in the layer that was chosen has its length in front: SASL writes that, GSSAPI does not. */
function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  return Buffer.concat([length, message]);
}

function unframed(link: NegotiationLink, bytes: Uint8Array): Buffer {
  const buffer = Buffer.from(bytes);
  if (buffer.length < 4 || buffer.readUInt32BE(0) !== buffer.length - 4)
    throw new KuduError('protocol', `${link.address} sends a wrapped message whose length is not its length`, {
      address: link.address,
      notRun: true,
    });
  return buffer.subarray(4);
}
