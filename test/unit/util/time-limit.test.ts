import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { TimeLimit } from '../../../src/util/time-limit.ts';

describe('time limit', () => {
  it('aborts when its time is over', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    using limit = new TimeLimit(new AbortController().signal, 1000);
    t.mock.timers.tick(999);
    assert.equal(limit.signal.aborted, false);
    t.mock.timers.tick(1);
    assert.equal((limit.signal.reason as Error).name, 'TimeoutError');
  });

  it('aborts with the outer signal and its reason, also one that has aborted already', () => {
    const outer = new AbortController();
    using before = new TimeLimit(outer.signal, 60_000);
    outer.abort('stop');
    using after = new TimeLimit(outer.signal, 60_000);
    assert.deepEqual([before.signal.reason, after.signal.reason], ['stop', 'stop']);
  });

  it('leaves nothing behind once disposed', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const outer = new AbortController();
    const limit = new TimeLimit(outer.signal, 1000);
    limit[Symbol.dispose]();
    t.mock.timers.tick(1000);
    outer.abort();
    assert.equal(limit.signal.aborted, false);
  });

  it('fires although the garbage collector has run, which AbortSignal.any over a timeout does not', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const signalOf = (limit: TimeLimit): Promise<unknown> =>
      new Promise((resolve) => {
        limit.signal.addEventListener('abort', resolve);
      });
    using limit = new TimeLimit(new AbortController().signal, 20);
    const aborted = signalOf(limit);
    collectGarbage();
    const loopStaysAlive = setTimeout(() => undefined, 10_000);
    await aborted;
    clearTimeout(loopStaysAlive);
  });
});
