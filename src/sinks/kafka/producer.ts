import { RecordKind } from '../../change/record-batch.ts';
import { nameRow } from '../record-name.ts';
import { RecordTooLargeError, SinkError } from '../sink.ts';
import type { PlannedBatch } from './batch-planner.ts';
import type { KafkaCluster } from './cluster.ts';
import type { RequestSender } from './on-the-wire.ts';
import type { MarkPolicy } from './mark-policy.ts';
import type { OpenedProducer } from './producer-epoch.ts';
import { giveBackRequestMemory, takeRequestMemory } from './request-memory.ts';
import type { BatchLimits } from './record-planner.ts';
import { PRODUCE } from './wire/transaction-apis.ts';
import type { Compression } from './wire/compression.ts';
import { KafkaCodeError, MESSAGE_TOO_LARGE, NO_ERROR, REQUEST_TIMED_OUT } from './wire/error-codes.ts';
import { encodeProduceRequest, type PartitionBatch } from './wire/record-batch.ts';

/** Sequence numbers are 31 bits and begin again at 0 after the last. Source: DefaultRecordBatch.incrementSequence. */
const MAX_SEQUENCE = 0x7fffffff;

/** Some batches of a request were not taken, or nobody knows; the others may have been. */
export class BatchError extends Error {
  override readonly name = 'BatchError';
  readonly batches: readonly PlannedBatch[];
  /** What was wrong with them is known by now, and the next try is another one: smaller batches, or no marks. */
  readonly isLearned: boolean;

  constructor(batches: readonly PlannedBatch[], cause: unknown, isLearned = false) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.batches = batches;
    this.isLearned = isLearned;
  }
}

/**
 * A producer id and an epoch that the broker gave for a transactional id, and the sequence numbers of its batches.
 *
 * The epoch fences. A broker that has seen a batch of a newer epoch in a partition takes none of an older one, inside a
 * transaction or not.
 *
 * Each batch of a partition has the next sequence number; the broker takes it once, and none after one that is missing.
 * So requests may follow each other without waiting, and after any failure the epoch is given up.
 */
export class Producer {
  readonly opened: OpenedProducer;
  readonly #cluster: KafkaCluster;
  readonly #batchLimits: BatchLimits;
  readonly #marks: Pick<MarkPolicy, 'refused'>;
  readonly #compression: Compression;
  readonly #transactional: boolean;
  readonly #nextSequence = new Map<string, number[]>();

  /** @param transactional whether records are sent in transactions; or at once */
  constructor(
    cluster: KafkaCluster,
    opened: OpenedProducer,
    options: {
      readonly transactional: boolean;
      readonly batchLimits: BatchLimits;
      readonly marks: Pick<MarkPolicy, 'refused'>;
      readonly compression: Compression;
    },
  ) {
    this.#cluster = cluster;
    this.opened = opened;
    this.#batchLimits = options.batchLimits;
    this.#marks = options.marks;
    this.#compression = options.compression;
    this.#transactional = options.transactional;
  }

