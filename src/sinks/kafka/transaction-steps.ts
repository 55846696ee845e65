import type { RequestSender } from './on-the-wire.ts';
import { whileSettling, type Patience } from './wait.ts';
import {
  ADD_OFFSETS_TO_TXN,
  ADD_PARTITIONS_TO_TXN,
  END_TXN,
  TXN_OFFSET_COMMIT,
  type OffsetEntry,
  type ProducerIdentity,
  type TopicPartitions,
} from './wire/apis.ts';
import { failOnErrorCode, SETTLES } from './wire/error-codes.ts';

/** Whose transactions they are, and where that is kept. */
export interface TransactionOwner {
  readonly identity: ProducerIdentity;
  /** Node that coordinates the transactional id. */
  readonly coordinator: number;
  /** Node where the group's offsets lie. The group has the name of the transactional id. */
  readonly groupCoordinator: number;
  /** Requests of one lane are worked on in order. */
  readonly lane: number;
}

/** The broker answers a commit before its markers are in every partition; until then it lets no new transaction begin. */
const LAST_ONE_SETTLES: Patience = { codes: SETTLES, pauseMs: 1, maxPauseMs: 20, forMs: 10_000 };

/** Begins a transaction, or joins the one that is open. */
export async function addPartitions(
  cluster: RequestSender,
  owner: TransactionOwner,
  topics: readonly TopicPartitions[],
  signal: AbortSignal,
): Promise<void> {
  const { coordinator, lane, identity } = owner;
  await whileSettling(
    async () => {
      const request = { ...identity, topics };
      const results = await cluster.send(coordinator, lane, ADD_PARTITIONS_TO_TXN, request, signal);
      // 55 OPERATION_NOT_ATTEMPTED stands for a partition whose neighbour was the one refused.
      const refused =
        results.find(({ errorCode }) => errorCode !== 0 && errorCode !== 55) ??
        results.find(({ errorCode }) => errorCode !== 0);
      if (refused)
        failOnErrorCode(
          refused.errorCode,
          `partition ${refused.partition} of topic ${refused.topic} for a transaction`,
        );
    },
    LAST_ONE_SETTLES,
    signal,
  );
}

/** As {@link addPartitions}, for the offsets of the owner's group. */
export async function addOffsets(cluster: RequestSender, owner: TransactionOwner, signal: AbortSignal): Promise<void> {
  const { coordinator, lane, identity } = owner;
  const groupId = identity.transactionalId;
  await whileSettling(
    async () => {
      const request = { ...identity, groupId };
      const { errorCode } = await cluster.send(coordinator, lane, ADD_OFFSETS_TO_TXN, request, signal);
      failOnErrorCode(errorCode, `offsets of group ${groupId} for a transaction`);
    },
    LAST_ONE_SETTLES,
    signal,
  );
}

/** Writes offsets that are valid once the transaction is committed. They must have joined it. */
export async function commitOffsets(
  cluster: RequestSender,
  owner: TransactionOwner,
  offsets: readonly OffsetEntry[],
  signal: AbortSignal,
): Promise<void> {
  const { groupCoordinator, lane, identity } = owner;
  const groupId = identity.transactionalId;
  await whileSettling(
    async () => {
      const request = { ...identity, groupId, offsets };
      for (const { topic, errorCode } of await cluster.send(groupCoordinator, lane, TXN_OFFSET_COMMIT, request, signal))
        failOnErrorCode(errorCode, `the offset of group ${groupId} on topic ${topic}`);
    },
    LAST_ONE_SETTLES,
    signal,
  );
}

/** Resolves when the decision is durable; the partitions learn of it moments later. */
export async function endTransaction(
  cluster: RequestSender,
  owner: TransactionOwner,
  outcome: 'commit' | 'abort',
  signal: AbortSignal,
): Promise<void> {
  const { coordinator, lane, identity } = owner;
  const request = { ...identity, commit: outcome === 'commit' };
  const { errorCode } = await cluster.send(coordinator, lane, END_TXN, request, signal);
  failOnErrorCode(errorCode, `to ${outcome} the transaction of ${identity.transactionalId}`);
}
