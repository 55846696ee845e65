import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RecordBatch, RecordKind } from '../../../../src/change/record-batch.ts';
import { planRequests, type PlannedBatch } from '../../../../src/sinks/kafka/batch-planner.ts';
import { BatchesInUse } from '../../../../src/sinks/kafka/batches-in-use.ts';
import type { Topic } from '../../../../src/sinks/kafka/cluster.ts';
import { ByteArena } from '../../../../src/util/byte-arena.ts';

const TOPIC: Topic = { name: 't', id: null, leaders: [0, 0, 0] };

/** Rows of these widths, each of which says which one it is. */
function encode(arena: ByteArena, first: number, widths: readonly number[]): RecordBatch {
  const batch = new RecordBatch(arena, widths.length);
  batch.begin('t', 'tablet/1.1.', 0);
  for (const [i, width] of widths.entries()) {
    batch.reserve(4 + width);
    const { bytes, at } = batch;
    bytes.writeInt32LE(first + i, at);
    bytes.fill(first + i, at + 4, at + 4 + width);
    batch.add(RecordKind.ROW, i, at, at + 4, at + 4 + width);
  }
  return batch;
}

describe('memory of records that brokers have', () => {
  it('is never that of records which are to be sent or may be sent again, in whatever order answers come, and goes round', () => {
    const widths = fc.array(fc.nat(300), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fc.array(widths, { minLength: 1, maxLength: 30 }), fc.infiniteStream(fc.nat(3)), (batches, which) => {
        const arena = new ByteArena(512);
        const inUse = new BatchesInUse();
        const onTheWay: (readonly PlannedBatch[])[] = [];
        const check = (request: readonly PlannedBatch[]): void => {
          for (const { parts } of request)
            for (const { batch, records } of parts)
              for (const record of records) {
                const { key, value, position } = batch.record(record);
                assert.equal(position, `tablet/1.1.${record}`);
                assert.ok(value!.every((byte) => byte === (key.readInt32LE() & 0xff)));
              }
        };
        const answer = (): void => {
          const [request] = onTheWay.splice(which.next().value! % onTheWay.length, 1);
          check(request!);
          inUse.answered(request!);
          onTheWay.forEach(check);
        };
        let first = 0;
        const chunks = new Set<Buffer>();
        for (const rows of batches) {
          const batch = encode(arena, first, rows);
          first += rows.length;
          for (let i = 0; i < batch.length; i++) chunks.add(batch.runOf(i).bytes);
          const planned = planRequests(
            batch,
            () => TOPIC,
            () => 600,
          );
          inUse.planned(batch, planned);
          for (const request of planned) {
            while (onTheWay.length >= 3) answer();
            check(request);
            onTheWay.push(request);
          }
        }
        while (onTheWay.length > 0) answer();
        // Three requests and what is about to be one more, of 300 bytes and more a row: the memory of a large write is no larger.
        assert.ok(chunks.size <= 40, `${chunks.size} chunks`);
      }),
    );
  });
});
