import type { RowRef, TabletPosition } from '../../../change/position.ts';
import { asError } from '../../../util/as-error.ts';
import { steadyNow } from '../../../util/steady-clock.ts';
import { waitFor } from '../../../util/wait-for.ts';
import { SinkError } from '../../sink.ts';
import type { TransactionMetrics } from '../../transaction-metrics.ts';
import type { Throttling } from '../connections.ts';
import { toSinkError } from '../kafka-error.ts';
import type { StreamTopics } from '../topics.ts';
import { OverdueError } from '../transaction-time.ts';
import { LaneCore, type LaneLimits } from './lane-core.ts';
import type { LaneEffect, LaneEvent, Share } from './lane-events.ts';
import { TabletClaim, type ClaimedLane } from './tablet-claim.ts';
import { LaneProducer, type LaneProducerOptions } from './lane-producer.ts';
import { FencedError, type TransactionEnd } from './lane-transaction.ts';
import { PendingWrites } from './pending-writes.ts';
import { hasRow, type LaneId, type LanePosition, type PositionsEntry } from './positions-view.ts';
import type { RecordsOfWrite } from './write-cursor.ts';

export interface LaneOptions extends LaneProducerOptions {
  readonly generation: string;
  readonly topics: StreamTopics;
  readonly limits: LaneLimits;
  /** Another lane of this process, by its id. */
  readonly sibling: (id: LaneId) => Lane | null;
  readonly metrics?: TransactionMetrics;
  /** A transaction failed for this tablet, and all others had to be written once more. */
  readonly onCulprit?: (tablet: string) => void;
}

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
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
export class Lane implements ClaimedLane, AsyncDisposable {
  readonly #options: LaneOptions;
  #core: LaneCore;
  readonly #producer: LaneProducer;
  readonly #stop = new AbortController();
  readonly #takers = new Map<string, Waiter<LanePosition | null>[]>();
  readonly #writes = new PendingWrites();
  /** Who took a tablet last, in this process. */
  readonly #holders = new Map<string, TabletClaim>();
  /** Claimed by another lane since they were taken. */
  readonly #lost = new Map<string, SinkError>();
  readonly #releases = new Map<string, (() => void)[]>();
  #reopeners: Waiter<void>[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #due: NodeJS.Timeout | null = null;
  #dueAtMs = 0;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#core = new LaneCore(options.id, options.limits);
    const { generation } = options;
    const isShipped = (tabletId: string, row: RowRef): boolean | null => {
      const position = this.#core.positionOf(tabletId);
      if (position === null) return false;
      // Of another generation it says nothing; and in a copy the log may be read a second time.
      if (position?.generation !== generation || position.at.copy) return null;
      return hasRow(position, row);
    };
    this.#producer = new LaneProducer(options, { isShipped, decisionOf: (lane) => this.#core.decisionOf(lane) });
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
    this.#producer.giveUp();
    const error = new SinkError('unavailable', 'the topic of positions was made anew');
    for (const tablet of [...this.#takers.keys()]) for (const { reject } of this.#takersOf(tablet)) reject(error);
    this.#writes.allFailed(error);
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
  ): Promise<TabletClaim> {
    const taken = new Promise<LanePosition | null>((resolve, reject) => {
      const waiters = this.#takers.get(tablet) ?? [];
      this.#takers.set(tablet, [...waiters, { resolve, reject }]);
    });
    taken.catch(() => undefined); // whoever waited may have gone
    const claim = new TabletClaim(this, tablet, generation, onLost);
    this.#holders.set(tablet, claim);
    for (const write of this.#writes.allFailedOf(tablet, superseded(tablet)))
      this.#post({ kind: 'cancel', tablet, write });
    this.#lost.delete(tablet);
    this.#post({ kind: 'want', tablet });
    try {
      claim.stored = await waitFor(taken, signal);
      return claim;
    } catch (error) {
      // Nobody will use it: others are not to fence us for it.
      if (this.#holders.get(tablet) === claim) {
        this.#holders.delete(tablet);
        this.#post({ kind: 'release', tablet });
      }
      throw error;
    }
  }

  /** See {@link TabletClaim.write}. */
  async write(
    claim: TabletClaim,
    records: RecordsOfWrite | null,
    at: TabletPosition,
    signal: AbortSignal,
  ): Promise<void> {
    const { tablet, generation } = claim;
    if (this.#holders.get(tablet) !== claim) throw superseded(tablet);
    const lost = this.#lost.get(tablet);
    if (lost) throw lost;
    const { write, done } = this.#writes.add(tablet, records);
    this.#post({ kind: 'write', tablet, write, position: { generation, at } });
    try {
      await waitFor(done, signal);
    } catch (error) {
      if (signal.aborted) this.#post({ kind: 'cancel', tablet, write });
      throw error;
    } finally {
      this.#writes.forget(write);
    }
  }

  /** See {@link TabletClaim.release}. */
  async release(claim: TabletClaim, signal: AbortSignal): Promise<void> {
    const { tablet } = claim;
    if (this.#holders.get(tablet) !== claim) return;
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
    await this.#producer.settle();
  }

  /** The tablets are released before. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the lane was closed'));
    if (this.#due) clearTimeout(this.#due);
    await this.#producer[Symbol.asyncDispose]();
    await Promise.allSettled(this.#underWay);
  }

  #post(event: LaneEvent): void {
    if (this.#stop.signal.aborted) return;
    for (const effect of this.#core.on(event, steadyNow())) this.#perform(effect);
  }

  #perform(effect: LaneEffect): void {
    switch (effect.kind) {
      case 'open':
        this.#run(effect.call, async () => {
          await this.#producer.open();
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
        this.#writes.written(effect.write);
        return;
      case 'not-written':
        this.#writes.failed(effect.write, toSinkError(effect.cause));
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
    this.#writes.allFailedOf(tablet, error);
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

  /** A sibling hands over, and notices nothing else. */
  async #fence(lanes: readonly LaneId[]): Promise<void> {
    const { sibling } = this.#options;
    const siblings = lanes.flatMap((lane) => sibling(lane) ?? []);
    await Promise.all(siblings.map((lane) => lane.handOver(this.#stop.signal)));
    await this.#producer.fence(lanes.filter((lane) => sibling(lane) === null));
  }

  async #transact(call: number): Promise<TransactionEnd> {
    const core = this.#core;
    let shares: readonly Share[] = [];
    let beganAtMs = performance.now();
    const end = await this.#producer.transact(() => {
      beganAtMs = performance.now();
      shares = core.begin(call);
      return this.#writes.fill(shares);
    });
    this.#writes.ended(shares, end);
    this.#tell(end, (performance.now() - beganAtMs) / 1000, shares.length);
    return end;
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

  /** Keeps account of work that nobody waits for but the end. */
  #beside(work: Promise<void>): void {
    const running = work.finally(() => this.#underWay.delete(running));
    this.#underWay.add(running);
  }
}
