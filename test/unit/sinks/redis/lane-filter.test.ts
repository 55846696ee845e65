import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TabletPosition } from '../../../../src/change/position.ts';
import { RecordBatch } from '../../../../src/change/record-batch.ts';
import type { SinkRecord } from '../../../../src/change/record.ts';
import { LaneFilter, LaneProgress, lowestPosition } from '../../../../src/sinks/redis/lane-filter.ts';
import type { Partial } from '../../../../src/sinks/redis/lane-state.ts';
import { positionAt, recordAt } from '../../../contract/sink.ts';

const TABLET = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';
/** Row `row` of operation `index`. */
const row = (index: number, at = 0): SinkRecord => recordAt(index, at, { position: `${TABLET}/3.${index}.${at}` });
const tombstone = (index: number): SinkRecord => ({ ...row(index), kind: 'tombstone', value: null });
const copied = (id: number, time = 70): SinkRecord => recordAt(1, id, { position: `${TABLET}/base.${time}` });
const mark: SinkRecord = { ...row(1), kind: 'resolved', key: Buffer.alloc(0), position: `${TABLET}/99` };
const schema = (index: number): SinkRecord => ({ ...row(index), kind: 'schema' });
const inCopy = (rows: number): TabletPosition => ({ ...positionAt(10), copy: { cut: 10n, at: 70n, rows } });

/** Which of the records are there already. */
function there(
  state: { position: TabletPosition | null; partial: Partial | null },
  [from, to]: [TabletPosition | null, TabletPosition],
  records: readonly SinkRecord[],
): boolean[] | 'none' | 'all' {
  const filter = new LaneFilter({ generation: 'g', ...state });
  const mode = filter.begin(from, to);
  if (mode !== 'some') return mode;
  const batch = RecordBatch.of(records);
  return records.map((_, i) => filter.isThere(batch, i));
}

/** What a lane that was given these records says of them. */
function partialOf(records: readonly SinkRecord[]): Partial | null {
  const progress = new LaneProgress();
  const batch = RecordBatch.of(records);
  for (let i = 0; i < records.length; i++) progress.add(batch, i);
  progress.endBatch();
  return progress.partial;
}

