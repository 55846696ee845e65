import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RowOp, type ChangeBatch } from '../../../src/change/change.ts';
import { decodeWrite } from '../../../src/change/decode-write.ts';
import { compileRowLayout } from '../../../src/change/row-layout.ts';
import type { SinkRecord } from '../../../src/change/record.ts';
import { canonicalDefault } from '../../../src/formats/canonical.ts';
import { MemberCells } from '../../../src/formats/envelope-row.ts';
import { jsonDecoder } from '../../../src/formats/json-decode.ts';
import { jsonFaults, jsonLayout, type JsonLayout } from '../../../src/formats/json-definition.ts';
import { objectOf } from '../../../src/formats/json-members.ts';
import { ValueReader } from '../../../src/formats/json-value-decode.ts';
import { compileJson } from '../../../src/formats/json.ts';
import { parseRawJson } from '../../../src/formats/raw-json.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../../../src/kudu/schema.ts';
import { readConnectRecord } from '../../support/connect-converter.ts';
import { recordsOf } from '../../support/record-batches.ts';
import { column, encodeRows, float32, float64, int128, int32, int64, type TestCell } from '../../support/row-bytes.ts';
import { withImages } from '../../support/row-images.ts';

const T = DataType;
const TABLET = { tableId: 'table1', tabletId: 'tablet1', tableName: 'shop.orders' };
const nullable = { nullable: true };
const decimal = (precision: number, scale: number): Partial<ColumnSchema> => ({ ...nullable, precision, scale });
const SCHEMA: TableSchema = {
  columns: [
    column('id', T.INT64, { isKey: true }),
    column('day', T.DATE, { isKey: true }),
    column('code"', T.STRING, { isKey: true }),
    column('bytes', T.BINARY, { isKey: true }),
    column('flag', T.BOOL, nullable),
    column('i8', T.INT8, nullable),
    column('i16', T.INT16, nullable),
    column('i32', T.INT32, nullable),
    column('i64', T.INT64, nullable),
    column('f', T.FLOAT, nullable),
    column('d', T.DOUBLE, nullable),
    column('text', T.STRING, nullable),
    column('short', T.VARCHAR, { ...nullable, length: 10 }),
    column('blob', T.BINARY, nullable),
    column('at', T.UNIXTIME_MICROS, nullable),
    column('date', T.DATE, nullable),
    column('d32', T.DECIMAL32, decimal(9, 2)),
    column('d64', T.DECIMAL64, decimal(18, 4)),
    column('d128', T.DECIMAL128, decimal(38, 10)),
    column('whole', T.DECIMAL64, decimal(18, 0)),
  ],
};

const bytes = (max: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength: max }).map((array) => Buffer.from(array));
const sized = (size: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: size, maxLength: size }).map((array) => Buffer.from(array));
const text = fc.oneof(
  fc.string({ unit: 'grapheme' }).map((value) => Buffer.from(value)),
  bytes(12), // mostly no UTF-8
  fc.constantFrom(Buffer.from('\0'), Buffer.from('"\\\n\u2028'), Buffer.from([0xed, 0xa0, 0x80])),
);
const bigs = [2n ** 63n - 1n, -(2n ** 63n), 0n, -1n, 1795340944066750n, -1001n];
const E18 = 10n ** 18n;
const E38 = 10n ** 38n;
const CELLS = new Map<DataType, fc.Arbitrary<Buffer>>([
  [T.BOOL, fc.constantFrom(Buffer.of(0), Buffer.of(1))],
  [T.INT8, sized(1)],
  [T.INT16, sized(2)],
  [T.INT32, fc.oneof(sized(4), fc.constantFrom(int32(2 ** 31 - 1), int32(-(2 ** 31))))],
  [T.INT64, fc.oneof(sized(8), fc.constantFrom(...bigs.map(int64)))],
  [T.UNIXTIME_MICROS, fc.oneof(sized(8), fc.constantFrom(...bigs.map(int64)))],
  [T.DATE, fc.integer({ min: -719162, max: 2932896 }).map(int32)], // 0001-01-01 to 9999-12-31
  [T.DECIMAL32, fc.oneof(fc.integer({ min: -999_999_999, max: 999_999_999 }), fc.constantFrom(-5, 0)).map(int32)],
  [T.DECIMAL64, fc.oneof(fc.bigInt({ min: 1n - E18, max: E18 - 1n }), fc.constantFrom(-128n, 128n)).map(int64)],
  [T.DECIMAL128, fc.oneof(fc.bigInt({ min: 1n - E38, max: E38 - 1n }), fc.constant(-1n)).map(int128)],
  [T.FLOAT, fc.oneof(fc.float(), fc.constantFrom(NaN, Infinity, -Infinity, -0)).map(float32)],
  [T.DOUBLE, fc.oneof(fc.double(), fc.constantFrom(NaN, Infinity, -Infinity, -0, 5e-324)).map(float64)],
  [T.BINARY, bytes(20)],
]);
const cellOf = ({ type }: ColumnSchema): fc.Arbitrary<Buffer> => CELLS.get(type) ?? text;
type Row = readonly (Buffer | null)[];
const rowOf: fc.Arbitrary<Row> = fc.tuple(
  ...SCHEMA.columns.map((each) => (each.isKey ? cellOf(each) : fc.option(cellOf(each), { freq: 5 }))),
);

