import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RecordBatch } from '../../../../src/change/record-batch.ts';
import type { SinkRecord } from '../../../../src/change/record.ts';
import { planRequests, type PlannedBatch } from '../../../../src/sinks/kafka/batch-planner.ts';
import type { Topic } from '../../../../src/sinks/kafka/cluster.ts';
import { partitionForKey } from '../../../../src/sinks/kafka/murmur2.ts';
import { recordBytesBound } from '../../../../src/sinks/kafka/wire/record-batch.ts';

const TOPICS: Record<string, Topic> = {
  a: { name: 'a', id: null, leaders: [0, 0, 0] },
  b: { name: 'b', id: null, leaders: [0] },
};
const topicOf = ({ table }: { readonly table: string }): Topic | null => TOPICS[table] ?? null;

/** As it is used. */
function plan(records: readonly SinkRecord[], limit: number, topic = topicOf): PlannedBatch[][] {
  const batch = RecordBatch.of(records);
  return planRequests(
    batch,
    (i) => topic(batch.runOf(i)),
    () => limit,
  );
}

function recordsOf({ parts }: PlannedBatch): SinkRecord[] {
  return parts.flatMap(({ batch, records }) => records.map((record) => batch.record(record)));
}

const record = fc
  .record({ table: fc.constantFrom('a', 'b', 'left out'), id: fc.nat(9), size: fc.nat(300) })
  .map(({ table, id, size }): SinkRecord => {
    const key = Buffer.from(`${id}`);
    return { kind: 'row', table, key, value: Buffer.alloc(size), position: 't/1.1.0', timestampMs: 0 };
  });

describe('planRequests', () => {
  it('keeps every record, in the order of its partition, in batches that fit, one a partition and request', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 60 }), fc.integer({ min: 1, max: 1000 }), (records, limit) => {
        const requests = plan(records, limit);
        const found = new Map<string, SinkRecord[]>();
        for (const request of requests) {
          const places = request.map(({ topic, partition }) => `${topic.name}/${partition}`);
          assert.equal(new Set(places).size, places.length, 'one batch a partition');
          for (const [i, batch] of request.entries()) {
            assert.ok(batch.count === 1 || batch.bytes <= limit, 'fits, or is alone');
            assert.equal(
              batch.bytes,
              batch.parts
                .flatMap((part) => part.records.map((i) => recordBytesBound(part.batch, i)))
                .reduce((sum, bytes) => sum + bytes),
            );
            found.set(places[i]!, [...(found.get(places[i]!) ?? []), ...recordsOf(batch)]);
          }
        }
        const expected = new Map<string, SinkRecord[]>();
        for (const one of records) {
          const topic = topicOf(one);
          if (topic === null) continue;
          const place = `${topic.name}/${partitionForKey(one.key, topic.leaders.length)}`;
          expected.set(place, [...(expected.get(place) ?? []), one]);
        }
        assert.deepEqual(found, expected);
      }),
    );
  });

  it('bounds a request as well, however many partitions there are', () => {
    const wide: Topic = { name: 'wide', id: null, leaders: Array.from({ length: 64 }, () => 0) };
    const records = Array.from({ length: 640 }, (_, i): SinkRecord => {
      const key = Buffer.from(`key ${i}`);
      return { kind: 'row', table: 'wide', key, value: Buffer.alloc(10_000), position: 't/1.1.0', timestampMs: 0 };
    });
    const requests = plan(records, 512 * 1024, () => wide);
    assert.ok(requests.length > 1);
    for (const request of requests) assert.ok(request.reduce((sum, { bytes }) => sum + bytes, 0) <= 2 * 1024 * 1024);
  });

  it('puts a mark into every partition, behind what came before it', () => {
    const row = (id: number): SinkRecord => {
      const key = Buffer.from(`${id}`);
      return { kind: 'row', table: 'a', key, value: Buffer.of(1), position: 't/1.1.0', timestampMs: 0 };
    };
    const mark: SinkRecord = { ...row(0), kind: 'resolved', key: Buffer.alloc(0), position: 't/7' };
    const rows = Array.from({ length: 20 }, (_, id) => row(id));
    const [request, ...rest] = plan([...rows, mark], 100_000);
    assert.equal(rest.length, 0);
    assert.deepEqual(request!.map(({ partition }) => partition).sort(), [0, 1, 2]);
    for (const batch of request!)
      assert.deepEqual(
        recordsOf(batch).map(({ kind }, i) => (kind === 'resolved') === (i === batch.count - 1)),
        Array(batch.count).fill(true),
      );
  });
});
