import type { SinkRecord } from '../../change/record.ts';
import type { SinkTablet, TabletWriter } from '../sink.ts';
import { isAhead, type SinkPosition } from '../../change/position.ts';
import type { SinkError } from '../sink.ts';
import { waitFor } from '../../util/wait-for.ts';
import { InFlight } from './in-flight.ts';
import { toSinkError } from './kafka-error.ts';
import { encodePosition } from './position.ts';
import type { Throttling } from './connections.ts';
import type { StreamContext, TabletProducer } from './tablet-producer.ts';
import { Transaction } from './transaction.ts';
import { OverdueError } from './transaction-time.ts';
import type { ProducerIdentity } from './wire/apis.ts';

/** The position in Kafka follows the records by at most this: what a crash may make them repeat. */
const POSITION_EVERY_MS = 1_000;
/** At a stop: what does not get there by then is repeated. Before that a slow broker may take its time. */
const LAST_POSITION_WITHIN_MS = 3_000;
const MAX_IN_FLIGHT = 3;

/** What one writer of a tablet leaves to the next of the same process: durable, though Kafka may not say so yet. */
export interface AckedPosition {
  last: { readonly position: SinkPosition; readonly by: ProducerIdentity } | null;
}

/**
 * Records are appended at once and are durable when `write` resolves (acks = all); the position follows now and then,
 * and when the writer is disposed. A successor repeats what lies between.
 *
 * The position is written in a transaction of its own, for the fence: a writer that was superseded, and does not know
 * it yet, must not move it. The successor has begun to repeat; were it killed now, and the next one went on from the
 * position of the superseded one, then the topic's last word would be an old value.
 */
export class AtLeastOnceWriter implements TabletWriter {
  readonly position: SinkPosition | null;
  readonly #stream: StreamContext;
  readonly #producer: TabletProducer;
  readonly #generation: string;
  readonly #acked: AckedPosition;
  /** Ends a save that is under way, see {@link LAST_POSITION_WITHIN_MS}. */
  readonly #hurry = new AbortController();
  #tableName: string;
  /** Durable in Kafka, not yet said there. */
  #unsaid: SinkPosition | null = null;
  #saved: SinkPosition | null;
  #failure: SinkError | null = null;
  /** The next save, until it is done. */
  #timer: NodeJS.Timeout | null = null;
  #saving: Promise<void> = Promise.resolve();
  #disposed = false;

  constructor(
    stream: StreamContext,
    producer: TabletProducer,
    tablet: SinkTablet,
    committed: SinkPosition | null,
    acked: AckedPosition,
  ) {
    this.#stream = stream;
    this.#producer = producer;
    this.#generation = tablet.streamGeneration;
    this.#acked = acked;
    this.#saved = committed;
    const { last } = acked;
    if (last !== null && follows(producer.identity, last.by) && isAhead(last.position, committed))
      this.#unsaid = last.position;
    this.position = this.#unsaid ?? committed;
    this.#tableName = this.position?.tableName ?? tablet.tableName;
    this.#saveLater();
  }

  get saved(): SinkPosition | null {
    return this.#saved;
  }

  get waits(): Throttling | null {
    return this.#producer.waits;
  }

  get sinkId(): string {
    return this.#stream.sinkId(this.#tableName);
  }

  async write(slices: Iterable<readonly SinkRecord[]>, position: SinkPosition, signal: AbortSignal): Promise<void> {
    this.#throwIfFailed();
    const requests = new InFlight(MAX_IN_FLIGHT);
    try {
      for (const slice of slices)
        for (const request of await this.#producer.plan(slice, signal))
          await requests.start(() => this.#producer.send(request, signal));
      await requests.drain();
    } catch (error) {
      throw (this.#failure = this.#stream.failure(error));
    }
    this.#unsaid = position;
    this.#tableName = position.tableName;
    this.#acked.last = { position, by: this.#producer.identity };
    // The first one is said at once: a successor without any would begin where the stream did. Whoever is in a hurry need
    // not wait for it: the records are there.
    if (this.#saved === null) await waitFor(this.#save(), signal).catch(() => undefined);
    this.#throwIfFailed();
    this.#saveLater();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const hurry = setTimeout(() => {
      this.#hurry.abort(new Error('the writer was closed before its position was saved'));
    }, LAST_POSITION_WITHIN_MS);
    await this.#save();
    clearTimeout(hurry);
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  #saveLater(): void {
    if (this.#unsaid === null || this.#timer !== null || this.#failure !== null || this.#disposed) return;
    this.#timer = setTimeout(() => {
      void this.#save().then(() => {
        this.#timer = null;
        this.#saveLater();
      });
    }, POSITION_EVERY_MS).unref();
  }

  /** One after the other, however long they take: a producer has one transaction at a time. Never rejects. */
  #save(): Promise<void> {
    return (this.#saving = this.#saving.then(() => this.#savePosition()));
  }

  /**
   * Failing costs repeats and nothing else, and is tried again; but fenced is fenced. The next try may commit while a lost
   * request of this one is still to arrive: an older position then, which costs repeats as well.
   */
  async #savePosition(): Promise<void> {
    const position = this.#unsaid;
    if (position === null || this.#failure !== null) return;
    this.#unsaid = null;
    let transaction: Transaction | null = null;
    try {
      const { signal } = this.#hurry;
      const topics = await this.#producer.positionTopics(position.tableName, signal);
      const offsets = encodePosition(position, this.#generation, topics);
      transaction = new Transaction(this.#stream.cluster, this.#producer, offsets);
      await transaction.commit(signal);
      this.#saved = position;
    } catch (caught) {
      const error = transaction?.explain(caught, this.#stream.transactionTimes) ?? caught;
      this.#unsaid ??= position;
      const failure = toSinkError(error);
      if (failure.kind === 'fenced' || failure instanceof OverdueError) this.#failure = failure;
      this.#stream.logger.debug(
        { err: error, producer: this.#producer.identity.transactionalId },
        'position not saved',
      );
    }
  }
}

/** Whether no other producer can have come between the two. */
function follows(now: ProducerIdentity, before: ProducerIdentity): boolean {
  return now.producerId === before.producerId && now.epoch === before.epoch + 1;
}
