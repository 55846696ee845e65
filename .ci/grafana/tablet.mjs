import { stat, chart, variable, dashboard, GOOD_IS_ZERO, LATENESS } from './panels.mjs';

const OF_TABLET = '{stream="$stream",tablet="$tablet"}';
export const tablet = dashboard(
  'spoor-tablet',
  'One tablet of a stream, at whichever sidecar ships it, and its held log at each of its replicas.',
  [
    variable('stream', 'Stream', 'label_values(spoor_tablet_state, stream)'),
    variable('tablet', 'Tablet', 'label_values(spoor_unmarked_ops{stream="$stream"}, tablet)'),
  ],
  [
    [
      stat('State', `max by (state) (spoor_tablet_state${OF_TABLET}) == 1`, { unit: 'none', legend: '{{state}}' }),
      stat('Error', `max by (code) (spoor_tablet_error${OF_TABLET})`, {
        unit: 'none',
        legend: '{{code}}',
        thresholds: GOOD_IS_ZERO,
      }),
      stat('Lag', `max(spoor_lag_seconds${OF_TABLET})`, { unit: 's', thresholds: LATENESS }),
      stat('Shipped by', `max by (instance) (spoor_apply_index${OF_TABLET})`, { unit: 'none', legend: '{{instance}}' }),
    ],
    'Where it is',
    [
      chart('Index in its log', [
        [`max by (instance) (spoor_committed_index${OF_TABLET})`, 'committed, {{instance}}'],
        [`max by (instance) (spoor_apply_index${OF_TABLET})`, 'in the sink, {{instance}}'],
        [`min by (instance) (spoor_hold_index${OF_TABLET})`, 'held from, {{instance}}'],
      ]),
      chart('Operations that wait', [
        [`max by (instance) (spoor_lag_ops${OF_TABLET})`, 'not in the sink, {{instance}}'],
        [`max by (instance) (spoor_unmarked_ops${OF_TABLET})`, 'not marked, {{instance}}'],
      ]),
      chart('Lag', `max by (instance) (spoor_lag_seconds${OF_TABLET})`, { unit: 's', legend: '{{instance}}' }),
    ],
    [
      chart('State', `spoor_tablet_state${OF_TABLET} == 1`, { unit: 'none', legend: '{{state}} at {{instance}}' }),
      chart('Records', `sum by (instance) (rate(spoor_records_shipped_total${OF_TABLET}[5m]))`, {
        unit: 'cps',
        legend: '{{instance}}',
      }),
      chart('Leaderships that began or ended, errors, markers', [
        [`sum(increase(spoor_leader_changes_total${OF_TABLET}[10m]))`, 'changes of leadership'],
        [`sum(increase(spoor_sink_errors_total${OF_TABLET}[10m]))`, 'errors of the sink'],
        [`sum(increase(spoor_markers_written_total${OF_TABLET}[10m]))`, 'apply markers'],
        [`sum(increase(spoor_resyncs_total${OF_TABLET}[10m]))`, 'copies and repairs'],
      ]),
    ],
    'Its held log, at each replica',
    [
      chart('Size', `max by (instance) (spoor_hold_bytes${OF_TABLET})`, { unit: 'bytes', legend: '{{instance}}' }),
      chart('Age of its oldest part', `max by (instance) (spoor_hold_age_seconds${OF_TABLET})`, {
        unit: 's',
        legend: '{{instance}}',
      }),
      chart('Until a limit lets go of it', `min by (instance) (spoor_hold_seconds_until_limit${OF_TABLET})`, {
        unit: 's',
        legend: '{{instance}}',
      }),
    ],
    'Its copy, while there is one',
    [
      chart('Rows', [
        [`max(spoor_copy_rows${OF_TABLET})`, 'in the sink'],
        [`max(spoor_copy_total_rows${OF_TABLET})`, 'in all'],
      ]),
      chart('Time left', `max(spoor_copy_seconds_left${OF_TABLET})`, { unit: 's' }),
    ],
  ],
);
