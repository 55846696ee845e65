import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { OrderLoad } from '../../../src/demo/order-load.ts';

describe('demo load', () => {
  it('makes only operations that Kudu applies, and no key twice in a batch', () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 60 }), (seed, batches) => {
        const load = new OrderLoad(randomOf(seed));
        const rows = new Set<unknown>();
        for (const size of batches) {
          const operations = load.take(size, 1n);
          assert.equal(operations.length, size);
          assert.equal(new Set(operations.map(({ row }) => row['order_id'])).size, size);
          for (const { type, row } of operations) {
            const id = row['order_id'];
            assert.equal(rows.has(id), type !== 'insert', `${type} of order ${String(id)}`);
            if (type === 'delete') rows.delete(id);
            else rows.add(id);
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it('mixes inserts, updates and deletes', () => {
    const load = new OrderLoad(randomOf(7));
    const kinds = new Set<string>();
    for (let i = 0; i < 20; i++) for (const { type } of load.take(50, 1n)) kinds.add(type);
    assert.deepEqual([...kinds].sort(), ['delete', 'insert', 'update']);
  });
});

/** A small generator of its own: the same seed gives the same load. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}
