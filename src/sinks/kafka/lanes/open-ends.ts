import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../../../util/as-error.ts';
import type { Logger } from '../../../util/logger.ts';
import { SinkError } from '../../sink.ts';
import type { KafkaCluster, Topic } from '../cluster.ts';
import { UnknownApiError } from '../connections.ts';
import { addPartitions, describeTransaction, endTransaction, type TransactionOwner } from '../transaction-steps.ts';
import { DESCRIBE_PRODUCERS, type TopicPartitions } from '../wire/apis.ts';
import {
  ENDED_BY_BROKER,
  failOnErrorCode,
  KafkaCodeError,
  LEADER_NOT_AVAILABLE,
  NOT_AUTHORIZED,
} from '../wire/error-codes.ts';
import { FETCH } from '../wire/fetch.ts';
import { readStoredBatches } from '../wire/record-batch-reader.ts';
import type { Decision, LaneId } from './positions-view.ts';
import { rowOf, type RowRef } from './write-cursor.ts';

/*
 * A coordinator ends a transaction in two steps: it writes down the decision, which is what EndTxn answers, and then has
 * a marker written into every partition. A partition without a leader at that moment counts as deleted, and gets none
 * (TransactionMarkerChannelManager.addTxnMarkersToBrokerQueue; seen with Kafka 4.3.1: kill -9 of a broker that is its
 * own controller, 100 ms after a commit). The transaction is over then, and yet its records stay open there: the
 * producer's next marker decides them, whatever that is. So no transaction may join a partition in which an earlier one
 * is open, and what is open is ended as it was decided, not as the next one is.
 *
 * How it was decided the positions tell: they are in the same transaction. What is open holds records of operations; where
 * the position of their tablet is past them it was committed, else it was not. The positions partition itself is in every
 * transaction, so what is open there is the last one, and of that the coordinator knows.
 */

export type Outcome = 'commit' | 'abort';

export interface Place {
  readonly topic: Topic;
  readonly partition: number;
}

export interface OpenEndsOptions {
  /** Of all that it asks. */
  readonly channel: number;
  readonly logger: Logger;
  /** Whether this row of a tablet is in the sink by what its position says; null: it says nothing. */
  readonly isShipped: (tabletId: string, row: RowRef) => boolean | null;
  /** Where decisions are noted that the coordinator is about to forget. */
  readonly positions?: {
    place(signal: AbortSignal): Promise<Place>;
    note(lane: LaneId, decision: Decision, signal: AbortSignal): Promise<void>;
  };
  /** What was read of them. */
  readonly decisionOf?: (lane: LaneId) => Decision | null;
}

interface KnownProducer {
  readonly lane: LaneId;
  readonly owner: TransactionOwner;
  /** How its last transaction ended, where that was one of ours. */
  outcome: Outcome | null;
  /** Where no transaction of it is open, nor can be. */
  readonly clean: Set<string>;
}

interface OpenEnd {
  readonly producer: KnownProducer;
  readonly place: Place;
  /** Offset of its first record there. */
  readonly since: bigint;
  /** Epoch of what is open. */
  readonly epoch: number;
}

const MAX_ROUNDS = 4;
/** Markers come within milliseconds where all is well. */
const FIRST_PAUSE_MS = 1;
const ASK_AFTER_MS = 60;
const MAX_PAUSE_MS = 200;
const MARKERS_COME_WITHIN_MS = 10_000;
const EVIDENCE_BYTES = 1 << 20;

/** `<topic>/<partition>` */
export function placeKey({ topic, partition }: Place): string {
  return `${topic.name}/${partition}`;
}

/** What transactions may have left open, by producer and partition. */
export class OpenEnds {
  readonly #cluster: KafkaCluster;
  readonly #options: OpenEndsOptions;
  readonly #producers = new Map<LaneId, KnownProducer>();
  /** How a lane's last transaction ended, when we last asked. */
  readonly #decisions = new Map<LaneId, Decision>();
  /** Of our own last transactions, by {@link placeKey}. */
  readonly #ended = new Map<string, Place>();
  #isBlind = false;

