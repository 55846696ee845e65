import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { whileSettling } from '../../../../src/sinks/kafka/wait.ts';
import { waitFor } from '../../../../src/util/wait-for.ts';
import { KafkaCodeError } from '../../../../src/sinks/kafka/wire/error-codes.ts';

const CONCURRENT_TRANSACTIONS = 51;
const PATIENCE = { codes: new Set([CONCURRENT_TRANSACTIONS]), pauseMs: 0, maxPauseMs: 0, forMs: 1e9 };
const never = new AbortController().signal;

describe('waitFor', () => {
  it('rejects with the reason as soon as the signal aborts, whatever the work does', async () => {
    const stop = new AbortController();
    const waiting = waitFor(new Promise(() => undefined), stop.signal);
    stop.abort(new Error('stopped'));
    await assert.rejects(waiting, /stopped/);
    await assert.rejects(waitFor(Promise.reject(new Error('late')), stop.signal), /stopped/);
  });

  it('passes on what the work comes to', async () => {
    assert.equal(await waitFor(Promise.resolve(1), never), 1);
    await assert.rejects(waitFor(Promise.reject(new Error('work')), never), /work/);
  });
});

describe('whileSettling', () => {
  const failing = (times: number, error: Error) => {
    let attempts = 0;
    return () => (++attempts <= times ? Promise.reject(error) : Promise.resolve(attempts));
  };

  it('repeats what a broker asks to repeat', async () => {
    const error = new KafkaCodeError(CONCURRENT_TRANSACTIONS, 'x');
    assert.equal(await whileSettling(failing(3, error), PATIENCE, never), 4);
  });

  it('repeats nothing else', async () => {
    for (const error of [new KafkaCodeError(47, 'x'), new Error('closed')])
      await assert.rejects(whileSettling(failing(1, error), PATIENCE, never), error);
  });

  it('asks again where the first answer alone took longer than that', async () => {
    const error = new KafkaCodeError(CONCURRENT_TRANSACTIONS, 'x');
    assert.equal(await whileSettling(failing(1, error), { ...PATIENCE, forMs: 0 }, never), 2);
  });

  it('loses patience', async () => {
    const error = new KafkaCodeError(CONCURRENT_TRANSACTIONS, 'x');
    await assert.rejects(whileSettling(failing(1, error), { ...PATIENCE, pauseMs: 2, forMs: 1 }, never), error);
  });
});
