import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import avsc from 'avsc';
import { Cell, CopyOp, RowOp, type ChangeBatch } from '../../../../src/change/change.ts';
import type { SinkRecord } from '../../../../src/change/record.ts';
import { avroFormat, type AvroOptions } from '../../../../src/formats/avro/avro.ts';
import { decimalToString } from '../../../../src/kudu/decimal.ts';
import { DataType, type TableSchema } from '../../../../src/kudu/schema.ts';
import { EDGE_READERS as READ, EDGE_SCHEMA, edgeRows } from '../../../support/edge-values.ts';
import { recordsOf } from '../../../support/record-batches.ts';
import { column, int32, int64 } from '../../../support/row-bytes.ts';
import { inserts, MemoryRegistry, registeredFormat, TABLET, TIME, writeBatch } from '../../../support/typed-batches.ts';

const T = DataType;
const OPTIONS: AvroOptions = {
  names: 'avro',
  decimals: 'precise',
  time: 'adaptive',
  streamName: 'orders',
  version: '0.1.0',
};
const SCHEMA: TableSchema = {
  columns: [
    column('id', T.INT64, { isKey: true, id: 10 }),
    column('name', T.STRING, { isKey: true, id: 11 }),
    column('note', T.STRING, { nullable: true, id: 12 }),
    column('n', T.INT32, { id: 13, writeDefault: int32(-5), readDefault: int32(4) }),
  ],
};
const KEY = [int64(2n ** 53n + 1n), Buffer.from('é')];

/** The second judge of our bytes: longs as bigints, decimals as text. */
const LONGS = avsc.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer: (value: bigint) => int64(value),
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
});

class Decimal extends avsc.types.LogicalType {
  override _fromValue(value: Buffer): string {
    const { scale } = this as unknown as { scale: number };
    let unscaled = 0n;
    for (const byte of value) unscaled = (unscaled << 8n) | BigInt(byte);
    return decimalToString(BigInt.asIntN(8 * value.length, unscaled), scale);
  }
  scale: number;
  constructor(schema: never, options: never) {
    super(schema, options);
    this.scale = (schema as { scale: number }).scale;
  }
}

function typeOf(text: string): avsc.Type {
  return avsc.Type.forSchema(JSON.parse(text) as avsc.Schema, {
    typeHook: (schema: unknown) =>
      schema === 'long' || (schema as { type?: unknown }).type === 'long' ? LONGS : undefined,
    logicalTypes: { decimal: Decimal as never },
    wrapUnions: false,
  });
}

interface Envelope {
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
  readonly source: Record<string, unknown>;
  readonly op: string;
  readonly [name: string]: unknown;
}

/** Reads a record as a consumer does: by the number in it. */
class Consumer {
  readonly registry = new MemoryRegistry();

