import assert from 'node:assert/strict';
import { beforeEach, describe, it, type TestContext } from 'node:test';
import { ClusterView } from '../../../src/sidecars/cluster-view.ts';
import { OtherSidecars } from '../../../src/sidecars/other-sidecars.ts';
import { SidecarClient } from '../../../src/sidecars/sidecar-client.ts';
import { RunningControlPlane } from '../../../src/app/control-plane.ts';
import { SIDECAR_COLUMNS, SidecarRegistry } from '../../../src/sidecars/sidecar-registry.ts';
import { STREAM_COLUMNS, StreamStore } from '../../../src/streams/stream-store.ts';
import type { TabletPosition } from '../../../src/change/position.ts';
import { SpoorError, type ErrorCode } from '../../../src/errors.ts';
import { KuduError } from '../../../src/kudu/errors.ts';
import { toProblem } from '../../../src/control/problem.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { column } from '../../support/row-bytes.ts';
import { Catalog, type CatalogTable } from '../../../src/streams/table-catalog.ts';
import { keptOf } from '../../../src/placement/kept-tablet.ts';
import { planTopics } from '../../../src/sinks/kafka/topic-plan.ts';
import { parseStreamBody, type AskedStream } from '../../../src/streams/definition.ts';
import type { SinkKind } from '../../../src/api/parts.ts';
import { type ReasonedView, type StreamView } from '../../../src/api/shapes.ts';
import { PreconditionError, type Precondition } from '../../../src/streams/precondition.ts';
import {
  RefusedDefinitionError,
  StreamExistsError,
  UnchangeableError,
  UnknownMemberError,
} from '../../../src/streams/stream-errors.ts';
import { SinkError, type Sink } from '../../../src/sinks/sink.ts';
import type { SettingsFault, SinkReport } from '../../../src/sinks/sink-type.ts';
import type { HeldIncarnation } from '../../../src/wal/log-transfer.ts';
import { withToken } from '../../support/credentials.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';
import { tabletView } from '../../support/memory-control-plane.ts';
import { MemorySystemTable } from '../../support/memory-system-table.ts';
import { kafkaOf } from '../../support/kafka-of.ts';

const { signal } = new AbortController();
const TABLETS = ['t1', 't2', 't3'];
const EXAMPLE = { key: '{}', value: '{}', isMadeUp: false };
const TABLE = {
  tableId: 'aa',
  name: 'shop.orders',
  tablets: TABLETS.map((tabletId, i) => ({ tabletId, partitionKeyStart: Buffer.of(i) })),
};

const END: TabletPosition = { opId: { term: 7n, index: 1042n }, tableName: 'shop.orders', schemaVersion: 3 };

/** A sink of which only that is asked whether it can be reached. */
class FakeCheck {
  asked = 0;
  failure: Error | null = null;

  check(): Promise<void> {
    this.asked++;
    return this.failure ? Promise.reject(this.failure) : Promise.resolve();
  }
}

const withCode = (code: ErrorCode, message: RegExp) => (error: unknown) =>
  error instanceof SpoorError && error.code === code && message.test(error.message);

function asked(changed: object = {}): AskedStream {
  const sink = { type: 'kafka', topic: 'cdc.{table}' };
  const parsed = parseStreamBody({ name: 'orders', tables: ['shop.*'], start: 'now', sink, ...changed });
  assert.ok(parsed.kind === 'ok');
  return parsed;
}

/** `paused paused no-sidecar`: the states of t1, t2 and t3. */
const statesOf = (view: StreamView | null): string => view!.tablets.map(({ state }) => state).join(' ');

