import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Cell, RowOp, type ChangeBatch } from '../../../src/change/change.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import { compileRowLayout } from '../../../src/change/row-layout.ts';
import { isUpTo, type RowRef } from '../../../src/change/position.ts';
import { ImageFold } from '../../../src/images/image-fold.ts';
import { ImageMemories } from '../../../src/images/image-memory.ts';
import type { ReadImage } from '../../../src/images/known-rows.ts';
import { ImageLayout } from '../../../src/images/row-image.ts';
import { FOLD_LIMITS, type FoldedRows, type FoldLimits, type ImageMode } from '../../../src/images/segment-fold.ts';
import { isVarLength } from '../../../src/kudu/cell-codec.ts';
import { encodeKeyCells, keyCells } from '../../../src/kudu/key-encoder.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { column, encodeRows, int32, type TestCell } from '../../support/row-bytes.ts';
import { blockOfRows } from '../../support/row-blocks.ts';

const DEFAULT = Buffer.from('by default');
const SCHEMA: TableSchema = {
  columns: [
    column('k', DataType.INT32, { isKey: true, id: 10 }),
    column('a', DataType.INT32, { nullable: true, id: 11 }),
    column('s', DataType.STRING, { nullable: true, id: 12, writeDefault: DEFAULT }),
    column('m', DataType.INT32, { nullable: true, immutable: true, id: 13 }),
  ],
};
/** As it is behind an ALTER, or when the log was opened anew: other objects that say the same. */
const SCHEMAS = [SCHEMA, { columns: [...SCHEMA.columns] }, { columns: [...SCHEMA.columns] }];
const TABLET = { tableId: 'T', tabletId: 't', tableName: 'shop.t' };
const KEYS = [SCHEMA.columns[0]!];

/** By column; what is not known is not in it. */
type Row = readonly (Buffer | null | undefined)[];
interface Op {
  readonly op: number;
  readonly cells: readonly TestCell[];
}

/** Operations in the order of the log, and the table as Kudu would show it at any time. */
class Model {
  readonly writes: { readonly batch: ChangeBatch; readonly after: (Row | null)[]; readonly before: (Row | null)[] }[] =
    [];
  readonly #log: { readonly time: bigint; readonly key: number; readonly after: Row | null }[] = [];
  readonly #rows = new Map<number, Row>();

  write(time: bigint, wanted: readonly Op[], schema = SCHEMA): ChangeBatch | null {
    const [after, before, applied]: [(Row | null)[], (Row | null)[], Op[]] = [[], [], []];
    const results = wanted.map((op) => {
      const key = op.cells[0]!.readInt32LE();
      const was = this.#rows.get(key) ?? null;
      const now = rowAfter(op, was);
      if (now === 'rejected') return 0;
      if (now === null) this.#rows.delete(key);
      else this.#rows.set(key, now);
      this.#log.push({ time, key, after: now });
      applied.push(op);
      after.push(now);
      before.push(was);
      return 1;
    });
    if (applied.length === 0) return null;
    const { rows, indirect } = encodeRows(SCHEMA, wanted);
    const opId = { term: 1n, index: BigInt(this.writes.length + 1) };
    const request = {
      tablet: TABLET,
      opId,
      hybridTime: time,
      layout: compileRowLayout(schema, schema),
      rows,
      indirect,
      autoIncrementCounter: null,
    };
    const batch = decodeWrite({ ...request, results: Uint8Array.from(results) });
    this.writes.push({ batch, after, before });
    return batch;
  }

  /** What a scan at a time answers: operations with a lower one (kudu-facts 0.4). */
  at(time: bigint, key: number): Row | null {
    return this.#log.findLast((entry) => entry.key === key && entry.time < time)?.after ?? null;
  }
}

function rowAfter({ op, cells }: Op, was: Row | null): Row | null | 'rejected' {
  const isUpdate = op === RowOp.UPDATE || op === RowOp.UPDATE_IGNORE;
  const isDelete = op === RowOp.DELETE || op === RowOp.DELETE_IGNORE;
  const isUpsert = op === RowOp.UPSERT || op === RowOp.UPSERT_IGNORE;
  if (isDelete) return was === null ? 'rejected' : null;
  if (was === null) {
    if (isUpdate) return 'rejected';
    return cells.map((cell, place) => (cell === undefined ? (place === 2 ? DEFAULT : null) : cell));
  }
  if (!isUpdate && !isUpsert) return 'rejected';
  if (cells[3] !== undefined && (op === RowOp.UPDATE || op === RowOp.UPSERT)) return 'rejected'; // immutable
  return was.map((value, place) => (cells[place] === undefined || place === 3 ? value : cells[place]));
}

