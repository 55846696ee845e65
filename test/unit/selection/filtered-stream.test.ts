import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CopyOp, RowOp, type ChangeBatch } from '../../../src/change/change.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { letterOf } from '../../../src/formats/op-words.ts';
import { Selection } from '../../../src/selection/selection.ts';
import { imagedBatch, valuesOf, type ImagedRow, type RowValues } from '../../support/image-batches.ts';
import { column } from '../../support/row-bytes.ts';

const T = DataType;
const SCHEMA: TableSchema = {
  columns: [
    column('id', T.INT32, { isKey: true, id: 1 }),
    column('code', T.STRING, { isKey: true, id: 2 }),
    column('n', T.INT64, { nullable: true, id: 3 }),
    column('state', T.STRING, { nullable: true, id: 4 }),
    column('note', T.STRING, { nullable: true, id: 5 }),
    column('secret', T.BINARY, { nullable: true, id: 6 }),
  ],
};
const SALT = Buffer.from('pepper');
const RULES = {
  exclude: ['secret'],
  mask: { n: '7' },
  truncate: { note: 2 },
  hash: { columns: ['code'], algorithm: 'SHA-256' as const, saltFile: '/salt' },
};

interface Row {
  readonly id: number;
  readonly code: string;
  readonly n: bigint | null;
  readonly state: string | null;
  readonly note: string | null;
  readonly secret: Buffer | null;
}

/** The condition of the stream, and what it means, written down once more. */
const CONDITIONS: readonly (readonly [string, (row: Row) => boolean])[] = [
  ["state = 'paid' AND n > 3", ({ state, n }) => state === 'paid' && n !== null && n > 3n],
  ["NOT (state = 'paid' OR n <= 0)", ({ state, n }) => state !== null && state !== 'paid' && n !== null && n > 0n],
  ["state IS NULL OR state NOT IN ('a', 'paid')", ({ state }) => state === null || !['a', 'paid'].includes(state)],
  ["note LIKE 'é%' AND id != 2", ({ note, id }) => note !== null && note.startsWith('é') && id !== 2],
  ['id < 2', ({ id }) => id < 2],
  ["n NOT BETWEEN -1 AND 5 OR code = 'x'", ({ n, code }) => code === 'x' || (n !== null && (n < -1n || n > 5n))],
];

const values = {
  n: fc.option(fc.bigInt({ min: -2n, max: 9n })),
  state: fc.option(fc.constantFrom('', 'a', 'paid')),
  note: fc.option(fc.constantFrom('', 'é', 'é😀x', 'xyz')),
  secret: fc.option(fc.constantFrom(Buffer.of(0), Buffer.from('top'))),
};
const key = { id: fc.integer({ min: 0, max: 3 }), code: fc.constantFrom('x', 'y') };
const operation = fc.oneof(
  fc.record({ kind: fc.constant('insert' as const), ...key, ...values }),
  fc.record({ kind: fc.constant('upsert' as const), ...key, ...values }, { requiredKeys: ['kind', 'id', 'code'] }),
  fc.record({ kind: fc.constant('update' as const), ...key, ...values }, { requiredKeys: ['kind', 'id', 'code'] }),
  fc.record({ kind: fc.constant('delete' as const), ...key }),
);

const nameOf = ({ id, code }: { readonly id: number; readonly code: string }): string => `${id}/${code}`;

/** What Kudu makes of operations, and what the log and its images say of them; those that it refuses are not there. */
function apply(table: Map<string, Row>, operations: readonly unknown[]): ImagedRow[] {
  const rows: ImagedRow[] = [];
  for (const each of operations as readonly (Partial<Row> & { kind: string; id: number; code: string })[]) {
    const { kind, ...set } = each;
    const name = nameOf(set);
    const before = table.get(name) ?? null;
    if (kind === 'insert' ? before !== null : kind !== 'upsert' && before === null) continue;
    const asValues = before as RowValues | null;
    if (kind === 'delete') {
      table.delete(name);
      rows.push({ op: RowOp.DELETE, values: { id: set.id, code: set.code }, before: asValues });
      continue;
    }
    const after: Row = { ...(before ?? { n: null, state: null, note: null, secret: null }), ...set };
    table.set(name, after);
    const op = kind === 'insert' ? RowOp.INSERT : kind === 'upsert' ? RowOp.UPSERT : RowOp.UPDATE;
    rows.push({ op, values: { ...after }, before: asValues });
  }
  return rows;
}

/** What the stream is to show of a row. */
function shown({ id, code, n, state, note }: Row): Record<string, unknown> {
  const hash = createHmac('sha256', SALT).update(code).digest('hex');
  return {
    id,
    code: hash,
    n: n === null ? null : 7n,
    state,
    note: note === null ? null : Array.from(note).slice(0, 2).join(''),
  };
}

/** As a consumer folds: strict where Debezium's contract is. */
class Fold {
  readonly rows = new Map<string, Record<string, unknown>>();

  take(batch: ChangeBatch): void {
    for (let row = 0; row < batch.rowCount; row++) {
      const after = valuesOf(batch, row);
      const name = `${String(after.id)}/${String(after.code)}`;
      const letter = letterOf(batch, row);
      const was = batch.before?.present[row] === 1 ? valuesOf(batch, row, batch.before.cells) : null;
      if (batch.copy === null) {
        if (letter === 'c') assert.equal(this.rows.has(name), false, 'c of a row that is there');
        else assert.deepEqual(was, this.rows.get(name), 'u and d tell the row that is there');
        if (letter === 'c') assert.equal(was, null);
      }
      if (letter === 'd') this.rows.delete(name);
      else this.rows.set(name, after);
    }
  }
}

