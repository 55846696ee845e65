import type { ReplicationMetrics } from '../../src/api/counters.ts';

/** Counts nothing. */
export const NO_METRICS: ReplicationMetrics = {
  shipped: () => undefined,
  rowsRejected: () => undefined,
  sinkError: () => undefined,
  leaderChange: () => undefined,
  resynced: () => undefined,
  markerWritten: () => undefined,
};
