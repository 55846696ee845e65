import { UnknownApiError } from './connections.ts';
import type { KafkaCluster } from './cluster.ts';
import { DESCRIBE_PRODUCERS, DESCRIBE_TRANSACTIONS, type ProducerIdentity, type TopicPartitions } from './wire/apis.ts';
import { failOnErrorCode, KafkaCodeError, NOT_AUTHORIZED } from './wire/error-codes.ts';

/*
 * A coordinator ends a transaction in two steps: it writes down the decision, which is what EndTxn answers, and then has
 * a marker written into every partition. A partition without a leader at that moment counts as deleted, and gets none
 * (TransactionMarkerChannelManager.addTxnMarkersToBrokerQueue; seen with Kafka 4.3.1: kill -9 of a broker that is its
 * own controller, 100 ms after a commit). The transaction is over then, and yet its records and offsets stay open: the
 * producer's next marker decides them, whatever that is. Records that were committed, and whose position is not, would
 * be written once more and both come to light with the next commit.
 */

const OFFSETS_TOPIC = '__consumer_offsets';

/** Where a transaction of a producer is open. */
export interface OpenPartitions {
  readonly topics: readonly TopicPartitions[];
  /** Whether offsets of its group are. */
  readonly offsets: boolean;
}

/** How a transaction ended, or has to. */
export type Outcome = 'commit' | 'abort';

/**
 * How the coordinator ended the last transaction, or will when it is fenced. `none`: there was none, it is too old a
 * story, or the producer was fenced since; then only whoever asked before knows.
 */
export async function describeOutcome(
  cluster: KafkaCluster,
  { coordinator, id, lane }: { readonly coordinator: number; readonly id: string; readonly lane: number },
  signal: AbortSignal,
): Promise<Outcome | 'none'> {
  try {
    const request = { transactionalId: id };
    const { errorCode, state } = await cluster.send(coordinator, lane, DESCRIBE_TRANSACTIONS, request, signal);
    if (errorCode === TRANSACTIONAL_ID_NOT_FOUND) return 'none';
    failOnErrorCode(errorCode, `to describe the last transaction of ${id}`);
    if (state === 'Empty') return 'none';
    return state === 'PrepareCommit' || state === 'CompleteCommit' ? 'commit' : 'abort';
  } catch (error) {
    if (error instanceof UnknownApiError) return 'none';
    throw error;
  }
}

/**
 * The partitions of these topics, and of the offsets, where a transaction of the producer is open although it has none:
 * to be asked when its newest epoch was given out. Null when there are none; also where a broker cannot tell (before
 * 2.8), or may not tell us.
 */
export async function findOpenPartitions(
  cluster: KafkaCluster,
  { producerId, transactionalId }: ProducerIdentity,
  topicNames: readonly string[],
  signal: AbortSignal,
): Promise<OpenPartitions | null> {
  const ofTopics = await openIn(cluster, producerId, topicNames, signal);
  const ofOffsets = await openIn(cluster, producerId, [OFFSETS_TOPIC], signal);
  const offsets = ofOffsets.some(({ partitions, count }) =>
    partitions.includes(partitionOfGroup(transactionalId, count)),
  );
  if (ofTopics.length === 0 && !offsets) return null;
  return { topics: ofTopics.map(({ topic, partitions }) => ({ topic, partitions })), offsets };
}

/** Those partitions of the topics where a transaction of the producer is open; `count` is how many the topic has. */
async function openIn(
  cluster: KafkaCluster,
  producerId: bigint,
  topicNames: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly topic: string; readonly partitions: number[]; readonly count: number }[]> {
  try {
    const topics = await cluster.findTopics(topicNames, signal);
    const open = new Map<string, number[]>();
    for (const answer of await cluster.askLeaders([...topics.values()], DESCRIBE_PRODUCERS, signal)) {
      const { topic, partition, errorCode, producers } = answer;
      failOnErrorCode(errorCode, `to describe the producers of partition ${partition} of topic ${topic}`);
      if (!producers.some((producer) => producer.producerId === producerId && producer.openSince >= 0n)) continue;
      open.set(topic, [...(open.get(topic) ?? []), partition]);
    }
    return Array.from(open, ([topic, partitions]) => ({ topic, partitions, count: topics.get(topic)!.leaders.length }));
  } catch (error) {
    if (error instanceof UnknownApiError || (error instanceof KafkaCodeError && NOT_AUTHORIZED.has(error.code)))
      return [];
    throw error;
  }
}

const TRANSACTIONAL_ID_NOT_FOUND = 105;

/** Source: GroupCoordinatorService.partitionFor, Java's String.hashCode. */
function partitionOfGroup(groupId: string, partitionCount: number): number {
  let hash = 0;
  for (let i = 0; i < groupId.length; i++) hash = (Math.imul(31, hash) + groupId.charCodeAt(i)) | 0;
  return (hash === -0x80000000 ? 0 : Math.abs(hash)) % partitionCount;
}
