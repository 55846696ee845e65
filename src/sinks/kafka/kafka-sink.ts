import type { ISocketFactory } from 'kafkajs';
import type { TabletPosition } from '../../change/position.ts';
import type { Logger } from '../../util/logger.ts';
import { Slots } from '../../util/slots.ts';
import { formatSinkId } from '../sink-id.ts';
import { SinkError, type Sink, type SinkTablet, type TabletWriter } from '../sink.ts';
import type { TransactionMetrics } from '../transaction-metrics.ts';
import { AckedTrail } from './acked-trail.ts';
import { AtLeastOnceWriter } from './at-least-once-writer.ts';
import { KafkaCluster } from './cluster.ts';
import { toSinkError } from './kafka-error.ts';
import { Lane } from './lanes/lane.ts';
import type { TabletClaim } from './lanes/tablet-claim.ts';
import type { LaneLimits } from './lanes/lane-core.ts';
import { LaneWriter, releaseSoon } from './lanes/lane-writer.ts';
import { describeCleanupPolicy, isCompacted } from './cleanup-policy.ts';
import { PositionsPartition } from './lanes/positions-partition.ts';
import { POSITIONS_TOPIC } from './lanes/positions-topic.ts';
import { takeLegacyPosition } from './legacy-positions.ts';
import { MarkPolicy } from './mark-policy.ts';
import { Producer } from './producer.ts';
import { nextEpoch } from './producer-epoch.ts';
import { BatchLimits, RecordPlanner } from './record-planner.ts';
import type { KafkaAccess } from './security/access.ts';
import { clashOf, planTopics, type TopicPlanOptions } from './topic-plan.ts';
import { TransactionTimes } from './transaction-time.ts';
import { compileTopicTemplate, type TopicNamer, type TopicNaming } from './topic-template.ts';
import { StreamTopics } from './topics.ts';
import type { Compression } from './wire/compression.ts';

export interface KafkaSinkOptions extends TopicNaming {
  readonly streamName: string;
  /** Which making of the stream: see {@link SinkTablet.streamGeneration}. */
  readonly streamGeneration: string;
  /** Whether a record may lack columns of its row, so that the one before it is needed as well. */
  readonly partialRows?: boolean;
  /** Whose stream it is: another installation may have one of the same name on the same brokers. */
  readonly installation: string;
  /** Who writes: unique among the processes that ship the stream, and the same for the next life of this one. */
  readonly sidecar: string;
  /** `host:port` each; any one that answers is enough. */
  readonly brokers: readonly string[];
  /** In the clear, and as nobody, where it is left out. */
  readonly access?: KafkaAccess;
  /** As in kafkajs: for a proxy, or to see what happens when a connection breaks. */
  readonly socketFactory?: ISocketFactory;
  readonly schemaTopic?: string;
  readonly delivery: 'exactly-once' | 'at-least-once';
  /** Of topics that are created; existing ones are taken as they are. */
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly createTopics: boolean;
  /** More settings of topics that are created for rows, by Kafka's names. */
  readonly topicConfig?: Readonly<Record<string, string>>;
  /** Of record batches; none where it is not given. */
  readonly compression?: Compression;
  /** The names of the stream's tables at present, to say which of them come in each other's way. */
  readonly tables?: () => readonly string[];
  readonly logger: Logger;
  /** A broker that does not answer a request for so long counts as unavailable; one that is slow gets longer by and by. */
  readonly requestTimeoutMs?: number;
  /** How soon it is noticed that a topic was made anew, or has more partitions, while it is written to: twice that at the latest. */
  readonly lookAgainMs?: number;
  readonly positionsTopic?: string;
  /** Of records in a transaction: an operation that has more is in several, and nobody reads it as a whole. */
  readonly maxTransactionBytes?: number;
  readonly metrics?: TransactionMetrics;
}

const DEFAULT_SCHEMA_TOPIC = 'spoor.schema-changes';

