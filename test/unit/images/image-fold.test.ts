import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Cell, RowOp, type ChangeBatch } from '../../../src/change/change.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import { compileRowLayout } from '../../../src/change/row-layout.ts';
import { ImageFold, type ImageMode, type ReadImage } from '../../../src/images/image-fold.ts';
import { ImageMemories } from '../../../src/images/image-memory.ts';
import { ImageLayout } from '../../../src/images/row-image.ts';
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

describe('images of rows', () => {
  for (const mode of ['after', 'full'] as const)
    it(`are those of the table, whatever was read at once and is remembered: ${mode}`, () => {
      fc.assert(
        fc.property(
          fc.array(step, { maxLength: 40 }),
          fc.constantFrom(0, 700, 1 << 20),
          fc.boolean(),
          (steps, max, lossy) => {
            check(mode, steps, max, lossy);
          },
        ),
        { numRuns: 1000 },
      );
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
      const wanted = fold.wanted(segment);
      assert.deepEqual(wanted.keys, []);
      const [first, second] = fold.fold(wanted, new Map());
      assert.equal(first, inserted);
      assert.equal(second, upserted);
    }
  });
});

function check(
  mode: ImageMode,
  steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[],
  max: number,
  lossy: boolean,
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
  const fold = new ImageFold(mode, memories);
  const out: ChangeBatch[] = [];
  let hadNoTime = false;
  for (let at = 0; at < batches.length;) {
    const end = batches.findIndex(({ endsRead }, i) => i >= at && endsRead) + 1 || batches.length;
    const read = batches.slice(at, end);
    at = end;
    const time = times.get(read.at(-1)!.batch)!;
    const changes = read.map(({ batch }) => batch);
    for (const segment of fold.segmentsOf(changes, time === 0n ? undefined : time)) {
      const wanted = fold.wanted(segment);
      const images = new Map<string, ReadImage>();
      hadNoTime ||= wanted.at === null;
      for (const key of wanted.keys) {
        const row = model.at(wanted.at ?? 0n, keyCells(KEYS, key)[0]!.readInt32LE());
        const image =
          row &&
          ImageLayout.of(segment.schema).ofBlock(
            blockOfRows(SCHEMA, [row as readonly (Buffer | null)[]]),
            0,
            Int32Array.of(0, 1, 2, 3),
          );
        images.set(key.toString('latin1'), wanted.at === null || read.some(({ gone }) => gone) ? 'lost' : image);
      }
      out.push(...fold.fold(wanted, images));
    }
  }
  assert.equal(out.length, model.writes.length);
  for (const [i, batch] of out.entries()) {
    const { after, before, batch: was } = model.writes[i]!;
    assert.deepEqual([...batch.ops], [...was.ops]);
    for (let row = 0; row < batch.rowCount; row++) {
      const label = `write ${i} row ${row} op ${batch.ops[row]}`;
      const now = rowOf(batch, batch.cells, row);
      const key = encodeKeyCells(KEYS, [now[0]!]);
      assert.ok(key.equals(encodeKeyCells(KEYS, [rowOf(was, was.cells, row)[0]!])), `${label}: the key`);
      const isPartial = batch.partial?.[row] === 1;
      const wantsAfter = after[row] ?? null;
      if (isPartial) {
        assert.ok(lossy || hadNoTime, `${label}: no row is partial where all can be read`);
        for (const [place, cell] of now.entries())
          // Of an UPSERT_IGNORE the log does not say whether a column that may not change took effect: it is named all the same.
          if (cell !== undefined && wantsAfter !== null && !(place === 3 && batch.ops[row] === RowOp.UPSERT_IGNORE))
            assert.equal(shown([cell]), shown([wantsAfter[place]]), `${label}: nothing is invented`);
        continue;
      }
      if (wantsAfter !== null) assert.equal(shown(now), shown(wantsAfter), `${label}: after`);
      if (mode === 'full') {
        const had = batch.before!.present[row] === 1 ? rowOf(batch, batch.before!.cells, row) : null;
        assert.equal(shown(had), shown(before[row] ?? null), `${label}: before`);
      }
    }
  }
  fold.close();
  assert.equal(memories.bytes, 0, 'what was remembered is counted back');
}