const LAYOUTS: JsonLayout[] = [];
for (const schema of ['none', 'block'] as const)
  for (const envelope of ['debezium', 'flat'] as const)
    for (const decimals of ['string', 'precise', 'double'] as const)
      for (const time of ['adaptive', 'connect', 'isostring'] as const)
        for (const binary of ['base64', 'hex', 'bytes'] as const)
          for (const nonFinite of ['string', 'null', 'block'] as const) {
            const options = { schema, envelope, decimals, time, binary, nonFinite };
            const faults = jsonFaults(
              { type: 'json', ...options },
              { images: 'full', tombstones: true, sink: { type: 'kafka' } },
            );
            if (faults.length === 0) LAYOUTS.push(options);
          }

function batchOf(rows: readonly { op: number; cells: readonly TestCell[] }[], schema = SCHEMA): ChangeBatch {
  return decodeWrite({
    tablet: TABLET,
    opId: { term: 7n, index: 12345n },
    hybridTime: 7353716506897408000n,
    layout: compileRowLayout(schema, schema),
    ...encodeRows(schema, rows),
    results: new Uint8Array(rows.length).fill(1),
    autoIncrementCounter: null,
  });
}

function formatOf(layout: JsonLayout, onNonFinite: () => void = () => undefined) {
  const topicOf = (table: string): string => `cdc.${table}`;
  return compileJson({ streamName: 's', version: '0', tombstones: true, layout, topicOf, onNonFinite });
}

function payloadOf(record: Buffer, { schema }: JsonLayout): ReturnType<typeof objectOf> {
  if (schema === 'none') return objectOf(parseRawJson(record.toString()));
  readConnectRecord(record.toString());
  return objectOf(objectOf(parseRawJson(record.toString())).get('payload'));
}

/** Holds an image of a record against the row: every column, as the options allow. */
function assertImage(
  image: ReturnType<typeof objectOf>,
  columns: readonly ColumnSchema[],
  row: Row,
  layout: JsonLayout,
): void {
  const reader = new ValueReader(layout);
  const cells = new MemberCells(image, reader);
  assert.deepEqual(
    cells.names,
    columns.map(({ name }) => name),
  );
  for (const [place, each] of columns.entries()) {
    assert.ok(cells.fits(each.name, each.type), each.name);
    const said = reader.canonical(each, Buffer.from(cells.textOf(each.name))).toString();
    assert.equal(said, reader.shown(each.type, canonicalDefault(each, row[place]!)).toString(), each.name);
    if (each.isKey) assert.deepEqual(cells.keyCell(each), row[place]);
  }
}

const isNonFinite = (row: Row): boolean =>
  row.some((cell, place) => {
    const { type } = SCHEMA.columns[place]!;
    if (cell === null || (type !== T.FLOAT && type !== T.DOUBLE)) return false;
    return !Number.isFinite(type === T.FLOAT ? cell.readFloatLE() : cell.readDoubleLE());
  });

function assertWritten(layout: JsonLayout, before: Row, after: Row): void {
  const { columns } = SCHEMA;
  const batch = withImages(batchOf([{ op: RowOp.UPSERT, cells: after }]), [{ before, after }], 'full');
  const key = columns.filter(({ isKey }) => isKey);
  let records: SinkRecord[];
  try {
    records = recordsOf(formatOf(layout), batch);
  } catch (error) {
    assert.ok(layout.nonFinite === 'block' && (isNonFinite(after) || isNonFinite(before)), String(error));
    assert.match(String(error), /column "[fd]" is (NaN|-?Infinity), and the format says nonFinite "block"/);
    return;
  }
  const [record] = records;
  assertImage(payloadOf(record!.key, layout), key, after, layout);
  const value = payloadOf(record!.value!, layout);
  if (layout.envelope === 'flat') {
    assertImage(value, columns, after, layout);
    return;
  }
  assertImage(objectOf(value.get('after')), columns, after, layout);
  assertImage(objectOf(value.get('before')), columns, before, layout);
  const decoded = jsonDecoder('s', 'full', layout).decode({ key: record!.key, value: record!.value, position: null });
  assert.ok(decoded.kind === 'row');
  decoded.checkKey(key);
  assert.deepEqual(
    [decoded.index, decoded.row, decoded.isWhole, decoded.cells.names.length],
    [12345, 0, true, columns.length],
  );
}

