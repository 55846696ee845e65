import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CopyOp, RowOp, type Change, type ChangeBatch } from '../../../src/change/change.ts';
import type { TabletPosition } from '../../../src/change/position.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import { compileRowLayout } from '../../../src/change/row-layout.ts';
import { SpoorError } from '../../../src/errors.ts';
import { letterOf } from '../../../src/formats/op-words.ts';
import { ImageMemories } from '../../../src/images/image-memory.ts';
import { ImagedSource, type ImagedSourceOptions } from '../../../src/images/imaged-source.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { Selection } from '../../../src/selection/selection.ts';
import type { ChangeRead, ChangeSource } from '../../../src/source/change-source.ts';
import type { CopiedRow } from '../../../src/source/table-copier.ts';
import { IMAGED_TABLET, imagedBatch, valuesOf } from '../../support/image-batches.ts';
import { keepingLogger } from '../../support/loggers.ts';
import { blockOfRows } from '../../support/row-blocks.ts';
import { column, encodeRows, int32, type TestCell } from '../../support/row-bytes.ts';

const SCHEMA: TableSchema = {
  columns: [
    column('k', DataType.INT32, { isKey: true, id: 10 }),
    column('a', DataType.INT32, { nullable: true, id: 11 }),
    column('b', DataType.STRING, { nullable: true, id: 12 }),
  ],
};
/** With `a` under another name, `b` gone, and a new column. */
const ALTERED: TableSchema = {
  columns: [
    column('k', DataType.INT32, { isKey: true, id: 10 }),
    column('renamed', DataType.INT32, { nullable: true, id: 11 }),
    column('more', DataType.STRING, { id: 13, readDefault: Buffer.from('new') }),
    column('last', DataType.INT32, { nullable: true, id: 14 }),
  ],
};
const TABLET = { tableId: 'table1', tabletId: 'tablet1' };

function write(index: number, time: number, op: number, cells: readonly TestCell[], schema = SCHEMA): ChangeBatch {
  return decodeWrite({
    tablet: IMAGED_TABLET,
    opId: { term: 1n, index: BigInt(index) },
    hybridTime: BigInt(time),
    layout: compileRowLayout(schema, schema),
    ...encodeRows(schema, [{ op, cells }]),
    results: Uint8Array.of(1),
    autoIncrementCounter: null,
  });
}

function readOf(changes: readonly Change[], time: number, more: Partial<TabletPosition> = {}): ChangeRead {
  const position = { opId: { term: 1n, index: 1n }, tableName: 'shop.orders', schemaVersion: 1, time: BigInt(time) };
  return {
    kind: 'changes',
    changes,
    position: { ...position, ...more },
    hybridTime: BigInt(time),
    rejectedRows: 0,
    bytes: 100,
    onlyMarkers: false,
  };
}

/** The table by time: a scan at one shows the last row that is before it. */
type Shown = readonly { readonly from: number; readonly row: readonly (Buffer | null)[] | null }[];

