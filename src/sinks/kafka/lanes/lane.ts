import type { TabletPosition } from '../../../change/position.ts';
import { asError } from '../../../util/as-error.ts';
import { steadyNow } from '../../../util/steady-clock.ts';
import { waitFor } from '../../../util/wait-for.ts';
import type { Logger } from '../../../util/logger.ts';
import { SinkError } from '../../sink.ts';
import type { TransactionMetrics } from '../../transaction-metrics.ts';
import type { KafkaCluster } from '../cluster.ts';
import type { Throttling } from '../connections.ts';
import { toSinkError } from '../kafka-error.ts';
import type { MarkPolicy } from '../mark-policy.ts';
import { nextEpoch, type OpenedProducer } from '../producer-epoch.ts';
import { Producer } from '../producer.ts';
import type { BatchLimits, RecordPlanner } from '../record-planner.ts';
import type { StreamTopics } from '../topics.ts';
import { OverdueError, type TransactionTimes } from '../transaction-time.ts';
import type { Compression } from '../wire/compression.ts';
import { LaneCore, type LaneEffect, type LaneEvent, type LaneLimits, type Share } from './lane-core.ts';
import { FencedError, LaneTransaction, type FilledShare, type TransactionEnd } from './lane-transaction.ts';
import { OpenEnds } from './open-ends.ts';
import { placesIn } from './places.ts';
import type { PositionsPartition } from './positions-partition.ts';
import { isSameReading, type LaneId, type LanePosition, type PositionsEntry } from './positions-view.ts';
import { isUpTo, WriteCursor, type RecordsOfWrite, type RowRef } from './write-cursor.ts';

export interface LaneOptions {
  /** Transactional id. */
  readonly id: LaneId;
  /** Of all its requests but those of the positions partition. */
  readonly channel: number;
  readonly generation: string;
  readonly cluster: KafkaCluster;
  readonly topics: StreamTopics;
  readonly planner: RecordPlanner;
  readonly batchLimits: BatchLimits;
  readonly marks: MarkPolicy;
  readonly compression: Compression;
  readonly transactionTimes: TransactionTimes;
  readonly positions: PositionsPartition;
  readonly limits: LaneLimits;
  /** Of records in a transaction, as encoded: a write that has more goes on in the next one. */
  readonly maxTransactionBytes: number;
  /** Topics in which transactions of the stream may have records. */
  readonly topicNames: () => readonly string[];
  /** Another lane of this process, by its id. */
  readonly sibling: (id: LaneId) => Lane | null;
  readonly logger: Logger;
  readonly metrics?: TransactionMetrics;
  /** A transaction failed for this tablet, and all others had to be written once more. */
  readonly onCulprit?: (tablet: string) => void;
}

const ABORT_WITHIN_MS = 2_000;
const LOOK_FOR_OPEN_ENDS_AGAIN_MS = 5_000;
/** The next transaction looks where the last one was; where none follows it is looked for by then. */
const LOOK_BACK_MS = 1_000;

/** In the place of records that cannot be had again. */
const SPENT: RecordsOfWrite = {
  [Symbol.iterator]() {
    throw new SinkError('unavailable', 'its transaction failed for the sake of another tablet');
  },
};

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

interface PendingWrite extends Waiter<void> {
  readonly tablet: string;
  readonly slices: RecordsOfWrite | null;
  /** Whether its records were taken once. */
  isBegun: boolean;
  /** What the last transaction has left of them. */
  cursor: WriteCursor | null;
}

/** A tablet that was taken; of no use any more once somebody else has taken it. */
export class TabletHold {
  readonly tablet: string;
  readonly generation: string;
  /** What the lanes know of it; null: nothing yet. */
  stored: LanePosition | null = null;
  /** Told where another lane has claimed it: whoever writes next is told so as well. */
  readonly onLost: ((error: SinkError) => void) | undefined;
  readonly #lane: Lane;

