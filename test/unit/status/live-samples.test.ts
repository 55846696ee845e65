import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { composeState, composeTrouble } from '../../../src/status/compose-state.ts';
import { LiveSamples } from '../../../src/status/live-samples.ts';
import { tabletView } from '../../support/memory-control-plane.ts';
import { scriptedSidecar, scriptedStream } from '../../support/scripted-cluster.ts';

const START = 1_800_000_000_000;

describe('the charts, while somebody looks at them', () => {
  const stateAt = (ms: number, shipped: number, lagSeconds: number) => {
    const stream = scriptedStream('orders', [['shop.orders', 1]]);
    const tablets = stream.tablets.map((each) => tabletView({ ...each, lagSeconds }));
    const sidecars = [scriptedSidecar(0, {}, { recordsShipped: { orders: shipped } })];
    return composeState({ streams: [{ ...stream, tablets }], sidecars, leadersOf: new Map() }, '1', null, ms).state;
  };

  it('go on with one sample a step: its records a second, its largest lag, what is held at its end', () => {
    const samples = new LiveSamples();
    const told: unknown[] = [];
    for (let second = 1; second <= 21; second++)
      told.push(
        samples.note(stateAt(START + second * 1000, second * 100, second === 5 ? 3 : 0.1), START + second * 1000),
      );
    const made = told.filter((sample) => sample !== null);
    assert.deepEqual(made, [
      { at: START / 1000 + 10, streams: { orders: [100, 3, 8_388_608] } },
      { at: START / 1000 + 20, streams: { orders: [100, 0.1, 8_388_608] } },
    ]);
  });

  it('have none of a time of which nothing is known', () => {
    const samples = new LiveSamples();
    samples.note(stateAt(START + 1000, 1, 0), START + 1000);
    const trouble = { code: null, message: 'away', since: new Date(START).toISOString() };
    assert.equal(samples.note(composeTrouble(null, '1', trouble, START + 12_000), START + 12_000), null);
  });
});
