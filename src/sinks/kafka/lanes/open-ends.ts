import { setTimeout as sleep } from 'node:timers/promises';
import type { RowRef } from '../../../change/position.ts';
import { asError } from '../../../util/as-error.ts';
import type { Logger } from '../../../util/logger.ts';
import { SinkError } from '../../sink.ts';
import type { KafkaCluster } from '../cluster.ts';
import { UnknownApiError } from '../spoken-version.ts';
import {
  describeTransaction,
  endOnceMore,
  endTransaction,
  type Outcome,
  type TransactionOwner,
} from '../transaction-steps.ts';
import { DESCRIBE_PRODUCERS } from '../wire/transaction-apis.ts';
import { failOnErrorCode, KafkaCodeError, NOT_AUTHORIZED } from '../wire/error-codes.ts';
import { FETCH } from '../wire/fetch.ts';
import { readStoredBatches } from '../wire/record-batch-reader.ts';
import { Decisions, isStillOurs, type DecisionsOptions } from './decisions.ts';
import { byTopic, leaderOf, placeKey, type OpenEnd, type Place } from './places.ts';
import type { LaneId } from './positions-view.ts';
import { rowOf } from './write-cursor.ts';

/*
 * A coordinator ends a transaction in two steps: it writes down the decision, which is what EndTxn answers, and then has
 * a marker written into every partition. A partition without a leader at that moment counts as deleted, and gets none
 * (TransactionMarkerChannelManager.addTxnMarkersToBrokerQueue; seen with Kafka 4.3.1: kill -9 of a broker that is its
 * own controller, 100 ms after a commit). The transaction is over then, and yet its records stay open there: the
 * producer's next marker decides them, whatever that is. So no transaction may join a partition in which an earlier one
 * is open, and what is open is ended as it was decided, not as the next one is.
 *
 * How it was decided the positions tell: they are in the same transaction. What is open holds records of operations; where
 * the position of their tablet is past them it was committed, else it was not: so none moves before that is seen to, see
 * unsettled-places.ts. The positions partition itself is in every
 * transaction, so what is open there is the last one, and of that the coordinator knows.
 */

export interface OpenEndsOptions extends Omit<DecisionsOptions, 'cluster'> {
  readonly logger: Logger;
  /** Whether this row of a tablet is in the sink by what its position says; null: it says nothing. */
  readonly isShipped: (tabletId: string, row: RowRef) => boolean | null;
}

interface KnownProducer {
  readonly lane: LaneId;
  readonly owner: TransactionOwner;
  /** How its last transaction ended, where that was one of ours; of its epoch, as all of them in there did. */
  outcome: Outcome | null;
  /** A transaction that ends once more what it had ended may have begun, and is to be ended so before all else. */
  mending: Outcome | null;
  /** Where no transaction of it is open, nor can be. */
  readonly clean: Set<string>;
}

interface OpenEndOf extends OpenEnd {
  readonly producer: KnownProducer;
}

const MAX_ROUNDS = 4;
/** Markers come within milliseconds where all is well. */
const FIRST_PAUSE_MS = 1;
const ASK_AFTER_MS = 60;
const MAX_PAUSE_MS = 200;
const MARKERS_COME_WITHIN_MS = 10_000;
const EVIDENCE_BYTES = 1 << 20;

/** What transactions may have left open, by producer and partition. */
export class OpenEnds {
  readonly #cluster: KafkaCluster;
  readonly #options: OpenEndsOptions;
  readonly #producers = new Map<LaneId, KnownProducer>();
  readonly #decisions: Decisions;
  /** Of our own last transactions, by {@link placeKey}. */
  readonly #ended = new Map<string, Place>();
  #isBlind = false;

  constructor(cluster: KafkaCluster, options: OpenEndsOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#decisions = new Decisions({ ...options, cluster });
  }

  /**
   * To be called before a lane's next epoch is asked for, which makes the coordinator forget how its last transaction ended.
   * Where the positions partition does not know it either, it is noted there: whoever goes on from the fence may be
   * somebody else.
   */
  async beforeFence(lane: LaneId, coordinator: number, signal: AbortSignal): Promise<void> {
    await this.#decisions.beforeFence(lane, coordinator, signal);
  }

  /** A lane's next epoch is ours: wherever it wrote before, something may be open. */
  fenced(lane: LaneId, owner: TransactionOwner): void {
    this.#producers.set(lane, { lane, owner, outcome: null, mending: null, clean: new Set() });
  }

