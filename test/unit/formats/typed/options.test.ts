import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cell, type ChangeBatch } from '../../../../src/change/change.ts';
import { avroFormat } from '../../../../src/formats/avro/avro.ts';
import { avroRecordReader } from '../../../../src/formats/avro/avro-reader.ts';
import { canonicalCodec, NULL_TEXT } from '../../../../src/formats/canonical.ts';
import type { LossyOptions } from '../../../../src/formats/lossy-keys.ts';
import { protobufFormat } from '../../../../src/formats/protobuf/protobuf.ts';
import { protoRecordReader } from '../../../../src/formats/protobuf/proto-reader.ts';
import { RegisteredDecoder, type ReaderCompiler } from '../../../../src/formats/typed/registered-decoder.ts';
import type { TypedFormat } from '../../../../src/formats/typed/row-writer.ts';
import { DataType } from '../../../../src/kudu/schema.ts';
import { EDGE_SCHEMA, edgeRows } from '../../../support/edge-values.ts';
import { recordsOf } from '../../../support/record-batches.ts';
import { column, int64 } from '../../../support/row-bytes.ts';
import { inserts, MemoryRegistry, registeredFormat, writeBatch } from '../../../support/typed-batches.ts';

const T = DataType;
const DECIMALS: readonly LossyOptions['decimals'][] = ['string', 'precise', 'double'];
const TIMES: readonly LossyOptions['time'][] = ['adaptive', 'connect', 'isostring'];
const NAMED = { streamName: 'orders', version: '0.1.0' };

interface Format {
  readonly make: (options: LossyOptions) => TypedFormat;
  readonly compile: ReaderCompiler;
  readonly times?: LossyOptions['time'];
}
const FORMATS: readonly Format[] = [
  {
    make: (options) => avroFormat({ names: 'avro', ...NAMED, ...options }),
    compile: avroRecordReader,
    times: 'adaptive',
  },
  { make: (options) => protobufFormat({ ...NAMED, ...options }), compile: protoRecordReader },
];

function canonicalOf(batch: ChangeBatch, place: number, row: number): Buffer {
  const cell = batch.cells[row * EDGE_SCHEMA.columns.length + place]!;
  if (cell === Cell.NULL) return Buffer.from(NULL_TEXT);
  const codec = canonicalCodec(EDGE_SCHEMA.columns[place]!);
  const out = Buffer.alloc(codec.maxBytes ?? codec.maxBytesOf(batch.rows.readUInt32LE(cell + 8)));
  return out.subarray(0, codec.write(out, 0, batch.rows, cell, batch.indirect));
}

