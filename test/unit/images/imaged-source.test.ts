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
  return batchOf(index, time, [{ op, cells }], schema);
}

function batchOf(
  index: number,
  time: number,
  rows: readonly { readonly op: number; readonly cells: readonly TestCell[] }[],
  schema = SCHEMA,
): ChangeBatch {
  return decodeWrite({
    tablet: IMAGED_TABLET,
    opId: { term: 1n, index: BigInt(index) },
    hybridTime: BigInt(time),
    layout: compileRowLayout(schema, schema),
    ...encodeRows(schema, rows),
    results: new Uint8Array(rows.length).fill(1),
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

interface Shape {
  readonly rows: readonly string[];
  readonly index: bigint;
  readonly upTo: string | undefined;
  readonly bytes: number;
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
  return new ImagedSource(behind, {
    tablet: TABLET,
    mode: 'full',
    from: { opId: { term: 1n, index: 0n }, tableName: 'shop.orders', schemaVersion: 1, time: 1n },
    resync: null,
    copier: copierOf(() => rows),
    memories: new ImageMemories(1 << 20),
    allowsPartial: false,
    isDropped: () => Promise.resolve(false),
    logger: keepingLogger(),
    ...more,
  });
}

/** @param shown asked for each read */
function copierOf(shown: () => Shown | 'too old'): ImagedSourceOptions['copier'] {
  return {
    async *rows(_, { at, schema }, keys): AsyncGenerator<CopiedRow> {
      await Promise.resolve();
      const rows = shown();
      if (rows === 'too old') throw new SpoorError('SPOOR_SNAPSHOT_TOO_OLD', 'too old', {});
      const row = rows.findLast(({ from }) => BigInt(from) < at)?.row ?? null;
      const places = Int32Array.from(schema.columns.keys());
      for (const key of keys) yield { key, found: row && { block: blockOfRows(schema, [row]), places, row: 0 } };
    },
  };
}

async function readsOf(source: ImagedSource): Promise<ChangeRead[]> {
  const reads: ChangeRead[] = [];
  for (let read = await source.next(); read.kind !== 'gone'; read = await source.next()) reads.push(read);
  return reads;
}

async function batchesOf(source: ImagedSource): Promise<ChangeBatch[]> {
  const reads = await readsOf(source);
  return reads.flatMap(({ changes }) => changes.filter((change) => change.kind === 'rows'));
}

function text(values: Record<string, unknown>): string {
  return Object.values(values).join(' ');
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

  it('knows nothing of later operations where earlier ones come again', async () => {
    const update = (index: number, time: number, a: number): ChangeBatch =>
      write(index, time, RowOp.UPDATE, [int32(1), int32(a), undefined]);
    const rewound: Change = {
      kind: 'event',
      event: 'rewound',
      tablet: IMAGED_TABLET,
      opId: { term: 1n, index: 3n },
      hybridTime: 12n,
      partition: null,
      missing: null,
      rewound: { by: 'log', after: { term: 1n, index: 0n } },
    };
    const rows = [0, 10, 11].map((from, i) => ({ from, row: [int32(1), int32([0, 5, 6][i]!), Buffer.from('n')] }));
    const copy = { cut: 3n, at: 12n, rows: 0, onlyLog: true, replayAfter: { term: 1n, index: 0n } } as const;
    const reads = [
      readOf([update(1, 10, 5)], 10),
      readOf([update(2, 11, 6), rewound], 12, { copy }),
      readOf([update(1, 10, 5)], 12, { copy: { ...copy, replayAfter: { term: 1n, index: 1n } } }),
      readOf([update(2, 11, 6)], 12),
    ];
    const images = (await batchesOf(sourceOf(reads, rows))).map(
      (batch) => `${text(valuesOf(batch, 0, batch.before?.cells))} → ${text(valuesOf(batch, 0))}`,
    );
    assert.deepEqual(images, ['1 0 n → 1 5 n', '1 5 n → 1 6 n', '1 0 n → 1 5 n', '1 5 n → 1 6 n']);
  });

  describe('hands large reads on slice by slice', () => {
    const limits = { window: 300, slice: 100 };
    const rowIs = (a: number): readonly Buffer[] => [int32(1), int32(a), Buffer.alloc(60, 'x')];
    const rows: Shown = [
      { from: 0, row: rowIs(0) },
      { from: 10, row: rowIs(77) },
      { from: 11, row: rowIs(8) },
    ];
    /** An ALTER with the operation before it, a mark, and operations of many rows. */
    const many = Array.from({ length: 9 }, (_, i) => {
      return { op: RowOp.UPDATE, cells: [int32(1), int32(i), undefined] as const };
    });
    const changesFrom = (index: number): Change[] => [
      write(index, index + 9, RowOp.UPDATE, [int32(1), int32(77), undefined]),
      { kind: 'resolved', tablet: IMAGED_TABLET, opId: { term: 1n, index: BigInt(index + 1) }, hybridTime: 12n },
      batchOf(index + 1, index + 10, many),
      batchOf(index + 2, index + 11, many),
    ];
    const shape = ({ changes, position, bytes }: ChangeRead): Shape => ({
      rows: changes.flatMap((change) =>
        change.kind === 'rows'
          ? Array.from(change.rowIndexes, (row, i) => {
              const { before } = change;
              return `${change.opId.index}.${row} ${text(valuesOf(change, i, before?.cells))} ${text(valuesOf(change, i))}`;
            })
          : [change.kind],
      ),
      index: position.opId.index,
      upTo: position.upTo && `${position.upTo.index}.${position.upTo.row}`,
      bytes,
    });
    const readAt = (changes: readonly Change[], index: number, more: Partial<TabletPosition> = {}): ChangeRead =>
      readOf(changes, index + 9, { opId: { term: 1n, index: BigInt(index) }, ...more });
    const all = async (source: ImagedSource): Promise<Shape[]> => (await readsOf(source)).map((read) => shape(read));

    it('with the position before them and how far the rows have come, and the last with that behind them', async () => {
      const whole = await all(sourceOf([readAt(changesFrom(1), 3)], rows));
      const slices = await all(sourceOf([readAt(changesFrom(1), 3)], rows, { limits }));
      assert.equal(whole.length, 1);
      assert.ok(slices.length > 8, `${slices.length} slices`);
      assert.deepEqual(
        slices.flatMap((slice) => slice.rows),
        whole[0]!.rows,
      );
      for (const { rows: given, index, upTo, bytes } of slices.slice(0, -1)) {
        assert.deepEqual([index, upTo], [0n, given.at(-1)!.split(' ')[0]]);
        assert.ok(bytes < 400, `${bytes} bytes`);
      }
      assert.deepEqual([slices.at(-1)!.index, slices.at(-1)!.upTo], [3n, undefined]);
    });

    it('and goes on behind the rows that were shipped, however the log is read then', async () => {
      const [whole] = await all(sourceOf([readAt(changesFrom(1), 3)], rows));
      const slices = await readsOf(sourceOf([readAt(changesFrom(1), 3)], rows, { limits }));
      for (const [i, { position: from }] of slices.slice(0, -1).entries()) {
        const before = slices.slice(0, i + 1).flatMap((slice) => shape(slice).rows);
        const [first, mark, second, third] = changesFrom(1) as [Change, Change, Change, Change];
        const anew = [readAt([first], 1), readAt([mark, second], 2), readAt([third], 3)];
        for (const more of [{}, { limits }]) {
          const rest = await all(sourceOf(anew, rows, { from, ...more }));
          assert.deepEqual([...before, ...rest.flatMap((slice) => slice.rows)], whole!.rows, `slice ${i}`);
          for (const { index, upTo } of rest)
            if (upTo === undefined) assert.ok(index >= from.upTo!.index, 'a position says what is shipped behind it');
        }
      }
    });

    it('tells nothing of rows that were shipped and cannot be read any more', async () => {
      const [first] = await readsOf(sourceOf([readAt(changesFrom(1), 3)], rows, { limits }));
      const rest = sourceOf([readAt([changesFrom(1)[0]!], 1)], 'too old', { from: first!.position, limits });
      assert.deepEqual(
        (await all(rest)).map((slice) => slice.rows),
        [[]],
      );
    });

    it('of operations that are read again behind a copy, and not of those among rows that are put right', async () => {
      const copy = { cut: 50n, at: 60n, rows: 5 };
      const at = (replayed: bigint): Partial<TabletPosition> => ({
        opId: { term: 1n, index: 50n },
        copy: { ...copy, replayAfter: { term: 1n, index: replayed } },
      });
      const from = { ...readAt([], 50).position, ...at(0n) };
      const reads = (): ChangeRead[] => [readAt(changesFrom(1), 50, at(3n)), readAt([], 50)];
      const [whole] = await all(sourceOf(reads(), rows, { from }));
      const slices = await readsOf(sourceOf(reads(), rows, { from, limits }));
      assert.ok(slices.length > 8);
      const middle = slices[4]!;
      const rest = await all(sourceOf(reads(), rows, { from: middle.position }));
      assert.deepEqual(
        [...slices.slice(0, 5).flatMap((slice) => shape(slice).rows), ...rest.flatMap((slice) => slice.rows)],
        whole!.rows,
      );
      const corrected = imagedBatch(SCHEMA, [{ op: CopyOp.ROW, values: { k: 2, a: 1, b: null } }], {
        copy: 'incremental',
        before: null,
      });
      const before = changesFrom(4);
      const mixed = (): ChangeRead[] => [readAt([...before, corrected, ...changesFrom(1)], 8)];
      const [uncut] = await all(sourceOf(mixed(), rows));
      const cut = await readsOf(sourceOf(mixed(), rows, { limits }));
      assert.ok(cut.length > 8);
      const hasCopy = ({ changes }: ChangeRead): boolean =>
        changes.some((change) => change.kind === 'rows' && change.copy !== null);
      assert.deepEqual(cut.map(hasCopy), [...cut.slice(1).map(() => false), true], 'with all that comes behind it');
      const third = cut[3]!;
      const again = await all(sourceOf(mixed(), rows, { from: third.position, limits }));
      assert.deepEqual(
        [...cut.slice(0, 4).flatMap((slice) => shape(slice).rows), ...again.flatMap((slice) => slice.rows)],
        uncut!.rows,
      );
    });

    it('and says of a row what it can where the history goes halfway', async () => {
      let left = 2;
      const copier = copierOf(() => (left-- > 0 ? rows : 'too old'));
      const keys = Array.from({ length: 12 }, (_, k) => ({ op: RowOp.UPDATE, cells: [int32(k), int32(k), undefined] }));
      const reads = (): ChangeRead[] => [readAt([batchOf(1, 10, keys)], 1)];
      const partial = (await readsOf(sourceOf(reads(), rows, { limits, copier, allowsPartial: true }))).flatMap(
        (read) =>
          read.changes.flatMap((change) =>
            change.kind === 'rows' ? Array.from(change.ops, (_, i) => change.partial?.[i] ?? 0) : [],
          ),
      );
      assert.equal(partial.length, 12);
      const firstLost = partial.indexOf(1);
      assert.ok(firstLost > 0 && partial.slice(firstLost).every((lack) => lack === 1), partial.join());
      left = 2;
      const source = sourceOf(reads(), rows, { limits, copier });
      const { position } = (await source.next()) as ChangeRead;
      await assert.rejects(readsOf(source), { code: 'SPOOR_IMAGE_LOST' });
      await assert.rejects(readsOf(source), { code: 'SPOOR_IMAGE_LOST' }, 'and stays so');
      assert.ok(position.upTo!.row < firstLost);
    });
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
