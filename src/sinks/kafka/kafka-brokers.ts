import type { Logger } from '../../util/logger.ts';
import { describeCleanupPolicy, isCompacted } from './cleanup-policy.ts';
import { KafkaCluster } from './cluster.ts';
import { toSinkError } from './kafka-error.ts';
import type { KafkaAccess } from './security/access.ts';
import { TopicInquiry } from './topic-inquiry.ts';

export interface KafkaBrokersOptions {
  /** `host:port` each. */
  readonly brokers: readonly string[];
  readonly access?: KafkaAccess;
  readonly logger: Logger;
}

const CONNECT_TIMEOUT_MS = 3_000;
const REQUEST_TIMEOUT_MS = 3_000;

/** The configured brokers, asked while no stream may be there yet. */
export class KafkaBrokers implements AsyncDisposable {
  readonly #cluster: KafkaCluster;
  readonly inquiry: TopicInquiry;

  constructor({ brokers, ...options }: KafkaBrokersOptions) {
    const timeouts = { connectTimeoutMs: CONNECT_TIMEOUT_MS, requestTimeoutMs: REQUEST_TIMEOUT_MS };
    this.#cluster = new KafkaCluster(brokers, { clientId: 'spoor', ...timeouts, ...options });
    this.inquiry = new TopicInquiry(this.#cluster);
  }

  /** @throws {SinkError} a broker cannot be reached where the cluster says that it is */
  async check(signal: AbortSignal): Promise<void> {
    try {
      await this.#cluster.check(signal);
    } catch (error) {
      throw toSinkError(error);
    }
  }

  /**
   * Which of these topics are there and compacted, as far as we may know.
   * @throws {SinkError} Kafka does not answer
   */
  async compactedOf(topics: readonly string[], signal: AbortSignal): Promise<string[]> {
    try {
      const policies = topics.map(async (topic) => {
        const { policy } = await describeCleanupPolicy(this.#cluster, topic, signal);
        return policy ?? '';
      });
      const isSo = (await Promise.all(policies)).map(isCompacted);
      return topics.filter((_, i) => isSo[i]);
    } catch (error) {
      throw toSinkError(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster[Symbol.asyncDispose]();
  }
}
