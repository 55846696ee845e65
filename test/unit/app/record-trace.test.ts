import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TabletView } from '../../../src/api/shapes.ts';
import { operationIn, traceSteps, type TraceFacts } from '../../../src/app/record-trace.ts';
import type { LogChunk } from '../../../src/wal/log-reader.ts';
import { commit, opId, replicate, timeOf } from '../../support/log-entries.ts';

const view = { sidecar: 'node-1:8100', applyOpId: '1.20', committedOpId: '1.30' } as TabletView;
const facts = (index: number, more: Partial<TraceFacts> = {}): TraceFacts => ({
  position: { text: `t/1.${index}.0`, tabletId: 't', opId: opId(1, index) },
  view,
  local: null,
  record: null,
  ...more,
});
const say = (of: TraceFacts): string[] => traceSteps(of).map(({ step, is, text }) => `${step} ${is}: ${text}`);

describe('the way of a record', () => {
  it('is told as far as this sidecar knows it', () => {
    assert.deepEqual(say(facts(10)), [
      'log done: operation 1.10 is committed; there is no replica beside this sidecar; ask node-1:8100',
      'sink unknown: the sink has acknowledged all up to 1.20; the record is not among the newest 10000 of its place, or the operation made none',
      'marker unknown: no marker of this stream is known to this sidecar; ask node-1:8100',
    ]);
    assert.deepEqual(say(facts(25)).slice(1, 2), ['sink pending: the sink has not acknowledged it yet']);
    assert.match(say(facts(31))[0]!, /^log unknown: operation 1\.31: /);
  });

  it('is told with log, place and marker where they are at hand', () => {
    const operation = {
      opId: opId(1, 10),
      hybridTime: timeOf(opId(1, 10)),
      location: { path: '/wal/wal-000000001', offset: 77 },
    };
    const record = { place: { text: 'cdc/0/12', fields: { topic: 'cdc', partition: 0, offset: 12 } } };
    const at = (index: number, marked: number): TraceFacts =>
      facts(index, {
        local: { operation, marked: opId(1, marked) },
        record: record as unknown as TraceFacts['record'],
      });
    assert.deepEqual(say(at(10, 18)), [
      'log done: operation 1.10 is committed',
      'sink done: it is at cdc/0/12',
      "marker done: the tablet's own log says that all up to 1.18 is there",
    ]);
    const [log, sink] = traceSteps(at(10, 18));
    assert.deepEqual([log!.facts['segment'], log!.facts['byte']], ['/wal/wal-000000001', '77']);
    assert.deepEqual(sink!.facts, { applied: '1.20', topic: 'cdc', partition: '0', offset: '12' });
    assert.equal(say(at(19, 18))[2], "marker pending: the newest marker in the tablet's log is 1.18");
    assert.match(say(at(31, 18))[0]!, /^log pending: .* not known to be committed$/);
    assert.equal(say(facts(10, { record: new Error('no broker') }))[1], 'sink unknown: no broker');
  });

  it('finds the operation in what there is of a log, the last of that OpId', async () => {
    const chunks: LogChunk[] = [
      {
        kind: 'entries',
        entries: [replicate(opId(1, 1)), commit(opId(1, 1)), replicate(opId(1, 2))],
        bytes: 1,
        lentBytes: 9,
      },
      { kind: 'entries', entries: [replicate(opId(2, 2))], bytes: 1 },
      { kind: 'idle' },
    ];
    let lent = 0;
    const feed = (): Parameters<typeof operationIn>[0] => {
      const left = [...chunks];
      return {
        next: () => Promise.resolve(left.shift() ?? { kind: 'gone' }),
        giveBack: (bytes) => void (lent += bytes),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      };
    };
    assert.deepEqual((await operationIn(feed(), opId(1, 2)))?.opId, opId(1, 2));
    assert.deepEqual((await operationIn(feed(), opId(2, 2)))?.opId, opId(2, 2));
    assert.equal(await operationIn(feed(), opId(3, 2)), null);
    assert.equal(lent, 27);
  });
});
