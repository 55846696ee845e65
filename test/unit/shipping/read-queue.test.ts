import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ReadQueue, type QueuedRead } from '../../../src/shipping/read-queue.ts';

const read = (index: number, bytes: number, hasRecords: boolean): QueuedRead => {
  return {
    upTo: { opId: { term: 1n, index: BigInt(index) }, tableName: 't', schemaVersion: 0 },
    bytes,
    hasRecords,
    readAtMs: index,
  };
};

const steps = fc.array(
  fc.oneof(
    fc.record({ from: fc.nat(), bytes: fc.nat(100), hasRecords: fc.boolean() }),
    fc.record({ from: fc.nat(), drops: fc.nat(6) }),
  ),
  { maxLength: 60 },
);

describe('ReadQueue', () => {
  it('is a value: each of them stays what it was, whatever was made from it', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const made: { readonly queue: ReadQueue; readonly is: readonly QueuedRead[] }[] = [
          { queue: ReadQueue.EMPTY, is: [] },
        ];
        for (const [i, step] of all.entries()) {
          // Most often from the last one, as it is used.
          const { queue, is } = made[step.from % 3 === 0 ? step.from % made.length : made.length - 1]!;
          if ('drops' in step) made.push({ queue: queue.drop(step.drops), is: is.slice(step.drops) });
          else {
            const next = read(i, step.bytes, step.hasRecords);
            made.push({ queue: queue.push(next), is: [...is, next] });
          }
        }
        for (const { queue, is } of made) {
          assert.deepEqual(
            Array.from({ length: queue.length }, (_, i) => queue.at(i)),
            is,
          );
          assert.equal(queue.at(queue.length), undefined);
          assert.equal(
            queue.bytes,
            is.reduce((sum, { bytes }) => sum + bytes, 0),
          );
          assert.equal(
            queue.hasRecords,
            is.some(({ hasRecords }) => hasRecords),
          );
          const odd = ({ readAtMs }: QueuedRead): boolean => readAtMs % 2 === 1;
          assert.equal(queue.findIndex(odd), is.findIndex(odd));
        }
      }),
    );
  });

  it('takes no longer for a read when it has many', () => {
    const startMs = performance.now();
    let queue = ReadQueue.EMPTY;
    for (let i = 0; i < 200_000; i++) queue = queue.push(read(i, 1, true));
    assert.ok(performance.now() - startMs < 2_000, `${performance.now() - startMs} ms`);
    while (queue.length > 0) queue = queue.drop(100);
    assert.equal(queue.bytes, 0);
  });
});
