import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Catalog, firstTabletId, type CatalogTable } from '../../../src/streams/table-catalog.ts';

const table = (tableId: string, ...starts: readonly [string, string][]): CatalogTable => ({
  tableId,
  name: `shop.${tableId}`,
  tablets: starts.map(([tabletId, start]) => ({ tabletId, partitionKeyStart: Buffer.from(start) })),
});
const signal = new AbortController().signal;

describe('catalog', () => {
  it('asks the master again for a tablet that it does not know, and not for one that the master does not list', async () => {
    let fetches = 0;
    const catalog = new Catalog(() => {
      fetches += 1;
      return Promise.resolve([table('a', ['t1', ''])]);
    }, 60_000);
    await catalog.refresh(['t1'], signal);
    await catalog.refresh(['t1'], signal);
    assert.equal(fetches, 1);
    assert.equal(catalog.tableOf('t1')?.tableId, 'a');
    await catalog.refresh(['t1', 'unlisted'], signal);
    await catalog.refresh(['t1', 'unlisted'], signal);
    assert.equal(fetches, 2);
    await catalog.refresh(['t1', 'unlisted', 'new'], signal);
    assert.equal(fetches, 3);
  });

  it('asks again when what it knows is old', async () => {
    let fetches = 0;
    const catalog = new Catalog(() => {
      fetches += 1;
      return Promise.resolve([]);
    }, -1);
    await catalog.refresh([], signal);
    await catalog.refresh([], signal);
    assert.equal(fetches, 2);
  });

  it('takes the first partition for the tablet that speaks for its table', () => {
    assert.equal(firstTabletId(table('a', ['t2', 'm'], ['t1', ''], ['t3', 'x'])), 't1');
    assert.equal(firstTabletId(table('b')), undefined);
  });
});