describe('the options of JSON', () => {
  it(`write every value so that it can be had back, in each of ${LAYOUTS.length} combinations`, () => {
    assert.equal(LAYOUTS.length, 2 * 27 * 3 + 2 * 27 * 2);
    fc.assert(
      fc.property(rowOf, rowOf, fc.constantFrom(...LAYOUTS), (old, row, layout) => {
        const before = [...row.slice(0, 4), ...old.slice(4)];
        assertWritten(layout, before, row);
      }),
      { numRuns: 1500 },
    );
  });
  for (const layout of LAYOUTS.filter((_, i) => i % 9 === 0))
    it(`write the edges of every type with ${Object.values(layout).join()}`, () => {
      const edges: Row = [
        int64(2n ** 63n - 1n),
        int32(-719162),
        Buffer.from([0xff, 0x00, 0x22]),
        Buffer.of(0, 255),
        Buffer.of(1),
        Buffer.of(0x80),
        Buffer.of(0xff, 0x7f),
        int32(-(2 ** 31)),
        int64(-(2n ** 63n)),
        float32(-0),
        float64(-0),
        Buffer.from([0xc0, 0x80, 0xf0, 0x9f, 0x98, 0x80, 0]),
        Buffer.from('é'),
        Buffer.alloc(0),
        int64(-1n),
        int32(2932896),
        int32(-5),
        int64(0n),
        int128(-(10n ** 38n) + 1n),
        int64(-(2n ** 31n)),
      ];
      assertWritten(layout, edges, edges);
      for (const [f, d] of [
        [NaN, Infinity],
        [-Infinity, NaN],
      ] as const) {
        const odd = edges.with(9, float32(f)).with(10, float64(d));
        assertWritten(layout, odd, odd);
      }
    });

  it('write 300 columns, and a row of 1.2 MB', () => {
    const columns = [
      column('id', T.INT64, { isKey: true }),
      ...Array.from({ length: 299 }, (_, i) => column(`column ${i}`, T.STRING, nullable)),
    ];
    const row: Row = [
      int64(1n),
      ...Array.from({ length: 299 }, (_, i) => (i % 7 === 0 ? null : Buffer.alloc(4096 + i, 'é"'))),
    ];
    for (const layout of LAYOUTS.filter((_, i) => i % 54 === 0)) {
      const [record] = recordsOf(formatOf(layout), batchOf([{ op: RowOp.INSERT, cells: row }], { columns }));
      const value = payloadOf(record!.value!, layout);
      assertImage(layout.envelope === 'flat' ? value : objectOf(value.get('after')), columns, row, layout);
      assert.ok(record!.value!.length > 1_200_000);
    }
  });

  it('give a delete no other record than a tombstone when flat', () => {
    const layout = jsonLayout({ type: 'json', envelope: 'flat' });
    const row: Row = SCHEMA.columns.map(({ isKey }, place) =>
      isKey ? [int64(5n), int32(0), Buffer.from('x'), Buffer.of(1)][place]! : null,
    );
    const batch = batchOf([
      { op: RowOp.INSERT, cells: row },
      { op: RowOp.DELETE, cells: row.slice(0, 4) },
      { op: RowOp.INSERT, cells: row },
    ]);
    const records = recordsOf(formatOf(layout), batch);
    assert.deepEqual(
      records.map(({ kind, position, value }) => [kind, position, value === null]),
      [
        ['row', 'tablet1/7.12345.0', false],
        ['tombstone', 'tablet1/7.12345.1', true],
        ['row', 'tablet1/7.12345.2', false],
      ],
    );
    assert.equal(String(records[1]!.key), '{"id":5,"day":0,"code\\"":"x","bytes":"AQ=="}');
    assert.ok(String(records[0]!.value).startsWith('{"id":5,"day":0,"code\\"":"x","bytes":"AQ==","flag":null,'));
  });

  it('name schemas after the topic, with every column optional but those of the key, and no defaults', () => {
    const layout = jsonLayout({ type: 'json', schema: 'block' });
    const columns = [
      column('id', T.INT64, { isKey: true }),
      column('n', T.INT32, { writeDefault: int32(7), readDefault: int32(7) }),
      column('price', T.DECIMAL64, decimal(12, 2)),
      column('at', T.UNIXTIME_MICROS),
    ];
    const row = [int64(1n), int32(2), int64(-1230n), int64(1795340944066750n)];
    const [record, tombstone] = recordsOf(
      formatOf(layout),
      batchOf([{ op: RowOp.DELETE, cells: row.slice(0, 1) }], { columns }),
    );
    const key = readConnectRecord(String(record!.key));
    assert.deepEqual(key, {
      schema: {
        type: 'struct',
        fields: [{ type: 'int64', optional: false, field: 'id' }],
        optional: false,
        name: 'cdc.shop.orders.Key',
      },
      payload: { id: 1 },
    });
    assert.deepEqual(readConnectRecord(String(tombstone!.key)), key);
    const { schema, payload } = readConnectRecord(String(record!.value));
    assert.deepEqual([schema.name, schema.version], ['cdc.shop.orders.Envelope', 2]);
    assert.deepEqual(
      schema.fields!.map(({ field, optional }) => [field, optional]),
      [
        ['before', true],
        ['after', true],
        ['source', false],
        ['op', false],
        ['ts_ms', true],
        ['ts_us', true],
        ['ts_ns', true],
        ['transaction', true],
      ],
    );
    const [before, after] = schema.fields!;
    assert.deepEqual({ ...before, field: '' }, { ...after, field: '' });
    assert.equal(after!.name, 'cdc.shop.orders.Value');
    assert.deepEqual(after!.fields, [
      { type: 'int64', optional: false, field: 'id' },
      { type: 'int32', optional: true, field: 'n' },
      {
        type: 'bytes',
        name: 'org.apache.kafka.connect.data.Decimal',
        version: 1,
        parameters: { scale: '2', 'connect.decimal.precision': '12' },
        optional: true,
        field: 'price',
      },
      { type: 'int64', name: 'io.debezium.time.MicroTimestamp', version: 1, optional: true, field: 'at' },
    ]);
    assert.deepEqual((payload as { before: unknown }).before, { id: 1 });
    assert.ok(!String(record!.value).includes('"default"'));
  });

  it('give a row of which only some columns were set a schema of just these', () => {
    const layout = jsonLayout({ type: 'json', schema: 'block' });
    const columns = [
      column('id', T.INT64, { isKey: true }),
      column('a', T.INT32, nullable),
      column('b', T.INT32, nullable),
    ];
    const rows = [
      { op: RowOp.UPDATE, cells: [int64(1n), undefined, int32(2)] },
      { op: RowOp.UPSERT, cells: [int64(1n), null] },
      { op: RowOp.UPSERT, cells: [int64(1n)] },
      { op: RowOp.UPDATE, cells: [int64(1n), int32(1), int32(2)] },
      { op: RowOp.DELETE, cells: [int64(1n)] },
    ];
    const records = recordsOf(formatOf(layout), batchOf(rows, { columns })).filter(({ kind }) => kind === 'row');
    const fields = records.map(({ value }) => {
      const { schema, payload } = readConnectRecord(String(value));
      const names = schema.fields![1]!.fields!.map(({ field }) => field);
      const { after } = payload as { after: object | null };
      if (after) assert.deepEqual(Object.keys(after), names);
      return names.join();
    });
    assert.deepEqual(fields, ['id,b', 'id,a', 'id', 'id,a,b', 'id,a,b']);
  });

  it('count each NaN and infinity that becomes null, also one that is a default', () => {
    const columns = [
      column('id', T.INT64, { isKey: true }),
      column('d', T.DOUBLE, { nullable: true, writeDefault: float64(NaN) }),
    ];
    let counted = 0;
    const layout = jsonLayout({ type: 'json', nonFinite: 'null' });
    const format = formatOf(layout, () => {
      counted++;
    });
    const records = recordsOf(
      format,
      batchOf(
        [
          { op: RowOp.INSERT, cells: [int64(1n)] },
          { op: RowOp.UPSERT, cells: [int64(2n), float64(-Infinity)] },
        ],
        { columns },
      ),
    );
    assert.equal(counted, 2);
    for (const { value } of records)
      assert.equal((JSON.parse(String(value)) as { after: { d: unknown } }).after.d, null);
    const blocks = formatOf(jsonLayout({ type: 'json', nonFinite: 'block' }));
    assert.throws(
      () => recordsOf(blocks, batchOf([{ op: RowOp.INSERT, cells: [int64(1n)] }], { columns })),
      /column "d" is NaN/,
    );
    assert.equal(recordsOf(blocks, batchOf([{ op: RowOp.DELETE, cells: [int64(1n)] }], { columns })).length, 2);
  });

  for (const { option, type, more } of [
    { option: { time: 'connect' }, type: T.UNIXTIME_MICROS, more: {} },
    { option: { decimals: 'double' }, type: T.DECIMAL64, more: { precision: 16, scale: 2 } },
  ] as const)
    it(`refuse a table whose keys would become alike: ${JSON.stringify(option)}`, () => {
      const columns = [column('k', type, { isKey: true, ...more })];
      const format = formatOf(jsonLayout({ type: 'json', ...option }));
      const batch = batchOf([{ op: RowOp.INSERT, cells: [int64(1n)] }], { columns });
      assert.throws(
        () => recordsOf(format, batch),
        /would write different keys as one, and "k" is a column of the primary key/,
      );
    });
});
