import { setTimeout as sleep } from 'node:timers/promises';
import { RecordBatch } from '../../../change/record-batch.ts';
import type { Logger } from '../../../util/logger.ts';
import { SinkError } from '../../sink.ts';
import type { KafkaCluster, Topic } from '../cluster.ts';
import { partitionForKey } from '../murmur2.ts';
import { TOPIC_APPEARS } from '../topics.ts';
import { whileSettling } from '../wait.ts';
import { PRODUCE } from '../wire/transaction-apis.ts';
import { failOnErrorCode, OFFSET_OUT_OF_RANGE } from '../wire/error-codes.ts';
import { END_OFFSETS, FETCH } from '../wire/fetch.ts';
import { encodeProduceRequest } from '../wire/record-batch.ts';
import { readStoredBatches } from '../wire/record-batch-reader.ts';
import { leaderOf, type Place } from './places.ts';
import {
  decodeEntry,
  encodeClaim,
  encodeDecision,
  NO_TIMESTAMP_MS,
  type KeyAndValue,
  type PositionsOwner,
} from './positions-codec.ts';
import { POSITIONS_PARTITIONS, PositionsTopic, type PositionsTopicOptions } from './positions-topic.ts';
import type { Decision, LaneId, PositionsEntry } from './positions-view.ts';

export interface PositionsPartitionOptions extends PositionsTopicOptions {
  /** Whose positions they are: the partition is found by it. */
  readonly owner: PositionsOwner;
  /** To be told what the partition holds, in its order; it may be told again from the beginning. */
  readonly onEntries: (entries: readonly PositionsEntry[]) => void;
  /** The topic was deleted and made anew: whatever was told of it is no more. */
  readonly onAnew: () => void;
  readonly logger: Logger;
}

/** Sockets of their own: a fetch that waits would hold up all that stands behind it. */
const TAIL_CHANNEL = 100;
const READ_CHANNEL = 101;
/** What others write is news of no hurry; a broker that waits for more of it is asked less often. */
const TAIL_WAIT_MS = 1_000;
const TAIL_MIN_BYTES = 256 << 10;
const MAX_FETCH_BYTES = 4 << 20;
/**
 * In less nothing can be compacted that is behind the end: it has to be written, its segment to be rolled, and the cleaner to
 * come by (log.cleaner.backoff.ms, 15 s). A broker may need so long for every answer: then what was read is as new as can be.
 */
const READ_WITHIN_MS = 5_000;
const MAX_PASSES = 3;
const TAIL_PAUSE_MS = 500;

/**
 * The partition of the positions topic where a stream's positions and claims are: kept in view by a reader of its tail, and
 * read to its end where it matters. It is read `read_uncommitted`, see {@link PositionsView}.
 *
 * Errors: every method rejects as the cluster does, or with {@link SinkError}.
 */
export class PositionsPartition implements AsyncDisposable {
  readonly #cluster: KafkaCluster;
  readonly #options: PositionsPartitionOptions;
  readonly #topic: PositionsTopic;
  readonly #number: number;
  readonly #stop = new AbortController();
  /** Up to here, and without it, was told. */
  #next = 0n;
  /** Of which making of the topic. */
  #topicId: string | null = null;
  /** Producers that have written there and whose transaction had no end up to here. */
  readonly #open = new Set<bigint>();
  #tail: Promise<void> | null = null;

  constructor(cluster: KafkaCluster, options: PositionsPartitionOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#topic = new PositionsTopic(cluster, options, this.#stop.signal);
    const { installation, stream } = options.owner;
    this.#number = partitionForKey(Buffer.from(`${installation}/${stream}`), POSITIONS_PARTITIONS);
  }

  get owner(): PositionsOwner {
    return this.#options.owner;
  }

