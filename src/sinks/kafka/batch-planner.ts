import { RecordKind, type RecordBatch } from '../../change/record-batch.ts';
import type { Topic } from './cluster.ts';
import { partitionForKey } from './murmur2.ts';
import { recordBytesBound, type RecordPart } from './wire/record-batch.ts';

/** A request holds at most about this much, whatever the number of partitions. */
export const MAX_REQUEST_BYTES = 2 * 1024 * 1024;

/** Records of one partition that fit one batch of Kafka's. */
export interface PlannedBatch {
  readonly topic: Topic;
  readonly partition: number;
  readonly parts: readonly RecordPart[];
  /** How many records there are in them. */
  readonly count: number;
  readonly bytes: number;
}

interface Draft extends PlannedBatch {
  readonly records: number[];
  count: number;
  bytes: number;
}

/**
 * Spreads records over the partitions of their topics, in order, as requests that each carry at most one batch a
 * partition (Kafka takes no more). A record larger than the limit goes alone: the broker says whether it takes it.
 * A mark goes to every partition.
 * @param topicOf of a record of the batch; null leaves it out
 */
export function planRequests(
  records: RecordBatch,
  topicOf: (record: number) => Topic | null,
  maxBatchBytes: (topic: Topic) => number,
): PlannedBatch[][] {
  const requests: PlannedBatch[][] = [];
  let drafts = new Map<Topic, (Draft | undefined)[]>();
  let request: PlannedBatch[] = [];
  let requestBytes = 0;
  for (let record = 0; record < records.length; record++) {
    const topic = topicOf(record);
    if (topic === null) continue;
    const bytes = recordBytesBound(records, record);
    const partitions = topic.leaders.length;
    if (records.kindOf(record) === RecordKind.RESOLVED)
      for (let partition = 0; partition < partitions; partition++) add(record, topic, partition, bytes);
    else add(record, topic, partitionOf(records, record, partitions), bytes);
  }
  if (request.length > 0) requests.push(request);
  return requests;

  function add(record: number, topic: Topic, partition: number, bytes: number): void {
    let draft = drafts.get(topic)?.[partition];
    if (
      request.length > 0 &&
      (requestBytes + bytes > MAX_REQUEST_BYTES || (draft !== undefined && draft.bytes + bytes > maxBatchBytes(topic)))
    ) {
      requests.push(request);
      request = [];
      requestBytes = 0;
      drafts = new Map();
      draft = undefined;
    }
    if (draft === undefined) {
      const ofPartition: number[] = [];
      const parts = [{ batch: records, records: ofPartition }];
      draft = { topic, partition, parts, records: ofPartition, count: 0, bytes: 0 };
      let ofTopic = drafts.get(topic);
      if (ofTopic === undefined) drafts.set(topic, (ofTopic = []));
      ofTopic[partition] = draft;
      request.push(draft);
    }
    draft.records.push(record);
    draft.count++;
    draft.bytes += bytes;
    requestBytes += bytes;
  }
}

function partitionOf(records: RecordBatch, record: number, partitions: number): number {
  if (partitions === 1) return 0;
  return partitionForKey(records.routeBytes(record), partitions, records.routeStart(record), records.routeEnd(record));
}