function sourceOf(
  reads: readonly ChangeRead[],
  rows: Shown | 'too old',
  more: Partial<ImagedSourceOptions> = {},
): ImagedSource {
  const left = [...reads];
  const behind: ChangeSource = {
    committed: { term: 1n, index: 1n },
    next: () => Promise.resolve(left.shift() ?? { kind: 'gone' }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const copier: ImagedSourceOptions['copier'] = {
    async *rows(_, { at, schema }, keys): AsyncGenerator<CopiedRow> {
      await Promise.resolve();
      if (rows === 'too old') throw new SpoorError('SPOOR_SNAPSHOT_TOO_OLD', 'too old', {});
      const row = rows.findLast(({ from }) => BigInt(from) < at)?.row ?? null;
      const places = Int32Array.from(schema.columns.keys());
      for (const key of keys) yield { key, found: row && { block: blockOfRows(schema, [row]), places, row: 0 } };
    },
  };
  return new ImagedSource(behind, {
    tablet: TABLET,
    mode: 'full',
    from: { opId: { term: 1n, index: 0n }, tableName: 'shop.orders', schemaVersion: 1, time: 1n },
    resync: null,
    copier,
    memories: new ImageMemories(1 << 20),
    allowsPartial: false,
    isDropped: () => Promise.resolve(false),
    logger: keepingLogger(),
    ...more,
  });
}

async function batchesOf(source: ImagedSource): Promise<ChangeBatch[]> {
  const batches: ChangeBatch[] = [];
  for (let read = await source.next(); read.kind !== 'gone'; read = await source.next())
    for (const change of read.changes) if (change.kind === 'rows') batches.push(change);
  return batches;
}

describe('a source of whole rows', () => {
  it('ships each delete before the copy of a resync, also where nobody knows any more what the row was', async () => {
    const changes = [
      write(1, 10, RowOp.UPDATE, [int32(1), int32(5), undefined]),
      write(2, 11, RowOp.DELETE, [int32(2), undefined, undefined]),
    ];
    const source = sourceOf([readOf(changes, 11)], 'too old', { resync: 'asked' });
    const [update, deleted] = await batchesOf(source);
    assert.equal(update!.rowCount, 0, 'the copy has it');
    assert.deepEqual([deleted!.rowCount, letterOf(deleted!, 0), valuesOf(deleted!, 0)], [1, 'd', { k: 2 }]);
    const where = { 'shop.orders': 'a > 3' };
    const definition = { where, partitionBy: 'key', oversize: 'block', images: 'full' } as const;
    const selected = new Selection(definition, () => Buffer.of(0)).select(deleted!, 'shop.orders');
    assert.equal(selected?.rowCount, 1, 'the sink may have it, and nothing that follows takes it away');
  });

  it('remembers nothing of what it reads when it was closed', async () => {
    const memories = new ImageMemories(1 << 20);
    const reads = [readOf([write(1, 10, RowOp.UPDATE, [int32(1), int32(5), undefined])], 10)];
    const source = sourceOf(reads, [{ from: 0, row: [int32(1), int32(4), null] }], { memories });
    const reading = source.next().catch(() => undefined);
    await source[Symbol.asyncDispose]();
    await reading;
    assert.equal(memories.bytes, 0);
  });

  describe('with a write that is stamped ahead of those behind it (COMMIT_WAIT)', () => {
    const table: Shown = [
      { from: 0, row: [int32(1), int32(1), Buffer.from('old')] },
      { from: 12, row: [int32(1), int32(2), Buffer.from('old')] },
    ];

    it('knows its row when the table was altered meanwhile', async () => {
      const source = sourceOf(
        [
          readOf([write(1, 1000, RowOp.UPDATE, [int32(1), int32(7), undefined])], 10),
          readOf([write(2, 20, RowOp.UPDATE, [int32(1), undefined, undefined, int32(9)], ALTERED)], 20),
        ],
        [{ from: 0, row: [int32(1), int32(1), Buffer.from('x'), null] }],
      );
      const [, second] = await batchesOf(source);
      assert.deepEqual(valuesOf(second!, 0, second!.before!.cells), { k: 1, renamed: 7, more: 'new', last: null });
      assert.deepEqual(valuesOf(second!, 0), { k: 1, renamed: 7, more: 'new', last: 9 });
    });

    it('knows its row when the log was opened anew, and when other rows were put right', async () => {
      const again = { columns: [...SCHEMA.columns] };
      const corrected = imagedBatch(SCHEMA, [{ op: CopyOp.ROW, values: { k: 2, a: 1, b: null } }], {
        copy: 'incremental',
        before: null,
        hybridTime: 15n,
      });
      const source = sourceOf(
        [
          readOf([write(1, 1000, RowOp.UPDATE, [int32(1), int32(7), undefined])], 10),
          readOf([corrected], 15),
          readOf([write(2, 20, RowOp.UPDATE, [int32(1), undefined, null], again)], 20),
        ],
        [{ from: 0, row: [int32(1), int32(1), Buffer.from('x')] }],
      );
      const batches = await batchesOf(source);
      assert.deepEqual(valuesOf(batches[2]!, 0), { k: 1, a: 7, b: null });
    });

    it('reads its row as all before it left it, those of another schema too', async () => {
      const again = { columns: [...SCHEMA.columns] };
      const source = sourceOf(
        [
          readOf(
            [
              write(1, 12, RowOp.UPDATE, [int32(1), int32(2), undefined]),
              write(2, 1000, RowOp.UPDATE, [int32(1), undefined, Buffer.from('ahead')], again),
            ],
            13,
          ),
        ],
        table,
      );
      const [, ahead] = await batchesOf(source);
      assert.deepEqual(valuesOf(ahead!, 0, ahead!.before!.cells), { k: 1, a: 2, b: 'old' });
    });
  });
});
