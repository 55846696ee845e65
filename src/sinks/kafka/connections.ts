import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel, type ISocketFactory, type Logger as KafkajsLogger } from 'kafkajs';
import Broker from 'kafkajs/src/broker/index.js';
import connectionPoolBuilder from 'kafkajs/src/cluster/connectionPoolBuilder.js';
import createSocketFactory from 'kafkajs/src/network/socketFactory.js';
import type { Logger } from '../../util/logger.ts';
import { steadyNow } from '../../util/steady-clock.ts';
import { waitFor } from '../../util/wait-for.ts';
import { BrokerPatience } from './broker-patience.ts';
import { QuotaWaits } from './quota-waits.ts';
import { OPEN_ACCESS, type KafkaAccess } from './security/access.ts';
import { reauthenticatedBeforeEndMs } from './security/session-life.ts';
import type { Api } from './wire/api.ts';
import { UnknownApiError, unspokenBy, versionFor, type Unspoken } from './spoken-version.ts';
import { sendFramed } from './wire/framed-request.ts';

export interface ConnectionOptions {
  readonly clientId: string;
  /** In the clear, and as nobody, where it is left out. */
  readonly access?: KafkaAccess;
  readonly socketFactory?: ISocketFactory;
  /** For TCP, which the broker's system answers even where the broker is slow. */
  readonly connectTimeoutMs: number;
  /** How long a broker may be silent; see {@link BrokerPatience} for one that is slow. */
  readonly requestTimeoutMs: number;
  readonly logger: Logger;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A quota of a broker's holds requests back: in words, and since when. */
export interface Throttling {
  readonly for: string;
  readonly sinceMs: number;
}

/** For messages and as a key. */
export function formatAddress({ host, port }: Address): string {
  return `${host}:${port}`;
}

/**
 * Sockets to brokers, by kafkajs: TCP, TLS, SASL, and whose an answer is. A socket is opened at its first request, closed by the
 * broker when idle, and opened again.
 *
 * A broker works on one request of a socket at a time, so writers are spread over a few channels: tablets of one channel wait
 * for each other, and 200 tablets need no 200 sockets.
 */
export class KafkaConnections implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  readonly #logger: KafkajsLogger;
  readonly #channels = new Map<string, Channel>();
  /** By address: a channel that ends leaves to the next what it has learned. */
  readonly #patience = new Map<string, BrokerPatience>();
  readonly #closing = new Set<Promise<void>>();
  readonly quotaWaits: QuotaWaits;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.quotaWaits = new QuotaWaits(options.logger);
    // Whatever kafkajs complains of also comes back to us as a rejection, which is logged where it is handled.
    const logCreator = () => (entry: { log: { message: string } }) => {
      options.logger.debug({ kafkajs: entry.log.message }, 'kafka client');
    };
    this.#logger = new Kafka({ brokers: [], logLevel: logLevel.WARN, logCreator }).logger();
  }

  /**
   * Sends one request and resolves with its answer. Requests of one channel to one address are sent, and worked on by the
   * broker, in the order of the calls. After a time-out or a lost connection the socket is not used again.
   */
  async send<Q, S>(address: Address, channel: number, api: Api<Q, S>, request: Q, signal: AbortSignal): Promise<S> {
    return waitFor(this.request(address, channel, api, request, signal), signal);
  }

  /**
   * As {@link send}, and what is on the wire is not given up when `signal` aborts: it settles when the broker has answered,
   * or the socket is gone, which says nothing of what the broker has taken, or will. One that was not sent by then never is.
   * @param onSent called when the broker may have the request from now on
   */
  async request<Q, S>(
    address: Address,
    channel: number,
    api: Api<Q, S>,
    request: Q,
    signal: AbortSignal,
    onSent: () => void = () => undefined,
  ): Promise<S> {
    signal.throwIfAborted();
    const key = `${formatAddress(address)}/${channel}`;
    let open = this.#channels.get(key);
    if (open === undefined) this.#channels.set(key, (open = this.#newChannel(address)));
    try {
      return await open.send(api, request, signal, onSent);
    } catch (error) {
      // Before anything is sent it is known that a broker does not speak an API: nothing is wrong with the socket.
      const isUnsent = error instanceof UnknownApiError || error instanceof NotSentError;
      if (!isUnsent && this.#channels.get(key) === open) this.#drop(key, open);
      throw error;
    }
  }

  /** Which of these the broker does not speak, in any version that we have. It is asked once, at the connection's start. */
  async unspoken(address: Address, apis: readonly Api<never, unknown>[], signal: AbortSignal): Promise<Unspoken> {
    const channel = this.#newChannel(address);
    try {
      return await waitFor(channel.unspoken(apis), signal);
    } finally {
      this.#drop('', channel);
    }
  }

  /** What holds the requests of this channel back, whatever the broker; null where nothing does. */
  throttling(channel: number): Throttling | null {
    for (const [key, open] of this.#channels)
      if (key.endsWith(`/${channel}`) && open.throttling) return open.throttling;
    return null;
  }

  /** How long this broker is waited for, whatever the channel. */
  patienceWith(address: Address): BrokerPatience {
    const key = formatAddress(address);
    let patience = this.#patience.get(key);
    if (patience === undefined)
      this.#patience.set(key, (patience = new BrokerPatience(this.#options.requestTimeoutMs)));
    return patience;
  }

  /** With the slowest broker that was spoken to. */
  get longestPatienceMs(): number {
    return Math.max(this.#options.requestTimeoutMs, ...Array.from(this.#patience.values(), ({ ms }) => ms));
  }

  /** Closes all sockets; what is still under way on them is cut off. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const [key, channel] of this.#channels) this.#drop(key, channel);
    await Promise.all(this.#closing);
  }

  #newChannel(address: Address): Channel {
    const onThrottle = (ms: number): void => {
      this.quotaWaits.note(formatAddress(address), ms, performance.now());
    };
    return new Channel(address, this.#options, this.patienceWith(address), this.#logger, onThrottle);
  }

  #drop(key: string, channel: Channel): void {
    this.#channels.delete(key);
    const closing = channel[Symbol.asyncDispose]().catch((error: unknown) => {
      this.#options.logger.debug({ err: error }, 'kafka connection did not close cleanly');
    });
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }
}

const CLOSE_WITHIN_MS = 1_000;
/** A quota that let a request through and holds the next one back is one wait for whoever looks. */
const THROTTLED_FOR_MS = 5_000;

/** One socket to one broker. */
class Channel implements AsyncDisposable {
  readonly #address: Address;
  readonly #options: ConnectionOptions;
  readonly #access: KafkaAccess;
  readonly #patience: BrokerPatience;
  readonly #broker: Promise<Broker>;
  readonly #cut = new AbortController();
  /** Looks for silence; null while the channel is idle. */
  #silence: NodeJS.Timeout | null = null;
  #heardAtMs = 0;
  /** The patience when it was last heard: what another channel learns meanwhile is for the next silence. */
  #allowedMs = 0;
  #socket: Socket | null = null;
  #connecting: Promise<void> | null = null;
  #underWay = 0;
  /** While a quota makes the broker want to hear nothing. */
  #throttled: Promise<void> | null = null;
  /** When that began, and when it will have ended, one after the other counted as one. */
  #throttledMs = { since: 0, until: Number.NEGATIVE_INFINITY };

  /** The same of the end, as timers count. */
  #throttledUntilMs = 0;
  readonly #noteThrottle: (ms: number) => void;

  constructor(
    address: Address,
    options: ConnectionOptions,
    patience: BrokerPatience,
    logger: KafkajsLogger,
    noteThrottle: (ms: number) => void,
  ) {
    this.#noteThrottle = noteThrottle;
    this.#address = address;
    this.#options = options;
    this.#patience = patience;
    this.#access = options.access ?? OPEN_ACCESS;
    const { login } = this.#access;
    const pool = connectionPoolBuilder({
      brokers: [],
      clientId: options.clientId,
      ...(login && {
        sasl: {
          mechanism: login.mechanism,
          authenticationProvider: (connection) => ({ authenticate: () => login.authenticate(connection) }),
        },
      }),
      connectionTimeout: options.connectTimeoutMs + patience.ms, // TCP and then TLS; we watch each of them
      requestTimeout: patience.ms,
      enforceRequestTimeout: false, // it looks ten times a second, on an idle socket too; see #watch
      socketFactory: (to) => this.#createSocket(to),
      logger,
    }).build(address);
    this.#broker = pool.then((connectionPool) => {
      // From its first answer on kafkajs looks for requests to send later a thousand times a second. There are none:
      // we hold back ourselves what a quota wants held back.
      for (const connection of connectionPool.pool) {
        connection.requestQueue.scheduleCheckPendingRequests = () => undefined;
        Object.defineProperty(connection, 'reauthenticationThreshold', {
          get: () => reauthenticatedBeforeEndMs(Number(connection.sessionLifetime)),
        });
      }
      return new Broker({
        connectionPool,
        logger,
        authenticationTimeout: options.connectTimeoutMs,
        allowAutoTopicCreation: false,
      });
    });
  }

  get throttling(): Throttling | null {
    const { since, until } = this.#throttledMs;
    if (steadyNow() > until + THROTTLED_FOR_MS) return null;
    return { for: `Kafka's quota: the broker at ${formatAddress(this.#address)} throttles`, sinceMs: since };
  }

  async send<Q, S>(api: Api<Q, S>, request: Q, signal: AbortSignal, onSent: () => void): Promise<S> {
    const broker = await this.#ready();
    // A handshake that failed a moment ago: what the broker speaks is not known, and not nothing.
    if (!broker.versions) throw new Error('connection closed before the handshake was over');
    const spoken = versionFor(broker, api);
    while (this.#throttled) await this.#throttled;
    if (signal.aborted) throw new NotSentError(signal.reason);
    onSent();
    return this.#watch(async () => {
      const { throttleMs, value } = spoken.decode(
        await sendFramed(broker.connectionPool, spoken, spoken.encode(request)),
      );
      if (throttleMs > 0) this.#onThrottle(throttleMs);
      return value;
    });
  }

  async unspoken(apis: readonly Api<never, unknown>[]): Promise<Unspoken> {
    return unspokenBy(await this.#ready(), apis);
  }

  async [Symbol.asyncDispose](): Promise<void> {
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
      // Whoever gives tokens and tickets is not the broker: neither is kept waiting for the other, nor takes the blame for it.
      await this.#access.login?.prepare(this.#address.host, this.#cut.signal);
      await this.#watch(() => broker.connect());
    } finally {
      this.#connecting = null;
    }
  }

  /**
   * Ends the channel when requests are under way and nothing has been heard for as long as we have patience. Requests wait
   * for those before them, so a long wait of one says nothing as long as something comes.
   */
  async #watch<T>(work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    if (this.#underWay++ === 0) this.#heard();
    if (this.#silence === null) this.#lookForSilenceIn(this.#allowedMs);
    try {
      const done = await waitFor(work(), this.#cut.signal);
      this.#patience.answered(performance.now() - startMs, performance.now());
      return done;
    } finally {
      this.#underWay--;
    }
  }

  readonly #onThrottle = (ms: number): void => {
    this.#noteThrottle(ms);
    this.#throttledUntilMs = Math.max(this.#throttledUntilMs, performance.now() + ms);
    const nowMs = steadyNow();
    const since = nowMs > this.#throttledMs.until + THROTTLED_FOR_MS ? nowMs : this.#throttledMs.since;
    this.#throttledMs = { since, until: nowMs + ms };
    this.#throttled ??= sleep(ms, undefined, { ref: false }).then(() => void (this.#throttled = null));
  };

  #heard(): void {
    this.#heardAtMs = performance.now();
    this.#allowedMs = this.#patience.ms;
  }

  /**
   * A timer that looks when the channel last heard something costs less than one that is set anew by every answer. It looks
   * in time also where the patience has become less meanwhile.
   */
  #lookForSilenceIn(ms: number): void {
    this.#silence = setTimeout(
      () => {
        this.#silence = null;
        if (this.#underWay === 0) return;
        const nowMs = performance.now();
        // A broker does not read what was sent before it asked us to wait until the wait is over.
        const leftMs = Math.max(this.#heardAtMs, this.#throttledUntilMs) + this.#allowedMs - nowMs;
        if (leftMs > 0) {
          this.#lookForSilenceIn(leftMs);
          return;
        }
        this.#patience.ranOut(this.#allowedMs, nowMs);
        this.#end(`no answer for ${this.#allowedMs} ms`);
      },
      Math.min(ms, this.#options.requestTimeoutMs),
    ).unref();
  }

  #createSocket(to: Parameters<ISocketFactory>[0]): Socket {
    const { connectTimeoutMs, socketFactory = createSocketFactory() } = this.#options;
    const tls = this.#access.tls();
    const socket = socketFactory(tls === null ? to : { ...to, ssl: { ...tls } });
    this.#socket = socket;
    const connecting = setTimeout(() => {
      if (socket.connecting) this.#end(`no connection for ${connectTimeoutMs} ms`);
    }, connectTimeoutMs).unref();
    // A handshake is several answers, each as slow as any other; so a silence ends with whatever comes.
    for (const sign of ['connect', 'secureConnect', 'data'])
      socket.on(sign, () => {
        this.#heard();
      });
    // kafkajs listens for `end` and `error` only; a socket may go without either.
    socket.once('close', () => {
      clearTimeout(connecting);
      if (this.#socket === socket && this.#underWay > 0) this.#end('connection closed');
    });
    return socket;
  }

  /** For good: all that is under way fails. A socket that is only asked to close would wait for a peer that is gone. */
  #end(reason: string): void {
    const error = new Error(reason);
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#cut.abort(error);
    this.#socket?.destroy(error);
  }
}

/** Whoever wanted it sent did not want it any more when its turn came. */
class NotSentError extends Error {
  override readonly name = 'AbortError';

  constructor(reason: unknown) {
    super(reason instanceof Error ? reason.message : String(reason), { cause: reason });
  }
}
