import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { compareEntries, ORDER_BYTES, SortedRuns, SortFolder, type Entry } from '../../../src/verify/sorted-runs.ts';

const bytes = (max: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength: max }).map((array) => Buffer.from(array));
const entry = fc.record({
  key: bytes(4),
  order: fc.uint8Array({ minLength: ORDER_BYTES, maxLength: ORDER_BYTES, max: 2 }).map((array) => Buffer.from(array)),
  payload: bytes(300),
});

async function sorted(runs: SortedRuns): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const batch of runs.entries()) entries.push(...batch);
  return entries;
}

const text = ({ key, order, payload }: Entry): string => [key, order, payload].map((b) => b.toString('hex')).join(' ');
const lines = (entries: readonly Entry[]): string[] => entries.map(text);

describe('SortedRuns', () => {
  it('is a sort in memory, however small its memory is', async () => {
    await using folder = await SortFolder.create();
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { maxLength: 200 }),
        fc.integer({ min: 1, max: 20_000 }),
        async (all, memory) => {
          await using runs = new SortedRuns(folder, memory);
          for (const { key, order, payload } of all) await runs.add(key, order, payload);
          const entries = await sorted(runs);
          for (const [i, each] of entries.entries())
            assert.ok(i === 0 || compareEntries(entries[i - 1]!, each) <= 0, 'in order');
          assert.deepEqual(lines(entries).sort(), lines(all).sort());
          assert.equal(runs.count, all.length);
          assert.deepEqual(lines(await sorted(runs)), lines(entries), 'a second time');
        },
      ),
      { numRuns: 60 },
    );
  });

  it('goes on after it was read, merges many runs, and takes entries that are larger than its memory', async () => {
    await using folder = await SortFolder.create();
    await using runs = new SortedRuns(folder, 400);
    const order = Buffer.alloc(ORDER_BYTES);
    const key = (i: number): Buffer => Buffer.from(String((i * 7919) % 5000).padStart(4, '0'));
    for (let i = 0; i < 2500; i++) await runs.add(key(i), order, Buffer.from(String(i)));
    assert.equal((await sorted(runs)).length, 2500);
    await runs.add(Buffer.from('9999'), order, Buffer.alloc(3 << 20, 1));
    for (let i = 2500; i < 5000; i++) await runs.add(key(i), order, Buffer.from(String(i)));
    const entries = await sorted(runs);
    const keys = entries.map((each) => each.key.toString());
    assert.deepEqual(keys, [...Array.from({ length: 5000 }, (_, i) => key(i).toString()), '9999'].sort());
    assert.equal(entries.find(({ payload }) => payload.length > 1000)?.payload.length, 3 << 20);
  });

  it('lets nobody else look, and leaves nothing behind', async () => {
    let path: string;
    {
      await using folder = await SortFolder.create();
      ({ path } = folder);
      assert.equal((await stat(path)).mode & 0o777, 0o700);
      await using runs = new SortedRuns(folder, 10);
      for (const letter of 'cab') await runs.add(Buffer.from(letter), Buffer.alloc(ORDER_BYTES), Buffer.alloc(20));
      assert.deepEqual(await readdir(path), [], 'not even while it works: its files have no names');
      assert.equal((await sorted(runs)).map(({ key }) => key.toString()).join(''), 'abc');
    }
    await assert.rejects(stat(path), /ENOENT/);
  });
});