describe('what a lane has of a write that was left in its midst', () => {
  it('is told by the last row of the log', () => {
    const all = [row(11), row(12, 0), row(12, 1), mark, schema(13), row(13, 1), row(14)];
    const partial = partialOf(all.slice(0, 3));
    assert.deepEqual(partial, { row: { index: 12n, row: 1 } });
    const state = { position: positionAt(10), partial };
    assert.deepEqual(there(state, [positionAt(10), positionAt(14)], all), [
      true,
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
    assert.equal(there(state, [positionAt(11), positionAt(14)], all), 'none', 'the tablet is past where it was left');
  });

  it('is there for every place where it may be left', () => {
    const all = [row(11), tombstone(11), row(12, 0), row(12, 3), schema(13), row(14), tombstone(14), row(15)];
    for (let cut = 1; cut <= all.length; cut++) {
      if (all[cut]?.kind === 'tombstone' || all[cut - 1]!.kind === 'schema') continue;
      const state = { position: positionAt(10), partial: partialOf(all.slice(0, cut)) };
      const expected = all.map((_, i) => i < cut);
      assert.deepEqual(there(state, [positionAt(10), positionAt(15)], all), expected, `left behind ${cut}`);
    }
  });

  it('is told by how many rows of a copy there are, which come in the same order', () => {
    const all = [row(8), copied(1), copied(2), copied(3), row(9), row(11)];
    const from: TabletPosition = { ...positionAt(7), copy: 'wanted' };
    for (let cut = 1; cut <= all.length; cut++) {
      const state = { position: from, partial: partialOf(all.slice(0, cut)) };
      const expected = all.map((_, i) => i < cut);
      assert.deepEqual(there(state, [from, positionAt(11)], all), expected, `left behind ${cut}`);
    }
  });

  it('is left behind write by write', () => {
    const state = { generation: 'g', position: positionAt(10), partial: { row: { index: 14n, row: 0 } } };
    const filter = new LaneFilter(state);
    assert.equal(filter.begin(positionAt(10), positionAt(12)), 'some');
    const first = RecordBatch.of([row(11), row(12)]);
    assert.deepEqual([filter.isThere(first, 0), filter.isThere(first, 1)], [true, true]);
    assert.deepEqual(filter.rest, state.partial);
    const next = new LaneFilter({ ...state, position: positionAt(12) });
    assert.equal(next.begin(positionAt(12), positionAt(15)), 'some');
    const second = RecordBatch.of([row(13), row(14), row(15)]);
    assert.deepEqual(
      [0, 1, 2].map((i) => next.isThere(second, i)),
      [true, true, false],
    );
    assert.equal(next.rest, null);
  });

  it('of a copy is counted on', () => {
    const state = { generation: 'g', position: inCopy(0), partial: { copied: { at: 'base.70', count: 5 } } };
    const filter = new LaneFilter(state);
    filter.begin(inCopy(0), inCopy(3));
    const batch = RecordBatch.of([copied(1), copied(2), copied(3)]);
    for (let i = 0; i < 3; i++) assert.ok(filter.isThere(batch, i));
    assert.deepEqual(filter.rest, { copied: { at: 'base.70', count: 2 } });
  });

  it('is nothing where only what has no place was given', () => {
    assert.equal(partialOf([mark, schema(3)]), null);
  });
});

describe('a lane that is further than another one of its tablet', () => {
  const state = { position: positionAt(20), partial: null };

  it('has all of a write up to where it is', () => {
    assert.equal(there(state, [positionAt(10), positionAt(20)], []), 'all');
    assert.equal(there(state, [positionAt(10), positionAt(15)], []), 'all');
    assert.equal(there(state, [null, positionAt(15)], []), 'all');
  });

  it('has the first rows of one that goes further', () => {
    const all = [row(19), row(20), mark, row(21), row(22)];
    assert.deepEqual(there(state, [positionAt(10), positionAt(22)], all), [true, true, true, false, false]);
    assert.deepEqual(
      there({ ...state, partial: { row: { index: 21n, row: 0 } } }, [positionAt(10), positionAt(22)], all),
      [true, true, true, true, false],
    );
  });

  it('is given no rows of a copy behind those of the log that came after', () => {
    const behind = { position: { ...positionAt(30), time: 100n }, partial: null };
    const all = [copied(1), copied(2), row(9), row(29), row(31)];
    assert.deepEqual(there(behind, [inCopy(0), positionAt(31)], all), [true, true, true, true, false]);
  });

  it('may be given rows of the copy again that it is in', () => {
    const within = { position: inCopy(50), partial: null };
    assert.deepEqual(there(within, [inCopy(10), inCopy(60)], [copied(1), copied(2)]), [false, false]);
  });
});

describe('operations that come again behind a cut', () => {
  const copy = { cut: 120n, at: 900n, rows: 0, onlyLog: true, replayAfter: { term: 3n, index: 0n } } as const;
  const atCut: TabletPosition = { ...positionAt(120), copy };

  it('are not taken for the rows of before that a write has left', () => {
    const filter = new LaneFilter({
      generation: 'g',
      position: positionAt(80),
      partial: { row: { index: 95n, row: 0 } },
    });
    assert.equal(filter.begin(positionAt(80), atCut), 'some');
    const batch = RecordBatch.of([row(81), row(95)]);
    assert.ok(filter.isThere(batch, 0) && filter.isThere(batch, 1));
    assert.equal(filter.rest, null, 'all of the log before the cut is there');
    assert.equal(there({ position: atCut, partial: null }, [atCut, positionAt(121)], [row(5)]), 'none');
  });

  it('and a lane at an older cut lacks what was written since, in front of the next one', () => {
    for (const more of [copy, { cut: 100n, at: 800n, rows: 0 }]) {
      const older = { position: { ...positionAt(100), copy: { ...more, cut: 100n } }, partial: null };
      assert.deepEqual(there(older, [positionAt(80), atCut], [row(81), row(100), row(101), row(119)]), [
        true,
        true,
        false,
        false,
      ]);
    }
  });
});

it('a tablet stands where the last of its lanes is', () => {
  assert.deepEqual(lowestPosition([positionAt(3), positionAt(2), positionAt(4)]), positionAt(2));
  assert.equal(lowestPosition([positionAt(3), null]), null);
  assert.equal(lowestPosition([null]), null);
});
