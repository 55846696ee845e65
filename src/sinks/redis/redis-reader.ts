import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../util/logger.ts';
import { LinkedAbort } from '../../util/linked-abort.ts';
import type { RecordPlace, ShownPlace, SinkReader, StoredRecord } from '../reader.ts';
import { SinkError } from '../sink.ts';
import { connect, formatAddress } from './client.ts';
import type { RedisDefinition } from './definition.ts';
import { formatEntryId, idAfter, orderOf, parseEntryId, showPlace, type EntryId } from './entry-id.ts';
import { compileKeyTemplate, shardKeys, type KeyNamer } from './keys.ts';
import { Topology } from './topology.ts';
import { toSinkError } from './redis-error.ts';
import type { RedisAccess, RedisServers } from './settings.ts';

export interface RedisReaderOptions extends Pick<RedisDefinition, 'key' | 'layout' | 'shards' | 'schemaKey'> {
  readonly streamName: string;
  readonly servers: RedisServers;
  readonly access: RedisAccess;
  readonly logger: Logger;
  /** Reading fails when nothing could be read for so long. */
  readonly patienceMs?: number;
}

const COMMAND_TIMEOUT_MS = 10_000;
const PATIENCE_MS = 30_000;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 1_000;
const ENTRIES_AT_A_TIME = 500;
/** As in what is written: Debezium Server's word for null. */
const NULL_WORD = Buffer.from('default');

type Client = Awaited<ReturnType<typeof connect>>;

/** Reads a stream back from Redis. @throws {RangeError} the key template makes no sense */
export function createRedisReader(options: RedisReaderOptions): SinkReader {
  return new RedisReader(options);
}

class RedisReader implements SinkReader {
  readonly schemaDestination: string;
  readonly #options: RedisReaderOptions;
  readonly #nameKey: KeyNamer;
  readonly #stop = new AbortController();
  readonly #clients = new Map<string, Client>();
  #topology: Topology | null = null;

  constructor(options: RedisReaderOptions) {
    this.#options = options;
    this.schemaDestination = options.schemaKey;
    this.#nameKey = compileKeyTemplate(options.key, options.streamName);
  }

  destinationOf(tableName: string): string {
    try {
      return this.#nameKey(tableName);
    } catch (error) {
      throw new SinkError('refused', error instanceof Error ? error.message : String(error), error);
    }
  }

