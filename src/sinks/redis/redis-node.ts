import type { Redis } from 'ioredis';
import type { Logger } from '../../util/logger.ts';
import { pause } from '../../util/pause.ts';
import { SinkError } from '../sink.ts';
import { connect, cut, formatAddress, type Address, type ClientOptions } from './client.ts';
import { toSinkError, wantsReconnect, errorWord } from './redis-error.ts';
import type { Script } from './scripts.ts';
import { durabilityOf, parseInfo, troubleOf, type Demands, type Durability, type ServerFacts } from './server-info.ts';

export interface NodeOptions extends ClientOptions {
  readonly demands: Demands;
  /** Of one WAIT or WAITAOF. */
  readonly waitTimeoutMs: number;
  readonly logger: Logger;
  /** The server is not, or may not be, what it was. Told once. */
  readonly onLost: (error: SinkError) => void;
  /** More of what was noted outlives the server. */
  readonly onConfirmed: () => void;
}

const PROBE_EVERY_MS = 1_000;
const CONFIRM_EVERY_MS = 100;
/** By then what `everysec` promises to do each second is done. Source: redis/src/aof.c flushAppendOnlyFile. */
const EVERYSEC_MS = 2_000;
const NOSCRIPT = 'NOSCRIPT';

/**
 * One server, as long as neither of our two connections to it breaks: one for records, one by which it is watched (how full it is,
 * whether it still is what it was, what of the records outlives it).
 */
export class RedisNode implements AsyncDisposable {
  readonly address: string;
  readonly #data: Redis;
  readonly #watch: Redis;
  readonly #options: NodeOptions;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  #facts: ServerFacts;
  #appendfsync: string | null;
  #sentBytes = 0;
  #isLost = false;
  /** Writes that were answered, counted. */
  #noted = 0;
  #onDisk = 0;
  #onReplicas = 0;
  /** The lower of the two. */
  #confirmed = 0;
  /** A hash here that may be written to. */
  #hash: string | null = null;
  #samples: { readonly atMs: number; readonly noted: number }[] = [];
  #warned = '';

  private constructor(
    address: string,
    clients: { readonly data: Redis; readonly watch: Redis },
    facts: ServerFacts,
    options: NodeOptions,
  ) {
    this.address = address;
    this.#data = clients.data;
    this.#watch = clients.watch;
    this.#facts = facts;
    this.#appendfsync = facts.appendfsync;
    this.#options = options;
    for (const client of [clients.data, clients.watch])
      client.once('end', () => {
        this.#lose(new SinkError('unavailable', `Redis at ${address}: the connection broke`));
      });
    this.#watching = this.#run(this.#stop.signal);
  }

  /** @throws {SinkError} it cannot be reached, or asked */
  static async open(address: Address, options: NodeOptions, signal: AbortSignal): Promise<RedisNode> {
    const name = formatAddress(address);
    const data = await connect(address, options, signal);
    let watch: Redis | null = null;
    try {
      // WAIT holds it up for as long as it may take.
      const commandTimeoutMs = options.commandTimeoutMs + 2 * options.waitTimeoutMs;
      watch = await connect(address, { ...options, commandTimeoutMs }, signal);
      const appendfsync = await appendfsyncOf(watch);
      const facts = parseInfo(await infoOf(watch), appendfsync);
      return new RedisNode(name, { data, watch }, facts, options);
    } catch (error) {
      data.disconnect();
      watch?.disconnect();
      throw toSinkError(error, name);
    }
  }

