import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NEVER_TIDIED, seeHeap, type TidyMemory } from '../../../src/util/heap-tidier.ts';

const MIB = 1 << 20;

/** A look every ten seconds. @returns at which it was time */
function looks(
  sights: readonly (readonly [mib: number, busyShare: number])[],
  from: TidyMemory = NEVER_TIDIED,
): number[] {
  let memory = from;
  return sights.flatMap(([mib, busyShare], look) => {
    const seen = seeHeap(memory, { heapBytes: mib * MIB, busyShare, nowMs: look * 10_000 });
    memory = seen.memory;
    return seen.isTime ? [look] : [];
  });
}

describe('the heap is tidied', () => {
  it('when it was quiet for half a minute, and not before', () => {
    assert.deepEqual(looks([[200, 0.9], [200, 0.05], [200, 0.05], [200, 0.05]]), [3]); // prettier-ignore
    assert.deepEqual(looks([[200, 0.05], [200, 0.05], [200, 0.5], [200, 0.05], [200, 0.05]]), []); // prettier-ignore
  });

  it('where it is worth it', () => {
    assert.deepEqual(looks([[40, 0], [40, 0], [40, 0], [40, 0]]), []); // prettier-ignore
    const last = { heapBytes: 180 * MIB, atMs: -1e9 };
    assert.deepEqual(
      looks(
        [
          [200, 0],
          [200, 0],
          [200, 0],
        ],
        { quietLooks: 0, last },
      ),
      [],
    );
    assert.deepEqual(
      looks(
        [
          [240, 0],
          [240, 0],
          [240, 0],
        ],
        { quietLooks: 0, last },
      ),
      [2],
    );
  });

  it('not again within ten minutes', () => {
    const last = { heapBytes: 80 * MIB, atMs: 0 };
    const quiet = Array.from({ length: 62 }, () => [300, 0] as const);
    assert.equal(looks(quiet, { quietLooks: 0, last })[0], 60);
  });
});