function rowOf(batch: ChangeBatch, cells: Int32Array, row: number): Row {
  return SCHEMA.columns.map((schema, place) => {
    const cell = cells[row * SCHEMA.columns.length + place]!;
    if (cell === Cell.UNSET) return undefined;
    if (cell === Cell.NULL) return null;
    if (cell === Cell.DEFAULT) return schema.writeDefault;
    if (!isVarLength(schema.type)) return batch.rows.subarray(cell, cell + 4);
    const start = Number(batch.rows.readBigUInt64LE(cell));
    return batch.indirect.subarray(start, start + Number(batch.rows.readBigUInt64LE(cell + 8)));
  });
}

function shown(row: Row | null): string {
  return row === null
    ? 'none'
    : row.map((value) => (value === undefined ? '?' : (value?.toString('hex') ?? 'null'))).join(' ');
}

const value = fc.integer({ min: 0, max: 9 }).map(int32);
const op: fc.Arbitrary<Op> = fc
  .record({
    op: fc.constantFrom(...Object.values(RowOp)),
    k: fc.integer({ min: 0, max: 5 }),
    a: fc.option(fc.option(value), { nil: undefined }),
    s: fc.option(fc.option(fc.string({ maxLength: 5 }).map((text) => Buffer.from(text))), { nil: undefined }),
    m: fc.option(value, { nil: undefined }),
  })
  .map(({ op: kind, k, a, s, m }) => {
    const isDelete = kind === RowOp.DELETE || kind === RowOp.DELETE_IGNORE;
    return { op: kind, cells: [int32(k), ...(isDelete ? [undefined, undefined, undefined] : [a, s, m])] };
  });
const step = fc.record({
  ops: fc.array(op, { minLength: 1, maxLength: 6 }),
  /** Stamped ahead of later ones (COMMIT_WAIT), by so much. */
  ahead: fc.option(fc.integer({ min: 1, max: 60 }), { nil: 0, freq: 6 }),
  endsRead: fc.boolean(),
  altered: fc.option(fc.constant(true), { nil: false, freq: 5 }),
  historyGone: fc.option(fc.constant(true), { nil: false, freq: 8 }),
});

/** At the smallest bounds each row is looked up, and handed on, by itself. */
const LIMITS: readonly FoldLimits[] = [
  FOLD_LIMITS,
  { window: 1, slice: 1 },
  { window: 200, slice: 60 },
  { window: 60, slice: 1000 },
];

