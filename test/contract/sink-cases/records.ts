import assert from 'node:assert/strict';
import { RecordBatch } from '../../../src/change/record-batch.ts';
import type { SinkRecord } from '../../../src/change/record.ts';
import { batches } from '../../support/record-batches.ts';
import type { SinkCase, SinkKit } from '../sink-kit.ts';
import { never, positionAt, recordAt, tabletOf, toSeen } from '../sink-records.ts';

/** What a sink makes of records: order, bytes, kinds, and memory that is lent. */
export const RECORD_CASES: readonly SinkCase[] = [
  {
    name: 'keeps the order of each key, and every byte',
    run: async (kit) => {
      const records = Array.from({ length: 60 }, (_, i) => recordAt(i + 1, i % 7));
      const lists = [records.slice(0, 20), [], records.slice(20, 30), records.slice(30)];
      const seen = await writeAndRead(kit, 60, async (write) => {
        await write(30, ...lists.slice(0, 3));
        await write(60, ...lists.slice(3));
      });
      for (let id = 0; id < 7; id++) {
        const key = `{"id":${id}}`;
        assert.deepEqual(
          seen.filter((record) => record.key === key),
          records.filter((record) => record.key.toString() === key).map(toSeen),
        );
      }
      assert.equal(seen.length, 60);
    },
  },
  {
    name: 'takes values of any bytes and any length',
    run: async (kit) => {
      const text = ['{"v":"\\n \\u0000 😀"}', '[]', `"${'wide '.repeat(40_000)}"`];
      const bytes = ['', 'two\nlines\r\n', '\0', ',"}]', '\u2028'];
      const values = kit.promises.values === 'json' ? text : [...text, ...bytes];
      const records = values.map((value, i) => recordAt(i + 1, 5, { value: Buffer.from(value) }));
      const seen = await writeAndRead(kit, records.length, (write) => write(records.length, records));
      assert.deepEqual(seen, records.map(toSeen));
    },
  },
  {
    name: 'keeps no memory of a batch beyond its write',
    run: async (kit) => {
      const records = Array.from({ length: 20 }, (_, i) => recordAt(i + 1, 5));
      const stream = kit.freshStream();
      const sink = kit.open(stream);
      await using writer = await sink.openTablet(tabletOf(stream), never);
      for (let index = 1; index <= 20; index++) {
        const batch = RecordBatch.of([records[index - 1]!]);
        await writer.write([batch], positionAt(index), never);
        batch.runOf(0).bytes.fill('x');
      }
      assert.deepEqual(await kit.sut.read(stream, 20), records.map(toSeen));
    },
  },
  {
    name: 'writes a tombstone behind its delete, with the same position',
    run: async (kit) => {
      const gone = [recordAt(1, 5), recordAt(1, 5, { kind: 'tombstone', value: null })];
      const seen = await writeAndRead(kit, 2, (write) => write(1, gone));
      assert.deepEqual(seen, gone.map(toSeen));
    },
  },
  {
    name: 'takes every kind of record, and loses no row beside them',
    run: async (kit) => {
      const schema = recordAt(1, 0, { kind: 'schema', position: positionOf('3.1') });
      const rows = [recordAt(2, 5), recordAt(3, 5), recordAt(3, 5, { kind: 'tombstone', value: null }), recordAt(5, 5)];
      const mark: Partial<SinkRecord> = { kind: 'resolved', key: Buffer.alloc(0), position: positionOf('123') };
      const all = [
        { ...schema, isFirst: true as const },
        ...rows.slice(0, 3),
        { ...schema, position: positionOf('3.4') },
        recordAt(4, 0, mark),
        rows[3]!,
      ];
      const seen = await writeAndRead(kit, 4, (write) => write(5, all));
      assert.deepEqual(seen, rows.map(toSeen));
    },
  },
];

type Write = (index: number, ...lists: (readonly SinkRecord[])[]) => Promise<void>;

async function writeAndRead(kit: SinkKit, count: number, work: (write: Write) => Promise<void>) {
  const stream = kit.freshStream();
  await using writer = await kit.open(stream).openTablet(tabletOf(stream), never);
  await work((index, ...lists) => writer.write(batches(...lists), positionAt(index), never));
  return await kit.sut.read(stream, count);
}

function positionOf(behind: string): string {
  return `${tabletOf('').tabletId}/${behind}`;
}
