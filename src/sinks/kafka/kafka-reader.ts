import { setTimeout as sleep } from 'node:timers/promises';
import { LinkedAbort } from '../../util/linked-abort.ts';
import type { Logger } from '../../util/logger.ts';
import type { RecordPlace, ShownPlace, SinkReader, StoredRecord } from '../reader.ts';
import { SinkError } from '../sink.ts';
import { KafkaCluster, type Topic } from './cluster.ts';
import { toSinkError } from './kafka-error.ts';
import type { KafkaSinkOptions } from './kafka-sink.ts';
import { laneOf, showPlace } from './record-place.ts';
import { compileTopicTemplate, type TopicNamer } from './topic-template.ts';
import {
  failOnErrorCode,
  KafkaCodeError,
  OFFSET_OUT_OF_RANGE,
  UNKNOWN_TOPIC_OR_PARTITION,
} from './wire/error-codes.ts';
import { FETCH, FIRST_OFFSETS, LAST_STABLE_OFFSETS, type FetchedRecords } from './wire/fetch.ts';
import { readCommittedBatches, type CommittedBatch } from './wire/record-batch-reader.ts';

export interface KafkaReaderOptions extends Pick<
  KafkaSinkOptions,
  'streamName' | 'brokers' | 'access' | 'socketFactory' | 'topic' | 'logger'
> {
  readonly schemaTopic: string;
  /** A broker that does not answer a request for so long is asked again. */
  readonly requestTimeoutMs?: number;
  /** Reading fails when nothing could be read for so long. */
  readonly patienceMs?: number;
}

const REQUEST_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 3_000;
const PATIENCE_MS = 30_000;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 1_000;

/** One answer is in memory at a time; a batch that is larger comes alone. */
const MAX_FETCH_BYTES = 2 * 1024 * 1024;
const MAX_YIELD_BYTES = 1024 * 1024;
/** What is read lies below the last stable offset, so it is there: this matters while a leader catches up. */
const MAX_WAIT_MS = 500;
/** Of its own beside the cluster's, so that a look-up need not wait for records. */
const CHANNEL = 1;

/**
 * Reads a stream back from Kafka.
 * @throws {RangeError} an option that no Kafka can make sense of: the topic template, a broker's address
 */
export function createKafkaReader(options: KafkaReaderOptions): KafkaReader {
  return new TopicsReader(options);
}

/** Whoever follows a topic reads it again and again, each time from where it was. */
export interface KafkaReader extends SinkReader {
  /**
   * As {@link SinkReader.read}, of what lies there from these places on alone.
   * @param next by lane; one that is not in it is read from its beginning
   */
  readOn(topic: string, next: ReadonlyMap<string, bigint>, signal: AbortSignal): AsyncIterable<readonly StoredRecord[]>;
}

class TopicsReader implements KafkaReader {
  readonly schemaDestination: string;
  readonly #cluster: KafkaCluster;
  readonly #nameTopic: TopicNamer;
  readonly #patienceMs: number;
  readonly #logger: Logger;
  readonly #stop = new AbortController();