describe('images of rows', () => {
  for (const mode of ['after', 'full'] as const)
    it(`are those of the table, whatever was read at once and is remembered: ${mode}`, () => {
      fc.assert(
        fc.property(
          fc.array(step, { maxLength: 40 }),
          fc.constantFrom(0, 700, 1 << 20),
          fc.boolean(),
          fc.constantFrom(...LIMITS),
          fc.array(fc.nat(9), { maxLength: 6 }),
          (steps, max, lossy, limits, begunAnew) => {
            check(mode, steps, { max, lossy, limits, begunAnew });
          },
        ),
        { numRuns: 3000 },
      );
    });

  for (const mode of ['after', 'full'] as const)
    it(`are folded in bounded memory where one operation touches many rows, some of them many times: ${mode}`, () => {
      const model = new Model();
      const text = Buffer.alloc(2000, 'x');
      const rows = Array.from({ length: 400 }, (_, k) => k);
      model.write(
        100n,
        rows.map((k) => ({ op: RowOp.INSERT, cells: [int32(k), int32(0), text, null] })),
      );
      const narrow = (k: number, a: number): Op => ({
        op: RowOp.UPDATE,
        cells: [int32(k), int32(a), undefined, undefined],
      });
      const batch = model.write(
        200n,
        [1, 2, 3].flatMap((a) => rows.flatMap((k) => [narrow(k, a), narrow(0, a)])),
      )!;
      const limits = { window: 100 << 10, slice: 20 << 10 };
      const memories = new ImageMemories(0);
      const fold = new ImageFold(mode, memories, 150n, limits);
      const out: FoldedRows[] = [];
      let [reads, most] = [0, 0];
      for (const segment of fold.segmentsOf([batch], 200n)) {
        const folding = fold.begin(segment);
        while (!folding.isDone) {
          let read = 0;
          for (const key of folding.wanted()) {
            read++;
            if (!folding.noteRead(imageOf(model, SCHEMA, segment.at, key))) break;
          }
          reads += read;
          most = Math.max(most, read * text.length);
          out.push(folding.next());
        }
      }
      assertImages(mode, model, out, { batches: 1, mayBePartial: false });
      assert.ok(most <= limits.window + text.length * 2, `${most} bytes were read at a time`);
      assert.ok(Math.max(...out.map(({ bytes }) => bytes)) < limits.slice + 5000);
      assert.ok(reads <= 3 * rows.length, `${reads} rows were read: each once for each time that it is come to`);
    });

  it('are not read of rows that their own operation has inserted, however long ago', () => {
    const model = new Model();
    const rows = Array.from({ length: 100 }, (_, k) => k);
    const row = (k: number): Op => ({ op: RowOp.INSERT, cells: [int32(k), int32(0), Buffer.from('x'), null] });
    const update = (k: number): Op => ({ op: RowOp.UPDATE, cells: [int32(k), int32(1), undefined, undefined] });
    const batch = model.write(100n, [...rows.map(row), ...rows.map(update)])!;
    const fold = new ImageFold('full', new ImageMemories(0), 50n, { window: 1000, slice: 500 });
    const out: FoldedRows[] = [];
    for (const segment of fold.segmentsOf([batch], 100n)) {
      const folding = fold.begin(segment);
      for (; !folding.isDone; out.push(folding.next())) assert.deepEqual(folding.wanted(), []);
    }
    assert.ok(out.length > 10);
    assertImages('full', model, out, { batches: 1, mayBePartial: false });
  });

  it('are refused where they are too large together for cells to say where they are', () => {
    const image = Buffer.alloc(1 << 20);
    const images = (count: number): Buffer[] => new Array<Buffer>(count).fill(image);
    assert.throws(() => ImageLayout.of(SCHEMA).pack(images(1024), images(1025)), /one operation are 2148532224 bytes/);
  });

  it('cost nothing where each operation has the whole row: it goes on as it is', () => {
    const model = new Model();
    const row = [int32(1), int32(2), Buffer.from('x'), int32(3)];
    const inserted = model.write(100n, [{ op: RowOp.INSERT, cells: row }])!;
    const upserted = model.write(200n, [{ op: RowOp.UPSERT, cells: [int32(2), ...row.slice(1)] }])!;
    const fold = new ImageFold('after', new ImageMemories(1 << 20));
    for (const segment of fold.segmentsOf([inserted, upserted], 200n)) {
      const folding = fold.begin(segment);
      assert.deepEqual(folding.wanted(), []);
      assert.equal(folding.next().batch, inserted);
      assert.equal(folding.next().batch, upserted);
      assert.ok(folding.isDone);
    }
  });
});

interface Way {
  /** Bytes that may be remembered. */
  readonly max: number;
  readonly lossy: boolean;
  readonly limits: FoldLimits;
  /** Behind so many slices each time whoever folds begins anew, in the midst of a read. */
  readonly begunAnew: readonly number[];
}

function imageOf(model: Model, schema: TableSchema, at: bigint | null, key: Buffer): ReadImage {
  const row = model.at(at ?? 0n, keyCells(KEYS, key)[0]!.readInt32LE());
  const block = row && blockOfRows(SCHEMA, [row as readonly (Buffer | null)[]]);
  return block && ImageLayout.of(schema).ofBlock(block, 0, Int32Array.of(0, 1, 2, 3));
}

