import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import Broker from 'kafkajs/src/broker/index.js';
import connectionPoolBuilder from 'kafkajs/src/cluster/connectionPoolBuilder.js';
import createSocketFactory from 'kafkajs/src/network/socketFactory.js';
import type { ISocketFactory, KafkaConfig, Logger as KafkajsLogger } from 'kafkajs';
import type { Logger } from '../../util/logger.ts';
import { SinkError } from '../sink.ts';
import { waitFor } from '../../util/wait-for.ts';
import type { Api } from './wire/apis.ts';

export interface ConnectionOptions {
  readonly clientId: string;
  readonly ssl?: KafkaConfig['ssl'];
  readonly sasl?: KafkaConfig['sasl'];
  readonly socketFactory?: ISocketFactory;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly logger: Logger;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * Sockets to brokers, by kafkajs: TCP, TLS, SASL, framing. A socket is opened at its first request, closed by the
 * broker when idle, and opened again.
 *
 * A broker works on one request of a socket at a time, so writers are spread over a few lanes: tablets of one lane wait
 * for each other, and 200 tablets need no 200 sockets.
 */
export class KafkaConnections implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  readonly #logger: KafkajsLogger;
  readonly #lanes = new Map<string, Lane>();
  readonly #closing = new Set<Promise<void>>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
    // Whatever kafkajs complains of also comes back to us as a rejection, which is logged where it is handled.
    const logCreator = () => (entry: { log: { message: string } }) => {
      options.logger.debug({ kafkajs: entry.log.message }, 'kafka client');
    };
    this.#logger = new Kafka({ brokers: [], logLevel: logLevel.WARN, logCreator }).logger();
  }

  /**
   * Sends one request and resolves with its answer. Requests of one lane to one address are sent, and worked on by the
   * broker, in the order of the calls. After a time-out or a lost connection the socket is not used again.
   */
  async send<Q, S>(address: Address, lane: number, api: Api<Q, S>, request: Q, signal: AbortSignal): Promise<S> {
    signal.throwIfAborted();
    const key = `${address.host}:${address.port}/${lane}`;
    let open = this.#lanes.get(key);
    if (open === undefined) this.#lanes.set(key, (open = new Lane(address, this.#options, this.#logger)));
    try {
      return await waitFor(open.send(api, request), signal);
    } catch (error) {
      if (!signal.aborted && this.#lanes.get(key) === open) this.#drop(key, open);
      throw error;
    }
  }

  /** Closes all sockets; what is still under way on them is cut off. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const [key, lane] of this.#lanes) this.#drop(key, lane);
    await Promise.all(this.#closing);
  }

  #drop(key: string, lane: Lane): void {
    this.#lanes.delete(key);
    const closing = lane[Symbol.asyncDispose]().catch((error: unknown) => {
      this.#options.logger.debug({ err: error }, 'kafka connection did not close cleanly');
    });
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }
}

const CLOSE_WITHIN_MS = 1_000;

/** One socket to one broker. */
class Lane implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  readonly #broker: Promise<Broker>;
  readonly #silence: NodeJS.Timeout;
  readonly #cut = new AbortController();
  #socket: Socket | null = null;
  #connecting: Promise<void> | null = null;
  #underWay = 0;
  /** While a quota makes the broker want to hear nothing. */
  #throttled: Promise<void> | null = null;

  constructor(address: Address, options: ConnectionOptions, logger: KafkajsLogger) {
    this.#options = options;
    const pool = connectionPoolBuilder({
      brokers: [],
      clientId: options.clientId,
      ...(options.ssl === undefined ? {} : { ssl: options.ssl }),
      ...(options.sasl === undefined ? {} : { sasl: options.sasl }),
      connectionTimeout: options.connectTimeoutMs,
      requestTimeout: options.requestTimeoutMs,
      enforceRequestTimeout: false, // it looks ten times a second, on an idle socket too; see #watch
      socketFactory: (to) => this.#createSocket(to),
      logger,
    }).build(address);
    this.#broker = pool.then((connectionPool) => {
      // From its first answer on kafkajs looks for requests to send later a thousand times a second. There are none:
      // we hold back ourselves what a quota wants held back.
      for (const { requestQueue } of connectionPool.pool) requestQueue.scheduleCheckPendingRequests = () => undefined;
      return new Broker({
        connectionPool,
        logger,
        authenticationTimeout: options.connectTimeoutMs,
        allowAutoTopicCreation: false,
      });
    });
    this.#silence = setTimeout(() => {
      if (this.#underWay > 0) this.#end(`no answer for ${options.requestTimeoutMs} ms`);
    }, options.requestTimeoutMs).unref();
  }

  async send<Q, S>(api: Api<Q, S>, request: Q): Promise<S> {
    const broker = await this.#ready();
    checkVersion(broker, api);
    while (this.#throttled) await this.#throttled;
    const onThrottle = (ms: number): void => {
      this.#throttled ??= sleep(ms, undefined, { ref: false }).then(() => void (this.#throttled = null));
    };
    return this.#watch(() => broker.connectionPool.send(exchange(api, request, onThrottle)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#silence);
    this.#end('connection closed');
    // kafkajs waits for every answer; one that it lost count of must not keep us.
    await waitFor((await this.#broker).disconnect(), AbortSignal.timeout(CLOSE_WITHIN_MS));
  }

  /** The broker, connected and authenticated: anew where it closed an idle socket or the session ran out. */
  async #ready(): Promise<Broker> {
    const broker = await this.#broker;
    // kafkajs says `connected` before the handshake is over, so all callers wait for the same promise.
    this.#connecting ??= broker.isConnected() ? null : this.#connect(broker);
    await this.#connecting;
    return broker;
  }

  async #connect(broker: Broker): Promise<void> {
    try {
      // kafkajs lets a connect hang for ever when the peer closes before the handshake is over.
      await this.#watch(() => waitFor(broker.connect(), AbortSignal.timeout(2 * this.#options.connectTimeoutMs)));
    } finally {
      this.#connecting = null;
    }
  }

  /**
   * Ends the lane when requests are under way and none has been answered for the request time-out. Requests wait for
   * those before them, so a long wait of one says nothing as long as others are answered.
   */
  async #watch<T>(work: () => Promise<T>): Promise<T> {
    if (this.#underWay++ === 0) this.#silence.refresh();
    try {
      return await waitFor(work(), this.#cut.signal);
    } finally {
      this.#underWay--;
      this.#silence.refresh();
    }
  }

  #createSocket(to: Parameters<ISocketFactory>[0]): Socket {
    const socket = (this.#options.socketFactory ?? createSocketFactory())(to);
    this.#socket = socket;
    // kafkajs listens for `end` and `error` only; a socket may go without either.
    socket.once('close', () => {
      if (this.#socket === socket && this.#underWay > 0) this.#end('connection closed');
    });
    return socket;
  }

  /** For good: all that is under way fails. A socket that is only asked to close would wait for a peer that is gone. */
  #end(reason: string): void {
    const error = new Error(reason);
    this.#cut.abort(error);
    this.#socket?.destroy(error);
  }
}

function exchange<Q, S>(api: Api<Q, S>, request: Q, onThrottle: (ms: number) => void) {
  return {
    request: {
      apiKey: api.key,
      apiVersion: api.version,
      apiName: api.name,
      encode: () => {
        const buffer = api.encode(request);
        return Promise.resolve({ buf: buffer, buffer });
      },
    },
    response: {
      decode: (payload: Buffer) => {
        const { throttleMs, value } = api.decode(payload);
        if (throttleMs > 0) onThrottle(throttleMs);
        return Promise.resolve({ clientSideThrottleTime: 0 as const, value });
      },
      parse: (decoded: { readonly value: S }) => Promise.resolve(decoded.value),
    },
    logResponseError: false,
  };
}

/** A request that this broker does not know. */
export class UnknownApiError extends SinkError {
  constructor(api: Api<never, unknown>) {
    super('refused', `the broker does not speak ${api.name} version ${api.version}; Spoor needs Kafka 2.5 or newer`);
  }
}

function checkVersion(broker: Broker, api: Api<never, unknown>): void {
  const range = broker.versions?.[api.key];
  if (range === undefined || range.minVersion > api.version || range.maxVersion < api.version)
    throw new UnknownApiError(api);
}