  constructor(lane: Lane, tablet: string, generation: string, onLost?: (error: SinkError) => void) {
    this.#lane = lane;
    this.tablet = tablet;
    this.generation = generation;
    this.onLost = onLost;
  }

  /** Null where there is none of this generation. */
  get position(): TabletPosition | null {
    return this.stored?.generation === this.generation ? this.stored.at : null;
  }

  get waits(): Throttling | null {
    return this.#lane.waits;
  }

  isIn(lane: Lane): boolean {
    return this.#lane === lane;
  }

  /** One at a time. @param slices null: only the position moves */
  async write(slices: RecordsOfWrite | null, position: TabletPosition, signal: AbortSignal): Promise<void> {
    return this.#lane.write(this, slices, position, signal);
  }

  /** Resolves when the next may take the tablet without fencing anybody, or it was not ours. */
  async release(signal: AbortSignal): Promise<void> {
    return this.#lane.release(this, signal);
  }
}

function superseded(tablet: string): SinkError {
  return new SinkError('fenced', `tablet ${tablet} was taken by a newer writer of this sidecar`);
}

/**
 * One transactional producer that ships many tablets of a stream; the decisions are {@link LaneCore}'s. Tablets are named by
 * their ids, whatever the generation: a new one fences what is left of an old one.
 *
 * Errors: every method rejects with {@link SinkError}; `fenced` says that another lane has claimed the tablet.
 */
