import type { RecordBatch } from '../../change/record-batch.ts';
import type { SinkError, SinkTablet, TabletWriter } from '../sink.ts';
import type { TabletPosition } from '../../change/position.ts';
import type { Logger } from '../../util/logger.ts';
import type { Slots } from '../../util/slots.ts';
import { steadyNow } from '../../util/steady-clock.ts';
import { waitFor } from '../../util/wait-for.ts';
import type { AckedTrail } from './acked-trail.ts';
import { BatchesInUse } from './batches-in-use.ts';
import type { KafkaCluster } from './cluster.ts';
import { InFlight } from './in-flight.ts';
import { toSinkError } from './kafka-error.ts';
import type { Throttling } from './connections.ts';
import type { TabletClaim } from './lanes/tablet-claim.ts';
import { releaseSoon } from './lanes/lane-writer.ts';
import type { Producer } from './producer.ts';
import type { RecordPlanner } from './record-planner.ts';

/** The position in Kafka follows the records by at most this: what a crash may make them repeat. */
const POSITION_EVERY_MS = 1_000;
/** At a stop: what does not get there by then is repeated. Before that a slow broker may take its time. */
const LAST_POSITION_WITHIN_MS = 3_000;
const MAX_IN_FLIGHT = 3;

export interface AtLeastOnceOptions {
  readonly cluster: KafkaCluster;
  /** The tablet's own. */
  readonly producer: Producer;
  /** Of the tablet's writers in this process; it knows of the producer's epoch. */
  readonly trail: AckedTrail;
  readonly planner: RecordPlanner;
  /** By which positions are written. */
  readonly claim: TabletClaim;
  /** When the writer is opened. */
  readonly tableName: string;
  /** How many tablets write at a time: each keeps records encoded meanwhile. */
  readonly writeSlots: Slots;
  readonly logger: Logger;
  readonly sinkId: (tableName: string) => string;
  readonly failure: (error: unknown) => SinkError;
  readonly onSaved: SinkTablet['onSaved'];
  readonly onFenced: SinkTablet['onFenced'];
}

/**
 * Records are appended at once and are durable when `write` resolves (acks = all); the position follows now and then,
 * and when the writer is disposed. A successor repeats what lies between.
 *
 * The position is written by a lane, for the fence: a writer that was superseded, and does not know it yet, must not move it.
 * The successor has begun to repeat; were it killed now, and the next one went on from the position of the superseded
 * one, then the topic's last word would be an old value. The records are fenced by the producer's epoch, which is the
 * tablet's own: a sidecar that was frozen while another took over cannot append an old value behind a newer one of the
 * same key, nor can a request that got stuck on the way.
 */
export class AtLeastOnceWriter implements TabletWriter {
  readonly position: TabletPosition | null;
  readonly #options: AtLeastOnceOptions;
  /** Ends a save that is under way, see {@link LAST_POSITION_WITHIN_MS}. */
  readonly #hurry = new AbortController();
  #tableName: string;
  /** Durable in Kafka, not yet said there. */
  #unsaid: TabletPosition | null = null;
  #saved: TabletPosition | null;
  #failure: SinkError | null = null;
  #slotWait: Throttling | null = null;
  /** The next save, until it is done. */
  #timer: NodeJS.Timeout | null = null;
  #saving: Promise<void> = Promise.resolve();
  #disposed = false;

  constructor(options: AtLeastOnceOptions, committed: TabletPosition | null) {
    const { producer, tableName, trail } = options;
    this.#options = options;
    this.#saved = committed;
    this.#unsaid = trail.beyond(committed, producer.opened.identity);
    this.position = this.#unsaid ?? committed;
    this.#tableName = this.position?.tableName ?? tableName;
    this.#saveLater();
  }

  get saved(): TabletPosition | null {
    return this.#saved;
  }

  get waits(): Throttling | null {
    const { producer, cluster } = this.#options;
    return this.#slotWait ?? cluster.throttling(producer.opened.channel);
  }

  get sinkId(): string {
    return this.#options.sinkId(this.#tableName);
  }

  async write(batches: Iterable<RecordBatch>, position: TabletPosition, signal: AbortSignal): Promise<void> {
    this.#throwIfFailed();
    const requests = new InFlight(MAX_IN_FLIGHT);
    const inUse = new BatchesInUse();
    const { producer, planner, failure, writeSlots, trail } = this.#options;
    try {
      this.#slotWait = { for: 'a place among the tablets that write at a time', sinceMs: steadyNow() };
      const giveBack = await writeSlots.acquire(signal).finally(() => (this.#slotWait = null));
      try {
        for (const batch of batches) {
          const planned = await planner.plan(batch, signal);
          inUse.planned(batch, planned);
          for (const request of planned)
            await requests.start(async () => {
              await producer.send(request, signal);
              inUse.answered(request);
            });
        }
        await requests.drain();
      } finally {
        giveBack();
      }
    } catch (error) {
      throw (this.#failure = failure(error));
    }
    this.#unsaid = position;
    this.#tableName = position.tableName;
    trail.acked(position, producer.opened.identity);
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
    await releaseSoon(this.#options.claim, this.#options.logger);
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
    const { claim, logger } = this.#options;
    try {
      await claim.write(null, position, this.#hurry.signal);
    } catch (error) {
      this.#unsaid ??= position;
      const failure = toSinkError(error);
      logger.debug({ err: error, tablet: claim.tablet }, 'position not saved');
      if (failure.kind === 'fenced') {
        this.#failure = failure;
        this.#options.onFenced?.(failure);
      }
      return;
    }
    this.#saved = position;
    this.#options.onSaved?.(position);
  }
}
