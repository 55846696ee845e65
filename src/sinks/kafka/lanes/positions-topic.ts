import type { Logger } from '../../../util/logger.ts';
import { waitFor } from '../../../util/wait-for.ts';
import { SinkError } from '../../sink.ts';
import { COMPACT, describeCleanupPolicy } from '../cleanup-policy.ts';
import type { KafkaCluster, Topic } from '../cluster.ts';
import { TOPIC_APPEARS } from '../topics.ts';
import { whileSettling } from '../wait.ts';
import { failOnErrorCode, KafkaCodeError, LEADER_NOT_AVAILABLE, NOT_AUTHORIZED } from '../wire/error-codes.ts';

export interface PositionsTopicOptions {
  readonly positionsTopic: string;
  /** Of the topic, where it is made; -1: the broker's own. */
  readonly replicationFactor: number;
  /** It is looked up again so often. */
  readonly lookAgainMs: number;
  readonly logger: Logger;
}

/**
 * A stream's partition is found by its name, so the number is the same for ever; a topic that has more by now uses only so
 * many.
 */
export const POSITIONS_PARTITIONS = 16;
export const POSITIONS_TOPIC = 'spoor.positions';

/**
 * A sidecar reads its streams' partitions whole when it starts. Only what is not in the segment being written is compacted,
 * and a segment is a GiB by default: hours of transactions.
 */
export const POSITIONS_CONFIG = {
  'cleanup.policy': COMPACT,
  'segment.bytes': String(16 << 20),
  'min.cleanable.dirty.ratio': '0.1',
};

/**
 * The topic of positions and claims, which Spoor makes where it is missing, as Kafka Connect does with its own: it is part of
 * how it works, and no topic of anybody's rows.
 */
export class PositionsTopic {
  readonly #cluster: KafkaCluster;
  readonly #options: PositionsTopicOptions;
  /** Look-ups are shared, so nobody's signal may end one. */
  readonly #lifetime: AbortSignal;
  #looking: Promise<Topic> | null = null;
  #lookedAtMs = 0;
  /** Which making of it was found to be as it has to be. */
  #checkedId: string | null | undefined;

  constructor(cluster: KafkaCluster, options: PositionsTopicOptions, lifetime: AbortSignal) {
    this.#cluster = cluster;
    this.#options = options;
    this.#lifetime = lifetime;
  }

  /** @throws {SinkError} `refused`: it would lose positions, or has too few partitions */
  async find(signal: AbortSignal): Promise<Topic> {
    const looking = (this.#looking ??= this.#look());
    try {
      const topic = await waitFor(looking, signal);
      this.#lookAgain(topic);
      return topic;
    } catch (error) {
      if (!signal.aborted && this.#looking === looking) this.#looking = null;
      throw error;
    }
  }

  forget(): void {
    this.#looking = null;
  }

  /** Beside all else: one that was made anew takes what is written as if nothing were, and only its id tells. */
  #lookAgain({ name, id }: Topic): void {
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtMs < this.#options.lookAgainMs) return;
    this.#lookedAtMs = nowMs;
    const forgetIfOther = (found: Map<string, Topic>): void => {
      if (found.get(name)?.id !== id) this.forget();
    };
    this.#cluster.findTopics([name], this.#lifetime, 'allow').then(forgetIfOther, () => undefined);
  }

  async #look(): Promise<Topic> {
    const { positionsTopic: name, replicationFactor, logger } = this.#options;
    this.#lookedAtMs = performance.now();
    const signal = this.#lifetime;
    if (!(await this.#cluster.findTopics([name], signal, 'allow')).has(name)) {
      const topic = { topic: name, partitions: POSITIONS_PARTITIONS, replicationFactor, config: POSITIONS_CONFIG };
      await this.#cluster.createTopics([topic], signal);
      logger.info({ topic: name, partitions: POSITIONS_PARTITIONS }, 'topic of positions created');
    }
    const topic = await whileSettling(() => this.#lookUp(name), TOPIC_APPEARS, signal);
    if (topic.id === null || topic.id !== this.#checkedId) await this.#check(topic);
    this.#checkedId = topic.id;
    return topic;
  }

  async #lookUp(name: string): Promise<Topic> {
    const topic = (await this.#cluster.findTopics([name], this.#lifetime, 'allow')).get(name);
    if (topic === undefined)
      throw new KafkaCodeError(LEADER_NOT_AVAILABLE, `topic ${name}`, 'it was created and is not there yet');
    return topic;
  }

  async #check({ name, leaders }: Topic): Promise<void> {
    const remedy = `Spoor makes it by itself where it is missing, with ${POSITIONS_PARTITIONS} partitions and cleanup.policy=${COMPACT}`;
    if (leaders.length < POSITIONS_PARTITIONS)
      throw new SinkError(
        'refused',
        `topic ${name}, where Spoor keeps positions, has ${leaders.length} partitions and needs ${POSITIONS_PARTITIONS}: ${remedy}`,
      );
    const { errorCode, message, policy } = await describeCleanupPolicy(this.#cluster, name, this.#lifetime);
    if (NOT_AUTHORIZED.has(errorCode)) return; // then whoever made it has to know
    failOnErrorCode(errorCode, `to describe topic ${name}`, message);
    if (policy !== COMPACT)
      throw new SinkError(
        'refused',
        `topic ${name}, where Spoor keeps positions, has cleanup.policy=${policy ?? ''} and would forget them: ${remedy}`,
      );
  }
}
