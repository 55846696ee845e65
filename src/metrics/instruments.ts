import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const TABLET = ['stream', 'table', 'tablet'] as const;
/** Histograms are kept per table: with buckets, a series for each of hundreds of tablets would be too many. */
const TABLE = ['stream', 'table'] as const;

/** Commit to acknowledgement: from one millisecond, a hop on loopback, to ten minutes, a sink that was down. */
const LATENCY_BUCKETS_S = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
];
const TRANSACTION_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];
const TABLETS_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];
const BATCH_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000];

/** A transaction has many tablets, of many tables. */
const STREAM = ['stream'] as const;

/** Every instrument of contract 6, made in `registry`. */
export function createInstruments(registry: Registry) {
  const registers = [registry];
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames: TABLET, registers });
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames: TABLET, registers });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, labelNames: TABLE, buckets, registers });
  return {
    /** Without labels. */
    freePercent: new Gauge({
      name: 'spoor_hold_free_percent',
      help: 'Free space of the disk of the held logs; below SPOOR_HOLD_MIN_FREE_PERCENT the oldest are let go of.',
      registers,
    }),
    /** Of the sidecar as a whole. */
    sidecar: {
      about: new Gauge({
        name: 'spoor_build_info',
        help: 'Always 1: the version of this sidecar, and the tablet server that it stands beside.',
        labelNames: ['version', 'tserver'],
        registers,
      }),
      kuduUp: new Gauge({
        name: 'spoor_kudu_up',
        help: '1 while Kudu answers this sidecar, 0 while it does not; what ships goes on meanwhile.',
        registers,
      }),
      clockOffset: new Gauge({
        name: 'spoor_clock_offset_seconds',
        help: "By how much Kudu's time is ahead of this machine's; absent while Kudu has told no time of day.",
        registers,
      }),
      unattended: new Gauge({
        name: 'spoor_tserver_without_sidecar',
        help: 'Always 1: a tablet server, by its uuid, that has replicas of streamed tablets as the one here has, and no living sidecar.',
        labelNames: ['tserver'],
        registers,
      }),
    },
    /** What keeps a tablet from running. */
    tabletError: new Gauge({
      name: 'spoor_tablet_error',
      help: 'Always 1: what keeps a tablet that is blocked, or has a gap, by its code in docs/errors.md.',
      labelNames: [...TABLET, 'code'],
      registers,
    }),
    gauges: {
      applyIndex: gauge(
        'spoor_apply_index',
        'Index of the apply OpId: up to here the sink has every committed operation.',
      ),
      committedIndex: gauge('spoor_committed_index', 'Index of the last operation that the tablet committed.'),
      lagOps: gauge('spoor_lag_ops', 'Committed operations that the sink has not acknowledged.'),
      lagSeconds: gauge(
        'spoor_lag_seconds',
        'Age of the oldest committed operation that the sink has not acknowledged.',
      ),
      holdIndex: gauge('spoor_hold_index', 'Index from which on the log is held.'),
      holdBytes: gauge('spoor_hold_bytes', 'Size of the held log in bytes.'),
      holdAge: gauge('spoor_hold_age_seconds', 'Age of the oldest part of the held log.'),
      holdSecondsLeft: gauge(
        'spoor_hold_seconds_until_limit',
        'Until SPOOR_HOLD_MAX_BYTES or SPOOR_HOLD_MAX_AGE_S lets go of the held log at its present growth; absent while none is in sight.',
      ),
      unmarkedOps: gauge(
        'spoor_unmarked_ops',
        'Acknowledged operations that no apply marker tells of yet: what a crash may make at-least-once repeat.',
      ),
      copyRows: gauge('spoor_copy_rows', 'Rows of the copy under way that the sink has; absent while there is none.'),
      copyTotalRows: gauge('spoor_copy_total_rows', 'Rows that this copy has in all; absent before they are counted.'),
      copySecondsLeft: gauge('spoor_copy_seconds_left', 'Until this copy is whole, at the pace so far.'),
      tabletState: new Gauge({
        name: 'spoor_tablet_state',
        help: '1 for the state that the tablet is in, 0 for the others.',
        labelNames: [...TABLET, 'state'],
        registers,
      }),
    },
    counters: {
      recordsShipped: counter('spoor_records_shipped_total', 'Records that the sink acknowledged.'),
      bytesShipped: counter('spoor_bytes_shipped_total', 'Bytes of the keys and values of these records.'),
      rowsRejected: counter('spoor_rows_rejected_total', 'Rows that Kudu rejected or ignored, which make no record.'),
      sinkErrors: counter('spoor_sink_errors_total', 'Writes that the sink refused or did not acknowledge.'),
      markersWritten: counter('spoor_markers_written_total', "Apply markers written to the tablet's log."),
      leaderChanges: counter(
        'spoor_leader_changes_total',
        'Times that the replica beside this sidecar began or ceased to lead.',
      ),
      resyncs: counter('spoor_resyncs_total', 'Repairs of a gap, and copies that were asked for.'),
    },
    histograms: {
      shipLatency: histogram(
        'spoor_ship_latency_seconds',
        'From the commit of an operation in Kudu to its acknowledgement by the sink.',
        LATENCY_BUCKETS_S,
      ),
      batchRecords: histogram('spoor_batch_records', 'Records that were acknowledged at once.', BATCH_BUCKETS),
    },
    nonFinite: new Counter({
      name: 'spoor_non_finite_values_total',
      help: 'NaN and infinities that were written as null.',
      labelNames: STREAM,
      registers,
    }),
    transactions: {
      ended: new Counter({
        name: 'spoor_transactions_total',
        help: 'Transactions of the sink by outcome: committed, fenced by another sidecar, overdue, or failed.',
        labelNames: [...STREAM, 'outcome'],
        registers,
      }),
      seconds: new Histogram({
        name: 'spoor_transaction_seconds',
        help: 'How long a transaction of the sink took, committed or not.',
        labelNames: STREAM,
        buckets: TRANSACTION_BUCKETS_S,
        registers,
      }),
      tablets: new Histogram({
        name: 'spoor_transaction_tablets',
        help: 'Tablets in a transaction of the sink.',
        labelNames: STREAM,
        buckets: TABLETS_BUCKETS,
        registers,
      }),
    },
  };
}
export type Instruments = ReturnType<typeof createInstruments>;
