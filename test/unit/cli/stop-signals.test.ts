import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StopSignals } from '../../../src/cli/stop-signals.ts';

describe('signals that ask for a stop', () => {
  it('are one wish where they come together, and a second one where they do not', (t) => {
    let nowMs = 1_000;
    t.mock.method(performance, 'now', () => nowMs);
    const seconds: string[] = [];
    const fail = (): void => assert.fail('the limit has not passed');
    using stop = new StopSignals({ limitMs: 60_000, onLimit: fail, onSecond: (name) => void seconds.push(name) });
    process.emit('SIGINT', 'SIGINT');
    assert.match(String(stop.signal.reason), /SIGINT/);
    nowMs += 100;
    process.emit('SIGINT', 'SIGINT'); // by the terminal, and by npm
    assert.deepEqual(seconds, []);
    nowMs += 1_000;
    process.emit('SIGTERM', 'SIGTERM');
    assert.deepEqual(seconds, ['SIGTERM']);
  });
});
