import type { ReplicatorLimits } from '../shipping/batch-policy.ts';

/** Brokers forget a transactional id that had no transaction for 7 days (transactional.id.expiration.ms), some sooner. */
const POSITION_REFRESH_MS = 6 * 3600 * 1000;

/** Log bytes that may be queued in all, and by one tablet at least and at most. */
const QUEUE_TOTAL_BYTES = 24 << 20;
const QUEUE_MIN_BYTES = 128 << 10;
const QUEUE_MAX_BYTES = 2 << 20;
/** About 10,000 rows of a narrow table: enough that a transaction's own cost does not count. */
const BATCH_BYTES = 512 << 10;
const MAX_WRITE_INTERVAL_MS = 80;

/**
 * @param minWriteIntervalMs of the stream's sink
 * @param tabletCount how many share the room for queues, asked anew each time: they come and go
 */
export function limitsFor(minWriteIntervalMs: number, tabletCount: () => number): ReplicatorLimits {
  return {
    maxBatchBytes: BATCH_BYTES,
    get maxQueuedBytes() {
      return Math.min(QUEUE_MAX_BYTES, Math.max(QUEUE_MIN_BYTES, QUEUE_TOTAL_BYTES / Math.max(1, tabletCount())));
    },
    minWriteIntervalMs,
    maxWriteIntervalMs: MAX_WRITE_INTERVAL_MS,
    positionIntervalMs: 1000,
    positionRefreshMs: POSITION_REFRESH_MS,
    // Clients of sinks knock once a second themselves; a server that is back for ten seconds between two outages is to be made use of.
    retry: { baseMs: 250, capMs: 3_000 },
  };
}