  /** Where it is. @throws {SinkError} `refused`: it is not as it has to be */
  async place(signal: AbortSignal): Promise<Place> {
    return { topic: await this.#topic.find(signal), partition: this.#number };
  }

  /** After an error: its leader may be another one. */
  forgetTopic(): void {
    this.#topic.forget();
  }

  /**
   * Tells whatever the partition has at this moment, and from then on what comes. What takes long, as where we were frozen, is
   * done again: compaction may have taken a claim away before we came to it, since a newer one of the same lane and tablet
   * stands behind the end that we had asked for. (Found by the simulation of lanes.)
   */
  async readToEnd(signal: AbortSignal): Promise<void> {
    for (let pass = 1; ; pass++) {
      const beganAtMs = performance.now();
      await this.#patiently(() => this.#readToEnd(signal), signal);
      if (performance.now() - beganAtMs < READ_WITHIN_MS || pass === MAX_PASSES) return;
    }
  }

  async #readToEnd(signal: AbortSignal): Promise<void> {
    this.#tail ??= this.#follow();
    const { topic, leader } = await this.#leader(signal);
    const request = [{ topic: topic.name, partitions: [this.#number] }];
    const [answer] = await this.#cluster.send(leader, READ_CHANNEL, END_OFFSETS, request, signal);
    if (answer === undefined) throw new SinkError('unavailable', `Kafka gives no end of ${this.#say()}`);
    failOnErrorCode(answer.errorCode, `the end of ${this.#say()}`);
    const end = answer.offset;
    while (this.#next < end) {
      const from = this.#next;
      const isEmpty = await this.#fetch(READ_CHANNEL, { maxWaitMs: 0, minBytes: 1 }, signal);
      // Compaction may have taken the last offsets: markers of transactions of which nothing is left.
      if (isEmpty && this.#next === from) this.#next = end;
    }
  }

  /**
   * Appends a claim for each tablet. An answer that is lost leaves claims behind of which nobody knows: whoever holds the
   * tablets then gives them up, and claims them anew.
   * @returns the offset of each claim
   */
  async claim(tablets: readonly string[], lane: LaneId, signal: AbortSignal): Promise<Map<string, bigint>> {
    return this.#patiently(() => this.#claim(tablets, lane, signal), signal);
  }

  async #claim(tablets: readonly string[], lane: LaneId, signal: AbortSignal): Promise<Map<string, bigint>> {
    const { owner } = this.#options;
    const first = await this.#append(
      tablets.map((tablet) => encodeClaim(owner, tablet, lane)),
      `a claim in ${this.#say()}`,
      signal,
    );
    return new Map(tablets.map((tablet, at) => [tablet, first + BigInt(at)]));
  }

  /** To be read before anybody ends what is open of that lane here; see {@link OpenEnds}. */
  async note(lane: LaneId, decision: Decision, signal: AbortSignal): Promise<void> {
    const record = encodeDecision(this.#options.owner, lane, decision);
    await this.#patiently(() => this.#append([record], `a decision in ${this.#say()}`, signal), signal);
  }

  /** @returns offset of the first */
  async #append(entries: readonly KeyAndValue[], what: string, signal: AbortSignal): Promise<bigint> {
    const { topic, leader } = await this.#leader(signal);
    const timestampMs = NO_TIMESTAMP_MS;
    const records = RecordBatch.of(
      entries.map(({ key, value }) => ({ kind: 'row', table: '', key, value, position: '', timestampMs })),
    );
    const parts = [{ batch: records, records: [...entries.keys()] }];
    const batch = { topic: topic.name, partition: this.#number, parts, count: entries.length, baseSequence: -1 };
    const timeoutMs = this.#cluster.patienceWith(leader).brokerMs;
    const bytes = encodeProduceRequest([batch], { transactionalId: null, producerId: -1n, epoch: -1, timeoutMs });
    const [answer] = await this.#cluster.send(leader, READ_CHANNEL, PRODUCE, bytes, signal);
    if (answer === undefined) throw new SinkError('unavailable', `Kafka says nothing of ${what}`);
    failOnErrorCode(answer.errorCode, what, answer.message);
    return answer.baseOffset;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the lane was closed'));
    await this.#tail;
  }

  /** A partition that has another leader, or none for the moment, is looked up again. */
  async #patiently<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const tryOnce = async (): Promise<T> => {
      try {
        return await attempt();
      } catch (error) {
        this.forgetTopic();
        throw error;
      }
    };
    return whileSettling(tryOnce, TOPIC_APPEARS, signal);
  }

  async #leader(signal: AbortSignal): Promise<{ topic: Topic; leader: number }> {
    const place = await this.place(signal);
    const { topic } = place;
    if (this.#topicId !== null && topic.id !== this.#topicId) {
      this.#options.logger.warn(
        { topic: topic.name, was: this.#topicId, is: topic.id },
        'the topic of positions was made anew: where the stream stands, sidecars that go on still know, and apply markers about',
      );
      this.#beginAgain();
      this.#options.onAnew();
    }
    this.#topicId = topic.id;
    return { topic, leader: leaderOf(place) };
  }

