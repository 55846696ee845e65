import type { RowRef } from '../../../change/position.ts';
import type { Logger } from '../../../util/logger.ts';
import type { KafkaCluster } from '../cluster.ts';
import type { MarkPolicy } from '../mark-policy.ts';
import { nextEpoch, type OpenedProducer } from '../producer-epoch.ts';
import { Producer } from '../producer.ts';
import type { BatchLimits, RecordPlanner } from '../record-planner.ts';
import type { TransactionTimes } from '../transaction-time.ts';
import type { Compression } from '../wire/compression.ts';
import type { Decision, LaneId } from './positions-view.ts';
import { LaneTransaction, type FilledShare, type NotCommitted, type TransactionEnd } from './lane-transaction.ts';
import { OpenEnds } from './open-ends.ts';
import { placesIn } from './places.ts';
import type { PositionsPartition } from './positions-partition.ts';
import { UnsettledPlaces } from './unsettled-places.ts';

export interface LaneProducerOptions {
  /** Transactional id. */
  readonly id: LaneId;
  /** Of all its requests but those of the positions partition. */
  readonly channel: number;
  readonly cluster: KafkaCluster;
  readonly planner: RecordPlanner;
  readonly batchLimits: BatchLimits;
  readonly marks: MarkPolicy;
  readonly compression: Compression;
  readonly transactionTimes: TransactionTimes;
  readonly positions: PositionsPartition;
  /** Of records in a transaction, as encoded: a write that has more goes on in the next one. */
  readonly maxTransactionBytes: number;
  /** Topics in which transactions of the stream may have records. */
  readonly topicNames: () => readonly string[];
  readonly logger: Logger;
}

/** What the positions say, as far as they were read. */
export interface PositionsWord {
  /** Whether this row of a tablet is in the sink; null: they say nothing of it. */
  readonly isShipped: (tabletId: string, row: RowRef) => boolean | null;
  /** How a lane's last transaction was decided, as was noted before it was fenced. */
  readonly decisionOf: (lane: LaneId) => Decision | null;
}

const ABORT_WITHIN_MS = 2_000;
const LOOK_FOR_OPEN_ENDS_AGAIN_MS = 5_000;
/** The next transaction looks where the last one was; where none follows it is looked for by then. */
const LOOK_BACK_MS = 1_000;
/** Markers come within a few milliseconds: seen in the pause between two transactions, they cost the next one nothing. */
const GLANCES_AFTER_MS = [3, 6, 12] as const;

/**
 * A lane's transactional producer: its epochs, its transactions, and what those and others' may have left open. What uses
 * its epoch does so one after the other.
 */
export class LaneProducer implements AsyncDisposable {
  readonly #options: LaneProducerOptions;
  readonly #openEnds: OpenEnds;
  readonly #unsettled: UnsettledPlaces;
  readonly #stop = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  #producer: Producer | null = null;
  /** The last one, unless it was committed. */
  #transaction: LaneTransaction | null = null;
  /** Whether nothing of our earlier epochs is open anywhere: only then may others go on without fencing us. */
  #isSure = false;
  #exclusive: Promise<void> = Promise.resolve();
  #lookAgain: NodeJS.Timeout | null = null;
  #lookBack: NodeJS.Timeout | null = null;
  #glance: AbortController | null = null;

  constructor(options: LaneProducerOptions, word: PositionsWord) {
    this.#options = options;
    const { cluster, channel, positions, topicNames, logger } = options;
    this.#unsettled = new UnsettledPlaces(cluster, topicNames);
    this.#openEnds = new OpenEnds(cluster, { channel, logger, positions, ...word });
  }

