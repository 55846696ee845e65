import type { Config } from '../config/config.ts';
import type { SinkDefinition } from '../sinks/definitions.ts';
import { createKafkaReader } from '../sinks/kafka/kafka-reader.ts';
import { KafkaType } from '../sinks/kafka/kafka-type.ts';
import type { KafkaAccess } from '../sinks/kafka/security/access.ts';
import type { SinkReader } from '../sinks/reader.ts';
import { SinkError, type Sink, type SinkPlan } from '../sinks/sink.ts';
import type { SettingsFault, SinkReport, SinkStream, SinkType } from '../sinks/sink-type.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { Logger } from '../util/logger.ts';
import type { SecretMask } from '../util/secret-mask.ts';
import { KafkaAccessInForce } from './kafka-access.ts';

type SinkTypes = { readonly [Type in SinkDefinition['type']]: SinkType<Extract<SinkDefinition, { type: Type }>> };

/** Every kind of sink that a stream may have, set up as this sidecar's variables say. One that is missing here does not compile. */
export class Sinks implements AsyncDisposable {
  readonly #types: SinkTypes;
  readonly #kafkaAccess: KafkaAccessInForce;

  constructor(
    { kafka, kudu: { kerberos } }: Pick<Config, 'kafka' | 'kudu'>,
    deps: { /** Learns secrets that change. */ readonly mask: SecretMask; readonly logger: Logger },
  ) {
    const access = new KafkaAccessInForce(kafka, { kerberos, ...deps });
    this.#kafkaAccess = access;
    this.#types = { kafka: new KafkaType(kafka.brokers && { brokers: kafka.brokers, access }, deps.logger) };
  }

  open({ sink }: StreamDefinition, stream: SinkStream): Sink {
    return this.#types[sink.type].open(sink, stream);
  }

  plan({ name, sink }: Pick<StreamDefinition, 'name' | 'sink'>, tables: readonly string[]): SinkPlan {
    return this.#types[sink.type].plan(sink, name, tables);
  }

  markless({ sink }: StreamDefinition, places: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    return this.#types[sink.type].markless(places, signal);
  }

  inquire({ sink }: StreamDefinition, places: readonly string[], signal: AbortSignal): Promise<SinkReport> {
    return this.#types[sink.type].inquire(sink, places, signal);
  }

  wrongSettings(
    { sink }: StreamDefinition,
    places: readonly string[],
    signal: AbortSignal,
  ): Promise<SettingsFault | null> {
    return this.#types[sink.type].wrongSettings(sink, places, signal);
  }

  writeIntervalMs({ sink }: StreamDefinition): number {
    return this.#types[sink.type].writeIntervalMs(sink);
  }

  /** To be asked for readiness, whatever streams there are. */
  configured(): readonly Pick<Sink, 'check'>[] {
    return Object.values(this.#types).flatMap(({ configured }) => configured ?? []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.#types).map((type) => type[Symbol.asyncDispose]()));
    await this.#kafkaAccess[Symbol.asyncDispose]();
  }
}

/** What reads back the records of a stream. @throws {SinkError} nothing reads those of such a sink */
export function readerFor(
  { name, sink }: Pick<StreamDefinition, 'name' | 'sink'>,
  kafka: { readonly brokers: readonly string[]; readonly access: KafkaAccess },
  logger: Logger,
): SinkReader {
  if ((sink.type as string) !== 'kafka')
    throw new SinkError('refused', `the sink of stream ${name} is ${sink.type}; only kafka can be verified`);
  const { topic, topics, schemaTopic } = sink;
  return createKafkaReader({ streamName: name, ...kafka, topic, ...(topics && { topics }), schemaTopic, logger });
}