  get durability(): Durability {
    return durabilityOf(this.#facts, this.#options.demands);
  }

  get facts(): ServerFacts {
    return this.#facts;
  }

  /** What of {@link note} outlives the server. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /** @throws {SinkError} it would not take what is written, or not keep it */
  throwIfTroubled(): void {
    const trouble = troubleOf(this.#facts, this.#options.demands, this.#sentBytes);
    if (trouble === null) return;
    const error = new SinkError(trouble.kind, `Redis at ${this.address}: ${trouble.message}`);
    if (trouble.reconnects) this.#lose(error);
    throw error;
  }

  /** @throws {SinkError} */
  async run(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<unknown> {
    for (const arg of args) this.#sentBytes += arg.length;
    const rest = [keys.length, ...keys, ...args] as const;
    return this.ask(async (client) => {
      try {
        return await client.evalsha(script.sha, ...rest);
      } catch (error) {
        if (errorWord(error) !== NOSCRIPT) throw error;
        return await client.eval(script.text, ...rest);
      }
    });
  }

  /** Whatever else is asked there, by the connection of records. @throws {SinkError} */
  async ask<T>(work: (client: Redis) => Promise<T>): Promise<T> {
    try {
      return await work(this.#data);
    } catch (error) {
      const failure = toSinkError(error, this.address);
      if (wantsReconnect(error)) this.#lose(failure);
      throw failure;
    }
  }

  /** What was answered until now is there. @param hash that was written to @returns what {@link confirmed} is to reach */
  note(hash: string): number {
    this.#hash = hash;
    this.#noted++;
    if (this.durability === 'at-once') this.#confirmed = this.#noted;
    return this.#noted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isLost = true;
    this.#stop.abort();
    cut(this.#data);
    cut(this.#watch);
    await this.#watching;
  }

  async #run(signal: AbortSignal): Promise<void> {
    let probedAtMs = performance.now();
    const goesOn = (): boolean => !signal.aborted && !this.#isLost; // asked anew after each wait
    while (goesOn()) {
      await pause(CONFIRM_EVERY_MS, signal);
      if (!goesOn()) return;
      try {
        if (performance.now() - probedAtMs >= PROBE_EVERY_MS) {
          probedAtMs = performance.now();
          await this.#probe();
        }
        if (this.#confirmed < this.#noted) await this.#confirm();
      } catch (error) {
        const failure = toSinkError(error, this.address);
        if (wantsReconnect(error)) this.#lose(failure);
        else this.#warn(failure.message);
      }
    }
  }

  async #probe(): Promise<void> {
    const noted = this.#noted;
    const atMs = performance.now();
    const sentBefore = this.#sentBytes;
    const facts = parseInfo(await infoOf(this.#watch), this.#appendfsync);
    this.#sentBytes -= sentBefore;
    const { runId } = this.#facts;
    this.#facts = facts;
    if (facts.runId !== runId || facts.isReplica)
      this.#lose(new SinkError('unavailable', `Redis at ${this.address}: it is another server by now, or a replica`));
    if (noted > Math.max(this.#confirmed, this.#samples.at(-1)?.noted ?? 0)) this.#samples.push({ atMs, noted });
  }

  async #confirm(): Promise<void> {
    const { demands, waitTimeoutMs } = this.#options;
    const noted = this.#noted;
    const { durability } = this;
    const asksDisk = durability === 'fsync-asked';
    // WAIT and WAITAOF are about what the same connection wrote, so this one writes behind the records.
    if ((asksDisk || demands.replicas > 0) && this.#hash !== null) await this.#watch.hset(this.#hash, 'asked', noted);
    if (asksDisk) {
      const [local] = (await this.#watch.call('WAITAOF', 1, 0, waitTimeoutMs)) as [number, number];
      if (local > 0) this.#onDisk = noted;
    } else this.#onDisk = durability === 'fsync-each-second' ? this.#syncedByTime() : noted;
    if (demands.replicas > 0) {
      const have = await this.#watch.wait(demands.replicas, waitTimeoutMs);
      if (have >= demands.replicas) this.#onReplicas = noted;
      else this.#warn(`fewer than ${demands.replicas} replicas have what is written, wait.replicas says as many`);
    } else if (durability !== 'replicas') this.#onReplicas = noted;
    // Each by itself: while more is written all the time the last of it is never on disk when the replicas say that they have it.
    const confirmed = Math.min(this.#onDisk, this.#onReplicas);
    if (confirmed <= this.#confirmed) return;
    this.#confirmed = confirmed;
    this.#options.onConfirmed();
  }

  /** What was written so long ago that it is on disk, if the disk keeps up. */
  #syncedByTime(): number {
    const { isAofSound, pendingFsyncs } = this.#facts;
    if (!isAofSound || pendingFsyncs > 0) return this.#onDisk;
    const until = performance.now() - EVERYSEC_MS;
    const at = this.#samples.findLastIndex(({ atMs }) => atMs <= until);
    if (at < 0) return this.#onDisk;
    const { noted } = this.#samples[at]!;
    this.#samples = this.#samples.slice(at + 1);
    return noted;
  }

  /** Once for each new reason. */
  #warn(reason: string): void {
    if (reason !== this.#warned)
      this.#options.logger.warn({ redis: this.address, reason }, 'redis does not say what it has saved');
    this.#warned = reason;
  }

  #lose(error: SinkError): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#stop.abort();
    cut(this.#data);
    cut(this.#watch);
    this.#options.onLost(error);
  }
}

function infoOf(client: Redis): Promise<string> {
  return client.info('server', 'memory', 'persistence', 'replication');
}

/** Null where we may not ask. */
async function appendfsyncOf(client: Redis): Promise<string | null> {
  try {
    const answer = await client.config('GET', 'appendfsync');
    return answer[1] ?? null;
  } catch (error) {
    if (errorWord(error) !== 'NOPERM') throw error;
    return null;
  }
}
