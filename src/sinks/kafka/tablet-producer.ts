import type { SinkRecord } from '../../change/record.ts';
import type { Logger } from '../../util/logger.ts';
import { nameRow } from '../record-name.ts';
import { SinkError } from '../sink.ts';
import { planRequests, type PlannedBatch } from './batch-planner.ts';
import type { KafkaCluster, Topic } from './cluster.ts';
import type { Throttling } from './connections.ts';
import type { RequestSender } from './on-the-wire.ts';
import type { TopicNamer } from './topic-template.ts';
import type { StreamTopics } from './topics.ts';
import type { TakenTablet } from './take-over.ts';
import type { TransactionOwner } from './transaction-steps.ts';
import type { GrantedTime, TransactionTimes } from './transaction-time.ts';
import { PRODUCE, type ProducerIdentity } from './wire/apis.ts';
import { KafkaCodeError, MESSAGE_TOO_LARGE, NO_ERROR, REQUEST_TIMED_OUT } from './wire/error-codes.ts';
import { encodeProduceRequest, type PartitionBatch } from './wire/record-batch.ts';

/** What the writers of a stream's tablets share. */
export interface StreamContext {
  readonly cluster: KafkaCluster;
  readonly topics: StreamTopics;
  readonly nameTopic: TopicNamer;
  readonly batchLimits: BatchLimits;
  readonly transactionTimes: TransactionTimes;
  readonly logger: Logger;
  /** Where the records of a table go, see sink-id.ts: as far as Kafka has told when it was last asked. */
  sinkId(tableName: string): string;
  /** Which other tables of the stream have a topic that Kafka does not take beside this one's, and what to do; or null. */
  clashOf(tableName: string): string | null;
  /** Tables that meet in one topic, which their names do not tell: said once. */
  warnOfSharedTopics(): void;
  /** First schemas cannot be written, see {@link TabletProducer.plan}: said once a stream. */
  warnOfMissingSchemaTopic(): void;
  /** What to throw after any failure: what was known of topics and their leaders may be over. */
  failure(error: unknown): SinkError;
}

/** Sequence numbers are 31 bits and begin again at 0 after the last. Source: DefaultRecordBatch.incrementSequence. */
const MAX_SEQUENCE = 0x7fffffff;

/**
 * The one producer of a tablet: a producer id and an epoch that the broker gave for the tablet's transactional id.
 *
 * The epoch fences. A broker that has seen a batch of a newer epoch in a partition takes none of an older one, inside a
 * transaction or not. That is why at-least-once asks for an epoch as well: a sidecar that was frozen while another
 * took over cannot append an old value behind a newer one of the same key, nor can a request that got stuck on the way.
 *
 * Each batch of a partition has the next sequence number; the broker takes it once, and none after one that is missing.
 * So requests may follow each other without waiting, and after any failure the whole producer is given up.
 */
export class TabletProducer implements TransactionOwner {
  readonly identity: ProducerIdentity;
  readonly coordinator: number;
  readonly groupCoordinator: number;
  readonly lane: number;
  readonly transactionTime: GrantedTime;
  readonly #stream: StreamContext;
  readonly #transactional: boolean;
  readonly #nextSequence = new Map<string, number[]>();

  /** @param transactional whether records are sent in transactions, see transaction.ts; or at once */
  constructor(stream: StreamContext, tablet: TakenTablet, options: { transactional: boolean }) {
    this.#stream = stream;
    this.identity = tablet.identity;
    this.coordinator = tablet.coordinator;
    this.groupCoordinator = tablet.groupCoordinator;
    this.lane = tablet.lane;
    this.transactionTime = tablet.transactionTime;
    this.#transactional = options.transactional;
  }

  /** A quota that holds its requests back, or null. */
  get waits(): Throttling | null {
    return this.#stream.cluster.throttling(this.lane);
  }

  /** The topics whose offsets carry a position: the table's, and the schema topic, which outlives a deleted table topic. */
  async positionTopics(tableName: string, signal: AbortSignal): Promise<string[]> {
    const { topics } = this.#stream;
    const [own, schema] = await Promise.all([
      this.#requireTopic(tableName, signal),
      topics.find(topics.schemaTopic, signal),
    ]);
    return schema === null || schema.name === own.name ? [own.name] : [own.name, schema.name];
  }