describe('the control plane', () => {
  let pokes: number;
  let shipped: ReasonedView[];
  let held: Map<string, readonly HeldIncarnation[]>;
  let plane: RunningControlPlane;
  let heldForNow: string[];
  let store: StreamStore;
  let catalogTables: () => Promise<readonly CatalogTable[]>;
  let endsOf: () => Promise<ReadonlyMap<string, TabletPosition>>;
  let schema: TableSchema | null;
  let brokers: FakeCheck;
  let streamSink: FakeCheck;
  let sinkKind: SinkKind;
  let checkWal: () => Promise<void>;
  let markless: (topics: readonly string[]) => Promise<readonly string[]>;
  let lines: LogLine[];
  let wrongSettings: SettingsFault | null;
  let report: SinkReport;
  let schemaReport: { missing: readonly string[]; warnings: readonly string[] };
  let formatTrouble: string | null;
  let exampleFailure: Error | null;

  beforeEach(async () => {
    pokes = 0;
    shipped = [tabletView({ tabletId: 't1' })];
    held = new Map();
    heldForNow = [];
    lines = [];
    wrongSettings = null;
    report = { places: [], missing: [], warnings: [] };
    schemaReport = { missing: [], warnings: [] };
    formatTrouble = null;
    exampleFailure = null;
    catalogTables = () => Promise.resolve([TABLE]);
    markless = () => Promise.resolve([]);
    schema = null;
    endsOf = () => Promise.resolve(new Map(TABLETS.map((tabletId) => [tabletId, END])));
    [brokers, streamSink] = [new FakeCheck(), new FakeCheck()];
    sinkKind = 'kafka';
    checkWal = () => Promise.resolve();
    store = new StreamStore(new MemorySystemTable(STREAM_COLUMNS, 2), keepingLogger());
    const self = { id: 'self', http: '127.0.0.1:8100', tserver: 'a:7050', tserverUuid: 'self', version: '' };
    const registry = new SidecarRegistry(new MemorySystemTable(SIDECAR_COLUMNS, 1), self, {
      kuduNow: Date.now,
      logger: keepingLogger(),
    });
    await registry.beat(signal);
    const catalog = new Catalog(() => catalogTables(), 0);
    const localTablets = (): ReasonedView[] => shipped.map((view) => ({ ...view, sidecar: '127.0.0.1:8100' }));
    const listSidecars = (s: AbortSignal) => registry.list(s);
    const others = new OtherSidecars({
      selfId: 'self',
      listSidecars,
      client: new SidecarClient(withToken(null)),
      logger: keepingLogger(),
    });
    const cluster = new ClusterView({
      selfId: 'self',
      others,
      localTablets,
      listSidecars,
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
      joinedTables: (stream, s) => store.joinedTables(stream, s),
      catalog,
      systemTablePrefix: 'spoor.',
    });
    plane = new RunningControlPlane({
      store,
      registry,
      catalog,
      cluster,
      manager: {
        poke: () => pokes++,
        sinks: () => [{ kind: sinkKind, sink: streamSink as unknown as Sink }],
        kuduTrouble: null,
        holdForNow: (tabletIds) => heldForNow.push(...tabletIds),
      },
      refusedCall: () => null,
      localTablets,
      planSink: ({ name, sink }, tables) => planTopics({ ...kafkaOf({ sink }), streamName: name }, tables),
      schemaTexts: (_, { table }, { columns }) => ({ table, topic: `of ${columns.length} columns` }),
      markless: (_, topics) => markless(topics),
      wrongSettings: () => Promise.resolve(wrongSettings),
      inquire: () => Promise.resolve(report),
      inquireSchemas: () => Promise.resolve(schemaReport),
      isChoosy: () => true,
      formatTrouble: () => formatTrouble,
      rowCounts: () => Promise.resolve(new Map([['aa', 42]])),
      exampleOf: (_definition, { name: table }) =>
        exampleFailure ? Promise.reject(exampleFailure) : Promise.resolve({ ...EXAMPLE, table }),
      readerOf: () => {
        throw new SinkError('refused', 'SPOOR_KAFKA_BROKERS is not given');
      },
      lookLocally: () => Promise.resolve(null),
      tabletsOfKeys: (_, keys) => Promise.resolve(keys.map((key) => (key.length > 0 ? key.toString() : null))),
      endsOf: () => endsOf(),
      schemaOf: () => Promise.resolve(schema),
      configuredSinks: [{ kind: 'kafka', sink: brokers }],
      checkWal: () => checkWal(),
      heldLog: (tabletId) => held.get(tabletId) ?? null,
      systemTablePrefix: 'spoor.',
      logger: keepingLogger(lines),
    });
  });

  it('hands out the schemas of its tables, or of one that it has', async () => {
    await plane.createStream(asked());
    schema = { columns: [column('id', DataType.INT32, { isKey: true })] };
    const all = await plane.schemasOf('orders', null);
    assert.deepEqual(await plane.schemasOf('orders', TABLE.name), [{ table: TABLE.name, topic: 'of 1 columns' }]);
    assert.ok(all!.some(({ table }) => table === TABLE.name));
    await assert.rejects(plane.schemasOf('orders', 'nope'), UnknownMemberError);
    assert.equal(await plane.schemasOf('nope', null), null);
  });

  describe('of tables that cannot all have a topic', () => {
    const named = (...names: readonly string[]): CatalogTable[] =>
      names.map((name) => ({ ...TABLE, tableId: name, name, tablets: [] }));
    const clashing = (error: unknown): boolean =>
      error instanceof RefusedDefinitionError && /"shop\.a_b" and "shop_a\.b" .*"!shop_a\.b"/.test(error.faults[0]!);

    it('says so when the stream is made, and makes nothing', async () => {
      catalogTables = () => Promise.resolve(named('shop.a_b', 'shop_a.b'));
      const made = asked({ tables: ['shop*'] });
      await assert.rejects(plane.planStream(made), clashing);
      await assert.rejects(plane.createStream(made), clashing);
      assert.deepEqual([await plane.listStreams(), heldForNow], [[], []]);
      const { sink } = made.definition;
      const apart = asked({ tables: ['shop*'], sink: { ...sink, topics: { 'shop_a.b': 'cdc.other' } } });
      const plan = await plane.planStream(apart);
      assert.deepEqual(
        plan.tables.map(({ name, topic, begins }) => `${name} ${topic} ${begins}`),
        ['shop.a_b cdc.shop.a_b now', 'shop_a.b cdc.other now'],
      );
      assert.deepEqual(await plane.listStreams(), [], 'nothing was made');
    });

    it('of one that comes later the way out is a change, which what clashes does not hinder', async () => {
      catalogTables = () => Promise.resolve(named('shop.a_b'));
      await plane.createStream(asked({ tables: ['shop*', 'elsewhere'] }));
      catalogTables = () => Promise.resolve(named('shop.a_b', 'shop_a.b'));
      const slower = await plane.updateStream('orders', { copyRowsPerSecond: 10 });
      assert.equal(slower.kind, 'ok');
      const out = await plane.updateStream('orders', { tables: ['shop*', '!shop_a.b'] });
      assert.equal(out.kind, 'ok');
      await assert.rejects(plane.updateStream('orders', { tables: ['shop*'] }), clashing);
    });
  });

  describe('of what does not fit a table', () => {
    const columns = [
      column('id', DataType.INT64, { isKey: true, id: 1 }),
      column('email', DataType.STRING, { nullable: true, id: 2 }),
    ];
    const misfits = [
      {
        columns: { [TABLE.name]: { exclude: ['id'] } },
        path: 'columns',
        says: /exclude leaves out "id", which is a key column/,
      },
      {
        columns: { [TABLE.name]: { mask: { mail: 'x' } } },
        path: 'columns',
        says: /mask names "mail", which the table has not/,
      },
      {
        where: { [TABLE.name]: 'id = 1 AND nam = 2' },
        path: 'where',
        says: /character 12: the table has no column "nam"/,
      },
      { where: { [TABLE.name]: "id > 'x'" }, path: 'where', says: /character 6: column "id" takes a whole number/ },
      { where: { [TABLE.name]: "email = 'x'" }, path: 'where', says: /"email", no key column.*"images": "full"/ },
      { partitionBy: ['email'], path: 'partitionBy', says: /"email", no key column.*"unordered": true/ },
      { partitionBy: ['nam'], path: 'partitionBy', says: /names "nam", which the records have not/ },
    ];

    for (const { path, says, ...more } of misfits)
      it(`says so when it is made, planned or changed: ${String(says)}`, async () => {
        schema = { columns };
        const refused = (error: unknown): boolean =>
          error instanceof RefusedDefinitionError && error.path === path && says.test(error.faults.join());
        await assert.rejects(plane.planStream(asked(more)), refused);
        await assert.rejects(plane.createStream(asked(more)), refused);
        assert.deepEqual([await plane.listStreams(), heldForNow], [[], []]);
        schema = null; // not known: the tablets say it
        await plane.createStream(asked(more));
        schema = { columns };
        assert.equal((await plane.updateStream('orders', { copyRowsPerSecond: 10 })).kind, 'ok', 'no new fault');
      });
  });

  describe('of topics that take no marks of resolved', () => {
    const marked = (resolved: boolean) => asked(resolved ? { resolved: { intervalMs: 1_000 } } : {});
    const refused = (error: unknown): boolean =>
      error instanceof RefusedDefinitionError &&
      error.path === 'resolved' &&
      /^topic \S+ is compacted and takes no marks.*cleanup\.policy to delete, or leave resolved out$/.test(
        error.faults[0]!,
      );

    it('says so when it is made and when it is changed, and makes nothing', async () => {
      markless = (topics) => Promise.resolve(topics);
      await assert.rejects(plane.planStream(marked(true)), refused);
      await assert.rejects(plane.createStream(marked(true)), refused);
      assert.deepEqual(await plane.listStreams(), []);
      await plane.createStream(marked(false));
      await assert.rejects(plane.updateStream('orders', { resolved: { intervalMs: 1_000 } }), refused);
      assert.equal((await plane.updateStream('orders', { copyRowsPerSecond: 10 })).kind, 'ok');
    });

    it('hinders no other change where a topic became one later', async () => {
      await plane.createStream(marked(true));
      markless = (topics) => Promise.resolve(topics);
      assert.equal((await plane.updateStream('orders', { copyRowsPerSecond: 10 })).kind, 'ok');
    });

    it('makes it where the sink cannot be asked', async () => {
      markless = () => Promise.reject(new Error('Kafka is away'));
      await plane.createStream(marked(true));
      assert.equal((await plane.listStreams()).length, 1);
    });
  });

  it('pauses and resumes a stream, and tells the tablet manager at once', async () => {
    assert.equal(statesOf(await plane.createStream(asked())), 'running starting no-sidecar');
    assert.equal(pokes, 1);
    shipped = []; // what the tablet manager does about it
    assert.equal(statesOf(await plane.pauseStream('orders')), 'paused paused no-sidecar');
    assert.equal(pokes, 2);
    assert.equal(statesOf(await plane.pauseStream('orders')), 'paused paused no-sidecar');
    assert.equal(statesOf(await plane.getStream('orders')), 'paused paused no-sidecar');
    assert.equal(statesOf((await plane.listStreams())[0]!), 'paused paused no-sidecar');
    assert.equal(statesOf(await plane.resumeStream('orders')), 'starting starting no-sidecar');
    assert.equal(statesOf(await plane.resumeStream('orders')), 'starting starting no-sidecar');
    assert.equal(pokes, 5);
    assert.equal((await plane.getStream('orders'))?.paused, false);
  });

  it('says what a tablet does that is still shipped while its stream is paused', async () => {
    await plane.createStream(asked());
    assert.equal(statesOf(await plane.pauseStream('orders')), 'running paused no-sidecar');
    shipped = [tabletView({ tabletId: 't1', state: 'paused' }), tabletView({ tabletId: 't3', state: 'blocked' })];
    assert.equal(statesOf(await plane.getStream('orders')), 'paused paused blocked');
  });

  it('knows no stream of another name, and pokes nobody for it', async () => {
    await plane.createStream(asked());
    assert.deepEqual([await plane.pauseStream('order'), await plane.resumeStream('order'), pokes], [null, null, 1]);
  });

  describe('creates a stream', () => {
    it('that is stored although it cannot be described: a retry would find the name taken', async () => {
      const unavailable = new KuduError('timeout', 'no leader found in time');
      let calls = 0;
      catalogTables = () => (++calls === 1 ? Promise.resolve([TABLE]) : Promise.reject(unavailable));
      const { name, createdAt, tablets } = await plane.createStream(asked());
      assert.equal(name, 'orders');
      assert.equal(createdAt, (await store.get('orders', signal))?.createdAt);
      assert.deepEqual(
        tablets.map(({ tabletId, state, sidecar, role }) => [tabletId, state, sidecar, role]),
        TABLETS.map((tabletId) => [tabletId, 'starting', null, 'unknown']),
      );
      assert.equal(pokes, 1);
      assert.deepEqual(
        lines.map(({ level, fields }) => ({ level, ...fields })),
        [{ level: 'warn', stream: 'orders', reason: 'no leader found in time' }],
      );
      await assert.rejects(plane.createStream(asked()), StreamExistsError);
    });

    it('without the tables that are dropped meanwhile', async () => {
      const dropped = {
        ...TABLE,
        tableId: 'bb',
        name: 'shop.items',
        tablets: [{ ...TABLE.tablets[0]!, tabletId: 'x' }],
      };
      const empty = { ...TABLE, tableId: 'cc', name: 'shop.empty', tablets: [] };
      catalogTables = () => Promise.resolve([dropped, TABLE, empty]);
      await plane.createStream(asked());
      const stored = (await store.get('orders', signal))!;
      const { starts, joined } = await store.details(stored, signal);
      assert.deepEqual([...joined.keys()].sort(), ['aa', 'cc']);
      assert.deepEqual([...starts.keys()], TABLETS);
    });

    for (const [what, error] of [
      ['another user', new KuduError('rpc', 'unauthorized access to method: GetLastOpId', { code: 1 })],
      ['another right', new KuduError('master', 'not allowed', { code: 14 })],
    ] as const)
      it(`not where Kudu refuses for good (${what}), and says what Kudu said`, async () => {
        endsOf = () => Promise.reject(error);
        await assert.rejects(plane.createStream(asked()), withCode('SPOOR_KUDU_REFUSED', /^(unauth|not allowed)/));
        assert.equal(await store.has('orders', signal), false);
      });

    it('not where Kudu is away or too slow', async () => {
      for (const error of [
        new KuduError('network', 'no master leads'),
        new KuduError('timeout', 'out of time', { cause: new KuduError('tserver', 'busy', { code: 19 }) }),
        new KuduError('usage', 'the client is closed'),
      ]) {
        endsOf = () => Promise.reject(error);
        await assert.rejects(plane.createStream(asked()), withCode('SPOOR_KUDU_UNAVAILABLE', /./));
      }
    });

    it('not where something is wrong inside, which is not called trouble with Kudu', async () => {
      endsOf = () => Promise.reject(new TypeError('a bug'));
      await assert.rejects(plane.createStream(asked()), TypeError);
    });
  });

  it('refuses rows that are not of the tablet, and names each of them', async () => {
    await plane.createStream(asked());
    const keys = ['t1', 't2', 't1', ''].map((owner) => Buffer.from(owner));
    const request = { from: 'snapshot' as const, tablets: ['t1'] };
    await assert.rejects(plane.resyncStream('orders', { ...request, keys }), (error: unknown) => {
      assert.ok(error instanceof AggregateError);
      assert.deepEqual(toProblem(error).problem.errors, [
        { path: 'keys[1]', message: 'belongs to tablet t2' },
        { path: 'keys[3]', message: 'is no key that the table can have' },
      ]);
      assert.equal(toProblem(error).problem.status, 400);
      return true;
    });
    assert.ok((await plane.resyncStream('orders', { ...request, keys: keys.slice(0, 1) }))?.correction);
  });

  describe('changes a stream', () => {
    const patch = async (change: object): Promise<StreamView> => {
      const updated = await plane.updateStream('orders', change as Record<string, unknown>);
      assert.ok(updated.kind === 'ok', JSON.stringify(updated));
      return updated.stream;
    };

    it('of which a table that is taken out and put in again is copied, and what was shipped of it before is not its state', async () => {
      await plane.createStream(asked());
      shipped = [tabletView({ tabletId: 't1', generation: (await store.get('orders', signal))!.generation })];
      assert.deepEqual((await patch({ tables: ['other'] })).tablets, [], 'none of a table that has left');
      const again = await patch({ tables: { add: ['shop.*'] } });
      assert.equal(statesOf(again), 'starting starting no-sidecar', 'though it is shipped still');
      const stored = (await store.get('orders', signal))!;
      const { starts } = await store.details(stored, signal);
      for (const tabletId of TABLETS) {
        const { start, membership } = keptOf({ stored, details: await store.details(stored, signal) }, 'aa', tabletId);
        assert.equal(start?.copy, 'wanted', `${tabletId} of ${[...starts.keys()].join()}`);
        assert.equal(membership.again, true);
      }
      assert.deepEqual(heldForNow.slice(-3), TABLETS);
    });

    it('so that two changes at once are both in', async (t) => {
      await plane.createStream(asked());
      const get = store.get.bind(store);
      t.mock.method(store, 'get', async (...args: Parameters<typeof get>) => {
        const read = await get(...args);
        t.mock.restoreAll(); // what follows comes between reading and writing
        await patch({ tables: { add: ['b'] } });
        await patch({ copyRowsPerSecond: 7 });
        return read;
      });
      const { tables, copyRowsPerSecond, tombstones } = await patch({ tables: { add: ['c'] }, tombstones: false });
      assert.deepEqual([tables, copyRowsPerSecond, tombstones], [['shop.*', 'b', 'c'], 7, false]);
    });

    it('but not one that is deleted meanwhile, which stays so', async (t) => {
      await plane.createStream(asked());
      const get = store.get.bind(store);
      t.mock.method(store, 'get', async (...args: Parameters<typeof get>) => {
        const read = await get(...args);
        t.mock.restoreAll();
        assert.equal(await plane.deleteStream('orders'), true);
        return read;
      });
      assert.deepEqual(await plane.updateStream('orders', { tombstones: false }), { kind: 'missing' });
      assert.equal(await plane.getStream('orders'), null);
    });
  });

  describe('puts a stream', () => {
    const put = (changed: object = {}, precondition: Precondition = {}) =>
      plane.putStream(asked(changed), precondition);
    const between = (t: TestContext, work: () => Promise<unknown>): void => {
      const get = store.get.bind(store);
      t.mock.method(store, 'get', async (...args: Parameters<typeof get>) => {
        const read = await get(...args);
        t.mock.restoreAll(); // what follows comes between reading and writing
        await work();
        return read;
      });
    };

    it('that is made paused, and goes on when it is put so', async () => {
      const made = await put({ paused: true });
      assert.deepEqual([made.outcome, made.paused, made.revision], ['created', true, 1]);
      assert.equal((await store.get('orders', signal))?.paused, true);
      assert.deepEqual(heldForNow, TABLETS, 'its log is held before it is there');
      const same = await put({ paused: true });
      assert.deepEqual([same.outcome, same.revision, pokes], ['unchanged', 1, 1]);
      const resumed = await put();
      assert.deepEqual([resumed.outcome, resumed.paused, resumed.revision], ['changed', false, 2]);
    });

    it('whatever somebody else does meanwhile: makes it, changes it, deletes it', async (t) => {
      between(t, () => plane.createStream(asked({ tombstones: false })));
      const changed = await put({ copyRowsPerSecond: 7 });
      assert.deepEqual([changed.outcome, changed.tombstones, changed.copyRowsPerSecond], ['changed', true, 7]);
      between(t, () => plane.updateStream('orders', { tables: { add: ['b'] } }));
      const whole = await put({ copyRowsPerSecond: 8 });
      assert.deepEqual([whole.tables, whole.copyRowsPerSecond], [['shop.*'], 8], 'it is the whole definition');
      between(t, () => plane.deleteStream('orders'));
      assert.equal((await put({ copyRowsPerSecond: 9 })).outcome, 'created');
    });

    it('not by a tag that is old by the time of writing', async (t) => {
      const { revision } = await put();
      between(t, () => plane.updateStream('orders', { copyRowsPerSecond: 1 }));
      const ifMatch = [`"${revision}"`];
      await assert.rejects(put({ tombstones: false }, { ifMatch }), PreconditionError);
      between(t, () => plane.updateStream('orders', { copyRowsPerSecond: 2 }));
      await assert.rejects(
        plane.updateStream('orders', { tombstones: false }, { ifMatch: ['"2"'] }),
        PreconditionError,
      );
      await assert.rejects(plane.deleteStream('orders', { ifMatch }), PreconditionError);
      await assert.rejects(put({}, { ifNoneMatch: '*' }), PreconditionError);
      const { tombstones, copyRowsPerSecond } = (await plane.getStream('orders'))!;
      assert.deepEqual([tombstones, copyRowsPerSecond], [true, 2]);
    });

    it('not where it would have to change what cannot', async () => {
      await put();
      await assert.rejects(put({ start: 'snapshot' }), (error: unknown) => {
        assert.ok(error instanceof UnchangeableError);
        assert.deepEqual(error.changes, [{ path: 'start', now: 'now', asked: 'snapshot' }]);
        return true;
      });
    });

    it('nor of a table that its format has no words for, unless it was so before', async () => {
      schema = { columns: [column('id', DataType.INT32, { isKey: true })] };
      const there = await plane.createStream(asked({ name: 'there' }));
      formatTrouble = 'columns "a-b" and "a.b" would both be the field a_b';
      const refused = (error: unknown): boolean =>
        error instanceof RefusedDefinitionError &&
        error.path === 'format' &&
        error.faults[0] === `table "shop.orders": ${formatTrouble}`;
      for (const make of [put, () => plane.createStream(asked()), () => plane.planStream(asked())])
        await assert.rejects(make(), refused);
      assert.equal((await plane.listStreams()).length, 1);
      assert.ok(await plane.updateStream(there.name, { copyRowsPerSecond: 7 }, {}));
    });

    it('nor with settings that the sink will never take', async () => {
      wrongSettings = { path: 'topicConfig', message: 'Unknown topic config name: retention.msec' };
      const refused = (error: unknown): boolean =>
        error instanceof RefusedDefinitionError &&
        error.path === 'sink.topicConfig' &&
        /retention\.msec/.test(error.faults[0]!);
      for (const make of [put, () => plane.createStream(asked()), () => plane.planStream(asked())])
        await assert.rejects(make(), refused);
      assert.deepEqual([await plane.listStreams(), heldForNow], [[], []]);
    });
  });

  describe('plans a stream', () => {
    it('and says what would be made, and what is missing', async () => {
      const place = { name: 'cdc.shop.orders', partitions: -1, replicationFactor: -1, settings: {}, differences: [] };
      const places = [{ ...place, of: 'rows' as const, state: 'made' as const }];
      report = { places, missing: ['a topic'], warnings: ['beware'] };
      schemaReport = { missing: ['a schema'], warnings: ['the registry is away'] };
      const plan = await plane.planStream(asked({ start: 'snapshot' }));
      assert.deepEqual(plan.tables, [
        { name: 'shop.orders', tablets: 3, topic: 'cdc.shop.orders', begins: 'copy', rows: 42 },
      ]);
      assert.deepEqual(
        [plan.topics, plan.warnings, plan.outcome],
        [places, ['beware', 'the registry is away'], 'created'],
      );
      assert.deepEqual(plan.missing.slice(0, 2), ['a topic', 'a schema']);
      assert.match(plan.missing[2]!, /^1 of 3 tablets of "shop\.orders" have no sidecar beside any replica/);
      assert.deepEqual([await plane.listStreams(), heldForNow, pokes], [[], [], 0]);
    });

    it('and shows what its first record would be, or says why not', async () => {
      assert.deepEqual((await plane.planStream(asked())).example, { ...EXAMPLE, table: 'shop.orders' });
      exampleFailure = new KuduError('timeout', 'it took too long');
      const { example, missing, warnings } = await plane.planStream(asked());
      assert.deepEqual([example, missing.some((line) => line.includes('too long'))], [null, false]);
      assert.match(warnings.at(-1)!, /^no row of "shop\.orders" can be shown: it took too long/);
      exampleFailure = new KuduError('rpc', 'Not authorized', { code: 1 });
      assert.match((await plane.planStream(asked())).missing[0]!, /^Kudu refuses: Not authorized/);
    });

    it('and says what Kudu refuses', async () => {
      endsOf = () => Promise.reject(new KuduError('rpc', 'unauthorized access to method: GetLastOpId', { code: 1 }));
      const { missing } = await plane.planStream(asked());
      assert.match(missing[0]!, /^Kudu refuses: unauthorized access.*SPOOR_KUDU_USER/);
    });

    it('that is there: what of it would be another, and which tables come and go', async () => {
      const items = { ...TABLE, tableId: 'bb', name: 'shop.items', tablets: [] };
      const other = { ...TABLE, tableId: 'cc', name: 'other', tablets: [] };
      catalogTables = () => Promise.resolve([TABLE, items, other]);
      await plane.createStream(asked());
      const plan = await plane.planPut(asked({ tables: ['shop.orders', 'other'], paused: true }), {});
      assert.equal(plan.outcome, 'changed');
      assert.deepEqual(
        plan.tables.map(({ name, begins }) => `${name} ${begins}`),
        ['shop.orders goes-on', 'other copy'],
      );
      assert.deepEqual(plan.leaves, ['shop.items']);
      assert.deepEqual(plan.changes, [
        { path: 'tables', now: ['shop.*'], asked: ['shop.orders', 'other'] },
        { path: 'paused', now: false, asked: true },
      ]);
      const same = await plane.planPut(asked(), {});
      assert.deepEqual([same.outcome, same.changes], ['unchanged', []]);
      wrongSettings = { path: 'topicConfig', message: 'no longer known' };
      for (const paused of [false, true]) {
        const { changes } = await plane.planPut(asked({ paused }), {});
        assert.equal(changes.length, Number(paused), 'what it has already stands in the way of nothing');
        assert.equal((await plane.putStream(asked({ paused }), {})).outcome, paused ? 'changed' : 'unchanged');
      }
      await assert.rejects(plane.planPut(asked({ start: 'snapshot' }), {}), UnchangeableError);
      await assert.rejects(plane.planPut(asked(), { ifMatch: ['"9"'] }), PreconditionError);
    });
  });

  describe('is ready', () => {
    it('only where the configured brokers can be reached, also while no stream has them', async () => {
      const down = new Error('connection refused');
      brokers.failure = down;
      assert.deepEqual((await plane.readiness()).kafka, { ok: false, reason: 'connection refused' });
      brokers.failure = null;
      assert.equal((await plane.readiness()).kafka.ok, false, 'for a moment the last answer counts');
      assert.deepEqual([brokers.asked, streamSink.asked], [1, 1]);
    });

    it("only where the streams' own sinks can be reached", async () => {
      streamSink.failure = new Error('SPOOR_KAFKA_BROKERS is not given');
      assert.equal((await plane.readiness()).kafka.reason, 'SPOOR_KAFKA_BROKERS is not given');
    });

    it('of each kind of sink by itself, of others than Kafka where there are such', async () => {
      sinkKind = 'redis';
      streamSink.failure = new Error('SPOOR_REDIS_URL is not given');
      const parts = await plane.readiness();
      assert.deepEqual(Object.keys(parts).sort(), ['kafka', 'kudu', 'redis', 'wal']);
      assert.deepEqual([parts.kafka, parts.redis?.reason], [{ ok: true }, 'SPOOR_REDIS_URL is not given']);
    });

    it('only where the log can be read and held', async () => {
      checkWal = () => Promise.reject(new Error('segments of tablet t1 cannot be held: EDQUOT'));
      assert.deepEqual((await plane.readiness()).wal, {
        ok: false,
        reason: 'segments of tablet t1 cannot be held: EDQUOT',
      });
    });
  });

  it('has a log to show where one is held', async () => {
    held.set('t2', []);
    for (const tabletId of ['t1', 't2']) assert.equal(plane.openHeldLog(tabletId, { term: 0n, index: 0n }, {}), null);
    held.set('t1', [{ segments: [] }]);
    const log = plane.openHeldLog('t1', { term: 0n, index: 0n }, {});
    assert.ok(log);
    const chunks = [];
    for await (const chunk of log) chunks.push(chunk);
    assert.match(Buffer.concat(chunks).toString(), /\{"end":true\}$/);
  });
});
