import type { KafkaCluster } from '../cluster.ts';
import { UnknownApiError } from '../spoken-version.ts';
import {
  describeTransaction,
  endTransaction,
  type DescribedTransaction,
  type Outcome,
  type TransactionOwner,
} from '../transaction-steps.ts';
import { DESCRIBE_PRODUCERS } from '../wire/transaction-apis.ts';
import { ENDED_BY_BROKER, failOnErrorCode, KafkaCodeError, NOT_AUTHORIZED } from '../wire/error-codes.ts';
import { byTopic, leaderOf, placeKey, type OpenEnd, type Place } from './places.ts';
import type { Decision, LaneId } from './positions-view.ts';

export interface DecisionsOptions {
  readonly cluster: KafkaCluster;
  /** Of all that is asked. */
  readonly channel: number;
  /** Where decisions are noted that the coordinator is about to forget. */
  readonly positions?: {
    place(signal: AbortSignal): Promise<Place>;
    readToEnd(signal: AbortSignal): Promise<void>;
    note(lane: LaneId, decision: Decision, signal: AbortSignal): Promise<void>;
  };
  /** What was read of them. */
  readonly decisionOf?: (lane: LaneId) => Decision | null;
}

/** What the coordinator's states make of a transaction; what is under way a fence aborts. */
const outcomes: ReadonlyMap<string, Outcome> = new Map([
  ['Ongoing', 'abort'],
  ['PrepareCommit', 'commit'],
  ['CompleteCommit', 'commit'],
  ['PrepareAbort', 'abort'],
  ['CompleteAbort', 'abort'],
  ['PrepareEpochFence', 'abort'],
]);

/**
 * How transactions were decided whose marker may be lost: asked of the coordinator before it forgets, and written down in the
 * positions partition before anybody acts upon it, since whoever goes on from there may be somebody else.
 */
export class Decisions {
  readonly #options: DecisionsOptions;
  /** How a lane's last transaction ended, when we last asked. */
  readonly #asked = new Map<LaneId, Decision>();

  constructor(options: DecisionsOptions) {
    this.#options = options;
  }

