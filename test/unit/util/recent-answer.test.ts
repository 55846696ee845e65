import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RecentAnswer } from '../../../src/util/recent-answer.ts';

describe('a recent answer', () => {
  it('is given again while it is fresh, and asked for anew after that and after a failure', async () => {
    const recent = new RecentAnswer<number>(30);
    let asked = 0;
    const ask = () => recent.ask(() => Promise.resolve(++asked));
    await assert.rejects(
      recent.ask(() => Promise.reject(new Error('not now'))),
      /not now/,
    );
    assert.deepEqual([await ask(), await ask()], [1, 1]);
    await sleep(40);
    assert.equal(await ask(), 2);
  });
});