describe('a filtered stream', () => {
  for (const [where, holds] of CONDITIONS)
    it(`folds to the table under ${where}`, () => {
      fc.assert(
        fc.property(
          fc.array(fc.array(operation, { maxLength: 6 }), { maxLength: 12 }),
          fc.boolean(),
          (batches, withRules) => {
            const selection = new Selection(
              {
                where: { 'shop.*': where },
                ...(withRules && { columns: { 'shop.orders': RULES } }),
                partitionBy: 'key',
                oversize: 'block',
                images: 'full',
              },
              () => SALT,
            );
            const table = new Map<string, Row>();
            const fold = new Fold();
            for (const operations of batches) {
              const rows = apply(table, operations);
              if (rows.length === 0) continue;
              const selected = selection.select(imagedBatch(SCHEMA, rows), 'shop.orders');
              if (selected) fold.take(selected);
            }
            const want = [...table.values()].filter(holds).map((row) => (withRules ? shown(row) : { ...row }));
            assert.deepEqual(sorted([...fold.rows.values()]), sorted(want));
          },
        ),
        { numRuns: 300 },
      );
    });

  it('tells a repair of rows that are not under the condition by now as deletes, and a base copy not at all', () => {
    const selection = new Selection(
      { where: { '*': "state = 'paid'" }, partitionBy: 'key', oversize: 'block', images: 'full' },
      () => SALT,
    );
    const rows: ImagedRow[] = ['paid', 'open', null].map((state, id) => ({
      op: CopyOp.ROW,
      values: { id, code: 'x', n: 1n, state, note: null, secret: null },
    }));
    rows.push({ op: CopyOp.DELETED, values: { id: 9, code: 'x' } });
    const copied = imagedBatch(SCHEMA, rows, { copy: 'base', before: null });
    const idsOf = (batch: ChangeBatch | null): unknown[] =>
      Array.from({ length: batch!.rowCount }, (_, row) => [batch!.ops[row], valuesOf(batch!, row).id]);
    assert.deepEqual(idsOf(selection.select(copied, 'shop.orders')), [
      [CopyOp.ROW, 0],
      [CopyOp.DELETED, 9],
    ]);
    assert.deepEqual(idsOf(selection.select({ ...copied, copy: 'incremental' }, 'shop.orders')), [
      [CopyOp.ROW, 0],
      [CopyOp.DELETED, 1],
      [CopyOp.DELETED, 2],
      [CopyOp.DELETED, 9],
    ]);
  });

  it('decides by the key alone without images, whatever the operation', () => {
    const selection = new Selection(
      { where: { '*': 'id = 1' }, partitionBy: 'key', oversize: 'block', images: 'changed' },
      () => SALT,
    );
    const ops = [RowOp.INSERT, RowOp.UPSERT, RowOp.UPDATE, RowOp.DELETE, CopyOp.ROW, CopyOp.DELETED];
    const rows = ops.flatMap((op) => [0, 1].map((id): ImagedRow => ({ op, values: { id, code: 'x' } })));
    const selected = selection.select(imagedBatch(SCHEMA, rows, { before: null }), 'shop.orders')!;
    assert.deepEqual([...selected.ops], ops);
    assert.deepEqual([...selected.rowIndexes], [1, 3, 5, 7, 9, 11], 'positions stay');
    const none = selection.select(imagedBatch(SCHEMA, rows.slice(0, 1), { before: null }), 'shop.orders');
    assert.equal(none, null);
  });

  it('stops with the reason where the image of a row is missing', () => {
    const selection = new Selection(
      { where: { '*': 'n = 1' }, partitionBy: 'key', oversize: 'block', images: 'full' },
      () => SALT,
    );
    const row = { op: RowOp.UPDATE, values: { id: 1, code: 'x', n: 1n } };
    const batch = imagedBatch(SCHEMA, [row], { partial: Uint8Array.of(1) });
    assert.throws(() => selection.select(batch, 'shop.orders'), {
      code: 'SPOOR_SELECTION',
      message: /a resync mends it/,
    });
  });

  it('leaves operations out by their op', () => {
    const rows: ImagedRow[] = [
      { op: RowOp.INSERT, values: { id: 1, code: 'x' } },
      { op: RowOp.UPSERT, values: { id: 2, code: 'x' }, before: null },
      { op: RowOp.UPSERT, values: { id: 3, code: 'x' }, before: { id: 3, code: 'x' } },
      { op: RowOp.DELETE, values: { id: 4, code: 'x' }, before: { id: 4, code: 'x' } },
    ];
    const idsWithout = (skipOperations: ('c' | 'u' | 'd' | 'r')[], more: Partial<ChangeBatch> = {}): unknown[] => {
      const selection = new Selection(
        { skipOperations, partitionBy: 'key', oversize: 'block', images: 'full' },
        () => SALT,
      );
      const selected = selection.select(imagedBatch(SCHEMA, rows, more), 'shop.orders')!;
      return Array.from({ length: selected.rowCount }, (_, row) => valuesOf(selected, row).id);
    };
    assert.deepEqual(idsWithout(['c']), [3, 4]);
    assert.deepEqual(idsWithout(['c'], { before: null }), [2, 3, 4], 'without images an UPSERT is u');
    assert.deepEqual(idsWithout(['u', 'd']), [1, 2]);
    assert.deepEqual(idsWithout(['r']), [1, 2, 3, 4]);
  });
});

function sorted(rows: readonly Record<string, unknown>[]): readonly Record<string, unknown>[] {
  return rows.toSorted((a, b) => (nameOf(a as never) < nameOf(b as never) ? -1 : 1));
}
