import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KuduError } from '../../../../src/kudu/errors.ts';
import { Deadline, pauseBefore } from '../../../../src/kudu/rpc/deadline.ts';

const late = (): KuduError => new KuduError('timeout', 'late');
const never = new Promise<never>(() => undefined);

describe('deadline', () => {
  it('ends a wait when the time is over', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const waiting = assert.rejects(Deadline.from({}, 50).race(never, late), /late/);
    t.mock.timers.tick(51);
    await waiting;
  });

  it('rejects with the reason of the signal, at once if it has aborted already', async () => {
    const stop = new AbortController();
    const waiting = assert.rejects(Deadline.from({ signal: stop.signal }, 1000).race(never, late), /because/);
    stop.abort(new Error('because'));
    await waiting;
    await assert.rejects(Deadline.from({ signal: stop.signal }, 1000).race(never, late), /because/);
    await assert.rejects(Deadline.from({ signal: stop.signal }, 1000).sleep(1), /because/);
  });

  it('lets what was given up fail later on, and nobody hears of it: that would end the process', async (t) => {
    const unheard = t.mock.fn();
    process.on('unhandledRejection', unheard);
    t.after(() => process.off('unhandledRejection', unheard));
    const failsLater = () => new Promise<never>((_, reject) => setImmediate(reject, new Error('broken')));
    const given = AbortSignal.abort(new Error('because'));
    await assert.rejects(Deadline.from({ signal: given }, 1000).race(failsLater(), late), /because/);
    await assert.rejects(Deadline.from({}, 0).race(failsLater(), late), /late|broken/);
    for (let i = 0; i < 3; i++) await new Promise(setImmediate);
    assert.equal(unheard.mock.callCount(), 0);
  });

  it('leaves nothing behind on a signal that lives long', async () => {
    const stop = new AbortController();
    let listeners = 0;
    const { signal } = stop;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    assert.equal(await Deadline.from({ signal }, 1000).race(Promise.resolve(5), late), 5);
    await Deadline.from({ signal }, 0).sleep(0);
    assert.equal(listeners, 0);
  });

  it('gives an attempt no more time than there is', () => {
    const deadline = Deadline.from({ timeoutMs: 100 }, 50);
    assert.ok(deadline.atMost(10).remainingMs() <= 10);
    assert.ok(deadline.atMost(1000).remainingMs() <= 100);
    assert.ok(deadline.remainingMs() > 50, "the call's own time goes before the default");
    assert.equal(Deadline.from({ timeoutMs: -5 }, 50).remainingMs(), 0);
  });

  it('waits longer after each failure, up to a second', () => {
    const longest = (attempt: number): number => pauseBefore(attempt, () => 1);
    assert.deepEqual([1, 2, 3, 7, 20].map(longest), [20, 40, 80, 1000, 1000]);
    assert.equal(
      pauseBefore(1, () => 0),
      10,
    );
  });
});
