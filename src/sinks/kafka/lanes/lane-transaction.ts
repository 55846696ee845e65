import { asError } from '../../../util/as-error.ts';
import { waitFor } from '../../../util/wait-for.ts';
import { RecordBatch } from '../../../change/record-batch.ts';
import { SinkError } from '../../sink.ts';
import { MAX_REQUEST_BYTES, type PlannedBatch } from '../batch-planner.ts';
import { BatchesInUse } from '../batches-in-use.ts';
import type { KafkaCluster, Topic } from '../cluster.ts';
import { InFlight } from '../in-flight.ts';
import { OnTheWire } from '../on-the-wire.ts';
import { BatchError, type Producer } from '../producer.ts';
import type { RecordPlanner } from '../record-planner.ts';
import { addPartitions, endTransaction, PartitionRefusedError } from '../transaction-steps.ts';
import { OverdueError, type TransactionTimes } from '../transaction-time.ts';
import { ENDED_BY_BROKER, KafkaCodeError } from '../wire/error-codes.ts';
import { recordBytesBound, type RecordPart } from '../wire/record-batch.ts';
import type { Cause, Share } from './lane-events.ts';
import type { OpenEnds } from './open-ends.ts';
import { byTopic, distinct, placeKey, placesIn, type Place } from './places.ts';
import { encodeStored, NO_TIMESTAMP_MS } from './positions-codec.ts';
import type { PositionsPartition } from './positions-partition.ts';
import { isSameReading, type LaneId, type LanePosition } from './positions-view.ts';
import type { UnsettledPlaces } from './unsettled-places.ts';
import type { WriteCursor } from './write-cursor.ts';

export interface TransactionParts {
  readonly lane: LaneId;
  /** Whether whoever takes a tablet that is released need not look for open ends of ours: else it is not said. */
  readonly isSure: boolean;
  readonly cluster: KafkaCluster;
  readonly producer: Producer;
  readonly planner: RecordPlanner;
  readonly positions: PositionsPartition;
  readonly openEnds: OpenEnds;
  readonly unsettled: UnsettledPlaces;
  readonly transactionTimes: TransactionTimes;
  /** A single write that is larger goes on in the next transaction. */
  readonly maxBytes: number;
}

/** A share and its records; null where its write has none, and only the position moves. */
export interface FilledShare {
  readonly share: Share;
  readonly open: (() => WriteCursor) | null;
}

/** How it went, as {@link LaneCore} is told. */
export type TransactionEnd =
  | {
      readonly kind: 'committed';
      readonly leftOut: ReadonlyMap<string, Cause | null>;
      readonly parts: ReadonlyMap<string, LanePosition>;
      /** Of the same writes: where the next transaction takes their records from. */
      readonly cursors: ReadonlyMap<string, WriteCursor>;
    }
  | NotCommitted;

export interface NotCommitted {
  readonly kind: 'not-committed';
  readonly culprits: ReadonlyMap<string, Cause> | 'all' | 'none';
  readonly cause: Cause;
}

/** Requests on the way: the next is encoded while the broker works on the last. */
const MAX_IN_FLIGHT = 3;
/**
 * Of all records of a transaction, as encoded: with more the tablets that come last wait for the next one. A single write may
 * be larger, see {@link TransactionParts.maxBytes}.
 */
const MAX_BYTES = 8 << 20;
/** Of the time that the broker grants, a transaction takes so much for records: what is on the way then has to arrive. */
const SHARE_OF_TIME = 3;

/** What is planned of one tablet, and what is not yet. */
interface Draft {
  readonly share: Share;
  readonly cursor: WriteCursor;
  /** Its first slice, planned; none: it has no records. */
  readonly first: readonly (readonly PlannedBatch[])[];
}

/**
 * One Kafka transaction: the records of many tablets and their positions, visible together or not at all.
 *
 * What can be known of a tablet before anything is sent is looked at first, and what fails there leaves that tablet out: no
 * topic, a record that cannot be encoded, a partition in which an earlier transaction is open.
 *
 * Round trips, one after the other: partitions join, then records and positions travel side by side, then the commit,
 * which waits for every answer; records wait until their partition has joined, or a broker before 3.6 would never end
 * their transaction.
 */
export class LaneTransaction {
  readonly #of: TransactionParts;
  readonly #wire: OnTheWire;
  readonly #requests = new InFlight(MAX_IN_FLIGHT);
  readonly #inUse = new BatchesInUse();
  readonly #joined = new Map<string, Place>();
  readonly #leftOut = new Map<string, Cause | null>();
  readonly #parts = new Map<string, LanePosition>();
  readonly #cursors = new Map<string, WriteCursor>();
  /** Which tablets have records in a partition. */
  readonly #tabletsOf = new Map<string, Set<string>>();
  /** When the broker's clock for it started at the earliest. */
  #beganAtMs: number | null = null;
  #records = 0;
  #bytes = 0;
  #ackedBytes = 0;

