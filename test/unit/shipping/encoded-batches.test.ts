import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RowOp } from '../../../src/change/change.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import { compileRowLayout } from '../../../src/change/row-layout.ts';
import { RecordBatch } from '../../../src/change/record-batch.ts';
import { compileJson } from '../../../src/formats/json.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { EncodedBatches } from '../../../src/shipping/encoded-batches.ts';
import { ByteArena } from '../../../src/util/byte-arena.ts';
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

describe('the batches that a sink is given', () => {
  const json = compileJson({ streamName: 's', version: '0', tombstones: false });

  /** Takes them as a sink does. */
  function take(widths: readonly number[]): RecordBatch[] {
    const slices = new EncodedBatches([read(widths)], json, new ByteArena(256 << 10), false);
    const all = [...slices];
    const records = all.flatMap((batch) => [...batch]);
    const keys = records.map(({ key }) => (JSON.parse(key.toString()) as { k: number }).k);
    assert.deepEqual(keys, [...widths.keys()], 'each row once and in order');
    const values = records.map(({ value }) => JSON.parse(String(value)) as { after: { v: string } });
    assert.deepEqual(
      values.map(({ after }) => after.v.length),
      widths,
      'and whole, wherever its memory lies',
    );
    const bytes = records.reduce((sum, { key, value }) => sum + key.length + value!.length, 0);
    assert.deepEqual([slices.records, slices.bytes], [widths.length, bytes]);
    return all;
  }

  it('are bounded by their bytes, however wide the rows are and wherever in an operation they stand', () => {
    const wide = 40_000;
    for (const widths of [
      Array<number>(400).fill(wide),
      [...Array<number>(3000).fill(1), ...Array<number>(200).fill(wide), ...Array<number>(300).fill(1)],
    ])
      for (const batch of take(widths))
        assert.ok(batch.byteLength < (2 << 20) + wide + 1000, `${batch.byteLength} bytes`);
  });

  it('are not kept, where an operation makes many, and where it makes few their memory is used again', () => {
    const held: Buffer[] = [];
    for (const rows of [60, 3000]) {
      const arena = new ByteArena(256 << 10);
      const batches = new EncodedBatches(
        [read(Array<number>(rows).fill(rows === 60 ? 10 : 9_000))],
        json,
        arena,
        false,
      );
      for (const batch of batches) held.push(batch.runOf(0).bytes);
      const before = arena.bytes;
      batches.release();
      arena.reserve(200 << 10);
      if (rows === 60) assert.equal(arena.bytes, before, 'the same chunk');
    }
    assert.ok(held.length > 5);
  });

  it('are bounded by their rows where these are narrow, and end with a row that is larger', () => {
    assert.deepEqual(
      take(Array<number>(4500).fill(3)).map(({ length }) => length),
      [2000, 2000, 500],
    );
    assert.deepEqual(
      take([1, 5 << 20, 1]).map(({ length }) => length),
      [2, 1],
    );
  });
});
