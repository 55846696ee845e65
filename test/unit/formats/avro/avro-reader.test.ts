import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Cell, CopyOp, RowOp, type ChangeBatch } from '../../../../src/change/change.ts';
import type { SinkRecord } from '../../../../src/change/record.ts';
import { avroFormat, type AvroOptions } from '../../../../src/formats/avro/avro.ts';
import { avroRecordReader } from '../../../../src/formats/avro/avro-reader.ts';
import { canonicalCodec, NULL_TEXT } from '../../../../src/formats/canonical.ts';
import { RecordOp, type DecodedRecord, type RowRecord } from '../../../../src/formats/decoder.ts';
import { RegisteredDecoder } from '../../../../src/formats/typed/registered-decoder.ts';
import { DataType, type TableSchema } from '../../../../src/kudu/schema.ts';
import { EDGES, EDGE_SCHEMA, edgeRows } from '../../../support/edge-values.ts';
import { recordsOf } from '../../../support/record-batches.ts';
import { column, int32, int64 } from '../../../support/row-bytes.ts';
import { inserts, MemoryRegistry, registeredFormat, TIME, writeBatch } from '../../../support/typed-batches.ts';

const OPTIONS: AvroOptions = {
  names: 'avro',
  decimals: 'precise',
  time: 'adaptive',
  streamName: 'orders',
  version: '0.1.0',
};

class Trip {
  readonly registry = new MemoryRegistry();
  readonly decoder;
  readonly #format;

  constructor(options: Partial<AvroOptions> = {}) {
    const format = { ...OPTIONS, ...options };
    const { registry } = this;
    const of = {
      streamName: 'orders',
      images: 'full' as const,
      registry,
      compile: avroRecordReader,
      times: 'adaptive' as const,
    };
    this.decoder = new RegisteredDecoder({ ...format, ...of });
    this.#format = registeredFormat(avroFormat(format), this.registry);
  }

