import type { Logger } from '../../util/logger.ts';
import { SinkError } from '../sink.ts';
import { COMPACT } from './cleanup-policy.ts';
import type { KafkaCluster, Topic } from './cluster.ts';
import { waitFor } from '../../util/wait-for.ts';
import { whileSettling, type Patience } from './wait.ts';
import type { NewTopic } from './wire/cluster-apis.ts';
import { APPEARS, KafkaCodeError, LEADER_NOT_AVAILABLE } from './wire/error-codes.ts';

export interface TopicOptions {
  readonly createTopics: boolean;
  readonly partitions: number;
  readonly replicationFactor: number;
  /** More settings of topics that are made for rows, by Kafka's names. */
  readonly topicConfig: Readonly<Record<string, string>>;
  readonly schemaTopic: string;
  /** A topic that is written to is looked up again so often, and not written to by a look that is twice as old. */
  readonly lookAgainMs: number;
}

interface Known {
  readonly looking: Promise<Topic | null>;
  /** When it was last seen to be so. */
  seenAtMs: number;
  lookingAgain: Promise<void> | null;
  /** Whether `looking` came to nothing. */
  isMissing?: boolean;
}

/** How a topic of a stream is made where it is missing. */
export function newTopic(
  topic: string,
  options: Pick<TopicOptions, 'partitions' | 'replicationFactor' | 'topicConfig' | 'schemaTopic'>,
): NewTopic {
  const isOfSchemas = topic === options.schemaTopic;
  return {
    topic,
    partitions: isOfSchemas ? 1 : options.partitions,
    replicationFactor: options.replicationFactor,
    config: isOfSchemas ? { 'cleanup.policy': COMPACT } : options.topicConfig,
  };
}

/** A topic that was just made, by us or another sidecar, is listed before its leaders know of it. */
export const TOPIC_APPEARS: Patience = { codes: APPEARS, pauseMs: 25, maxPauseMs: 25, forMs: 5_000 };

/**
 * The topics of one stream: each is looked up before its first use, created where that is wanted, and then known until
 * an error or a later look says that it changed. Its partition count is the topic's own, whatever the stream asks for.
 */
export class StreamTopics {
  readonly #cluster: KafkaCluster;
  readonly #options: TopicOptions;
  readonly #logger: Logger;
  /** Look-ups are shared between tablets, so none of their signals may end one. */
  readonly #lifetime: AbortSignal;
  /** Also those being looked up, so that the tablets of a table ask once. */
  readonly #known = new Map<string, Known>();

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
    const known = this.#known.get(name);
    if (known?.isMissing === true) this.#forget(name, known); // whoever cannot do without it believes nothing old
    const topic = await this.find(name, signal);
    if (topic === null)
      throw new SinkError(
        'refused',
        `topic ${name} does not exist and the stream may not create it (createTopics is false)`,
      );
    return topic;
  }

  /**
   * The topic, created when it is missing and may be; null when it is missing and may not: then that is believed until it
   * is time to look again, so that writes which can do without it do not ask each time.
   */
  async find(name: string, signal: AbortSignal): Promise<Topic | null> {
    let known = this.#known.get(name);
    const { lookAgainMs } = this.#options;
    if (known?.isMissing === true && performance.now() - known.seenAtMs >= lookAgainMs) known = undefined;
    if (known === undefined) {
      const looking = this.#look(name, this.#lifetime);
      this.#known.set(name, (known = { looking, seenAtMs: performance.now(), lookingAgain: null }));
    }
    try {
      const topic = await waitFor(known.looking, signal);
      if (topic === null) {
        known.isMissing = true;
        return null;
      }
      const ageMs = performance.now() - known.seenAtMs;
      if (ageMs < lookAgainMs) return topic;
      const looking = (known.lookingAgain ??= this.#lookAgain(topic, known));
      if (ageMs < 2 * lookAgainMs) return topic;
      await waitFor(looking, signal);
      return await this.find(name, signal);
    } catch (error) {
      if (!signal.aborted) this.#forget(name, known);
      throw error;
    }
  }

  /** After an error: leaders may have moved, a topic may be gone. */
  forgetAll(): void {
    this.#known.clear();
  }

  #forget(name: string, known: Known): void {
    if (this.#known.get(name) === known) this.#known.delete(name);
  }

  /**
   * Now and then, beside the writing: a topic that was deleted and made anew between two writes takes the next one as if
   * nothing were, and only its id tells; one that has more partitions takes keys where they do not belong any more, and a
   * consumer waits for marks in the new ones. A look that fails says nothing: the topic is looked up as one that nobody knows.
   */
  async #lookAgain({ name, id, leaders }: Topic, known: Known): Promise<void> {
    try {
      const found = (await this.#cluster.findTopics([name], this.#lifetime)).get(name);
      if (found?.id === id && found.leaders.length === leaders.length) known.seenAtMs = performance.now();
      else this.#forget(name, known);
    } catch {
      this.#forget(name, known);
    } finally {
      known.lookingAgain = null;
    }
  }

  async #look(name: string, signal: AbortSignal): Promise<Topic | null> {
    const there = (await this.#cluster.findTopics([name], signal)).get(name);
    if (there === undefined) {
      if (!this.#options.createTopics) return null;
      await this.#create(name, signal);
    }
    return this.#waitUntilLed(name, signal);
  }

  async #create(name: string, signal: AbortSignal): Promise<void> {
    const topic = newTopic(name, this.#options);
    await this.#cluster.createTopics([topic], signal);
    this.#logger.info({ topic: name, partitions: topic.partitions }, 'topic created');
  }

  async #waitUntilLed(name: string, signal: AbortSignal): Promise<Topic> {
    return whileSettling(
      async () => {
        const topic = (await this.#cluster.findTopics([name], signal)).get(name);
        if (topic === undefined)
          throw new KafkaCodeError(LEADER_NOT_AVAILABLE, `topic ${name}`, 'it was created and is not there yet');
        await this.#cluster.checkLeaders(topic, signal);
        return topic;
      },
      TOPIC_APPEARS,
      signal,
    );
  }
}
