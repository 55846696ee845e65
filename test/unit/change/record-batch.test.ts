import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RecordBatch, RecordKind } from '../../../src/change/record-batch.ts';
import type { SinkRecord } from '../../../src/change/record.ts';
import { ByteArena } from '../../../src/util/byte-arena.ts';

/** Operations, each with rows of so many bytes; a delete has a tombstone. */
const operations = fc.array(
  fc.record({
    index: fc.nat(1_000_000),
    rows: fc.array(fc.record({ row: fc.option(fc.nat(2 ** 31 - 1)), bytes: fc.nat(90), isDelete: fc.boolean() }), {
      maxLength: 8,
    }),
  }),
  { maxLength: 12 },
);

/** As a format fills it. */
function fill(batch: RecordBatch, given: readonly Operation[]): SinkRecord[] {
  const expected: SinkRecord[] = [];
  for (const { index, rows } of given) {
    const [table, position, timestampMs] = [`table ${index % 3}`, `tablet/3.${index}.`, index];
    batch.begin(table, position, timestampMs);
    for (const { row, bytes, isDelete } of rows) {
      const [key, value] = [Buffer.from(`key ${row}`), Buffer.alloc(bytes, index % 251)];
      batch.reserve(key.length + value.length + (index % 5 === 0 ? 100_000 : 20)); // as an encoder that cannot know
      const { at } = batch;
      batch.bytes.set(key, at);
      batch.bytes.set(value, at + key.length);
      batch.add(RecordKind.ROW, row, at, at + key.length, at + key.length + value.length);
      const one = { table, key, position: position + (row === null ? '' : String(row)), timestampMs };
      expected.push({ kind: 'row', ...one, value });
      if (!isDelete) continue;
      batch.addTombstone();
      expected.push({ kind: 'tombstone', ...one, value: null });
    }
  }
  return expected;
}

type Operation = typeof operations extends fc.Arbitrary<(infer T)[]> ? T : never;

describe('RecordBatch', () => {
  it('gives back what was put in, wherever memory ends, beside other batches in the same arena', () => {
    fc.assert(
      fc.property(fc.array(operations, { maxLength: 4 }), fc.integer({ min: 1, max: 400 }), (all, chunkBytes) => {
        const arena = new ByteArena(chunkBytes);
        const filled = all.map((given) => {
          const batch = new RecordBatch(arena, 1);
          return { batch, expected: fill(batch, given) };
        });
        for (const { batch, expected } of filled) {
          assert.deepEqual([...batch], expected);
          assert.equal(batch.length, expected.length);
          const bytes = expected.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
          assert.equal(batch.byteLength, bytes);
          for (const [i, { position }] of expected.entries()) {
            const out = Buffer.alloc(60);
            assert.equal(batch.positionBytes(i), position.length);
            assert.equal(out.toString('latin1', 3, batch.writePosition(i, out, 3)), position);
          }
          assert.deepEqual([...RecordBatch.of(batch)], expected, 'and copied');
        }
      }),
    );
  });

  it('lends its memory until it is released, and then to others', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ given: operations, releases: fc.nat(3) }), { maxLength: 12 }),
        fc.integer({ min: 1, max: 400 }),
        (all, chunkBytes) => {
          const arena = new ByteArena(chunkBytes);
          const alive: { readonly batch: RecordBatch; readonly expected: SinkRecord[] }[] = [];
          for (const { given, releases } of all) {
            const batch = new RecordBatch(arena, 1);
            alive.push({ batch, expected: fill(batch, given) });
            for (let i = 0; i < releases; i++) alive.splice((i * 7) % Math.max(1, alive.length), 1)[0]?.batch.release();
            for (const one of alive) assert.deepEqual([...one.batch], one.expected);
          }
        },
      ),
    );
    const [arena, chunks] = [new ByteArena(100), new Set<Buffer>()];
    for (let i = 0; i < 50; i++) {
      const batch = new RecordBatch(arena);
      fill(batch, [{ index: 1, rows: Array(6).fill({ row: 1, bytes: 30, isDelete: false }) as Operation['rows'] }]);
      for (let record = 0; record < batch.length; record++) chunks.add(batch.runOf(record).bytes);
      batch.release();
    }
    assert.ok(chunks.size < 10, `${chunks.size} chunks for 50 batches`);
  });

  it('places a record, and its tombstone, by the bytes that it is told, or by its key', () => {
    const batch = new RecordBatch(new ByteArena(100));
    batch.begin('t', 'tablet/1.1.', 0);
    const route = (i: number): string =>
      batch.runOf(i).bytes.toString('latin1', batch.routeStart(i), batch.routeEnd(i));
    for (const row of [0, 1]) {
      batch.reserve(row === 0 ? 10 : 70_000);
      const { at } = batch;
      batch.bytes.write('keyvalue', at);
      batch.add(RecordKind.ROW, row, at, at + 3, at + 8);
      if (row === 1) batch.routeBy(at + 3, at + 5);
    }
    batch.addTombstone();
    assert.deepEqual([0, 1, 2].map(route), ['key', 'va', 'va']);
    const picked = batch.pick([1, 2]);
    assert.deepEqual([...picked], [...batch].slice(1));
    assert.equal(
      picked.runOf(0).bytes.toString('latin1', picked.routeStart(0), picked.routeEnd(0)),
      'va',
      'a part of them too',
    );
    assert.equal(picked.byteLength, 8 + 3);
  });

  it('is full when it has many records, or many bytes', () => {
    const row: SinkRecord = { kind: 'row', table: 't', key: NONE, value: NONE, position: 'p', timestampMs: 0 };
    const many = RecordBatch.of(Array<SinkRecord>(1999).fill(row));
    assert.equal(many.isFull, false);
    many.append(row);
    assert.equal(many.isFull, true);
    assert.equal(RecordBatch.of([{ ...row, value: Buffer.alloc((2 << 20) - 1) }]).isFull, false);
    assert.equal(RecordBatch.of([{ ...row, value: Buffer.alloc(2 << 20) }]).isFull, true);
  });

  it('keeps which schema is the first, and that a mark has no value; takes none from a tombstone nor a row without one', () => {
    const schema: SinkRecord = { kind: 'schema', table: 't', key: NONE, value: NONE, position: 'p', timestampMs: 1 };
    const records = [
      schema,
      { ...schema, isFirst: true as const },
      { ...schema, kind: 'resolved' as const, value: null },
    ];
    assert.deepEqual([...RecordBatch.of(records)], records);
    assert.throws(() => RecordBatch.of([{ ...schema, kind: 'tombstone' }]), /a tombstone with a value/);
    assert.throws(() => RecordBatch.of([{ ...schema, kind: 'row', value: null }]), /a row without a value/);
  });
});

const NONE = Buffer.alloc(0);
