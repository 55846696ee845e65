import type { Logger } from '../../util/logger.ts';
import { zstd, ZSTD_NEEDS } from '../../util/zstd.ts';
import { refusingSink } from '../refusing-sink.ts';
import type { SinkReader } from '../reader.ts';
import { SinkError, type SinkPlan, type Sink } from '../sink.ts';
import type { SettingsFault, SinkReport, SinkStream, SinkType, StreamToRead } from '../sink-type.ts';
import type { KafkaDefinition } from './definition.ts';
import { KafkaBrokers, type KafkaBrokersOptions } from './kafka-brokers.ts';
import { createKafkaReader } from './kafka-reader.ts';
import { createKafkaSink } from './kafka-sink.ts';
import { planTopics } from './topic-plan.ts';

const NO_BROKERS = 'SPOOR_KAFKA_BROKERS is not given to this sidecar, so it cannot ship to Kafka';
/** A transaction is several round trips; one every so often costs little and delays little. */
const EXACTLY_ONCE_INTERVAL_MS = 10;
const AT_LEAST_ONCE_INTERVAL_MS = 2;

/** Streams into Kafka: the brokers are the sidecar's, the topics the stream's. */
export class KafkaType implements SinkType<KafkaDefinition> {
  readonly configured: KafkaBrokers | null;
  readonly #client: Omit<KafkaBrokersOptions, 'logger'> | null;
  readonly #logger: Logger;

  /** @param client null where the sidecar is given no brokers */
  constructor(client: Omit<KafkaBrokersOptions, 'logger'> | null, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
    this.configured = client && new KafkaBrokers({ ...client, logger });
  }

  open(definition: KafkaDefinition, stream: SinkStream): Sink {
    if (!this.#client) return refusingSink(NO_BROKERS);
    const { topics, topicConfig, compression, ...sink } = definition;
    if (compression === 'zstd' && zstd === null)
      return refusingSink(`sink.compression of the stream is zstd, which needs ${ZSTD_NEEDS}`);
    const {
      name: streamName,
      generation: streamGeneration,
      partialRows,
      installation,
      sidecar,
      tables,
      metrics,
    } = stream;
    return createKafkaSink({
      streamName,
      streamGeneration,
      partialRows,
      installation,
      sidecar,
      tables,
      metrics,
      logger: stream.logger,
      ...this.#client,
      ...(topics && { topics }),
      ...(topicConfig && { topicConfig }),
      ...(compression && { compression }),
      ...sink,
    });
  }

  plan(definition: KafkaDefinition, streamName: string, tables: readonly string[]): SinkPlan {
    return planTopics({ ...definition, streamName }, tables);
  }

  async markless(places: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    return this.configured?.compactedOf(places, signal) ?? [];
  }

  async inquire(definition: KafkaDefinition, places: readonly string[], signal: AbortSignal): Promise<SinkReport> {
    if (this.configured) return this.configured.inquiry.report(definition, places, signal);
    return { places: [], missing: [NO_BROKERS], warnings: [] };
  }

  async wrongSettings(
    definition: KafkaDefinition,
    places: readonly string[],
    signal: AbortSignal,
  ): Promise<SettingsFault | null> {
    if (!this.configured) return { path: 'type', message: NO_BROKERS };
    if (definition.topicConfig === undefined || !definition.createTopics) return null;
    const message = await this.configured.inquiry.wrongSettings(definition, places, signal);
    return message === null ? null : { path: 'topicConfig', message: `Kafka refuses it: ${message}` };
  }

  reader({ topic, topics, schemaTopic }: KafkaDefinition, { name: streamName }: StreamToRead): SinkReader {
    if (!this.#client) throw new SinkError('refused', 'SPOOR_KAFKA_BROKERS is not given: it says where Kafka is');
    const naming = { topic, ...(topics && { topics }), schemaTopic };
    return createKafkaReader({ streamName, ...this.#client, ...naming, logger: this.#logger });
  }

  writeIntervalMs({ delivery }: KafkaDefinition): number {
    return delivery === 'exactly-once' ? EXACTLY_ONCE_INTERVAL_MS : AT_LEAST_ONCE_INTERVAL_MS;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.configured?.[Symbol.asyncDispose]();
  }
}
