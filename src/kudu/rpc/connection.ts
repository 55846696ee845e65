import { connect, type Socket } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { KuduError, rpcError, withNotRun } from '../errors.ts';
import {
  ConnectionContextPBSchema,
  ErrorStatusPBSchema,
  NegotiatePBSchema,
  RemoteMethodPBSchema,
  type NegotiatePB,
  type RequestIdPB,
} from '../proto/rpc_pb.ts';
import { RpcErrorCode } from '../status.ts';
import { parseHostPort } from './address.ts';
import { NegotiateStep, RpcFeature, type Authenticator } from './authenticator.ts';
import type { Deadline } from './deadline.ts';
import {
  CONNECTION_PREAMBLE,
  FrameReader,
  MAX_REQUEST_BYTES,
  decodeMessage,
  decodeResponse,
  encodeRequest,
  newRequestHeader,
  type ResponseFrame,
} from './framing.ts';

/** Call ids that are no calls (kudu/rpc/constants.h). */
const NEGOTIATE_CALL_ID = -33;
const CONNECTION_CONTEXT_CALL_ID = -3;

/** So long may a peer answer nothing at all before its connection is given up, at the next call that times out. */
const SILENCE_MS = 10_000;

/** One request, its message already encoded. */
export interface RawCall {
  readonly service: string;
  readonly method: string;
  readonly body: Uint8Array;
  readonly sidecars?: readonly Uint8Array[];
  readonly requestId?: RequestIdPB;
  /** Features without which the server must refuse the call instead of running it without them. */
  readonly requiredFeatures?: readonly number[];
}

interface PendingCall {
  readonly method: string;
  resolve(response: ResponseFrame): void;
  reject(error: Error): void;
}

/**
 * One negotiated TCP connection, with any number of calls in flight: answers may come in any order.
 * It never comes back from being closed; {@link Messenger} opens the next one.
 */
export class Connection {
  readonly address: string;
  /** When the last byte came or went, by the monotonic clock. */
  lastUsedMs = performance.now();
  readonly #socket: Socket;
  readonly #frames = new FrameReader();
  readonly #pending = new Map<number, PendingCall>();
  readonly #onClose: () => void;
  /** When the first call went out after which nothing has come in; null while the peer is not owing anything. */
  #silentSinceMs: number | null = null;
  #nextCallId = 0;
  #closedBy: KuduError | null = null;

