import { create, toBinary, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { KuduError } from '../errors.ts';
import type { RequestIdPB } from '../proto/rpc_pb.ts';
import type { Authenticator } from './authenticator.ts';
import { Connection, type RawCall } from './connection.ts';
import { Deadline } from './deadline.ts';
import { decodeMessage } from './framing.ts';
import { RepeatedAnswers } from './repeated-answers.ts';

/** A remote procedure: how it is called, and what goes in and comes out. */
export interface RpcMethod<I extends DescMessage, O extends DescMessage> {
  readonly service: string;
  readonly name: string;
  readonly request: I;
  readonly response: O;
  /** Doing it twice is doing it once: it may be sent again when a connection breaks under it. */
  readonly idempotent: boolean;
  /** Asked again and again: see {@link RepeatedAnswers}. */
  readonly isPolled: boolean;
}

export interface RpcOptions {
  readonly deadline: Deadline;
  readonly requestId?: RequestIdPB;
  readonly sidecars?: readonly Uint8Array[];
  readonly requiredFeatures?: readonly number[];
}

export interface RpcReply<O extends DescMessage> {
  readonly message: MessageShape<O>;
  readonly sidecars: readonly Buffer[];
}

/** Shorter than the 65 s after which servers close an idle connection (`rpc_default_keepalive_time_ms`). */
const IDLE_CLOSE_MS = 55_000;
/** Servers give a negotiation 3 s (`rpc_negotiation_timeout_ms`); connecting itself comes on top. */
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * The connections of one client: one a server, opened when first needed, closed when idle, replaced when broken.
 */
export class Messenger implements Disposable {
  readonly #authenticator: Authenticator;
  readonly #connections = new Map<string, Promise<Connection>>();
  readonly #repeated = new RepeatedAnswers();
  readonly #stop = new AbortController();
  readonly #idleTimer: NodeJS.Timeout;

  constructor(authenticator: Authenticator) {
    this.#authenticator = authenticator;
    this.#idleTimer = setInterval(() => void this.#closeIdle(), 5000);
    this.#idleTimer.unref();
  }

  /**
   * Calls `method` at `address` and waits for the answer. An error inside the answer is the caller's to look at.
   * @throws {KuduError} `network`, `timeout`, `rpc`, `protocol`; the signal's reason when it aborts
   */
  async call<I extends DescMessage, O extends DescMessage>(
    address: string,
    method: RpcMethod<I, O>,
    request: MessageInitShape<I>,
    options: RpcOptions,
  ): Promise<RpcReply<O>> {
    const raw: RawCall = {
      service: method.service,
      method: method.name,
      body: toBinary(method.request, create(method.request, request)),
      ...(options.sidecars ? { sidecars: options.sidecars } : {}),
      ...(options.requestId ? { requestId: options.requestId } : {}),
      ...(options.requiredFeatures ? { requiredFeatures: options.requiredFeatures } : {}),
    };
    const { deadline } = options;
    const reused = this.#connections.get(address);
    let connection = await this.#connection(address, deadline);
    let reply;
    try {
      reply = await connection.call(raw, deadline);
    } catch (error) {
      // A connection that was open before may have been closed by the server just now (idle, restarted): that is
      // no news for the caller if the call can be sent again. A fresh one that breaks is.
      const again = reused !== undefined && KuduError.is(error, 'network') && (error.notRun || method.idempotent);
      if (!again) throw error;
      connection = await this.#connection(address, deadline);
      reply = await connection.call(raw, deadline);
    }
    const message = method.isPolled
      ? this.#repeated.decode(`${address} ${method.service}.${method.name}`, method.response, reply.body)
      : decodeMessage(method.response, reply.body);
    return { message, sidecars: reply.sidecars };
  }

  /** Closes every connection; calls in flight, and any later ones, fail. */
  [Symbol.dispose](): void {
    if (this.#stop.signal.aborted) return;
    const reason = closedError();
    this.#stop.abort(reason);
    clearInterval(this.#idleTimer);
    for (const opening of this.#connections.values()) {
      opening.then(
        (connection) => {
          connection.close(reason);
        },
        () => undefined, // it failed to open: those who waited for it know
      );
    }
    this.#connections.clear();
  }

  async #connection(address: string, deadline: Deadline): Promise<Connection> {
    if (this.#stop.signal.aborted) throw closedError();
    let opening = this.#connections.get(address);
    if (!opening) {
      const forget = (): void => {
        if (this.#connections.get(address) === opening) this.#connections.delete(address);
      };
      // Several callers may wait for it, so it has a time of its own, and ends with the client only.
      const connectDeadline = Deadline.from({ signal: this.#stop.signal }, CONNECT_TIMEOUT_MS);
      opening = Connection.open(address, this.#authenticator, connectDeadline, forget);
      this.#connections.set(address, opening);
      opening.catch(forget);
    }
    return deadline.race(opening, () => {
      return new KuduError('timeout', `no connection to ${address} in time`, { address, notRun: true });
    });
  }

  async #closeIdle(): Promise<void> {
    for (const opening of [...this.#connections.values()]) {
      const connection = await opening.catch(() => null);
      if (connection && connection.callsInFlight === 0 && performance.now() - connection.lastUsedMs > IDLE_CLOSE_MS)
        connection.close(new KuduError('network', `${connection.address} was idle`, { notRun: true }));
    }
  }
}

function closedError(): KuduError {
  return new KuduError('usage', 'the Kudu client is closed', { notRun: true });
}
