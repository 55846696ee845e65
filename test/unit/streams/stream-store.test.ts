import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { STREAM_COLUMNS, StreamStore } from '../../../src/streams/stream-store.ts';
import { StreamSweeper } from '../../../src/streams/stream-sweeper.ts';
import { FIRST_MEMBERSHIP } from '../../../src/streams/membership.ts';
import type { StoredStream } from '../../../src/streams/stored-stream.ts';
import { parseStreamDefinition, type StreamDefinition } from '../../../src/streams/definition.ts';
import { SpoorError } from '../../../src/errors.ts';
import { StreamExistsError } from '../../../src/streams/stream-errors.ts';
import type { TabletPosition } from '../../../src/change/position.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';
import { MemorySystemTable } from '../../support/memory-system-table.ts';

const { signal } = new AbortController();
const START: TabletPosition = { opId: { term: 7n, index: 1042n }, tableName: 'shop.orders', schemaVersion: 3 };
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
  let sweeper: StreamSweeper;
  let lines: LogLine[];
  beforeEach(() => {
    table = new MemorySystemTable(STREAM_COLUMNS, 2);
    lines = [];
    store = new StreamStore(table, keepingLogger(lines));
    sweeper = new StreamSweeper(table, keepingLogger());
  });
  const create = (name = 'orders'): Promise<StoredStream> =>
    store.create({ definition: definition(name), paused: false }, new Map([['t1', START]]), [TABLE], signal);
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
      gapRepairs: new Map(),
      rewinds: new Map(),
      skips: new Map(),
      corrections: new Map(),
      ended: new Set(),
    });
    await assert.rejects(create(), StreamExistsError);
    assert.deepEqual(items().sort(), ['orders definition', 'orders part', 'orders start', 'orders table']);
  });

  it('pauses and resumes, as often as it is told', async () => {
    const [orders, items] = [await create(), await create('items')];
    for (const [paused, number] of [
      [true, 2],
      [true, 2],
      [false, 3],
      [false, 3],
      [true, 4],
    ] as const) {
      const now = { ...orders, paused, number, revision: `${number}/` };
      assert.deepEqual(await store.setPaused('orders', paused, signal), now);
      assert.deepEqual(await store.get('orders', signal), now);
      assert.deepEqual(await store.list(signal), [now, items]);
    }
  });

  it('says so where there is no stream to pause, and keeps nothing', async () => {
    assert.equal(await store.setPaused('nope', true, signal), null);
    assert.equal(await store.setPaused('nope', false, signal), null);
    assert.deepEqual(table.rows(), []);
  });

  it('lists all streams in one scan', async () => {
    for (const name of ['a', 'b', 'c']) await create(name);
    await store.setPaused('b', true, signal);
    await store.list(signal); // the texts of revisions are read once
    table.scans = 0;
    const listed = await store.list(signal);
    assert.deepEqual([table.scans, listed.map(({ paused }) => paused)], [1, [false, true, false]]);
  });

  it('lists the very same streams while no row of them is another, and others once one is', async () => {
    for (const name of ['a', 'b']) await create(name);
    const [a, b] = await store.list(signal);
    assert.deepEqual(
      (await store.list(signal)).map((stream, i) => stream === [a, b][i]),
      [true, true],
    );
    await store.setPaused('b', true, signal);
    const paused = (await store.list(signal))[1];
    assert.deepEqual([paused?.paused, paused === b], [true, false]);
    await store.resync(paused!, [{ tableId: 't', tabletId: 't1', membership: FIRST_MEMBERSHIP }], 'snapshot', signal);
    assert.notEqual((await store.list(signal))[1]?.revision, paused?.revision, 'what is kept of it is another');
    await store.delete('a', signal);
    assert.deepEqual(
      (await store.list(signal)).map(({ definition: { name } }) => name),
      ['b'],
    );
  });

  it('deletes a paused stream with all its rows, and no other', async () => {
    await create('items');
    await create();
    await store.setPaused('orders', true, signal);
    assert.equal(await store.delete('orders', signal), true);
    assert.deepEqual(table.rows().filter(({ item }) => /^(start|table|details)/.test(item)).length, 2);
    assert.equal(await store.delete('orders', signal), false);
    assert.equal((await create()).paused, false);
    assert.deepEqual((await store.get('orders', signal))?.paused, false);
  });

  /** Rows as version 0.1 writes them. */
  const old = async (paused = false): Promise<void> => {
    const body = { definition: definition('orders'), generation: 'old', createdAt: '2026-01-02T03:04:05.678Z' };
    const row = (item: string, body: object) => ({ stream: 'orders', item, body: JSON.stringify(body) });
    await table.upsert([
      row('definition', body),
      row('revision', { generation: 'old', revision: 'r' }),
      row('table/old/aa', { name: 'shop.orders', speakerTabletId: 't1' }),
      row('start/old/t1', { op: '7.1042', table: 'shop.orders', schema: 3 }),
      row('resync/old/t1', { id: 'x', from: 'gap', requestedAt: '2026-01-02T03:04:05.678Z' }),
      ...(paused ? [row('paused', { generation: 'old', since: '2026-01-02T03:04:05.678Z' })] : []),
    ]);
  };

  describe('of version 0.1', () => {
    it('is read, and shipped under the names of then', async () => {
      await old(true);
      const [stored] = await store.list(signal);
      assert.ok(stored);
      assert.deepEqual([stored.paused, stored.number, stored.memberships.size], [true, 0, 0]);
      const { starts, joined, gapRepairs, resyncs } = await store.details(stored, signal);
      assert.deepEqual(starts, new Map([['t1', START]]));
      assert.deepEqual([...joined.keys(), ...gapRepairs.keys(), ...resyncs.keys()], ['aa', 't1']);
      await assert.rejects(create(), StreamExistsError);
    });

    it('goes on as it is when it is changed', async () => {
      await old(true);
      const before = (await store.get('orders', signal))!;
      const resumed = await store.setPaused('orders', false, signal);
      assert.deepEqual([resumed?.paused, resumed?.generation, resumed?.number], [false, 'old', 1]);
      const changed = await store.change('orders', () => ({ definition: definition('orders') }), signal);
      assert.deepEqual((await store.list(signal))[0], changed);
      assert.deepEqual((await store.details(changed!, signal)).starts, (await store.details(before, signal)).starts);
    });

    it('is deleted for good', async () => {
      await old();
      assert.equal(await store.delete('orders', signal), true);
      assert.deepEqual(items(), ['orders definition']);
      assert.equal(await store.has('orders', signal), false);
      assert.equal((await create()).number, 2);
    });

    it('sees when a sidecar of version 0.1 has changed its details', async () => {
      await old();
      const [before] = await store.list(signal);
      await table.upsert([{ stream: 'orders', item: 'revision', body: '{"generation":"old","revision":"s"}' }]);
      assert.notEqual((await store.list(signal))[0]!.revision, before!.revision);
    });
  });

  it('takes the largest definition that the API allows, in any script', async () => {
    const tables = Array.from({ length: 1000 }, (_, i) => `${i}.`.padEnd(255, 'ü\u{1F600}').slice(0, 256));
    await create();
    const made = await store.change('orders', () => ({ definition: { ...definition('orders'), tables } }), signal);
    assert.deepEqual(made?.definition.tables, tables);
    assert.deepEqual(await new StreamStore(table, keepingLogger()).list(signal), [made]);
  });

  it('knows by the row itself that a write whose answer was lost was its own', async (t) => {
    const insert = table.insert.bind(table);
    t.mock.method(table, 'insert', async (row: Parameters<typeof insert>[0]) => {
      await insert(row);
      throw new Error('lost');
    });
    t.mock.method(store, 'joinTable', () => Promise.resolve({ name: '', speakerTabletId: '' }));
    const made = await create();
    assert.deepEqual(await store.list(signal), [made]);
  });

  describe('a table that is taken out and put in again', () => {
    const TABLES = [TABLE];
    const copied: TabletPosition = { opId: { term: 0n, index: 0n }, tableName: 'x', schemaVersion: 0, copy: 'wanted' };
    const edit = (patch: Parameters<StreamStore['change']>[1]) => store.change('orders', patch, signal);

    it('begins another membership, with nothing of the one before', async () => {
      const made = await create();
      await store.resync(made, [{ tableId: 'aa', tabletId: 't1', membership: FIRST_MEMBERSHIP }], 'snapshot', signal);
      const out = (await edit(({ definition }) => ({
        definition: { ...definition, tables: ['other'] },
        leaves: ['aa'],
      })))!;
      assert.equal((await store.joinedTables(out, signal)).size, 0);
      const again = (await edit(() => ({
        definition: definition('orders'),
        joins: TABLES,
        starts: new Map([['t1', copied]]),
      })))!;
      assert.deepEqual(again.memberships, new Map([['aa', { id: '3', again: true }]]));
      const details = await store.details(again, signal);
      assert.deepEqual(details.starts.get('t1/3'), copied);
      assert.deepEqual([...details.joined.keys()], ['aa']);
      assert.equal(details.resyncs.has('t1/3'), false);
    });

    it('is not in for a sidecar that was late, and joined it by a definition of before', async () => {
      const made = await create();
      const out = (await edit(({ definition }) => ({
        definition: { ...definition, tables: ['other'] },
        leaves: ['aa'],
      })))!;
      await new StreamStore(table, keepingLogger()).joinTable(made, TABLE, signal);
      assert.equal((await store.joinedTables(out, signal)).size, 0);
      const again = (await edit(() => ({ definition: definition('orders'), joins: TABLES })))!;
      assert.deepEqual(again.memberships.get('aa'), { id: '3', again: true });
    });

    it('is ended in the membership that ended, and no other', async () => {
      const made = await create();
      const again = (await edit(() => ({ joins: TABLES })))!;
      await store.endTablet(again, { tableId: 'aa', tabletId: 't1', membership: FIRST_MEMBERSHIP }, signal);
      const { ended } = await store.details(again, signal);
      assert.deepEqual([[...ended], made.generation], [['t1'], again.generation]);
    });
  });

  it('keeps a copy that was asked for when a repair is asked for after it', async () => {
    const made = await create();
    const tablets = [{ tableId: 'aa', tabletId: 't1', membership: FIRST_MEMBERSHIP }];
    await store.resync(made, tablets, 'snapshot', signal);
    await store.resync(made, tablets, 'gap', signal);
    const { resyncs, gapRepairs } = await store.details(made, signal);
    assert.deepEqual([resyncs.get('t1')?.from, gapRepairs.get('t1')?.from], ['snapshot', 'gap']);
  });

  it('forgets what was to be left out of a tablet that has ended, and of no other', async () => {
    const made = await create();
    const tablet = (tabletId: string) => ({ tableId: 'aa', tabletId, membership: FIRST_MEMBERSHIP });
    for (const [tabletId, index] of [
      ['t1', 7n],
      ['t1', 9n],
      ['t2', 7n],
    ] as const)
      await store.skip(made, tablet(tabletId), { term: 1n, index }, signal);
    const later = { ...tablet('t1'), membership: { id: '3', again: true } };
    await store.skip(made, later, { term: 1n, index: 8n }, signal);
    await store.endTablet(made, tablet('t1'), signal);
    const { skips } = await store.details(made, signal);
    assert.deepEqual([...skips.keys()].sort(), ['t1/3', 't2']);
    const rows = table.rows().filter(({ item }) => item.startsWith('skip/'));
    assert.equal(rows.length, 2);
  });

  it('sets no speaker of a table that is deleted at that moment', async (t) => {
    const made = await create();
    const scan = table.scan.bind(table);
    t.mock.method(table, 'scan', async (wanted: Parameters<typeof scan>[0]) => {
      const rows = await scan(wanted);
      t.mock.restoreAll();
      await table.delete(rows);
      return rows;
    });
    await store.setSpeaker(made, { tableId: 'aa', tabletId: 't2', membership: FIRST_MEMBERSHIP }, signal);
    assert.equal((await store.joinedTables(made, signal)).size, 0);
  });

  describe('that has a stream of a newer Spoor', () => {
    const body = (more: object): string =>
      JSON.stringify({ definition: { ...definition('newer'), ...more }, generation: 'g', createdAt: '2026-01-02' });
    const CASES: { what: string; rows: { item: string; body: string }[]; reason: RegExp }[] = [
      { what: 'an option', rows: [{ item: 'definition', body: body({ later: 1 }) }], reason: /"newer" .*: later: / },
      {
        what: 'a sink',
        rows: [{ item: 'definition', body: body({ sink: { type: 'pulsar' } }) }],
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
        assert.equal(await store.has('newer', signal), false);
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

    it('what a failed creation, a deletion that was cut short and older revisions left, when it is old', async (t) => {
      const orders = await create();
      const kept = await table.scan({ item: { prefix: 't' } });
      await store.setPaused('orders', true, signal);
      t.mock.method(table, 'insert', () => Promise.reject(new Error('lost')));
      await assert.rejects(create('failed'), /lost/);
      t.mock.restoreAll();
      const deleted = await create('deleted');
      await store.resync(deleted, [{ tableId: 'aa', tabletId: 't1', membership: FIRST_MEMBERSHIP }], 'gap', signal);
      await store.setPaused('deleted', true, signal);
      t.mock.method(table, 'delete', () => Promise.reject(new Error('lost')));
      await assert.rejects(store.delete('deleted', signal), /lost/);
      t.mock.restoreAll();
      assert.equal(await store.delete('deleted', signal), false, 'it was deleted, and stays so');
      const before = items().length;
      for (const atMs of [0, 5 * MINUTE_MS]) await sweeper.sweep(atMs, signal);
      assert.equal(items().length, before, 'they may be of a stream that is being made');
      await sweeper.sweep(10 * MINUTE_MS, signal);
      assert.deepEqual(items().sort(), [
        'deleted definition',
        'orders definition',
        'orders part',
        'orders start',
        'orders table',
      ]);
      assert.deepEqual(await table.scan({ item: { prefix: 't' } }), kept);
      assert.deepEqual((await store.details(orders, signal)).starts, new Map([['t1', START]]));
      assert.equal((await store.get('orders', signal))?.paused, true);
      assert.equal((await new StreamStore(table, keepingLogger()).get('orders', signal))?.number, 2);
    });

    it('nothing of a stream that got its definition meanwhile, nor of the one after it', async () => {
      const orders = await create();
      const [row] = await table.scan({ item: { prefix: 'definition/' } });
      await table.delete([row!]);
      await sweeper.sweep(0, signal);
      await table.insert(row!);
      await sweeper.sweep(10 * MINUTE_MS, signal);
      assert.deepEqual((await store.details(orders, signal)).starts, new Map([['t1', START]]));
      await table.delete([row!]);
      await sweeper.sweep(20 * MINUTE_MS, signal);
      assert.equal((await store.details(orders, signal)).starts.size, 1, 'without a definition since just now');
    });

    it('nothing that a newer Spoor may need', async () => {
      await table.insert({ stream: 'newer', item: 'definition', body: 'v2' });
      await table.insert({ stream: 'newer', item: 'start/g/t1', body: '' });
      await table.insert({ stream: 'other', item: 'later/g/t1', body: '' });
      const before = table.rows();
      for (const atMs of [0, 10 * MINUTE_MS, 20 * MINUTE_MS]) await sweeper.sweep(atMs, signal);
      assert.deepEqual(table.rows(), before);
    });

    it('nothing that sidecars of version 0.1 go by which run beside those of now', async () => {
      await old(true);
      await store.change('orders', () => ({ paused: false }), signal);
      for (const atMs of [0, 10 * MINUTE_MS]) await sweeper.sweep(atMs, signal);
      assert.equal((await table.scan({ item: ['definition', 'paused', 'revision'] })).length, 3);
    });

    it('nothing of a stream whose maker stood still for so long: it gives up', async (t) => {
      let stoodMs = 0; // and its clock was set back meanwhile
      const now = performance.now.bind(performance);
      t.mock.method(performance, 'now', () => now() + stoodMs);
      t.mock.method(Date, 'now', () => Date.UTC(2026, 0, 1) - stoodMs);
      const upsert = table.upsert.bind(table);
      t.mock.method(table, 'upsert', async (rows: Parameters<typeof upsert>[0]) => {
        await upsert(rows);
        stoodMs += 10 * MINUTE_MS;
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
      made = await other.create(
        { definition: definition('orders'), paused: false },
        new Map([['t1', START]]),
        [TABLE],
        signal,
      );
      await other.setPaused('orders', true, signal);
      return existed;
    });
    assert.equal(await store.delete('orders', signal), true);
    assert.ok(made);
    assert.equal((await store.get('orders', signal))?.paused, true);
    assert.equal((await scan({ item: { prefix: 'start/' } })).length, 1);
    const { starts, joined } = await store.details(made, signal);
    assert.deepEqual(starts, new Map([['t1', START]]));
    assert.deepEqual(joined.size, 1);
  });
});
