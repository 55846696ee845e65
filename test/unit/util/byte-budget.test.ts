import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { ByteBudget, type BudgetShare } from '../../../src/util/byte-budget.ts';

const never = new AbortController().signal;

describe('ByteBudget', () => {
  it('never gives more than there is, but to one alone, and leaves nobody waiting', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.infiniteStream(fc.nat()), async (all, choices) => {
        const budget = new ByteBudget(100);
        const holding: { readonly share: BudgetShare; readonly bytes: number }[] = [];
        let taken = 0;
        for (const bytes of all) {
          const share = budget.share();
          void share.take(bytes, never).then(() => {
            taken++;
            holding.push({ share, bytes });
          });
        }
        while (taken < all.length || holding.length > 0) {
          await turn();
          const bytes = holding.reduce((sum, one) => sum + one.bytes, 0);
          assert.ok(bytes <= 100 || holding.length === 1, `${bytes} bytes of ${holding.length}`);
          assert.ok(holding.length > 0, 'all wait');
          holding.splice(choices.next().value! % holding.length, 1)[0]!.share.giveBack();
        }
      }),
    );
  });

  it('gives more to who has some, and takes it back at once', async () => {
    const budget = new ByteBudget(100);
    const [one, other] = [budget.share(), budget.share()];
    await one.take(80, never);
    await one.take(80, never);
    let isGiven = false;
    const given = other.take(50, never).then(() => (isGiven = true));
    await turn();
    assert.equal(isGiven, false);
    one.giveBack();
    await given;
    one.giveBack(); // nothing
    const third = budget.share();
    await third.take(50, never);
  });

  it('lets nobody wait for long for those who rest, and for one who does not as long as he likes', async () => {
    const budget = new ByteBudget(100);
    const [one, two, other] = [budget.share(), budget.share(), budget.share()];
    await one.take(50, never);
    await two.take(50, never);
    one.rest(true);
    let isGiven = false;
    const given = other.take(100, never).then(() => (isGiven = true));
    assert.match(other.wait.now?.for ?? '', /room in memory for a large operation, of 100 bytes/);
    await sleep(1_500);
    assert.equal(isGiven, false, 'somebody is at it');
    const startMs = performance.now();
    two.rest(true);
    await given;
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs > 900 && tookMs < 3_000, `${tookMs} ms`);
    assert.equal(other.wait.now, null);
    const fourth = budget.share();
    const stop = new AbortController();
    const waits = fourth.take(10, stop.signal);
    await sleep(1_500);
    assert.ok(fourth.wait.now, 'who was let in does not rest');
    stop.abort(new Error('enough'));
    await assert.rejects(waits, /enough/);
    two.giveBack();
    one.giveBack(30);
    other.giveBack();
    one.giveBack();
    await budget.share().take(100, never);
  });

  it('forgets who stops waiting, and serves who stood behind', async () => {
    const budget = new ByteBudget(100);
    const [one, large, small] = [budget.share(), budget.share(), budget.share()];
    await one.take(60, never);
    const stop = new AbortController();
    const given = large.take(90, stop.signal);
    const next = small.take(30, never);
    stop.abort(new Error('stopped'));
    await assert.rejects(given, /stopped/);
    await next;
    large.giveBack();
  });
});
