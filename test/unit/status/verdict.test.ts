import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SidecarState, VerdictView } from '../../../src/api/cluster-state.ts';
import type { TabletView } from '../../../src/api/shapes.ts';
import { ERRORS } from '../../../src/errors.ts';
import { judge } from '../../../src/status/verdict.ts';
import { tabletView } from '../../support/memory-control-plane.ts';
import { scriptedSidecar } from '../../support/scripted-cluster.ts';

const NOW = Date.parse('2026-03-01T12:00:00.000Z');
const SINCE = '2026-03-01T11:50:00.000Z';

const tablet = (number: number, changed: Partial<TabletView> = {}): TabletView =>
  tabletView({ tabletId: number.toString(16).padStart(32, '0'), lagSeconds: 0, lagOps: 0, ...changed });
const sidecar = (
  number: number,
  changed: Partial<SidecarState> = {},
  status: Parameters<typeof scriptedSidecar>[2] = {},
): SidecarState => ({
  ...scriptedSidecar(number, {}, status),
  ...{ ships: 1, standsInFor: [] },
  ...changed,
});
const verdict = (tablets: readonly TabletView[], sidecars: readonly SidecarState[] = [sidecar(0)]): VerdictView =>
  judge({ streams: [{ name: 'orders', paused: false }], tablets, sidecars, trouble: null, nowMs: NOW });
const blocked = (message: string, code = 'SPOOR_SINK_UNAVAILABLE') => ({
  state: 'blocked' as const,
  error: { code, message, since: SINCE },
});

