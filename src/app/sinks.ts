import type { SinkKind } from '../api/parts.ts';
import type { Config } from '../config/config.ts';
import type { SinkDefinition } from '../sinks/definitions.ts';
import { FileType } from '../sinks/file/file-type.ts';
import { KafkaType } from '../sinks/kafka/kafka-type.ts';
import type { SinkReader } from '../sinks/reader.ts';
import { RedisType } from '../sinks/redis/redis-type.ts';
import type { Sink, SinkPlan } from '../sinks/sink.ts';
import type { SettingsFault, SinkReport, SinkStream, SinkType } from '../sinks/sink-type.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { Logger } from '../util/logger.ts';
import type { SecretMask } from '../util/secret-mask.ts';
import type { AskedSink } from './sink-health.ts';
import { KafkaAccessInForce } from './kafka-access.ts';
import { RedisAccessInForce } from './redis-access.ts';

type SinkTypes = { readonly [Type in SinkKind]: SinkType<Extract<SinkDefinition, { type: Type }>> };

/** Every kind of sink that a stream may have, set up as this sidecar's variables say. One that is missing here does not compile. */
export class Sinks implements AsyncDisposable {
  readonly #types: SinkTypes;
  readonly #access: readonly AsyncDisposable[];

  constructor(
    { kafka, redis, kudu: { kerberos } }: Pick<Config, 'kafka' | 'redis' | 'kudu'>,
    deps: { /** Learns secrets that change. */ readonly mask: SecretMask; readonly logger: Logger },
  ) {
    const kafkaAccess = new KafkaAccessInForce(kafka, { kerberos, ...deps });
    const redisAccess = new RedisAccessInForce(redis, deps);
    this.#access = [kafkaAccess, redisAccess];
    this.#types = {
      kafka: new KafkaType(kafka.brokers && { brokers: kafka.brokers, access: kafkaAccess }, deps.logger),
      redis: new RedisType(redis.servers && { servers: redis.servers, access: redisAccess }, deps.logger),
      file: new FileType(),
    };
  }

  open({ sink }: StreamDefinition, stream: SinkStream): Sink {
    return this.#typeOf(sink).open(sink, stream);
  }

  plan({ name, sink }: Pick<StreamDefinition, 'name' | 'sink'>, tables: readonly string[]): SinkPlan {
    return this.#typeOf(sink).plan(sink, name, tables);
  }

  markless({ sink }: StreamDefinition, places: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    return this.#typeOf(sink).markless(places, signal);
  }

  inquire({ sink }: StreamDefinition, places: readonly string[], signal: AbortSignal): Promise<SinkReport> {
    return this.#typeOf(sink).inquire(sink, places, signal);
  }

  wrongSettings(
    { sink }: StreamDefinition,
    places: readonly string[],
    signal: AbortSignal,
  ): Promise<SettingsFault | null> {
    return this.#typeOf(sink).wrongSettings(sink, places, signal);
  }

  writeIntervalMs({ sink }: StreamDefinition): number {
    return this.#typeOf(sink).writeIntervalMs(sink);
  }

  /** @throws {SinkError} this process is not told how to reach it, or nobody can read such a sink */
  reader({ name, sink, format }: Pick<StreamDefinition, 'name' | 'sink' | 'format'>): SinkReader {
    const isFlat = 'envelope' in format && format.envelope === 'flat';
    return this.#typeOf(sink).reader(sink, { name, isFlat });
  }

  /** To be asked for readiness, whatever streams there are. */
  configured(): readonly AskedSink[] {
    return (Object.keys(this.#types) as SinkKind[]).flatMap((kind) => {
      const { configured } = this.#types[kind];
      return configured === null ? [] : { kind, sink: configured };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.#types).map((type) => type[Symbol.asyncDispose]()));
    await Promise.all(this.#access.map((access) => access[Symbol.asyncDispose]()));
  }

  #typeOf({ type }: SinkDefinition): SinkType<SinkDefinition> {
    return this.#types[type]; // each is given definitions of its own type alone
  }
}
