import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderSidecars, renderStream, renderStreams, renderTablets } from '../../../src/cli/stream-text.ts';
import { WIDE } from '../../../src/cli/text-style.ts';
import type { StreamView } from '../../../src/api/shapes.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

const STREAM: StreamView = {
  name: 'orders',
  tables: ['shop.orders', 'shop.item*'],
  start: 'now',
  sink: {
    type: 'kafka',
    topic: 'cdc.{table}',
    delivery: 'exactly-once',
    partitions: 3,
    replicationFactor: -1,
    createTopics: true,
    schemaTopic: 'spoor.schema-changes',
  },
  format: { type: 'json' },
  images: 'changed',
  partitionBy: 'key',
  oversize: 'block',
  tombstones: true,
  paused: false,
  revision: 7,
  createdAt: '2026-01-02T03:04:05.678Z',
  tablets: [tabletView(), tabletView({ tabletId: 'ffff', state: 'blocked', lagOps: 40 })],
};

describe('renderStreams', () => {
  it('is a line a stream', () => {
    assert.equal(
      renderStreams([STREAM, { ...STREAM, name: 'a', tables: ['*'], tablets: [] }]),
      [
        'NAME    TABLES                  SINK               START  TABLETS  STATES                LAG OPS',
        'orders  shop.orders,shop.item*  kafka:cdc.{table}  now          2  1 running, 1 blocked       42',
        'a       *                       kafka:cdc.{table}  now          0  -                           -',
        '',
      ].join('\n'),
    );
  });
  it('says when there are none', () => {
    assert.equal(renderStreams([]), 'no streams\n');
  });
});

describe('renderTablets', () => {
  it('is a line a tablet, with a dash for what is not known, and below what each waits for and the errors', () => {
    const unknown = tabletView({
      tabletId: 'ffff',
      sidecar: null,
      role: 'unknown',
      state: 'no-sidecar',
      waiting: { for: 'a sidecar beside\u001b one of its replicas', since: '2026-01-02T03:04:04.678Z' },
      applyOpId: null,
      committedOpId: null,
      lagOps: null,
      lagSeconds: null,
      hold: null,
    });
    const error = { code: 'SPOOR_SINK_REFUSED', message: 'no topic\nhere', since: '2026-01-02T03:04:05.678Z' };
    const blocked = tabletView({ tabletId: 'eeee', state: 'blocked', error });
    assert.equal(
      renderTablets([tabletView(), unknown, blocked]),
      [
        'STREAM  TABLE        TABLET                            ROLE     STATE        APPLY  COMMITTED  LAG OPS  LAG S  HOLD            SIDECAR',
        'orders  shop.orders  0123456789abcdef0123456789abcdef  leader   running     7.1040     7.1042        2    0.3  1040 (8.0 MiB)  127.0.0.1:8100',
        'orders  shop.orders  ffff                              unknown  no-sidecar       -          -        -      -  -               -',
        'orders  shop.orders  eeee                              leader   blocked     7.1040     7.1042        2    0.3  1040 (8.0 MiB)  127.0.0.1:8100',
        '',
        'orders ffff: no-sidecar, waits since 2026-01-02T03:04:04.678Z for a sidecar beside\\u001b one of its replicas',
        'orders eeee: SPOOR_SINK_REFUSED since 2026-01-02T03:04:05.678Z: no topic\\u000ahere',
        '',
      ].join('\n'),
    );
  });
  it('says how far copies are', () => {
    const copy = { kind: 'all', hybridTime: '1', rows: 300, totalRows: 1000, percent: 30, secondsLeft: 6.2 } as const;
    const views = [
      tabletView({ tabletId: 'a', state: 'base-copy', copy }),
      tabletView({
        tabletId: 'b',
        state: 'resync',
        copy: { ...copy, kind: 'changes', totalRows: null, percent: null, secondsLeft: null },
      }),
    ];
    assert.match(
      renderTablets(views),
      /\n\norders a: copied 300 of 1000 rows \(30\.0 %\), about 7 s left\norders b: copied 300 changed rows\norders a: base-copy, waits since/,
    );
  });
  it('says once what keeps several tablets, where names are shortened', () => {
    const blocked = (tabletId: string, second: number, message = 'away') =>
      tabletView({
        ...{ tabletId, state: 'blocked' },
        error: { code: 'SPOOR_SINK_UNAVAILABLE', message, since: `2026-01-02T03:04:0${second}.678Z` },
      });
    const views = [blocked('a'.repeat(32), 5), blocked('b'.repeat(32), 4), blocked('c'.repeat(32), 3, 'gone')];
    const below = (columns: number) => renderTablets(views, { ...WIDE, columns }).split('\n\n')[1];
    assert.equal(
      below(100),
      [
        'orders aaaaaaaa and 1 more: SPOOR_SINK_UNAVAILABLE since 2026-01-02T03:04:04.678Z: away',
        'orders cccccccc: SPOOR_SINK_UNAVAILABLE since 2026-01-02T03:04:03.678Z: gone',
        '',
      ].join('\n'),
    );
    assert.equal(below(Infinity)!.trimEnd().split('\n').length, 3, '--wide: each by itself');
  });
  it('does not let a name drive the terminal', () => {
    assert.match(renderTablets([tabletView({ table: 'a\u001b[2Jb' })]), /a\\u001b\[2Jb/);
  });
  it('says when there are none', () => {
    assert.equal(renderTablets([]), 'no tablets\n');
  });
});

describe('renderStream', () => {
  it('is the definition, then the tablets', () => {
    const text = renderStream({ ...STREAM, tablets: [] });
    assert.equal(
      text,
      [
        'name                 orders',
        'created              2026-01-02T03:04:05.678Z',
        'tables               shop.orders, shop.item*',
        'start                now',
        'sink                 kafka',
        '  topic              cdc.{table}',
        '  delivery           exactly-once',
        '  partitions         3',
        '  replicationFactor  -1',
        '  createTopics       true',
        '  schemaTopic        spoor.schema-changes',
        'format               json',
        'images               changed',
        'tombstones           true',
        '',
        'no tablets: a table of such a name joins by itself when it comes',
        '',
      ].join('\n'),
    );
    assert.match(
      renderStream(STREAM),
      /\n\nSTREAM {2}TABLE .*\norders .*\norders .*\n\norders ffff: SPOOR_SINK_UNAVAILABLE since/,
    );
  });
});

describe('renderSidecars', () => {
  it('is a line a sidecar', () => {
    const sidecar = {
      id: 'a',
      http: 'h:1',
      tserver: 't:2',
      tserverUuid: 'a',
      version: '0.1.0',
      lastSeen: '2026-01-02T03:04:05.678Z',
    };
    assert.equal(
      renderSidecars([sidecar]),
      'SIDECAR  TSERVER  VERSION  LAST SEEN\nh:1      t:2      0.1.0    2026-01-02T03:04:05.678Z\n',
    );
    assert.equal(renderSidecars([]), 'no sidecars\n');
  });
});
