import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { RowOp, type SchemaChange } from '../../../src/change/change.ts';
import { RecordBatch, RecordKind } from '../../../src/change/record-batch.ts';
import { compileJson } from '../../../src/formats/json.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import type { SelectionDefinition } from '../../../src/selection/definition.ts';
import { selecting } from '../../../src/selection/selecting.ts';
import { ByteArena } from '../../../src/util/byte-arena.ts';
import { imagedBatch, IMAGED_TABLET, type ImagedRow } from '../../support/image-batches.ts';
import { recordsOf } from '../../support/record-batches.ts';
import { column } from '../../support/row-bytes.ts';

const T = DataType;
const SCHEMA: TableSchema = {
  columns: [
    column('id', T.INT32, { isKey: true, id: 1 }),
    column('region', T.STRING, { isKey: true, id: 2 }),
    column('note', T.STRING, { nullable: true, id: 3, writeDefault: Buffer.from('none') }),
    column('card', T.STRING, { nullable: true, id: 4 }),
  ],
};
const JSON_FORMAT = compileJson({ streamName: 's', version: '1', tombstones: true });
const { signal } = new AbortController();
const BASE: SelectionDefinition = { partitionBy: 'key', oversize: 'block', images: 'full' };
const rowOf = (id: number, note: string | null, op: number = RowOp.INSERT): ImagedRow => {
  return { op, values: { id, region: 'eu', note, card: '4111' } };
};
const deleted = (id: number): ImagedRow => {
  const row = { id, region: 'eu', note: 'x'.repeat(50), card: '4111' };
  return { op: RowOp.DELETE, values: { id, region: 'eu' }, before: row };
};
const formatOf = (more: Partial<SelectionDefinition>, name?: string) =>
  selecting(JSON_FORMAT, { definition: { ...BASE, ...more }, nameOf: () => name });
const value = (record: { readonly value: Buffer | null } | undefined): Record<string, unknown> =>
  JSON.parse(String(record?.value)) as Record<string, unknown>;

