import { UnknownApiError } from './spoken-version.ts';
import type { RequestSender } from './on-the-wire.ts';
import { whileSettling, type Patience } from './wait.ts';
import type { PartitionError, ProducerIdentity, TopicPartitions } from './wire/api.ts';
import { ADD_PARTITIONS_TO_TXN, DESCRIBE_TRANSACTIONS, END_TXN } from './wire/transaction-apis.ts';
import { failOnErrorCode, KafkaCodeError, SETTLES, TRANSACTIONAL_ID_NOT_FOUND } from './wire/error-codes.ts';

/** How a transaction ends. */
export type Outcome = 'commit' | 'abort';

/** Whose transactions they are, and where that is kept. */
export interface TransactionOwner {
  readonly identity: ProducerIdentity;
  /** Node that coordinates the transactional id. */
  readonly coordinator: number;
  /** Requests of one channel are worked on in order. */
  readonly channel: number;
}

/** The broker answers a commit before its markers are in every partition; until then it lets no new transaction begin. */
const LAST_ONE_SETTLES: Patience = { codes: SETTLES, pauseMs: 1, maxPauseMs: 20, forMs: 10_000 };

/** A partition may not join a transaction; none of those that were named beside it has joined either. */
export class PartitionRefusedError extends KafkaCodeError {
  readonly topic: string;
  readonly partition: number;

  constructor({ topic, partition, errorCode }: PartitionError) {
    super(errorCode, `partition ${partition} of topic ${topic} for a transaction`);
    this.topic = topic;
    this.partition = partition;
  }
}

/** Begins a transaction, or joins the one that is open. */
export async function addPartitions(
  cluster: RequestSender,
  owner: TransactionOwner,
  topics: readonly TopicPartitions[],
  signal: AbortSignal,
): Promise<void> {
  await whileSettling(() => join(cluster, owner, topics, signal), LAST_ONE_SETTLES, signal);
}

async function join(
  cluster: RequestSender,
  { coordinator, channel, identity }: TransactionOwner,
  topics: readonly TopicPartitions[],
  signal: AbortSignal,
): Promise<void> {
  const request = { ...identity, topics };
  const results = await cluster.send(coordinator, channel, ADD_PARTITIONS_TO_TXN, request, signal);
  // 55 OPERATION_NOT_ATTEMPTED stands for a partition whose neighbour was the one refused.
  const refused =
    results.find(({ errorCode }) => errorCode !== 0 && errorCode !== 55) ??
    results.find(({ errorCode }) => errorCode !== 0);
  if (refused) throw new PartitionRefusedError(refused);
}

/**
 * A transaction of these partitions without a record: its marker ends what is open there. The two requests go out together, so
 * that hardly anybody comes between them, our own death included: a broker takes what one socket sends in its order.
 */
export async function endOnceMore(
  cluster: RequestSender,
  owner: TransactionOwner,
  topics: readonly TopicPartitions[],
  outcome: Outcome,
  signal: AbortSignal,
): Promise<void> {
  const both = async (): Promise<void> => {
    const joined = join(cluster, owner, topics, signal);
    const ended = endTransaction(cluster, owner, outcome, signal);
    ended.catch(() => undefined); // where it has not joined, there was nothing to end
    await joined;
    await ended;
  };
  await whileSettling(both, LAST_ONE_SETTLES, signal);
}

export interface DescribedTransaction {
  readonly state: string;
  readonly producerId: bigint;
  readonly epoch: number;
  readonly partitions: readonly TopicPartitions[];
}

/**
 * What the coordinator says of the last transaction of an id, and of whose it was. Null: it knows no such id, or cannot tell
 * (before Kafka 2.8).
 */
export async function describeTransaction(
  cluster: RequestSender,
  { id, coordinator, channel }: { readonly id: string; readonly coordinator: number; readonly channel: number },
  signal: AbortSignal,
): Promise<DescribedTransaction | null> {
  try {
    const answer = await cluster.send(coordinator, channel, DESCRIBE_TRANSACTIONS, { transactionalId: id }, signal);
    if (answer.errorCode === TRANSACTIONAL_ID_NOT_FOUND) return null;
    failOnErrorCode(answer.errorCode, `to describe the last transaction of ${id}`);
    return answer;
  } catch (error) {
    if (error instanceof UnknownApiError) return null;
    throw error;
  }
}

/** Resolves when the decision is durable; the partitions learn of it moments later. */
export async function endTransaction(
  cluster: RequestSender,
  owner: TransactionOwner,
  outcome: Outcome,
  signal: AbortSignal,
): Promise<void> {
  const { coordinator, channel, identity } = owner;
  const request = { ...identity, commit: outcome === 'commit' };
  const { errorCode } = await cluster.send(coordinator, channel, END_TXN, request, signal);
  failOnErrorCode(errorCode, `to ${outcome} the transaction of ${identity.transactionalId}`);
}
