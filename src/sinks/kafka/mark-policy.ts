import type { Logger } from '../../util/logger.ts';
import { waitFor } from '../../util/wait-for.ts';
import { describeCleanupPolicy, isCompacted } from './cleanup-policy.ts';
import type { KafkaCluster, Topic } from './cluster.ts';

interface Answer {
  readonly topicId: string | null;
  readonly takes: boolean;
  readonly asking: Promise<boolean> | null;
  readonly askedAtMs: number;
}

/**
 * Which topics take the marks of `resolved`: they have no key, and a compacted topic refuses a record without one, and with
 * it the whole batch. Rows are not to stop for marks, so there they are left out.
 */
export class MarkPolicy {
  readonly #cluster: Pick<KafkaCluster, 'sendToAny'>;
  readonly #askAgainMs: number;
  readonly #logger: Logger;
  /** Answers are shared between tablets, so none of their signals may end a question. */
  readonly #lifetime: AbortSignal;
  readonly #answers = new Map<string, Answer>();

  /** @param askAgainMs a topic may be altered at any time: so old is an answer at most */
  constructor(cluster: Pick<KafkaCluster, 'sendToAny'>, askAgainMs: number, logger: Logger, lifetime: AbortSignal) {
    this.#cluster = cluster;
    this.#askAgainMs = askAgainMs;
    this.#logger = logger;
    this.#lifetime = lifetime;
  }

  /** Where Kafka does not say, what was seen last holds, and else that it takes them. */
  async takes(topic: Topic, signal: AbortSignal): Promise<boolean> {
    const known = this.#answers.get(topic.name);
    const isFresh = known?.topicId === topic.id && performance.now() - known.askedAtMs < this.#askAgainMs;
    if (known && isFresh) return known.asking ? waitFor(known.asking, signal) : known.takes;
    const before = known?.topicId === topic.id ? known.takes : true;
    const asking = this.#ask(topic.name).then((takes) => {
      this.#learn(topic, takes ?? before, before);
      return takes ?? before;
    });
    this.#answers.set(topic.name, { topicId: topic.id, takes: before, asking, askedAtMs: performance.now() });
    return waitFor(asking, signal);
  }

  /** The topic has refused a batch with marks for a record without a key: it was altered since we asked, or cannot be asked. */
  refused(topic: Topic): void {
    this.#learn(topic, false, this.#answers.get(topic.name)?.takes ?? true);
  }

  #learn(topic: Topic, takes: boolean, before: boolean): void {
    this.#answers.set(topic.name, { topicId: topic.id, takes, asking: null, askedAtMs: performance.now() });
    if (takes === before) return;
    if (takes) this.#logger.info({ topic: topic.name }, 'the topic takes marks of resolved again');
    else this.#logger.error({ topic: topic.name }, MARKS_LEFT_OUT);
  }

  /** Null where that cannot be known. */
  async #ask(topic: string): Promise<boolean | null> {
    try {
      const { errorCode, policy } = await describeCleanupPolicy(this.#cluster, topic, this.#lifetime);
      return errorCode !== 0 || policy === null ? null : !isCompacted(policy);
    } catch {
      return null; // whatever it is, the write that follows will say so
    }
  }
}

const MARKS_LEFT_OUT =
  'the topic is compacted and takes no marks of resolved, since they have no key: rows go on, and no mark says what is resolved there; set its cleanup.policy to delete, or take resolved off the stream';
