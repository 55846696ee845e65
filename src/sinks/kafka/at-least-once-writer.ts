import type { SinkRecord } from '../../change/record.ts';
import type { TabletWriter } from '../sink.ts';
import { isAhead, type SinkPosition } from '../../change/position.ts';
import { SinkError } from '../sink.ts';
import { InFlight } from './in-flight.ts';
import { toSinkError } from './kafka-error.ts';
import { encodePosition } from './position.ts';
import type { StreamContext, TabletProducer } from './tablet-producer.ts';
import { Transaction } from './transaction.ts';
import type { ProducerIdentity } from './wire/apis.ts';

/** The position in Kafka follows the records by at most this: what a crash may make them repeat. */
const POSITION_EVERY_MS = 1_000;
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
  /** Durable in Kafka, not yet said there. */
  #unsaid: SinkPosition | null = null;
  #saved: SinkPosition | null;
  #failure: SinkError | null = null;
  #timer: NodeJS.Timeout | null = null;
  #saying: Promise<void> = Promise.resolve();
  #disposed = false;

  constructor(
    stream: StreamContext,
    producer: TabletProducer,
    generation: string,
    committed: SinkPosition | null,
    acked: AckedPosition,
  ) {
    this.#stream = stream;
    this.#producer = producer;
    this.#generation = generation;
    this.#acked = acked;
    this.#saved = committed;
    const { last } = acked;
    if (last !== null && follows(producer.identity, last.by) && isAhead(last.position, committed))
      this.#unsaid = last.position;
    this.position = this.#unsaid ?? committed;
    this.#saveLater();
  }

  get saved(): SinkPosition | null {
    return this.#saved;
  }

  get sinkId(): string {
    return `kafka:${this.#stream.cluster.clusterId ?? ''}`;
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
    this.#acked.last = { position, by: this.#producer.identity };
    // The first one is said at once: a successor without any would begin where the stream did.
    if (this.#saved === null) await this.#savePosition();
    this.#throwIfFailed();
    this.#saveLater();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#saying;
    if (this.#failure === null) await this.#savePosition();
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  #saveLater(): void {
    if (this.#unsaid === null || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#saying = this.#savePosition().then(() => {
        if (this.#failure === null && !this.#disposed) this.#saveLater();
      });
    }, POSITION_EVERY_MS).unref();
  }

  /** Failing costs repeats and nothing else, and is tried again; but fenced is fenced. */
  async #savePosition(): Promise<void> {
    const position = this.#unsaid;
    if (position === null) return;
    this.#unsaid = null;
    try {
      const signal = AbortSignal.timeout(LAST_POSITION_WITHIN_MS);
      const topics = await this.#producer.positionTopics(position.tableName, signal);
      const offsets = encodePosition(position, this.#generation, topics);
      await new Transaction(this.#stream.cluster, this.#producer, offsets).commit(signal);
      this.#saved = position;
    } catch (error) {
      this.#unsaid ??= position;
      const failure = toSinkError(error);
      if (failure.kind === 'fenced') this.#failure = failure;
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
