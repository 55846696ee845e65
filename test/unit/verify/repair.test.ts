import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { repair, rounds, WrongRows, type Corrector } from '../../../src/verify/repair.ts';

const key = (i: number, bytes = 8): Buffer => Buffer.alloc(bytes, i);
const options = { timeoutMs: 50, progress: () => undefined };

/** Does each request when it is asked the second time whether it has. */
class MemoryCorrector implements Corrector {
  readonly requests: { readonly tabletId: string; readonly keys: number; readonly beside: number }[] = [];
  readonly #open = new Map<string, { readonly id: string; asked: number }>();
  readonly #done = new Map<string, string>();
  isStuck = false;

  request(tabletId: string, keys: readonly Buffer[]): Promise<string> {
    assert.ok(!this.#open.has(tabletId), 'one at a time for a tablet');
    this.requests.push({ tabletId, keys: keys.length, beside: this.#open.size });
    const id = `request ${this.requests.length}`;
    this.#open.set(tabletId, { id, asked: 0 });
    return Promise.resolve(id);
  }

  done(): Promise<ReadonlyMap<string, string>> {
    for (const [tabletId, request] of this.#open)
      if (!this.isStuck && ++request.asked >= 1) {
        this.#done.set(tabletId, request.id);
        this.#open.delete(tabletId);
      }
    return Promise.resolve(this.#done);
  }
}

function wrongRows(...rows: [tabletId: string | null, count: number][]): WrongRows {
  const wrong = new WrongRows();
  for (const [tabletId, count] of rows) for (let i = 0; i < count; i++) wrong.add({ tabletId, encodedKey: key(i) });
  return wrong;
}

describe('repair', () => {
  it('asks in rounds, each in the sink before the next of its tablet', async () => {
    const corrector = new MemoryCorrector();
    const wrong = wrongRows(['a', 450], ['b', 1], [null, 1]);
    assert.equal(wrong.count, 451);
    await repair(wrong, corrector, options, AbortSignal.timeout(10_000));
    const of = (tablet: string): number[] =>
      corrector.requests.flatMap(({ tabletId, keys }) => (tabletId === tablet ? [keys] : []));
    assert.deepEqual([of('a'), of('b')], [[200, 200, 50], [1]]);
  });

  it('gives up a round that does not come', async () => {
    const corrector = new MemoryCorrector();
    corrector.isStuck = true;
    await assert.rejects(repair(wrongRows(['a', 1]), corrector, options, AbortSignal.timeout(10_000)), {
      kind: 'failed',
      message: 'tablet a: rows were not put right within 0.05 s',
    });
  });

  it('advises a copy where too many are wrong, and asks for nothing', async () => {
    const corrector = new MemoryCorrector();
    await assert.rejects(repair(wrongRows(['b', 1], ['a', 20_002]), corrector, options, AbortSignal.timeout(10_000)), {
      message: /^tablet a has more than 20000 rows that are wrong; .*spoor streams resync <stream> --tablet a$/,
    });
    assert.deepEqual(corrector.requests, []);
  });

  it('bounds a round by its bytes', () => {
    const sizes = [6000, 6000, 6000, 30_000, 8].map((bytes, i) => key(i, bytes));
    assert.deepEqual(
      [...rounds(sizes)].map((round) => round.map(({ length }) => length)),
      [[6000, 6000], [6000], [30_000], [8]],
    );
  });
});
