import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RowOp, type Change } from '../../../src/change/change.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import { compileRowLayout } from '../../../src/change/row-layout.ts';
import type { SinkRecord } from '../../../src/change/record.ts';
import { compileJson } from '../../../src/formats/json.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { RecordSlices } from '../../../src/shipping/record-slices.ts';
import { column, encodeRows, int64 } from '../../support/row-bytes.ts';

const SCHEMA: TableSchema = {
  columns: [column('k', DataType.INT64, { isKey: true, id: 1 }), column('v', DataType.STRING, { id: 2 })],
};
const tablet = { tableId: 'table', tabletId: 'tablet', tableName: 't' };
const opId = { term: 1n, index: 7n };

/** One operation with a row of each of these widths. */
function read(widths: readonly number[]) {
  const rows = widths.map((width, k) => ({
    op: RowOp.INSERT,
    cells: [int64(BigInt(k)), Buffer.alloc(width, 'x')],
  }));
  const batch = decodeWrite({
    tablet,
    opId,
    hybridTime: 1n << 40n,
    layout: compileRowLayout(SCHEMA, SCHEMA),
    ...encodeRows(SCHEMA, rows),
    results: new Uint8Array(rows.length).fill(1),
    autoIncrementCounter: null,
  });
  const position = { opId, tableName: 't', schemaVersion: 0 };
  const more = { hybridTime: 1n, rejectedRows: 0, bytes: 1, onlyMarkers: false };
  return { kind: 'changes' as const, changes: [batch], position, ...more };
}

describe('the slices that a sink is given', () => {
  const json = compileJson({ streamName: 's', version: '0', tombstones: false });
  const bytesOf = (slice: readonly SinkRecord[]): number =>
    slice.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);

  /** Takes them as a sink does, and looks at how much is encoded at a time. */
  function take(widths: readonly number[]) {
    let encodedAtOnce = 0;
    const encode = (change: Change): readonly SinkRecord[] => {
      const records = json.encode(change);
      encodedAtOnce = Math.max(encodedAtOnce, bytesOf(records));
      return records;
    };
    const slices = new RecordSlices([read(widths)], encode, false);
    const all = [...slices];
    const keys = all.flat().map(({ key }) => (JSON.parse(key.toString()) as { k: number }).k);
    assert.deepEqual(keys, [...widths.keys()], 'each row once and in order');
    assert.deepEqual([slices.records, slices.bytes], [widths.length, bytesOf(all.flat())]);
    return { all, encodedAtOnce };
  }

  it('are bounded by their bytes, however wide the rows are and wherever in an operation they stand', () => {
    const wide = 40_000;
    for (const widths of [
      Array<number>(400).fill(wide),
      [...Array<number>(3000).fill(1), ...Array<number>(200).fill(wide), ...Array<number>(300).fill(1)],
    ]) {
      const { all, encodedAtOnce } = take(widths);
      for (const slice of all) assert.ok(bytesOf(slice) <= 2 << 20, `${bytesOf(slice)} bytes`);
      assert.ok(encodedAtOnce < 3 << 20, `${encodedAtOnce} bytes at once`);
    }
  });

  it('are bounded by their rows where these are narrow, and hold a row that is larger alone', () => {
    assert.deepEqual(
      take(Array<number>(4500).fill(3)).all.map(({ length }) => length),
      [2000, 2000, 500],
    );
    assert.deepEqual(
      take([1, 5 << 20, 1]).all.map(({ length }) => length),
      [1, 1, 1],
    );
  });
});
