import { crc32c } from '@node-rs/crc32';
import { RecordKind, type RecordBatch } from '../../../change/record-batch.ts';
import { copyBytes } from '../../../util/byte-arena.ts';
import { compressRecords, type Compression } from './compression.ts';

/** The header in which every record carries its position. */
export const POSITION_HEADER = Buffer.from('spoor.pos', 'latin1');
/** The one in which a mark says what is resolved, in its place. */
const RESOLVED_HEADER = Buffer.from('spoor.resolved', 'latin1');
/** Bytes of a batch before its first record. */
export const BATCH_HEADER_BYTES = 61;
/** A bit of a batch's attributes. */
export const TRANSACTIONAL = 0x10;
/** Length -1. */
const NULL_VARINT = 0x01;

/** Some of a batch's records, by their places in it, in order. */
export interface RecordPart {
  readonly batch: RecordBatch;
  readonly records: readonly number[];
}

/** Records of one partition, to be appended as one batch. */
export interface PartitionBatch {
  readonly topic: string;
  readonly partition: number;
  readonly parts: readonly RecordPart[];
  /** How many records there are in them. */
  readonly count: number;
  /** Sequence number of the first record; the broker takes batches of a producer in this order and each one once. */
  readonly baseSequence: number;
}

export interface ProduceOptions {
  /** Null outside a transaction. */
  readonly transactionalId: string | null;
  readonly producerId: bigint;
  readonly epoch: number;
  /** How long the broker may wait for its replicas. */
  readonly timeoutMs: number;
  /** None where it is not given. */
  readonly compression?: Compression;
  /** Where the request is written, which takes so many bytes at most. By default, memory of its own. */
  readonly memory?: (bytes: number) => Buffer;
}

/** At most this many bytes does a record take in a batch: its own and its headers' lengths. */
export function recordBytesBound(batch: RecordBatch, i: number): number {
  return batch.end(i) - batch.keyStart(i) + batch.positionBytes(i) + RESOLVED_HEADER.length + 48;
}

/**
 * Encodes a Produce request (version 8, acks = all, timestamps as given), every batch straight into the
 * request's memory: lengths are known only afterwards, so each is left open and filled in.
 *
 * Why not kafkajs's own: it takes a buffer for every record and every header, copies a batch six times and computes
 * its checksum in JavaScript; it costs more than everything else in Spoor together.
 * Source: org.apache.kafka.common.record.DefaultRecordBatch and DefaultRecord; ProduceRequest.json.
 */
export function encodeProduceRequest(batches: readonly PartitionBatch[], options: ProduceOptions): Buffer {
  let bound = 32 + Buffer.byteLength(options.transactionalId ?? '');
  for (const batch of batches) {
    bound += 2 + Buffer.byteLength(batch.topic) + 16 + BATCH_HEADER_BYTES;
    for (const { batch: of, records } of batch.parts)
      for (const record of records) bound += recordBytesBound(of, record);
  }
  const out = (options.memory ?? Buffer.allocUnsafe)(bound);
  let at = writeNullableString(out, 0, options.transactionalId);
  at = out.writeInt16BE(-1, at); // acks: every in-sync replica
  at = out.writeInt32BE(options.timeoutMs, at);
  const topics = new Map<string, PartitionBatch[]>();
  for (const batch of batches) {
    const ofTopic = topics.get(batch.topic);
    if (ofTopic === undefined) topics.set(batch.topic, [batch]);
    else ofTopic.push(batch);
  }
  at = out.writeInt32BE(topics.size, at);
  for (const [topic, ofTopic] of topics) {
    at = writeNullableString(out, at, topic);
    at = out.writeInt32BE(ofTopic.length, at);
    for (const batch of ofTopic) {
      at = out.writeInt32BE(batch.partition, at);
      const start = at + 4;
      const end = writeBatch(out, start, batch, options);
      out.writeInt32BE(end - start, at);
      at = end;
    }
  }
  return out.subarray(0, at);
}