describe('the verdict', () => {
  it('is that everything is shipped, where it is, and says what goes on besides', () => {
    const copy = { kind: 'all' as const, hybridTime: '1', rows: 1, totalRows: 2, percent: 50, secondsLeft: 3 };
    const { kind, headline, detail, troubles } = verdict([
      tablet(1),
      tablet(2, { state: 'base-copy', copy }),
      tablet(3, { lagSeconds: 1.23 }),
    ]);
    assert.deepEqual([kind, headline, troubles], ['well', 'Everything is shipped', []]);
    assert.equal(detail, '1 stream, 3 tablets · 1 being copied · 1.2 s late at most');
  });

  it('is that there is no stream, where there is none', () => {
    const { kind, headline } = judge({ streams: [], tablets: [], sidecars: [sidecar(0)], trouble: null, nowMs: NOW });
    assert.deepEqual([kind, headline], ['empty', 'There is no stream yet']);
  });

  it('puts a thousand tablets with one cause into one trouble, whatever their messages name', () => {
    const tablets = Array.from({ length: 1000 }, (_, i) => {
      const own = tablet(i, { table: `shop.t${i % 10}` });
      return tabletView({
        ...own,
        ...blocked(`topic cdc.shop.t${i % 10} at kafka-1:9092: no answer to tablet ${own.tabletId} at 7.${i}`),
      });
    });
    const { headline, troubles } = verdict([...tablets, tablet(5000)]);
    assert.equal(headline, '1,000 tablets of 1001 are not shipped');
    const [only, ...more] = troubles;
    assert.deepEqual(more, []);
    assert.equal(only!.what, '1,000 tablets of orders are blocked');
    assert.deepEqual(
      [only!.severity, only!.code, only!.since, only!.tabletCount],
      ['down', 'SPOOR_SINK_UNAVAILABLE', SINCE, 1000],
    );
    assert.equal(only!.remedy, ERRORS.SPOOR_SINK_UNAVAILABLE.remedy);
    assert.equal(only!.tables.length, 10);
    assert.equal(only!.tablets.orders!.length, 1000);
  });

  it('tells two causes apart', () => {
    const { troubles } = verdict([
      tablet(1, blocked('no broker')),
      tablet(2, blocked('topic is missing', 'SPOOR_SINK_REFUSED')),
    ]);
    assert.deepEqual(troubles.map(({ code }) => code).sort(), ['SPOOR_SINK_REFUSED', 'SPOOR_SINK_UNAVAILABLE']);
  });

  it('begins with what is worst: not shipped, then at risk, then what somebody wanted so', () => {
    const { troubles, headline } = verdict(
      [
        tablet(1, { state: 'paused', stream: 'audit' }),
        tablet(2, { lagSeconds: 300 }),
        tablet(3, { state: 'stalled', waiting: { for: 'Kafka', since: SINCE } }),
        tablet(4, blocked('no broker')),
        tablet(5, blocked('no broker')),
      ],
      [sidecar(0)],
    );
    assert.equal(headline, '3 tablets of 5 are not shipped');
    assert.deepEqual(
      troubles.map(({ what }) => what),
      [
        '2 tablets of orders are blocked',
        '1 tablet of orders does not move',
        '1 tablet of orders is late',
        'Stream audit is paused',
      ],
    );
  });

  const CASES: readonly (readonly [Partial<TabletView>, string, string | null])[] = [
    [
      { state: 'gap', error: { code: 'SPOOR_WAL_GAP', message: 'gone', since: SINCE } },
      'has a gap in its log',
      'resync-gap',
    ],
    [blocked('lost', 'SPOOR_IMAGE_LOST'), 'is blocked', 'resync-snapshot'],
    [blocked('bad crc', 'SPOOR_WAL_CORRUPT'), 'is blocked', 'resync-snapshot'],
    [blocked('of a later version', 'SPOOR_OF_TOMORROW'), 'is blocked', null],
    [
      { state: 'no-sidecar', waiting: { for: 'a sidecar beside one of its replicas', since: SINCE } },
      'has no sidecar',
      null,
    ],
    [{ state: 'starting', waiting: { for: 'its turn', since: SINCE } }, 'has yet to begin', null],
    [{ lagSeconds: 61 }, 'is late', null],
  ];
  for (const [changed, verb, action] of CASES)
    it(`of a tablet that ${verb}${changed.error ? ` (${changed.error.code})` : ''} says why, what to do, and with which button`, () => {
      const [trouble] = verdict([tablet(1, changed)]).troubles;
      assert.equal(trouble!.what, `1 tablet of orders ${verb}`);
      assert.equal(trouble!.action, action);
      assert.ok(trouble!.why.length > 0 && trouble!.remedy.length > 0);
      assert.ok(Date.parse(trouble!.since!) < NOW);
    });

  it('leaves alone what begins at this moment', () => {
    const since = new Date(NOW - 5000).toISOString();
    assert.deepEqual(verdict([tablet(1, { state: 'starting', waiting: { for: 'its log', since } })]).troubles, []);
  });

  it('names sidecars that are down, silent or cannot work, and who stands in for them', () => {
    const why = { ok: false, reason: 'no broker at kafka-1:9092', since: SINCE };
    const readiness = { kudu: { ok: true }, kafka: why, wal: { ok: true } };
    const { troubles } = verdict(
      [tablet(1)],
      [
        sidecar(0, { standsInFor: [{ tserver: 'tserver-4:7050', tablets: 3 }] }, { readiness }),
        sidecar(1, {}, { readiness }),
        sidecar(2, { status: null }),
        sidecar(4, {}, { readiness: { ...readiness, kafka: { ok: true }, redis: { ...why, reason: 'it is full' } } }),
        sidecar(3, { isAlive: false, status: null, http: '' }),
      ],
    );
    const told = troubles.map(({ what, why: reason }) => `${what}: ${reason}`).sort();
    assert.deepEqual(told, [
      '2 sidecars (127.0.0.1:8100, 127.0.0.1:8101) cannot work with the sink: no broker at kafka-1:9092',
      'The sidecar at 127.0.0.1:8102 does not answer: It is alive as far as Kudu knows, and does not say how it is when it is asked. No other sidecar stands in for it at the moment.',
      'The sidecar at 127.0.0.1:8104 cannot work with Redis: it is full',
      'The sidecar beside tserver-4:7050 was stopped: It said that it stops. Others ship what is led at its tablet server: 127.0.0.1:8100 (3 tablets).',
    ]);
  });

  it('warns of a disk that is nearly full, or soon will be, and of a limit that a held log reaches', () => {
    const disk = { totalBytes: 100, freeBytes: 12, minFreePercent: 10, secondsUntilFloor: null };
    const of = (status: Parameters<typeof scriptedSidecar>[2], tablets = [tablet(1)]) =>
      verdict(tablets, [sidecar(0, {}, status)]).troubles.map(({ why }) => why);
    assert.match(of({ disk })[0]!, /^12\.0 % of it are free, and below 10 % the oldest held logs are let go of\.$/);
    assert.match(of({ disk: { ...disk, freeBytes: 60, secondsUntilFloor: 1800 } })[0]!, /in 30 min/);
    assert.deepEqual(of({ disk: { ...disk, freeBytes: 60 } }), []);
    const limit = { seconds: 600, stream: 'orders', table: 'shop.orders', tabletId: tablet(1).tabletId };
    assert.deepEqual(of({ limit }), [], 'what runs is let go of before');
    assert.match(
      of({ limit }, [tablet(1, blocked('no broker'))])[1]!,
      /In 10 min the sidecar at 127\.0\.0\.1:8100 lets go/,
    );
  });

  it('is that nothing is known, where the cluster cannot be looked at', () => {
    const trouble = { code: 'SPOOR_KUDU_UNAVAILABLE', message: 'no master answers', since: SINCE };
    const { kind, troubles } = judge({ streams: [], tablets: [], sidecars: [], trouble, nowMs: NOW });
    assert.equal(kind, 'unknown');
    assert.deepEqual(
      [troubles[0]!.why, troubles[0]!.remedy],
      ['no master answers', ERRORS.SPOOR_KUDU_UNAVAILABLE.remedy],
    );
  });
});
