import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { KuduError } from '../errors.ts';
import { SecurityFault } from '../status.ts';
import { NegotiateStep, expectStep, toNobody, type NegotiationLink } from './negotiation-link.ts';
import { errorCodeOf } from '../../util/error-code.ts';

/**
 * What Node's TLS takes for its socket. While hands are shaken its bytes are caught, as Kudu carries them in messages of
 * its own; from then on they go straight through.
 */
class TlsTunnel extends Duplex {
  readonly #raw: Socket;
  #caught: Buffer[] | null = [];
  /** Called with each chunk that is caught. */
  onCaught: () => void = () => undefined;

  constructor(raw: Socket) {
    super();
    this.#raw = raw;
  }

  get hasCaught(): boolean {
    return this.#caught !== null && this.#caught.length > 0;
  }

  /** All that TLS has said since the last time. */
  takeCaught(): Buffer {
    const bytes = Buffer.concat(this.#caught ?? []);
    this.#caught = [];
    return bytes;
  }

  /** From here on it is the raw socket. @param rest what has come behind the last message */
  connectThrough(rest: Buffer): void {
    this.#caught = null;
    const raw = this.#raw;
    if (rest.length > 0) this.push(rest);
    raw.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) raw.pause();
    });
    raw.on('end', () => this.push(null));
    raw.on('error', (error) => this.destroy(error));
    raw.on('close', () => this.destroy());
    raw.resume();
  }

  override _read(): void {
    if (this.#caught === null) this.#raw.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#caught === null) {
      this.#raw.write(chunk, done);
      return;
    }
    this.#caught.push(chunk);
    done();
    this.onCaught();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#raw.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#raw.destroy();
    done(error);
  }
}

/**
 * Shakes hands over the link, on the raw socket that it goes over: each message carries what one side has to say until
 * the other must speak (kudu/security/tls_handshake.cc). TLS 1.3 ends with the client's part, TLS 1.2 with the server's.
 *
 * @param caPems with these the server's certificate is checked; null: whoever it is. Host names are not looked at: Kudu's
 *   certificates name what the server takes itself for, and no Kudu client checks them (KUDU-1886)
 * @returns the stream over which everything else goes
 * @throws {KuduError} `security` UNTRUSTED_SERVER; `rpc` when the server refuses
 */
export async function startTls(
  raw: Socket,
  link: NegotiationLink,
  caPems: readonly string[] | null,
): Promise<TLSSocket> {
  const { address } = link;
  const tunnel = new TlsTunnel(raw);
  const tls = connectTls(tunnel, address, caPems);
  const seen: { failure: Error | null; isSecure: boolean } = { failure: null, isSecure: false };
  let wake = (): void => undefined;
  const onError = (failure: Error): void => {
    seen.failure = failure;
    wake();
  };
  tls.on('error', toNobody);
  tls.on('error', onError);
  tls.once('secureConnect', () => {
    seen.isSecure = true;
    wake();
  });
  tunnel.onCaught = () => {
    wake();
  };
  try {
    for (;;) {
      if (!tunnel.hasCaught && !seen.isSecure && !seen.failure) await new Promise<void>((resolve) => (wake = resolve));
      await nextTurn(); // the engine writes a flight in pieces, within one turn of the loop
      if (seen.failure) throw untrusted(address, seen.failure);
      const flight = tunnel.takeCaught();
      if (flight.length > 0) link.send({ step: NegotiateStep.TLS_HANDSHAKE, tlsHandshake: flight });
      if (seen.isSecure) {
        tunnel.connectThrough(link.release()); // what the server says to our last message is TLS itself
        tls.off('error', onError);
        return tls;
      }
      const answer = expectStep(link, await link.receive(), NegotiateStep.TLS_HANDSHAKE, 'the TLS handshake');
      tunnel.push(Buffer.from(answer.tlsHandshake));
    }
  } catch (error) {
    tls.destroy();
    throw error;
  }
}

function connectTls(tunnel: Duplex, address: string, caPems: readonly string[] | null): TLSSocket {
  try {
    return tlsConnect({
      socket: tunnel,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: caPems !== null,
      ...(caPems === null ? {} : { ca: [...caPems] }),
      checkServerIdentity: () => undefined,
    });
  } catch (cause) {
    const message = `certificates to trust that cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new KuduError('security', message, { code: SecurityFault.CREDENTIAL_FILE, address, notRun: true, cause });
  }
}

function untrusted(address: string, cause: Error): KuduError {
  const code = errorCodeOf(cause);
  const why = code === '' ? cause.message : `${code}: ${cause.message}`;
  return new KuduError('security', `${address} is not known as a server of this cluster: TLS: ${why}`, {
    code: SecurityFault.UNTRUSTED_SERVER,
    address,
    notRun: true,
    cause,
  });
}
