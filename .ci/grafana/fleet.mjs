import {
  stat,
  chart,
  table,
  variable,
  dashboard,
  linkTo,
  GOOD_IS_ZERO,
  FREE,
  LATENESS,
  STATE_FIELDS,
} from './panels.mjs';

export const fleet = dashboard(
  'spoor-fleet',
  'Is everything shipped, and if not, which stream, at which sidecar.',
  [variable('instance', 'Sidecar', 'label_values(spoor_build_info, instance)', { multi: true })],
  [
    [
      stat('Sidecars that answer Kudu', 'sum(spoor_kudu_up{instance=~"$instance"})', { unit: 'none' }),
      stat(
        'Tablet servers without a sidecar',
        'count(count by (tserver) (spoor_tserver_without_sidecar{instance=~"$instance"})) or vector(0)',
        {
          unit: 'none',
          thresholds: GOOD_IS_ZERO,
        },
      ),
      stat('Tablets with an error', 'count(spoor_tablet_error{instance=~"$instance"}) or vector(0)', {
        unit: 'none',
        thresholds: GOOD_IS_ZERO,
      }),
      stat('Latest tablet', 'max(spoor_lag_seconds{instance=~"$instance"}) or vector(0)', {
        unit: 's',
        thresholds: LATENESS,
      }),
      stat('Least free disk', 'min(spoor_hold_free_percent{instance=~"$instance"})', {
        unit: 'percent',
        max: 100,
        thresholds: FREE,
      }),
      stat('Records a second', 'sum(rate(spoor_records_shipped_total{instance=~"$instance"}[5m])) or vector(0)', {
        unit: 'cps',
      }),
    ],
    'Streams',
    [
      chart('Lag', 'max by (stream) (spoor_lag_seconds{instance=~"$instance"})', {
        unit: 's',
        legend: '{{stream}}',
        links: [linkTo.stream('stream')],
        description: 'Age of the oldest committed operation that the sink has not acknowledged.',
      }),
      chart('Records shipped', 'sum by (stream) (rate(spoor_records_shipped_total{instance=~"$instance"}[5m]))', {
        unit: 'cps',
        legend: '{{stream}}',
        links: [linkTo.stream('stream')],
      }),
    ],
    [
      table(
        'What keeps tablets from running',
        'count by (stream, table, code, instance) (spoor_tablet_error{instance=~"$instance"})',
        {
          unit: 'none',
          description: 'Codes: docs/errors.md. What to do: docs/operations-by-symptom.md.',
          links: [
            {
              title: 'Stream ${__data.fields.stream}',
              url: '/d/spoor-stream?${datasource:queryparam}&var-stream=${__data.fields.stream}&${__url_time_range}',
            },
          ],
        },
      ),
      chart('Tablets by state', 'sum by (state) (spoor_tablet_state{instance=~"$instance"})', {
        unit: 'none',
        legend: '{{state}}',
        stack: true,
        fields: STATE_FIELDS,
      }),
    ],
    'Held log and disk',
    [
      chart('Held log', 'sum by (instance) (max by (instance, tablet) (spoor_hold_bytes{instance=~"$instance"}))', {
        unit: 'bytes',
        legend: '{{instance}}',
        description:
          'Hard links to segments that some stream still lacks: disk that Kudu has given back and Spoor has not.',
      }),
      chart('Free space of the disk of the held logs', 'spoor_hold_free_percent{instance=~"$instance"}', {
        unit: 'percent',
        max: 100,
        legend: '{{instance}}',
      }),
      chart(
        'Until a limit lets go of a held log',
        'min by (instance) (spoor_hold_seconds_until_limit{instance=~"$instance"})',
        { unit: 's', legend: '{{instance}}' },
      ),
    ],
    'Sidecars',
    [
      chart(
        'CPU',
        'rate(process_cpu_seconds_total[5m]) and on (job, instance) spoor_build_info{instance=~"$instance"}',
        { unit: 'percentunit', legend: '{{instance}}' },
      ),
      chart('Memory', 'process_resident_memory_bytes and on (job, instance) spoor_build_info{instance=~"$instance"}', {
        unit: 'bytes',
        legend: '{{instance}}',
      }),
      chart(
        'Event loop, p99 of its delay',
        'nodejs_eventloop_lag_p99_seconds and on (job, instance) spoor_build_info{instance=~"$instance"}',
        { unit: 's', legend: '{{instance}}' },
      ),
    ],
    [
      table('Versions', 'count by (instance, tserver, version) (spoor_build_info{instance=~"$instance"})', {
        unit: 'none',
      }),
      chart('Clock: by how much Kudu is ahead', 'spoor_clock_offset_seconds{instance=~"$instance"}', {
        unit: 's',
        legend: '{{instance}}',
      }),
      chart(
        'Age of the process',
        'time() - process_start_time_seconds and on (job, instance) spoor_build_info{instance=~"$instance"}',
        { unit: 's', legend: '{{instance}}' },
      ),
    ],
  ],
);