function check(
  mode: ImageMode,
  steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[],
  { max, lossy, limits, begunAnew }: Way,
): void {
  const model = new Model();
  const batches: { readonly batch: ChangeBatch; readonly endsRead: boolean; readonly gone: boolean }[] = [];
  let [clock, ordered, alters] = [1000n, 0n, 0];
  const times = new Map<ChangeBatch, bigint>();
  for (const { ops, ahead, endsRead, altered, historyGone } of steps) {
    clock += 1000n;
    if (altered) alters++;
    const batch = model.write(
      clock + BigInt(ahead * 100 + (ahead && batches.length + 1)),
      ops,
      SCHEMAS[alters % SCHEMAS.length],
    ); // no time comes twice
    if (!batch) continue;
    if (ahead === 0) ordered = clock;
    times.set(batch, ordered);
    batches.push({ batch, endsRead, gone: lossy && historyGone });
  }
  const memories = new ImageMemories(max);
  let fold = new ImageFold(mode, memories, undefined, limits);
  const out: FoldedRows[] = [];
  // What was stamped ahead is lost to whoever begins anew.
  const restarts = steps.some(({ ahead }) => ahead > 0) ? [] : [...begunAnew];
  let [hadNoTime, untilRestart, behind] = [false, restarts.shift() ?? Infinity, undefined as bigint | undefined];
  for (let at = 0; at < batches.length;) {
    const end = batches.findIndex(({ endsRead }, i) => i >= at && endsRead) + 1 || batches.length;
    const read = batches.slice(at, end);
    at = end;
    const time = times.get(read.at(-1)!.batch)!;
    const changes = read.map(({ batch }) => batch);
    // History may go while some of a read is handed on.
    const goneFrom = read.some(({ gone }) => gone) ? end % (read.length + 1) : Infinity;
    let [slices, upTo] = [0, null as RowRef | null];
    const isPast = ({ opId, rowIndexes }: ChangeBatch, row: number): boolean =>
      upTo !== null && isUpTo({ index: opId.index, row: rowIndexes[row]! }, upTo);
    for (let isWhole = false; !isWhole;) {
      isWhole = true;
      for (const segment of fold.segmentsOf(changes, time === 0n ? undefined : time)) {
        const folding = fold.begin(segment);
        folding.skip(isPast);
        while (!folding.isDone && isWhole) {
          const wanted = folding.wanted();
          hadNoTime ||= wanted.length > 0 && segment.at === null;
          for (const key of wanted) {
            const isLost = segment.at === null || slices >= goneFrom;
            if (!folding.noteRead(isLost ? 'lost' : imageOf(model, segment.schema, segment.at, key))) break;
          }
          const rows = folding.next();
          out.push(rows);
          upTo = { index: rows.of.opId.index, row: rows.batch.rowIndexes.at(-1)! };
          if (goneFrom !== Infinity) slices++;
          if (--untilRestart > 0) continue;
          untilRestart = restarts.shift() ?? Infinity;
          fold.close();
          fold = new ImageFold(mode, memories, behind, limits);
          isWhole = false;
        }
        if (!isWhole) break;
      }
    }
    behind = time === 0n ? undefined : time;
  }
  assertImages(mode, model, out, { batches: model.writes.length, mayBePartial: lossy || hadNoTime });
  fold.close();
  assert.equal(memories.bytes, 0, 'what was remembered is counted back');
}

/** @param batches how many of the last writes have come */
function assertImages(
  mode: ImageMode,
  model: Model,
  out: readonly FoldedRows[],
  { batches, mayBePartial }: { readonly batches: number; readonly mayBePartial: boolean },
): void {
  const writes = model.writes.slice(model.writes.length - batches);
  const rowsOf = new Map<ChangeBatch, { readonly batch: ChangeBatch; readonly at: number }[]>();
  for (const { of, batch } of out)
    rowsOf.set(of, [...(rowsOf.get(of) ?? []), ...Array.from(batch.ops, (_, at) => ({ batch, at }))]);
  assert.deepEqual(
    [...rowsOf.keys()],
    writes.map(({ batch }) => batch),
    'in the order of the log, and none left out',
  );
  for (const [i, { after, before, batch: was }] of writes.entries()) {
    const rows = rowsOf.get(was)!;
    assert.deepEqual(
      rows.map(({ batch, at }) => batch.ops[at]),
      [...was.ops],
    );
    assert.deepEqual(
      rows.map(({ batch, at }) => batch.rowIndexes[at]),
      [...was.rowIndexes],
    );
    for (const [row, { batch, at }] of rows.entries()) {
      const label = `write ${i} row ${row} op ${batch.ops[at]}`;
      const now = rowOf(batch, batch.cells, at);
      const key = encodeKeyCells(KEYS, [now[0]!]);
      assert.ok(key.equals(encodeKeyCells(KEYS, [rowOf(was, was.cells, row)[0]!])), `${label}: the key`);
      const isPartial = batch.partial?.[at] === 1;
      const wantsAfter = after[row] ?? null;
      if (isPartial) {
        assert.ok(mayBePartial, `${label}: no row is partial where all can be read`);
        for (const [place, cell] of now.entries())
          // Of an UPSERT_IGNORE the log does not say whether a column that may not change took effect: it is named all the same.
          if (cell !== undefined && wantsAfter !== null && !(place === 3 && batch.ops[at] === RowOp.UPSERT_IGNORE))
            assert.equal(shown([cell]), shown([wantsAfter[place]]), `${label}: nothing is invented`);
        continue;
      }
      if (wantsAfter !== null) assert.equal(shown(now), shown(wantsAfter), `${label}: after`);
      if (mode === 'full') {
        const had = batch.before!.present[at] === 1 ? rowOf(batch, batch.before!.cells, at) : null;
        assert.equal(shown(had), shown(before[row] ?? null), `${label}: before`);
      }
    }
  }
}
