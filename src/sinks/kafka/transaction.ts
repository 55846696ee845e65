import { waitFor } from '../../util/wait-for.ts';
import type { PlannedBatch } from './batch-planner.ts';
import type { KafkaCluster } from './cluster.ts';
import { InFlight } from './in-flight.ts';
import type { TabletProducer } from './tablet-producer.ts';
import { addOffsets, addPartitions, commitOffsets, endTransaction } from './transaction-steps.ts';
import type { OffsetEntry } from './wire/apis.ts';

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
  readonly #joined = new Set<string>();
  #offsetsJoined = false;

  constructor(cluster: KafkaCluster, producer: TabletProducer, offsets: readonly OffsetEntry[]) {
    this.#cluster = cluster;
    this.#producer = producer;
    this.#offsets = offsets;
  }

  /** Appends the records of one plan, of which several may follow; resolves before the broker has them all. */
  async append(plan: readonly (readonly PlannedBatch[])[], signal: AbortSignal): Promise<void> {
    await this.#join(plan, signal);
    for (const request of plan) await this.#requests.start(() => this.#producer.send(request, signal));
  }

  async commit(signal: AbortSignal): Promise<void> {
    if (!this.#offsetsJoined) await this.#join([], signal);
    await this.#requests.drain();
    await endTransaction(this.#cluster, this.#producer, 'commit', signal);
  }

  /** Lets waiting consumers go on at once, instead of after the transaction's time-out. */
  async abort(signal: AbortSignal): Promise<void> {
    await waitFor(this.#requests.settle(), signal); // no record may arrive behind the abort
    if (this.#offsetsJoined) await endTransaction(this.#cluster, this.#producer, 'abort', signal);
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
    const first = !this.#offsetsJoined;
    this.#offsetsJoined = true;
    const topics = Array.from(fresh, ([topic, partitions]) => ({ topic, partitions }));
    await Promise.all([
      topics.length > 0 ? addPartitions(this.#cluster, this.#producer, topics, signal) : null,
      first ? addOffsets(this.#cluster, this.#producer, signal) : null,
    ]);
    if (first) await this.#requests.start(() => commitOffsets(this.#cluster, this.#producer, this.#offsets, signal));
  }
}