  constructor(cluster: KafkaCluster, options: OpenEndsOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  /**
   * To be called before a lane's next epoch is asked for, which makes the coordinator forget how its last transaction ended.
   * Where the positions partition does not know it either, it is noted there: whoever goes on from the fence may be
   * somebody else.
   */
  async beforeFence(lane: LaneId, coordinator: number, signal: AbortSignal): Promise<void> {
    const { channel, positions } = this.#options;
    const last = await describeTransaction(this.#cluster, { id: lane, coordinator, channel }, signal);
    if (!last || last.state === 'Empty' || last.state === 'Dead') return;
    const outcome: Outcome = last.state === 'CompleteCommit' || last.state === 'PrepareCommit' ? 'commit' : 'abort';
    const decision = { producerId: last.producerId, epoch: last.epoch, outcome };
    this.#decisions.set(lane, decision);
    if (!positions || last.state === 'Ongoing') return;
    if (await this.#isOpenIn(await positions.place(signal), decision, signal))
      await positions.note(lane, decision, signal);
  }

  /** A lane's next epoch is ours: wherever it wrote before, something may be open. */
  fenced(lane: LaneId, owner: TransactionOwner): void {
    this.#producers.set(lane, { lane, owner, outcome: null, clean: new Set() });
  }

  /** How a lane's last transaction ended, as was known before the fence. */
  outcomeOf(lane: LaneId): Outcome | null {
    return this.#decisions.get(lane)?.outcome ?? null;
  }

  async #isOpenIn(place: Place, { producerId }: Decision, signal: AbortSignal): Promise<boolean> {
    const leader = leaderOf(place);
    if (leader === null) throw leaderless(place);
    try {
      const [answer] = await this.#cluster.send(
        leader,
        this.#options.channel,
        DESCRIBE_PRODUCERS,
        byTopic([place]),
        signal,
      );
      if (answer === undefined || NOT_AUTHORIZED.has(answer.errorCode)) return false;
      failOnErrorCode(answer.errorCode, `to describe the producers of ${placeKey(place)}`);
      return answer.producers.some((its) => its.producerId === producerId && its.openSince >= 0n);
    } catch (error) {
      if (error instanceof UnknownApiError) return false;
      throw error;
    }
  }

  /** Our own transaction was decided; its markers are on their way. */
  ended(lane: LaneId, places: readonly Place[], outcome: Outcome): void {
    const producer = this.#producers.get(lane);
    if (!producer) return;
    producer.outcome = outcome;
    for (const place of places) {
      producer.clean.delete(placeKey(place));
      this.#ended.set(placeKey(place), place);
    }
  }

  /** Sees to it that nothing is open where our own last transactions were. @throws where that could not be done, or seen */
  async checkEnded(signal: AbortSignal): Promise<void> {
    const places = [...this.#ended.values()];
    this.#ended.clear();
    await this.settle(places, signal);
  }

  /**
   * Whether something is open in one of these partitions, or cannot be seen to be not: for whoever has a transaction open itself,
   * since to end what is open would end that too. @throws {SinkError} it is
   */
  async expectClean(places: readonly Place[], signal: AbortSignal): Promise<void> {
    const failures = new Map<string, Error>();
    const [open] = await this.#look(places, failures, signal);
    const [failure] = failures.values();
    if (open) throw stillOpen(open.place);
    if (failure) throw failure;
  }

  /** As {@link check}. @throws the first failure */
  async settle(places: readonly Place[], signal: AbortSignal): Promise<void> {
    const [failure] = (await this.check(places, signal)).values();
    if (failure !== undefined) throw failure;
  }

  /**
   * Sees to it that nothing is open in these partitions. Not while a transaction of ours is open: see {@link expectClean}.
   * @returns by {@link placeKey}: where that could not be done, or seen
   */
  async check(places: readonly Place[], signal: AbortSignal): Promise<Map<string, Error>> {
    const failures = new Map<string, Error>();
    const sinceMs = performance.now();
    let mended = 0;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const open = await this.#look(places, failures, signal);
      if (open.length === 0) return failures;
      const tookMs = performance.now() - sinceMs;
      const lost: OpenEnd[] = [];
      for (const end of open) if (tookMs >= ASK_AFTER_MS && (await this.#isOver(end, signal))) lost.push(end);
      if (lost.length > 0 && mended++ < MAX_ROUNDS) {
        // Its marker may have come just before the coordinator said that all have.
        const still = await this.#look(places, failures, signal);
        const isStill = ({ place, since }: OpenEnd): boolean =>
          still.some((end) => end.since === since && placeKey(end.place) === placeKey(place));
        await this.#mend(lost.filter(isStill), failures, signal);
      } else if (tookMs > MARKERS_COME_WITHIN_MS || mended >= MAX_ROUNDS) {
        for (const { place } of open) failures.set(placeKey(place), stillOpen(place));
        return failures;
      }
      await sleep(pauseMs, undefined, { signal });
    }
  }

  /** Which transactions are open where they should not be. */
  async #look(places: readonly Place[], failures: Map<string, Error>, signal: AbortSignal): Promise<OpenEnd[]> {
    const producers = [...this.#producers.values()];
    const doubtful = places.filter((place) => {
      const key = placeKey(place);
      return !failures.has(key) && producers.some(({ clean }) => !clean.has(key));
    });
    if (doubtful.length === 0 || this.#isBlind) return [];
    const byLeader = new Map<number, Place[]>();
    for (const place of doubtful) {
      const leader = leaderOf(place);
      if (leader === null) {
        failures.set(placeKey(place), leaderless(place));
        continue;
      }
      const led = byLeader.get(leader);
      if (led) led.push(place);
      else byLeader.set(leader, [place]);
    }
    const open: OpenEnd[] = [];
    await Promise.all(
      Array.from(byLeader, async ([leader, led]) => {
        try {
          open.push(...(await this.#ask(leader, led, failures, signal)));
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof UnknownApiError) this.#isBlind = true;
          else for (const place of led) failures.set(placeKey(place), asError(error));
        }
      }),
    );
    return open;
  }

  async #ask(
    leader: number,
    led: readonly Place[],
    failures: Map<string, Error>,
    signal: AbortSignal,
  ): Promise<OpenEnd[]> {
    const open: OpenEnd[] = [];
    const answers = await this.#cluster.send(leader, this.#options.channel, DESCRIBE_PRODUCERS, byTopic(led), signal);
    for (const place of led) {
      const key = placeKey(place);
      const answer = answers.find(
        ({ topic, partition }) => topic === place.topic.name && partition === place.partition,
      );
      if (answer === undefined || (answer.errorCode !== 0 && !NOT_AUTHORIZED.has(answer.errorCode))) {
        failures.set(key, new KafkaCodeError(answer?.errorCode ?? -1, `to describe the producers of ${key}`));
        continue;
      }
      for (const producer of this.#producers.values()) {
        const { producerId, epoch } = producer.owner.identity;
        const its = answer.producers.find((other) => other.producerId === producerId);
        // One of a later epoch is the next life's of that producer, which looked here before it began.
        if (!its || its.openSince < 0n || its.epoch > epoch) producer.clean.add(key);
        else if (!producer.clean.has(key)) open.push({ producer, place, since: its.openSince, epoch: its.epoch });
      }
    }
    return open;
  }

  /** Whether the coordinator holds that all markers of a producer's last transaction are written. */
  async #isOver({ producer: { owner } }: OpenEnd, signal: AbortSignal): Promise<boolean> {
    const { coordinator, channel, identity } = owner;
    const id = identity.transactionalId;
    const last = await describeTransaction(this.#cluster, { id, coordinator, channel }, signal);
    return last === null || last.state.startsWith('Complete') || last.state === 'Empty';
  }

  async #mend(ends: readonly OpenEnd[], failures: Map<string, Error>, signal: AbortSignal): Promise<void> {
    const byProducer = new Map<KnownProducer, Map<Outcome, Place[]>>();
    for (const end of ends) {
      const { producer, place } = end;
      const outcome = (await this.#evidence(end, signal)) ?? producer.outcome ?? this.#decided(end) ?? 'abort';
      const ofProducer = byProducer.get(producer) ?? new Map<Outcome, Place[]>();
      byProducer.set(producer, ofProducer);
      ofProducer.set(outcome, [...(ofProducer.get(outcome) ?? []), place]);
    }
    for (const [{ owner }, byOutcome] of byProducer)
      for (const [outcome, places] of byOutcome) {
        const partitions = places.map(placeKey);
        this.#options.logger.warn(
          { producer: owner.identity.transactionalId, outcome, partitions },
          'kafka had left a transaction open that it had ended: ended once more',
        );
        try {
          await addPartitions(this.#cluster, owner, byTopic(places), signal);
          await endTransaction(this.#cluster, owner, outcome, signal);
        } catch (error) {
          // Whoever has its next epoch by now has to look here as well.
          if (!(error instanceof KafkaCodeError && ENDED_BY_BROKER.has(error.code))) throw error;
          for (const place of places) failures.set(placeKey(place), stillOpen(place));
        }
      }
  }

  /** By what we were told before the fence, or another that fenced before us was. */
  #decided({ producer: { lane, owner }, epoch }: OpenEnd): Outcome | null {
    const { producerId } = owner.identity;
    // A fence aborts with the next epoch.
    const isOf = (decision: Decision | null | undefined): boolean =>
      decision?.producerId === producerId && (decision.epoch === epoch || decision.epoch === epoch + 1);
    const known = [this.#decisions.get(lane), this.#options.decisionOf?.(lane)].filter(isOf);
    return known[0]?.outcome ?? null;
  }

  /** What the records that are open say; null: nothing. */
  async #evidence({ producer, place, since }: OpenEnd, signal: AbortSignal): Promise<Outcome | null> {
    const { topic, partition } = place;
    const request = { topic: topic.name, partition, offset: since, maxBytes: EVIDENCE_BYTES, maxWaitMs: 0 };
    const leader = leaderOf(place);
    if (leader === null) throw leaderless(place);
    const fetched = await this.#cluster.send(
      leader,
      this.#options.channel,
      FETCH,
      { ...request, uncommitted: true },
      signal,
    );
    if (fetched === null) throw new SinkError('unavailable', `a quota keeps the records of ${placeKey(place)} from us`);
    failOnErrorCode(fetched.errorCode, `the records of ${placeKey(place)}`);
    for (const batch of readStoredBatches(fetched.records)) {
      if (batch.producerId !== producer.owner.identity.producerId) continue;
      for (const { position } of batch.records) {
        const row = rowOf(position ?? '');
        const isShipped = row && this.#options.isShipped(row.tablet, row);
        if (isShipped !== null) return isShipped ? 'commit' : 'abort';
      }
    }
    return null;
  }
}

function leaderOf({ topic, partition }: Place): number | null {
  const leader = topic.leaders[partition]!;
  return leader < 0 ? null : leader;
}

function leaderless(place: Place): KafkaCodeError {
  return new KafkaCodeError(LEADER_NOT_AVAILABLE, `what is open in ${placeKey(place)}`);
}

/** All partitions of topics. */
export function placesIn(topics: Iterable<Topic>): Place[] {
  return [...topics].flatMap((topic) => Array.from(topic.leaders.keys(), (partition) => ({ topic, partition })));
}

export function byTopic(places: readonly Place[]): TopicPartitions[] {
  const partitions = new Map<string, number[]>();
  for (const { topic, partition } of places) {
    const ofTopic = partitions.get(topic.name);
    if (ofTopic) ofTopic.push(partition);
    else partitions.set(topic.name, [partition]);
  }
  return Array.from(partitions, ([topic, numbers]) => ({ topic, partitions: numbers }));
}

function stillOpen({ topic, partition }: Place): SinkError {
  return new SinkError(
    'unavailable',
    `partition ${partition} of topic ${topic.name} has not got the end of an earlier transaction yet`,
  );
}