  value({ value }: SinkRecord): Envelope {
    return { ...(this.#read(value!) as Envelope) };
  }

  key({ key }: SinkRecord): Record<string, unknown> {
    return { ...(this.#read(key) as object) };
  }

  #read(bytes: Buffer): unknown {
    assert.equal(bytes[0], 0);
    const type = typeOf(this.registry.texts[bytes.readInt32BE(1) - 1]!);
    return type.fromBuffer(Buffer.from(bytes.subarray(5)));
  }
}

async function encode(
  batch: ChangeBatch,
  options: Partial<AvroOptions> = {},
): Promise<{ readonly records: SinkRecord[]; readonly consumer: Consumer }> {
  const consumer = new Consumer();
  const format = registeredFormat(avroFormat({ ...OPTIONS, ...options }), consumer.registry);
  await format.prepare([batch], AbortSignal.timeout(1000));
  return { records: recordsOf(format, batch), consumer };
}

const plain = (value: object | null): object => ({ ...value });

describe('avro records', () => {
  it('writes an INSERT as Debezium does: envelope, source, times', async () => {
    const { records, consumer } = await encode(writeBatch(SCHEMA, [{ op: RowOp.INSERT, cells: KEY }]));
    const value = consumer.value(records[0]!);
    const { before, after, source, ...rest } = value;
    assert.equal(before, null);
    assert.deepEqual(plain(after), { id: 2n ** 53n + 1n, name: 'é', note: null, n: -5 });
    assert.deepEqual(plain(source), {
      version: '0.1.0',
      connector: 'kudu',
      name: 'orders',
      ts_ms: 1795340944066n,
      snapshot: 'false',
      db: 'shop',
      sequence: `["${TIME}","7","12345","0"]`,
      ts_us: 1795340944066750n,
      ts_ns: 1795340944066750000n,
      table: 'orders',
      kudu_table: 'shop.orders',
      table_id: 'table1',
      tablet_id: 'tablet1',
      term: 7n,
      index: 12345n,
      hybrid_time: String(TIME),
      lsn: TIME,
      row: 0,
      kudu_op: 'INSERT',
    });
    assert.deepEqual(rest, {
      op: 'c',
      ts_ms: 1795340944066n,
      ts_us: 1795340944066750n,
      ts_ns: 1795340944066750000n,
      transaction: null,
    });
    assert.deepEqual(plain(consumer.key(records[0]!)), { id: 2n ** 53n + 1n, name: 'é' });
    assert.deepEqual([records[0]!.position, records[0]!.table], ['tablet1/7.12345.0', 'shop.orders']);
  });

  it('writes every edge of every type so that another decoder reads the value', async () => {
    const rows = edgeRows();
    const { records, consumer } = await encode(writeBatch(EDGE_SCHEMA, inserts(rows)));
    for (const [row, cells] of rows.entries()) {
      const after = consumer.value(records[row]!).after!;
      for (const [place, { name, type, scale = 0 }] of EDGE_SCHEMA.columns.entries()) {
        const cell = cells[place] ?? null;
        assert.deepEqual(after[name], cell === null ? null : READ[type]!(cell, scale), `${name} of row ${row}`);
      }
    }
  });

  it('writes a delete with its key, and a tombstone behind it', async () => {
    const cells = [...KEY, undefined, undefined];
    const { records, consumer } = await encode(writeBatch(SCHEMA, [{ op: RowOp.DELETE, cells }]));
    const value = consumer.value(records[0]!);
    assert.deepEqual(
      [plain(value.before), value.after, value.op],
      [{ id: 2n ** 53n + 1n, name: 'é', note: null, n: null }, null, 'd'],
    );
    assert.deepEqual([records[1]!.kind, records[1]!.value, records[1]!.key], ['tombstone', null, records[0]!.key]);
  });

  it('writes whole images of before, and tells an UPSERT that made a row from one that changed it', async () => {
    const cells = [...KEY, null, int32(3)];
    const batch = writeBatch(
      SCHEMA,
      [1, 2, 3].map(() => ({ op: RowOp.UPSERT, cells })),
    );
    const before = { present: Uint8Array.of(0, 1, 1), cells: batch.cells.slice() };
    const ops = Uint8Array.of(RowOp.UPSERT, RowOp.UPSERT, RowOp.DELETE);
    const { records, consumer } = await encode({ ...batch, before, ops });
    const values = records.filter(({ kind }) => kind === 'row').map((record) => consumer.value(record));
    const whole = { id: 2n ** 53n + 1n, name: 'é', note: null, n: 3 };
    assert.deepEqual(
      values.map((value) => [value.op, value.before && plain(value.before), value.after && plain(value.after)]),
      [
        ['c', null, whole],
        ['u', whole, whole],
        ['d', whole, null],
      ],
    );
  });

  it('says of a copied row that it is of a snapshot, and has no operation', async () => {
    const batch = writeBatch(SCHEMA, [{ op: RowOp.INSERT, cells: [...KEY, null, int32(3)] }]);
    const { records, consumer } = await encode({ ...batch, copy: 'base', ops: Uint8Array.of(CopyOp.ROW) });
    const { op, source } = consumer.value(records[0]!);
    assert.deepEqual(
      [op, source['snapshot'], source['row'], source['kudu_op'], source['sequence']],
      ['r', 'true', null, null, `["${TIME}","7","12345","0"]`],
    );
    assert.equal(records[0]!.position, `tablet1/base.${TIME}`);
  });

  it('gives two columns that Avro can call alike no schema, and says what helps', async () => {
    const columns = [column('a', T.INT32, { isKey: true }), column('x-y', T.INT32), column('x.y', T.INT32)];
    const batch = writeBatch({ columns }, [{ op: RowOp.INSERT, cells: [int32(1), int32(2), int32(3)] }]);
    await assert.rejects(encode(batch), {
      kind: 'refused',
      message: /"x-y" and "x\.y" would both be the field x_y.*avro_unicode/,
    });
    const { records, consumer } = await encode(batch, { names: 'avro_unicode' });
    assert.deepEqual(plain(consumer.value(records[0]!).after), { a: 1, x_u002dy: 2, x_u002ey: 3 });
  });

  it('refuses a text that is no UTF-8, naming the column and nothing of the value', async () => {
    for (const bad of [
      Buffer.from([0x41, 0xff]),
      Buffer.concat([Buffer.alloc(100, 0x41), Buffer.from([0xc3])]),
      Buffer.from('eda080', 'hex'),
    ]) {
      const batch = writeBatch(SCHEMA, [{ op: RowOp.INSERT, cells: [...KEY, bad, int32(3)] }]);
      await assert.rejects(
        encode(batch),
        (error: Error) => /"note" holds bytes that are no UTF-8/.test(error.message) && !error.message.includes('AA'),
      );
    }
  });

  it('writes no row that is not whole', async () => {
    assert.equal(registeredFormat(avroFormat(OPTIONS)).needsWholeRows, true);
    const marked = writeBatch(SCHEMA, [{ op: RowOp.UPSERT, cells: [...KEY, null, int32(3)] }]);
    await assert.rejects(encode({ ...marked, partial: Uint8Array.of(1) }), /cannot be read as it was.*resync/);
  });

  it('writes null in a column that was dropped since, and cannot be read any more', async () => {
    const batch = writeBatch(SCHEMA, [{ op: RowOp.UPDATE, cells: [...KEY, undefined, int32(3)] }]);
    assert.ok(batch.cells.includes(Cell.UNSET));
    const { records, consumer } = await encode(batch);
    assert.deepEqual(plain(consumer.value(records[0]!).after), { id: 2n ** 53n + 1n, name: 'é', note: null, n: 3 });
  });

  it('writes decimals and times as asked', async () => {
    const rows = edgeRows();
    const batch = writeBatch(EDGE_SCHEMA, inserts(rows));
    const strings = await encode(batch, { decimals: 'string', time: 'isostring' });
    const first = strings.consumer.value(strings.records[3]!).after!;
    assert.deepEqual(
      [first['d32'], first['at'], first['day']],
      ['-9999999.99', '9999-12-31T23:59:59.999999Z', '9999-12-31'],
    );
    const doubles = await encode(batch, { decimals: 'double', time: 'connect' });
    const second = doubles.consumer.value(doubles.records[1]!).after!;
    assert.deepEqual([second['d32'], second['at'], second['day']], [-0.01, -1n, -1]);
  });

  it('gives the same bytes whatever came before', async () => {
    const batch = writeBatch(SCHEMA, [{ op: RowOp.INSERT, cells: [...KEY, null, int32(3)] }]);
    const registry = new MemoryRegistry();
    const format = registeredFormat(avroFormat(OPTIONS), registry);
    const other = {
      ...writeBatch(EDGE_SCHEMA, inserts(edgeRows())),
      tablet: { ...TABLET, tabletId: 'another, with a longer name' },
    };
    await format.prepare([batch, other], AbortSignal.timeout(1000));
    const fresh = recordsOf(format, batch).map(({ value }) => value!.toString('hex'));
    recordsOf(format, other);
    assert.deepEqual(
      recordsOf(format, batch).map(({ value }) => value!.toString('hex')),
      fresh,
    );
  });

  it('writes a mark without key and value, which no reader of Avro stumbles over', async () => {
    const format = registeredFormat(avroFormat(OPTIONS));
    await format.prepare([], AbortSignal.timeout(1000));
    const [mark] = recordsOf(format, {
      kind: 'resolved',
      tablet: TABLET,
      opId: { term: 1n, index: 2n },
      hybridTime: TIME,
    });
    assert.deepEqual(
      { ...mark, key: mark!.key.length },
      {
        kind: 'resolved',
        table: 'shop.orders',
        key: 0,
        value: null,
        position: `tablet1/${TIME}`,
        timestampMs: 1795340944066,
      },
    );
  });
});
