import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { STREAM_COLUMNS, StreamStore } from '../../../src/cluster/stream-store.ts';
import type { StoredStream } from '../../../src/replication/stored-stream.ts';
import { parseStreamDefinition, type StreamDefinition } from '../../../src/replication/stream.ts';
import { StreamExistsError } from '../../../src/replication/views.ts';
import type { SinkPosition } from '../../../src/change/position.ts';
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
  beforeEach(() => {
    table = new MemorySystemTable(STREAM_COLUMNS, 2);
    store = new StreamStore(table);
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
      joined: new Map([['aa', { speakerTabletId: 't1' }]]),
      resyncs: new Map(),
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

  it('leaves alone what another sidecar writes meanwhile for a new stream of the same name', async (t) => {
    await create();
    const other = new StreamStore(table);
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
