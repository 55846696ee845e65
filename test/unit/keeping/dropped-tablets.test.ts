import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DroppedTablets } from '../../../src/keeping/dropped-tablets.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';

const TABLE = { tableId: 'table', name: 'shop.orders' };
const TABLET = { tableId: 'table', tabletId: 'tablet' };

/** What a tablet that is dropped is known to have had, over a restart of the sidecar. */
function setUp() {
  const lines: LogLine[] = [];
  let note: string | null = null;
  const keeper = { worthIndex: 40n, hold: { describe: (text: string) => (note = text) } };
  const keepers = { get: () => keeper, noteOf: () => note, tabletIds: () => new Set(['tablet']) };
  const fates = {
    dropKind: () => Promise.resolve('table-dropped' as const),
    partitionsOf: () => Promise.resolve(new Map([['tablet', '{}']])),
  };
  const start = (): DroppedTablets => new DroppedTablets(keepers as never, fates, keepingLogger(lines));
  return { lines, keeper, start };
}

describe('a tablet that is dropped', () => {
  const { signal } = new AbortController();
  const replicas = new Map([['tablet', { tabletId: 'tablet', voterUuids: ['a'] } as never]]);
  const described = [{ tabletId: 'tablet', table: TABLE, generations: ['one'] }];

  it('had what its log shows, and what a limit has let go of, of which nothing is left to read after a restart', async () => {
    const { keeper, start } = setUp();
    const dropped = start();
    await dropped.write(described, replicas, signal);
    assert.equal((await dropped.whyGone(TABLET, signal))?.lastIndex, 40n);
    dropped.noteLost('tablet', 70n);
    dropped.noteLost('tablet', 60n);
    await dropped.write(described, replicas, signal);
    keeper.worthIndex = 0n;
    const end = await start().whyGone(TABLET, signal);
    assert.deepEqual(end, { event: 'table-dropped', partition: '{}', lastIndex: 70n });
    keeper.worthIndex = 90n;
    assert.equal((await start().whyGone(TABLET, signal))?.lastIndex, 90n);
  });

  it('is described once, and again when anything of it is another, or what was written down is gone', async () => {
    const kept: { note: string | null; written: number } = { note: null, written: 0 };
    const hold = { describe: (note: string) => void Object.assign(kept, { note, written: kept.written + 1 }) };
    const keepers = {
      get: () => ({ worthIndex: 0n, hold }),
      noteOf: () => kept.note,
      tabletIds: () => new Set(['tablet']),
    };
    const fates = {
      dropKind: () => Promise.resolve(null),
      partitionsOf: () => Promise.resolve(new Map([['tablet', '{}']])),
    };
    const dropped = new DroppedTablets(keepers as never, fates, keepingLogger());
    const replicasOf = (voter: string) => new Map([['tablet', { tabletId: 'tablet', voterUuids: [voter] } as never]]);
    const [a, b] = [replicasOf('a'), replicasOf('b')];
    const one = { tabletId: 'tablet', table: TABLE, generations: ['one'] };
    const counts: number[] = [];
    const look = async (tablet: typeof one, replicas: typeof a): Promise<void> => {
      for (let i = 0; i < 3; i++) await dropped.write([tablet], replicas, signal);
      counts.push(kept.written);
    };
    await look(one, a); // without its partition, and with it
    await look(one, b);
    await look({ ...one, generations: ['one', 'two'] }, b);
    await look({ ...one, table: { ...TABLE, name: 'shop.renamed' } }, b);
    kept.note = null; // let go of, and held once more
    await look(one, b);
    assert.deepEqual(counts, [2, 3, 4, 5, 6]);
    dropped.noteLost('tablet', 7n);
    await look(one, b);
    assert.equal(await dropped.whyGone(TABLET, signal), null, 'it is there');
    assert.match(String(kept.note), /"lostTo":"7"/, 'what was lost stays known');
  });

  it('is an error once for each stream that lacks something of it, however often its end is told', () => {
    const { lines, start } = setUp();
    const dropped = start();
    const missing = { operations: { fromIndex: 5n, toIndex: 9n }, copy: false };
    for (const generation of ['one', 'two', 'one', 'two'])
      dropped.tellMissing({ name: `stream ${generation}`, generation }, 'tablet', missing);
    assert.deepEqual(
      lines.map(({ level, fields }) => `${level} ${(fields as { stream: string }).stream}`),
      ['error stream one', 'error stream two'],
    );
  });
});
