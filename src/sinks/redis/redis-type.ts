import type { Logger } from '../../util/logger.ts';
import { refusingSink } from '../refusing-sink.ts';
import type { SinkReader } from '../reader.ts';
import { SinkError, type Sink, type SinkPlan } from '../sink.ts';
import type { PlaceReport, SettingsFault, SinkReport, SinkStream, SinkType, StreamToRead } from '../sink-type.ts';
import { createRedisReader } from './redis-reader.ts';
import { createRedisSink, withConnection } from './redis-sink.ts';
import type { RedisDefinition } from './definition.ts';
import { planKeys, shardKeys } from './keys.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisAccess, RedisServers } from './settings.ts';

const NO_URL = 'SPOOR_REDIS_URL is not given to this sidecar, so it cannot ship to Redis';
const NO_REPLICA_HAS_IT =
  'sink.wait.replicas is 0, and sentinels watch this Redis: what a failover finds on no replica is lost, however durable it was; 1 waits until one has it';
/** A write is one round trip; one every so often costs little and delays little. */
const WRITE_INTERVAL_MS = 2;

export interface RedisClient {
  readonly servers: RedisServers;
  readonly access: RedisAccess;
}

/** Streams into Redis: the server is the sidecar's, the keys the stream's. */
export class RedisType implements SinkType<RedisDefinition> {
  readonly configured: Pick<Sink, 'check'> | null;
  readonly #client: RedisClient | null;
  readonly #logger: Logger;

  /** @param client null where the sidecar is given no Redis */
  constructor(client: RedisClient | null, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
    // Whether it keeps what it is told is a stream's concern; here it is asked whether it answers.
    this.configured = client && {
      check: (signal) => this.#ask({ durability: 'memory', wait: NO_WAIT }, signal, () => Promise.resolve()),
    };
  }

  open(
    { type: _, ...definition }: RedisDefinition,
    { name: streamName, installation, tables, logger }: SinkStream,
  ): Sink {
    if (!this.#client) return refusingSink(NO_URL);
    return createRedisSink({ ...definition, ...this.#client, streamName, installation, tables, logger });
  }

  plan(definition: RedisDefinition, streamName: string, tables: readonly string[]): SinkPlan {
    const plan = planKeys({ ...definition, streamName }, tables);
    const failsOver = this.#client?.servers.kind === 'sentinel';
    if (!failsOver || definition.wait.replicas > 0) return plan;
    return { ...plan, warnings: [...plan.warnings, NO_REPLICA_HAS_IT] };
  }

  /** Redis keeps each entry, so marks are welcome everywhere. */
  markless(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  async inquire(definition: RedisDefinition, places: readonly string[], signal: AbortSignal): Promise<SinkReport> {
    const report: { places: PlaceReport[]; missing: string[]; warnings: string[] } = {
      places: [],
      missing: [],
      warnings: [],
    };
    if (!this.#client) return { ...report, missing: [NO_URL] };
    const rows = places.flatMap((place) => shardKeys(place, definition.shards));
    const keys = [...rows, definition.schemaKey];
    try {
      await this.#ask(definition, signal, async (connection) => {
        for (const key of keys) {
          const kind = await (await connection.nodeOf(key, signal)).ask((client) => client.type(key));
          if (kind !== 'none' && kind !== 'stream')
            report.missing.push(`the key ${key} in Redis is a ${kind}: delete it, or take another key`);
          report.places.push(
            placeReport(key, rows, kind === 'none' ? 'made' : kind === 'stream' ? 'there' : 'refused'),
          );
        }
      });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (error instanceof SinkError && error.kind === 'refused') report.missing.push(message);
      else report.warnings.push(`Redis does not say what it has: ${message}`);
      report.places = keys.map((key) => placeReport(key, rows, 'unknown'));
    }
    return report;
  }

  wrongSettings(): Promise<SettingsFault | null> {
    return Promise.resolve(this.#client ? null : { path: 'type', message: NO_URL });
  }

  reader({ key, layout, shards, schemaKey }: RedisDefinition, { name: streamName, isFlat }: StreamToRead): SinkReader {
    if (isFlat)
      throw new SinkError(
        'refused',
        `stream ${streamName} cannot be verified: records of the envelope flat say by a time stamp alone when their operation was, and entries of Redis have none; with the envelope debezium they can`,
      );
    if (!this.#client) throw new SinkError('refused', 'SPOOR_REDIS_URL is not given: it says where Redis is');
    return createRedisReader({ streamName, ...this.#client, key, layout, shards, schemaKey, logger: this.#logger });
  }

  writeIntervalMs(): number {
    return WRITE_INTERVAL_MS;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #ask(
    demands: Pick<RedisDefinition, 'durability' | 'wait'>,
    signal: AbortSignal,
    work: (connection: RedisConnection) => Promise<void>,
  ): Promise<void> {
    return withConnection({ ...this.#client!, ...demands, logger: this.#logger }, signal, work);
  }
}

const NO_WAIT = { replicas: 0, timeoutMs: 1000 } as const;

function placeReport(name: string, rows: readonly string[], state: PlaceReport['state']): PlaceReport {
  const of = rows.includes(name) ? 'rows' : 'schema-changes';
  return { name, of, state, partitions: null, replicationFactor: null, settings: {}, differences: [] };
}
