import type { Logger } from '../../util/logger.ts';
import { pause } from '../../util/pause.ts';
import { waitFor } from '../../util/wait-for.ts';
import { SinkError } from '../sink.ts';
import { formatAddress, type Address } from './client.ts';
import { toSinkError } from './redis-error.ts';
import { RedisNode } from './redis-node.ts';
import type { Demands } from './server-info.ts';
import { askSentinels, Topology, type TopologyOptions } from './topology.ts';

export interface ConnectionOptions extends TopologyOptions {
  readonly demands: Demands;
  readonly waitTimeoutMs: number;
  readonly logger: Logger;
  /** More of what was written outlives a server. */
  readonly onConfirmed: () => void;
}

const ASK_SENTINELS_EVERY_MS = 1_000;

/**
 * Redis as it was found: who has which slot, and a connection to each server that was asked for. Once anything of that is not so
 * any more it is {@link lost} as a whole, and another one is opened: whoever writes then begins where Redis says.
 */
export class RedisConnection implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  readonly #topology: Topology;
  readonly #nodes = new Map<string, Promise<RedisNode>>();
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;
  #lost: SinkError | null = null;

  private constructor(options: ConnectionOptions, topology: Topology) {
    this.#options = options;
    this.#topology = topology;
    this.#following = options.servers.kind === 'sentinel' ? this.#follow(this.#stop.signal) : Promise.resolve();
  }

  /** @throws {SinkError} nobody answers who knows */
  static async open(options: ConnectionOptions, signal: AbortSignal): Promise<RedisConnection> {
    return new RedisConnection(options, await Topology.ask(options, signal));
  }

  /** Why it is not used any more; null while it is. */
  get lost(): SinkError | null {
    return this.#lost;
  }

  /** The server that has a key. @throws {SinkError} */
  async nodeOf(key: string, signal: AbortSignal): Promise<RedisNode> {
    try {
      return await this.#open(this.#topology.ownerOf(key), signal);
    } catch (error) {
      const failure = toSinkError(error, 'its address');
      if (!signal.aborted) this.#lost ??= failure;
      throw failure;
    }
  }

  /** Each server that has a slot. @throws {SinkError} */
  async allNodes(signal: AbortSignal): Promise<readonly RedisNode[]> {
    return Promise.all(this.#topology.all.map((address) => this.#open(address, signal)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lost ??= new SinkError('unavailable', 'the connection was closed');
    this.#stop.abort();
    for (const node of await Promise.allSettled(this.#nodes.values()))
      if (node.status === 'fulfilled') await node.value[Symbol.asyncDispose]();
    await this.#following;
  }

  async #open(address: Address, signal: AbortSignal): Promise<RedisNode> {
    if (this.#lost) throw this.#lost;
    const name = formatAddress(address);
    let opening = this.#nodes.get(name);
    if (opening === undefined) {
      const { access, ...rest } = this.#options;
      const onLost = (error: SinkError): void => {
        this.#lost ??= error;
      };
      // Others wait for it too, so nobody's signal ends it.
      opening = RedisNode.open(address, { ...rest, credentials: access.credentials(), onLost }, this.#stop.signal);
      this.#nodes.set(name, opening);
      opening.catch((error: unknown) => {
        onLost(toSinkError(error, name));
      });
    }
    try {
      return await waitFor(opening, signal);
    } catch (error) {
      throw signal.aborted ? new SinkError('unavailable', 'stopped', error) : toSinkError(error, name);
    }
  }

  /** A master that was replaced, and does not know it, takes what nobody will ever read. */
  async #follow(signal: AbortSignal): Promise<void> {
    const known = this.#topology.all.map(formatAddress)[0];
    const goesOn = (): boolean => !signal.aborted && this.#lost === null; // asked anew after each wait
    while (goesOn()) {
      await pause(ASK_SENTINELS_EVERY_MS, signal);
      if (!goesOn()) return;
      try {
        const now = formatAddress(await askSentinels(this.#options, signal));
        if (now !== known)
          this.#lost ??= new SinkError('unavailable', `the sentinels say that ${now} is the master now`);
      } catch {
        // Sentinels that are away say nothing of the master.
      }
    }
  }
}
