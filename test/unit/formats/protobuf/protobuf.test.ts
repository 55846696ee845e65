import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import protobuf from 'protobufjs';
import { CopyOp, RowOp, type ChangeBatch } from '../../../../src/change/change.ts';
import type { SinkRecord } from '../../../../src/change/record.ts';
import { RecordOp, type RowRecord } from '../../../../src/formats/decoder.ts';
import { fieldNumber } from '../../../../src/formats/protobuf/proto-numbers.ts';
import { protoRecordReader } from '../../../../src/formats/protobuf/proto-reader.ts';
import { protoSchemas } from '../../../../src/formats/protobuf/proto-schema.ts';
import { protobufFormat, type ProtobufOptions } from '../../../../src/formats/protobuf/protobuf.ts';
import { RegisteredDecoder } from '../../../../src/formats/typed/registered-decoder.ts';
import { DataType, type TableSchema } from '../../../../src/kudu/schema.ts';
import { EDGE_READERS as READ, EDGE_SCHEMA, edgeRows } from '../../../support/edge-values.ts';
import { recordsOf } from '../../../support/record-batches.ts';
import { column, int32, int64 } from '../../../support/row-bytes.ts';
import { inserts, MemoryRegistry, registeredFormat, TIME, writeBatch } from '../../../support/typed-batches.ts';

const T = DataType;
const OPTIONS: ProtobufOptions = { decimals: 'string', time: 'adaptive', streamName: 'orders', version: '0.1.0' };

async function encode(
  batch: ChangeBatch,
  options: Partial<ProtobufOptions> = {},
): Promise<{ readonly records: SinkRecord[]; readonly registry: MemoryRegistry }> {
  const registry = new MemoryRegistry('PROTOBUF');
  const format = registeredFormat(protobufFormat({ ...OPTIONS, ...options }), registry);
  await format.prepare([batch], AbortSignal.timeout(1000));
  return { records: recordsOf(format, batch), registry };
}

/** As another library reads it, by the text that is registered: its longs as text. */
function readBy(registry: MemoryRegistry, bytes: Buffer, message: 'Key' | 'Envelope'): Record<string, unknown> {
  assert.deepEqual([bytes[0], bytes[5]], [0, 0]);
  const { root, package: name } = protobuf.parse(registry.texts[bytes.readInt32BE(1) - 1]!, { keepCase: true });
  const type = root.lookupType(`${name}.${message}`);
  return type.toObject(type.decode(bytes.subarray(6)), { longs: String });
}

function decoderOf(registry: MemoryRegistry): RegisteredDecoder {
  return new RegisteredDecoder({
    streamName: 'orders',
    images: 'full',
    registry,
    compile: protoRecordReader,
    decimals: 'string',
    time: 'adaptive',
  });
}

async function decode(
  registry: MemoryRegistry,
  { key, value }: SinkRecord,
  decoder = decoderOf(registry),
): Promise<RowRecord> {
  const stored = { key, value, position: null };
  await decoder.prepare([stored], AbortSignal.timeout(1000));
  const decoded = decoder.decode(stored);
  assert.ok(decoded.kind === 'row');
  return decoded;
}