const REQUEST_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 3_000;
const LOOK_AGAIN_MS = 10_000;
/** A broker writes so much within seconds, and whoever reads need not wait longer for the first of it. */
const MAX_TRANSACTION_BYTES = 64 << 20;
/** Many tablets share a transaction, and few wait for none. At least once only the positions wait for one. */
const LANE_LIMITS: Readonly<Record<KafkaSinkOptions['delivery'], LaneLimits>> = {
  'exactly-once': { gapMsPerTablet: 0.5, maxGapMs: 50, lingerMsPerTablet: 0.25, maxLingerMs: 8, retryMs: 250 },
  'at-least-once': { gapMsPerTablet: 50, maxGapMs: 1_000, lingerMsPerTablet: 0, maxLingerMs: 0, retryMs: 250 },
};
/** Each keeps some megabytes of records encoded. */
const MAX_WRITES_AT_A_TIME = 12;
/** Sockets to one broker: of the main lane, of the side lane, and, at least once, of the tablets. */
const MAIN_CHANNEL = 1;
const SIDE_CHANNEL = 2;
const FIRST_TABLET_CHANNEL = 3;
const TABLET_CHANNELS = 6;

/**
 * Writes a stream to Kafka.
 * @throws {RangeError} an option that no Kafka can make sense of: the topic template, a broker's address
 */
export function createKafkaSink(options: KafkaSinkOptions): Sink {
  return new KafkaSink(options);
}

class KafkaSink implements Sink {
  readonly #options: KafkaSinkOptions;
  readonly #cluster: KafkaCluster;
  readonly #topics: StreamTopics;
  readonly #naming: TopicPlanOptions;
  readonly #nameTopic: TopicNamer;
  readonly #planner: RecordPlanner;
  readonly #batchLimits = new BatchLimits();
  readonly #marks: MarkPolicy;
  readonly #transactionTimes = new TransactionTimes();
  readonly #writeSlots = new Slots(MAX_WRITES_AT_A_TIME);
  readonly #positions: PositionsPartition;
  readonly #main: Lane;
  readonly #side: Lane;
  readonly #stop = new AbortController();
  /** Of shared topics. */
  readonly #told = new Set<string>();
  /** Tablets for which a transaction failed. */
  readonly #culprits = new Set<string>();
  /** At least once: what this process knows to be durable although the positions may not say so yet. */
  readonly #trails = new Map<string, AckedTrail>();
  #opened = 0;

