import type { ISocketFactory, KafkaConfig } from 'kafkajs';
import type { Logger } from '../../util/logger.ts';
import { formatSinkId } from '../sink-id.ts';
import { SinkError, type Sink, type SinkTablet, type TabletWriter } from '../sink.ts';
import type { SinkPosition } from '../../change/position.ts';
import { AtLeastOnceWriter, type AckedPosition } from './at-least-once-writer.ts';
import { KafkaCluster } from './cluster.ts';
import { ExactlyOnceWriter } from './exactly-once-writer.ts';
import { toSinkError } from './kafka-error.ts';
import { decodePosition, positionGroup } from './position.ts';
import { BatchLimits, TabletProducer, type StreamContext } from './tablet-producer.ts';
import { takeOver, type TakeOverOptions, type TakenTablet } from './take-over.ts';
import { clashOf, planTopics, type TopicPlanOptions } from './topic-plan.ts';
import { TransactionTimes } from './transaction-time.ts';
import { compileTopicTemplate, type TopicNaming } from './topic-template.ts';
import { StreamTopics } from './topics.ts';

export interface KafkaSinkOptions extends TopicNaming {
  readonly streamName: string;
  /** `host:port` each; any one that answers is enough. */
  readonly brokers: readonly string[];
  /** As in kafkajs. */
  readonly ssl?: KafkaConfig['ssl'];
  readonly sasl?: KafkaConfig['sasl'];
  /** As in kafkajs: for a proxy, or to see what happens when a connection breaks. */
  readonly socketFactory?: ISocketFactory;
  readonly schemaTopic?: string;
  readonly delivery: 'exactly-once' | 'at-least-once';
  /** Of topics that are created; existing ones are taken as they are. */
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly createTopics: boolean;
  /** The names of the stream's tables at present, to say which of them come in each other's way. */
  readonly tables?: () => readonly string[];
  readonly logger: Logger;
  /** A broker that does not answer a request for so long counts as unavailable; one that is slow gets longer by and by. */
  readonly requestTimeoutMs?: number;
  /** How soon it is noticed at the latest that a topic was made anew while it is written to. */
  readonly lookAgainMs?: number;
}

const DEFAULT_SCHEMA_TOPIC = 'spoor.schema-changes';

const REQUEST_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 3_000;
const LOOK_AGAIN_MS = 30_000;
/**
 * How long a transaction may stay open before the broker aborts it: what a `read_committed` consumer waits at most after
 * a crash, should no other sidecar take the tablet over; and how long one write may take. Slow brokers get longer.
 */
const TRANSACTION_TIMEOUT_MS = 60_000;
/** Sockets to one broker, shared by a stream's tablets. */
const LANES = 8;

/**
 * Writes a stream to Kafka.
 * @throws {RangeError} an option that no Kafka can make sense of: the topic template, a broker's address
 */
export function createKafkaSink(options: KafkaSinkOptions): Sink {
  return new KafkaSink(options);
}

class KafkaSink implements Sink {
  readonly #stream: StreamContext;
  readonly #delivery: KafkaSinkOptions['delivery'];
  readonly #stop = new AbortController();
  /** At least once: what this process knows to be durable although the offsets may not say so yet. */
  readonly #acked = new Map<string, AckedPosition>();
  /** See {@link TakeOverOptions.outcomes}. */
  readonly #outcomes: TakeOverOptions['outcomes'] = new Map();
  #opened = 0;