  constructor(parts: TransactionParts) {
    this.#of = parts;
    this.#wire = new OnTheWire(parts.cluster);
  }

  /** By {@link placeKey}, whose records it has there, or would have had. */
  get tabletsOf(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.#tabletsOf;
  }

  /** Never rejects. */
  async run(shares: readonly FilledShare[], signal: AbortSignal): Promise<TransactionEnd> {
    const { openEnds, lane } = this.#of;
    try {
      const isDone = await this.#attempt(shares, signal);
      if (isDone) openEnds.ended(lane, [...this.#joined.values()], 'commit');
      return { kind: 'committed', leftOut: this.#leftOut, parts: this.#parts, cursors: this.#cursors };
    } catch (error) {
      return { kind: 'not-committed', ...this.#blame(error) };
    }
  }

  /**
   * Lets waiting consumers go on at once, instead of after the transaction's time-out. Not while a request of it may still
   * reach a broker: behind an abort of the same epoch, a broker before 3.6 takes a record for the begin of the next
   * transaction, and the next commit would bring it to light. Then the transaction stays open, until the next fence or
   * the time-out ends it: both write the next epoch into every partition that joined, and what comes behind that is refused.
   * @returns whether it was ended
   */
  async abort(signal: AbortSignal): Promise<boolean> {
    if ((await waitFor(this.#wire.close(), signal)) === 'lost') return false;
    const { cluster, producer } = this.#of;
    if (this.#beganAtMs !== null) await endTransaction(cluster, producer.opened, 'abort', signal);
    return true;
  }

  /** @returns whether anything was committed */
  async #attempt(shares: readonly FilledShare[], signal: AbortSignal): Promise<boolean> {
    const ownPlace = await this.#of.positions.place(signal);
    const drafts = await this.#draft(shares, signal);
    const places = distinct(drafts.flatMap(({ first }) => first.flat()));
    // What comes later of a write may go to any partition, and once we have begun nothing can be ended there any more.
    const laterTopics = new Set(
      drafts.flatMap(({ cursor, first }) => (cursor.isDone ? [] : first.flat().map(({ topic }) => topic))),
    );
    const moving = shares.filter(({ share }) => share.write !== null && !this.#leftOut.has(share.tablet));
    const tablets = moving.map(({ share }) => share.tablet);
    const unsettled = await this.#of.unsettled.of(tablets, signal);
    const all = distinct([ownPlace, ...places, ...placesIn(laterTopics), ...[...unsettled.values()].flat()]);
    const failures = await this.#of.openEnds.check(all, signal);
    const ownFailure = failures.get(placeKey(ownPlace));
    if (ownFailure !== undefined) throw ownFailure;
    for (const [tablet, where] of unsettled) {
      const failure = where.map((place) => failures.get(placeKey(place))).find(Boolean);
      if (failure) this.#leftOut.set(tablet, failure);
      else this.#of.unsettled.settled(tablet);
    }
    const sound = drafts.filter(({ share, first }) => {
      if (this.#leftOut.has(share.tablet)) return false;
      const fault = first.flat().find((batch) => failures.has(placeKey(batch)));
      if (fault) this.#leftOut.set(share.tablet, failures.get(placeKey(fault))!);
      return !fault;
    });
    const kept = shares.filter(({ share }) => !this.#leftOut.has(share.tablet));
    if (kept.length === 0) return false;
    await this.#join([ownPlace, ...distinct(sound.flatMap(({ first }) => first.flat()))], signal);
    const rests = sound.filter(({ cursor }) => !cursor.isDone);
    const isOver = (share: Share): boolean => !rests.some((rest) => rest.share === share);
    const over = kept.map(({ share }) => share).filter(isOver);
    const plans = [...sound.map(({ first }) => first.flat()), over.map((share) => this.#positionOf(share, ownPlace))];
    const maxBatchBytes = (topic: Topic): number => this.#of.planner.maxBatchBytes(topic);
    for (const request of mergeRequests(plans, maxBatchBytes)) await this.#start(request, signal);
    for (const { share, cursor } of rests) {
      await this.#sendRest(share, cursor, signal);
      await this.#start([this.#positionOf(share, ownPlace)], signal);
    }
    await this.#requests.drain();
    await endTransaction(this.#wire, this.#of.producer.opened, 'commit', signal);
    return true;
  }

  /** Plans the first slice of each write, as far as there is room. */
  async #draft(shares: readonly FilledShare[], signal: AbortSignal): Promise<Draft[]> {
    const { planner } = this.#of;
    const drafts: Draft[] = [];
    let room = MAX_BYTES;
    for (const { share, open } of shares) {
      if (share.write === null) continue;
      if (room <= 0 && open !== null) {
        this.#leftOut.set(share.tablet, null);
        continue;
      }
      try {
        // It is made, or missed, before there is a record for it: whoever waits for rows there wants to know.
        await planner.requireTopic(share.position!.at.tableName, signal);
        if (open === null) continue;
        const cursor = open();
        const first = cursor.isDone ? [] : await this.#plan(share.tablet, cursor.take(), signal);
        for (const { bytes } of first.flat()) room -= bytes;
        drafts.push({ share, cursor, first });
      } catch (error) {
        signal.throwIfAborted();
        this.#leftOut.set(share.tablet, asError(error));
      }
    }
    return drafts;
  }

  async #plan(tablet: string, records: RecordBatch, signal: AbortSignal): Promise<PlannedBatch[][]> {
    const planned = await this.#of.planner.plan(records, signal);
    this.#inUse.planned(records, planned);
    for (const batch of planned.flat()) {
      const key = placeKey(batch);
      const tablets = this.#tabletsOf.get(key);
      if (tablets) tablets.add(tablet);
      else this.#tabletsOf.set(key, new Set([tablet]));
    }
    return planned;
  }

  /** Until there is no more of it, or the transaction is large enough: then the next one goes on from there. */
  async #sendRest({ tablet, from, position }: Share, cursor: WriteCursor, signal: AbortSignal): Promise<void> {
    // A write that moves a copy, or begins one, has no operation in whose midst it could be left.
    const mayBeLeft = from !== null && position !== null && isSameReading(from, position);
    while (!cursor.isDone) {
      const upTo = mayBeLeft && this.#isFull() ? cursor.leftAt : null;
      if (upTo) {
        this.#parts.set(tablet, { ...from!, upTo });
        this.#cursors.set(tablet, cursor);
        return;
      }
      let planned: PlannedBatch[][];
      try {
        planned = await this.#plan(tablet, cursor.take(), signal);
        const places = distinct(planned.flat());
        const fresh = places.filter((place) => !this.#joined.has(placeKey(place)));
        await this.#of.openEnds.expectClean(fresh, signal).catch((error: unknown) => {
          throw new MidwayError(error);
        });
      } catch (error) {
        signal.throwIfAborted();
        throw error instanceof MidwayError ? error : new TabletError(tablet, error);
      }
      await this.#join(distinct(planned.flat()), signal);
      for (const request of planned) await this.#start(request, signal);
    }
  }

  /** Brokers end what takes too long, and whoever reads waits for the end of what is open. */
  #isFull(): boolean {
    const { maxBytes, producer } = this.#of;
    const openMs = this.#beganAtMs === null ? 0 : performance.now() - this.#beganAtMs;
    return this.#bytes >= maxBytes || openMs >= producer.opened.transactionTime.ms / SHARE_OF_TIME;
  }

  #positionOf({ tablet, claim, position: whole, isReleased }: Share, place: Place): PlannedBatch {
    const { isSure, positions } = this.#of;
    const position = this.#parts.get(tablet) ?? whole;
    const stored = encodeStored(positions.owner, tablet, { claim, position, isReleased: isReleased && isSure });
    const batch = RecordBatch.of([
      { kind: 'row', table: '', ...stored, position: tablet, timestampMs: NO_TIMESTAMP_MS },
    ]);
    return { ...place, parts: [{ batch, records: [0] }], count: 1, bytes: recordBytesBound(batch, 0) };
  }

  async #start(request: readonly PlannedBatch[], signal: AbortSignal): Promise<void> {
    let size = 0;
    for (const { count, bytes } of request) {
      this.#records += count;
      size += bytes;
    }
    this.#bytes += size;
    await this.#requests.start(async () => {
      await this.#of.producer.send(request, signal, this.#wire);
      this.#ackedBytes += size;
      this.#inUse.answered(request);
    });
  }

  async #join(places: readonly Place[], signal: AbortSignal): Promise<void> {
    const fresh = places.filter((place) => !this.#joined.has(placeKey(place)));
    if (fresh.length === 0) return;
    this.#beganAtMs ??= performance.now();
    for (const place of fresh) this.#joined.set(placeKey(place), place);
    await addPartitions(this.#wire, this.#of.producer.opened, byTopic(fresh), signal);
  }

  /** Whose fault it is, as far as that can be told. */
  #blame(error: unknown): { culprits: ReadonlyMap<string, Cause> | 'all' | 'none'; cause: Cause } {
    if (error instanceof MidwayError) return { culprits: 'none', cause: asError(error.cause) };
    if (error instanceof TabletError) {
      const cause = asError(error.cause);
      return { culprits: new Map([[error.tablet, cause]]), cause };
    }
    const cause = asError(error instanceof BatchError ? error.cause : error);
    if (cause instanceof KafkaCodeError && ENDED_BY_BROKER.has(cause.code)) {
      const overdue = this.#overdue(cause);
      return overdue ? { culprits: 'all', cause: overdue } : { culprits: 'none', cause: new FencedError(cause) };
    }
    if (error instanceof PartitionRefusedError) {
      const tablets = this.#tabletsOf.get(`${error.topic}/${error.partition}`);
      if (tablets) return { culprits: new Map(Array.from(tablets, (tablet) => [tablet, cause])), cause };
    }
    if (!(error instanceof BatchError)) return { culprits: isPassing(cause) ? 'none' : 'all', cause };
    if (error.isLearned) return { culprits: 'none', cause };
    const culprits = new Map<string, Cause>();
    for (const batch of error.batches) for (const tablet of this.#tabletsIn(batch)) culprits.set(tablet, cause);
    // The positions themselves: that concerns everybody.
    return culprits.size === 0 ? { culprits: isPassing(cause) ? 'none' : 'all', cause } : { culprits, cause };
  }

  /** Whose records a batch has: they begin with the tablet's id. */
  #tabletsIn({ parts, ...place }: PlannedBatch): string[] {
    const positions = parts.flatMap(({ batch, records }) => records.map((record) => batch.position(record)));
    const ids = new Set(positions.map((position) => position.slice(0, position.indexOf('/'))));
    return [...(this.#tabletsOf.get(placeKey(place)) ?? [])].filter((tablet) => ids.has(tablet));
  }

  /**
   * A broker ends a transaction that takes too long in the words in which it refuses somebody whom another has superseded.
   * What has lasted so long was ended for that, or would be within moments.
   */
  #overdue(error: KafkaCodeError): OverdueError | null {
    if (this.#beganAtMs === null) return null;
    const { transactionTime: granted, identity } = this.#of.producer.opened;
    const tookMs = performance.now() - this.#beganAtMs;
    if (tookMs < granted.ms) return null;
    const progress = {
      tookMs,
      records: this.#records,
      bytes: this.#bytes,
      ackedBytes: this.#ackedBytes,
      throttledMs: this.#of.cluster.throttledSince(this.#beganAtMs),
    };
    return new OverdueError(
      progress,
      granted,
      this.#of.transactionTimes.ranOut(identity.transactionalId, granted),
      error,
    );
  }
}

/** Another producer has our transactional id's next epoch. */
export class FencedError extends SinkError {
  constructor(cause: unknown) {
    super('fenced', 'another sidecar has fenced the lane', cause);
  }
}

/** A coordinator or a leader that moves: the next try may succeed, and if not the lane's next epoch tells why. */
function isPassing(cause: Error): boolean {
  return cause instanceof KafkaCodeError && cause.kind === 'unavailable';
}

/** A partition may not join the transaction that has begun: the next epoch sees to it, and the next try finds it clean. */
class MidwayError extends Error {
  constructor(cause: unknown) {
    super('', { cause });
  }
}

/** One tablet's fault. */
class TabletError extends Error {
  readonly tablet: string;

  constructor(tablet: string, cause: unknown) {
    super('', { cause });
    this.tablet = tablet;
  }
}

/**
 * At most one batch of a partition is in a request: the first ones of all tablets go together, then the second ones. Small
 * ones of several tablets become one.
 */
function* mergeRequests(
  plans: readonly (readonly PlannedBatch[])[],
  maxBatchBytes: (topic: Topic) => number,
): Generator<PlannedBatch[], void, void> {
  const queues = new Map<string, GrowingBatch[]>();
  for (const plan of plans)
    for (const batch of plan) {
      const queue = queues.get(placeKey(batch));
      const last = queue?.at(-1);
      if (!queue || !last) queues.set(placeKey(batch), [growing(batch)]);
      else if (last.bytes + batch.bytes > maxBatchBytes(batch.topic)) queue.push(growing(batch));
      else {
        last.parts.push(...batch.parts);
        last.count += batch.count;
        last.bytes += batch.bytes;
      }
    }
  for (;;) {
    const request: PlannedBatch[] = [];
    let bytes = 0;
    for (const queue of queues.values()) {
      const [next] = queue;
      if (next === undefined || (request.length > 0 && bytes + next.bytes > MAX_REQUEST_BYTES)) continue;
      queue.shift();
      request.push(next);
      bytes += next.bytes;
    }
    if (request.length === 0) return;
    yield request;
  }
}

interface GrowingBatch extends PlannedBatch {
  readonly parts: RecordPart[];
  count: number;
  bytes: number;
}

function growing(batch: PlannedBatch): GrowingBatch {
  return { ...batch, parts: [...batch.parts] };
}
