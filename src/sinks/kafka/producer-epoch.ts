import type { KafkaCluster } from './cluster.ts';
import { timesToAskFor, type GrantedTime, type TransactionTimes } from './transaction-time.ts';
import type { TransactionOwner } from './transaction-steps.ts';
import { whileSettling, type Patience } from './wait.ts';
import { INIT_PRODUCER_ID } from './wire/transaction-apis.ts';
import { failOnErrorCode, INVALID_TRANSACTION_TIMEOUT, KafkaCodeError, SETTLES_ELSEWHERE } from './wire/error-codes.ts';

export interface EpochOptions {
  /** Transactional id. */
  readonly id: string;
  readonly channel: number;
  readonly transactionTimes: TransactionTimes;
  /** To be told what is waited for. */
  readonly onWait?: ((what: string) => void) | undefined;
}

/** A producer of ours from now on, until somebody asks for its next epoch. */
export interface OpenedProducer extends TransactionOwner {
  readonly transactionTime: GrantedTime;
}

/**
 * An interrupted transaction of the predecessor is aborted, or a commit whose answer it never saw is finished, before
 * the broker gives out the next epoch.
 */
const PREDECESSOR_SETTLES: Patience = { codes: SETTLES_ELSEWHERE, pauseMs: 5, maxPauseMs: 100, forMs: 15_000 };
/**
 * How long a transaction may stay open before the broker aborts it: what a `read_committed` consumer waits at most after
 * a crash, should no other sidecar take a tablet over; and how long one may take. Slow brokers get longer.
 */
const TRANSACTION_TIMEOUT_MS = 60_000;
/**
 * Round trips of a transaction, one after the other, that must fit into its time: partitions join, and are asked to come
 * again once; some requests of records; the end.
 */
const TRANSACTION_ROUND_TRIPS = 6;

/**
 * The next epoch of a transactional id, which fences: when the broker has given it out, every transaction of earlier epochs is
 * over, markers and all (but for those that Kafka loses, see open-ends.ts), and they can begin no other.
 */
export async function nextEpoch(
  cluster: KafkaCluster,
  options: EpochOptions,
  signal: AbortSignal,
  /** Called with the coordinator before each try. */
  beforehand: (coordinator: number) => Promise<void> = () => Promise.resolve(),
): Promise<OpenedProducer> {
  const { id, channel, onWait } = options;
  return whileSettling(
    async () => {
      const coordinator = await cluster.findCoordinator('transaction', id, signal);
      await beforehand(coordinator);
      const answer = await initProducer(cluster, coordinator, options, signal);
      const { errorCode, producerId, epoch, transactionTime } = answer;
      failOnErrorCode(errorCode, `to open producer ${id}`);
      return { coordinator, channel, identity: { transactionalId: id, producerId, epoch }, transactionTime };
    },
    PREDECESSOR_SETTLES,
    signal,
    onWait,
  );
}

/**
 * Where a broker is slow its transactions need more time than others', or it would abort each before we are done; so does
 * one whose last transaction was not done in time. Brokers allow 15 minutes (transaction.max.timeout.ms); where they allow less
 * than we ask for, that has to do. How much it is nobody remembers: it may be more the next time.
 */
async function initProducer(
  cluster: KafkaCluster,
  coordinator: number,
  { id, channel, transactionTimes }: EpochOptions,
  signal: AbortSignal,
) {
  const wantedMs = Math.max(
    TRANSACTION_TIMEOUT_MS,
    TRANSACTION_ROUND_TRIPS * cluster.longestPatienceMs,
    transactionTimes.wantedMs(id),
  );
  let refusal: KafkaCodeError | null = null;
  for (const ms of timesToAskFor(wantedMs)) {
    const request = { transactionalId: id, transactionTimeoutMs: ms };
    const answer = await cluster.send(coordinator, channel, INIT_PRODUCER_ID, request, signal);
    if (answer.errorCode !== INVALID_TRANSACTION_TIMEOUT) return { ...answer, transactionTime: { ms, wantedMs } };
    refusal = new KafkaCodeError(answer.errorCode, `transactions of ${ms} ms (transaction.max.timeout.ms)`);
  }
  throw refusal!;
}