  /** How a lane's last transaction ended, as was known before the fence. */
  outcomeOf(lane: LaneId): Outcome | null {
    return this.#decisions.outcomeOf(lane);
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

  /**
   * One look at where our own last transactions were, which changes nothing: what is seen to be over then need not be looked at
   * before the next one. @returns whether all of it is
   */
  async glance(signal: AbortSignal): Promise<boolean> {
    const failures = new Map<string, Error>();
    const open = await this.#look([...this.#ended.values()], failures, signal);
    return open.length === 0 && failures.size === 0;
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
    await this.#finishMends(signal);
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const open = await this.#look(places, failures, signal);
      if (open.length === 0) return failures;
      const tookMs = performance.now() - sinceMs;
      const lost: OpenEndOf[] = [];
      for (const end of open) if (tookMs >= ASK_AFTER_MS && (await this.#isOver(end, signal))) lost.push(end);
      if (lost.length > 0 && mended++ < MAX_ROUNDS) {
        // Its marker may have come just before the coordinator said that all have.
        const still = await this.#look(places, failures, signal);
        const isStill = ({ place, since }: OpenEndOf): boolean =>
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
  async #look(places: readonly Place[], failures: Map<string, Error>, signal: AbortSignal): Promise<OpenEndOf[]> {
    const producers = [...this.#producers.values()];
    const doubtful = places.filter((place) => {
      const key = placeKey(place);
      return !failures.has(key) && producers.some(({ clean }) => !clean.has(key));
    });
    if (doubtful.length === 0 || this.#isBlind) return [];
    const byLeader = new Map<number, Place[]>();
    for (const place of doubtful) {
      try {
        const leader = leaderOf(place);
        const led = byLeader.get(leader);
        if (led) led.push(place);
        else byLeader.set(leader, [place]);
      } catch (error) {
        failures.set(placeKey(place), asError(error));
      }
    }
    const open: OpenEndOf[] = [];
    await Promise.all(
      Array.from(byLeader, async ([leader, led]) => {
        try {
          open.push(...(await this.#ask(leader, led, failures, signal)));
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof UnknownApiError) this.#goBlind(error);
          else for (const place of led) failures.set(placeKey(place), asError(error));
        }
      }),
    );
    return open;
  }

  #goBlind(error: UnknownApiError): void {
    if (this.#isBlind) return;
    this.#isBlind = true;
    const { logger } = this.#options;
    logger.warn({ reason: error.message }, 'what a crash of a broker leaves open cannot be seen: that takes Kafka 2.8');
  }

  async #ask(
    leader: number,
    led: readonly Place[],
    failures: Map<string, Error>,
    signal: AbortSignal,
  ): Promise<OpenEndOf[]> {
    const open: OpenEndOf[] = [];
    const answers = await this.#cluster.send(leader, this.#options.channel, DESCRIBE_PRODUCERS, byTopic(led), signal);
    signal.throwIfAborted(); // a transaction may have ended since: of a look that was given up nothing counts
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
  async #isOver({ producer }: OpenEndOf, signal: AbortSignal): Promise<boolean> {
    const { coordinator, channel, identity } = await this.#ownerNow(producer, signal);
    const id = identity.transactionalId;
    const last = await describeTransaction(this.#cluster, { id, coordinator, channel }, signal);
    return last === null || last.state.startsWith('Complete') || last.state === 'Empty';
  }

  /**
   * Takes two requests. Where the second does not arrive there is a transaction that the next fence would abort, and with it
   * what had been committed: so it is noted before. While we live we end it ourselves, see {@link #finishMends}.
   */
  async #mend(ends: readonly OpenEndOf[], failures: Map<string, Error>, signal: AbortSignal): Promise<void> {
    const byProducer = new Map<KnownProducer, Map<Outcome, OpenEndOf[]>>();
    for (const end of ends) {
      const { producer } = end;
      const outcome = (await this.#evidence(end, signal)) ?? outcomeOfOwn(end) ?? this.#decided(end) ?? 'abort';
      const ofProducer = byProducer.get(producer) ?? new Map<Outcome, OpenEndOf[]>();
      byProducer.set(producer, ofProducer);
      ofProducer.set(outcome, [...(ofProducer.get(outcome) ?? []), end]);
    }
    for (const [producer, byOutcome] of byProducer)
      for (const [outcome, ofOutcome] of byOutcome) {
        const owner = await this.#ownerNow(producer, signal);
        const { transactionalId, producerId } = owner.identity;
        const places = ofOutcome.map(({ place }) => place);
        this.#options.logger.warn(
          { producer: transactionalId, outcome, partitions: places.map(placeKey) },
          'kafka had left a transaction open that it had ended: ended once more',
        );
        await this.#decisions.noteEnds(producer.lane, { producerId, outcome }, ofOutcome, signal);
        producer.mending = outcome;
        // Whoever has its next epoch by now has to look here as well.
        const isMended = await isStillOurs(endOnceMore(this.#cluster, owner, byTopic(places), outcome, signal));
        producer.mending = null;
        if (!isMended) for (const place of places) failures.set(placeKey(place), stillOpen(place));
      }
  }

  /** What joined a transaction whose end did not get through would be aborted with whatever comes next. */
  async #finishMends(signal: AbortSignal): Promise<void> {
    for (const producer of this.#producers.values()) {
      if (producer.mending === null) continue;
      const owner = await this.#ownerNow(producer, signal);
      await isStillOurs(endTransaction(this.#cluster, owner, producer.mending, signal));
      producer.mending = null;
    }
  }

  /** Its coordinator may have moved since it was fenced. */
  async #ownerNow({ owner }: KnownProducer, signal: AbortSignal): Promise<TransactionOwner> {
    const coordinator = await this.#cluster.findCoordinator('transaction', owner.identity.transactionalId, signal);
    return { ...owner, coordinator };
  }

  #decided({ producer: { lane, owner }, ...end }: OpenEndOf): Outcome | null {
    return this.#decisions.outcomeOfEnd(lane, owner.identity.producerId, end);
  }

  /** What the records that are open say; null: nothing. */
  async #evidence({ producer, place, since }: OpenEndOf, signal: AbortSignal): Promise<Outcome | null> {
    const { topic, partition } = place;
    const request = { topic: topic.name, partition, offset: since, maxBytes: EVIDENCE_BYTES, maxWaitMs: 0 };
    const leader = leaderOf(place);
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

/** Of an earlier epoch, which may have ended with an abort, our transactions since say nothing. */
function outcomeOfOwn({ producer, epoch }: OpenEndOf): Outcome | null {
  return epoch === producer.owner.identity.epoch ? producer.outcome : null;
}

function stillOpen({ topic, partition }: Place): SinkError {
  return new SinkError(
    'unavailable',
    `partition ${partition} of topic ${topic.name} has not got the end of an earlier transaction yet`,
  );
}
