import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { SinkRecord } from '../../../../../src/change/record.ts';
import { readStoredBatches, type StoredBatch } from '../../../../../src/sinks/kafka/wire/record-batch-reader.ts';
import { ByteReader } from '../../../../../src/sinks/kafka/wire/bytes.ts';
import {
  encodeProduceRequest,
  recordBytesBound,
  type PartitionBatch,
} from '../../../../../src/sinks/kafka/wire/record-batch.ts';
import { partitionBatch } from '../../../../support/kafka-batches.ts';

// Somebody else's reading of the same bytes: kafkajs's.
const require = createRequire(import.meta.url);
const Decoder = require('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => object;
const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder') as (decoder: object) => Promise<Decoded>;
const crc32cOfKafkajs = require('kafkajs/src/protocol/recordBatch/crc32C') as (bytes: Buffer) => number;

interface Decoded {
  readonly magicByte: number;
  readonly attributes?: number;
  readonly inTransaction: boolean;
  readonly producerId: string;
  readonly producerEpoch: number;
  readonly firstSequence: number;
  readonly maxTimestamp: string;
  readonly records: readonly {
    readonly offset: string;
    readonly timestamp: string;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers: Record<string, Buffer>;
  }[];
}

const OPTIONS = { transactionalId: 'spoor.s.t', producerId: 2n ** 40n + 3n, epoch: 513, timeoutMs: 4000 };

const record = fc
  .record({
    key: fc.uint8Array({ minLength: 1, maxLength: 200 }),
    value: fc.option(fc.uint8Array({ maxLength: 20_000 })),
    position: fc.stringMatching(/^[0-9a-f]{32}\/\d{1,19}\.\d{1,19}\.\d{1,6}$/),
    timestampMs: fc.oneof(
      fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
      fc.integer({ min: 0, max: 2 ** 43 }),
    ),
  })
  .map(({ key, value, position, timestampMs }): SinkRecord => ({
    kind: value ? 'row' : 'tombstone',
    table: 't',
    key: Buffer.from(key),
    value: value && Buffer.from(value),
    position,
    timestampMs,
  }));

function readRequest(bytes: Buffer) {
  const r = new ByteReader(bytes);
  const head = { transactionalId: r.nullableString(), acks: r.int16(), timeoutMs: r.int32() };
  const batches: { topic: string; partition: number; bytes: Buffer }[] = [];
  r.array(() => {
    const topic = r.string();
    r.array(() => {
      const partition = r.int32();
      const batch = Buffer.from(Array.from({ length: r.int32() }, () => r.int8()));
      batches.push({ topic, partition, bytes: batch });
    });
  });
  assert.throws(() => r.int8(), RangeError, 'nothing behind the last batch');
  return { head, batches };
}

function recordsOf({ records }: StoredBatch): unknown[] {
  return [...records];
}

describe('encodeProduceRequest', () => {
  it('writes what another implementation reads, whatever the records', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { minLength: 1, maxLength: 20 }),
        fc.nat(2 ** 31 - 1),
        async (records, baseSequence) => {
          const request = encodeProduceRequest([partitionBatch('cdc.t', 2, records, baseSequence)], OPTIONS);
          const { head, batches } = readRequest(request);
          assert.deepEqual(head, { transactionalId: OPTIONS.transactionalId, acks: -1, timeoutMs: 4000 });
          assert.equal(batches.length, 1);
          const { topic, partition, bytes } = batches[0]!;
          assert.deepEqual([topic, partition], ['cdc.t', 2]);
          assert.equal(bytes.readUInt32BE(17), crc32cOfKafkajs(bytes.subarray(21)) >>> 0, 'checksum');
          assert.equal(bytes.readInt32BE(8), bytes.length - 12, 'length');
          const batch = await decodeBatch(new Decoder(bytes));
          assert.equal(batch.inTransaction, true);
          assert.deepEqual(
            [batch.producerId, batch.producerEpoch, batch.firstSequence],
            [OPTIONS.producerId.toString(), OPTIONS.epoch, baseSequence],
          );
          assert.equal(batch.maxTimestamp, String(Math.max(...records.map(({ timestampMs }) => timestampMs))));
          assert.deepEqual(
            batch.records.map(({ offset, timestamp, key, value, headers }) => ({
              offset,
              timestamp,
              key,
              value,
              headers,
            })),
            records.map(({ key, value, position, timestampMs }, i) => ({
              offset: String(i),
              timestamp: String(timestampMs),
              key,
              value,
              headers: { 'spoor.pos': Buffer.from(position) },
            })),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('puts the partitions of a topic behind each other, and is not transactional without a transaction', async () => {
    const one: SinkRecord = {
      kind: 'row',
      table: 't',
      key: Buffer.from('k'),
      value: Buffer.from('v'),
      position: 't/1.1.0',
      timestampMs: 5,
    };
    const batch = (topic: string, partition: number): PartitionBatch => partitionBatch(topic, partition, [one]);
    const request = encodeProduceRequest([batch('a', 0), batch('b', 0), batch('a', 7)], {
      ...OPTIONS,
      transactionalId: null,
    });
    const { head, batches } = readRequest(request);
    assert.equal(head.transactionalId, null);
    assert.deepEqual(
      batches.map(({ topic, partition }) => `${topic}/${partition}`),
      ['a/0', 'a/7', 'b/0'],
    );
    assert.equal((await decodeBatch(new Decoder(batches[0]!.bytes))).inTransaction, false);
  });

  for (const compression of ['gzip', 'snappy', 'lz4'] as const)
    it(`may compress its records with ${compression}, where they become less`, () => {
      fc.assert(
        fc.property(fc.array(record, { minLength: 1, maxLength: 30 }), (records) => {
          const batch = partitionBatch('t', 0, records);
          const [raw, packed] = [{}, { compression }].map(
            (more) => readRequest(encodeProduceRequest([batch], { ...OPTIONS, ...more })).batches[0]!.bytes,
          ) as [Buffer, Buffer];
          assert.equal(packed.readUInt32BE(17), crc32cOfKafkajs(packed.subarray(21)) >>> 0, 'checksum');
          assert.equal(packed.readInt32BE(8), packed.length - 12, 'length');
          assert.ok(packed.length <= raw.length);
          if (packed.length === raw.length) assert.deepEqual(packed, raw);
          const [ofRaw, ofPacked] = [raw, packed].map((bytes) => [...readStoredBatches(bytes)].map(recordsOf));
          assert.deepEqual(ofPacked, ofRaw);
        }),
        { numRuns: 60 },
      );
    });

  it('never takes more than the bound by which batches are filled', () => {
    fc.assert(
      fc.property(record, (one) => {
        const batch = partitionBatch('t', 0, [one]);
        const { bytes } = readRequest(encodeProduceRequest([batch], OPTIONS)).batches[0]!;
        assert.ok(bytes.length - 61 <= recordBytesBound(batch.parts[0]!.batch, 0));
      }),
      { numRuns: 50 },
    );
  });

  it('writes a mark without a key, and what is resolved in a header of its own', async () => {
    const mark: SinkRecord = {
      kind: 'resolved',
      table: 't',
      key: Buffer.alloc(0),
      value: Buffer.from('{}'),
      position: 'tablet/123',
      timestampMs: 5,
    };
    const bytes = encodeProduceRequest([partitionBatch('t', 0, [mark])], OPTIONS);
    const { records } = await decodeBatch(new Decoder(readRequest(bytes).batches[0]!.bytes));
    assert.equal(records[0]!.key, null);
    assert.deepEqual(
      Object.entries(records[0]!.headers).map(([name, value]) => `${name}=${String(value)}`),
      ['spoor.resolved=tablet/123'],
    );
  });
});
