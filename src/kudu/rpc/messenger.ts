import { create, toBinary, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { KuduError } from '../errors.ts';
import type { RequestIdPB } from '../proto/rpc_pb.ts';
import type { CredentialsUse, SecurityContext } from '../security/security-context.ts';
import type { Connection, RawCall } from './connection.ts';
import { Deadline } from './deadline.ts';
import { decodeMessage } from './framing.ts';
import { openConnection } from './open-connection.ts';
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
  /** By what the connection is negotiated. Default: `any`. */
  readonly use?: Exclude<CredentialsUse, 'primary-only'>;
}

export interface RpcReply<O extends DescMessage> {
  readonly message: MessageShape<O>;
  readonly sidecars: readonly Buffer[];
}

/** Shorter than the 65 s after which servers close an idle connection (`rpc_default_keepalive_time_ms`). */
const IDLE_CLOSE_MS = 55_000;
/** Servers give a negotiation 3 s (`rpc_negotiation_timeout_ms`); connecting, and a KDC, come on top. */
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * The connections of one client: one a server (and use), opened when first needed, closed when idle, replaced when broken.
 */
export class Messenger implements Disposable {
  readonly security: SecurityContext;
  /** By use and address: whoever leads the masters is to see what the client itself has, and not its own token again. */
  readonly #connections = new Map<string, Promise<Connection>>();
  readonly #repeated = new RepeatedAnswers();
  readonly #stop = new AbortController();
  readonly #idleTimer: NodeJS.Timeout;

  /** @param security is the messenger's from here on, and ends with it */
  constructor(security: SecurityContext) {
    this.security = security;
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
    const { deadline, use = 'any' } = options;
    const reused = this.#connections.get(`${use} ${address}`);
    let connection = await this.#connection(address, use, deadline);
    let reply;
    try {
      reply = await connection.call(raw, deadline);
    } catch (error) {
      // A connection that was open before may have been closed by the server just now (idle, restarted): that is
      // no news for the caller if the call can be sent again. A fresh one that breaks is.
      const again = reused !== undefined && KuduError.is(error, 'network') && (error.notRun || method.idempotent);
      if (!again) throw error;
      connection = await this.#connection(address, use, deadline);
      reply = await connection.call(raw, deadline);
    }
    const message = method.isPolled
      ? this.#repeated.decode(`${address} ${method.service}.${method.name}`, method.response, reply.body)
      : decodeMessage(method.response, reply.body);
    return { message, sidecars: reply.sidecars };
  }

  /**
   * Calls over a connection of its own, negotiated by what the client itself has and no token, and closed afterwards.
   * @throws as {@link call}
   */
  async callAnew<I extends DescMessage, O extends DescMessage>(
    address: string,
    method: RpcMethod<I, O>,
    request: MessageInitShape<I>,
    deadline: Deadline,
  ): Promise<MessageShape<O>> {
    if (this.#stop.signal.aborted) throw closedError();
    const body = toBinary(method.request, create(method.request, request));
    const connectDeadline = Deadline.from({ signal: this.#stop.signal }, CONNECT_TIMEOUT_MS);
    const connection = await openConnection(address, this.security, 'primary-only', connectDeadline, () => undefined);
    try {
      const { body: answer } = await connection.call({ service: method.service, method: method.name, body }, deadline);
      return decodeMessage(method.response, answer);
    } finally {
      connection.close(new KuduError('network', `${address}: the call is over`, { notRun: true }));
    }
  }

  /** Closes every connection; calls in flight, and any later ones, fail. */
  [Symbol.dispose](): void {
    if (this.#stop.signal.aborted) return;
    const reason = closedError();
    this.#stop.abort(reason);
    clearInterval(this.#idleTimer);
    this.security[Symbol.dispose]();
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

  async #connection(address: string, use: CredentialsUse, deadline: Deadline): Promise<Connection> {
    if (this.#stop.signal.aborted) throw closedError();
    const key = `${use} ${address}`;
    let opening = this.#connections.get(key);
    if (!opening) {
      const forget = (): void => {
        if (this.#connections.get(key) === opening) this.#connections.delete(key);
      };
      // Several callers may wait for it, so it has a time of its own, and ends with the client only.
      const connectDeadline = Deadline.from({ signal: this.#stop.signal }, CONNECT_TIMEOUT_MS);
      opening = openConnection(address, this.security, use, connectDeadline, forget);
      this.#connections.set(key, opening);
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
