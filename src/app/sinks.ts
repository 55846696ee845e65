import type { ServersConfig } from '../config/client-config.ts';
import type { Config } from '../config/config.ts';
import { KafkaBrokers } from '../sinks/kafka/kafka-brokers.ts';
import { createKafkaReader } from '../sinks/kafka/kafka-reader.ts';
import { createKafkaSink } from '../sinks/kafka/kafka-sink.ts';
import type { SinkReader } from '../sinks/reader.ts';
import { refusingSink } from '../sinks/refusing-sink.ts';
import { SinkError, type Sink } from '../sinks/sink.ts';
import type { TransactionMetrics } from '../sinks/transaction-metrics.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import type { Logger } from '../util/logger.ts';
import { zstd, ZSTD_NEEDS } from '../util/zstd.ts';

export function kafkaSinkFor(
  { definition, generation }: StoredStream,
  config: Config,
  parts: {
    readonly tablesOf: (definition: StreamDefinition) => readonly string[];
    /** The id of the table of streams: two installations may share brokers, and never a table. */
    readonly installation: string;
    readonly sidecar: string;
    readonly metrics: TransactionMetrics;
    readonly logger: Logger;
  },
): Sink {
  const kafka = kafkaClientOf(config);
  if (!kafka) return refusingSink('SPOOR_KAFKA_BROKERS is not given to this sidecar, so it cannot ship to Kafka');
  const { topics, topicConfig, compression, ...sink } = definition.sink;
  if (compression === 'zstd' && zstd === null)
    return refusingSink(`sink.compression of the stream is zstd, which needs ${ZSTD_NEEDS}`);
  const { tablesOf, ...others } = parts;
  return createKafkaSink({
    streamName: definition.name,
    streamGeneration: generation,
    ...others,
    ...kafka,
    ...(topics && { topics }),
    ...(topicConfig && { topicConfig }),
    ...(compression && { compression }),
    ...sink,
    tables: () => tablesOf(definition),
  });
}

/** What reads back the records of a stream. @throws {SinkError} nothing reads those of such a sink */
export function readerFor(
  { name, sink }: Pick<StreamDefinition, 'name' | 'sink'>,
  { kafka: { brokers, ssl, sasl } }: Pick<ServersConfig, 'kafka'>,
  logger: Logger,
): SinkReader {
  if ((sink.type as string) !== 'kafka')
    throw new SinkError('refused', `the sink of stream ${name} is ${sink.type}; only kafka can be verified`);
  return createKafkaReader({
    streamName: name,
    brokers,
    ...(ssl && { ssl: ssl === true ? ssl : { ...ssl } }),
    ...(sasl && { sasl }),
    topic: sink.topic,
    ...(sink.topics && { topics: sink.topics }),
    schemaTopic: sink.schemaTopic,
    logger,
  });
}

/** Null where none are configured. */
export function brokersOf(config: Config, logger: Logger): KafkaBrokers | null {
  const kafka = kafkaClientOf(config);
  return kafka && new KafkaBrokers({ ...kafka, logger });
}

function kafkaClientOf({ kafka: { brokers, ssl, sasl } }: Config) {
  return brokers && { brokers, ...(ssl && { ssl: ssl === true ? ssl : { ...ssl } }), ...(sasl && { sasl }) };
}
