import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { OpId } from '../../../src/kudu/opid.ts';
import { compareOpIds } from '../../../src/kudu/opid.ts';
import { LogSearch, searchLog } from '../../../src/source/log-search.ts';
import type { Whence } from '../../../src/streams/stored-stream.ts';
import { OpType } from '../../../src/wal/entry.ts';
import type { LogChunk } from '../../../src/wal/log-reader.ts';
import { opId, write } from '../../support/log-entries.ts';

interface Proposal {
  readonly opId: OpId;
  readonly opType: number;
  readonly hybridTime: bigint;
}

/** A log as leaders make it: each goes on somewhere at or behind the end, or writes over the last few operations. */
const logs = fc
  .record({
    first: fc.integer({ min: 1, max: 5 }),
    terms: fc.array(fc.record({ back: fc.nat(4), ops: fc.integer({ min: 1, max: 5 }) }), {
      minLength: 1,
      maxLength: 5,
    }),
    types: fc.infiniteStream(fc.constantFrom(OpType.WRITE, OpType.WRITE, OpType.NO_OP, OpType.CHANGE_CONFIG)),
    jumps: fc.infiniteStream(fc.integer({ min: -3, max: 6 })),
  })
  .map(({ first, terms, types, jumps }) => {
    const proposals: Proposal[] = [];
    let [next, time] = [first, 100];
    for (const [i, { back, ops }] of terms.entries()) {
      if (i > 0) next = Math.max(first, next - back);
      for (let op = 0; op < ops; op++, next++) {
        time += jumps.next().value as number;
        proposals.push({
          opId: opId(i + 1, next),
          opType: types.next().value as number,
          hybridTime: BigInt(Math.max(1, time)),
        });
      }
    }
    return proposals;
  });

describe('a search in a log', () => {
  it('finds the first operation that counts, and the one before it', () => {
    const whence = fc.oneof(
      fc.record({ opId: fc.tuple(fc.nat(6), fc.nat(20)).map(([term, index]) => opId(term, index)) }),
      fc.record({ time: fc.bigInt(85n, 140n) }),
    );
    fc.assert(
      fc.property(logs, whence, (log, wanted: Whence) => {
        const search = new LogSearch(wanted);
        for (const each of log) search.push(each);
        const counts = new Map<bigint, Proposal>();
        for (const each of log) {
          for (const index of counts.keys()) if (index >= each.opId.index) counts.delete(index);
          counts.set(each.opId.index, each);
        }
        const isWanted = (each: Proposal): boolean =>
          'opId' in wanted
            ? compareOpIds(each.opId, wanted.opId) >= 0
            : each.opType !== OpType.CHANGE_CONFIG && each.hybridTime >= wanted.time;
        const found = [...counts.values()].find(isWanted);
        const { result } = search;
        if (!found) {
          assert.deepEqual(result, { kind: 'nothing' });
          return;
        }
        const before = counts.get(found.opId.index - 1n);
        if (before) assert.deepEqual(result, { kind: 'behind', opId: before.opId });
        else if (found.opId.index === 1n) assert.deepEqual(result, { kind: 'behind', opId: opId(0, 0) });
        else if ('opId' in wanted && wanted.opId.index === found.opId.index) assert.equal(result.kind, 'behind');
        else assert.deepEqual(result, { kind: 'gone' });
      }),
      { numRuns: 2_000 },
    );
  });

  it('knows nothing of a log that has no operation before the cut', () => {
    assert.deepEqual(new LogSearch({ time: 5n }).result, { kind: 'gone' });
  });

  it('takes what comes behind a hole for no first operation', () => {
    const search = new LogSearch({ time: 5n });
    const push = (index: number, time: bigint): void => {
      search.push({ opId: opId(1, index), opType: OpType.WRITE, hybridTime: time });
    };
    push(1, 1n);
    search.hole();
    push(7, 8n);
    assert.deepEqual(search.result, { kind: 'gone' }, 'some of what is asked for may have been in there');
    push(8, 9n);
    assert.deepEqual(search.result, { kind: 'gone' });
  });

  it('reads no further than the operation that it is told, and keeps no large one', async () => {
    const operation = (index: number) => write(opId(1, index), { columns: [] }, []);
    const chunks: LogChunk[] = [
      { kind: 'entries', entries: [operation(1), operation(2)], bytes: 1, lentBytes: 70 },
      { kind: 'entries', entries: [operation(3), operation(4)], bytes: 1 },
    ];
    let lent = 0;
    const feed = {
      next: () => Promise.resolve(chunks.shift() ?? { kind: 'gone' as const }),
      giveBack: (bytes: number) => void (lent += bytes),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const found = await searchLog(feed, { opId: opId(1, 2) }, opId(1, 3));
    assert.deepEqual(found, { kind: 'behind', opId: opId(1, 1) });
    assert.equal(lent, 70);
    await assert.rejects(searchLog(feed, { opId: opId(1, 2) }, opId(1, 9)), /has gone before/);
    chunks.push({ kind: 'idle' });
    await assert.rejects(searchLog(feed, { opId: opId(1, 2) }, opId(1, 9)), /made anew/, 'and waits for nothing');
  });
});
