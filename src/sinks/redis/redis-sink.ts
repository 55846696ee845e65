import { createHash } from 'node:crypto';
import { isAhead, type TabletPosition } from '../../change/position.ts';
import { formatOpId } from '../../kudu/opid.ts';
import type { Logger } from '../../util/logger.ts';
import { pause } from '../../util/pause.ts';
import { Slots } from '../../util/slots.ts';
import { formatSinkId } from '../sink-id.ts';
import { SinkError, type Sink, type SinkTablet, type TabletWriter } from '../sink.ts';
import { compileKeyTemplate, planKeys, type KeyNamer } from './keys.ts';
import type { RedisDefinition } from './definition.ts';
import { RedisConnection } from './redis-connection.ts';
import { toSinkError } from './redis-error.ts';
import { RedisWriter } from './redis-writer.ts';
import type { RedisAccess, RedisServers } from './settings.ts';
import { TabletLanes, type TableLanes } from './tablet-lanes.ts';
import { trim } from './trimmer.ts';

export interface RedisSinkOptions extends Omit<RedisDefinition, 'type'> {
  readonly streamName: string;
  /** Whose stream it is: another installation may have one of the same name in the same Redis. */
  readonly installation: string;
  readonly servers: RedisServers;
  readonly access: RedisAccess;
  /** The names of the stream's tables at present, to say which of them share a key. */
  readonly tables?: () => readonly string[];
  readonly logger: Logger;
  /** A server that does not answer for so long counts as unavailable. */
  readonly requestTimeoutMs?: number;
}

const REQUEST_TIMEOUT_MS = 5_000;
const MAX_WRITES_AT_A_TIME = 8;
const TRIM_EVERY_MS = 1_000;
/** In a sink's id: no Redis has a name that outlives it, and the ids of its streams tell one from another. */
const STORE = 'redis:-';

/** Writes a stream to Redis Streams. @throws {RangeError} the key template makes no sense */
export function createRedisSink(options: RedisSinkOptions): Sink {
  return new RedisSink(options);
}

class RedisSink implements Sink {
  readonly #options: RedisSinkOptions;
  readonly #nameKey: KeyNamer;
  readonly #writeSlots = new Slots(MAX_WRITES_AT_A_TIME);
  readonly #writers = new Set<RedisWriter>();
  /** Of each tablet that was written from here. */
  readonly #last = new Map<string, RedisWriter>();
  readonly #stop = new AbortController();
  /** Keys that were written to since they were trimmed last. */
  readonly #grown = new Set<string>();
  readonly #trimming: Promise<void>;
  readonly #told = new Set<string>();
  #connection: Promise<RedisConnection> | null = null;

  constructor(options: RedisSinkOptions) {
    this.#options = options;
    this.#nameKey = compileKeyTemplate(options.key, options.streamName);
    const trims = options.maxLen !== null || options.minIdAgeMs !== null;
    this.#trimming = trims ? this.#trim(this.#stop.signal) : Promise.resolve();
  }