  /**
   * Appends the batches of one request; resolves once every in-sync replica has them.
   * @param sender of a transaction, which keeps account of them; else the cluster itself
   * @throws {BatchError} which of them were not taken
   */
  async send(
    request: readonly PlannedBatch[],
    signal: AbortSignal,
    sender: RequestSender = this.#cluster,
  ): Promise<void> {
    const byLeader = new Map<number, PlannedBatch[]>();
    for (const batch of request) {
      const leader = batch.topic.leaders[batch.partition]!;
      const batches = byLeader.get(leader);
      if (batches === undefined) byLeader.set(leader, [batch]);
      else batches.push(batch);
    }
    // The sequence numbers are given before anything is awaited: they are in the order of the calls.
    await Promise.all(Array.from(byLeader, ([leader, batches]) => this.#sendToLeader(leader, batches, signal, sender)));
  }

  async #sendToLeader(
    leader: number,
    planned: readonly PlannedBatch[],
    signal: AbortSignal,
    sender: RequestSender,
  ): Promise<void> {
    const { transactionalId, producerId, epoch } = this.opened.identity;
    const patience = this.#cluster.patienceWith(leader);
    const { ms: waitedMs, brokerMs: timeoutMs } = patience;
    const batches = planned.map(({ topic: { name: topic }, partition, parts, count }): PartitionBatch => {
      return { topic, partition, parts, count, baseSequence: this.#takeSequence(topic, partition, count) };
    });
    const bytes = encodeProduceRequest(batches, {
      transactionalId: this.#transactional ? transactionalId : null,
      producerId,
      epoch,
      timeoutMs,
      compression: this.#compression,
      memory: takeRequestMemory,
    });
    const results = await sender.send(leader, this.opened.channel, PRODUCE, bytes, signal).catch((error: unknown) => {
      throw new BatchError(planned, error);
    });
    giveBackRequestMemory(bytes);
    const failed = results.filter((result) => result.errorCode !== NO_ERROR);
    // A batch behind one that failed is refused for its sequence; the first cause is the one to tell.
    const first = failed.find((result) => !CONSEQUENCES.has(result.errorCode)) ?? failed[0];
    if (first === undefined) return;
    // The leader has answered in time, and its replicas have not: they need our patience as well.
    if (first.errorCode === REQUEST_TIMED_OUT) patience.ranOut(waitedMs, performance.now());
    const isOf = (batch: PlannedBatch) => (result: { topic: string; partition: number }) =>
      batch.topic.name === result.topic && batch.partition === result.partition;
    if (first.errorCode === MESSAGE_TOO_LARGE || first.errorCode === RECORD_LIST_TOO_LARGE)
      throw this.#tooLarge(planned.find((batch) => isOf(batch)(first))!);
    const marked = planned.filter((batch) => failed.some(isOf(batch)) && hasMark(batch));
    if (first.errorCode === INVALID_RECORD && marked.length > 0) throw this.#takesNoMarks(marked);
    const what = `records for partition ${first.partition} of topic ${first.topic}`;
    const cause = new KafkaCodeError(first.errorCode, what, first.message);
    throw new BatchError(
      planned.filter((batch) => failed.some(isOf(batch))),
      cause,
    );
  }

  #tooLarge(batch: PlannedBatch): BatchError {
    const { topic, parts, count, bytes } = batch;
    if (count === 1) {
      const [part] = parts;
      const record = part!.batch.record(part!.records[0]!);
      const message = `topic ${topic.name} does not take the record ${record.position} of ${record.value?.length ?? 0} bytes (${nameRow(record)}): raise its max.message.bytes`;
      const { position, key } = record;
      return new BatchError([batch], new RecordTooLargeError(message, { position, key: Buffer.from(key) }));
    }
    this.#batchLimits.shrink(topic.name, bytes);
    const message = `topic ${topic.name} does not take a batch of ${bytes} bytes; smaller ones are tried next`;
    return new BatchError([batch], new SinkError('unavailable', message), true);
  }

  #takesNoMarks(batches: readonly PlannedBatch[]): BatchError {
    for (const { topic } of batches) this.#marks.refused(topic);
    const topics = [...new Set(batches.map(({ topic }) => topic.name))].join(', ');
    const message = `topic ${topics} takes no marks of resolved: they are left out of the next try`;
    return new BatchError(batches, new SinkError('unavailable', message), true);
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
/** Of a compacted topic, for a record without a key. Source: LogValidator.validateKey. */
const INVALID_RECORD = 87;

function hasMark({ parts }: PlannedBatch): boolean {
  return parts.some(({ batch, records }) => records.some((record) => batch.kindOf(record) === RecordKind.RESOLVED));
}

/** OUT_OF_ORDER_SEQUENCE_NUMBER */
const CONSEQUENCES: ReadonlySet<number> = new Set([45]);

/** The sequence number after a batch of `count` records that began at `sequence`. */
export function nextSequence(sequence: number, count: number): number {
  return sequence > MAX_SEQUENCE - count ? count - (MAX_SEQUENCE - sequence) - 1 : sequence + count;
}
