import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { ClusterView } from '../../../src/cluster/cluster-view.ts';
import { RunningControlPlane } from '../../../src/cluster/control-plane.ts';
import { LateControlPlane } from '../../../src/cluster/late-control-plane.ts';
import { SIDECAR_COLUMNS, SidecarRegistry } from '../../../src/cluster/sidecar-registry.ts';
import { STREAM_COLUMNS, StreamStore } from '../../../src/cluster/stream-store.ts';
import { Catalog } from '../../../src/replication/catalog.ts';
import { parseStreamDefinition, type StreamDefinition } from '../../../src/replication/stream.ts';
import type { StreamView, TabletView } from '../../../src/replication/views.ts';
import type { HeldGeneration } from '../../../src/wal/log-transfer.ts';
import { keepingLogger } from '../../support/loggers.ts';
import { tabletView } from '../../support/memory-control-plane.ts';
import { MemorySystemTable } from '../../support/memory-system-table.ts';

const signal = AbortSignal.timeout(60_000);
const TABLETS = ['t1', 't2', 't3'];
const TABLE = {
  tableId: 'aa',
  name: 'shop.orders',
  tablets: TABLETS.map((tabletId, i) => ({ tabletId, partitionKeyStart: Buffer.of(i) })),
};

function definition(): StreamDefinition {
  const sink = { type: 'kafka', topic: 'cdc.{table}' };
  const parsed = parseStreamDefinition({ name: 'orders', tables: ['shop.*'], start: 'now', sink });
  assert.ok(parsed.kind === 'ok');
  return parsed.definition;
}

/** `paused paused no-sidecar`: the states of t1, t2 and t3. */
const statesOf = (view: StreamView | null): string => view!.tablets.map(({ state }) => state).join(' ');

describe('the control plane', () => {
  let pokes: number;
  let shipped: TabletView[];
  let held: Map<string, readonly HeldGeneration[]>;
  let plane: RunningControlPlane;
  let heldForNow: string[];

  beforeEach(async () => {
    pokes = 0;
    shipped = [tabletView({ tabletId: 't1' })];
    held = new Map();
    heldForNow = [];
    const store = new StreamStore(new MemorySystemTable(STREAM_COLUMNS, 2));
    const self = { id: 'self', http: '127.0.0.1:8100', tserver: 'a:7050', tserverUuid: 'self', version: '' };
    const registry = new SidecarRegistry(new MemorySystemTable(SIDECAR_COLUMNS, 1), self, keepingLogger());
    await registry.beat(signal);
    const catalog = new Catalog(() => Promise.resolve([TABLE]), 0);
    const cluster = new ClusterView({
      selfId: 'self',
      localTablets: () => plane.localTablets(),
      listSidecars: (s) => registry.list(s),
      // t3 has replicas on tablet servers without a sidecar only
      replicasOf: () =>
        Promise.resolve(
          new Map([
            ['t1', ['self', 'elsewhere']],
            ['t2', ['elsewhere', 'self']],
            ['t3', ['elsewhere']],
          ]),
        ),
      holdHere: (tabletIds) => heldForNow.push(...tabletIds),
      joinedTables: async (stream, s) => (await store.details(stream, s)).joined,
      catalog,
      systemTablePrefix: 'spoor.',
      token: null,
      logger: keepingLogger(),
    });
    plane = new RunningControlPlane({
      store,
      registry,
      catalog,
      cluster,
      peers: {
        poke: () => pokes++,
        views: () => shipped,
        sinks: () => [],
        kuduTrouble: null,
        holdForNow: (tabletIds) => heldForNow.push(...tabletIds),
      },
      endsOf: () => Promise.resolve(new Map()),
      checkWal: () => Promise.resolve(),
      heldLog: (tabletId) => held.get(tabletId) ?? null,
      advertise: '127.0.0.1:8100',
      systemTablePrefix: 'spoor.',
    });
  });

  it('pauses and resumes a stream, and tells the peer manager at once', async () => {
    assert.equal(statesOf(await plane.createStream(definition())), 'running starting no-sidecar');
    assert.equal(pokes, 1);
    shipped = []; // what the peer manager does about it
    assert.equal(statesOf(await plane.pauseStream('orders')), 'paused paused no-sidecar');
    assert.equal(pokes, 2);
    assert.equal(statesOf(await plane.pauseStream('orders')), 'paused paused no-sidecar');
    assert.equal(statesOf(await plane.getStream('orders')), 'paused paused no-sidecar');
    assert.equal(statesOf((await plane.listStreams())[0]!), 'paused paused no-sidecar');
    assert.equal(statesOf(await plane.resumeStream('orders')), 'starting starting no-sidecar');
    assert.equal(statesOf(await plane.resumeStream('orders')), 'starting starting no-sidecar');
    assert.equal(pokes, 5);
    assert.ok(!('paused' in (await plane.getStream('orders'))!));
  });

  it('says what a tablet does that is still shipped while its stream is paused', async () => {
    await plane.createStream(definition());
    assert.equal(statesOf(await plane.pauseStream('orders')), 'running paused no-sidecar');
    shipped = [tabletView({ tabletId: 't1', state: 'paused' }), tabletView({ tabletId: 't3', state: 'blocked' })];
    assert.equal(statesOf(await plane.getStream('orders')), 'paused paused blocked');
  });

  it('knows no stream of another name, and pokes nobody for it', async () => {
    await plane.createStream(definition());
    assert.deepEqual([await plane.pauseStream('order'), await plane.resumeStream('order'), pokes], [null, null, 1]);
  });

  it('has a log to show where one is held', async () => {
    held.set('t2', []);
    for (const tabletId of ['t1', 't2']) assert.equal(plane.openHeldLog(tabletId, { term: 0n, index: 0n }), null);
    held.set('t1', [{ segments: [] }]);
    const log = plane.openHeldLog('t1', { term: 0n, index: 0n });
    assert.ok(log);
    const chunks = [];
    for await (const chunk of log) chunks.push(chunk);
    assert.match(Buffer.concat(chunks).toString(), /\{"end":true\}$/);
  });

  it('says why while it is not there yet', async () => {
    const late = new LateControlPlane();
    late.waitingFor('no master answers');
    await assert.rejects(late.pauseStream('orders'), /no master answers/);
    await assert.rejects(late.resumeStream('orders'), /no master answers/);
    assert.throws(() => late.openHeldLog('t1', { term: 0n, index: 0n }), /no master answers/);
    late.becomes(plane);
    await plane.createStream(definition());
    assert.equal(statesOf(await late.pauseStream('orders')), 'running paused no-sidecar');
    assert.equal(statesOf(await late.resumeStream('orders')), 'running starting no-sidecar');
  });
});
