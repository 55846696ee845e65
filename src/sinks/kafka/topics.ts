import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../util/logger.ts';
import { SinkError } from '../sink.ts';
import type { KafkaCluster, Topic } from './cluster.ts';
import { waitFor } from '../../util/wait-for.ts';

export interface TopicOptions {
  readonly createTopics: boolean;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly schemaTopic: string;
}

const CREATE_TIMEOUT_MS = 5_000;
const APPEAR_PAUSE_MS = 25;

/**
 * The topics of one stream: each is looked up before its first use, created where that is wanted, and then known until
 * an error says that it changed. Its partition count is the topic's own, whatever the stream asks for.
 */
export class StreamTopics {
  readonly #cluster: KafkaCluster;
  readonly #options: TopicOptions;
  readonly #logger: Logger;
  /** Look-ups are shared between tablets, so none of their signals may end one. */
  readonly #lifetime: AbortSignal;
  /** Also those being looked up, so that the tablets of a table ask once. */
  readonly #known = new Map<string, Promise<Topic | null>>();

  constructor(cluster: KafkaCluster, options: TopicOptions, logger: Logger, lifetime: AbortSignal) {
    this.#cluster = cluster;
    this.#options = options;
    this.#logger = logger;
    this.#lifetime = lifetime;
  }

  get schemaTopic(): string {
    return this.#options.schemaTopic;
  }

  /** @throws {SinkError} `refused`, naming the topic, when it is missing and may not be created */
  async require(name: string, signal: AbortSignal): Promise<Topic> {
    const topic = await this.find(name, signal);
    if (topic === null)
      throw new SinkError(
        'refused',
        `topic ${name} does not exist and the stream may not create it (createTopics is false)`,
      );
    return topic;
  }

  /** The topic, created when it is missing and may be; null when it is missing and may not. */
  async find(name: string, signal: AbortSignal): Promise<Topic | null> {
    let looking = this.#known.get(name);
    if (looking === undefined) this.#known.set(name, (looking = this.#look(name, this.#lifetime)));
    try {
      const topic = await waitFor(looking, signal);
      if (topic === null) this.#forget(name, looking); // it may be there the next time
      return topic;
    } catch (error) {
      if (!signal.aborted) this.#forget(name, looking);
      throw error;
    }
  }

  /** After an error: leaders may have moved, a topic may be gone. */
  forgetAll(): void {
    this.#known.clear();
  }

  #forget(name: string, looking: Promise<Topic | null>): void {
    if (this.#known.get(name) === looking) this.#known.delete(name);
  }

  async #look(name: string, signal: AbortSignal): Promise<Topic | null> {
    const there = (await this.#cluster.findTopics([name], signal)).get(name);
    if (there === undefined) {
      if (!this.#options.createTopics) return null;
      await this.#create(name, signal);
    }
    return this.#waitUntilLed(name, signal);
  }

  async #create(topic: string, signal: AbortSignal): Promise<void> {
    const schema = topic === this.#options.schemaTopic;
    const partitions = schema ? 1 : this.#options.partitions;
    const config: Record<string, string> = schema ? { 'cleanup.policy': 'compact' } : {};
    const { replicationFactor } = this.#options;
    await this.#cluster.createTopics([{ topic, partitions, replicationFactor, config }], CREATE_TIMEOUT_MS, signal);
    this.#logger.info({ topic, partitions }, 'topic created');
  }

  /** A topic that was just made, by us or another sidecar, is listed before its leaders know of it. */
  async #waitUntilLed(name: string, signal: AbortSignal): Promise<Topic> {
    for (let waitedMs = 0; ; waitedMs += APPEAR_PAUSE_MS) {
      try {
        const topic = (await this.#cluster.findTopics([name], signal)).get(name);
        if (topic === undefined) throw new SinkError('unavailable', `topic ${name} was created and is not there yet`);
        await this.#cluster.checkLeaders(topic, signal);
        return topic;
      } catch (error) {
        if (waitedMs >= CREATE_TIMEOUT_MS) throw error;
      }
      await sleep(APPEAR_PAUSE_MS, undefined, { signal });
    }
  }
}
