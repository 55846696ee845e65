import assert from 'node:assert/strict';
import { beforeEach, describe, it, type TestContext } from 'node:test';
import { ClusterView } from '../../../src/sidecars/cluster-view.ts';
import { OtherSidecars } from '../../../src/sidecars/other-sidecars.ts';
import { SidecarClient } from '../../../src/sidecars/sidecar-client.ts';
import { Catalog } from '../../../src/streams/table-catalog.ts';
import type { StoredStream } from '../../../src/streams/stored-stream.ts';
import { parseStreamDefinition } from '../../../src/streams/definition.ts';
import type { ReasonedView, KnownSidecar, TabletView } from '../../../src/api/shapes.ts';
import { withToken } from '../../support/credentials.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';
import { tabletView } from '../../support/memory-control-plane.ts';

const { signal } = new AbortController();
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
  const createdAt = '2026-01-02T03:04:05.678Z';
  return { definition, generation: 'g', createdAt, number: 1, revision: '', paused: false, memberships: new Map() };
}

const sidecar = (id: string): KnownSidecar => ({
  id,
  http: `${id}:8100`,
  tserver: `${id}:7050`,
  tserverUuid: id,
  version: '',
  lastSeen: new Date().toISOString(),
  isAlive: true,
});

describe('the view of the cluster', () => {
  let local: ReasonedView[];
  let lines: LogLine[];
  let view: ClusterView;
  let others: OtherSidecars;

  beforeEach(() => {
    local = [];
    lines = [];
    const listSidecars = () => Promise.resolve(['self', 'peer', 'stranger'].map(sidecar));
    const client = new SidecarClient(withToken(null));
    others = new OtherSidecars({ selfId: 'self', listSidecars, client, logger: keepingLogger(lines) });
    view = new ClusterView({
      selfId: 'self',
      others,
      localTablets: () => local,
      holdHere: () => undefined,
      listSidecars,
      replicasOf: () => Promise.resolve(new Map(TABLE.tablets.map(({ tabletId }) => [tabletId, ['self']]))),
      joinedTables: () => Promise.resolve(new Map()),
      catalog: new Catalog(() => Promise.resolve([TABLE]), 0),
      systemTablePrefix: 'spoor.',
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
      (await others.shown(signal)).map(({ tabletId }) => tabletId),
      ['t2'],
    );
    const [told] = lines as readonly { level: string; fields: { sidecar?: string; tablets?: number } }[];
    assert.deepEqual([told?.level, told?.fields.sidecar, told?.fields.tablets], ['debug', 'peer', 4]);
  });

  it('does not take for its state what is still done for an earlier one', async (t) => {
    answer(t, [
      tabletView({ tabletId: 't1', generation: 'g.3' }),
      tabletView({ tabletId: 't2', generation: 'g.2' }), // of the table's stay before
      tabletView({ tabletId: 'gone', generation: 'g' }), // dropped, and shipped to its end
      tabletView({ tabletId: 'of-an-earlier-stream', generation: 'f' }),
    ]);
    const memberships = new Map([['aa', { id: '3', again: true }]]);
    const [described] = await view.describe([{ ...stored(), memberships }], signal);
    assert.deepEqual(
      described!.tablets.map(({ tabletId, state }) => `${tabletId} ${state}`),
      ['t1 running', 't2 starting', 'gone running'],
    );
    assert.ok(described!.tablets.every((tablet) => !('generation' in tablet)));
  });

  it('shows no tablet of a table that has left, although it is still shipped', async (t) => {
    answer(t, [tabletView({ tabletId: 't1' }), tabletView({ tabletId: 't2', generation: 'g' })]);
    const { definition, ...rest } = stored();
    const [described] = await view.describe([{ ...rest, definition: { ...definition, tables: ['other'] } }], signal);
    assert.deepEqual(described!.tablets, []);
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
      assert.equal((await others.shown(signal)).length, 1);
    });

  for (const [what, error, stranger] of [
    [
      'where nobody listens',
      new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNREFUSED' }) }),
      [],
    ],
    ['which hangs', new DOMException('too late', 'TimeoutError'), null],
    ['whose network fails', new TypeError('fetch failed'), null],
  ] as const)
    it(`hears ${stranger ? 'that nothing is said' : 'nothing'} of a sidecar ${what}`, async (t) => {
      t.mock.method(globalThis, 'fetch', (url: string) =>
        url.startsWith('http://peer:')
          ? Promise.resolve(new Response(JSON.stringify([tabletView({ tabletId: 't2' })])))
          : Promise.reject(error),
      );
      assert.deepEqual(await others.exceptionsOf(['self', 'peer', 'stranger'].map(sidecar), signal), [
        { tserverUuid: 'peer', views: [tabletView({ tabletId: 't2' })] },
        { tserverUuid: 'stranger', views: stranger },
      ]);
    });

  it('asks another sidecar for what is not as usual, and reads that it yields', async (t) => {
    const asked: string[] = [];
    t.mock.method(globalThis, 'fetch', (url: string) => {
      asked.push(url);
      return Promise.resolve(new Response(JSON.stringify([tabletView({ yields: true })])));
    });
    const [word] = await others.exceptionsOf([sidecar('self'), sidecar('peer')], signal);
    assert.deepEqual(word, { tserverUuid: 'peer', views: [tabletView({ yields: true })] });
    assert.deepEqual(asked, ['http://peer:8100/v1/local?only=exceptions']);
  });

  describe('where two sidecars show the same tablet', () => {
    const CASES: { why: string; counts: Partial<TabletView>; not: Partial<TabletView> }[] = [
      {
        why: 'the leader, also where the other is further',
        counts: { role: 'leader', applyOpId: '7.9' },
        not: { role: 'follower', applyOpId: '7.10' },
      },
      {
        why: 'one that stands in for a leader that yields',
        counts: { role: 'follower', applyOpId: '7.9' },
        not: { role: 'leader', applyOpId: '7.10', yields: true },
      },
      {
        why: 'of two that yield the leader, who tries',
        counts: { role: 'leader', applyOpId: '7.9', yields: true },
        not: { role: 'follower', applyOpId: '7.10', yields: true },
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
