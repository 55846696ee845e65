import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { History, mergeHistories, STEPS, STEP_SECONDS, stepOf, type Sample } from '../../../src/status/history.ts';

const START = 1_800_000_000;
const of = (history: History, stream = 'orders') => history.view().streams[stream];

describe('the history of an hour', () => {
  it('begins empty, and keeps what was noted in its order', () => {
    const history = new History();
    assert.deepEqual(history.view(), { stepSeconds: 10, at: [], streams: {} });
    history.note(START, new Map([['orders', [5, 0.5, 100]]]));
    history.note(START + 10, new Map([['orders', [6, null, 90]]]));
    assert.deepEqual(history.view(), {
      stepSeconds: 10,
      at: [START, START + 10],
      streams: { orders: { records: [5, 6], lagSeconds: [0.5, null], heldBytes: [100, 90] } },
    });
  });

  it('has holes where nothing was noted, and nothing that is older than an hour', () => {
    const history = new History();
    history.note(START, new Map([['orders', [1, 1, 1]]]));
    history.note(START + 30, new Map([['orders', [2, 2, 2]]]));
    assert.deepEqual(of(history)!.records, [1, null, null, 2]);
    history.note(START + STEPS * STEP_SECONDS, new Map([['orders', [3, 3, 3]]]));
    assert.equal(history.view().at[0], START + 30);
    assert.equal(of(history)!.records.at(-1), 3);
  });

  it('is the last hour of what was noted, whatever streams come and go and whichever steps are missing', () => {
    const sample = fc.tuple(fc.nat(9), fc.nat(9), fc.nat(9));
    const step = fc.record({
      skip: fc.integer({ min: 1, max: 50 }),
      samples: fc.dictionary(fc.constantFrom('a', 'b', 'c'), sample),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const history = new History();
        const noted = new Map<number, Record<string, Sample>>();
        let at = START;
        for (const { skip, samples } of steps) {
          at += skip * STEP_SECONDS;
          history.note(at, new Map(Object.entries(samples)));
          noted.set(at, samples);
        }
        const view = history.view();
        for (const [i, each] of view.at.entries())
          for (const [name, { records, lagSeconds, heldBytes }] of Object.entries(view.streams))
            assert.deepEqual([records[i], lagSeconds[i], heldBytes[i]], noted.get(each)?.[name] ?? [null, null, null]);
        const kept = [...noted].filter(
          ([when, samples]) => when > at - STEPS * STEP_SECONDS && Object.keys(samples).length > 0,
        );
        assert.equal(view.at[0], kept[0]?.[0]);
      }),
    );
  });

  it('of several sidecars is one: records and held bytes together, of lags the largest', () => {
    const [a, b] = [new History(), new History()];
    a.note(START, new Map([['orders', [10, 0.1, 100]]]));
    a.note(START + 10, new Map([['orders', [20, 0.2, 200]]]));
    b.note(
      START + 10,
      new Map([
        ['orders', [1, 5, 1]],
        ['audit', [7, 0, 7]],
      ]),
    );
    assert.deepEqual(mergeHistories([a.view(), b.view()]), {
      stepSeconds: 10,
      at: [START, START + 10],
      streams: {
        orders: { records: [10, 21], lagSeconds: [0.1, 5], heldBytes: [100, 201] },
        audit: { records: [null, 7], lagSeconds: [null, 0], heldBytes: [null, 7] },
      },
    });
    assert.deepEqual(mergeHistories([]), { stepSeconds: 10, at: [], streams: {} });
  });

  it('has the same steps everywhere', () => {
    assert.deepEqual(
      [stepOf(START * 1000), stepOf(START * 1000 + 1), stepOf(START * 1000 + 10_000)],
      [START, START + 10, START + 10],
    );
  });
});
