import { copyUnderWay, type TabletPosition } from '../change/position.ts';
import type { Backoff } from '../util/backoff.ts';
import type { ReadQueue } from './read-queue.ts';

export interface ReplicatorLimits {
  /** A write takes reads until they are this large in the log; at least one. */
  readonly maxBatchBytes: number;
  /** Reading pauses while more than this, measured in the log, is queued. */
  readonly maxQueuedBytes: number;
  /** Under steady load writes start at least this far apart unless a batch is full; a lone row is not held back. */
  readonly minWriteIntervalMs: number;
  /** However slow the sink is. */
  readonly maxWriteIntervalMs: number;
  /** A position without records is written at most this often. */
  readonly positionIntervalMs: number;
  /** A position that has not moved for so long is written again: sinks may forget what is old (Kafka its transactional ids). */
  readonly positionRefreshMs: number;
  readonly retry: Backoff;
}

/** What is queued, and what is known of the last write. */
export interface Queued {
  readonly queue: ReadQueue;
  readonly lastWriteAtMs: number;
  readonly lastWriteTookMs: number;
}

/** In how many milliseconds the queue is to be written, 0 and less for now. @param goesOn more may come meanwhile */
export function writeDueInMs(queued: Queued, goesOn: boolean, nowMs: number, limits: ReplicatorLimits): number {
  const { queue, lastWriteAtMs, lastWriteTookMs } = queued;
  if (!goesOn || queue.bytes >= limits.maxBatchBytes) return 0;
  // A sink that is slow because it is busy gets fewer and larger writes: it is never asked more than two thirds of the time.
  const restMs = Math.max(limits.minWriteIntervalMs, Math.min(1.5 * lastWriteTookMs, limits.maxWriteIntervalMs));
  if (queue.hasRecords) return lastWriteAtMs + restMs - nowMs;
  return (queue.at(0)?.readAtMs ?? nowMs) + limits.positionIntervalMs - nowMs;
}

/**
 * How many of the oldest reads one write takes. A write ends where a rewind begins: behind that rows come again, and within one
 * write they rise, which sinks go by that have some of it.
 * @param acked where the queue begins
 */
export function countForBatch(queue: ReadQueue, maxBatchBytes: number, acked: Pick<TabletPosition, 'opId'>): number {
  const most = countBySize(queue, maxBatchBytes);
  let before = acked.opId.index;
  for (let i = 0; i < most; i++) {
    const { upTo } = queue.at(i)!;
    if (upTo.opId.index > before && copyUnderWay(upTo)?.onlyLog) return i + 1;
    before = upTo.opId.index;
  }
  return most;
}

function countBySize(queue: ReadQueue, maxBatchBytes: number): number {
  if (queue.bytes <= maxBatchBytes) return queue.length;
  let bytes = 0;
  return Math.max(
    1,
    queue.findIndex((read) => (bytes += read.bytes) > maxBatchBytes),
  );
}
