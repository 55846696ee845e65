import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createMetrics, type MetricsSources } from '../../../src/metrics/metrics.ts';
import { TABLET_STATES, type HoldFigures, type SidecarFigures, type TabletView } from '../../../src/api/shapes.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

const A = { stream: 'orders', table: 'shop.orders', tablet: 'aaaa' };
const B = { ...A, tablet: 'bbbb' };
const view = (labels: typeof A, changed: Partial<TabletView> = {}): TabletView =>
  tabletView({ stream: labels.stream, table: labels.table, tabletId: labels.tablet, ...changed });

/** A sidecar with these tablets. */
const of = (localTablets: () => TabletView[], holds: () => HoldFigures[] = () => []): MetricsSources => ({
  localTablets,
  holds,
  sidecar: () => ({ kuduAnswers: true, clockOffsetSeconds: null, unattendedTservers: [] }),
  about: { version: '1.2.3', tserver: 'node-1:7050' },
  freePercent: () => null,
});

/** The samples of a page as `name{labels}` to value, comments left out. */
function samples(page: string): Map<string, number> {
  const lines = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

const labelText = ({ stream, table, tablet }: typeof A) => `stream="${stream}",table="${table}",tablet="${tablet}"`;

describe('the metrics page', () => {
  it('has every instrument of the contract, those of the hold, and the process defaults', async () => {
    const page = await createMetrics(of(() => [])).text();
    const types = new Map([...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
    const spoor = [...types].filter(([name]) => name!.startsWith('spoor_'));
    assert.deepEqual(Object.fromEntries(spoor), {
      spoor_build_info: 'gauge',
      spoor_kudu_up: 'gauge',
      spoor_clock_offset_seconds: 'gauge',
      spoor_tserver_without_sidecar: 'gauge',
      spoor_tablet_error: 'gauge',
      spoor_apply_index: 'gauge',
      spoor_committed_index: 'gauge',
      spoor_lag_ops: 'gauge',
      spoor_lag_seconds: 'gauge',
      spoor_hold_index: 'gauge',
      spoor_hold_bytes: 'gauge',
      spoor_hold_age_seconds: 'gauge',
      spoor_hold_seconds_until_limit: 'gauge',
      spoor_hold_free_percent: 'gauge',
      spoor_unmarked_ops: 'gauge',
      spoor_copy_rows: 'gauge',
      spoor_copy_total_rows: 'gauge',
      spoor_copy_seconds_left: 'gauge',
      spoor_tablet_state: 'gauge',
      spoor_records_shipped_total: 'counter',
      spoor_bytes_shipped_total: 'counter',
      spoor_rows_rejected_total: 'counter',
      spoor_sink_errors_total: 'counter',
      spoor_markers_written_total: 'counter',
      spoor_leader_changes_total: 'counter',
      spoor_resyncs_total: 'counter',
      spoor_ship_latency_seconds: 'histogram',
      spoor_batch_records: 'histogram',
      spoor_non_finite_values_total: 'counter',
      spoor_transactions_total: 'counter',
      spoor_transaction_seconds: 'histogram',
      spoor_transaction_tablets: 'histogram',
    });
    assert.ok(types.has('process_cpu_seconds_total') && types.has('nodejs_heap_size_used_bytes'));
  });

  it('writes names of tables as Prometheus reads them back, however odd', async () => {
    const odd = ['a"b', 'a\\b', 'a\nb', 'a,tablet="x"', '{}', '__proto__', '😀', ' x '];
    const labels = odd.map((table, i) => ({ stream: 'orders', table, tablet: `t${i}` }));
    const metrics = createMetrics(of(() => labels.map((of) => view(of))));
    for (const [i, of] of labels.entries()) metrics.shipped(of, i + 1, 1, []);
    const page = await metrics.text();
    const lines = page.split('\n').filter((line) => line.startsWith('spoor_records_shipped_total{'));
    const read = lines.map((line) =>
      /^[a-z_]+\{stream="orders",table="((?:[^"\\\n]|\\.)*)",tablet="t\d"\} (\d+)$/.exec(line)!,
    );
    const unescaped = read.map(([, table]) =>
      table!.replace(/\\(.)/g, (_, char) => (char === 'n' ? '\n' : String(char))),
    );
    assert.deepEqual(unescaped, odd);
    assert.deepEqual(
      read.map(([, , count]) => Number(count)),
      odd.map((_, i) => i + 1),
    );
  });

  it('shows what is held of every replica here, shipped from here or not', async () => {
    const hold = { index: 7, bytes: 4096, ageSeconds: 1.5 };
    const figures = [
      { ...A, hold: { ...hold, index: 8 }, secondsUntilLimit: null, unmarkedOps: 3 },
      { ...B, hold, secondsUntilLimit: 90, unmarkedOps: 0 },
    ];
    const metrics = createMetrics(
      of(
        () => [view(A)],
        () => figures,
      ),
      () => 0,
    );
    const page = samples(await metrics.text());
    assert.deepEqual(
      [A, B].map((labels) =>
        ['index', 'bytes', 'age_seconds', 'seconds_until_limit'].map((name) =>
          page.get(`spoor_hold_${name}{${labelText(labels)}}`),
        ),
      ),
      [
        [8, 4096, 1.5, undefined],
        [7, 4096, 1.5, 90],
      ],
    );
    assert.equal(page.get(`spoor_unmarked_ops{${labelText(A)}}`), 3);
    metrics.markerWritten(A);
    assert.equal(samples(await metrics.text()).get(`spoor_markers_written_total{${labelText(A)}}`), 1);
  });

  it('shows what the snapshot says at the moment it is read', async () => {
    let views = [view(A)];
    const metrics = createMetrics(of(() => views));
    let page = samples(await metrics.text());
    assert.equal(page.get(`spoor_apply_index{${labelText(A)}}`), 1040);
    assert.equal(page.get(`spoor_committed_index{${labelText(A)}}`), 1042);
    assert.equal(page.get(`spoor_lag_ops{${labelText(A)}}`), 2);
    assert.equal(page.get(`spoor_lag_seconds{${labelText(A)}}`), 0.25);
    assert.equal(page.get(`spoor_hold_index{${labelText(A)}}`), 1040);
    assert.equal(page.get(`spoor_hold_bytes{${labelText(A)}}`), 8_388_608);
    views = [view(A, { applyOpId: '8.2000', lagOps: 0 })];
    page = samples(await metrics.text());
    assert.equal(page.get(`spoor_apply_index{${labelText(A)}}`), 2000);
    assert.equal(page.get(`spoor_lag_ops{${labelText(A)}}`), 0);
  });

  it('has one state of a tablet at 1 and the others at 0', async () => {
    for (const state of TABLET_STATES) {
      const page = samples(await createMetrics(of(() => [view(A, { state })])).text());
      for (const each of TABLET_STATES)
        assert.equal(page.get(`spoor_tablet_state{${labelText(A)},state="${each}"}`), each === state ? 1 : 0);
    }
  });

  it('says of a sidecar which one it is, whether Kudu answers, its clock, and which tablet servers have none', async () => {
    let figures: SidecarFigures = { kuduAnswers: false, clockOffsetSeconds: null, unattendedTservers: ['a1', 'b2'] };
    const metrics = createMetrics({ ...of(() => []), sidecar: () => figures });
    const unattended = (page: ReadonlyMap<string, number>): readonly string[] =>
      [...page.keys()].filter((name) => name.startsWith('spoor_tserver_without_sidecar'));
    let page = samples(await metrics.text());
    assert.equal(page.get('spoor_build_info{version="1.2.3",tserver="node-1:7050"}'), 1);
    assert.equal(page.get('spoor_kudu_up'), 0);
    assert.equal(page.get('spoor_clock_offset_seconds'), undefined);
    assert.deepEqual(
      unattended(page),
      ['a1', 'b2'].map((uuid) => `spoor_tserver_without_sidecar{tserver="${uuid}"}`),
    );
    figures = { kuduAnswers: true, clockOffsetSeconds: -12.5, unattendedTservers: ['b2'] };
    page = samples(await metrics.text());
    assert.equal(page.get('spoor_kudu_up'), 1);
    assert.equal(page.get('spoor_clock_offset_seconds'), -12.5);
    assert.deepEqual(unattended(page), ['spoor_tserver_without_sidecar{tserver="b2"}']);
  });

  it('says by its code what keeps a tablet from running, for as long as it does', async () => {
    const error = { code: 'SPOOR_SINK_REFUSED', message: 'no', since: '2026-11-30T00:00:00.000Z' };
    let views = [view(A, { state: 'blocked', error }), view(B)];
    const metrics = createMetrics(of(() => views));
    const errors = async (): Promise<readonly string[]> =>
      [...samples(await metrics.text()).keys()].filter((name) => name.startsWith('spoor_tablet_error'));
    assert.deepEqual(await errors(), [`spoor_tablet_error{${labelText(A)},code="SPOOR_SINK_REFUSED"}`]);
    views = [view(A), view(B)];
    assert.deepEqual(await errors(), []);
  });

  it('has no sample for what is not known', async () => {
    const unknown = view(A, { applyOpId: null, committedOpId: null, lagOps: null, lagSeconds: null, hold: null });
    const names = [...samples(await createMetrics(of(() => [unknown])).text()).keys()];
    const spoor = names.filter((name) => /^spoor_(apply|committed|lag|hold)/.test(name));
    assert.deepEqual(spoor, []);
  });

  it('counts what the core tells it', async () => {
    const metrics = createMetrics(of(() => [view(A)]));
    metrics.shipped(A, 10, 1000, [0.004, 0.2]);
    metrics.shipped(A, 1, 50, [700]);
    metrics.rowsRejected(A, 3);
    metrics.sinkError(A);
    metrics.leaderChange(A);
    const transactions = metrics.transactionsOf('orders');
    transactions.transaction('committed', 0.02, 60);
    transactions.transaction('committed', 0.3, 4);
    transactions.transaction('fenced', 1, 1);
    metrics.nonFiniteOf('orders')();
    const page = samples(await metrics.text());
    assert.equal(page.get(`spoor_records_shipped_total{${labelText(A)}}`), 11);
    assert.equal(page.get(`spoor_bytes_shipped_total{${labelText(A)}}`), 1050);
    assert.equal(page.get(`spoor_rows_rejected_total{${labelText(A)}}`), 3);
    assert.equal(page.get(`spoor_sink_errors_total{${labelText(A)}}`), 1);
    assert.equal(page.get(`spoor_leader_changes_total{${labelText(A)}}`), 1);
    const table = 'stream="orders",table="shop.orders"';
    assert.equal(page.get(`spoor_batch_records_count{${table}}`), 2);
    assert.equal(page.get(`spoor_batch_records_sum{${table}}`), 11);
    assert.equal(page.get(`spoor_ship_latency_seconds_bucket{le="0.0025",${table}}`), 0);
    assert.equal(page.get(`spoor_ship_latency_seconds_bucket{le="0.005",${table}}`), 1);
    assert.equal(page.get(`spoor_ship_latency_seconds_bucket{le="600",${table}}`), 2);
    assert.equal(page.get(`spoor_ship_latency_seconds_bucket{le="+Inf",${table}}`), 3);
    assert.equal(page.get('spoor_transactions_total{stream="orders",outcome="committed"}'), 2);
    assert.equal(page.get('spoor_transactions_total{stream="orders",outcome="fenced"}'), 1);
    assert.equal(page.get('spoor_non_finite_values_total{stream="orders"}'), 1);
    assert.equal(page.get('spoor_transaction_seconds_bucket{le="0.025",stream="orders"}'), 1);
    assert.equal(page.get('spoor_transaction_seconds_count{stream="orders"}'), 3);
    assert.equal(page.get('spoor_transaction_tablets_sum{stream="orders"}'), 65);
  });

  it('forgets the gauges of a tablet that left at once, its counters minutes later, the table with its last tablet', async () => {
    let views = [view(A), view(B)];
    let nowMs = 0;
    const metrics = createMetrics(
      of(() => views),
      () => nowMs,
    );
    for (const labels of [A, B]) metrics.shipped(labels, 1, 1, [0.1]);
    metrics.transactionsOf('orders').transaction('committed', 0.01, 2);
    await metrics.text();
    views = [view(B)];
    metrics.leaderChange(A); // counted as it leaves: somebody must get to read it
    let page = await metrics.text();
    assert.deepEqual(
      [...samples(page).keys()].filter((name) => name.includes('aaaa')).map((name) => name.replace(/\{.*/, '')),
      ['spoor_records_shipped_total', 'spoor_bytes_shipped_total', 'spoor_leader_changes_total'],
    );
    nowMs = 6 * 60_000;
    page = await metrics.text();
    assert.ok(!page.includes('aaaa'));
    assert.ok(page.includes('bbbb') && page.includes('spoor_batch_records_count{'), 'the other one was seen just now');
    assert.ok(page.includes('spoor_transactions_total{'), 'and the stream with it');
    views = [];
    nowMs = 12 * 60_000;
    page = await metrics.text();
    assert.ok(!page.includes('bbbb') && !page.includes('orders'), 'no series is left');
  });

  it('forgets also what was counted after the tablet was gone', async () => {
    let nowMs = 0;
    const metrics = createMetrics(
      of(() => []),
      () => nowMs,
    );
    metrics.shipped(A, 1, 1, []); // the answer of a write that was on its way
    assert.ok((await metrics.text()).includes('aaaa'));
    nowMs = 6 * 60_000;
    assert.ok(!(await metrics.text()).includes('aaaa'));
  });

  it('writes names that hold anything', async () => {
    const odd = { stream: 'orders', table: 'a"b\\c\nd', tablet: 'aaaa' };
    const page = await createMetrics(of(() => [view(odd)])).text();
    assert.ok(page.includes('spoor_lag_ops{stream="orders",table="a\\"b\\\\c\\nd",tablet="aaaa"} 2'));
  });
});
