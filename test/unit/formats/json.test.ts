import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CopyOp, RowOp, type ChangeBatch, type SchemaChange, type TabletRef } from '../../../src/change/change.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import type { SinkRecord } from '../../../src/change/record.ts';
import { compileRowLayout } from '../../../src/change/row-layout.ts';
import { compileJson } from '../../../src/formats/json.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import { column, encodeRows, int32, int64, type TestRow } from '../../support/row-bytes.ts';
import { withImages } from '../../support/row-images.ts';
import { ByteArena } from '../../../src/util/byte-arena.ts';
import { recordsOf } from '../../support/record-batches.ts';

const T = DataType;
const TABLET: TabletRef = { tableId: 'table1', tabletId: 'tablet1', tableName: 'shop.orders' };
const TIME = 7353716506897408000n; // 1795340944066750 us
const SCHEMA: TableSchema = {
  columns: [
    column('id', T.INT64, { isKey: true, id: 10 }),
    column('na"me', T.STRING, { isKey: true, id: 11 }),
    column('note', T.STRING, { nullable: true, id: 12 }),
    column('n', T.INT32, { id: 13, writeDefault: int32(-5), readDefault: int32(4) }),
  ],
};

function batchOf(rows: readonly TestRow[], more: Partial<ChangeBatch> = {}, schema = SCHEMA): ChangeBatch {
  const batch = decodeWrite({
    tablet: TABLET,
    opId: { term: 7n, index: 12345n },
    hybridTime: TIME,
    layout: compileRowLayout(schema, schema),
    ...encodeRows(schema, rows),
    results: new Uint8Array(rows.length).fill(1),
    autoIncrementCounter: 41n,
  });
  return { ...batch, ...more };
}
const noTombstones = compileJson({ streamName: 'orders', version: '0.1.0', tombstones: false });
const format = compileJson({ streamName: 'orders', version: '0.1.0', tombstones: true });
const text = (record: SinkRecord | undefined): string => String(record?.value);
const bytesOf = ({ key, value }: SinkRecord): string => `${key.toString('hex')} ${value?.toString('hex') ?? 'null'}`;
const TIMES = `"ts_ms":1795340944066,"ts_us":1795340944066750,"ts_ns":1795340944066750000`;
const KEY = [int64(2n ** 53n + 1n), Buffer.from('é"')];
const KEY_JSON = '{"id":9007199254740993,"na\\"me":"é\\""}';
const source = (row: number, op: string): string =>
  `"source":{"connector":"kudu","version":"0.1.0","name":"orders",${TIMES},"snapshot":"false","db":"shop","table":"orders",` +
  `"kudu_table":"shop.orders","table_id":"table1","tablet_id":"tablet1","term":7,"index":12345,"lsn":7353716506897408000,` +
  `"hybrid_time":"7353716506897408000","row":${row},"sequence":"[\\"7353716506897408000\\",\\"7\\",\\"12345\\",\\"${row}\\"]",` +
  `"kudu_op":"${op}"}`;
const head = (op: string): string => `{"op":"${op}",${TIMES},"transaction":null,"before":`;

/** Odd in JSON, JavaScript, Kafka or Prometheus; Kudu takes any UTF-8 without NUL. */
const ODD = ['__proto__', 'constructor', 'op', 'before', '"', '\\', 'a\nb', '\u2028', '😀', ' x ', 'é'.repeat(120)];