for (const { make, compile, ...readers } of FORMATS)
  describe(`options of ${make({ decimals: 'string', time: 'adaptive' }).schemaType}`, () => {
    for (const decimals of DECIMALS)
      for (const time of TIMES)
        it(`shows every edge of every type with decimals ${decimals} and time ${time}, and no more is lost`, async () => {
          const format = make({ decimals, time });
          const registry = new MemoryRegistry(format.schemaType);
          const decoder = new RegisteredDecoder({
            streamName: 'orders',
            registry,
            compile,
            ...readers,
            images: 'full',
            decimals,
            time,
          });
          const batch = writeBatch(EDGE_SCHEMA, inserts(edgeRows()));
          const encoder = registeredFormat(format, registry);
          await encoder.prepare([batch], AbortSignal.timeout(1000));
          const records = recordsOf(encoder, batch).map((record) => ({ ...record, position: null }));
          await decoder.prepare(records, AbortSignal.timeout(1000));
          for (const [row, record] of records.entries()) {
            const decoded = decoder.decode(record);
            assert.ok(decoded.kind === 'row');
            for (const [place, { name, type, scale = 0 }] of EDGE_SCHEMA.columns.entries()) {
              assert.ok(decoded.cells.fits(name, type), name);
              const text = decoder.canonical({ type, scale }, Buffer.from(decoded.cells.textOf(name)));
              const inTable = canonicalOf(batch, place, row);
              assert.equal(String(decoder.shown(type, text)), String(decoder.shown(type, inTable)), name);
              const isLossy = [T.DECIMAL32, T.DECIMAL64, T.DECIMAL128].some((each) => each === type)
                ? decimals === 'double'
                : type === T.UNIXTIME_MICROS && time === 'connect';
              if (!isLossy) assert.equal(String(text), String(inTable), name);
            }
          }
        });

    it('reads what was written under other options of the stream, where its schema says what that was', async () => {
      const columns = [
        column('id', T.DECIMAL64, { isKey: true, id: 0, precision: 10, scale: 2 }),
        column('at', T.UNIXTIME_MICROS, { id: 1 }),
      ];
      const batch = writeBatch({ columns }, inserts([[int64(12_345n), int64(1_700_000_000_123_000n)]]));
      const decimals: readonly LossyOptions['decimals'][] = ['string', 'precise'];
      const times = readers.times === undefined ? [] : TIMES;
      for (const was of decimals)
        for (const is of decimals)
          for (const [writtenAs, time] of [
            ['adaptive', 'adaptive'],
            ...times.flatMap((a) => times.map((b) => [a, b])),
          ]) {
            const format = make({ decimals: was, time: writtenAs as LossyOptions['time'] });
            const registry = new MemoryRegistry(format.schemaType);
            const options = { decimals: is, time: time as LossyOptions['time'] };
            const of = { streamName: 'orders', images: 'full', registry, compile, ...readers, ...options } as const;
            const decoder = new RegisteredDecoder(of);
            const encoder = registeredFormat(format, registry);
            await encoder.prepare([batch], AbortSignal.timeout(1000));
            const [record] = recordsOf(encoder, batch).map((each) => ({ ...each, position: null }));
            await decoder.prepare([record!], AbortSignal.timeout(1000));
            const decoded = decoder.decode(record!);
            assert.ok(decoded.kind === 'row');
            const texts = columns.map((each) => {
              assert.ok(decoded.cells.fits(each.name, each.type), each.name);
              return String(decoder.canonical(each, Buffer.from(decoded.cells.textOf(each.name))));
            });
            assert.deepEqual(texts, ['"123.45"', '1700000000123000'], `${was} as ${is}, ${writtenAs} as ${time}`);
          }
    });

    it('takes no room for a row that there was not before', async () => {
      const format = make({ decimals: 'string', time: 'adaptive' });
      const columns = [
        column('id', T.INT64, { isKey: true, id: 0 }),
        column('n', T.INT64, { id: 1 }),
        column('note', T.STRING, { id: 2 }),
      ];
      // Whoever took its cells for such would find the length of a text in the numbers of the row.
      const batch = writeBatch({ columns }, inserts([[int64(-1n), int64(-1n), Buffer.from('x')]]));
      const before = { present: Uint8Array.of(0), cells: new Int32Array(columns.length) };
      const encoder = registeredFormat(format, new MemoryRegistry(format.schemaType));
      await encoder.prepare([batch], AbortSignal.timeout(1000));
      const plain = recordsOf(encoder, batch);
      assert.deepEqual(recordsOf(encoder, { ...batch, before }), plain);
    });

    it('refuses a key that an option would make the same as another', () => {
      const schemaOf = (type: DataType, precision = 9) => ({
        columns: [column('k', type, { isKey: true, precision, scale: 2, id: 0 })],
      });
      const adaptive = make({ decimals: 'double', time: 'adaptive' });
      const connect = make({ decimals: 'precise', time: 'connect' });
      assert.throws(() => adaptive.schemas(schemaOf(T.DECIMAL64, 16), 't'), /decimals "double" would write different/);
      assert.throws(() => connect.schemas(schemaOf(T.UNIXTIME_MICROS), 't'), /time "connect" would write different/);
      adaptive.schemas(schemaOf(T.DECIMAL64, 15), 't');
      connect.schemas(schemaOf(T.DECIMAL64, 18), 't');
    });
  });
