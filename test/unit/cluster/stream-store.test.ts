import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { STREAM_COLUMNS, StreamStore } from '../../../src/cluster/stream-store.ts';
import type { StoredStream } from '../../../src/replication/stored-stream.ts';
import { parseStreamDefinition, type StreamDefinition } from '../../../src/replication/stream.ts';
import { SpoorError } from '../../../src/errors.ts';
import { StreamExistsError } from '../../../src/replication/views.ts';
import type { SinkPosition } from '../../../src/change/position.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';
import { MemorySystemTable } from '../../support/memory-system-table.ts';

const signal = AbortSignal.timeout(60_000);
const START: SinkPosition = { opId: { term: 7n, index: 1042n }, tableName: 'shop.orders', schemaVersion: 3 };
const TABLE = { tableId: 'aa', name: 'shop.orders', tablets: [{ tabletId: 't1', partitionKeyStart: Buffer.alloc(0) }] };

function definition(name: string): StreamDefinition {
  const sink = { type: 'kafka', topic: 'cdc.{table}' };
  const parsed = parseStreamDefinition({ name, tables: ['shop.*'], start: 'now', sink });
  assert.ok(parsed.kind === 'ok');
  return parsed.definition;
}

describe('the stream store', () => {
  let table: MemorySystemTable<(typeof STREAM_COLUMNS)[number]>;
  let store: StreamStore;
  let lines: LogLine[];
  beforeEach(() => {
    table = new MemorySystemTable(STREAM_COLUMNS, 2);
    lines = [];
    store = new StreamStore(table, keepingLogger(lines));
  });
  const create = (name = 'orders'): Promise<StoredStream> =>
    store.create(definition(name), new Map([['t1', START]]), [TABLE], signal);
  const items = (): string[] => table.rows().map(({ stream, item }) => `${stream} ${item.split('/')[0]!}`);

  it('keeps a stream, where its tablets begin, and which tables are in', async () => {
    const made = await create();
    assert.equal(made.paused, false);
    assert.deepEqual(await store.list(signal), [made]);
    assert.deepEqual(await store.get('orders', signal), made);
    assert.equal(await store.get('order', signal), null);
    assert.deepEqual(await store.details(made, signal), {
      starts: new Map([['t1', START]]),
      joined: new Map([['aa', { name: 'shop.orders', speakerTabletId: 't1' }]]),
      resyncs: new Map(),
      corrections: new Map(),
      ended: new Set(),
    });
    await assert.rejects(create(), StreamExistsError);
    assert.deepEqual(items().sort(), ['orders definition', 'orders start', 'orders table']);
  });

  it('pauses and resumes, as often as it is told', async () => {
    const [orders, items] = [await create(), await create('items')];
    for (const paused of [true, true, false, false, true]) {
      assert.deepEqual(await store.setPaused('orders', paused, signal), { ...orders, paused });
      assert.deepEqual(await store.get('orders', signal), { ...orders, paused });
      assert.deepEqual(await store.list(signal), [{ ...orders, paused }, items]);
    }
  });

  it('says so where there is no stream to pause, and keeps nothing', async () => {
    assert.equal(await store.setPaused('nope', true, signal), null);
    assert.equal(await store.setPaused('nope', false, signal), null);
    assert.deepEqual(table.rows(), []);
  });

  it('leaves the row of the definition as it is', async () => {
    await create();
    const before = table.rows().find(({ item }) => item === 'definition');
    await store.setPaused('orders', true, signal);
    assert.deepEqual(
      table.rows().find(({ item }) => item === 'definition'),
      before,
    );
    assert.deepEqual(Object.keys(JSON.parse(before!.body) as object), ['definition', 'generation', 'createdAt']);
  });

  it('since when a stream is paused stays what it was', async () => {
    await create();
    await store.setPaused('orders', true, signal);
    const before = table.rows();
    await store.setPaused('orders', true, signal);
    assert.deepEqual(table.rows(), before);
  });

  it('lists all streams in one scan', async () => {
    for (const name of ['a', 'b', 'c']) await create(name);
    await store.setPaused('b', true, signal);
    table.scans = 0;
    const listed = await store.list(signal);
    assert.deepEqual([table.scans, listed.map(({ paused }) => paused)], [1, [false, true, false]]);
  });

  it('deletes a paused stream with all its rows, and no other', async () => {
    await create('items');
    await create();
    await store.setPaused('orders', true, signal);
    assert.equal(await store.delete('orders', signal), true);
    assert.deepEqual(items().sort(), ['items definition', 'items start', 'items table']);
    assert.equal(await store.delete('orders', signal), false);
    assert.equal((await create()).paused, false);
    assert.deepEqual((await store.get('orders', signal))?.paused, false);
  });

  it('does not take an earlier stream of that name for paused', async () => {
    const generation = 'of-a-stream-whose-deletion-was-cut-short';
    const body = JSON.stringify({ generation, since: '2026-01-02T03:04:05.678Z' });
    await table.insert({ stream: 'orders', item: 'paused', body });
    const made = await create();
    assert.deepEqual(await store.list(signal), [made]);
    assert.equal((await store.setPaused('orders', true, signal))?.paused, true);
    assert.equal((await store.get('orders', signal))?.paused, true);
    assert.equal((await store.setPaused('orders', false, signal))?.paused, false);
  });

  describe('that has a stream of a newer Spoor', () => {
    const body = (more: object): string =>
      JSON.stringify({ definition: { ...definition('newer'), ...more }, generation: 'g', createdAt: '2026-01-02' });
    const CASES: { what: string; rows: { item: string; body: string }[]; reason: RegExp }[] = [
      { what: 'an option', rows: [{ item: 'definition', body: body({ later: 1 }) }], reason: /"newer" .*: later: / },
      {
        what: 'a sink',
        rows: [{ item: 'definition', body: body({ sink: { type: 'redis' } }) }],
        reason: /sink\.type: /,
      },
      { what: 'another form', rows: [{ item: 'definition', body: '{"definitions":[]}' }], reason: /generation: / },
      { what: 'no JSON', rows: [{ item: 'definition', body: 'v2' }], reason: /JSON/ },
      {
        what: 'another way to be paused',
        rows: [
          { item: 'definition', body: body({}) },
          { item: 'paused', body: '{"until":"2027-01-01"}' },
        ],
        reason: /generation: /,
      },
    ];
    for (const { what, rows, reason } of CASES)
      it(`(${what}) goes on with the others, and says once which it cannot read`, async () => {
        const made = await create();
        await table.upsert(rows.map((row) => ({ stream: 'newer', ...row })));
        for (let look = 0; look < 3; look++) assert.deepEqual(await store.list(signal), [made]);
        const [unreadable, ...more] = store.unreadable;
        assert.deepEqual([unreadable?.name, more], ['newer', []]);
        assert.match(unreadable!.reason, reason);
        assert.deepEqual(
          lines.map(({ level, fields }) => ({ level, ...fields })),
          [{ level: 'error', stream: 'newer', reason: unreadable!.reason }],
        );
        await assert.rejects(
          store.get('newer', signal),
          (error) => error instanceof SpoorError && error.code === 'SPOOR_NOT_SUPPORTED' && reason.test(error.message),
        );
        assert.deepEqual([await store.has('newer', signal), await store.has('newest', signal)], [true, false]);
        await assert.rejects(create('newer'), StreamExistsError);
        assert.equal(await store.delete('newer', signal), true);
        assert.deepEqual(await store.list(signal), [made]);
        assert.deepEqual(store.unreadable, []);
      });

    it('knows the tables of one of which only a resync is of a newer kind', async () => {
      const made = await create();
      const item = `resync/${made.generation}/t1`;
      await table.insert({ stream: 'orders', item, body: '{"from":"yesterday"}' });
      assert.deepEqual(
        await store.joinedTables(made, signal),
        new Map([['aa', { name: 'shop.orders', speakerTabletId: 't1' }]]),
      );
      await assert.rejects(store.details(made, signal));
    });
  });

  describe('sweeps', () => {
    const MINUTE_MS = 60_000;

    it('what a failed creation and a deletion that was cut short left, when it is old', async (t) => {
      const orders = await create();
      await store.setPaused('orders', true, signal);
      const kept = table.rows();
      t.mock.method(table, 'insert', () => Promise.reject(new Error('lost')));
      await assert.rejects(create('failed'), /lost/);
      t.mock.restoreAll();
      await store.resync(await create('deleted'), ['t1'], 'gap', signal);
      await store.setPaused('deleted', true, signal);
      await table.delete([{ stream: 'deleted', item: 'definition' }]);
      const before = items().length;
      for (const atMs of [0, 5 * MINUTE_MS]) await store.sweep(atMs, signal);
      assert.equal(items().length, before, 'they may be of a stream that is being made');
      await store.sweep(10 * MINUTE_MS, signal);
      assert.deepEqual(table.rows(), kept);
      assert.deepEqual((await store.details(orders, signal)).starts, new Map([['t1', START]]));
    });

    it('nothing of a stream that got its definition meanwhile, nor of the one after it', async () => {
      const orders = await create();
      const body = (await table.scan({ item: 'definition' }))[0]!;
      await table.delete([body]);
      await store.sweep(0, signal);
      await table.insert(body);
      await store.sweep(10 * MINUTE_MS, signal);
      assert.deepEqual((await store.details(orders, signal)).starts, new Map([['t1', START]]));
      await table.delete([body]);
      await store.sweep(20 * MINUTE_MS, signal);
      assert.equal((await store.details(orders, signal)).starts.size, 1, 'without a definition since just now');
    });

    it('nothing that a newer Spoor may need', async () => {
      await table.insert({ stream: 'newer', item: 'definition', body: 'v2' });
      await table.insert({ stream: 'newer', item: 'start/g/t1', body: '' });
      await table.insert({ stream: 'other', item: 'later/g/t1', body: '' });
      const before = table.rows();
      for (const atMs of [0, 10 * MINUTE_MS, 20 * MINUTE_MS]) await store.sweep(atMs, signal);
      assert.deepEqual(table.rows(), before);
    });

    it('no pause that the stream of the same name may have got this moment', async () => {
      const row = { stream: 'orders', item: 'paused', body: '{"generation":"dead","since":""}' };
      await table.insert(row);
      await create();
      for (const atMs of [0, 10 * MINUTE_MS]) await store.sweep(atMs, signal);
      assert.deepEqual(await table.scan({ item: 'paused' }), [row]);
    });

    it('nothing of a stream whose maker stood still for so long: it gives up', async (t) => {
      t.mock.timers.enable({ apis: ['Date'] });
      const upsert = table.upsert.bind(table);
      t.mock.method(table, 'upsert', async (rows: Parameters<typeof upsert>[0]) => {
        await upsert(rows);
        t.mock.timers.tick(10 * MINUTE_MS);
      });
      await assert.rejects(create(), /not stored in time/);
      assert.equal(await store.has('orders', signal), false);
    });
  });

  it('leaves alone what another sidecar writes meanwhile for a new stream of the same name', async (t) => {
    await create();
    const other = new StreamStore(table, keepingLogger());
    const scan = table.scan.bind(table);
    let made: StoredStream | null = null;
    t.mock.method(table, 'delete', async (keys: Parameters<typeof table.delete>[0]) => {
      t.mock.restoreAll();
      const existed = await table.delete(keys);
      made = await other.create(definition('orders'), new Map([['t1', START]]), [TABLE], signal);
      await other.setPaused('orders', true, signal);
      return existed;
    });
    assert.equal(await store.delete('orders', signal), true);
    assert.ok(made);
    assert.equal((await scan({ item: 'paused' })).length, 1);
    const { starts, joined } = await store.details(made, signal);
    assert.deepEqual(starts, new Map([['t1', START]]));
    assert.deepEqual(joined.size, 1);
  });
});
