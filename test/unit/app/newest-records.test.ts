import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findRecord, newestRecords } from '../../../src/app/newest-records.ts';
import type { SinkRecord } from '../../../src/change/record.ts';
import { avroFormat } from '../../../src/formats/avro/avro.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import type { SinkReader, StoredRecord } from '../../../src/sinks/reader.ts';
import { UnknownMemberError } from '../../../src/streams/stream-errors.ts';
import { recordsOf } from '../../support/record-batches.ts';
import { column, int64 } from '../../support/row-bytes.ts';
import { inserts, registeredFormat, writeBatch } from '../../support/typed-batches.ts';

const AVRO = { names: 'avro_unicode', decimals: 'precise', time: 'adaptive' } as const;
const never = new AbortController().signal;

function stored(
  lane: string,
  order: number,
  value: string | Buffer | null,
  more: Partial<StoredRecord> = {},
): StoredRecord {
  return {
    place: { lane, order: BigInt(order) },
    key: Buffer.from('{"id":1}'),
    value: value === null ? null : Buffer.from(value),
    position: `f00d/7.${order}.0`,
    timestampMs: 1_000 * order,
    ...more,
  };
}

/** Of records by destination; a table's is its name in capitals, and `b` and `c` share theirs. */
function readerOf(places: Readonly<Record<string, readonly StoredRecord[]>>): SinkReader {
  return {
    schemaDestination: 'schema',
    destinationOf: (table) => (table === 'c' ? 'B' : table.toUpperCase()),
    async *read(destination) {
      await Promise.resolve();
      for (const record of places[destination] ?? []) yield [record];
    },
    show: ({ lane, order }) => ({ text: `${lane}/${order}`, fields: { lane, offset: Number(order) } }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

describe('the newest records of a stream', () => {
  it('are shown as JSON where their schema is with them, in whatever they are written', async () => {
    const columns = [column('id', DataType.INT64, { isKey: true, id: 0 }), column('x"y', DataType.STRING, { id: 1 })];
    const format = registeredFormat(avroFormat({ ...AVRO, streamName: 's', version: '1' }), undefined, { ids: null });
    const batch = writeBatch({ columns }, inserts([[int64(9007199254740993n), Buffer.from('"ä"')]]));
    await format.prepare([batch], never);
    const [{ key, value, schemas }] = recordsOf(format, batch) as [SinkRecord];
    const reader = readerOf({ A: [stored('A-0', 1, value, { key, ...(schemas && { schemas }) })] });
    const [shown] = await newestRecords(reader, ['a'], 1, never);
    assert.equal(shown!.key, '{"id":9007199254740993}');
    assert.deepEqual([shown!.op, shown!.table, shown!.isBase64], ['c', 'shop.orders', undefined]);
    const { after } = JSON.parse(shown!.value!) as { after: unknown };
    assert.deepEqual(after, { id: 9007199254740992, 'x"y': '"ä"' });
  });

  it('are those of all its places by their time, with what they say of themselves', async () => {
    const envelope = '{"op":"u","source":{"kudu_table":"shop.b"},"after":{}}';
    const block = `{"schema":{},"payload":${envelope}}`;
    const reader = readerOf({
      A: [stored('A-0', 1, '{"bare":"row"}'), stored('A-1', 5, null)],
      B: [
        stored('B-0', 3, envelope),
        stored('B-0', 4, block),
        stored('B-0', 2, 'no json', { position: null, timestampMs: null }),
      ],
    });
    const records = await newestRecords(reader, ['a', 'b', 'c'], 10, never);
    assert.deepEqual(
      records.map(({ place, table, op, value }) => [place['offset'], table, op, value]),
      [
        [5, 'a', null, null],
        [4, 'shop.b', 'u', block],
        [3, 'shop.b', 'u', envelope],
        [1, 'a', null, '{"bare":"row"}'],
        [2, null, null, 'no json'],
      ],
    );
    assert.deepEqual([records[0]!.at, records[0]!.tabletId], ['1970-01-01T00:00:05.000Z', 'f00d']);
    assert.deepEqual([records[4]!.at, records[4]!.tabletId, records[4]!.position], [null, null, null]);
    assert.deepEqual(
      (await newestRecords(reader, ['a', 'b'], 2, never)).map(({ place }) => place['offset']),
      [5, 4],
    );
  });

  it('are in base64 where they are no text', async () => {
    const bytes = [Buffer.from([0, 0, 0, 0, 7, 65]), Buffer.from([0xff, 0xfe])];
    const records = await newestRecords(
      readerOf({ A: bytes.map((value, i) => stored('A', i, value)) }),
      ['a'],
      5,
      never,
    );
    assert.deepEqual(
      records.map(({ value, isBase64 }) => [value, isBase64]),
      [
        ['//4=', true],
        ['AAAAAAdB', true],
      ],
    );
  });

  it('are asked for by table where there are many places', async () => {
    const tables = Array.from({ length: 21 }, (_, i) => `t${i}`);
    await assert.rejects(
      newestRecords(readerOf({}), tables, 5, never),
      (error) => error instanceof UnknownMemberError && /21 places, and 20 .* name a table/.test(error.message),
    );
    assert.deepEqual(await newestRecords(readerOf({}), tables.slice(1), 5, never), []);
  });

  it('one is found by its position, the last where it came again, and never its tombstone', async () => {
    const reader = readerOf({
      A: [
        stored('A', 1, 'x'),
        stored('A', 2, 'y', { position: 'f00d/7.1.0' }),
        stored('A', 3, null, { position: 'f00d/7.1.0' }),
      ],
    });
    assert.equal((await findRecord(reader, 'a', 'f00d/7.1.0', never))?.place.text, 'A/2');
    assert.equal(await findRecord(reader, 'a', 'f00d/7.9.0', never), null);
  });
});
