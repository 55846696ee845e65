import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LinkedAbort } from '../../../src/util/linked-abort.ts';
import { pause } from '../../../src/util/pause.ts';

describe('linked abort', () => {
  it('aborts by itself, and with any of the others and its reason', () => {
    const [a, b] = [new AbortController(), new AbortController()];
    const [own, linked] = [new LinkedAbort(a.signal, b.signal), new LinkedAbort(a.signal, b.signal)];
    own.abort('enough');
    b.abort('stop');
    a.abort('late');
    assert.deepEqual([own.signal.reason, linked.signal.reason], ['enough', 'stop']);
    assert.equal(new LinkedAbort(a.signal, b.signal).signal.reason, 'late', 'one that has aborted already');
  });

  it('leaves no listener behind, whoever ended it', () => {
    const outer = new AbortController();
    const disposed = new LinkedAbort(outer.signal);
    disposed[Symbol.dispose]();
    new LinkedAbort(outer.signal).abort();
    new LinkedAbort(outer.signal, AbortSignal.abort());
    assert.equal(getEventListeners(outer.signal, 'abort').length, 0);
    outer.abort();
    assert.equal(disposed.signal.aborted, false);
  });

  it('costs no memory for each tick of a process that runs for months, as AbortSignal.any does', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const process_ = new AbortController();
    const tick = async (): Promise<void> => {
      using woken = new LinkedAbort(process_.signal);
      woken.abort();
      await pause(1000, woken.signal);
    };
    const usedAfter = async (ticks: number): Promise<number> => {
      for (let i = 0; i < ticks; i++) await tick();
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const [before, after] = [await usedAfter(2000), await usedAfter(20_000)];
    // With `any`: 60 bytes a tick, 1.2 MB here.
    assert.ok(after - before < 600_000, `${after - before} bytes more after 20,000 ticks`);
    assert.equal(getEventListeners(process_.signal, 'abort').length, 0);
  });
});