  read(destination: string, signal: AbortSignal, newest?: number): AsyncIterable<readonly StoredRecord[]> {
    const either = new LinkedAbort(signal, this.#stop.signal);
    const isSchema = destination === this.schemaDestination;
    const keys = isSchema ? [destination] : shardKeys(destination, this.#options.shards);
    // Of this moment, however much later the first record is asked for.
    const ends = Promise.all(keys.map((key) => this.#lastId(key, either.signal)));
    ends.catch(() => {
      either[Symbol.dispose](); // the reason is seen by whoever asks for it
    });
    return this.#records(keys, ends, newest ?? null, either);
  }

  show(place: RecordPlace): ShownPlace {
    return showPlace(place);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the reader was closed'));
    this.#forget();
    return Promise.resolve();
  }

  async *#records(
    keys: readonly string[],
    ends: Promise<readonly (EntryId | null)[]>,
    newest: number | null,
    either: LinkedAbort,
  ): AsyncGenerator<readonly StoredRecord[], void, undefined> {
    try {
      for (const [at, end] of (await ends).entries())
        if (end) {
          const key = keys[at]!;
          const from = newest === null ? '-' : await this.#idBefore(key, end, newest, either.signal);
          yield* this.#recordsOf(key, from, end, either.signal);
        }
    } catch (error) {
      throw toSinkError(error, 'its address');
    } finally {
      either[Symbol.dispose]();
    }
  }

  async *#recordsOf(
    key: string,
    begin: string,
    end: EntryId,
    signal: AbortSignal,
  ): AsyncGenerator<readonly StoredRecord[], void, undefined> {
    let from = begin;
    for (;;) {
      const entries = await this.#patiently(key, signal, (client) =>
        client.xrangeBuffer(key, from, formatEntryId(end), 'COUNT', ENTRIES_AT_A_TIME),
      );
      const last = entries.at(-1);
      if (!last) return;
      const records = entries.map(([id, fields]) => this.#recordOf(key, parseEntryId(id.toString()), fields));
      // Without a position nobody knows which delete a tombstone is behind, and the delete itself says as much.
      yield this.#options.layout === 'compact' ? records.filter(({ value }) => value !== null) : records;
      from = formatEntryId(idAfter(parseEntryId(last[0].toString())));
    }
  }

  #recordOf(key: string, id: EntryId, fields: readonly Buffer[]): StoredRecord {
    const shown = `the entry ${formatEntryId(id)} of key ${key} in Redis`;
    const place = { lane: key, order: orderIn(id, shown) };
    const isCompact = this.#options.layout === 'compact';
    const named = isCompact ? null : namesOf(fields);
    const name = isCompact ? fields[0] : named!.get('key');
    const value = isCompact ? fields[1] : named!.get('value');
    if (name === undefined || value === undefined)
      throw new SinkError(
        'refused',
        `${shown} is none of the layout ${this.#options.layout}: somebody else writes there`,
      );
    return {
      place,
      key: name.equals(NULL_WORD) ? null : name,
      value: value.equals(NULL_WORD) ? null : value,
      position: named?.get('SPOOR.POS')?.toString() ?? null,
      timestampMs: null,
    };
  }

  /** Of the first of so many entries up to `end`. */
  async #idBefore(key: string, end: EntryId, count: number, signal: AbortSignal): Promise<string> {
    const entries = await this.#patiently(key, signal, (client) =>
      client.xrevrangeBuffer(key, formatEntryId(end), '-', 'COUNT', count),
    );
    return entries.at(-1)?.[0].toString() ?? '-';
  }

  /** Null where there is no such key. */
  #lastId(key: string, signal: AbortSignal): Promise<EntryId | null> {
    return this.#patiently(key, signal, async (client) => {
      if ((await client.type(key)) === 'none') return null;
      const info = (await client.xinfo('STREAM', key)) as (string | number)[];
      return parseEntryId(String(info[info.indexOf('last-generated-id') + 1]));
    });
  }

  /** Repeats `attempt` while Redis cannot be reached: to read twice does no harm. */
  async #patiently<T>(key: string, signal: AbortSignal, attempt: (client: Client) => Promise<T>): Promise<T> {
    const { patienceMs = PATIENCE_MS, logger } = this.#options;
    const start = performance.now();
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      try {
        return await attempt(await this.#clientOf(key, signal));
      } catch (error) {
        this.#forget();
        const failure = toSinkError(error, 'its address');
        if (signal.aborted || failure.kind !== 'unavailable') throw failure;
        if (performance.now() - start + pauseMs > patienceMs) throw failure;
        if (pauseMs === FIRST_PAUSE_MS) logger.warn({ err: error, key }, 'reading from redis failed, trying again');
      }
      await sleep(pauseMs, undefined, { signal });
    }
  }

  async #clientOf(key: string, signal: AbortSignal): Promise<Client> {
    const { servers, access } = this.#options;
    this.#topology ??= await Topology.ask({ servers, access, commandTimeoutMs: COMMAND_TIMEOUT_MS }, signal);
    const address = this.#topology.ownerOf(key);
    const name = formatAddress(address);
    const known = this.#clients.get(name);
    if (known) return known;
    const options = { servers, credentials: access.credentials(), commandTimeoutMs: COMMAND_TIMEOUT_MS };
    const client = await connect(address, options, signal);
    this.#clients.set(name, client);
    return client;
  }

  #forget(): void {
    for (const client of this.#clients.values()) client.disconnect();
    this.#clients.clear();
    this.#topology = null;
  }
}

function namesOf(fields: readonly Buffer[]): ReadonlyMap<string, Buffer> {
  const named = new Map<string, Buffer>();
  for (let at = 0; at + 1 < fields.length; at += 2) named.set(fields[at]!.toString(), fields[at + 1]!);
  return named;
}

function orderIn(id: EntryId, shown: string): bigint {
  try {
    return orderOf(id);
  } catch (error) {
    throw new SinkError('refused', `${shown} has an id that no clock has made: somebody else writes there`, error);
  }
}
