import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Cell, RowOp, type ChangeBatch } from '../../../src/change/change.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import { compileRowLayout, RowFormatError } from '../../../src/change/row-layout.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../../../src/kudu/schema.ts';
import { column, encodeRows, int32, int64, type TestCell, type TestRow } from '../../support/row-bytes.ts';

const T = DataType;
const TABLET = { tableId: 'table', tabletId: 'tablet', tableName: 'shop.orders' };

interface Write {
  readonly request: TableSchema;
  readonly tablet?: TableSchema;
  readonly rows: readonly TestRow[];
  readonly results?: readonly number[];
  readonly counter?: bigint;
}

function decode({ request, tablet = request, rows, results = rows.map(() => 1), counter }: Write): ChangeBatch {
  return decodeWrite({
    tablet: TABLET,
    opId: { term: 1n, index: 7n },
    hybridTime: 1n,
    layout: compileRowLayout(request, tablet),
    ...encodeRows(request, rows),
    results: Uint8Array.from(results),
    autoIncrementCounter: counter ?? null,
  });
}

/** A batch with each cell as its bytes, or the name of its code. */
function readable(batch: ChangeBatch): { op: number; row: number; cells: Record<string, unknown> }[] {
  const width = batch.schema.columns.length;
  return Array.from({ length: batch.rowCount }, (_, r) => ({
    op: batch.ops[r]!,
    row: batch.rowIndexes[r]!,
    cells: Object.fromEntries(
      batch.schema.columns.map((c, j) => [c.name, cellOf(batch, c, batch.cells[r * width + j]!, r)]),
    ),
  }));
}

const SIZES: Partial<Record<number, number>> = { [T.INT64]: 8, [T.INT32]: 4, [T.INT8]: 1, [T.BOOL]: 1 };

function cellOf(batch: ChangeBatch, c: ColumnSchema, at: number, row: number): unknown {
  if (at === Cell.UNSET) return 'unset';
  if (at === Cell.NULL) return null;
  if (at === Cell.DEFAULT) return 'default';
  if (at === Cell.AUTO) return int64(batch.autoIncrement![row]!).toString('hex');
  const size = SIZES[c.type];
  if (size !== undefined) return batch.rows.toString('hex', at, at + size);
  const offset = Number(batch.rows.readBigUInt64LE(at));
  return batch.indirect.toString('hex', offset, offset + Number(batch.rows.readBigUInt64LE(at + 8)));
}
const hex = (bytes: Buffer): string => bytes.toString('hex');

const KEY = column('k', T.INT64, { isKey: true });
const PLAIN: TableSchema = {
  columns: [KEY, column('a', T.INT32, { nullable: true }), column('s', T.STRING, { writeDefault: Buffer.from('d') })],
};