  constructor(options: KafkaSinkOptions) {
    const { logger, streamName, brokers, ssl, sasl, socketFactory, createTopics, partitions, replicationFactor } =
      options;
    const requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    const schemaTopic = options.schemaTopic ?? DEFAULT_SCHEMA_TOPIC;
    const cluster = new KafkaCluster(brokers, {
      clientId: `spoor-${streamName}`,
      ...(ssl === undefined ? {} : { ssl }),
      ...(sasl === undefined ? {} : { sasl }),
      ...(socketFactory === undefined ? {} : { socketFactory }),
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      requestTimeoutMs,
      logger,
    });
    const topics = new StreamTopics(
      cluster,
      {
        createTopics,
        partitions,
        replicationFactor,
        schemaTopic,
        lookAgainMs: options.lookAgainMs ?? LOOK_AGAIN_MS,
      },
      logger,
      this.#stop.signal,
    );
    const naming: TopicPlanOptions = { ...options, schemaTopic };
    const tables = options.tables ?? (() => []);
    const told = new Set<string>();
    let warned = false;
    this.#delivery = options.delivery;
    this.#stream = {
      cluster,
      topics,
      logger,
      nameTopic: compileTopicTemplate(options, streamName),
      batchLimits: new BatchLimits(),
      transactionTimes: new TransactionTimes(),
      sinkId: (tableName) => this.#sinkIdOf(tableName),
      clashOf: (tableName) => clashOf(naming, tableName, tables()),
      warnOfSharedTopics: () => {
        for (const warning of planTopics(naming, tables()).warnings) {
          if (!told.has(warning)) logger.warn({ stream: streamName, reason: warning }, 'tables share a topic');
          told.add(warning);
        }
      },
      warnOfMissingSchemaTopic: () => {
        if (!warned)
          logger.warn({ topic: schemaTopic }, 'topic for schema changes is missing, first schemas are not written');
        warned = true;
      },
      failure: (error) => {
        topics.forgetAll();
        return toSinkError(error);
      },
    };
  }

  async openTablet(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    try {
      const transactional = this.#delivery === 'exactly-once';
      const id = positionGroup(tablet.streamName, tablet.tabletId);
      const lane = 1 + (this.#opened++ % LANES);
      const { topics } = this.#stream;
      this.#stream.warnOfSharedTopics();
      const topicName = this.#topicOf(tablet.tableName);
      const taken = await takeOver(
        this.#stream.cluster,
        {
          id,
          lane,
          transactionTimeoutMs: TRANSACTION_TIMEOUT_MS,
          transactionTimes: this.#stream.transactionTimes,
          topics: topicName === null ? [topics.schemaTopic] : [topicName, topics.schemaTopic],
          outcomes: this.#outcomes,
          logger: this.#stream.logger,
          onWait: tablet.onWait,
        },
        signal,
      );
      const committed = readPosition(taken, tablet);
      const producer = new TabletProducer(this.#stream, taken, { transactional });
      if (transactional) return new ExactlyOnceWriter(this.#stream, producer, tablet, committed);
      return new AtLeastOnceWriter(this.#stream, producer, tablet, committed, this.#ackedOf(tablet));
    } catch (error) {
      throw this.#stream.failure(error);
    }
  }

  async check(signal: AbortSignal): Promise<void> {
    try {
      await this.#stream.cluster.check(signal);
    } catch (error) {
      throw toSinkError(error);
    }
  }

  /** Closes the connections; the writers are disposed before. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the sink was closed'));
    await this.#stream.cluster[Symbol.asyncDispose]();
  }

  /** Null for a table that has none: it is refused when there is something to write. */
  #topicOf(tableName: string): string | null {
    try {
      return this.#stream.nameTopic(tableName);
    } catch {
      return null;
    }
  }

  #sinkIdOf(tableName: string): string {
    const { cluster } = this.#stream;
    if (cluster.clusterId === null) return '';
    const store = `kafka:${cluster.clusterId}`;
    const name = this.#topicOf(tableName);
    const id = name === null ? null : cluster.topicId(name);
    return formatSinkId(name === null || id === null ? { store } : { store, topic: { name, id } });
  }

  #ackedOf(tablet: SinkTablet): AckedPosition {
    const key = `${tablet.streamGeneration}/${tablet.tabletId}`;
    let acked = this.#acked.get(key);
    if (acked === undefined) this.#acked.set(key, (acked = { last: null }));
    return acked;
  }
}

function readPosition({ identity, offsets }: TakenTablet, tablet: SinkTablet): SinkPosition | null {
  try {
    return decodePosition(offsets, tablet.streamGeneration);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SinkError(
      'refused',
      `group ${identity.transactionalId} does not say where to go on: ${reason}; delete the group or the stream`,
      error,
    );
  }
}