describe('protobuf records', () => {
  it('finds rows by a key that is a double, and compares decimals that are; of two rows with one key the table is refused', async () => {
    const key = column('sum', T.DECIMAL64, { isKey: true, id: 0, precision: 15, scale: 3 });
    const total = column('total', T.DECIMAL64, { id: 1, precision: 18, scale: 2, nullable: true });
    const registry = new MemoryRegistry('PROTOBUF');
    const format = registeredFormat(protobufFormat({ ...OPTIONS, decimals: 'double' }), registry);
    const rows = [
      [int64(-999_999_999_999_999n), int64(123_456_789_012_345_678n)],
      [int64(0n), null],
    ];
    const batch = writeBatch({ columns: [key, total] }, inserts(rows));
    const { signal } = new AbortController();
    await format.prepare([batch], signal);
    const of = { streamName: 'orders', images: 'full', registry, compile: protoRecordReader } as const;
    const decoder = new RegisteredDecoder({ ...of, decimals: 'double', time: 'adaptive' });
    const decoded = [];
    for (const record of recordsOf(format, batch)) {
      const stored = { key: record.key, value: record.value, position: null };
      await decoder.prepare([stored], signal);
      const row = decoder.decode(stored);
      assert.ok(row.kind === 'row' && row.cells.fits('total', T.DECIMAL64));
      row.checkKey([key]);
      assert.equal(row.before, null);
      decoded.push([row.cells.keyCell(key).readBigInt64LE(), row.cells.textOf('total')]);
    }
    assert.deepEqual(decoded, [
      [-999_999_999_999_999n, '1234567890123456.8'],
      [0n, 'null'],
    ]);
    const shown = (text: string): string => decoder.shown(T.DECIMAL64, Buffer.from(text)).toString();
    assert.equal(shown('"1234567890123456.78"'), shown(decoded[0]![1] as string));
    const wide = writeBatch({ columns: [{ ...key, precision: 16 }] }, inserts([[int64(1n)]]));
    await assert.rejects(format.prepare([wide], signal), /would write different keys as one, and "sum"/);
  });

  it('writes every edge of every type so that another decoder reads the value, and ours reads it again', async () => {
    const rows = edgeRows();
    const { records, registry } = await encode(writeBatch(EDGE_SCHEMA, inserts(rows)));
    for (const [row, cells] of rows.entries()) {
      const value = readBy(registry, records[row]!.value!, 'Envelope');
      const after = value['after'] as Record<string, unknown>;
      const ours = await decode(registry, records[row]!);
      ours.checkKey([EDGE_SCHEMA.columns[0]!]);
      for (const [place, { name, type, scale = 0 }] of EDGE_SCHEMA.columns.entries()) {
        const cell = cells[place] ?? null;
        const expected = cell === null ? null : READ[type]!(cell, scale);
        const read = after[name];
        if (expected === null) {
          assert.ok(!(name in after), name);
          assert.equal(ours.cells.textOf(name), 'null');
        } else if (typeof expected === 'bigint') {
          assert.deepEqual([String(read), ours.cells.textOf(name)], [String(expected), String(expected)], name);
        } else if (Buffer.isBuffer(expected)) {
          assert.deepEqual(Buffer.from(read as Uint8Array), expected, name);
          assert.equal(ours.cells.textOf(name), JSON.stringify(expected.toString('base64')));
        } else {
          assert.deepEqual(read, expected, name);
          assert.ok(ours.cells.fits(name, type), name);
        }
      }
    }
  });

  it('writes envelope and source as Debezium has them', async () => {
    const { records, registry } = await encode(writeBatch(EDGE_SCHEMA, inserts(edgeRows().slice(0, 1))));
    const { after, source, ...rest } = readBy(registry, records[0]!.value!, 'Envelope');
    assert.ok(after);
    assert.deepEqual(source, {
      version: '0.1.0',
      connector: 'kudu',
      name: 'orders',
      ts_ms: '1795340944066',
      snapshot: 'false',
      db: 'shop',
      sequence: `["${TIME}","7","12345","0"]`,
      ts_us: '1795340944066750',
      ts_ns: '1795340944066750000',
      table: 'orders',
      kudu_table: 'shop.orders',
      table_id: 'table1',
      tablet_id: 'tablet1',
      term: '7',
      index: '12345',
      hybrid_time: String(TIME),
      lsn: String(TIME),
      row: 0,
      kudu_op: 'INSERT',
    });
    assert.deepEqual(rest, {
      op: 'c',
      ts_ms: '1795340944066',
      ts_us: '1795340944066750',
      ts_ns: '1795340944066750000',
    });
    assert.deepEqual(readBy(registry, records[0]!.key, 'Key'), { id: '0' });
  });

  it('writes deletes, images of before and copies', async () => {
    const batch = writeBatch(
      EDGE_SCHEMA,
      [1, 2].map(() => ({ op: RowOp.UPSERT, cells: edgeRows()[8]! })),
    );
    const before = { present: Uint8Array.of(1, 1), cells: batch.cells.slice() };
    const { records, registry } = await encode({ ...batch, before, ops: Uint8Array.of(RowOp.UPDATE, RowOp.DELETE) });
    const updated = readBy(registry, records[0]!.value!, 'Envelope');
    assert.deepEqual(updated['before'], updated['after']);
    const deleted = readBy(registry, records[1]!.value!, 'Envelope');
    assert.deepEqual([deleted['op'], deleted['before'], deleted['after']], ['d', updated['after'], undefined]);
    assert.equal(records[2]!.kind, 'tombstone');
    const copy = await encode({ ...batch, copy: 'base', ops: Uint8Array.of(CopyOp.ROW, CopyOp.DELETED) });
    const copied = await decode(copy.registry, copy.records[0]!);
    assert.deepEqual([copied.op, copied.row, copied.time], [RecordOp.COPY, 0, TIME]);
    assert.equal((await decode(copy.registry, copy.records[1]!)).op, RecordOp.COPY_DELETE);
  });

  it('numbers a field by its column, so that what was written before an ALTER means the same behind it', async () => {
    const schemaOf = (...columns: readonly [string, number][]): TableSchema => ({
      columns: columns.map(([name, id]) => column(name, T.INT32, { isKey: id === 0, id })),
    });
    const older = schemaOf(['id', 0], ['a', 1], ['b', 2]);
    const newer = schemaOf(['id', 0], ['renamed', 2], ['added', 3]);
    const { records } = await encode(writeBatch(older, inserts([[int32(1), int32(2), int32(3)]])));
    const { root } = protobuf.parse(protoSchemas(newer, 'cdc.shop.orders', OPTIONS).value, { keepCase: true });
    const type = root.lookupType('cdc.shop.orders.Envelope');
    const read = type.toObject(type.decode(records[0]!.value!.subarray(6)));
    assert.deepEqual(read['after'], { id: 1, renamed: 3 });
    assert.deepEqual([0, 18_998, 18_999].map(fieldNumber), [1, 18_999, 20_000]);
  });

  it('calls columns as the table does where a field cannot', async () => {
    const columns = [column('id', T.INT32, { isKey: true, id: 0 }), column('a}"b', T.STRING, { id: 1 })];
    const { records, registry } = await encode(writeBatch({ columns }, inserts([[int32(1), Buffer.from('x')]])));
    assert.deepEqual((await decode(registry, records[0]!)).cells.names, ['id', 'a}"b']);
    const { after } = readBy(registry, records[0]!.value!, 'Envelope');
    assert.deepEqual(after, { id: 1, a__b: 'x' });
    const clash = { columns: [...columns, column('a_.b', T.INT32, { id: 2 })] };
    assert.throws(() => protoSchemas(clash, 't', OPTIONS), /"a\}\\"b" and "a_\.b" would both be the field a__b/);
  });

  it('writes decimals and times as asked', async () => {
    const columns = [
      column('id', T.INT32, { isKey: true, id: 0 }),
      column('price', T.DECIMAL64, { id: 1, precision: 18, scale: 2 }),
      column('whole', T.DECIMAL32, { id: 2, precision: 5, scale: 0 }),
      column('at', T.UNIXTIME_MICROS, { id: 3 }),
      column('day', T.DATE, { id: 4 }),
    ];
    const row = [int32(1), int64(-1234567n), int32(0), int64(1_795_340_944_066_750n), int32(20_779)];
    const batch = writeBatch({ columns }, inserts([row]));
    const read = async (options: Partial<ProtobufOptions>): Promise<unknown> => {
      const { records, registry } = await encode(batch, options);
      return readBy(registry, records[0]!.value!, 'Envelope')['after'];
    };
    const precise = {
      price: { value: Buffer.from([0xed, 0x29, 0x79]), precision: 18, scale: 2 },
      whole: { value: Buffer.from([0]), precision: 5 },
    };
    const iso = { at: '2026-11-22T09:49:04.066750Z', day: '2026-11-22' };
    assert.deepEqual(await read({ decimals: 'precise', time: 'isostring' }), { id: 1, ...precise, ...iso });
    const double = { price: -12345.67, whole: 0, at: '1795340944066', day: 20_779 };
    assert.deepEqual(await read({ decimals: 'double', time: 'connect' }), { id: 1, ...double });
  });

  it('writes decimals and times of a key as those of a row', async () => {
    const key = { isKey: true, precision: 18, scale: 2 };
    const columns = [column('id', T.DECIMAL64, { ...key, id: 0 }), column('at', T.UNIXTIME_MICROS, { ...key, id: 1 })];
    const batch = writeBatch({ columns }, inserts([[int64(5n), int64(0n)]]));
    const { records, registry } = await encode(batch, { decimals: 'precise', time: 'isostring' });
    const read = readBy(registry, records[0]!.key, 'Key');
    assert.deepEqual(read, {
      id: { value: Buffer.from([5]), precision: 18, scale: 2 },
      at: '1970-01-01T00:00:00.000000Z',
    });
  });

  it('gives names in JSON where protoc would find two alike, and to nothing else', async () => {
    const id = column('id', T.INT32, { isKey: true, id: 0 });
    const columns = [id, column('foo_bar', T.INT32, { id: 1 }), column('fooBar', T.INT32, { id: 2 })];
    const batch = writeBatch({ columns }, inserts([[int32(1), int32(2), int32(3)]]));
    const { records, registry } = await encode(batch);
    const { key, value } = protoSchemas({ columns }, 't', OPTIONS);
    assert.match(value, /message Value \{\n {2}option deprecated_legacy_json_field_conflicts = true;/);
    assert.match(value, /foo_bar = 2 \[json_name = "foo_bar"\];\n.* fooBar = 3 \[json_name = "fooBar"\]/);
    assert.equal(key, protoSchemas({ columns: [id] }, 't', OPTIONS).key);
    assert.deepEqual((await decode(registry, records[0]!)).cells.names, ['id', 'foo_bar', 'fooBar']);
    const bracket = { columns: [id, column('[x]', T.INT32, { id: 1 })] };
    assert.throws(() => protoSchemas(bracket, 't', OPTIONS), /"\[x\]" has a name in brackets/);
  });

  it('refuses a text that is no UTF-8', async () => {
    const columns = [column('id', T.INT32, { isKey: true, id: 0 }), column('note', T.STRING, { id: 1 })];
    const batch = writeBatch({ columns }, inserts([[int32(1), Buffer.from([0xff])]]));
    await assert.rejects(encode(batch), /"note" holds bytes that are no UTF-8/);
  });

  it('throws only SyntaxErrors on any cut or changed byte', async () => {
    const { records, registry } = await encode(writeBatch(EDGE_SCHEMA, inserts([edgeRows()[5]!])));
    const value = records[0]!.value!;
    const decoder = decoderOf(registry); // it compiles the schemas once
    const read = async (bytes: Buffer): Promise<void> => {
      try {
        const { op, term, row, cells } = await decode(registry, { ...records[0]!, value: bytes }, decoder);
        assert.ok(op + term + row + cells.names.length >= 0);
      } catch (error) {
        assert.ok(error instanceof SyntaxError || error instanceof assert.AssertionError, String(error));
      }
    };
    for (let end = 5; end < value.length; end++) await read(Buffer.from(value.subarray(0, end)));
    for (let at = 5; at < value.length; at++) {
      const changed = Buffer.from(value);
      changed[at]! ^= 0xff;
      await read(changed);
    }
  });
});
