import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InFlight } from '../../../../src/sinks/kafka/in-flight.ts';

function deferred() {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

describe('InFlight', () => {
  it('starts no more than its limit at a time, in order', async () => {
    const work = [deferred(), deferred(), deferred()];
    const started: number[] = [];
    const inFlight = new InFlight(2);
    const all = (async () => {
      for (const [i, { promise }] of work.entries())
        await inFlight.start(() => {
          started.push(i);
          return promise;
        });
    })();
    await new Promise(setImmediate);
    assert.deepEqual(started, [0, 1]);
    work[0]!.resolve();
    await all;
    assert.deepEqual(started, [0, 1, 2]);
    work[1]!.resolve();
    work[2]!.resolve();
    await inFlight.drain();
  });

  it('lets the first failure out when more is started, and starts nothing behind it', async () => {
    const inFlight = new InFlight(1);
    await inFlight.start(() => Promise.reject(new Error('first')));
    let started = false;
    await assert.rejects(
      inFlight.start(() => {
        started = true;
        return Promise.resolve();
      }),
      /first/,
    );
    assert.equal(started, false);
  });

  it('lets a failure out when drained', async () => {
    const inFlight = new InFlight(3);
    await inFlight.start(() => Promise.reject(new Error('lost')));
    await assert.rejects(inFlight.drain(), /lost/);
    await inFlight.drain();
  });
});