  /** Never rejects: who needs what it would have read asks by {@link readToEnd}, and hears. */
  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted)
      try {
        await this.#fetch(TAIL_CHANNEL, { maxWaitMs: TAIL_WAIT_MS, minBytes: TAIL_MIN_BYTES }, signal);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.forgetTopic();
        this.#options.logger.debug({ err: error, positions: this.#say() }, 'reading positions failed, trying again');
        await sleep(TAIL_PAUSE_MS, undefined, { signal }).catch(() => undefined);
      }
  }

  /** @returns whether there was nothing */
  async #fetch(
    channel: number,
    patience: { readonly maxWaitMs: number; readonly minBytes: number },
    signal: AbortSignal,
  ): Promise<boolean> {
    const { topic, leader } = await this.#leader(signal);
    const where = { topic: topic.name, partition: this.#number, offset: this.#next };
    const request = { ...where, ...patience, maxBytes: MAX_FETCH_BYTES, uncommitted: true };
    const fetched = await this.#cluster.send(leader, channel, FETCH, request, signal);
    if (fetched === null) {
      await sleep(TAIL_PAUSE_MS, undefined, { signal }); // a quota
      return false;
    }
    if (fetched.errorCode === OFFSET_OUT_OF_RANGE) this.#beginAgain();
    failOnErrorCode(fetched.errorCode, `the positions in ${this.#say()}`);
    this.#tell(fetched.records);
    return fetched.records.length === 0;
  }

  /** Two may have asked for the same: what was told is not told again. */
  #tell(bytes: Buffer): void {
    const entries: PositionsEntry[] = [];
    try {
      for (const { nextOffset, producerId, marker, records } of readStoredBatches(bytes)) {
        if (nextOffset <= this.#next) continue;
        if (marker === 'emptied') {
          // We have records of it that are gone by now, and cannot say whether they counted.
          if (this.#open.has(producerId)) {
            this.#beginAgain();
            throw new SinkError('unavailable', `${this.#say()} was compacted meanwhile, and is read again`);
          }
        } else if (marker) {
          this.#open.delete(producerId);
          entries.push({ kind: 'marker', offset: nextOffset - 1n, producerId, outcome: marker });
        }
        for (const { offset, key, value } of records) {
          if (offset < this.#next) continue;
          const entry = decodeEntry(this.#options.owner, { offset, producerId, key, value });
          if (!entry) continue;
          if (entry.kind === 'position') this.#open.add(producerId);
          entries.push(entry);
        }
        this.#next = nextOffset;
      }
    } catch (error) {
      if (error instanceof SinkError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new SinkError('refused', `${this.#say()} cannot be read: ${reason}`, error);
    } finally {
      if (entries.length > 0) this.#options.onEntries(entries);
    }
  }

  #beginAgain(): void {
    this.#next = 0n;
    this.#open.clear();
  }

  #say(): string {
    return `partition ${this.#number} of topic ${this.#options.positionsTopic}`;
  }
}