  constructor(options: KafkaSinkOptions) {
    const { logger, streamName, installation, brokers, access, socketFactory } = options;
    const { createTopics, partitions, replicationFactor, topicConfig = {} } = options;
    this.#options = options;
    const requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    const schemaTopic = options.schemaTopic ?? DEFAULT_SCHEMA_TOPIC;
    this.#cluster = new KafkaCluster(brokers, {
      clientId: `spoor-${streamName}`,
      ...(access === undefined ? {} : { access }),
      ...(socketFactory === undefined ? {} : { socketFactory }),
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      requestTimeoutMs,
      logger,
    });
    const lookAgainMs = options.lookAgainMs ?? LOOK_AGAIN_MS;
    this.#topics = new StreamTopics(
      this.#cluster,
      { createTopics, partitions, replicationFactor, topicConfig, schemaTopic, lookAgainMs },
      logger,
      this.#stop.signal,
    );
    this.#marks = new MarkPolicy(this.#cluster, lookAgainMs, logger, this.#stop.signal);
    this.#naming = { ...options, schemaTopic };
    this.#nameTopic = compileTopicTemplate(options, streamName);
    this.#planner = new RecordPlanner({
      topics: this.#topics,
      nameTopic: this.#nameTopic,
      batchLimits: this.#batchLimits,
      marks: this.#marks,
      logger,
      clashOf: (tableName) => clashOf(this.#naming, tableName, this.#tables()),
    });
    this.#positions = new PositionsPartition(this.#cluster, {
      positionsTopic: options.positionsTopic ?? POSITIONS_TOPIC,
      replicationFactor,
      owner: { installation, stream: streamName },
      lookAgainMs,
      logger,
      onAnew: () => {
        this.#main.beginAnew();
        this.#side.beginAnew();
        this.#culprits.clear();
      },
      onEntries: (entries) => {
        this.#main.entries(entries);
        this.#side.entries(entries);
      },
    });
    this.#main = this.#newLane('main', MAIN_CHANNEL);
    this.#side = this.#newLane('side', SIDE_CHANNEL);
  }

  get #compression(): Compression {
    return this.#options.compression ?? 'none';
  }

  async openTablet(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    try {
      this.#warnOfSharedTopics();
      await this.#learnTopicId(tablet.tableName, signal);
      if (this.#options.partialRows === true) await this.#refuseCompacted(tablet.tableName, signal);
      return await (this.#options.delivery === 'exactly-once'
        ? this.#openExactlyOnce(tablet, signal)
        : this.#openAtLeastOnce(tablet, signal));
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async check(signal: AbortSignal): Promise<void> {
    try {
      await this.#cluster.check(signal);
    } catch (error) {
      throw toSinkError(error);
    }
  }

  /** Closes the connections; the writers are disposed before. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the sink was closed'));
    await Promise.all([this.#main[Symbol.asyncDispose](), this.#side[Symbol.asyncDispose]()]);
    await this.#positions[Symbol.asyncDispose]();
    await this.#cluster[Symbol.asyncDispose]();
  }

  #newLane(name: string, channel: number): Lane {
    const { installation, streamName, streamGeneration, sidecar, delivery, logger, metrics } = this.#options;
    return new Lane({
      id: `spoor.${installation}.${streamName}.${sidecar}.${name}`,
      sibling: (id) => [this.#main, this.#side].find((lane) => lane.id === id) ?? null,
      channel,
      generation: streamGeneration,
      cluster: this.#cluster,
      topics: this.#topics,
      planner: this.#planner,
      batchLimits: this.#batchLimits,
      marks: this.#marks,
      compression: this.#compression,
      transactionTimes: this.#transactionTimes,
      positions: this.#positions,
      limits: LANE_LIMITS[delivery],
      maxTransactionBytes: this.#options.maxTransactionBytes ?? MAX_TRANSACTION_BYTES,
      topicNames: () => this.#topicNames(),
      logger,
      ...(metrics && { metrics }),
      onCulprit: (culprit) => {
        this.#culprits.add(culprit);
      },
    });
  }

  async #openExactlyOnce(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    const { tabletId, streamGeneration, tableName, onFenced } = tablet;
    const lane = this.#culprits.has(tabletId) ? this.#side : this.#main;
    const claim = await lane.take(tabletId, streamGeneration, signal, onFenced);
    const position = await this.#positionIn(claim, tablet, signal);
    const options = {
      main: this.#main,
      sinkId: (table: string) => this.#sinkIdOf(table),
      tableName,
      logger: this.#options.logger,
      onSound: () => {
        this.#culprits.delete(tabletId);
      },
      onFenced,
    };
    return new LaneWriter(options, claim, position);
  }

  async #openAtLeastOnce(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    const { installation, streamName, logger } = this.#options;
    const { tabletId, streamGeneration, tableName, onWait, onSaved, onFenced } = tablet;
    const id = `spoor.${installation}.${streamName}.${tabletId}`;
    const channel = FIRST_TABLET_CHANNEL + (this.#opened++ % TABLET_CHANNELS);
    const transactionTimes = this.#transactionTimes;
    const opened = await nextEpoch(this.#cluster, { id, channel, transactionTimes, onWait }, signal);
    const trail = this.#trailOf(`${streamGeneration}/${tabletId}`);
    trail.opened(opened.identity); // also where it comes to nothing
    const claim = await this.#main.take(tabletId, streamGeneration, signal, onFenced);
    const committed = await this.#positionIn(claim, tablet, signal);
    const options = {
      cluster: this.#cluster,
      producer: new Producer(this.#cluster, opened, {
        transactional: false,
        batchLimits: this.#batchLimits,
        marks: this.#marks,
        compression: this.#compression,
      }),
      trail,
      planner: this.#planner,
      claim,
      tableName,
      writeSlots: this.#writeSlots,
      logger,
      sinkId: (table: string) => this.#sinkIdOf(table),
      failure: (error: unknown) => this.#failure(error),
      onSaved,
      onFenced,
    };
    return new AtLeastOnceWriter(options, committed);
  }

  /** Where a tablet that was taken stands; asked of version 0.1, where the lanes know nothing of it. */
  async #positionIn(claim: TabletClaim, tablet: SinkTablet, signal: AbortSignal): Promise<TabletPosition | null> {
    if (claim.stored !== null) return claim.position;
    const { logger } = this.#options;
    const options = {
      cluster: this.#cluster,
      channel: SIDE_CHANNEL,
      transactionTimes: this.#transactionTimes,
      topicNames: this.#topicNames(),
      logger,
    };
    try {
      return await takeLegacyPosition(options, tablet, signal);
    } catch (error) {
      await releaseSoon(claim, logger);
      throw error;
    }
  }

  /** What was known of topics and their leaders may be over. */
  #failure(error: unknown): SinkError {
    this.#topics.forgetAll();
    return toSinkError(error);
  }

  #tables(): readonly string[] {
    return this.#options.tables?.() ?? [];
  }

  /** Wherever records of the stream may be. */
  #topicNames(): string[] {
    const names = new Set([this.#topics.schemaTopic]);
    for (const table of this.#tables()) {
      const name = this.#topicOf(table);
      if (name !== null) names.add(name);
    }
    return [...names];
  }

  #warnOfSharedTopics(): void {
    const { logger, streamName } = this.#options;
    for (const warning of planTopics(this.#naming, this.#tables()).warnings) {
      if (!this.#told.has(warning)) logger.warn({ stream: streamName, reason: warning }, 'tables share a topic');
      this.#told.add(warning);
    }
  }

  /** Null for a table that has none: it is refused when there is something to write. */
  #topicOf(tableName: string): string | null {
    try {
      return this.#nameTopic(tableName);
    } catch {
      return null;
    }
  }

  /** It is looked up and not made. */
  async #learnTopicId(tableName: string, signal: AbortSignal): Promise<void> {
    const name = this.#topicOf(tableName);
    if (name !== null && this.#cluster.topicId(name) === null) await this.#cluster.findTopics([name], signal);
  }

  /** A topic that keeps the last record of a key alone would lose what only those before it have. */
  async #refuseCompacted(tableName: string, signal: AbortSignal): Promise<void> {
    const topic = this.#topicOf(tableName);
    const { policy } = topic === null ? {} : await describeCleanupPolicy(this.#cluster, topic, signal);
    if (policy === undefined || policy === null || !isCompacted(policy)) return;
    throw new SinkError(
      'refused',
      `topic ${topic} is compacted (cleanup.policy=${policy}), and keeps of each key the last record alone, which with images "changed" has only the columns that were set: set cleanup.policy to delete, or make the stream anew with images "after"`,
    );
  }

  #sinkIdOf(tableName: string): string {
    if (this.#cluster.clusterId === null) return '';
    const store = `kafka:${this.#cluster.clusterId}`;
    const name = this.#topicOf(tableName);
    const id = name === null ? null : this.#cluster.topicId(name);
    return formatSinkId(name === null || id === null ? { store } : { store, topic: { name, id } });
  }

  #trailOf(tablet: string): AckedTrail {
    let trail = this.#trails.get(tablet);
    if (trail === undefined) this.#trails.set(tablet, (trail = new AckedTrail()));
    return trail;
  }
}