describe('json records', () => {
  it('name tables and columns as they are, whatever JSON or JavaScript means by the name', () => {
    const columns = ODD.map((name, id) => column(name, T.INT32, { isKey: id === 0, id, writeDefault: int32(id) }));
    for (const tableName of ODD) {
      const batch = batchOf([{ op: RowOp.INSERT, cells: [int32(7)] }], {}, { columns });
      const [record] = recordsOf(format, { ...batch, tablet: { ...TABLET, tableName } });
      const value = JSON.parse(text(record)) as { after: object; source: { kudu_table: string } };
      assert.deepEqual(
        Object.entries(value.after),
        ODD.map((name, id) => [name, id === 0 ? 7 : id]),
      );
      assert.equal(value.source.kudu_table, tableName);
      assert.deepEqual(Object.entries(JSON.parse(String(record!.key)) as object), [['__proto__', 7]]);
      assert.equal(record!.table, tableName);
    }
  });

  it('writes an INSERT with all columns: nulls and defaults too', () => {
    const [record] = recordsOf(format, batchOf([{ op: RowOp.INSERT, cells: KEY }]));
    assert.equal(
      text(record),
      `${head('c')}null,"after":${KEY_JSON.slice(0, -1)},"note":null,"n":-5},${source(0, 'INSERT')}}`,
    );
    assert.deepEqual(
      { ...record, key: String(record!.key), value: null },
      {
        kind: 'row',
        table: 'shop.orders',
        key: KEY_JSON,
        value: null,
        position: 'tablet1/7.12345.0',
        timestampMs: 1795340944066,
      },
    );
  });

  it('writes an UPDATE or UPSERT with the columns of its image: without one, the key and what it set', () => {
    const rows = [RowOp.UPDATE, RowOp.UPDATE_IGNORE, RowOp.UPSERT, RowOp.UPSERT_IGNORE].map((op) => ({
      op,
      cells: [...KEY, undefined, int32(6)],
    }));
    const names = ['UPDATE', 'UPDATE_IGNORE', 'UPSERT', 'UPSERT_IGNORE'];
    assert.deepEqual(
      recordsOf(format, batchOf(rows)).map(text),
      names.map((name, i) => `${head('u')}null,"after":${KEY_JSON.slice(0, -1)},"n":6},${source(i, name)}}`),
    );
  });

  it('has whole rows before and after where the batch has them, and says of an UPSERT what it did', () => {
    const rows = [RowOp.UPDATE, RowOp.UPSERT, RowOp.UPSERT, RowOp.DELETE, RowOp.INSERT, RowOp.UPSERT_IGNORE];
    const set = [...KEY, undefined, int32(6)];
    const batch = batchOf(rows.map((op) => ({ op, cells: op === RowOp.DELETE ? KEY : set })));
    const before = [...KEY, Buffer.from('old'), int32(1)];
    const after = [...KEY, Buffer.from('old'), int32(6)];
    const made = [...KEY, null, int32(6)];
    const images = [
      { before, after },
      { before, after },
      { before: null, after: made },
      { before, after: null },
      { before: null, after: made },
      { before: null, after: made },
    ];
    const keyed = (rest: string): string => `${KEY_JSON.slice(0, -1)},${rest}}`;
    const [old, now, fresh] = [keyed('"note":"old","n":1'), keyed('"note":"old","n":6'), keyed('"note":null,"n":6')];
    const ends = (row: number, name: string): string => `,${source(row, name)}}`;
    assert.deepEqual(recordsOf(noTombstones, withImages(batch, images, 'full')).map(text), [
      `${head('u')}${old},"after":${now}${ends(0, 'UPDATE')}`,
      `${head('u')}${old},"after":${now}${ends(1, 'UPSERT')}`,
      `${head('c')}null,"after":${fresh}${ends(2, 'UPSERT')}`,
      `${head('d')}${old},"after":null${ends(3, 'DELETE')}`,
      `${head('c')}null,"after":${fresh}${ends(4, 'INSERT')}`,
      `${head('c')}null,"after":${fresh}${ends(5, 'UPSERT_IGNORE')}`,
    ]);
    assert.deepEqual(recordsOf(noTombstones, withImages(batch, images, 'after')).map(text), [
      `${head('u')}null,"after":${now}${ends(0, 'UPDATE')}`,
      `${head('u')}null,"after":${now}${ends(1, 'UPSERT')}`,
      `${head('u')}null,"after":${fresh}${ends(2, 'UPSERT')}`,
      `${head('d')}${KEY_JSON},"after":null${ends(3, 'DELETE')}`,
      `${head('c')}null,"after":${fresh}${ends(4, 'INSERT')}`,
      `${head('u')}null,"after":${fresh}${ends(5, 'UPSERT_IGNORE')}`,
    ]);
  });

  it('says of a row whose image cannot be had that it is partial, and shows what the log has', () => {
    const rows = [RowOp.UPSERT, RowOp.DELETE].map((op) => ({
      op,
      cells: op === RowOp.DELETE ? KEY : [...KEY, null],
    }));
    const unknown = { before: null, after: null };
    const batch = { ...withImages(batchOf(rows), [unknown, unknown], 'full'), partial: Uint8Array.of(1, 1) };
    const partial = (row: number, op: string): string => `${source(row, op).slice(0, -1)},"image":"partial"}}`;
    assert.deepEqual(recordsOf(noTombstones, batch).map(text), [
      `${head('u')}null,"after":${KEY_JSON.slice(0, -1)},"note":null},${partial(0, 'UPSERT')}`,
      `${head('d')}${KEY_JSON},"after":null,${partial(1, 'DELETE')}`,
    ]);
  });

  for (const [copy, snapshot] of [
    ['base', 'true'],
    ['incremental', 'incremental'],
  ] as const)
    it(`says of rows of a copy that is ${copy} so: ${snapshot}`, () => {
      const batch = batchOf([{ op: RowOp.INSERT, cells: [...KEY, null, int32(1)] }], { copy });
      const ops = [CopyOp.ROW, CopyOp.DELETED];
      const records = ops.flatMap((op) => recordsOf(noTombstones, { ...batch, ops: Uint8Array.of(op) }));
      const value = records.map(
        (record) => JSON.parse(text(record)) as { op: string; source: Record<string, unknown> },
      );
      assert.deepEqual(
        value.map(({ op, source }) => [op, source['snapshot'], source['row'], source['kudu_op'], source['sequence']]),
        ['r', 'd'].map((op) => [op, snapshot, null, null, `["${TIME}","7","12345",null]`]),
      );
      assert.equal(records[0]!.position, `tablet1/base.${TIME}`);
    });

  it('tells a column that was set to null from one that was not set', () => {
    const [record] = recordsOf(format, batchOf([{ op: RowOp.UPDATE, cells: [...KEY, null] }]));
    assert.ok(text(record).includes(`"after":${KEY_JSON.slice(0, -1)},"note":null}`), text(record));
  });

  it('writes a DELETE with the key before, and a tombstone with the same key and position behind it', () => {
    const records = recordsOf(format, batchOf([RowOp.DELETE, RowOp.DELETE_IGNORE].map((op) => ({ op, cells: KEY }))));
    assert.deepEqual(
      records.map((record) => [record.kind, String(record.key), record.position, record.value && text(record)]),
      ['DELETE', 'DELETE_IGNORE'].flatMap((op, row) => {
        const position = `tablet1/7.12345.${row}`;
        const value = `${head('d')}${KEY_JSON},"after":null,${source(row, op)}}`;
        return [
          ['row', KEY_JSON, position, value],
          ['tombstone', KEY_JSON, position, null],
        ];
      }),
    );
    assert.equal(recordsOf(noTombstones, batchOf([{ op: RowOp.DELETE, cells: KEY }])).length, 1);
  });

  it('counts the rows that were rejected in positions and `row`', () => {
    const batch = batchOf([{ op: RowOp.DELETE, cells: KEY }], { rowIndexes: Int32Array.of(41) });
    const [record] = recordsOf(format, batch);
    assert.equal(record!.position, 'tablet1/7.12345.41');
    assert.ok(text(record).includes('"row":41,'));
  });

  it('shows auto-incremented values', () => {
    const schema = { columns: [SCHEMA.columns[0]!, column('auto', T.INT64, { isKey: true, autoIncrementing: true })] };
    const batch = batchOf([{ op: RowOp.INSERT, cells: [int64(1n)] }], {}, schema);
    assert.equal(String(recordsOf(format, batch)[0]!.key), '{"id":1,"auto":42}');
  });

  it('takes up a rename of the table at its operation', () => {
    const batch = batchOf([{ op: RowOp.INSERT, cells: KEY }], { tablet: { ...TABLET, tableName: 'shop.renamed' } });
    const [record] = recordsOf(format, batch);
    assert.equal(record!.table, 'shop.renamed');
    assert.ok(text(record).includes('"table":"renamed","kudu_table":"shop.renamed","table_id":"table1"'));
  });

  it('gives the same bytes whatever was encoded before, at every size around its memory chunks', () => {
    const rows = (length: number): TestRow[] => [
      { op: RowOp.INSERT, cells: [int64(BigInt(length)), Buffer.from('k'), Buffer.alloc(length, 0x07)] },
      { op: RowOp.DELETE, cells: [int64(BigInt(length)), Buffer.from('k')] },
    ];
    const seen: [SinkRecord, string][] = [];
    const shared = new ByteArena(256 << 10);
    for (const length of [0, 1, 1000, 9_000, 43_600, 43_690, 43_700, 65_536, 1_000_000, 5, 60_000, 2])
      for (const record of recordsOf(format, batchOf(rows(length)), shared)) {
        const other = compileJson({ streamName: 'orders', version: '0.1.0', tombstones: true });
        const fresh = recordsOf(other, batchOf(rows(length)));
        const same = fresh.find((other) => other.position === record.position && other.kind === record.kind);
        assert.deepEqual(record.value, same?.value);
        assert.deepEqual(record.key, same?.key);
        seen.push([record, bytesOf(record)]);
      }
    for (const [record, before] of seen) assert.ok(bytesOf(record) === before, 'a later record wrote over it');
  });

  it('writes a schema change with both tables, and one without `before` for the version a stream begins with', () => {
    const after = {
      columns: [SCHEMA.columns[0]!, column('v', T.DECIMAL32, { id: 14, precision: 9, scale: 2, nullable: true })],
    };
    const change: SchemaChange = {
      kind: 'schema',
      tablet: TABLET,
      opId: { term: 7n, index: 12n },
      hybridTime: TIME,
      version: 3,
      before: { tableName: 'shop.orders', schema: SCHEMA },
      after: { tableName: 'shop.new', schema: after },
    };
    const [record] = recordsOf(format, change);
    assert.deepEqual(
      { ...record, key: String(record!.key), value: null },
      {
        kind: 'schema',
        table: 'shop.new',
        key: '{"table_id":"table1","schema_version":3}',
        value: null,
        position: 'tablet1/7.12.0',
        timestampMs: 1795340944066,
      },
    );
    const types = { precision: null, scale: null, length: null };
    const flags = { immutable: false, auto_increment: false };
    const plain = { ...flags, ...types, default: null, read_default: null };
    const id = { id: 10, name: 'id', type: 'INT64', key: true, nullable: false, ...plain };
    assert.deepEqual(JSON.parse(text(record)), {
      table_id: 'table1',
      schema_version: 3,
      tablet_id: 'tablet1',
      term: 7,
      index: 12,
      hybrid_time: String(TIME),
      before: {
        table: 'shop.orders',
        columns: [
          id,
          { ...id, id: 11, name: 'na"me', type: 'STRING' },
          { id: 12, name: 'note', type: 'STRING', key: false, nullable: true, ...plain },
          { id: 13, name: 'n', type: 'INT32', key: false, nullable: false, ...plain, default: -5, read_default: 4 },
        ],
      },
      after: {
        table: 'shop.new',
        columns: [
          id,
          { id: 14, name: 'v', type: 'DECIMAL32', key: false, nullable: true, ...plain, precision: 9, scale: 2 },
        ],
      },
    });
    const [first] = recordsOf(format, { ...change, before: null });
    assert.equal((JSON.parse(text(first)) as { before: unknown }).before, null);
    assert.equal(first!.isFirst, true);
  });

  it('writes a mark as what is resolved of which tablet', () => {
    const tablet = { tableId: 'table1', tabletId: 'tablet1', tableName: 'shop.orders' };
    const hybridTime = (1_795_340_944_066_751n << 12n) - 1n;
    const [record] = recordsOf(format, { kind: 'resolved', tablet, opId: { term: 1n, index: 2n }, hybridTime });
    assert.deepEqual([record!.kind, record!.position, record!.key.length], ['resolved', `tablet1/${hybridTime}`, 0]);
    assert.deepEqual(JSON.parse(text(record)), {
      resolved: hybridTime.toString(),
      ts_ms: 1_795_340_944_066,
      ts_us: 1_795_340_944_066_750,
      name: 'orders',
      table: 'shop.orders',
      table_id: 'table1',
      tablet_id: 'tablet1',
    });
  });
});