  /** Takes the next epoch; what was open before is over then. */
  async open(): Promise<void> {
    await this.#exclusively(async () => {
      const { cluster, batchLimits, marks, compression, id } = this.#options;
      this.#producer = null;
      const opened = await this.#nextEpochOf(id);
      await this.#settlePositions();
      this.#isSure = false;
      this.#transaction = null;
      this.#producer = new Producer(cluster, opened, { transactional: true, batchLimits, marks, compression });
      this.#lookForOpenEnds();
    });
  }

  /** It is to be opened anew before the next transaction. */
  giveUp(): void {
    this.#producer = null;
  }

  /**
   * The next epoch of other lanes; resolves when what they had open is over. Not beside anything that ends once more what
   * another lane has left open: that takes two requests in the other's name, and a fence between them would abort what had
   * been committed.
   */
  async fence(lanes: readonly LaneId[]): Promise<void> {
    await this.#exclusively(async () => {
      const { id, logger } = this.#options;
      if (lanes.length > 0) logger.info({ lane: id, fenced: lanes }, 'fencing lanes to take tablets over');
      await Promise.all(lanes.map((lane) => this.#nextEpochOf(lane)));
      await this.#settleAll();
    });
  }

  /** Resolves when nothing is open that ours, or lanes that we fenced, have left open. */
  async settle(): Promise<void> {
    await this.#exclusively(() => this.#settleAll());
  }

  /** @param fill asked when its turn has come: what it has, or why there is none. Never rejects but for what that throws. */
  async transact(fill: () => readonly FilledShare[] | NotCommitted): Promise<TransactionEnd> {
    this.#endGlance();
    return this.#exclusively(async () => {
      const producer = this.#producer;
      if (!producer) return { kind: 'not-committed', culprits: 'none', cause: new Error('no producer is open') };
      const { id: lane, cluster, planner, positions, transactionTimes, maxTransactionBytes: maxBytes } = this.#options;
      const parts = { lane, cluster, planner, positions, transactionTimes, maxBytes };
      const [isSure, openEnds, unsettled] = [this.#isSure, this.#openEnds, this.#unsettled];
      const shares = fill();
      if ('kind' in shares) return shares;
      this.#transaction = new LaneTransaction({ ...parts, producer, isSure, openEnds, unsettled });
      const end = await this.#transaction.run(shares, this.#stop.signal);
      if (end.kind === 'committed') {
        this.#transaction = null;
        this.#lookBackSoon();
        this.#glanceSoon(0);
      } else unsettled.notCommitted(this.#transaction.tabletsOf);
      return end;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { id, logger } = this.#options;
    this.#stop.abort(new Error('the lane was closed'));
    if (this.#lookAgain) clearTimeout(this.#lookAgain);
    if (this.#lookBack) clearTimeout(this.#lookBack);
    this.#endGlance();
    await Promise.allSettled([this.#exclusive, ...this.#underWay]);
    if (!this.#transaction) return;
    try {
      const isEnded = await this.#transaction.abort(AbortSignal.timeout(ABORT_WITHIN_MS));
      if (!isEnded) logger.debug({ lane: id }, 'requests were lost: the transaction is left to the next fence');
    } catch (error) {
      logger.debug({ err: error, lane: id }, 'transaction not aborted: it is left to the next fence');
    }
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#exclusive.then(work);
    this.#exclusive = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
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
    this.#unsettled.allSettled();
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

  #glanceSoon(times: number): void {
    this.#endGlance();
    const afterMs = GLANCES_AFTER_MS[times];
    if (afterMs === undefined) return;
    const ended = (this.#glance = new AbortController());
    const timer = setTimeout(() => {
      this.#beside(
        this.#exclusively(() => this.#openEnds.glance(ended.signal)).then(
          (isOver) => {
            if (!isOver && this.#glance === ended) this.#glanceSoon(times + 1);
          },
          () => undefined, // whoever comes next looks for itself
        ),
      );
    }, afterMs).unref();
    ended.signal.addEventListener('abort', () => {
      clearTimeout(timer);
    });
  }

  /** It holds up nobody: a broker may not answer it for long. */
  #endGlance(): void {
    this.#glance?.abort(new Error('there is something to do'));
    this.#glance = null;
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