  async openTablet(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    const { installation, shards, layout, schemaKey } = this.#options;
    this.#warnOfSharedKeys();
    try {
      const connection = await this.#connect(signal);
      const laneOptions = { connection, tablet, installation, nameKey: this.#nameKey, shards, layout, schemaKey };
      const lanes = await TabletLanes.open(laneOptions, tablet.tableName, signal);
      const { position, lanes: ofTable } = await lanes.where(tablet.tableName, signal);
      const writer: RedisWriter = new RedisWriter(
        {
          connection,
          lanes,
          writeSlots: this.#writeSlots,
          onAppended: (keys) => {
            for (const key of keys) this.#grown.add(key);
          },
          sinkId: sinkIdOf,
          tablet,
          onDisposed: (disposed) => this.#writers.delete(disposed),
        },
        position,
        ofTable,
        this.#hasLost(tablet, position),
      );
      this.#writers.add(writer);
      this.#last.set(lastOf(tablet), writer);
      return writer;
    } catch (error) {
      throw signal.aborted ? new SinkError('unavailable', 'stopped', error) : toSinkError(error, 'its address');
    }
  }

  async check(signal: AbortSignal): Promise<void> {
    try {
      const connection = await this.#connect(signal);
      for (const node of await connection.allNodes(signal)) node.throwIfTroubled();
    } catch (error) {
      throw toSinkError(error, 'its address');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the sink was closed'));
    await this.#trimming;
    const connection = await this.#connection?.catch(() => null);
    await connection?.[Symbol.asyncDispose]();
  }

  /**
   * Whether Redis is back at where it was before something that it has acknowledged to us, and that was not saved: it has crashed, or
   * failed over. Where nothing is left, what was saved, and is gone, somebody has deleted.
   */
  #hasLost(tablet: SinkTablet, position: TabletPosition | null): boolean {
    const { saved = null, unsaved = null } = this.#last.get(lastOf(tablet)) ?? {};
    this.#last.delete(lastOf(tablet));
    const { logger } = this.#options;
    const ofTablet = { stream: tablet.streamName, tablet: tablet.tabletId };
    if (saved !== null && position !== null && isAhead(saved, position)) {
      const fields = { ...ofTablet, opId: formatOpId(saved.opId), has: formatOpId(position.opId) };
      logger.error(fields, 'redis has lost what it had saved: what came between is not there until a resync');
    }
    if (unsaved === null || (position !== null && !isAhead(unsaved, position))) return false;
    const fields = { ...ofTablet, opId: formatOpId(unsaved.opId) };
    logger.warn(fields, 'redis has lost what it had acknowledged last, which is shipped again');
    return true;
  }

  /** The connection that there is, or another one where that was lost. */
  async #connect(signal: AbortSignal): Promise<RedisConnection> {
    for (;;) {
      signal.throwIfAborted();
      const current = (this.#connection ??= this.#open());
      try {
        const connection = await current;
        if (connection.lost === null) return connection;
        if (this.#connection !== current) continue;
        this.#connection = null;
        await connection[Symbol.asyncDispose]();
      } catch (error) {
        if (this.#connection === current) this.#connection = null;
        throw error;
      }
    }
  }

  #open(): Promise<RedisConnection> {
    if (this.#stop.signal.aborted) return Promise.reject(new SinkError('unavailable', 'the sink was closed'));
    const onConfirmed = (): void => {
      for (const writer of this.#writers) writer.lookForSaved();
    };
    return openConnection(this.#options, onConfirmed, this.#stop.signal);
  }

  async #trim(signal: AbortSignal): Promise<void> {
    const { maxLen, minIdAgeMs, logger } = this.#options;
    while (!signal.aborted) {
      await pause(TRIM_EVERY_MS, signal);
      const connection = await this.#connection?.catch(() => null);
      if (!connection || connection.lost) continue;
      const keys = [...this.#grown];
      // By age there is something to be done also where nothing comes any more.
      if (minIdAgeMs === null) this.#grown.clear();
      for (const key of keys) await trim(connection, key, { maxLen, minIdAgeMs }, { logger, signal });
    }
  }

  #warnOfSharedKeys(): void {
    const { logger, streamName } = this.#options;
    for (const warning of planKeys(this.#options, this.#options.tables?.() ?? []).warnings) {
      if (!this.#told.has(warning)) logger.warn({ stream: streamName, reason: warning }, 'tables share a key');
      this.#told.add(warning);
    }
  }
}

function lastOf({ streamGeneration, tabletId }: SinkTablet): string {
  return `${streamGeneration}/${tabletId}`;
}

type ConnectOptions = Pick<
  RedisSinkOptions,
  'servers' | 'access' | 'logger' | 'durability' | 'wait' | 'requestTimeoutMs'
>;

function openConnection(
  options: ConnectOptions,
  onConfirmed: () => void,
  signal: AbortSignal,
): Promise<RedisConnection> {
  const {
    servers,
    access,
    logger,
    durability,
    wait,
    requestTimeoutMs: commandTimeoutMs = REQUEST_TIMEOUT_MS,
  } = options;
  const demands = { durability, replicas: wait.replicas };
  return RedisConnection.open(
    { servers, access, demands, waitTimeoutMs: wait.timeoutMs, commandTimeoutMs, logger, onConfirmed },
    signal,
  );
}

/**
 * Runs `work` with a connection of its own, once every server has shown that it would take a stream with these demands.
 * @throws {SinkError}
 */
export async function withConnection(
  options: ConnectOptions,
  signal: AbortSignal,
  work: (connection: RedisConnection) => Promise<void>,
): Promise<void> {
  try {
    await using connection = await openConnection(options, () => undefined, signal);
    for (const node of await connection.allNodes(signal)) node.throwIfTroubled();
    await work(connection);
  } catch (error) {
    throw signal.aborted
      ? new SinkError('unavailable', 'not answered in time', error)
      : toSinkError(error, 'its address');
  }
}

/** Of several shards each has an id: theirs together are one. */
function sinkIdOf({ key, shards }: TableLanes): string {
  const ids = shards.map(({ id }) => id);
  const id = ids.length === 1 ? ids[0]! : createHash('sha256').update(ids.join('\n')).digest('base64url').slice(0, 22);
  return formatSinkId({ store: STORE, topic: { name: key.replace(/[/@%]/g, encodeURIComponent), id } });
}