  constructor(options: KafkaReaderOptions) {
    const { streamName, brokers, access, socketFactory, logger } = options;
    this.schemaDestination = options.schemaTopic;
    this.#nameTopic = compileTopicTemplate(options, streamName);
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#logger = logger;
    this.#cluster = new KafkaCluster(brokers, {
      clientId: `spoor-${streamName}-reader`,
      ...(access === undefined ? {} : { access }),
      ...(socketFactory === undefined ? {} : { socketFactory }),
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      requestTimeoutMs: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      logger,
    });
  }

  destinationOf(tableName: string): string {
    try {
      return this.#nameTopic(tableName);
    } catch (error) {
      throw new SinkError('refused', error instanceof Error ? error.message : String(error), error);
    }
  }

  read(topic: string, signal: AbortSignal, newest?: number): AsyncIterable<readonly StoredRecord[]> {
    return this.#read(
      topic,
      signal,
      newest === undefined ? (first) => first : (first, end) => lastOf(newest, first, end),
    );
  }

  readOn(
    topic: string,
    next: ReadonlyMap<string, bigint>,
    signal: AbortSignal,
  ): AsyncIterable<readonly StoredRecord[]> {
    return this.#read(topic, signal, (first, _, partition) => next.get(laneOf(topic, partition)) ?? first);
  }

  #read(topic: string, signal: AbortSignal, startOf: StartOf): AsyncIterable<readonly StoredRecord[]> {
    const either = new LinkedAbort(signal, this.#stop.signal);
    const options = { patienceMs: this.#patienceMs, logger: this.#logger };
    const read = new TopicRead(this.#cluster, topic, options, either);
    const ranges = read.ranges(startOf); // of this moment, however much later the first record is asked for
    ranges.catch(() => {
      either[Symbol.dispose](); // the reason is seen by whoever asks for it
    });
    return read.records(ranges);
  }

  show(place: RecordPlace): ShownPlace {
    return showPlace(place);
  }

  /** Ends what is being read and closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the reader was closed'));
    await this.#cluster[Symbol.asyncDispose]();
  }
}

/** The offsets of a partition that are read: from `start` on, up to and without `end`. */
interface Range {
  readonly partition: number;
  readonly start: bigint;
  readonly end: bigint;
}

/** Where to begin in a partition that has records from `first` up to and without `end`. */
type StartOf = (first: bigint, end: bigint, partition: number) => bigint;

/** About so many records. */
function lastOf(newest: number, first: bigint, end: bigint): bigint {
  const most = BigInt(2 * newest + 1); // the end of a transaction has an offset too, and there may be one behind each record
  return end - first > most ? end - most : first;
}

/** One pass over one topic. */
class TopicRead {
  readonly #cluster: KafkaCluster;
  readonly #name: string;
  readonly #options: { readonly patienceMs: number; readonly logger: Logger };
  readonly #either: LinkedAbort;
  /** Leaders as far as we know; null before the first look-up, and after an error, since they may have moved. */
  #topic: Topic | null = null;

  constructor(
    cluster: KafkaCluster,
    name: string,
    options: { readonly patienceMs: number; readonly logger: Logger },
    either: LinkedAbort,
  ) {
    this.#cluster = cluster;
    this.#name = name;
    this.#options = options;
    this.#either = either;
  }

  get #signal(): AbortSignal {
    return this.#either.signal;
  }

  /** By partition; none where there is no such topic. */
  async ranges(startOf: StartOf): Promise<readonly Range[]> {
    return this.#patiently(async () => {
      const topic = (this.#topic = await this.#lookUp());
      if (topic === null) return [];
      const [starts, ends] = await Promise.all([
        this.#ask(topic, FIRST_OFFSETS),
        this.#ask(topic, LAST_STABLE_OFFSETS),
      ]);
      return topic.leaders.map((_, partition) => {
        const end = ends[partition]!;
        return { partition, start: startOf(starts[partition]!, end, partition), end };
      });
    });
  }

  async *records(ranges: Promise<readonly Range[]>): AsyncGenerator<readonly StoredRecord[], void, undefined> {
    try {
      for (const range of await ranges) yield* this.#recordsOf(range);
    } catch (error) {
      throw toSinkError(error);
    } finally {
      this.#either[Symbol.dispose]();
    }
  }

  async *#recordsOf({ partition, start, end }: Range): AsyncGenerator<readonly StoredRecord[], void, undefined> {
    const lane = laneOf(this.#name, partition);
    for (let offset = start; offset < end;) {
      const fetched = await this.#fetch(partition, offset);
      if (fetched === 'out-of-range') {
        offset = await this.#firstOffsetAfter(partition, offset);
        continue;
      }
      let records: StoredRecord[] = [];
      let bytes = 0;
      for (const batch of this.#decode(fetched, partition, offset)) {
        // Offsets may be missing anywhere: a batch is given whole, and may begin before or end behind what is wanted.
        for (const { offset: order, ...record } of batch.records) {
          if (order < offset || order >= end) continue;
          records.push({ place: { lane, order }, ...record });
          bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0);
        }
        offset = batch.nextOffset;
        if (offset >= end) break;
        if (bytes < MAX_YIELD_BYTES) continue;
        yield records;
        records = [];
        bytes = 0;
      }
      if (records.length > 0) yield records;
    }
  }

  /** Answers at least one whole batch. */
  async #fetch(partition: number, offset: bigint): Promise<FetchedRecords | 'out-of-range'> {
    return this.#patiently(async () => {
      const leader = await this.#leaderOf(partition);
      const request = { topic: this.#name, partition, offset, maxBytes: MAX_FETCH_BYTES, maxWaitMs: MAX_WAIT_MS };
      const fetched = await this.#cluster.send(leader, CHANNEL, FETCH, request, this.#signal);
      if (fetched?.errorCode === OFFSET_OUT_OF_RANGE) return 'out-of-range';
      if (fetched !== null) failOnErrorCode(fetched.errorCode, `records of ${this.#say(partition)}`);
      if (fetched !== null && fetched.records.length > 0) return fetched;
      // A leader that is new does not give out yet what it is not sure of; one that saves a quota gives nothing at all.
      throw new SinkError('unavailable', `Kafka gives no records of ${this.#say(partition, offset)}`);
    });
  }

  /** Where retention has left the first record, when that is behind `offset` by now. */
  async #firstOffsetAfter(partition: number, offset: bigint): Promise<bigint> {
    const first = await this.#patiently(async () => {
      await this.#leaderOf(partition);
      return (await this.#ask(this.#topic!, FIRST_OFFSETS))[partition]!;
    });
    if (first > offset) return first;
    throw new SinkError('unavailable', `${this.#say(partition, offset)} is gone: it lost records while it was read`);
  }

  /** {@link readCommittedBatches}, with errors that say of what. */
  *#decode(fetched: FetchedRecords, partition: number, offset: bigint): Generator<CommittedBatch, void, undefined> {
    let at = offset;
    const batches = readCommittedBatches(fetched.records, fetched.aborted);
    for (;;) {
      let next: IteratorResult<CommittedBatch, void>;
      try {
        next = batches.next();
        if (next.done === true ? at === offset : next.value.nextOffset <= at)
          throw new RangeError('the broker gave other records, or none that is whole');
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new SinkError('refused', `${this.#say(partition, at)} cannot be read: ${reason}`, error);
      }
      if (next.done === true) return;
      at = next.value.nextOffset;
      yield next.value;
    }
  }

  async #leaderOf(partition: number): Promise<number> {
    this.#topic ??= await this.#lookUp();
    const leader = this.#topic?.leaders[partition];
    if (leader === undefined) throw new SinkError('refused', `${this.#say(partition)} was deleted while it was read`);
    return leader;
  }

  async #lookUp(): Promise<Topic | null> {
    return (await this.#cluster.findTopics([this.#name], this.#signal)).get(this.#name) ?? null;
  }

  /** An offset of each partition. */
  async #ask(topic: Topic, api: typeof FIRST_OFFSETS): Promise<bigint[]> {
    const offsets: bigint[] = [];
    for (const { partition, errorCode, offset } of await this.#cluster.askLeaders([topic], api, this.#signal)) {
      failOnErrorCode(errorCode, `the offsets of ${this.#say(partition)}`);
      offsets[partition] = offset;
    }
    // A partition that is passed over would look like an empty one.
    return Array.from(topic.leaders, (_, partition) => {
      const offset = offsets[partition];
      if (offset === undefined) throw new SinkError('unavailable', `Kafka gives no offset of ${this.#say(partition)}`);
      return offset;
    });
  }

  /**
   * Repeats `attempt` while Kafka cannot be reached, or a partition has another leader than we thought. More than
   * {@link whileSettling}: reading twice does no harm, so a lost connection is a reason too.
   */
  async #patiently<T>(attempt: () => Promise<T>): Promise<T> {
    const { patienceMs, logger } = this.#options;
    const start = performance.now();
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
      try {
        return await attempt();
      } catch (error) {
        const failure = toSinkError(error);
        // A broker that is new to a partition may not have heard of its topic; the next look-up tells.
        const isNews = error instanceof KafkaCodeError && error.code === UNKNOWN_TOPIC_OR_PARTITION;
        if (this.#signal.aborted || (failure.kind !== 'unavailable' && !isNews)) throw failure;
        if (performance.now() - start + pauseMs > patienceMs) throw failure;
        this.#topic = null;
        if (pauseMs === FIRST_PAUSE_MS)
          logger.warn({ err: error, topic: this.#name }, 'reading from kafka failed, trying again');
      }
      await sleep(pauseMs, undefined, { signal: this.#signal });
    }
  }

  #say(partition: number, from?: bigint): string {
    const what = `partition ${partition} of topic ${this.#name}`;
    return from === undefined ? what : `${what} from offset ${from.toString()} on`;
  }
}
