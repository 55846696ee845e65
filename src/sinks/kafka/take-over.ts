import type { Logger } from '../../util/logger.ts';
import { SinkError } from '../sink.ts';
import type { KafkaCluster } from './cluster.ts';
import { describeOutcome, findOpenPartitions, type Outcome } from './lost-markers.ts';
import { addOffsets, addPartitions, endTransaction, type TransactionOwner } from './transaction-steps.ts';
import { timesToAskFor, type GrantedTime, type TransactionTimes } from './transaction-time.ts';
import { whileSettling, type Patience } from './wait.ts';
import { INIT_PRODUCER_ID, OFFSET_FETCH, type OffsetEntry } from './wire/apis.ts';
import {
  failOnErrorCode,
  INVALID_TRANSACTION_TIMEOUT,
  KafkaCodeError,
  SETTLES_ELSEWHERE,
  UNSTABLE_OFFSET_COMMIT,
} from './wire/error-codes.ts';

/** A tablet that is ours: who we are now, where that is kept, and what the predecessor left. */
export interface TakenTablet extends TransactionOwner {
  readonly transactionTime: GrantedTime;
  /** Every offset of the group. */
  readonly offsets: readonly (Omit<OffsetEntry, 'metadata'> & { readonly metadata: string | null })[];
}

export interface TakeOverOptions {
  /** Transactional id and group at once. */
  readonly id: string;
  readonly lane: number;
  /** Of a healthy cluster, see {@link initProducer}. */
  readonly transactionTimeoutMs: number;
  readonly transactionTimes: TransactionTimes;
  /**
   * Where the predecessor may have written, besides the topics that its offsets name. They are looked up and not made: from
   * then on their ids are known, see {@link KafkaCluster.topicId}.
   */
  readonly topics: readonly string[];
  /**
   * By id: how the transaction ended that a take-over found, until it is known to be settled. The fence makes the broker
   * forget it, and a take-over may fail after that: the next one must end it alike.
   */
  readonly outcomes: Map<string, Outcome>;
  readonly logger: Logger;
  /** To be told what is waited for. */
  readonly onWait?: ((what: string) => void) | undefined;
}

/**
 * An interrupted transaction of the predecessor is aborted, or a commit whose answer it never saw is finished, before
 * the broker gives out the next epoch.
 */
const PREDECESSOR_SETTLES: Patience = { codes: SETTLES_ELSEWHERE, pauseMs: 5, maxPauseMs: 100, forMs: 15_000 };
/**
 * Round trips of a write, one after the other, that must fit into its transaction: partitions and offsets join, and are
 * asked to come again once; some requests of records; the end.
 */
const TRANSACTION_ROUND_TRIPS = 6;
/** How often what the broker left open is finished before we give up for now. */
const MAX_FINISHES = 3;

/**
 * Takes a tablet over. First the fence, then the offsets: when the broker has given the next epoch, every transaction of
 * earlier producers is over, markers and all, and they can begin no other; so what is read then is the last word. Where
 * the broker lost markers (lost-markers.ts) the transaction is ended once more as it was ended before.
 */
export async function takeOver(
  cluster: KafkaCluster,
  options: TakeOverOptions,
  signal: AbortSignal,
): Promise<TakenTablet> {
  for (let finishes = 0; finishes < MAX_FINISHES; finishes++) {
    const { outcome, ...fenced } = await fence(cluster, options, signal);
    // Offsets whose marker is lost stay unstable for ever: that is looked into before they are waited for.
    const found = await readOffsets(cluster, options, 'any', signal);
    const taken = { ...fenced, ...found, lane: options.lane };
    const topics = new Set([...options.topics, ...found.offsets.map(({ topic }) => topic)]);
    const open = await findOpenPartitions(cluster, taken.identity, [...topics], signal);
    if (open === null) {
      options.outcomes.delete(options.id);
      const isStable = found.offsets.every(({ errorCode }) => errorCode !== UNSTABLE_OFFSET_COMMIT);
      return isStable ? taken : { ...taken, ...(await readOffsets(cluster, options, 'stable', signal)) };
    }
    options.logger.warn(
      { producer: options.id, outcome, partitions: open.topics, offsets: open.offsets },
      'kafka had left a transaction open that it had ended: ended once more',
    );
    if (open.topics.length > 0) await addPartitions(cluster, taken, open.topics, signal);
    await addOffsets(cluster, taken, signal);
    await endTransaction(cluster, taken, outcome, signal);
  }
  throw new SinkError('unavailable', `Kafka leaves transactions of ${options.id} open that it has ended`);
}

async function fence(cluster: KafkaCluster, options: TakeOverOptions, signal: AbortSignal) {
  const { id, lane, outcomes, onWait } = options;
  return whileSettling(
    async () => {
      const coordinator = await cluster.findCoordinator('transaction', id, signal);
      const last = await describeOutcome(cluster, { coordinator, id, lane }, signal);
      if (last !== 'none') outcomes.set(id, last);
      const outcome = outcomes.get(id) ?? 'abort';
      const { errorCode, producerId, epoch, transactionTime } = await initProducer(
        cluster,
        coordinator,
        options,
        signal,
      );
      failOnErrorCode(errorCode, `to open producer ${id}`);
      return { coordinator, identity: { transactionalId: id, producerId, epoch }, transactionTime, outcome };
    },
    PREDECESSOR_SETTLES,
    signal,
    onWait,
  );
}

/**
 * Where a broker is slow its transactions need more time than others', or it would abort each before we are done; so does
 * one whose last write was not done in time. Brokers allow 15 minutes (transaction.max.timeout.ms); where they allow less
 * than we ask for, that has to do. How much it is nobody remembers: it may be more the next time.
 */
async function initProducer(
  cluster: KafkaCluster,
  coordinator: number,
  { id, lane, transactionTimeoutMs, transactionTimes }: TakeOverOptions,
  signal: AbortSignal,
) {
  const wantedMs = Math.max(
    transactionTimeoutMs,
    TRANSACTION_ROUND_TRIPS * cluster.longestPatienceMs,
    transactionTimes.wantedMs(id),
  );
  let refusal: KafkaCodeError | null = null;
  for (const ms of timesToAskFor(wantedMs)) {
    const request = { transactionalId: id, transactionTimeoutMs: ms };
    const answer = await cluster.send(coordinator, lane, INIT_PRODUCER_ID, request, signal);
    if (answer.errorCode !== INVALID_TRANSACTION_TIMEOUT) return { ...answer, transactionTime: { ms, wantedMs } };
    refusal = new KafkaCodeError(answer.errorCode, `transactions of ${ms} ms (transaction.max.timeout.ms)`);
  }
  throw refusal!;
}

/** @param wanted `any`: offsets that await the marker of their transaction come with an error code instead of a position */
async function readOffsets(
  cluster: KafkaCluster,
  { id, lane, onWait }: TakeOverOptions,
  wanted: 'any' | 'stable',
  signal: AbortSignal,
) {
  return whileSettling(
    async () => {
      const groupCoordinator = await cluster.findCoordinator('group', id, signal);
      const { errorCode, offsets } = await cluster.send(groupCoordinator, lane, OFFSET_FETCH, { groupId: id }, signal);
      failOnErrorCode(errorCode, `to read the offsets of group ${id}`);
      for (const { errorCode: code, topic } of offsets)
        if (wanted === 'stable' || code !== UNSTABLE_OFFSET_COMMIT)
          failOnErrorCode(code, `to read the offset of ${id} on ${topic}`);
      return { groupCoordinator, offsets };
    },
    PREDECESSOR_SETTLES,
    signal,
    onWait,
  );
}