  private constructor(address: string, socket: Socket, onClose: () => void) {
    this.address = address;
    this.#socket = socket;
    this.#onClose = onClose;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#onData(chunk);
    });
    socket.on('error', (cause) => {
      this.close(new KuduError('network', `the connection to ${address} broke: ${cause.message}`, { address, cause }));
    });
    socket.on('close', () => {
      this.close(new KuduError('network', `${address} closed the connection`, { address }));
    });
  }

  /**
   * Connects and negotiates.
   * @param onClose called once when the connection is of no more use
   * @throws {KuduError} `network`, `timeout`, or what the negotiation was refused with; all with `notRun`
   */
  static async open(
    address: string,
    authenticator: Authenticator,
    deadline: Deadline,
    onClose: () => void,
  ): Promise<Connection> {
    const { host, port } = parseHostPort(address);
    const socket = connect({ host, port });
    const connection = new Connection(address, socket, onClose);
    try {
      await deadline.race(connection.#negotiate(authenticator), () => {
        return new KuduError('timeout', `no connection to ${address} in time`, { address, notRun: true });
      });
      return connection;
    } catch (error) {
      const asKudu = error instanceof KuduError ? withNotRun(error, true) : error;
      connection.close(
        new KuduError('network', `no connection to ${address}`, { address, notRun: true, cause: error }),
      );
      throw asKudu;
    }
  }

  get closed(): boolean {
    return this.#closedBy !== null;
  }

  get callsInFlight(): number {
    return this.#pending.size;
  }

  /**
   * Sends a call and waits for its answer. When the deadline passes or the signal aborts, the answer is dropped
   * when it comes: the server may still run the call.
   * @throws {KuduError} `rpc` for the server's refusal, `network`, `timeout`; the signal's reason
   */
  async call(call: RawCall, deadline: Deadline): Promise<ResponseFrame> {
    deadline.signal?.throwIfAborted();
    if (this.#closedBy) throw withNotRun(this.#closedBy, true);
    if (deadline.remainingMs() === 0)
      throw new KuduError('timeout', `${call.method} at ${this.address}: no time left to ask`, {
        address: this.address,
        notRun: true,
      });
    const header = newRequestHeader(this.#nextCallId);
    // Ids are positive 32-bit numbers that rise; a connection that has used them all up starts again, as the
    // calls of two billion calls ago are long over.
    this.#nextCallId = (this.#nextCallId + 1) & 0x7fffffff;
    header.remoteMethod = create(RemoteMethodPBSchema, { serviceName: call.service, methodName: call.method });
    header.timeoutMillis = Math.max(1, Math.ceil(Math.min(deadline.remainingMs(), 0x7fffffff)));
    if (call.requestId) header.requestId = call.requestId;
    if (call.requiredFeatures) header.requiredFeatureFlags = [...call.requiredFeatures];
    const response = this.#send(header.callId, call, encodeRequest(header, call.body, call.sidecars));
    try {
      return await deadline.race(response, () => {
        this.#pending.delete(header.callId);
        this.#closeIfDead();
        return new KuduError('timeout', `${call.method} at ${this.address}: no answer in time`, {
          address: this.address,
        });
      });
    } finally {
      this.#pending.delete(header.callId);
    }
  }

  /** Ends the connection; calls in flight reject with `reason`. A second close changes nothing. */
  close(reason: KuduError): void {
    if (this.#closedBy) return;
    this.#closedBy = reason;
    while (this.#socket.writableCorked > 0) this.#socket.uncork(); // what was called just now
    this.#socket.destroy();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const call of pending) call.reject(reason);
    this.#onClose();
  }

  /** A peer whose machine vanished never closes its end; new calls must not go on waiting on it. */
  #closeIfDead(): void {
    if (this.#silentSinceMs === null || performance.now() - this.#silentSinceMs < SILENCE_MS) return;
    this.close(
      new KuduError('network', `${this.address} has not answered anything for long`, { address: this.address }),
    );
  }

  #send(callId: number, call: RawCall, pieces: readonly Uint8Array[]): Promise<ResponseFrame> {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (bytes > MAX_REQUEST_BYTES)
      throw new KuduError('usage', `${call.method}: a request of ${bytes} bytes; servers take ${MAX_REQUEST_BYTES}`, {
        notRun: true,
      });
    const response = new Promise<ResponseFrame>((resolve, reject) => {
      this.#pending.set(callId, { method: call.method, resolve, reject });
    });
    this.#silentSinceMs ??= performance.now();
    this.#write(pieces);
    return response;
  }

  #write(pieces: readonly Uint8Array[]): void {
    this.lastUsedMs = performance.now();
    this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece);
    // Calls that are made together go out together: each writing of its own costs more than all else of a small call.
    process.nextTick(() => {
      this.#socket.uncork();
    });
  }

  #onData(chunk: Buffer): void {
    this.lastUsedMs = performance.now();
    this.#silentSinceMs = null;
    try {
      for (const frame of this.#frames.push(chunk)) this.#onResponse(decodeResponse(frame));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.close(new KuduError('protocol', `${this.address}: ${message}`, { address: this.address, cause: error }));
    }
  }

  #onResponse(response: ResponseFrame): void {
    const call = this.#pending.get(response.header.callId);
    let failure: KuduError | null = null;
    if (response.header.isError) {
      const status = decodeMessage(ErrorStatusPBSchema, response.body);
      failure = rpcError(this.address, call?.method ?? 'a call', status);
    }
    if (call) {
      this.#pending.delete(response.header.callId);
      if (failure) call.reject(failure);
      else call.resolve(response);
    }
    // After a FATAL_ code the server reads nothing more from this connection.
    if (failure && isFatal(failure.code)) this.close(failure);
  }

  async #negotiate(authenticator: Authenticator): Promise<void> {
    this.#socket.write(CONNECTION_PREAMBLE);
    const exchange = async (step: Omit<Partial<NegotiatePB>, '$typeName'> & { step: number }): Promise<NegotiatePB> => {
      const call = {
        service: '',
        method: 'negotiation',
        body: toBinary(NegotiatePBSchema, create(NegotiatePBSchema, step)),
      };
      const pieces = encodeRequest(newRequestHeader(NEGOTIATE_CALL_ID), call.body);
      const response = await this.#send(NEGOTIATE_CALL_ID, call, pieces);
      return decodeMessage(NegotiatePBSchema, response.body);
    };
    const answer = await exchange({
      step: NegotiateStep.NEGOTIATE,
      supportedFeatures: [RpcFeature.APPLICATION_FEATURE_FLAGS],
      authnTypes: [...authenticator.authnTypes],
    });
    if (answer.step !== NegotiateStep.NEGOTIATE)
      throw new KuduError('protocol', `${this.address} answers the offer with step ${answer.step}`, {
        address: this.address,
      });
    const { encodedNonce } = await authenticator.authenticate({ address: this.address, exchange }, answer);
    const context = create(ConnectionContextPBSchema, encodedNonce ? { encodedNonce } : {});
    // The server does not answer this one.
    this.#write(
      encodeRequest(newRequestHeader(CONNECTION_CONTEXT_CALL_ID), toBinary(ConnectionContextPBSchema, context)),
    );
  }
}

function isFatal(code: number | null): boolean {
  return (
    code !== null &&
    ((code >= RpcErrorCode.FATAL_UNKNOWN && code <= RpcErrorCode.FATAL_INVALID_AUTHENTICATION_TOKEN) ||
      code === RpcErrorCode.FATAL_INVALID_JWT)
  );
}