  async encode(batch: ChangeBatch): Promise<SinkRecord[]> {
    await this.#format.prepare([batch], AbortSignal.timeout(1000));
    return recordsOf(this.#format, batch).map((record) => ({ ...record, key: Buffer.from(record.key) }));
  }

  async decode(record: Pick<SinkRecord, 'key' | 'value'>): Promise<DecodedRecord> {
    const stored = { ...record, position: null };
    await this.decoder.prepare([stored], AbortSignal.timeout(1000));
    return this.decoder.decode(stored);
  }

  async rows(batch: ChangeBatch): Promise<RowRecord[]> {
    const rows: RowRecord[] = [];
    for (const record of await this.encode(batch)) {
      const decoded = await this.decode(record);
      if (decoded.kind === 'row') rows.push(decoded);
    }
    return rows;
  }
}

/** What a cell is to whoever compares tables, by other code than the decoder's. */
function canonicalOf(schema: TableSchema, place: number, batch: ChangeBatch, row: number): string {
  const cell = batch.cells[row * schema.columns.length + place]!;
  if (cell === Cell.NULL) return NULL_TEXT;
  const codec = canonicalCodec(schema.columns[place]!);
  const out = Buffer.alloc(codec.maxBytes ?? codec.maxBytesOf(batch.rows.readUInt32LE(cell + 8)));
  return out.toString('utf8', 0, codec.write(out, 0, batch.rows, cell, batch.indirect));
}

function assertSame(trip: Trip, batch: ChangeBatch, rows: readonly RowRecord[]): void {
  const { columns } = batch.schema;
  assert.equal(rows.length, batch.rowCount);
  for (const [row, record] of rows.entries()) {
    record.checkKey(columns.filter(({ isKey }) => isKey));
    const { cells } = record;
    assert.deepEqual(
      cells.names,
      columns.map(({ name }) => name),
    );
    for (const [place, { name, type }] of columns.entries()) {
      assert.ok(cells.fits(name, type), name);
      const text = trip.decoder.canonical(columns[place]!, Buffer.from(cells.textOf(name))).toString();
      assert.equal(text, canonicalOf(batch.schema, place, batch, row), name);
    }
  }
}

describe('the reader of Avro records', () => {
  it('gives back every edge of every type, in each form that keeps it', async () => {
    const batch = writeBatch(EDGE_SCHEMA, inserts(edgeRows()));
    for (const options of [{}, { decimals: 'string', time: 'isostring' }, { names: 'avro_unicode' }] as const) {
      const trip = new Trip(options);
      assertSame(trip, batch, await trip.rows(batch));
    }
  });

  it('shows of a value what the options leave of it, the same of one in the table', async () => {
    const options = { decimals: 'double', time: 'connect' } as const;
    const trip = new Trip(options);
    const batch = writeBatch(EDGE_SCHEMA, inserts(edgeRows()));
    let lossy = 0;
    for (const [row, { cells }] of (await trip.rows(batch)).entries())
      for (const [place, each] of EDGE_SCHEMA.columns.entries()) {
        assert.ok(cells.fits(each.name, each.type), each.name);
        const has = trip.decoder.canonical(each, Buffer.from(cells.textOf(each.name)));
        const table = Buffer.from(canonicalOf(EDGE_SCHEMA, place, batch, row));
        assert.deepEqual(trip.decoder.shown(each.type, has), trip.decoder.shown(each.type, table), each.name);
        if (!has.equals(table)) lossy++;
      }
    assert.ok(lossy > 10, 'values that are not there as they are');
    const [sum, at] = [DataType.DECIMAL64, DataType.UNIXTIME_MICROS];
    const isSame = (type: DataType, a: string, b: string): boolean =>
      trip.decoder.shown(type, Buffer.from(a)).equals(trip.decoder.shown(type, Buffer.from(b)));
    assert.ok(isSame(sum, '"1.50"', '1.5') && !isSame(sum, '"1.51"', '1.5') && !isSame(sum, '"0.00"', 'null'));
    assert.ok(isSame(at, '1999', '1000') && isSame(at, '-1', '-1000') && !isSame(at, '2000', '1999'));
    const precise = new Trip().decoder;
    assert.notDeepEqual(precise.shown(at, Buffer.from('1999')), precise.shown(at, Buffer.from('1000')));
  });

  it('finds the row of a key that is a double, and of two that would be one the table is refused', async () => {
    const key = column('sum', DataType.DECIMAL64, { isKey: true, precision: 15, scale: 3 });
    const batch = writeBatch({ columns: [key] }, inserts([[int64(-999_999_999_999_999n)], [int64(100n)], [int64(0n)]]));
    const rows = await new Trip({ decimals: 'double' }).rows(batch);
    assert.deepEqual(
      rows.map(({ cells }) => cells.keyCell(key).readBigInt64LE()),
      [-999_999_999_999_999n, 100n, 0n],
    );
    for (const [options, refused] of [
      [{ decimals: 'double' }, column('k', DataType.DECIMAL64, { isKey: true, precision: 16, scale: 3 })],
      [{ time: 'connect' }, column('k', DataType.UNIXTIME_MICROS, { isKey: true })],
    ] as const)
      await assert.rejects(
        new Trip(options).encode(writeBatch({ columns: [refused] }, inserts([[int64(1n)]]))),
        /would write different keys as one, and "k" is a column of the primary key/,
      );
  });

  it('gives back whatever a row may have', async () => {
    const bytesOf = (count: number): fc.Arbitrary<Buffer> =>
      fc.uint8Array({ minLength: count, maxLength: count }).map((bytes) => Buffer.from(bytes));
    const sizes: Partial<Record<DataType, number>> = {
      [DataType.INT8]: 1,
      [DataType.INT16]: 2,
      [DataType.INT32]: 4,
      [DataType.INT64]: 8,
      [DataType.FLOAT]: 4,
      [DataType.DOUBLE]: 8,
      [DataType.DECIMAL32]: 4,
      [DataType.DECIMAL64]: 8,
      [DataType.DECIMAL128]: 16,
    };
    const cell = (name: string, type: DataType): fc.Arbitrary<Buffer> => {
      if (type === DataType.STRING || type === DataType.VARCHAR)
        return fc.string({ unit: 'binary', maxLength: 90 }).map((text) => Buffer.from(text));
      if (type === DataType.BINARY) return fc.uint8Array({ maxLength: 90 }).map((bytes) => Buffer.from(bytes));
      const size = sizes[type];
      return size === undefined ? fc.constantFrom(...EDGES[name]!) : bytesOf(size);
    };
    const row = fc.tuple(
      ...EDGE_SCHEMA.columns.map(({ name, type, isKey }) => (isKey ? cell(name, type) : fc.option(cell(name, type)))),
    );
    const trip = new Trip();
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 5 }), async (rows) => {
        const batch = writeBatch(EDGE_SCHEMA, inserts(rows));
        assertSame(trip, batch, await trip.rows(batch));
      }),
      { numRuns: 200 },
    );
  });

  it('says which row of which operation a record is of, and calls columns as the table does', async () => {
    const columns = [column('a-b', DataType.INT32, { isKey: true }), column('x.y', DataType.INT32)];
    const batch = writeBatch({ columns }, [{ op: RowOp.UPSERT, cells: [int32(1), int32(2)] }]);
    const [record] = await new Trip().rows(batch);
    const { tableId, tabletId, op, term, index, row, time, cells } = record!;
    assert.deepEqual(
      { tableId, tabletId, op, term, index, row, time, names: cells.names },
      {
        tableId: 'table1',
        tabletId: 'tablet1',
        op: RecordOp.UPSERT,
        term: 7,
        index: 12345,
        row: 0,
        time: TIME,
        names: ['a-b', 'x.y'],
      },
    );
  });

  it('has of a delete the key, and knows a tombstone, a copy and the delete of one', async () => {
    const trip = new Trip();
    const cells = edgeRows()[0]!;
    const [deleted, tombstone] = await trip.encode(
      writeBatch(EDGE_SCHEMA, [{ op: RowOp.DELETE, cells: [cells[0]!, ...cells.slice(1).map(() => undefined)] }]),
    );
    const row = await trip.decode(deleted!);
    assert.ok(row.kind === 'row');
    assert.deepEqual([row.op, row.cells.names], [RecordOp.DELETE, ['id']]);
    assert.deepEqual(row.cells.keyCell(EDGE_SCHEMA.columns[0]!), int64(0n));
    const last = await trip.decode(tombstone!);
    assert.ok(last.kind === 'tombstone');
    assert.deepEqual(last.cells.names, ['id']);
    for (const [op, expected] of [
      [CopyOp.ROW, RecordOp.COPY],
      [CopyOp.DELETED, RecordOp.COPY_DELETE],
    ] as const) {
      const copy = {
        ...writeBatch(EDGE_SCHEMA, inserts([cells])),
        copy: 'incremental' as const,
        ops: Uint8Array.of(op),
      };
      const [copied] = await trip.rows(copy);
      assert.deepEqual([copied!.op, copied!.row], [expected, 0]);
    }
  });

  it('knows what is not of this stream, of no schema, or no record at all', async () => {
    const trip = new Trip({ streamName: 'another' });
    const [record] = await trip.encode(writeBatch(EDGE_SCHEMA, inserts([edgeRows()[0]!])));
    assert.deepEqual(await trip.decode(record!), { kind: 'foreign', tabletId: 'tablet1' });
    assert.deepEqual(await trip.decode({ key: null as never, value: null }), { kind: 'mark' });
    const unknown = Buffer.from(record!.value!);
    unknown.writeInt32BE(99, 1);
    await assert.rejects(trip.decode({ ...record!, value: unknown }), /SyntaxError: the registry has no schema 99/);
    await assert.rejects(
      trip.decode({ ...record!, value: Buffer.from('{"op":"c"}') }),
      /SyntaxError: .*number of a schema/,
    );
  });

  it('throws only SyntaxErrors on any cut or changed byte', async () => {
    const trip = new Trip();
    const [record] = await trip.encode(writeBatch(EDGE_SCHEMA, inserts([edgeRows()[5]!])));
    const value = record!.value!;
    const read = async (bytes: Buffer): Promise<void> => {
      try {
        const decoded = await trip.decode({ key: record!.key, value: bytes });
        if (decoded.kind === 'row')
          assert.ok(decoded.op + decoded.term + decoded.row + decoded.cells.names.length >= 0);
      } catch (error) {
        assert.ok(error instanceof SyntaxError, String(error));
      }
    };
    for (let end = 0; end < value.length; end += 1) await read(Buffer.from(value.subarray(0, end)));
    for (let at = 5; at < value.length; at += 1)
      for (const change of [0x01, 0x80, 0xff]) {
        const changed = Buffer.from(value);
        changed[at]! ^= change;
        await read(changed);
      }
  });
});
