import type { ReplicationMetrics } from '../../src/replication/views.ts';

/** Counts nothing. */
export const NO_METRICS: ReplicationMetrics = {
  shipped: () => undefined,
  rowsRejected: () => undefined,
  sinkError: () => undefined,
  leaderChange: () => undefined,
  resynced: () => undefined,
};
