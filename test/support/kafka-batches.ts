import { compressFrameSync } from 'lz4-napi';
import { gzipSync } from 'node:zlib';
import { compressSync } from 'snappy';
import { RecordBatch } from '../../src/change/record-batch.ts';
import type { SinkRecord } from '../../src/change/record.ts';
import { ByteReader, ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import { encodeProduceRequest, type PartitionBatch } from '../../src/sinks/kafka/wire/record-batch.ts';
import { crc32c } from '../../src/util/crc32c.ts';

/* Batches as a broker keeps them, of producers that we are not. */

export interface BatchSettings {
  readonly producerId?: bigint;
  readonly transactional?: boolean;
}

/** The batch that the sink would write for these records, after the broker gave it its first offset. */
export function batchOf(offset: bigint, records: readonly SinkRecord[], settings: BatchSettings = {}): Buffer {
  const request = encodeProduceRequest([partitionBatch('t', 0, records)], {
    transactionalId: settings.transactional === true ? 'id' : null,
    producerId: settings.producerId ?? 1n,
    epoch: 0,
    timeoutMs: 0,
  });
  const r = new ByteReader(request);
  r.nullableString();
  r.int16(); // acks
  for (let field = 0; field < 2; field++) r.int32(); // time-out, count of topics
  r.string();
  for (let field = 0; field < 2; field++) r.int32(); // count of partitions, partition
  const batch = Buffer.from(r.bytes());
  batch.writeBigInt64BE(offset, 0);
  return batch;
}

export interface RawRecord {
  /** From the batch's first offset. */
  readonly delta: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: readonly (readonly [name: string, value: string | null])[];
}

export interface RawBatch extends BatchSettings {
  readonly offset: bigint;
  /** The delta of the last record that it once had. */
  readonly lastDelta: number;
  readonly records: readonly RawRecord[];
  readonly control?: boolean;
  readonly codec?: number;
}

/** Any batch at all: with the gaps that compaction leaves, with nulls, of other producers' making. */
export function rawBatch(batch: RawBatch): Buffer {
  const body = new ByteWriter();
  for (const { delta, key, value, headers = [] } of batch.records) {
    const w = new ByteWriter().int8(0);
    varint(w, 0);
    varint(w, delta);
    varbytes(w, key);
    varbytes(w, value);
    varint(w, headers.length);
    for (const [name, text] of headers) {
      varbytes(w, Buffer.from(name));
      varbytes(w, text === null ? null : Buffer.from(text));
    }
    varbytes(body, w.finish());
  }
  const codec = batch.codec ?? 0;
  const attributes = codec | (batch.transactional === true ? 0x10 : 0) | (batch.control === true ? 0x20 : 0);
  const stored = compress(codec, body.finish());
  const w = new ByteWriter().int64(batch.offset).int32(49 + stored.length);
  w.int32(0).int8(2).int32(0).int16(attributes).int32(batch.lastDelta).int64(0n).int64(0n);
  w.int64(batch.producerId ?? -1n)
    .int16(0)
    .int32(-1)
    .int32(batch.records.length);
  return sealed(Buffer.concat([w.finish(), stored]));
}

/** The end of a transaction. `unread`: compaction has taken the record out of its batch. */
export function markerOf(offset: bigint, producerId: bigint, end: 'commit' | 'abort', unread = false): Buffer {
  const key = Buffer.from([0, 0, 0, end === 'commit' ? 1 : 0]);
  const records = unread ? [] : [{ delta: 0, key, value: Buffer.alloc(6) }];
  return rawBatch({ offset, lastDelta: 0, records, producerId, transactional: true, control: true });
}

/** The same records, compressed by the codec of that number. */
export function recompressed(batch: Buffer, codec: number, compressor = compress): Buffer {
  const all = Buffer.concat([batch.subarray(0, 61), compressor(codec, batch.subarray(61))]);
  all.writeInt32BE(all.length - 12, 8);
  all.writeInt16BE(all.readInt16BE(21) | codec, 21);
  return sealed(all);
}

/** With the checksum that its bytes have. */
export function sealed(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch, 21), 17);
  return batch;
}

function xerial(blocks: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [Buffer.from('\x82SNAPPY\0\0\0\0\x01\0\0\0\x01', 'latin1')];
  for (const block of blocks) {
    const stored = compressSync(block);
    const length = Buffer.alloc(4);
    length.writeInt32BE(stored.length);
    parts.push(length, stored);
  }
  return Buffer.concat(parts);
}

function compress(codec: number, raw: Buffer): Buffer {
  if (codec === 1) return gzipSync(raw);
  if (codec === 2) return xerial([raw.subarray(0, 100), raw.subarray(100)]);
  if (codec === 3) return compressFrameSync(raw);
  return raw;
}

function varint(w: ByteWriter, value: number): void {
  w.unsignedVarint(((value << 1) ^ (value >> 31)) >>> 0);
}

function varbytes(w: ByteWriter, bytes: Buffer | null): void {
  varint(w, bytes === null ? -1 : bytes.length);
  for (const byte of bytes ?? []) w.int8((byte << 24) >> 24);
}

/** Records as they go into one batch of a partition. */
export function partitionBatch(
  topic: string,
  partition: number,
  records: readonly SinkRecord[],
  baseSequence = 0,
): PartitionBatch {
  const parts = [{ batch: RecordBatch.of(records), records: [...records.keys()] }];
  return { topic, partition, parts, count: records.length, baseSequence };
}
