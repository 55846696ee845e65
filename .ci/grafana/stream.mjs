import {
  stat,
  chart,
  table,
  variable,
  dashboard,
  linkTo,
  GOOD_IS_ZERO,
  ODD_IS_ONE,
  LATENESS,
  STATE_FIELDS,
} from './panels.mjs';

export const stream = dashboard(
  'spoor-stream',
  'One stream: how late it is, what its sink says, and which tablets are not as usual.',
  [
    variable('stream', 'Stream', 'label_values(spoor_tablet_state, stream)'),
    variable('table', 'Table', 'label_values(spoor_tablet_state{stream="$stream"}, table)', { multi: true }),
  ],
  [
    [
      stat('Tablets shipped', 'count(count by (tablet) (spoor_tablet_state{stream="$stream",table=~"$table"}))', {
        unit: 'none',
      }),
      stat(
        'Not running',
        'count(spoor_tablet_state{stream="$stream",table=~"$table",state!="running"} == 1) or vector(0)',
        { unit: 'none', thresholds: ODD_IS_ONE },
      ),
      stat('With an error', 'count(spoor_tablet_error{stream="$stream",table=~"$table"}) or vector(0)', {
        unit: 'none',
        thresholds: GOOD_IS_ZERO,
      }),
      stat('Lag', 'max(spoor_lag_seconds{stream="$stream",table=~"$table"}) or vector(0)', {
        unit: 's',
        thresholds: LATENESS,
      }),
      stat('Operations that wait', 'sum(spoor_lag_ops{stream="$stream",table=~"$table"}) or vector(0)', {
        unit: 'short',
      }),
      stat('Copies end in', 'max(spoor_copy_seconds_left{stream="$stream",table=~"$table"})', { unit: 's' }),
    ],
    'What is shipped',
    [
      chart('Lag', 'max by (table) (spoor_lag_seconds{stream="$stream",table=~"$table"})', {
        unit: 's',
        legend: '{{table}}',
      }),
      chart('Records', 'sum by (table) (rate(spoor_records_shipped_total{stream="$stream",table=~"$table"}[5m]))', {
        unit: 'cps',
        legend: '{{table}}',
      }),
      chart('Bytes', 'sum by (table) (rate(spoor_bytes_shipped_total{stream="$stream",table=~"$table"}[5m]))', {
        unit: 'Bps',
        legend: '{{table}}',
      }),
    ],
    [
      chart(
        'Commit in Kudu to acknowledgement by the sink',
        ['0.5', '0.99'].map((quantile) => [
          `histogram_quantile(${quantile}, sum by (le) (rate(spoor_ship_latency_seconds_bucket{stream="$stream",table=~"$table"}[5m])))`,
          quantile === '0.5' ? 'p50' : 'p99',
        ]),
        { unit: 's' },
      ),
      chart(
        'Records acknowledged at once, median',
        'histogram_quantile(0.5, sum by (le, table) (rate(spoor_batch_records_bucket{stream="$stream",table=~"$table"}[5m])))',
        { unit: 'short', legend: '{{table}}' },
      ),
      chart(
        'Rows that Kudu rejected, and values written as null',
        [
          ['sum(rate(spoor_rows_rejected_total{stream="$stream",table=~"$table"}[5m]))', 'rejected rows'],
          ['sum(rate(spoor_non_finite_values_total{stream="$stream"}[5m]))', 'NaN and infinities'],
        ],
        { unit: 'cps' },
      ),
    ],
    'Its sink',
    [
      chart('Transactions', 'sum by (outcome) (rate(spoor_transactions_total{stream="$stream"}[5m]))', {
        unit: 'cps',
        legend: '{{outcome}}',
      }),
      chart(
        'A transaction, p99',
        'histogram_quantile(0.99, sum by (le, instance) (rate(spoor_transaction_seconds_bucket{stream="$stream"}[5m])))',
        { unit: 's', legend: '{{instance}}' },
      ),
      chart(
        'Tablets in a transaction, median',
        'histogram_quantile(0.5, sum by (le, instance) (rate(spoor_transaction_tablets_bucket{stream="$stream"}[5m])))',
        { unit: 'short', legend: '{{instance}}' },
      ),
      chart(
        'Writes refused or not acknowledged',
        'sum by (table) (rate(spoor_sink_errors_total{stream="$stream",table=~"$table"}[5m]))',
        { unit: 'cps', legend: '{{table}}' },
      ),
    ],
    'Its tablets',
    [
      chart('By state', 'sum by (state) (spoor_tablet_state{stream="$stream",table=~"$table"})', {
        unit: 'none',
        legend: '{{state}}',
        stack: true,
        fields: STATE_FIELDS,
      }),
      chart(
        'The ten that are latest',
        'topk(10, max by (stream, table, tablet) (spoor_lag_seconds{stream="$stream",table=~"$table"}))',
        { unit: 's', legend: '{{table}} {{tablet}}', links: [linkTo.tablet] },
      ),
      chart(
        'The ten that hold most',
        'topk(10, max by (stream, table, tablet) (spoor_hold_bytes{stream="$stream",table=~"$table"}))',
        { unit: 'bytes', legend: '{{table}} {{tablet}}', links: [linkTo.tablet] },
      ),
    ],
    [
      table(
        'With an error',
        'max by (table, tablet, code, instance) (spoor_tablet_error{stream="$stream",table=~"$table"})',
        {
          unit: 'none',
          description: 'Codes: docs/errors.md. What to do: docs/operations-by-symptom.md.',
          links: [
            {
              title: 'Tablet ${__data.fields.tablet}',
              url: '/d/spoor-tablet?${datasource:queryparam}&var-stream=${stream}&var-tablet=${__data.fields.tablet}&${__url_time_range}',
            },
          ],
        },
      ),
      chart('Copies: rows in the sink, and in all', [
        ['sum by (table) (spoor_copy_rows{stream="$stream",table=~"$table"})', '{{table}}'],
        ['sum by (table) (spoor_copy_total_rows{stream="$stream",table=~"$table"})', '{{table}}, in all'],
      ]),
    ],
  ],
);
