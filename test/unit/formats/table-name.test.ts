import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { splitTableName } from '../../../src/formats/table-name.ts';

describe('the name of a table as readers look for it', () => {
  for (const [name, db, table] of [
    ['shop.orders', 'shop', 'orders'],
    ['impala::shop.orders', 'shop', 'orders'],
    ['a.b.c', 'a', 'b.c'],
    ['orders', '', 'orders'],
    ['impala::orders', '', 'impala::orders'],
    ['.orders', '', 'orders'],
    ['', '', ''],
  ] as const)
    it(`of ${JSON.stringify(name)} is ${JSON.stringify(table)} of ${JSON.stringify(db)}`, () => {
      assert.deepEqual(splitTableName(name), { db, table });
    });
});