  /**
   * Divides records into requests, in order; looks up and creates topics as needed. The first schema of a table is left
   * out, with one warning, where the schema topic is missing and may not be made: it says nothing that changed.
   */
  async plan(records: readonly SinkRecord[], signal: AbortSignal): Promise<PlannedBatch[][]> {
    const { batchLimits } = this.#stream;
    const ofTable = new Map<string, Topic>();
    let schemaTopic: Topic | null = null;
    for (const record of records) {
      if (record.kind === 'schema') schemaTopic ??= await this.#findSchemaTopic(record, signal);
      else if (!ofTable.has(record.table)) ofTable.set(record.table, await this.#requireTopic(record.table, signal));
    }
    let last: { readonly table: string; readonly topic: Topic } | null = null;
    const topicOf = (record: SinkRecord): Topic | null => {
      if (record.kind === 'schema') return schemaTopic;
      if (last?.table !== record.table) last = { table: record.table, topic: ofTable.get(record.table)! };
      return last.topic;
    };
    return planRequests(records, topicOf, (topic) => batchLimits.of(topic.name));
  }

  /**
   * Appends the batches of one request; resolves once every in-sync replica has them.
   * @param sender of a transaction, which keeps account of them; else the cluster itself
   */
  async send(
    request: readonly PlannedBatch[],
    signal: AbortSignal,
    sender: RequestSender = this.#stream.cluster,
  ): Promise<void> {
    const byLeader = new Map<number, PartitionBatch[]>();
    for (const { topic, partition, records } of request) {
      const batch = {
        topic: topic.name,
        partition,
        records,
        baseSequence: this.#takeSequence(topic.name, partition, records.length),
      };
      const leader = topic.leaders[partition]!;
      const batches = byLeader.get(leader);
      if (batches === undefined) byLeader.set(leader, [batch]);
      else batches.push(batch);
    }
    await Promise.all(
      Array.from(byLeader, ([leader, batches]) => this.#sendToLeader(leader, batches, request, signal, sender)),
    );
  }

  async #sendToLeader(
    leader: number,
    batches: readonly PartitionBatch[],
    planned: readonly PlannedBatch[],
    signal: AbortSignal,
    sender: RequestSender,
  ): Promise<void> {
    const { transactionalId, producerId, epoch } = this.identity;
    const patience = this.#stream.cluster.patienceWith(leader);
    const { ms: waitedMs, brokerMs: timeoutMs } = patience;
    const bytes = encodeProduceRequest(batches, {
      transactionalId: this.#transactional ? transactionalId : null,
      producerId,
      epoch,
      timeoutMs,
    });
    const results = await sender.send(leader, this.lane, PRODUCE, bytes, signal);
    const failed = results.filter((result) => result.errorCode !== NO_ERROR);
    // A batch behind one that failed is refused for its sequence; the first cause is the one to tell.
    const first = failed.find((result) => !CONSEQUENCES.has(result.errorCode)) ?? failed[0];
    if (first === undefined) return;
    // The leader has answered in time, and its replicas have not: they need our patience as well.
    if (first.errorCode === REQUEST_TIMED_OUT) patience.ranOut(waitedMs, performance.now());
    if (first.errorCode === MESSAGE_TOO_LARGE || first.errorCode === RECORD_LIST_TOO_LARGE)
      this.#failTooLarge(
        planned.find((batch) => batch.topic.name === first.topic && batch.partition === first.partition)!,
      );
    throw new KafkaCodeError(
      first.errorCode,
      `records for partition ${first.partition} of topic ${first.topic}`,
      first.message,
    );
  }

  #failTooLarge({ topic, records, bytes }: PlannedBatch): never {
    const record = records[0]!;
    if (records.length === 1)
      throw new SinkError(
        'refused',
        `topic ${topic.name} does not take the record ${record.position} of ${record.value?.length ?? 0} bytes (${nameRow(record)}): raise its max.message.bytes`,
      );
    this.#stream.batchLimits.shrink(topic.name, bytes);
    throw new SinkError(
      'unavailable',
      `topic ${topic.name} does not take a batch of ${bytes} bytes; smaller ones are tried next`,
    );
  }

  async #findSchemaTopic(record: SinkRecord, signal: AbortSignal): Promise<Topic | null> {
    const { topics } = this.#stream;
    if (!isFirstSchema(record)) return topics.require(topics.schemaTopic, signal);
    const topic = await topics.find(topics.schemaTopic, signal);
    if (topic === null) this.#stream.warnOfMissingSchemaTopic();
    return topic;
  }

  /** Kafka names topics that collide, and not whose they are. */
  async #requireTopic(tableName: string, signal: AbortSignal): Promise<Topic> {
    const name = this.#nameTopic(tableName);
    try {
      return await this.#stream.topics.require(name, signal);
    } catch (error) {
      const isRefused = error instanceof KafkaCodeError ? error.kind === 'refused' : error instanceof SinkError;
      const clash = isRefused ? this.#stream.clashOf(tableName) : null;
      if (clash === null) throw error;
      throw new SinkError('refused', clash, error);
    }
  }

  #nameTopic(tableName: string): string {
    try {
      return this.#stream.nameTopic(tableName);
    } catch (error) {
      throw new SinkError('refused', error instanceof Error ? error.message : String(error), error);
    }
  }

  #takeSequence(topic: string, partition: number, count: number): number {
    let ofTopic = this.#nextSequence.get(topic);
    if (ofTopic === undefined) this.#nextSequence.set(topic, (ofTopic = []));
    const sequence = ofTopic[partition] ?? 0;
    ofTopic[partition] = nextSequence(sequence, count);
    return sequence;
  }
}

const RECORD_LIST_TOO_LARGE = 18;
/** OUT_OF_ORDER_SEQUENCE_NUMBER */
const CONSEQUENCES: ReadonlySet<number> = new Set([45]);

/** The sequence number after a batch of `count` records that began at `sequence`. */
export function nextSequence(sequence: number, count: number): number {
  return sequence > MAX_SEQUENCE - count ? count - (MAX_SEQUENCE - sequence) - 1 : sequence + count;
}

function isFirstSchema(record: SinkRecord): boolean {
  const value: unknown = record.value === null ? null : JSON.parse(record.value.toString());
  return typeof value === 'object' && value !== null && 'before' in value && value.before === null;
}

/** A broker takes batches of 1 MiB by default (max.message.bytes); a topic that takes less is found out. */
const DEFAULT_MAX_BATCH_BYTES = 512 * 1024;

/** How large a batch each topic takes, as far as we know. */
export class BatchLimits {
  readonly #limits = new Map<string, number>();

  of(topic: string): number {
    return this.#limits.get(topic) ?? DEFAULT_MAX_BATCH_BYTES;
  }

  shrink(topic: string, refusedBytes: number): void {
    this.#limits.set(topic, Math.min(this.of(topic), refusedBytes >>> 2));
  }
}
