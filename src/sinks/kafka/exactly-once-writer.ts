import type { SinkRecord } from '../../change/record.ts';
import type { SinkTablet, TabletWriter } from '../sink.ts';
import type { SinkPosition } from '../../change/position.ts';
import { encodePosition } from './position.ts';
import type { Throttling } from './connections.ts';
import type { StreamContext, TabletProducer } from './tablet-producer.ts';
import { Transaction } from './transaction.ts';

const ABORT_WITHIN_MS = 2_000;

/**
 * One transaction a write. A `read_committed` consumer sees all of a write or nothing of it, and a successor reads the
 * position of exactly what was seen.
 */
export class ExactlyOnceWriter implements TabletWriter {
  readonly position: SinkPosition | null;
  readonly #stream: StreamContext;
  readonly #producer: TabletProducer;
  readonly #generation: string;
  #tableName: string;
  /** Not committed yet, or no longer to be. */
  #open: Transaction | null = null;

  constructor(stream: StreamContext, producer: TabletProducer, tablet: SinkTablet, position: SinkPosition | null) {
    this.#stream = stream;
    this.#producer = producer;
    this.#generation = tablet.streamGeneration;
    this.#tableName = position?.tableName ?? tablet.tableName;
    this.position = position;
  }

  get waits(): Throttling | null {
    return this.#producer.waits;
  }

  get sinkId(): string {
    return this.#stream.sinkId(this.#tableName);
  }

  async write(slices: Iterable<readonly SinkRecord[]>, position: SinkPosition, signal: AbortSignal): Promise<void> {
    try {
      const topics = await this.#producer.positionTopics(position.tableName, signal);
      const transaction = new Transaction(
        this.#stream.cluster,
        this.#producer,
        encodePosition(position, this.#generation, topics),
      );
      this.#open = transaction;
      for (const slice of slices) await transaction.append(await this.#producer.plan(slice, signal), signal);
      await transaction.commit(signal);
      this.#open = null;
      this.#tableName = position.tableName;
    } catch (error) {
      throw this.#stream.failure(this.#open?.explain(error, this.#stream.transactionTimes) ?? error);
    }
  }

  /** Ends what a failed or interrupted write left open where that is safe; the successor's opening does it in any case. */
  async [Symbol.asyncDispose](): Promise<void> {
    const transaction = this.#open;
    this.#open = null;
    if (transaction === null) return;
    const producer = this.#producer.identity.transactionalId;
    const { logger } = this.#stream;
    try {
      const isEnded = await transaction.abort(AbortSignal.timeout(ABORT_WITHIN_MS));
      if (!isEnded) logger.debug({ producer }, 'requests were lost: the transaction is left to the next fence');
    } catch (error) {
      logger.debug({ err: error, producer }, 'transaction not aborted: it is left to the next fence');
    }
  }
}
