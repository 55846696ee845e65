export interface TabletLabels {
  readonly stream: string;
  readonly table: string;
  readonly tablet: string;
}

/** What the core counts; metrics/ implements it with prom-client, tests with nothing. Times in seconds. */
export interface ReplicationMetrics {
  shipped(labels: TabletLabels, records: number, bytes: number, latenciesSeconds: readonly number[]): void;
  rowsRejected(labels: TabletLabels, rows: number): void;
  sinkError(labels: TabletLabels): void;
  leaderChange(labels: TabletLabels): void;
  /** A repair, or a copy that was asked for, is whole. */
  resynced(labels: TabletLabels): void;
  /** A marker was written that speaks of the stream. */
  markerWritten(labels: TabletLabels): void;
}
