import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Catalog, type CatalogTable } from '../../../src/streams/table-catalog.ts';
import { keptOf } from '../../../src/placement/kept-tablet.ts';
import { StreamMembers } from '../../../src/placement/open-streams.ts';
import { isStreamable } from '../../../src/streams/table-patterns.ts';
import type { JoinedTable, StoredStream, StreamDetails, StreamSource } from '../../../src/streams/stored-stream.ts';
import { parseStreamDefinition } from '../../../src/streams/definition.ts';
import { refusingSink } from '../../../src/sinks/refusing-sink.ts';

function streamOf(name: string, tables: readonly string[]): StoredStream {
  const parsed = parseStreamDefinition({ name, tables, start: 'now', sink: { type: 'kafka', topic: name } });
  assert.ok(parsed.kind === 'ok');
  return {
    definition: parsed.definition,
    generation: name,
    createdAt: '2026-01-01T00:00:00.000Z',
    number: 1,
    revision: '',
    paused: false,
    memberships: new Map(),
  };
}

const table = (name: string): CatalogTable => ({
  tableId: `id of ${name}`,
  name,
  tablets: [{ tabletId: `tablet of ${name}`, partitionKeyStart: Buffer.alloc(0) }],
});

/** Keeps joined tables; while it hangs, no question is answered before its time is over. */
class Source implements StreamSource {
  hangs = false;
  questions = 0;
  readonly #joined = new Map<string, JoinedTable>();

  list(): Promise<readonly StoredStream[]> {
    return Promise.resolve([]);
  }
  details(_: StoredStream, signal: AbortSignal): Promise<StreamDetails> {
    return this.#answer(
      () => ({
        starts: new Map(),
        joined: new Map(this.#joined),
        resyncs: new Map(),
        gapRepairs: new Map(),
        rewinds: new Map(),
        skips: new Map(),
        corrections: new Map(),
        ended: new Set(),
      }),
      signal,
    );
  }
  setSpeaker(): Promise<void> {
    return Promise.resolve();
  }
  endTablet(): Promise<void> {
    return Promise.resolve();
  }
  joinTable(_: StoredStream, { tableId, name }: CatalogTable, signal: AbortSignal): Promise<JoinedTable> {
    return this.#answer(() => {
      const joined = { name, speakerTabletId: tableId };
      this.#joined.set(tableId, joined);
      return joined;
    }, signal);
  }
  #answer<T>(value: () => T, signal: AbortSignal): Promise<T> {
    this.questions++;
    if (!this.hangs) return Promise.resolve(value());
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });
  }
}