function writeBatch(
  out: Buffer,
  start: number,
  { parts, count, baseSequence }: PartitionBatch,
  options: ProduceOptions,
): number {
  const [first] = parts;
  const baseTimestamp = first!.batch.runOf(first!.records[0]!).timestampMs;
  let maxTimestamp = baseTimestamp;
  let at = start + BATCH_HEADER_BYTES;
  let offsetDelta = 0;
  for (const { batch, records } of parts)
    for (let i = 0; i < records.length; i++) {
      const record = records[i]!;
      const { timestampMs } = batch.runOf(record);
      if (timestampMs > maxTimestamp) maxTimestamp = timestampMs;
      at = writeRecord(out, at, batch, record, offsetDelta++, timestampMs - baseTimestamp);
    }
  const compressed = compressRecords(options.compression ?? 'none', out.subarray(start + BATCH_HEADER_BYTES, at));
  if (compressed) at = start + BATCH_HEADER_BYTES + compressed.stored.copy(out, start + BATCH_HEADER_BYTES);
  const transactional = options.transactionalId === null ? 0 : TRANSACTIONAL;
  out.writeBigInt64BE(0n, start); // base offset: the broker's to give
  out.writeInt32BE(at - start - 12, start + 8); // length of all that follows
  out.writeInt32BE(-1, start + 12); // leader epoch: the broker's to give
  out[start + 16] = 2; // magic
  out.writeInt16BE(transactional | (compressed?.codec ?? 0), start + 21);
  out.writeInt32BE(count - 1, start + 23);
  out.writeBigInt64BE(BigInt(baseTimestamp), start + 27);
  out.writeBigInt64BE(BigInt(maxTimestamp), start + 35);
  out.writeBigInt64BE(options.producerId, start + 43);
  out.writeInt16BE(options.epoch, start + 51);
  out.writeInt32BE(baseSequence, start + 53);
  out.writeInt32BE(count, start + 57);
  out.writeUInt32BE(crc32c(out.subarray(start + 21, at)), start + 17);
  return at;
}

/** Record => length varint, attributes i8, timestamp delta varlong, offset delta varint, key, value, headers. */
function writeRecord(
  out: Buffer,
  start: number,
  batch: RecordBatch,
  i: number,
  offsetDelta: number,
  timestampDelta: number,
): number {
  const { bytes } = batch.runOf(i);
  const kind = batch.kindOf(i);
  const keyStart = batch.keyStart(i);
  const valueStart = batch.valueStart(i);
  const keyBytes = kind === RecordKind.RESOLVED ? -1 : valueStart - keyStart;
  const valueBytes = batch.hasValue(i) ? batch.end(i) - valueStart : -1;
  const header = kind === RecordKind.RESOLVED ? RESOLVED_HEADER : POSITION_HEADER;
  const positionBytes = batch.positionBytes(i);
  const body =
    1 +
    varlongBytes(timestampDelta) +
    varintBytes(offsetDelta) +
    (keyBytes < 0 ? 1 : varintBytes(keyBytes) + keyBytes) +
    (valueBytes < 0 ? 1 : varintBytes(valueBytes) + valueBytes) +
    1 + // one header
    1 +
    header.length +
    varintBytes(positionBytes) +
    positionBytes;
  let at = writeVarint(out, start, body);
  out[at++] = 0;
  at = writeVarlong(out, at, timestampDelta);
  at = writeVarint(out, at, offsetDelta);
  if (keyBytes < 0) out[at++] = NULL_VARINT;
  else at = copyBytes(out, writeVarint(out, at, keyBytes), bytes, keyStart, valueStart);
  if (valueBytes < 0) out[at++] = NULL_VARINT;
  else at = copyBytes(out, writeVarint(out, at, valueBytes), bytes, valueStart, valueStart + valueBytes);
  at = writeVarint(out, at, 1);
  at = writeVarint(out, at, header.length);
  at = copyBytes(out, at, header, 0, header.length);
  return batch.writePosition(i, out, writeVarint(out, at, positionBytes));
}

/** Zigzag varint of a length or count: 0 .. 2^30. */
function writeVarint(out: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value << 1;
  while (rest > 0x7f) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}

function varintBytes(value: number): number {
  return value < 1 << 6 ? 1 : value < 1 << 13 ? 2 : value < 1 << 20 ? 3 : value < 1 << 27 ? 4 : 5;
}

/** Zigzag varlong of any safe integer: timestamps may go back, and leap by years. */
function writeVarlong(out: Buffer, start: number, value: number): number {
  if (value >= 0 && value < 1 << 29) return writeVarint(out, start, value);
  let at = start;
  let rest = zigzag64(value);
  while (rest > 0x7fn) {
    out[at++] = Number(rest & 0x7fn) | 0x80;
    rest >>= 7n;
  }
  out[at++] = Number(rest);
  return at;
}

function varlongBytes(value: number): number {
  if (value >= 0 && value < 1 << 29) return varintBytes(value);
  let bytes = 1;
  for (let rest = zigzag64(value); rest > 0x7fn; rest >>= 7n) bytes++;
  return bytes;
}

function zigzag64(value: number): bigint {
  const wide = BigInt(value);
  return BigInt.asUintN(64, (wide << 1n) ^ (wide >> 63n));
}

function writeNullableString(out: Buffer, at: number, text: string | null): number {
  if (text === null) return out.writeInt16BE(-1, at);
  const length = out.write(text, at + 2, 'utf8');
  out.writeInt16BE(length, at);
  return at + 2 + length;
}
