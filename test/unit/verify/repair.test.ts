import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Difference } from '../../../src/verify/comparison.ts';
import { repair, rounds, WrongRows, type CorrectionAnswer, type Corrector } from '../../../src/verify/repair.ts';

const key = (i: number, bytes = 8): Buffer => Buffer.alloc(bytes, i);
const options = { timeoutMs: 50, progress: () => undefined };

/** Does each request when it is asked the second time whether it has. */
class MemoryCorrector implements Corrector {
  readonly requests: { readonly tabletId: string; readonly keys: number; readonly beside: number }[] = [];
  readonly #open = new Map<string, { readonly id: string; asked: number }>();
  readonly #done = new Map<string, string>();
  isStuck = false;
  /** Refused, by their first byte. */
  readonly odd = new Set<number>();

  request(tabletId: string, keys: readonly Buffer[]): Promise<CorrectionAnswer> {
    const odd = keys.flatMap((each, place) => (this.odd.has(each[0]!) ? [place] : []));
    if (odd.length > 0)
      return Promise.resolve({ kind: 'refused', reasons: new Map(odd.map((place) => [place, 'is odd'])) });
    assert.ok(!this.#open.has(tabletId), 'one at a time for a tablet');
    this.requests.push({ tabletId, keys: keys.length, beside: this.#open.size });
    const id = `request ${this.requests.length}`;
    this.#open.set(tabletId, { id, asked: 0 });
    return Promise.resolve({ kind: 'taken', id });
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

function difference(tabletId: string | null, i: number): Difference {
  const named = [{ column: 'k', value: String(i) }];
  return { kind: 'missing', table: 't', key: named, encodedKey: key(i), tabletId, columns: [], records: [] };
}

function wrongRows(...rows: [tabletId: string | null, count: number][]): WrongRows {
  const wrong = new WrongRows();
  for (const [tabletId, count] of rows) for (let i = 0; i < count; i++) wrong.add(difference(tabletId, i));
  return wrong;
}

describe('repair', () => {
  it('asks in rounds, each in the sink before the next of its tablet', async () => {
    const corrector = new MemoryCorrector();
    const wrong = wrongRows(['a', 450], ['b', 1], [null, 1]);
    assert.equal(wrong.count, 452);
    const { repaired, skipped } = await repair(wrong, corrector, options, AbortSignal.timeout(10_000));
    assert.deepEqual([repaired, skipped.map(({ tabletId }) => tabletId)], [451, [null]]);
    const of = (tablet: string): number[] =>
      corrector.requests.flatMap(({ tabletId, keys }) => (tabletId === tablet ? [keys] : []));
    assert.deepEqual([of('a'), of('b')], [[200, 200, 50], [1]]);
  });

  it('skips what is refused, says which, and puts all others right', async () => {
    const corrector = new MemoryCorrector();
    for (const odd of [3, 7, 99]) corrector.odd.add(odd);
    const wrong = wrongRows(['a', 100], ['b', 2]);
    for (const odd of [3, 7]) wrong.add(difference('c', odd));
    const { repaired, skipped } = await repair(wrong, corrector, options, AbortSignal.timeout(10_000));
    assert.equal(repaired, 99);
    assert.deepEqual(skipped.map(({ tabletId, key: [k] }) => `${tabletId} ${k!.value}`).sort(), [
      'a 3',
      'a 7',
      'a 99',
      'c 3',
      'c 7',
    ]);
    assert.deepEqual(skipped[0]!.reason, 'is odd');
    assert.deepEqual(corrector.requests.map(({ tabletId, keys }) => [tabletId, keys]).sort(), [
      ['a', 97],
      ['b', 2],
    ]);
  });

  it('does not ask for ever where no row is to blame', async () => {
    const corrector: Corrector = {
      request: () => Promise.resolve({ kind: 'refused', reasons: new Map([[9, 'is another']]) }),
      done: () => Promise.resolve(new Map()),
    };
    await assert.rejects(repair(wrongRows(['a', 1]), corrector, options, AbortSignal.timeout(10_000)), {
      kind: 'failed',
      message: 'tablet a: a repair was refused for no row',
    });
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
    const sizes = [6000, 6000, 6000, 30_000, 8].map((bytes, i) => ({ encodedKey: key(i, bytes) }));
    assert.deepEqual(
      [...rounds(sizes)].map((round) => round.map(({ encodedKey }) => encodedKey.length)),
      [[6000, 6000], [6000], [30_000], [8]],
    );
  });
});
