/**
 * Kudu's logical clock value: microseconds since the epoch, shifted left by 12, plus a logical counter.
 * Source: kudu/clock/hybrid_clock.h; the same scale in the log, in write responses and in ServerClock.
 */
export type HybridTime = bigint;

const LOGICAL_BITS = 12n;

/** Whole microseconds since 1970-01-01 UTC; the logical counter is dropped. */
export function hybridTimeToMicros(time: HybridTime): bigint {
  return time >> LOGICAL_BITS;
}

/** The first hybrid time of a microsecond. */
export function microsToHybridTime(micros: bigint): HybridTime {
  return micros << LOGICAL_BITS;
}
