import { waitFor } from '../../util/wait-for.ts';
import type { PlannedBatch } from './batch-planner.ts';
import type { KafkaCluster } from './cluster.ts';
import { InFlight } from './in-flight.ts';
import { OnTheWire } from './on-the-wire.ts';
import type { TabletProducer } from './tablet-producer.ts';
import { addOffsets, addPartitions, commitOffsets, endTransaction } from './transaction-steps.ts';
import { OverdueError, type TransactionTimes } from './transaction-time.ts';
import type { OffsetEntry } from './wire/apis.ts';
import { ENDED_BY_BROKER, KafkaCodeError } from './wire/error-codes.ts';

/** Requests on the way: the next is encoded while the broker works on the last. */
const MAX_IN_FLIGHT = 3;

/**
 * One Kafka transaction: records and the tablet's position, visible together or not at all.
 *
 * Round trips, one after the other: partitions and offsets join (two requests behind each other on one socket, which the
 * broker takes in order), then records and position travel side by side, then the commit. The commit waits for every
 * answer; records wait until their partition has joined, or a broker before 3.6 would never end their transaction.
 */
export class Transaction {
  readonly #cluster: KafkaCluster;
  readonly #producer: TabletProducer;
  readonly #offsets: readonly OffsetEntry[];
  readonly #requests = new InFlight(MAX_IN_FLIGHT);
  readonly #wire: OnTheWire;
  readonly #joined = new Set<string>();
  /** When the broker's clock for it started at the earliest. */
  #beganAtMs: number | null = null;
  #records = 0;
  #bytes = 0;
  #ackedBytes = 0;

  constructor(cluster: KafkaCluster, producer: TabletProducer, offsets: readonly OffsetEntry[]) {
    this.#cluster = cluster;
    this.#producer = producer;
    this.#offsets = offsets;
    this.#wire = new OnTheWire(cluster);
  }

  /**
   * A broker ends a transaction that takes too long in the words in which it refuses somebody whom another has superseded.
   * What has lasted so long was ended for that, or would be within moments.
   */
  explain(error: unknown, times: TransactionTimes): unknown {
    if (this.#beganAtMs === null || !(error instanceof KafkaCodeError && ENDED_BY_BROKER.has(error.code))) return error;
    const { transactionTime: granted, identity } = this.#producer;
    const tookMs = performance.now() - this.#beganAtMs;
    if (tookMs < granted.ms) return error;
    const progress = {
      tookMs,
      records: this.#records,
      bytes: this.#bytes,
      ackedBytes: this.#ackedBytes,
      throttledMs: this.#cluster.throttledSince(this.#beganAtMs),
    };
    return new OverdueError(progress, granted, times.ranOut(identity.transactionalId, granted), error);
  }

  /** Appends the records of one plan, of which several may follow; resolves before the broker has them all. */
  async append(plan: readonly (readonly PlannedBatch[])[], signal: AbortSignal): Promise<void> {
    await this.#join(plan, signal);
    for (const request of plan) await this.#requests.start(() => this.#send(request, signal));
  }

  async commit(signal: AbortSignal): Promise<void> {
    if (this.#beganAtMs === null) await this.#join([], signal);
    await this.#requests.drain();
    await endTransaction(this.#wire, this.#producer, 'commit', signal);
  }

  /**
   * Lets waiting consumers go on at once, instead of after the transaction's time-out. Not while a request of it may still
   * reach a broker: behind an abort of the same epoch, a broker before 3.6 takes a record for the begin of the next
   * transaction, and the next commit would bring it to light. Then the transaction stays open, until the next writer's
   * fence or the time-out ends it: both write the next epoch into every partition that joined, and what comes behind
   * that is refused.
   * @returns whether it was ended
   */
  async abort(signal: AbortSignal): Promise<boolean> {
    if ((await waitFor(this.#wire.close(), signal)) === 'lost') return false;
    if (this.#beganAtMs !== null) await endTransaction(this.#cluster, this.#producer, 'abort', signal);
    return true;
  }

  async #send(request: readonly PlannedBatch[], signal: AbortSignal): Promise<void> {
    let size = 0;
    for (const { records, bytes } of request) {
      this.#records += records.length;
      size += bytes;
    }
    this.#bytes += size;
    await this.#producer.send(request, signal, this.#wire);
    this.#ackedBytes += size;
  }

  async #join(plan: readonly (readonly PlannedBatch[])[], signal: AbortSignal): Promise<void> {
    const fresh = new Map<string, number[]>();
    for (const { topic, partition } of plan.flat()) {
      const name = `${topic.name}/${partition}`;
      if (this.#joined.has(name)) continue;
      this.#joined.add(name);
      const partitions = fresh.get(topic.name);
      if (partitions === undefined) fresh.set(topic.name, [partition]);
      else partitions.push(partition);
    }
    const first = this.#beganAtMs === null;
    this.#beganAtMs ??= performance.now();
    const topics = Array.from(fresh, ([topic, partitions]) => ({ topic, partitions }));
    await Promise.all([
      topics.length > 0 ? addPartitions(this.#wire, this.#producer, topics, signal) : null,
      first ? addOffsets(this.#wire, this.#producer, signal) : null,
    ]);
    if (first) await this.#requests.start(() => commitOffsets(this.#wire, this.#producer, this.#offsets, signal));
  }
}
