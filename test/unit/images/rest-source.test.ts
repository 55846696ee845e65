import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RowOp, type Change, type ChangeBatch, type TabletEvent } from '../../../src/change/change.ts';
import type { TabletPosition } from '../../../src/change/position.ts';
import { RestSource } from '../../../src/images/rest-source.ts';
import { ShippedRows } from '../../../src/images/shipped-rows.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import type { ChangeRead, ChangeSource } from '../../../src/source/change-source.ts';
import { IMAGED_TABLET, imagedBatch } from '../../support/image-batches.ts';
import { column } from '../../support/row-bytes.ts';

const SCHEMA = { columns: [column('k', DataType.INT32, { isKey: true }), column('a', DataType.INT32)] };
const FROM: TabletPosition = { opId: { term: 1n, index: 5n }, tableName: 'shop.orders', schemaVersion: 1 };

function write(index: number, rows: number): ChangeBatch {
  const values = Array.from({ length: rows }, (_, k) => ({ op: RowOp.UPDATE, values: { k, a: 1 } }));
  return imagedBatch(SCHEMA, values, { opId: { term: 1n, index: BigInt(index) }, copy: null, before: null });
}

function readAt(index: number, ...changes: Change[]): ChangeRead {
  const position = { ...FROM, opId: { term: 1n, index: BigInt(index) } };
  return { kind: 'changes', changes, position, hybridTime: 1n, rejectedRows: 0, bytes: 1, onlyMarkers: false };
}

function event(kind: TabletEvent['event'], index: number): TabletEvent {
  const opId = { term: 1n, index: BigInt(index) };
  return { kind: 'event', event: kind, tablet: IMAGED_TABLET, opId, hybridTime: 1n, partition: null, missing: null };
}

describe('the rest of rows that went out in slices', () => {
  it('comes once each, of a stream that wants no whole rows any more', async () => {
    const reads = [readAt(6, write(6, 2)), readAt(7, write(7, 4)), readAt(8, write(8, 1))];
    const behind: ChangeSource = {
      committed: FROM.opId,
      next: () => Promise.resolve(reads.shift() ?? { kind: 'gone' }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    await using source = new RestSource(behind, { ...FROM, upTo: { index: 7n, row: 1 } });
    const seen: string[] = [];
    for (let read = await source.next(); read.kind !== 'gone'; read = await source.next()) {
      for (const change of read.changes)
        if (change.kind === 'rows') for (const row of change.rowIndexes) seen.push(`${change.opId.index}.${row}`);
      const { opId, upTo } = read.position;
      seen.push(`at ${opId.index}${upTo ? ` up to ${upTo.index}.${upTo.row}` : ''}`);
    }
    assert.deepEqual(seen, ['at 6 up to 7.1', '7.2', '7.3', 'at 7', '8.0', 'at 8']);
  });

  it('are no reason to leave out the end of a tablet whose log ends before them', () => {
    const shipped = new ShippedRows({ ...FROM, upTo: { index: 7n, row: 1 } });
    assert.equal(shipped.hasOther(event('table-dropped', 6)), false);
    assert.equal(shipped.hasOther(event('range-dropped', 7)), false);
  });
});
