import assert from 'node:assert/strict';
import { beforeEach, describe, it, type TestContext } from 'node:test';
import { ClusterView } from '../../../src/cluster/cluster-view.ts';
import { Catalog } from '../../../src/replication/catalog.ts';
import type { StoredStream } from '../../../src/replication/stored-stream.ts';
import { parseStreamDefinition } from '../../../src/replication/stream.ts';
import type { ReasonedView, TabletView } from '../../../src/replication/views.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

const signal = AbortSignal.timeout(60_000);
const TABLE = {
  tableId: 'aa',
  name: 'shop.orders',
  tablets: ['t1', 't2'].map((tabletId, i) => ({ tabletId, partitionKeyStart: Buffer.of(i) })),
};

function stored(): StoredStream {
  const sink = { type: 'kafka', topic: 'cdc.{table}' };
  const parsed = parseStreamDefinition({ name: 'orders', tables: ['shop.*'], sink });
  assert.ok(parsed.kind === 'ok');
  const { definition } = parsed;
  return { definition, generation: 'g', createdAt: '2026-01-02T03:04:05.678Z', revision: '', paused: false };
}

describe('the view of the cluster', () => {
  let local: ReasonedView[];
  let lines: LogLine[];
  let view: ClusterView;

  beforeEach(() => {
    local = [];
    lines = [];
    const sidecar = (id: string) => ({
      id,
      http: `${id}:8100`,
      tserver: `${id}:7050`,
      tserverUuid: id,
      version: '',
      lastSeen: new Date().toISOString(),
    });
    view = new ClusterView({
      selfId: 'self',
      localTablets: () => local,
      holdHere: () => undefined,
      listSidecars: () => Promise.resolve(['self', 'peer', 'stranger'].map(sidecar)),
      replicasOf: () => Promise.resolve(new Map(TABLE.tablets.map(({ tabletId }) => [tabletId, ['self']]))),
      joinedTables: () => Promise.resolve(new Map()),
      catalog: new Catalog(() => Promise.resolve([TABLE]), 0),
      systemTablePrefix: 'spoor.',
      token: null,
      logger: keepingLogger(lines),
    });
  });

  /** What the other two sidecars answer; `stranger` nothing unless told. */
  function answer(t: TestContext, peer: unknown, stranger: unknown = []): void {
    t.mock.method(globalThis, 'fetch', (url: string) => {
      const said = url.startsWith('http://peer:') ? peer : stranger;
      return Promise.resolve(new Response(typeof said === 'string' ? said : JSON.stringify(said)));
    });
  }
  const shown = async (): Promise<string[]> =>
    (await view.describe([stored()], signal))[0]!.tablets.map(
      ({ tabletId, state, applyOpId }) => `${tabletId} ${state} ${applyOpId}`,
    );

  it('leaves out of the answer of another version only what it does not understand', async (t) => {
    const peers = [
      tabletView({ tabletId: 't2', state: 'blocked' }),
      { ...tabletView({ tabletId: 't1' }), state: 'hibernating' },
      { ...tabletView({ tabletId: 't1' }), applyOpId: 'AZ' },
      { ...tabletView({ tabletId: 't1' }), lagOps: '7' },
      'a tablet',
    ];
    answer(t, peers);
    assert.deepEqual(await shown(), ['t1 starting null', 't2 blocked 7.1040']);
    assert.deepEqual(
      (await view.shippedElsewhere(signal)).views.map(({ tabletId }) => tabletId),
      ['t2'],
    );
    const [told] = lines as readonly { level: string; fields: { sidecar?: string; tablets?: number } }[];
    assert.deepEqual([told?.level, told?.fields.sidecar, told?.fields.tablets], ['debug', 'peer', 4]);
  });

  for (const [what, said] of [
    ['no JSON', '<html>It works!</html>'],
    ['nothing', ''],
    ['JSON of another kind', { status: 'ok' }],
    ['null', 'null'],
  ] as const)
    it(`takes ${what} for no answer`, async (t) => {
      answer(t, [tabletView({ tabletId: 't2' })], said);
      assert.deepEqual(await shown(), ['t1 starting null', 't2 running 7.1040']);
      assert.equal((await view.shippedElsewhere(signal)).views.length, 1);
    });

  for (const [what, error, isWhole] of [
    [
      'where nobody listens',
      new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNREFUSED' }) }),
      true,
    ],
    ['which hangs', new DOMException('too late', 'TimeoutError'), false],
    ['whose network fails', new TypeError('fetch failed'), false],
  ] as const)
    it(`knows ${isWhole ? 'all' : 'not all'} that is shipped elsewhere without one ${what}`, async (t) => {
      t.mock.method(globalThis, 'fetch', (url: string) =>
        url.startsWith('http://peer:')
          ? Promise.resolve(new Response(JSON.stringify([tabletView({ tabletId: 't2' })])))
          : Promise.reject(error),
      );
      const elsewhere = await view.shippedElsewhere(signal);
      assert.deepEqual([elsewhere.views.length, elsewhere.isWhole], [1, isWhole]);
    });

  describe('where two sidecars show the same tablet', () => {
    const CASES: { why: string; counts: Partial<TabletView>; not: Partial<TabletView> }[] = [
      {
        why: 'the leader, also where the other is further',
        counts: { role: 'leader', applyOpId: '7.9' },
        not: { role: 'follower', applyOpId: '7.10' },
      },
      {
        why: 'of two leaders the one that is further',
        counts: { role: 'leader', applyOpId: '7.10' },
        not: { role: 'leader', applyOpId: '7.9' },
      },
      {
        why: 'the one of the later term',
        counts: { role: 'follower', applyOpId: '10.1' },
        not: { role: 'follower', applyOpId: '9.1' },
      },
      {
        why: 'the one that ships, and not the leader that waits for it to finish',
        counts: { role: 'follower', state: 'running', applyOpId: '7.10' },
        not: { role: 'leader', state: 'starting', applyOpId: '7.9' },
      },
      { why: 'the one that is anywhere', counts: { applyOpId: '0.1' }, not: { applyOpId: null } },
    ];
    for (const { why, counts, not } of CASES)
      it(`shows ${why}`, async (t) => {
        const first = tabletView({ tabletId: 't1', state: 'running', ...counts });
        const second = tabletView({ tabletId: 't1', state: 'blocked', ...not });
        for (const [here, there] of [
          [first, second],
          [second, first],
        ] as const) {
          local = [here];
          answer(t, [there]);
          assert.equal((await shown())[0], `t1 running ${first.applyOpId}`);
        }
      });
  });
});
