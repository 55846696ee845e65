import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RecordBatch } from '../../../../../src/change/record-batch.ts';
import type { SinkRecord } from '../../../../../src/change/record.ts';
import { decodeEntry, encodeStored } from '../../../../../src/sinks/kafka/lanes/positions-codec.ts';
import { isUpTo, type RowRef } from '../../../../../src/change/position.ts';
import { rowOf, WriteCursor } from '../../../../../src/sinks/kafka/lanes/write-cursor.ts';

const TABLET = 'a'.repeat(32);

function recordAt(kind: SinkRecord['kind'], position: string): SinkRecord {
  return {
    kind,
    table: 't',
    key: Buffer.from('k'),
    value: kind === 'tombstone' ? null : Buffer.from('v'),
    position,
    timestampMs: 0,
  };
}

/** Operations of a log: so many rows each, some of them deletes with their tombstones, and marks in between. */
const log = fc
  .array(fc.record({ rows: fc.array(fc.boolean(), { maxLength: 6 }), isMarked: fc.boolean() }), {
    minLength: 1,
    maxLength: 6,
  })
  .map((operations) =>
    operations.flatMap(({ rows, isMarked }, i) => {
      const records = rows.flatMap((isDelete, row) => {
        const position = `${TABLET}/3.${10 + i}.${row}`;
        return [recordAt('row', position), ...(isDelete ? [recordAt('tombstone', position)] : [])];
      });
      return isMarked ? [recordAt('resolved', `${TABLET}/${i}`), ...records] : records;
    }),
  );

function sliced(records: readonly SinkRecord[], size: number): RecordBatch[] {
  return Array.from({ length: Math.ceil(records.length / size) }, (_, i) =>
    RecordBatch.of(records.slice(size * i, size * (i + 1))),
  );
}

function take(cursor: WriteCursor, atMost = Infinity): { taken: SinkRecord[]; leftAt: RowRef | null } {
  const taken: SinkRecord[] = [];
  let leftAt: RowRef | null = null;
  for (let slices = 0; slices < atMost && !cursor.isDone; slices++) {
    taken.push(...cursor.take());
    leftAt = cursor.leftAt;
  }
  return { taken, leftAt };
}

const isMark = ({ kind }: SinkRecord): boolean => kind === 'resolved';

describe('WriteCursor', () => {
  it('goes on where it was left, whatever the slices are then: every row once, and in order', () => {
    fc.assert(
      fc.property(
        log,
        fc.nat(5),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        (records, n, one, other) => {
          const { taken, leftAt } = take(new WriteCursor(sliced(records, one), null), n);
          fc.pre(leftAt !== null);
          const { taken: rest } = take(new WriteCursor(sliced(records, other), leftAt));
          const rowsOf = (all: readonly SinkRecord[]): SinkRecord[] => all.filter((record) => !isMark(record));
          assert.deepEqual(rowsOf([...taken, ...rest]), rowsOf(records));
        },
      ),
    );
  });

  it('tells what befell an operation of which some rows are there', () => {
    const events = [9, 10, 11].map((index) => recordAt('schema', `${TABLET}/3.${index}.0`));
    const { taken } = take(new WriteCursor(sliced(events, 3), { index: 10n, row: 5 }));
    assert.deepEqual(
      taken.map(({ position }) => position),
      events.slice(1).map(({ position }) => position),
    );
  });

  it('gives all of it, marks too, where nothing was there before', () => {
    fc.assert(
      fc.property(log, fc.integer({ min: 1, max: 4 }), (records, size) => {
        const { taken, leftAt } = take(new WriteCursor(sliced(records, size), null));
        assert.deepEqual([taken, leftAt], [records, null], 'a write that is over was not left');
      }),
    );
  });

  it('can be left at no row of a copy, which all have one position, and leaves none out', () => {
    const rows = [1, 2, 3].map(() => recordAt('row', `${TABLET}/base.123`));
    assert.equal(take(new WriteCursor(sliced(rows, 1), null), 1).leftAt, null);
    assert.equal(rowOf(rows[0]!.position), null);
    const { taken } = take(new WriteCursor(sliced(rows, 2), { index: 9n, row: 9 }));
    assert.deepEqual(taken, rows, 'and none is left out');
  });
});

describe('a row of an operation', () => {
  it('comes before another by operation, and then by row', () => {
    const at = (index: bigint, row: number): RowRef => ({ index, row });
    assert.ok(isUpTo(at(3n, 9), at(4n, 0)) && isUpTo(at(4n, 0), at(4n, 0)) && !isUpTo(at(4n, 10), at(4n, 9)));
  });

  it('is kept beside the position', () => {
    const owner = { installation: 'i', stream: 's' };
    const at = { opId: { term: 3n, index: 9n }, tableName: 't', schemaVersion: 0 };
    const position = { generation: 'g', at, upTo: { index: 10n, row: 1234 } };
    const stored = { claim: { lane: 'l', offset: 5n }, position, isReleased: false };
    const { key, value } = encodeStored(owner, TABLET, stored);
    const entry = decodeEntry(owner, { offset: 7n, producerId: 1n, key, value });
    assert.deepEqual(entry, { kind: 'position', offset: 7n, tablet: TABLET, producerId: 1n, stored });
    assert.match(value.toString(), /"upTo":"10\.1234"/);
  });
});