describe('the members of streams', () => {
  it('stay known while the table where they are kept hangs, and one question a stream is all that waits', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const tables = ['shop.a', 'shop.b', 'other.c', 'other.d'].map(table);
    const catalog = new Catalog(() => Promise.resolve(tables), 1e9);
    await catalog.fetchNow(t.signal);
    const source = new Source();
    const members = new StreamMembers({
      streams: source,
      catalog,
      sinkFor: () => refusingSink('not used'),
      formatFor: () => ({ encode: () => null }),
      systemTablePrefix: 'spoor.',
    });
    const streams = [streamOf('shop', ['shop.*'])];
    const tabletIds = new Set(tables.map(({ tablets }) => tablets[0]!.tabletId));
    const troubles: unknown[] = [];
    const note = (error: unknown): number => troubles.push(error);
    const none = (): undefined => undefined;
    const before = await members.streamedTablets(streams, tabletIds, [], none, t.signal, note);
    assert.deepEqual(
      before.map(({ table: { name } }) => name),
      ['shop.a', 'shop.b'],
    );
    assert.deepEqual(troubles, []);

    source.hangs = true;
    source.questions = 0;
    tables.push(table('shop.new'), table('shop.newer'));
    await catalog.fetchNow(t.signal);
    for (const { tablets } of tables) tabletIds.add(tablets[0]!.tabletId);
    const looking = members.streamedTablets(streams, tabletIds, before, none, t.signal, note);
    for (let i = 0; i < 50; i++) await Promise.resolve();
    t.mock.timers.tick(1_600);
    assert.deepEqual(
      (await looking).map(({ table: { name } }) => name),
      ['shop.a', 'shop.b'],
    );
    assert.equal(source.questions, 1);
    assert.ok(troubles.length > 0, 'what is not known is told');

    source.hangs = false;
    const after = await members.streamedTablets(streams, tabletIds, before, none, t.signal, note);
    assert.deepEqual(
      after.map(({ table: { name } }) => name),
      ['shop.a', 'shop.b', 'shop.new', 'shop.newer'],
    );
  });

  it('of which one that joins again is known with its new start, or as it was before', async (t) => {
    const tables = [table('shop.a')];
    const catalog = new Catalog(() => Promise.resolve(tables), 1e9);
    await catalog.fetchNow(t.signal);
    const source = new Source();
    const members = new StreamMembers({
      streams: source,
      catalog,
      sinkFor: () => refusingSink('not used'),
      formatFor: () => ({ encode: () => null }),
      systemTablePrefix: 'spoor.',
    });
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const look = async (stream: StoredStream): Promise<string[]> => {
      const ids = new Set(['tablet of shop.a']);
      const looking = members.streamedTablets(
        [stream],
        ids,
        [],
        () => undefined,
        t.signal,
        () => undefined,
      );
      for (let i = 0; i < 50; i++) await Promise.resolve();
      t.mock.timers.tick(1_600);
      return (await looking).flatMap(({ streams, table: { tableId }, tabletId }) =>
        streams.map(({ open }) => keptOf(open, tableId, tabletId).generation),
      );
    };
    const first = streamOf('shop', ['shop.a']);
    assert.deepEqual(await look(first), ['shop']);
    const again = {
      ...first,
      revision: '3/',
      memberships: new Map([['id of shop.a', { id: '3', again: true }]]),
    };
    source.hangs = true; // its start is not known yet: it must not begin without
    assert.deepEqual(await look(again), ['shop']);
    source.hangs = false;
    assert.deepEqual(await look(again), ['shop.3']);
  });

  it('have tablets that are the same objects until something of them is another', async (t) => {
    const tables = [table('shop.a'), table('shop.b')];
    const catalog = new Catalog(() => Promise.resolve([...tables]), 1e9);
    await catalog.fetchNow(t.signal);
    const members = new StreamMembers({
      streams: new Source(),
      catalog,
      sinkFor: () => refusingSink('not used'),
      formatFor: () => ({ encode: () => null }),
      systemTablePrefix: 'spoor.',
    });
    const ids = new Set(['tablet of shop.a', 'tablet of shop.b']);
    let known: Awaited<ReturnType<StreamMembers['streamedTablets']>> = [];
    /** Which of the two are as they were with the look before. */
    const look = async (stream: StoredStream): Promise<boolean[]> => {
      const before = known;
      const fail = (error: unknown): never => assert.fail(String(error));
      known = await members.streamedTablets([stream], ids, before, () => undefined, t.signal, fail);
      const same = known.map((tablet, i) => tablet === before[i]);
      assert.equal(known === before, same.every(Boolean), 'nor is the list another');
      return same;
    };
    const stream = streamOf('shop', ['shop.*']);
    assert.deepEqual(await look(stream), [false, false]);
    assert.deepEqual(await look(stream), [true, true]);
    assert.deepEqual(await look({ ...stream, paused: true }), [false, false]);
    assert.deepEqual(
      await look({ ...stream, paused: true, revision: '2/' }),
      [false, false],
      'it may have other starts',
    );
    assert.deepEqual(await look({ ...stream, paused: true, revision: '2/' }), [true, true]);
    tables[1] = { ...tables[1]!, name: 'shop.renamed' };
    await catalog.fetchNow(t.signal);
    assert.deepEqual(await look({ ...stream, paused: true, revision: '2/' }), [true, false]);
  });

  it("are never Kudu's own tables nor Spoor's, whatever the pattern (trap 16)", async (t) => {
    for (const [name, expected] of [
      ['kudu_system.kudu_transactions', false],
      ['kudu_system.', false],
      ['kudu_systems.orders', true],
      ['shop.kudu_system.orders', true],
      ['spoor.streams', false],
      ['spoor.sidecars', false],
      ['spoored', true],
    ] as const)
      assert.equal(isStreamable(name, 'spoor.'), expected, name);

    const tables = ['kudu_system.kudu_transactions', 'spoor.streams', 'shop.a'].map(table);
    const catalog = new Catalog(() => Promise.resolve(tables), 1e9);
    await catalog.fetchNow(t.signal);
    const members = new StreamMembers({
      streams: new Source(),
      catalog,
      sinkFor: () => refusingSink('not used'),
      formatFor: () => ({ encode: () => null }),
      systemTablePrefix: 'spoor.',
    });
    const tabletIds = new Set([
      ...tables.map(({ tablets }) => tablets[0]!.tabletId),
      'one that the master does not list',
    ]);
    const streamed = await members.streamedTablets(
      [streamOf('all', ['*'])],
      tabletIds,
      [],
      () => undefined,
      t.signal,
      (error) => assert.fail(String(error)),
    );
    assert.deepEqual(
      streamed.map(({ table: { name } }) => name),
      ['shop.a'],
    );
  });
});