  /** To be called before a lane's next epoch is asked for: see {@link OpenEnds.beforeFence}. */
  async beforeFence(lane: LaneId, coordinator: number, signal: AbortSignal): Promise<void> {
    const { cluster, channel } = this.#options;
    const describe = (): Promise<DescribedTransaction | null> =>
      describeTransaction(cluster, { id: lane, coordinator, channel }, signal);
    for (;;) {
      const last = await describe();
      const outcome = last && outcomes.get(last.state);
      if (!outcome) return; // none was there
      const { producerId, epoch, state } = last;
      this.#asked.set(lane, { producerId, epoch, outcome });
      if (state === 'Ongoing') {
        if (await this.#finishMend(lane, last, coordinator, signal)) continue;
        return;
      }
      const open = await this.#openPosition(producerId, signal);
      if (open === null) return;
      // The lane may be alive: what is open may be of a transaction that has begun since, and then this is seen to anew.
      const still = await describe();
      if (still?.state !== state || still.epoch !== epoch) continue;
      await this.noteEnds(lane, { producerId, epoch, outcome }, [open], signal);
      return;
    }
  }

  /** How a lane's last transaction ended, as was known before the fence. */
  outcomeOf(lane: LaneId): Outcome | null {
    return this.#asked.get(lane)?.outcome ?? null;
  }

  /** By what we were told before the fence, or another that fenced before us was. */
  outcomeOfEnd(lane: LaneId, producerId: bigint, end: OpenEnd): Outcome | null {
    const known = [this.#asked.get(lane), this.#options.decisionOf?.(lane)].filter(
      (decision): decision is Decision => decision?.producerId === producerId,
    );
    const noted = known.find((decision) => names(decision, end));
    // A fence aborts with the next epoch.
    const epochs: readonly (number | undefined)[] = [end.epoch, end.epoch + 1];
    const last = known.find(({ epoch }) => epoch !== undefined && epochs.includes(epoch));
    return (noted ?? last)?.outcome ?? null;
  }

  /** Writes down how these ends are about to be decided. */
  async noteEnds(
    lane: LaneId,
    decision: Decision,
    ends: readonly Pick<OpenEnd, 'place' | 'since'>[],
    signal: AbortSignal,
  ): Promise<void> {
    const named = ends.map(({ place: { topic, partition }, since }) => ({ topic: topic.name, partition, since }));
    await this.#options.positions?.note(lane, { ...decision, ends: named }, signal);
  }

  /**
   * A transaction that is under way is aborted by the fence. But where it is one that was begun to end once more what had been
   * committed, that would take back what was committed: it is ended as was noted. It is told by its partitions: no other
   * transaction joins one in which something is open.
   * @returns whether it was one
   */
  async #finishMend(
    lane: LaneId,
    { producerId, epoch, partitions }: DescribedTransaction,
    coordinator: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { cluster, channel, positions, decisionOf } = this.#options;
    if (!positions || !decisionOf) return false;
    await positions.readToEnd(signal);
    const noted = decisionOf(lane);
    if (noted?.producerId !== producerId || noted.outcome === 'abort') return false;
    const joined = new Set(partitions.flatMap(({ topic, partitions }) => partitions.map((p) => `${topic}/${p}`)));
    const ends = (noted.ends ?? []).filter(({ topic, partition }) => joined.has(`${topic}/${partition}`));
    if (ends.length === 0) return false;
    const topics = await cluster.findTopics([...new Set(ends.map(({ topic }) => topic))], signal, 'allow');
    for (const { topic: name, partition, since } of ends) {
      const topic = topics.get(name);
      if (!topic || (await this.#openSince({ topic, partition }, producerId, signal)) !== since) continue;
      const owner: TransactionOwner = { identity: { transactionalId: lane, producerId, epoch }, coordinator, channel };
      await isStillOurs(endTransaction(cluster, owner, 'commit', signal));
      return true;
    }
    return false;
  }

  /** What a producer has open in the positions partition, if anything. */
  async #openPosition(producerId: bigint, signal: AbortSignal): Promise<Pick<OpenEnd, 'place' | 'since'> | null> {
    const place = await this.#options.positions?.place(signal);
    const since = place ? await this.#openSince(place, producerId, signal) : null;
    return place && since !== null ? { place, since } : null;
  }

  /** Where the transaction begins that a producer has open in a partition; null: none, or nobody may say. */
  async #openSince(place: Place, producerId: bigint, signal: AbortSignal): Promise<bigint | null> {
    const { cluster, channel } = this.#options;
    try {
      const [answer] = await cluster.send(leaderOf(place), channel, DESCRIBE_PRODUCERS, byTopic([place]), signal);
      if (answer === undefined || NOT_AUTHORIZED.has(answer.errorCode)) return null;
      failOnErrorCode(answer.errorCode, `to describe the producers of ${placeKey(place)}`);
      const its = answer.producers.find((other) => other.producerId === producerId);
      return its && its.openSince >= 0n ? its.openSince : null;
    } catch (error) {
      if (error instanceof UnknownApiError) return null;
      throw error;
    }
  }
}

/** @returns false: the coordinator says that the transaction is another's by now, or over */
export async function isStillOurs(step: Promise<void>): Promise<boolean> {
  try {
    await step;
    return true;
  } catch (error) {
    if (error instanceof KafkaCodeError && ENDED_BY_BROKER.has(error.code)) return false;
    throw error;
  }
}

function names({ ends }: Decision, { place, since }: OpenEnd): boolean {
  const isSame = (end: NonNullable<Decision['ends']>[number]): boolean =>
    end.since === since && end.partition === place.partition && end.topic === place.topic.name;
  return ends?.some(isSame) ?? false;
}
