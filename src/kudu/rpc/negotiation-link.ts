import type { Duplex } from 'node:stream';
import { create, toBinary } from '@bufbuild/protobuf';
import { KuduError, rpcError } from '../errors.ts';
import {
  AuthenticationTypePBSchema,
  ErrorStatusPBSchema,
  NegotiatePBSchema,
  type AuthenticationTypePB,
  type NegotiatePB,
} from '../proto/rpc_pb.ts';
import { FrameReader, decodeMessage, decodeResponse, encodeRequest, newRequestHeader } from './framing.ts';

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

/** Call id of every message of a negotiation, both ways (kudu/rpc/constants.h). */
const NEGOTIATE_CALL_ID = -33;

export type NegotiateMessage = Omit<Partial<NegotiatePB>, '$typeName'> & { readonly step: number };

/** The messages of a negotiation over one stream: the raw socket, and the TLS over it once there is one. */
export class NegotiationLink {
  readonly address: string;
  readonly #stream: Duplex;
  readonly #frames = new FrameReader();
  readonly #onData = (chunk: Buffer): void => {
    this.#frames.add(chunk);
    this.#deliver();
  };
  readonly #onError = (cause: Error): void => {
    const message = `the connection to ${this.address} broke: ${cause.message}`;
    this.#fail(new KuduError('network', message, { address: this.address, notRun: true, cause }));
  };
  readonly #onClose = (): void => {
    const message = `${this.address} closed the connection while it was negotiated`;
    this.#fail(new KuduError('network', message, { address: this.address, notRun: true }));
  };
  #waiting: { resolve(message: NegotiatePB): void; reject(error: Error): void } | null = null;
  #failure: KuduError | null = null;

  constructor(stream: Duplex, address: string) {
    this.address = address;
    this.#stream = stream;
    stream.on('data', this.#onData);
    stream.on('error', this.#onError);
    stream.on('close', this.#onClose);
  }

  /** Sends one step and waits for the server's next. @throws {KuduError} `rpc` when the server refuses, `network` */
  async exchange(message: NegotiateMessage): Promise<NegotiatePB> {
    this.send(message);
    return this.receive();
  }

  send(message: NegotiateMessage): void {
    const body = toBinary(NegotiatePBSchema, create(NegotiatePBSchema, message));
    this.#stream.cork();
    for (const piece of encodeRequest(newRequestHeader(NEGOTIATE_CALL_ID), body)) this.#stream.write(piece);
    this.#stream.uncork();
  }

  async receive(): Promise<NegotiatePB> {
    if (this.#failure) throw this.#failure;
    const received = new Promise<NegotiatePB>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    this.#deliver();
    return received;
  }

  /**
   * Ends the part of this link: the stream is whose it was before, and stands still.
   * @returns bytes that have come behind the last message
   */
  release(): Buffer {
    this.#stream.pause();
    this.#stream.off('data', this.#onData);
    this.#stream.off('error', this.#onError);
    this.#stream.off('close', this.#onClose);
    if (this.#failure) throw this.#failure;
    return this.#frames.rest();
  }

  /** One message at a time, to who waits for it: what comes behind the last one is no message of this link any more. */
  #deliver(): void {
    const waiting = this.#waiting;
    if (!waiting) return;
    try {
      const frame = this.#frames.take();
      if (frame === null) return;
      this.#waiting = null;
      const { header, body } = decodeResponse(frame);
      if (header.isError) throw rpcError(this.address, 'negotiation', decodeMessage(ErrorStatusPBSchema, body));
      waiting.resolve(decodeMessage(NegotiatePBSchema, body));
    } catch (error) {
      this.#waiting = null;
      waiting.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #fail(failure: KuduError): void {
    this.#failure ??= failure;
    this.#waiting?.reject(this.#failure);
    this.#waiting = null;
  }
}

export function authenticationType(type: 'sasl' | 'token' | 'certificate' | 'jwt'): AuthenticationTypePB {
  return create(AuthenticationTypePBSchema, { type: { case: type, value: {} } });
}

/** @throws {KuduError} `protocol` when the server's message is of another step */
export function expectStep(link: NegotiationLink, message: NegotiatePB, step: number, after: string): NegotiatePB {
  if (message.step === step) return message;
  throw new KuduError('protocol', `${link.address} answers ${after} with step ${message.step}`, {
    address: link.address,
    notRun: true,
  });
}

/**
 * Who negotiates takes turns in listening, and an error that comes between two of them would end the process. Whoever needs the
 * stream next is told: what is written to it fails.
 */
export function toNobody(): void {
  // nothing
}