describe('decodeWrite', () => {
  it('fills in what an INSERT leaves out, and nothing for an UPSERT or UPDATE (kudu-facts 5.4, trap 19)', () => {
    const cells = [int64(1n)];
    const { INSERT, INSERT_IGNORE, UPSERT, UPSERT_IGNORE, DELETE, DELETE_IGNORE, UPDATE } = RowOp;
    const rows: TestRow[] = [
      ...[INSERT, INSERT_IGNORE, UPSERT, UPSERT_IGNORE, DELETE, DELETE_IGNORE].map((op) => ({ op, cells })),
      { op: UPDATE, cells: [int64(1n), int32(5)] },
    ];
    const k = hex(int64(1n));
    const filled = { k, a: null, s: 'default' };
    const left = { k, a: 'unset', s: 'unset' };
    assert.deepEqual(
      readable(decode({ request: PLAIN, rows })).map((row) => row.cells),
      [filled, filled, left, left, left, left, { k, a: hex(int32(5)), s: 'unset' }],
    );
  });

  it('steps over the bytes of rejected and ignored rows, and counts their places (trap 23)', () => {
    const rows = [
      { op: RowOp.INSERT, cells: [int64(1n), null, Buffer.from('one')] },
      { op: RowOp.INSERT, cells: [int64(2n), int32(2), Buffer.alloc(70_000, 0x78)] },
      { op: RowOp.UPDATE_IGNORE, cells: [int64(3n), int32(3)] },
      { op: RowOp.UPSERT, cells: [int64(4n), undefined, Buffer.from('four')] },
    ];
    assert.deepEqual(readable(decode({ request: PLAIN, rows, results: [1, 0, 0, 1] })), [
      { op: RowOp.INSERT, row: 0, cells: { k: hex(int64(1n)), a: null, s: hex(Buffer.from('one')) } },
      { op: RowOp.UPSERT, row: 3, cells: { k: hex(int64(4n)), a: 'unset', s: hex(Buffer.from('four')) } },
    ]);
  });

  it('keeps several rows of one operation on one key apart and in order (trap 28)', () => {
    const cells = (a: number): TestCell[] => [int64(1n), int32(a), Buffer.from('')];
    const rows = [
      { op: RowOp.INSERT, cells: cells(1) },
      { op: RowOp.UPDATE, cells: cells(2) },
      { op: RowOp.DELETE, cells: [int64(1n)] },
      { op: RowOp.INSERT, cells: cells(3) },
    ];
    assert.deepEqual(
      readable(decode({ request: PLAIN, rows })).map(({ op, row, cells: { a } }) => [op, row, a]),
      [
        [RowOp.INSERT, 0, hex(int32(1))],
        [RowOp.UPDATE, 1, hex(int32(2))],
        [RowOp.DELETE, 2, 'unset'],
        [RowOp.INSERT, 3, hex(int32(3))],
      ],
    );
  });

  it('maps columns by name, never by place (trap 21)', () => {
    const request = { columns: [KEY, column('b', T.INT32), column('a', T.INT32)] };
    const tablet = {
      columns: [KEY, column('a', T.INT32), column('new', T.INT32, { nullable: true }), column('b', T.INT32)],
    };
    const rows = [{ op: RowOp.INSERT, cells: [int64(1n), int32(2), int32(1)] }];
    assert.deepEqual(readable(decode({ request, tablet, rows }))[0]!.cells, {
      k: hex(int64(1n)),
      a: hex(int32(1)),
      new: null,
      b: hex(int32(2)),
    });
  });

  it('drops immutable columns of an UPDATE_IGNORE by the flag of the tablet, keeps them of an UPSERT_IGNORE (5.6, trap 20)', () => {
    const columns = (immutable: boolean): TableSchema => ({
      columns: [KEY, column('i', T.INT32, { immutable, nullable: true }), column('a', T.INT32)],
    });
    const cells = [int64(1n), int32(8), int32(9)];
    const rows = [
      { op: RowOp.UPDATE_IGNORE, cells },
      { op: RowOp.UPDATE_IGNORE, cells: [int64(1n), null, int32(9)] },
      { op: RowOp.UPSERT_IGNORE, cells },
    ];
    assert.deepEqual(
      readable(decode({ request: columns(false), tablet: columns(true), rows })).map((row) => row.cells['i']),
      ['unset', 'unset', hex(int32(8))],
    );
  });

  it('reads the bytes that a non-nullable column carries in spite of its null bit', () => {
    const { rows, indirect } = encodeRows(PLAIN, [
      { op: RowOp.INSERT, cells: [int64(1n), int32(1), Buffer.from('x')] },
      { op: RowOp.INSERT, cells: [int64(2n), int32(2), Buffer.from('y')] },
    ]);
    rows[2]! |= 0b101; // null bits of k and s
    const batch = decodeWrite({
      tablet: TABLET,
      opId: { term: 1n, index: 1n },
      hybridTime: 1n,
      layout: compileRowLayout(PLAIN, PLAIN),
      rows,
      indirect,
      results: Uint8Array.of(1, 1),
      autoIncrementCounter: null,
    });
    assert.deepEqual(
      readable(batch).map(({ cells }) => cells['s']),
      [hex(Buffer.from('x')), hex(Buffer.from('y'))],
    );
  });

  it('fills a key column with its default for an UPSERT too: the key is never left to the row', () => {
    const schema = { columns: [column('k', T.INT32, { isKey: true, writeDefault: int32(1) }), column('a', T.INT32)] };
    const rows = [{ op: RowOp.UPSERT, cells: [undefined, int32(2)] }];
    assert.deepEqual(readable(decode({ request: schema, rows }))[0]!.cells, { k: 'default', a: hex(int32(2)) });
  });

  it('counts auto-increment values like the server: rejected INSERTs take one, an UPSERT may push on (trap 25)', () => {
    const auto = column('id', T.INT64, { isKey: true, autoIncrementing: true });
    const schema = { columns: [KEY, auto, column('s', T.STRING, { nullable: true })] };
    const insert = { op: RowOp.INSERT, cells: [int64(1n)] };
    const upsert = (id: bigint): TestRow => ({ op: RowOp.UPSERT, cells: [int64(1n), int64(id), null] });
    const rows = [
      insert, // 11
      insert, // 12, rejected
      { op: RowOp.INSERT_IGNORE, cells: [int64(2n), undefined, Buffer.alloc(70_000)] }, // 13, rejected
      insert, // 14
      upsert(5n), // below: no push
      insert, // 15
      upsert(100n), // rejected, pushes all the same
      { op: RowOp.DELETE, cells: [int64(1n), int64(11n)] },
      insert, // 101
    ];
    const batch = decode({ request: schema, rows, results: [1, 0, 0, 1, 1, 1, 0, 1, 1], counter: 10n });
    assert.deepEqual(
      readable(batch).map(({ row, cells }) => [row, cells['id']]),
      [11n, 14n, 5n, 15n, 11n, 101n].map((id, i) => [[0, 3, 4, 5, 7, 8][i], hex(int64(id))]),
    );
    assert.throws(() => decode({ request: schema, rows: [insert] }), /lacks the counter/);
  });

  it('refuses bytes and results that do not fit together, rather than guess (trap 17)', () => {
    const rows = [{ op: RowOp.INSERT, cells: [int64(1n), int32(1), Buffer.from('x')] }];
    const fails = (write: Write, kind: string): void => {
      assert.throws(
        () => decode(write),
        (error) => error instanceof RowFormatError && error.kind === kind,
      );
    };
    fails({ request: PLAIN, rows, results: [] }, 'corrupt');
    fails({ request: PLAIN, rows, results: [1, 1] }, 'corrupt');
    fails({ request: PLAIN, rows: [{ op: 4, cells: [int64(1n)] }] }, 'unsupported');
    fails({ request: PLAIN, rows: [{ op: 4, cells: [int64(1n)] }], results: [0] }, 'unsupported');
    fails({ request: PLAIN, rows: [{ op: RowOp.UPDATE, cells: [undefined, int32(1)] }] }, 'corrupt');
    fails({ request: { columns: [KEY, column('gone', T.INT32)] }, tablet: PLAIN, rows: [] }, 'corrupt');
    fails({ request: { columns: [KEY, column('a', T.INT32)] }, tablet: PLAIN, rows: [] }, 'corrupt');
    fails({ request: { columns: [] }, tablet: PLAIN, rows: [] }, 'corrupt');
    const odd = { columns: [KEY, column('o', T.INT128, { nullable: true })] };
    fails({ request: odd, rows: [] }, 'unsupported');
  });

  it('never reads past a cut or a wild pointer: an error or the same rows', () => {
    const schema = PLAIN;
    const { rows, indirect } = encodeRows(schema, [
      { op: RowOp.INSERT, cells: [int64(1n), null, Buffer.from('abc')] },
      { op: RowOp.UPSERT, cells: [int64(2n), int32(2), Buffer.from('defg')] },
    ]);
    const layout = compileRowLayout(schema, schema);
    const write = { tablet: TABLET, opId: { term: 1n, index: 1n }, hybridTime: 1n, layout, autoIncrementCounter: null };
    const results = Uint8Array.of(1, 1);
    for (let cut = 0; cut < rows.length; cut++)
      assert.throws(() => decodeWrite({ ...write, rows: rows.subarray(0, cut), indirect, results }), RowFormatError);
    for (let cut = 0; cut < indirect.length; cut++)
      assert.throws(
        () => decodeWrite({ ...write, rows, indirect: indirect.subarray(0, cut), results }),
        RowFormatError,
      );
    fc.assert(
      fc.property(fc.nat({ max: rows.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
        const flipped = Buffer.from(rows);
        flipped[at] = byte;
        try {
          readable(decodeWrite({ ...write, rows: flipped, indirect, results }));
        } catch (error) {
          assert.ok(error instanceof RowFormatError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('reads back any rows under any schema', () => {
    const COLUMN = fc.record({
      type: fc.constantFrom(T.INT8, T.INT32, T.INT64, T.STRING, T.BINARY),
      nullable: fc.boolean(),
      immutable: fc.boolean(),
      hasDefault: fc.boolean(),
    });
    const OP = fc.constantFrom(...Object.values(RowOp));
    const write = fc.array(COLUMN, { maxLength: 20 }).chain((columns) => {
      const values = columns.map((c, i) =>
        column(`c${i}`, c.type, {
          nullable: c.nullable,
          immutable: c.immutable,
          writeDefault: c.hasDefault ? Buffer.alloc(SIZES[c.type] ?? 3) : null,
        }),
      );
      const schema: TableSchema = { columns: [KEY, ...values] };
      const bytes = (c: ColumnSchema): fc.Arbitrary<Buffer> =>
        fc.uint8Array({ minLength: SIZES[c.type] ?? 0, maxLength: SIZES[c.type] ?? 6 }).map((b) => Buffer.from(b));
      const cell = (c: ColumnSchema): fc.Arbitrary<TestCell> =>
        fc.oneof(bytes(c), fc.constant(c.nullable ? null : undefined), fc.constant(undefined));
      const row = fc.record({
        op: OP,
        applied: fc.boolean(),
        cells: fc.tuple(bytes(KEY), ...values.map(cell)),
      });
      return fc.record({ schema: fc.constant(schema), rows: fc.array(row, { maxLength: 6 }), shuffle: fc.nat() });
    });
    fc.assert(
      fc.property(write, ({ schema, rows, shuffle }) => {
        const isInsert = (op: number): boolean => op === RowOp.INSERT || op === RowOp.INSERT_IGNORE;
        const required = (c: ColumnSchema): boolean => !c.nullable && c.writeDefault === null;
        // The server applies no INSERT that lacks a required column.
        const whole = rows.map((row) => ({
          ...row,
          cells: row.cells.map((cell, j) =>
            isInsert(row.op) && required(schema.columns[j]!)
              ? (cell ?? Buffer.alloc(SIZES[schema.columns[j]!.type] ?? 0))
              : cell,
          ),
        }));
        const [, ...values] = schema.columns;
        const place = values.length === 0 ? 0 : shuffle % values.length;
        const tablet = { columns: [KEY, ...values.slice(place), ...values.slice(0, place)] };
        const batch = decode({
          request: schema,
          tablet,
          rows: whole,
          results: whole.map((row) => Number(row.applied)),
        });
        const expected = whole.flatMap((row, i) => {
          if (!row.applied) return [];
          const entries = schema.columns.map((c, j): [string, unknown] => {
            const given = row.cells[j];
            if (c.immutable && row.op === RowOp.UPDATE_IGNORE) return [c.name, 'unset'];
            if (given) return [c.name, hex(given)];
            if (given === null) return [c.name, null];
            if (!isInsert(row.op)) return [c.name, 'unset'];
            return [c.name, c.writeDefault === null ? null : 'default'];
          });
          return [{ op: row.op, row: i, cells: Object.fromEntries(entries) }];
        });
        assert.deepEqual(readable(batch), expected);
      }),
      { numRuns: 500 },
    );
  });
});
