import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BrokerPatience } from '../../../../src/sinks/kafka/broker-patience.ts';

const BASE_MS = 5_000;

/** Patience that ran out `times` times, the last at 0. */
function grown(times: number): BrokerPatience {
  const patience = new BrokerPatience(BASE_MS);
  for (let i = 0; i < times; i++) patience.ranOut(patience.ms, 0);
  return patience;
}

describe('the patience with a broker', () => {
  it('is doubled each time that it ran out, up to half a minute', () => {
    assert.deepEqual(
      [0, 1, 2, 3, 9].map((times) => grown(times).ms),
      [5_000, 10_000, 20_000, 30_000, 30_000],
    );
  });

  it('is doubled once for all sockets that fell silent side by side', () => {
    const patience = grown(0);
    for (let lane = 0; lane < 8; lane++) patience.ranOut(BASE_MS, lane);
    assert.equal(patience.ms, 10_000);
  });

  it('leaves the broker less for its own work than we wait, and follows', () => {
    assert.deepEqual([grown(0).brokerMs, grown(3).brokerMs], [4_000, 24_000]);
  });

  it('stays as long as an answer now and then is slow, however many are quick', () => {
    const patience = grown(1);
    for (let atMs = 0; atMs < 600_000; atMs += 1_000) {
      patience.answered(10, atMs);
      if (atMs % 50_000 === 0) patience.answered(6_500, atMs);
      assert.equal(patience.ms, 10_000, `at ${atMs}`);
    }
  });

  it('is what it was at first once the broker has been quick for a minute', () => {
    const patience = grown(3);
    patience.answered(10, 59_000);
    assert.equal(patience.ms, 30_000);
    patience.answered(6_500, 60_000);
    patience.answered(10, 61_000);
    assert.equal(patience.ms, 30_000, 'it was slow again');
    patience.answered(10, 120_000);
    assert.equal(patience.ms, BASE_MS);
    patience.ranOut(BASE_MS, 130_000);
    assert.equal(patience.ms, 10_000);
  });

  it('is never below what was asked for', () => {
    const patience = new BrokerPatience(45_000);
    patience.ranOut(45_000, 0);
    assert.equal(patience.ms, 45_000);
  });
});
