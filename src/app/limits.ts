import type { ReplicatorLimits } from '../shipping/batch-policy.ts';
import type { StoredStream } from '../streams/stored-stream.ts';

/** Brokers forget a transactional id that had no transaction for 7 days (transactional.id.expiration.ms), some sooner. */
const POSITION_REFRESH_MS = 6 * 3600 * 1000;

/** Log bytes that may be queued in all, and by one tablet at least and at most. */
const QUEUE_TOTAL_BYTES = 24 << 20;
const QUEUE_MIN_BYTES = 128 << 10;
const QUEUE_MAX_BYTES = 2 << 20;
/** About 10,000 rows of a narrow table: enough that a transaction's own cost does not count. */
const BATCH_BYTES = 512 << 10;
/** A transaction is several round trips; one every so often costs little and delays little. */
const EXACTLY_ONCE_WRITE_INTERVAL_MS = 10;
const AT_LEAST_ONCE_WRITE_INTERVAL_MS = 2;
const MAX_WRITE_INTERVAL_MS = 80;

/** @param tabletCount how many share the room for queues, asked anew each time: they come and go */
export function limitsFor({ definition }: StoredStream, tabletCount: () => number): ReplicatorLimits {
  const exactlyOnce = definition.sink.delivery === 'exactly-once';
  return {
    maxBatchBytes: BATCH_BYTES,
    get maxQueuedBytes() {
      return Math.min(QUEUE_MAX_BYTES, Math.max(QUEUE_MIN_BYTES, QUEUE_TOTAL_BYTES / Math.max(1, tabletCount())));
    },
    minWriteIntervalMs: exactlyOnce ? EXACTLY_ONCE_WRITE_INTERVAL_MS : AT_LEAST_ONCE_WRITE_INTERVAL_MS,
    maxWriteIntervalMs: MAX_WRITE_INTERVAL_MS,
    positionIntervalMs: 1000,
    positionRefreshMs: POSITION_REFRESH_MS,
    // Kafka's own clients knock once a second; a broker that is back for ten seconds between two outages is to be made use of.
    retry: { baseMs: 250, capMs: 3_000 },
  };
}
