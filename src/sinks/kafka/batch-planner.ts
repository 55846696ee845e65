import type { SinkRecord } from '../../change/record.ts';
import type { Topic } from './cluster.ts';
import { partitionForKey } from './murmur2.ts';
import { recordBytesBound } from './wire/record-batch.ts';

/** A request holds at most about this much, whatever the number of partitions. */
export const MAX_REQUEST_BYTES = 2 * 1024 * 1024;

/** Records of one partition that fit one batch. */
export interface PlannedBatch {
  readonly topic: Topic;
  readonly partition: number;
  readonly records: readonly SinkRecord[];
  readonly bytes: number;
}

interface Draft extends PlannedBatch {
  readonly records: SinkRecord[];
  bytes: number;
}

/**
 * Spreads records over the partitions of their topics, in order, as requests that each carry at most one batch a
 * partition (Kafka takes no more). A record larger than the limit goes alone: the broker says whether it takes it.
 * A mark goes to every partition.
 * @param topicOf null leaves the record out
 */
export function planRequests(
  records: readonly SinkRecord[],
  topicOf: (record: SinkRecord) => Topic | null,
  maxBatchBytes: (topic: Topic) => number,
): PlannedBatch[][] {
  const requests: PlannedBatch[][] = [];
  let drafts = new Map<Topic, (Draft | undefined)[]>();
  let request: PlannedBatch[] = [];
  let requestBytes = 0;
  for (const record of records) {
    const topic = topicOf(record);
    if (topic === null) continue;
    const bytes = recordBytesBound(record);
    const isMark = record.kind === 'resolved';
    const first = isMark ? 0 : partitionForKey(record.key, topic.leaders.length);
    const last = isMark ? topic.leaders.length - 1 : first;
    for (let partition = first; partition <= last; partition++) add(record, topic, partition, bytes);
  }
  if (request.length > 0) requests.push(request);
  return requests;

  function add(record: SinkRecord, topic: Topic, partition: number, bytes: number): void {
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
      draft = { topic, partition, records: [], bytes: 0 };
      let ofTopic = drafts.get(topic);
      if (ofTopic === undefined) drafts.set(topic, (ofTopic = []));
      ofTopic[partition] = draft;
      request.push(draft);
    }
    draft.records.push(record);
    draft.bytes += bytes;
    requestBytes += bytes;
  }
}