describe('a selecting format', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'spoor-salt-'));
  });
  after(() => rm(folder, { recursive: true }));

  it('makes the bytes of the format alone where a stream wants all', () => {
    const batch = imagedBatch(SCHEMA, [rowOf(1, 'a'), deleted(2)]);
    assert.equal(formatOf({}), JSON_FORMAT);
    assert.deepEqual(recordsOf(formatOf({ where: { 'other.table': 'id = 1' } }), batch), recordsOf(JSON_FORMAT, batch));
  });

  it('shows neither in rows nor in schemas a column that is left out, and goes by the name that the table joined with', () => {
    const columns = { 'shop.orders': { exclude: ['card'], mask: { note: '***' } } };
    const renamed = { ...IMAGED_TABLET, tableName: 'shop.old_orders' };
    const format = formatOf({ columns }, 'shop.orders');
    const batch = imagedBatch(SCHEMA, [rowOf(1, 'secret')], { tablet: renamed });
    const [record] = recordsOf(format, batch);
    assert.deepEqual(value(record).after, { id: 1, region: 'eu', note: '***' });
    assert.doesNotMatch(String(record?.value), /4111|card|secret/);
    const change: SchemaChange = {
      kind: 'schema',
      tablet: renamed,
      opId: { term: 1n, index: 1n },
      hybridTime: 1n,
      version: 1,
      before: null,
      after: { tableName: 'shop.old_orders', schema: SCHEMA },
    };
    const [schema] = recordsOf(format, change);
    assert.doesNotMatch(String(schema?.value), /card|none/, 'nor a default of before it is masked');
    assert.match(String(schema?.value), /"note"[^}]*"\*\*\*"/);
  });

  it('goes by that name also when the table has left the stream, as long as changes of it come', () => {
    let name: string | undefined = 'shop.orders';
    const columns = { 'shop.*': { mask: { note: '***' } } };
    const format = selecting(JSON_FORMAT, { definition: { ...BASE, columns }, nameOf: () => name });
    for (name of ['shop.orders', undefined]) {
      const batch = imagedBatch(SCHEMA, [rowOf(1, 'secret')], { tablet: { ...IMAGED_TABLET, tableName: 'renamed' } });
      assert.doesNotMatch(String(recordsOf(format, batch)[0]?.value), /secret/);
    }
  });

  it('refuses what does not fit a table, and ships nothing of it unmasked', () => {
    const format = formatOf({ columns: { 'shop.orders': { mask: { mail: 'x' } } } });
    assert.throws(() => recordsOf(format, imagedBatch(SCHEMA, [rowOf(1, 'a')])), {
      code: 'SPOOR_SELECTION',
      message: 'table "shop.orders" does not fit the stream: columns: mask names "mail", which the table has not',
    });
    const byPattern = formatOf({ columns: { 'shop.*': { mask: { mail: 'x' } } } });
    assert.equal(recordsOf(byPattern, imagedBatch(SCHEMA, [rowOf(1, 'a')])).length, 1);
  });

  it('hashes with the salt of a file, read again when it changes, and says so when it cannot be read', async () => {
    const saltFile = join(folder, 'salt');
    const columns = { '*': { hash: { columns: ['region'], algorithm: 'SHA-512' as const, saltFile } } };
    const format = formatOf({ columns });
    await assert.rejects(format.prepare!([], signal), { kind: 'refused', message: /salt file .*: ENOENT$/ });
    await writeFile(saltFile, '\n');
    await assert.rejects(format.prepare!([], signal), { kind: 'refused', message: /it is empty/ });
    for (const salt of ['one', 'other one']) {
      await writeFile(saltFile, `${salt}\n`);
      await format.prepare!([], signal);
      const [record] = recordsOf(format, imagedBatch(SCHEMA, [rowOf(1, 'a')]));
      const hash = createHmac('sha512', salt).update('eu').digest('hex');
      assert.deepEqual(JSON.parse(String(record?.key)), { id: 1, region: hash });
    }
  });

  it('keeps what is selected of a change: a salt that changes between its pieces changes nothing of it', async () => {
    const saltFile = join(folder, 'moving');
    const hash = { columns: ['region'], algorithm: 'SHA-256' as const, saltFile };
    const format = formatOf({ columns: { '*': { hash } }, partitionBy: ['region'] });
    await writeFile(saltFile, 'one');
    await format.prepare!([], signal);
    const batch = imagedBatch(SCHEMA, [rowOf(1, 'a')]);
    const first = recordsOf(format, batch);
    await writeFile(saltFile, 'the other');
    await format.prepare!([batch], signal);
    assert.deepEqual(recordsOf(format, batch), first);
  });

  describe('places records', () => {
    const routesOf = (more: Partial<SelectionDefinition>, rows: readonly ImagedRow[]): string[] => {
      const out = new RecordBatch(new ByteArena(1 << 12));
      formatOf(more).encode(imagedBatch(SCHEMA, rows), 0, out);
      return Array.from({ length: out.length }, (_, i) =>
        out.routeBytes(i).toString('utf8', out.routeStart(i), out.routeEnd(i)),
      );
    };

    it('by their keys, by their tablet, or by columns, a tombstone with its delete', () => {
      const rows = [rowOf(1, 'a"b'), deleted(2), rowOf(3, null)];
      const key = (id: number): string => `{"id":${id},"region":"eu"}`;
      assert.deepEqual(routesOf({}, rows), [key(1), key(2), key(2), key(3)]);
      assert.deepEqual(routesOf({ partitionBy: 'tablet' }, rows), Array(4).fill('tablet1'));
      assert.deepEqual(routesOf({ partitionBy: ['region'] }, rows), Array(4).fill('{"region":"eu"}'));
      const x = 'x'.repeat(50);
      assert.deepEqual(routesOf({ partitionBy: ['note', 'id'], unordered: true }, rows), [
        '{"note":"a\\"b","id":1}',
        `{"note":"${x}","id":2}`,
        `{"note":"${x}","id":2}`,
        '{"note":null,"id":3}',
      ]);
    });

    it('keeps the places of records that are picked', () => {
      const out = new RecordBatch(new ByteArena(1 << 12));
      formatOf({ partitionBy: ['id'] }).encode(imagedBatch(SCHEMA, [rowOf(1, 'a'), rowOf(2, 'b')]), 0, out);
      const picked = out.pick([1]);
      assert.equal(picked.routeBytes(0).toString('utf8', picked.routeStart(0), picked.routeEnd(0)), '{"id":2}');
    });
  });

  describe('of a record that the sink finds too large', () => {
    const rows = [rowOf(1, 'a'), rowOf(2, 'x'.repeat(50)), deleted(3), rowOf(4, 'b')];
    const batch = imagedBatch(SCHEMA, rows);
    const refused = (more: Partial<SelectionDefinition>, ids: readonly number[]) => {
      const format = formatOf(more);
      const records = recordsOf(format, batch);
      for (const id of ids) {
        const record = records.find(({ key }) => key.includes(`"id":${id},`))!;
        assert.equal(format.tooLarge!(record, 'topic t takes less'), true);
        assert.equal(format.tooLarge!(record, ''), false, 'that has not helped');
      }
      return { format, before: records, after: recordsOf(format, batch) };
    };

    it('blocks, unless the stream says otherwise', () => {
      const format = formatOf({ partitionBy: 'tablet' });
      const records = recordsOf(format, batch);
      assert.equal(format.tooLarge!(records[1]!, 'topic t takes less'), false);
      assert.deepEqual(recordsOf(format, batch), records);
    });

    it('ships its key alone, marked, and every other record as it was', () => {
      const { before: was, after: is } = refused({ oversize: 'key-only' }, [2, 3]);
      assert.equal(is.length, 5);
      assert.deepEqual([is[0], is[4]], [was[0], was[4]]);
      const [, whole, gone, tombstone] = is;
      assert.deepEqual(value(whole).after, { id: 2, region: 'eu' });
      assert.equal((value(whole).source as { image: string }).image, 'key-only');
      assert.deepEqual(value(gone).before, { id: 3, region: 'eu' });
      assert.equal(tombstone?.kind, 'tombstone');
      assert.deepEqual(
        is.map(({ position }) => position),
        was.map(({ position }) => position),
      );
    });

    it('puts a note of it elsewhere, and never loses a delete', () => {
      const { before: was, after: is } = refused({ oversize: 'dead-letter', partitionBy: ['id'] }, [2, 3]);
      assert.deepEqual(
        is.map(({ kind }) => kind),
        ['row', 'dead-letter', 'row', 'tombstone', 'row'],
      );
      assert.deepEqual(is[1]!.key, was[1]!.key);
      assert.deepEqual(value(is[1]), {
        position: 'tablet1/1.1.1',
        kudu_table: 'shop.orders',
        table_id: 'table1',
        tablet_id: 'tablet1',
        term: '1',
        index: '1',
        hybrid_time: '7353716506897408000',
        bytes: was[1]!.value!.length,
        reason: 'topic t takes less',
        key: { id: 2, region: 'eu' },
      });
      assert.deepEqual(value(is[2]).before, { id: 3, region: 'eu' });
    });

    it('goes on where a batch was full', () => {
      const { format, after: is } = refused({ oversize: 'key-only' }, [2]);
      const again: unknown[] = [];
      for (let row: number | null = 0; row !== null;) {
        const out = new RecordBatch(new ByteArena(1 << 12));
        Object.defineProperty(out, 'isFull', { get: () => out.length > 0 });
        row = format.encode(batch, row, out);
        assert.ok(
          Array.from({ length: out.length }, (_, i) => out.kindOf(i)).every((kind) => kind <= RecordKind.TOMBSTONE),
        );
        again.push(...out);
      }
      assert.deepEqual(again, is);
    });
  });
});