export class Lane implements AsyncDisposable {
  readonly #options: LaneOptions;
  #core: LaneCore;
  readonly #openEnds: OpenEnds;
  readonly #stop = new AbortController();
  readonly #takers = new Map<string, Waiter<LanePosition | null>[]>();
  readonly #writes = new Map<number, PendingWrite>();
  /** Who took a tablet last, in this process. */
  readonly #holders = new Map<string, TabletHold>();
  /** Claimed by another lane since they were taken. */
  readonly #lost = new Map<string, SinkError>();
  readonly #releases = new Map<string, (() => void)[]>();
  #reopeners: Waiter<void>[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #writeCount = 0;
  #producer: Producer | null = null;
  #transaction: LaneTransaction | null = null;
  /** Whether nothing of our earlier epochs is open anywhere: only then may others go on without fencing us. */
  #isSure = false;
  #due: NodeJS.Timeout | null = null;
  #dueAtMs = 0;
  /** What uses our own epoch does so one after the other. */
  #exclusive: Promise<void> = Promise.resolve();
  #lookAgain: NodeJS.Timeout | null = null;
  #lookBack: NodeJS.Timeout | null = null;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#core = new LaneCore(options.id, options.limits);
    const { cluster, logger, generation } = options;
    const isShipped = (tabletId: string, row: RowRef): boolean | null => {
      const position = this.#core.positionOf(tabletId);
      if (position === null) return false;
      // Of another generation it says nothing; and in a copy the log may be read a second time.
      if (position?.generation !== generation || position.at.copy) return null;
      const { at, upTo } = position;
      return at.opId.index >= row.index || (upTo !== undefined && isUpTo(row, upTo));
    };
    this.#openEnds = new OpenEnds(cluster, {
      channel: options.channel,
      logger,
      isShipped,
      positions: options.positions,
      decisionOf: (lane) => this.#core.decisionOf(lane),
    });
  }

  get id(): LaneId {
    return this.#options.id;
  }

  get waits(): Throttling | null {
    return this.#options.cluster.throttling(this.#options.channel);
  }

  /** What the positions partition holds; to be told in its order. */
  entries(entries: readonly PositionsEntry[]): void {
    this.#post({ kind: 'entries', entries });
  }

  /** All that the positions partition said is no more: every tablet is to be taken anew. */
  beginAnew(): void {
    const { id, limits } = this.#options;
    this.#core = new LaneCore(id, limits);
    this.#producer = null;
    const error = new SinkError('unavailable', 'the topic of positions was made anew');
    for (const tablet of [...this.#takers.keys()]) for (const { reject } of this.#takersOf(tablet)) reject(error);
    for (const { reject } of this.#writes.values()) reject(error);
    for (const tablet of [...this.#releases.keys()]) this.#onReleased(tablet);
    for (const { reject } of this.#takeReopeners()) reject(error);
    this.#lost.clear();
  }

  /**
   * From then on no other lane, and no earlier holder in this one, writes for the tablet.
   * @param generation of which its position is asked for
   */
  async take(
    tablet: string,
    generation: string,
    signal: AbortSignal,
    onLost?: (error: SinkError) => void,
  ): Promise<TabletHold> {
    const taken = new Promise<LanePosition | null>((resolve, reject) => {
      const waiters = this.#takers.get(tablet) ?? [];
      this.#takers.set(tablet, [...waiters, { resolve, reject }]);
    });
    taken.catch(() => undefined); // whoever waited may have gone
    const hold = new TabletHold(this, tablet, generation, onLost);
    this.#holders.set(tablet, hold);
    for (const [number, write] of this.#writes)
      if (write.tablet === tablet) {
        write.reject(superseded(tablet));
        this.#post({ kind: 'cancel', tablet, write: number });
      }
    this.#lost.delete(tablet);
    this.#post({ kind: 'want', tablet });
    try {
      hold.stored = await waitFor(taken, signal);
      return hold;
    } catch (error) {
      // Nobody will use it: others are not to fence us for it.
      if (this.#holders.get(tablet) === hold) {
        this.#holders.delete(tablet);
        this.#post({ kind: 'release', tablet });
      }
      throw error;
    }
  }

  /** See {@link TabletHold.write}. */
  async write(hold: TabletHold, slices: RecordsOfWrite | null, at: TabletPosition, signal: AbortSignal): Promise<void> {
    const { tablet, generation } = hold;
    if (this.#holders.get(tablet) !== hold) throw superseded(tablet);
    const lost = this.#lost.get(tablet);
    if (lost) throw lost;
    const write = ++this.#writeCount;
    const written = new Promise<void>((resolve, reject) => {
      this.#writes.set(write, { tablet, slices, isBegun: false, cursor: null, resolve, reject });
    });
    written.catch(() => undefined);
    this.#post({ kind: 'write', tablet, write, position: { generation, at } });
    try {
      await waitFor(written, signal);
    } catch (error) {
      if (signal.aborted) this.#post({ kind: 'cancel', tablet, write });
      throw error;
    } finally {
      this.#writes.delete(write);
    }
  }

  /** See {@link TabletHold.release}. */
  async release(hold: TabletHold, signal: AbortSignal): Promise<void> {
    const { tablet } = hold;
    if (this.#holders.get(tablet) !== hold) return;
    this.#holders.delete(tablet);
    const released = new Promise<void>((resolve) => {
      this.#releases.set(tablet, [...(this.#releases.get(tablet) ?? []), resolve]);
    });
    this.#lost.delete(tablet);
    this.#post({ kind: 'release', tablet });
    await waitFor(released, signal);
  }

  /**
   * For another lane of this process that has claimed tablets of ours: resolves when we write nothing more for them, and what
   * we wrote is over. Unlike its fence it costs nobody's transaction.
   */
  async handOver(signal: AbortSignal): Promise<void> {
    const reopened = new Promise<void>((resolve, reject) => this.#reopeners.push({ resolve, reject }));
    reopened.catch(() => undefined);
    this.#post({ kind: 'reopen' });
    await waitFor(reopened, signal);
    await this.#exclusively(() => this.#settleAll());
  }

  /** The tablets are released before. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { id, logger } = this.#options;
    const transaction = this.#transaction;
    this.#stop.abort(new Error('the lane was closed'));
    if (this.#due) clearTimeout(this.#due);
    if (this.#lookAgain) clearTimeout(this.#lookAgain);
    if (this.#lookBack) clearTimeout(this.#lookBack);
    await Promise.allSettled(this.#underWay);
    if (!transaction) return;
    try {
      const isEnded = await transaction.abort(AbortSignal.timeout(ABORT_WITHIN_MS));
      if (!isEnded) logger.debug({ lane: id }, 'requests were lost: the transaction is left to the next fence');
    } catch (error) {
      logger.debug({ err: error, lane: id }, 'transaction not aborted: it is left to the next fence');
    }
  }

  #post(event: LaneEvent): void {
    if (this.#stop.signal.aborted) return;
    for (const effect of this.#core.on(event, steadyNow())) this.#perform(effect);
  }

  #perform(effect: LaneEffect): void {
    switch (effect.kind) {
      case 'open':
        this.#run(effect.call, async () => {
          await this.#exclusively(() => this.#open());
          return { kind: 'opened', call: effect.call };
        });
        return;
      case 'claim':
        this.#run(effect.call, async () => {
          const offsets = await this.#options.positions.claim(effect.tablets, this.#options.id, this.#stop.signal);
          return { kind: 'claimed', call: effect.call, offsets };
        });
        return;
      case 'fence':
        this.#run(effect.call, async () => {
          await this.#fence(effect.lanes);
          return { kind: 'fenced', call: effect.call };
        });
        return;
      case 'read':
        this.#run(effect.call, async () => {
          await this.#options.positions.readToEnd(this.#stop.signal);
          return { kind: 'read', call: effect.call };
        });
        return;
      case 'transact':
        this.#run(effect.call, async () => ({ ...(await this.#transact(effect.call)), call: effect.call }));
        return;
      case 'due-in':
        this.#dueIn(effect.ms);
        return;
      case 'taken':
        for (const { resolve } of this.#takersOf(effect.tablet)) resolve(effect.position);
        return;
      case 'not-taken':
        for (const { reject } of this.#takersOf(effect.tablet)) reject(toSinkError(effect.cause));
        return;
      case 'lost':
        this.#onLost(effect.tablet, effect.to);
        return;
      case 'written':
        this.#writes.get(effect.write)?.resolve();
        return;
      case 'not-written':
        this.#writes.get(effect.write)?.reject(toSinkError(effect.cause));
        return;
      case 'released':
        this.#onReleased(effect.tablet);
        return;
      case 'reopened':
        for (const { resolve } of this.#takeReopeners()) resolve();
        return;
      case 'not-reopened':
        for (const { reject } of this.#takeReopeners()) reject(toSinkError(effect.cause));
    }
  }

  #onReleased(tablet: string): void {
    for (const resolve of this.#releases.get(tablet) ?? []) resolve();
    this.#releases.delete(tablet);
  }

  #takeReopeners(): readonly Waiter<void>[] {
    const reopeners = this.#reopeners;
    this.#reopeners = [];
    return reopeners;
  }

  #takersOf(tablet: string): readonly Waiter<LanePosition | null>[] {
    const waiters = this.#takers.get(tablet) ?? [];
    this.#takers.delete(tablet);
    return waiters;
  }

  #onLost(tablet: string, to: LaneId): void {
    const error = new SinkError('fenced', `tablet ${tablet} was claimed by ${to}`);
    this.#lost.set(tablet, error);
    for (const { reject } of this.#takersOf(tablet)) reject(error);
    for (const write of this.#writes.values()) if (write.tablet === tablet) write.reject(error);
    this.#onReleased(tablet);
    this.#holders.get(tablet)?.onLost?.(error);
  }

  #run(call: number, work: () => Promise<LaneEvent>): void {
    const core = this.#core;
    this.#beside(
      work()
        .catch((error: unknown): LaneEvent => {
          this.#forget();
          return { kind: 'failed', call, cause: asError(error) };
        })
        .then((event) => {
          if (core === this.#core) this.#post(event); // else whoever asked is no more
        })
        .catch((error: unknown) => {
          this.#options.logger.error({ err: error, lane: this.#options.id }, 'unexpected error');
        }),
    );
  }

  /** After an error: what was known of topics and their leaders may be over. */
  #forget(): void {
    this.#options.topics.forgetAll();
    this.#options.positions.forgetTopic();
  }

  #dueIn(ms: number): void {
    const atMs = performance.now() + ms;
    if (this.#due && this.#dueAtMs <= atMs) return;
    if (this.#due) clearTimeout(this.#due);
    this.#dueAtMs = atMs;
    this.#due = setTimeout(() => {
      this.#due = null;
      this.#post({ kind: 'due' });
    }, ms);
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#exclusive.then(work);
    this.#exclusive = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  async #open(): Promise<void> {
    const { cluster, batchLimits, marks, compression, id } = this.#options;
    this.#producer = null;
    const opened = await this.#nextEpochOf(id);
    await this.#settlePositions();
    this.#isSure = false;
    this.#transaction = null;
    this.#producer = new Producer(cluster, opened, { transactional: true, batchLimits, marks, compression });
    this.#lookForOpenEnds();
  }

  /**
   * Not beside anything that ends once more what another lane has left open: that takes two requests in the other's name, and
   * a fence between them would abort what had been committed.
   */
  async #fence(lanes: readonly LaneId[]): Promise<void> {
    const { id, sibling, logger } = this.#options;
    const siblings = lanes.flatMap((lane) => sibling(lane) ?? []);
    await Promise.all(siblings.map((lane) => lane.handOver(this.#stop.signal)));
    await this.#exclusively(async () => {
      const others = lanes.filter((lane) => sibling(lane) === null);
      if (others.length > 0) logger.info({ lane: id, fenced: others }, 'fencing lanes to take tablets over');
      await Promise.all(others.map((lane) => this.#nextEpochOf(lane)));
      await this.#settleAll();
    });
  }

  /** What was committed is to be read as committed: the marker that says so may be lost. */
  async #settlePositions(): Promise<void> {
    const { positions } = this.#options;
    const { signal } = this.#stop;
    await positions.readToEnd(signal); // somebody may have noted how it was decided
    await this.#openEnds.settle([await positions.place(signal)], signal);
  }

  /**
   * What was open in a lane that is fenced was aborted, or had been committed, and the marker that says which may be lost. It is
   * told by the positions, see open-ends.ts: so it is seen to before anybody moves them, and a partition that does not
   * answer keeps us waiting.
   */
  async #settleAll(): Promise<void> {
    const { cluster, positions, topicNames } = this.#options;
    const { signal } = this.#stop;
    await this.#settlePositions();
    await positions.readToEnd(signal); // it is by them that the rest is decided
    const topics = await cluster.findTopics([...topicNames()], signal, 'allow');
    await this.#openEnds.settle(placesIn(topics.values()), signal);
  }

  async #nextEpochOf(id: LaneId): Promise<OpenedProducer> {
    const { cluster, channel, transactionTimes } = this.#options;
    const { signal } = this.#stop;
    const opened = await nextEpoch(cluster, { id, channel, transactionTimes }, signal, (coordinator) =>
      this.#openEnds.beforeFence(id, coordinator, signal),
    );
    this.#openEnds.fenced(id, opened);
    return opened;
  }

  async #transact(call: number): Promise<TransactionEnd> {
    const core = this.#core;
    return this.#exclusively(async () => {
      const producer = this.#producer;
      if (!producer) return { kind: 'not-committed', culprits: 'none', cause: new Error('no producer is open') };
      const { id, cluster, planner, positions, transactionTimes, maxTransactionBytes: maxBytes } = this.#options;
      const parts = {
        isSure: this.#isSure,
        lane: id,
        cluster,
        producer,
        planner,
        positions,
        openEnds: this.#openEnds,
        transactionTimes,
        maxBytes,
      };
      const transaction = (this.#transaction = new LaneTransaction(parts));
      const shares = core.begin(call);
      const filled: FilledShare[] = [];
      for (const share of shares) {
        const write = share.write === null ? null : this.#writes.get(share.write);
        if (write === undefined) {
          const cause = new Error(`the records of tablet ${share.tablet} are not there`);
          return { kind: 'not-committed', culprits: new Map([[share.tablet, cause]]), cause };
        }
        filled.push({ share, open: write?.slices ? this.#opening(write, write.slices, share) : null });
      }
      const beganAtMs = performance.now();
      const end = await transaction.run(filled, this.#stop.signal);
      const cursors = end.kind === 'committed' ? end.cursors : null;
      for (const { tablet, write } of shares) {
        const pending = write === null ? undefined : this.#writes.get(write);
        if (pending) pending.cursor = cursors && (cursors.get(tablet) ?? pending.cursor);
      }
      if (end.kind === 'committed') {
        this.#transaction = null;
        this.#lookBackSoon();
      }
      this.#tell(end, (performance.now() - beganAtMs) / 1000, shares.length);
      return end;
    });
  }

  /** What it answers throws what encoding the first of the records does. */
  #opening(write: PendingWrite, slices: RecordsOfWrite, { from, position }: Share): () => WriteCursor {
    // A copy reads the log a second time, and what it finds there is to come again, behind its rows.
    const after = from?.upTo && position && isSameReading(from, position) ? from.upTo : null;
    return () => {
      const { isBegun, cursor } = write;
      write.isBegun = true;
      write.cursor = null;
      if (cursor) return cursor;
      // What can be iterated but once has no records any more, and no one would notice.
      const isSpent = isBegun && Object.is(slices[Symbol.iterator](), slices);
      return new WriteCursor(isSpent ? SPENT : slices, after);
    };
  }

  #tell(end: TransactionEnd, seconds: number, tablets: number): void {
    const { metrics, logger, id, onCulprit } = this.#options;
    if (end.kind === 'committed') {
      metrics?.transaction('committed', seconds, tablets - end.leftOut.size);
      for (const cause of end.leftOut.values()) if (cause !== null) this.#forget();
      return;
    }
    this.#forget();
    if (typeof end.culprits !== 'string') for (const tablet of end.culprits.keys()) onCulprit?.(tablet);
    const isFenced = end.cause instanceof FencedError;
    metrics?.transaction(
      isFenced ? 'fenced' : end.cause instanceof OverdueError ? 'overdue' : 'failed',
      seconds,
      tablets,
    );
    if (!this.#stop.signal.aborted)
      logger.debug({ lane: id, err: end.cause, tablets }, isFenced ? 'the lane was fenced' : 'a transaction failed');
  }

  #lookBackSoon(): void {
    this.#lookBack ??= setTimeout(() => {
      this.#lookBack = null;
      this.#beside(
        this.#exclusively(() => this.#openEnds.checkEnded(this.#stop.signal)).catch(() => {
          if (!this.#stop.signal.aborted) this.#lookForOpenEnds();
        }),
      );
    }, LOOK_BACK_MS).unref();
  }

  /** Consumers may wait for the end of what nobody writes behind: so it is looked for beside all else. */
  #lookForOpenEnds(): void {
    if (this.#lookAgain) clearTimeout(this.#lookAgain);
    this.#lookAgain = null;
    this.#beside(
      this.#exclusively(async () => {
        await this.#settleAll();
        this.#isSure = true;
      }).catch(() => {
        if (this.#stop.signal.aborted) return;
        this.#lookAgain = setTimeout(() => {
          this.#lookForOpenEnds();
        }, LOOK_FOR_OPEN_ENDS_AGAIN_MS).unref();
      }),
    );
  }

  /** Keeps account of work that nobody waits for but the end. */
  #beside(work: Promise<void>): void {
    const running = work.finally(() => this.#underWay.delete(running));
    this.#underWay.add(running);
  }
}
