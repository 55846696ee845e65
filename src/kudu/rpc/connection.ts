import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { create } from '@bufbuild/protobuf';
import { KuduError, rpcError, withNotRun } from '../errors.ts';
import { ErrorStatusPBSchema, RemoteMethodPBSchema, type RequestIdPB } from '../proto/rpc_pb.ts';
import type { Credentials, SecurityContext } from '../security/security-context.ts';
import { RpcErrorCode } from '../status.ts';
import { parseHostPort } from './address.ts';
import type { Deadline } from './deadline.ts';
import {
  FrameReader,
  MAX_REQUEST_BYTES,
  decodeMessage,
  decodeResponse,
  encodeRequest,
  newRequestHeader,
  type ResponseFrame,
} from './framing.ts';
import { toNobody } from './negotiation-link.ts';
import { negotiate } from './negotiation.ts';

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

/** By what a connection is negotiated. */
export interface NegotiationMeans {
  readonly security: SecurityContext;
  readonly credentials: Credentials;
}

/**
 * One negotiated TCP connection, with any number of calls in flight: answers may come in any order.
 * It never comes back from being closed; {@link Messenger} opens the next one.
 */
export class Connection {
  readonly address: string;
  /** When the last byte came or went, by the monotonic clock. */
  lastUsedMs = performance.now();
  readonly #stream: Duplex;
  readonly #frames = new FrameReader();
  readonly #pending = new Map<number, PendingCall>();
  readonly #onClose: () => void;
  /** When the first call went out after which nothing has come in; null while the peer is not owing anything. */
  #silentSinceMs: number | null = null;
  #nextCallId = 0;
  #closedBy: KuduError | null = null;

  /** @param stream negotiated, and standing still */
  private constructor(address: string, stream: Duplex, onClose: () => void) {
    this.address = address;
    this.#stream = stream;
    this.#onClose = onClose;
    stream.on('data', (chunk: Buffer) => {
      this.#onData(chunk);
    });
    stream.on('error', (cause) => {
      this.close(new KuduError('network', `the connection to ${address} broke: ${cause.message}`, { address, cause }));
    });
    stream.on('close', () => {
      this.close(new KuduError('network', `${address} closed the connection`, { address }));
    });
    stream.resume();
    // It may have broken while it was handed over, and says so no more.
    if (stream.destroyed) this.close(new KuduError('network', `${address} closed the connection`, { address }));
  }

  /**
   * Connects and negotiates.
   * @param onClose called once when the connection is of no more use
   * @throws {KuduError} `network`, `timeout`, or what the negotiation was refused with; all with `notRun`
   */
  static async open(
    address: string,
    { security, credentials }: NegotiationMeans,
    deadline: Deadline,
    onClose: () => void,
  ): Promise<Connection> {
    const { host, port } = parseHostPort(address);
    const socket = connect({ host, port });
    socket.setNoDelay(true);
    socket.on('error', toNobody);
    try {
      const negotiating = negotiate(socket, { address, credentials, security, deadline });
      const stream = await deadline.race(negotiating, () => {
        return new KuduError('timeout', `no connection to ${address} in time`, { address, notRun: true });
      });
      return new Connection(address, stream, onClose);
    } catch (error) {
      socket.destroy();
      throw error instanceof KuduError ? withNotRun(error, true) : error;
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
    while (this.#stream.writableCorked > 0) this.#stream.uncork(); // what was called just now
    this.#stream.destroy();
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
    this.#stream.cork();
    for (const piece of pieces) this.#stream.write(piece);
    // Calls that are made together go out together: each writing of its own costs more than all else of a small call.
    process.nextTick(() => {
      this.#stream.uncork();
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
}

function isFatal(code: number | null): boolean {
  return (
    code !== null &&
    ((code >= RpcErrorCode.FATAL_UNKNOWN && code <= RpcErrorCode.FATAL_INVALID_AUTHENTICATION_TOKEN) ||
      code === RpcErrorCode.FATAL_INVALID_JWT)
  );
}
