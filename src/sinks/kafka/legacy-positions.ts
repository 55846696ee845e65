import type { Logger } from '../../util/logger.ts';
import { SinkError, type SinkTablet } from '../sink.ts';
import type { TabletPosition } from '../../change/position.ts';
import type { KafkaCluster } from './cluster.ts';
import { OpenEnds } from './lanes/open-ends.ts';
import { placesIn } from './lanes/places.ts';
import { decodePosition, encodePosition, positionGroup, type GroupOffset } from './position.ts';
import { nextEpoch } from './producer-epoch.ts';
import { describeTransaction, endTransaction } from './transaction-steps.ts';
import type { TransactionTimes } from './transaction-time.ts';
import { whileSettling, type Patience } from './wait.ts';
import { ADD_OFFSETS_TO_TXN, OFFSET_COMMIT, OFFSET_FETCH } from './wire/offset-apis.ts';
import {
  failOnErrorCode,
  KafkaCodeError,
  NOT_AUTHORIZED,
  SETTLES_ELSEWHERE,
  UNSTABLE_OFFSET_COMMIT,
} from './wire/error-codes.ts';

/*
 * Spoor 0.1 kept a tablet's position in the offsets of a consumer group of its own, whose name was the transactional id of the
 * tablet's producer as well. Whoever takes a tablet that has no position in the positions topic looks there once, fences
 * that producer, and marks the group, so that a sidecar of that version refuses to go on behind our back.
 */

export interface LegacyPositionsOptions {
  readonly cluster: KafkaCluster;
  readonly channel: number;
  readonly transactionTimes: TransactionTimes;
  /** Where such a producer may have written. */
  readonly topicNames: readonly string[];
  readonly logger: Logger;
}

const SETTLES_SOON: Patience = { codes: SETTLES_ELSEWHERE, pauseMs: 5, maxPauseMs: 100, forMs: 5_000 };

/**
 * Where a sidecar of version 0.1 got to with a tablet; null where none ever shipped it, or only for another generation of the
 * stream. Afterwards none can write anything for it.
 */
export async function takeLegacyPosition(
  options: LegacyPositionsOptions,
  tablet: SinkTablet,
  signal: AbortSignal,
): Promise<TabletPosition | null> {
  const { cluster, channel, transactionTimes, logger } = options;
  const group = positionGroup(tablet.streamName, tablet.tabletId);
  const before = await readOffsets(options, group, 'any', signal);
  if (before === null) return null; // who may not read them has never written any
  const isMarked = before.length > 0 && before.every(({ metadata }) => metadata?.includes('"spoor":2') === true);
  if (isMarked) return read(group, before, tablet);
  if (before.length === 0 && !(await isKnownProducer(options, group, signal))) return null;
  const openEnds = new OpenEnds(cluster, { channel, logger, isShipped: () => null });
  const producer = await nextEpoch(cluster, { id: group, channel, transactionTimes }, signal, (coordinator) =>
    openEnds.beforeFence(group, coordinator, signal),
  );
  openEnds.fenced(group, producer);
  const outcome = openEnds.outcomeOf(group) ?? 'abort';
  // Offsets that are unstable behind a fence have lost the marker of their transaction: no other will ever come.
  const unsettled = await readOffsets(options, group, 'any', signal);
  if (unsettled?.some(({ errorCode }) => errorCode === UNSTABLE_OFFSET_COMMIT)) {
    const { coordinator, identity } = producer;
    const request = { ...identity, groupId: group };
    const { errorCode } = await cluster.send(coordinator, channel, ADD_OFFSETS_TO_TXN, request, signal);
    failOnErrorCode(errorCode, `offsets of group ${group} for a transaction`);
    await endTransaction(cluster, producer, outcome, signal);
  }
  const found = await cluster.findTopics([...options.topicNames], signal);
  await openEnds.settle(placesIn(found.values()), signal);
  const offsets = (await readOffsets(options, group, 'stable', signal)) ?? [];
  const position = read(group, offsets, tablet);
  if (offsets.length > 0) await mark(options, group, offsets, { tablet, position }, signal);
  logger.info({ group, opId: position?.opId }, 'position taken over from a consumer group of version 0.1');
  return position;
}

function read(group: string, offsets: readonly GroupOffset[], { streamGeneration }: SinkTablet): TabletPosition | null {
  try {
    return decodePosition(offsets, streamGeneration);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SinkError(
      'refused',
      `group ${group} does not say where to go on: ${reason}; delete the group or the stream`,
      error,
    );
  }
}

async function mark(
  { cluster, channel }: LegacyPositionsOptions,
  group: string,
  offsets: readonly GroupOffset[],
  { tablet, position }: { readonly tablet: SinkTablet; readonly position: TabletPosition | null },
  signal: AbortSignal,
): Promise<void> {
  if (!position) return; // of another generation: a stream of that is gone
  const topics = offsets.map(({ topic }) => topic);
  const request = { groupId: group, offsets: encodePosition(position, tablet.streamGeneration, topics, 2) };
  const coordinator = await cluster.findCoordinator('group', group, signal);
  for (const { topic, errorCode } of await cluster.send(coordinator, channel, OFFSET_COMMIT, request, signal))
    failOnErrorCode(errorCode, `the offset of group ${group} on topic ${topic}`);
}

/** Null: we may not. @param wanted `any`: offsets that await the marker of their transaction come with an error code */
async function readOffsets(
  { cluster, channel }: LegacyPositionsOptions,
  group: string,
  wanted: 'any' | 'stable',
  signal: AbortSignal,
) {
  try {
    return await whileSettling(
      async () => {
        const coordinator = await cluster.findCoordinator('group', group, signal);
        const { errorCode, offsets } = await cluster.send(
          coordinator,
          channel,
          OFFSET_FETCH,
          { groupId: group },
          signal,
        );
        failOnErrorCode(errorCode, `to read the offsets of group ${group}`);
        for (const { errorCode: code, topic } of offsets)
          if (wanted === 'stable' || code !== UNSTABLE_OFFSET_COMMIT)
            failOnErrorCode(code, `to read the offset of ${group} on ${topic}`);
        return offsets;
      },
      SETTLES_SOON,
      signal,
    );
  } catch (error) {
    if (error instanceof KafkaCodeError && NOT_AUTHORIZED.has(error.code)) return null;
    throw error;
  }
}

async function isKnownProducer({ cluster, channel }: LegacyPositionsOptions, id: string, signal: AbortSignal) {
  return whileSettling(
    async () => {
      const coordinator = await cluster.findCoordinator('transaction', id, signal);
      return (await describeTransaction(cluster, { id, coordinator, channel }, signal)) !== null;
    },
    SETTLES_SOON,
    signal,
  );
}
