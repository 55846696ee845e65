import { crc32c } from '../../../util/crc32c.ts';
import { decompressRecords } from './compression.ts';
import type { AbortedTransaction } from './fetch.ts';
import { BATCH_HEADER_BYTES, POSITION_HEADER, TRANSACTIONAL } from './record-batch.ts';

/** A record as it lies in a partition; key and value are copies. */
export interface FetchedRecord {
  readonly offset: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly position: string | null;
  /** Null where the topic has the broker's time instead of the writer's (`message.timestamp.type=LogAppendTime`). */
  readonly timestampMs: number | null;
}

/** What a `read_committed` consumer makes of one batch. */
export interface CommittedBatch {
  /** Where to go on behind it. */
  readonly nextOffset: bigint;
  /** None for a control batch, or one of an aborted transaction. */
  readonly records: readonly FetchedRecord[];
}

/** Offset and length, which a checksum does not cover: so much tells whether a batch is whole. */
const LENGTH_END = 12;
const CODEC_MASK = 0x07;
const CONTROL = 0x20;
const LOG_APPEND_TIME = 0x08;
const ABORT = 0;

/**
 * Reads what a fetch answered, batch by batch, oldest first; the beginning of a batch at the end is left out. A batch is
 * decompressed when it is asked for.
 *
 * A transaction's records lie among those of others, and only the marker behind them says how it ended: so the broker
 * tells the aborted ones of the range. Its list is in the order of their markers, not of their first records, and
 * holds only what the range touches: it is good for this answer and no other.
 * @throws {Error} bytes that are no batch of format 2 or do not match their checksum; a codec that is not known
 * Source: org.apache.kafka.common.record.DefaultRecordBatch, clients.consumer.internals.CompletedFetch
 */
export function* readCommittedBatches(
  bytes: Buffer,
  aborted: readonly AbortedTransaction[],
): Generator<CommittedBatch, void, undefined> {
  const byFirstOffset = [...aborted].sort((a, b) => Number(a.firstOffset - b.firstOffset));
  let begun = 0;
  /** Producers whose records here are those of an aborted transaction. */
  const aborting = new Set<bigint>();
  for (const batch of readBatches(bytes)) {
    // Every transaction that began by now, before a marker of it is looked at: several of one producer follow each other.
    for (; begun < byFirstOffset.length && byFirstOffset[begun]!.firstOffset <= batch.lastOffset; begun++)
      aborting.add(byFirstOffset[begun]!.producerId);
    const isOut = batch.isControl || (batch.isTransactional && aborting.has(batch.producerId));
    if (batch.isControl && isAbortMarker(batch)) aborting.delete(batch.producerId);
    yield { nextOffset: batch.lastOffset + 1n, records: isOut ? [] : readRecords(batch) };
  }
}

/** One batch as it lies in a partition, whatever became of its transaction. */
export interface StoredBatch {
  /** Where to go on behind it. */
  readonly nextOffset: bigint;
  readonly producerId: bigint;
  /**
   * How the producer's open transaction ended here; null for a batch of records. `emptied`: compaction has taken the marker,
   * since nothing of the transaction is left.
   */
  readonly marker: 'commit' | 'abort' | 'emptied' | null;
  readonly records: readonly FetchedRecord[];
}

/**
 * Reads what an `uncommitted` fetch answered, batch by batch, with the markers.
 * @throws {Error} as {@link readCommittedBatches}
 */
export function* readStoredBatches(bytes: Buffer): Generator<StoredBatch, void, undefined> {
  for (const batch of readBatches(bytes)) {
    const { producerId, isControl } = batch;
    const marker = !isControl ? null : batch.count === 0 ? 'emptied' : isAbortMarker(batch) ? 'abort' : 'commit';
    yield { nextOffset: batch.lastOffset + 1n, producerId, marker, records: isControl ? [] : readRecords(batch) };
  }
}

interface Batch {
  readonly baseOffset: bigint;
  /** Of the batch as it was written: compaction may have taken that record. */
  readonly lastOffset: bigint;
  readonly producerId: bigint;
  readonly isTransactional: boolean;
  readonly isControl: boolean;
  readonly codec: number;
  readonly count: number;
  /** To which those of its records are added; null: they are the broker's. */
  readonly baseTimestampMs: number | null;
  /** As stored, perhaps compressed. */
  readonly stored: Buffer;
}

/**
 * Batch, big-endian: i64 base offset, i32 length of what follows, i32 leader epoch, i8 magic 2, u32 crc32c(what follows),
 * i16 attributes, i32 last offset delta, i64 base and i64 largest timestamp, i64 producer id, i16 epoch, i32 base sequence,
 * i32 count of records, records.
 */
function* readBatches(bytes: Buffer): Generator<Batch, void, undefined> {
  let before = -1n;
  for (let at = 0; at + LENGTH_END <= bytes.length;) {
    const baseOffset = bytes.readBigInt64BE(at);
    const end = at + LENGTH_END + bytes.readInt32BE(at + 8);
    if (end > bytes.length) return;
    failOnOldFormat(bytes, at, end);
    if (end - at < BATCH_HEADER_BYTES)
      throw new RangeError(`the batch at offset ${baseOffset.toString()} is too short to be one`);
    if (bytes.readUInt32BE(at + 17) !== crc32c(bytes, at + 21, end))
      throw new RangeError(`the batch at offset ${baseOffset.toString()} does not match its checksum`);
    const attributes = bytes.readInt16BE(at + 21);
    const lastOffset = baseOffset + BigInt(bytes.readInt32BE(at + 23));
    if (baseOffset <= before || lastOffset < baseOffset)
      throw new RangeError(`the batch at offset ${baseOffset.toString()} is not behind offset ${before.toString()}`);
    before = lastOffset;
    yield {
      baseOffset,
      lastOffset,
      producerId: bytes.readBigInt64BE(at + 43),
      isTransactional: (attributes & TRANSACTIONAL) !== 0,
      isControl: (attributes & CONTROL) !== 0,
      codec: attributes & CODEC_MASK,
      count: bytes.readInt32BE(at + 57),
      baseTimestampMs: (attributes & LOG_APPEND_TIME) === 0 ? Number(bytes.readBigInt64BE(at + 27)) : null,
      stored: bytes.subarray(at + BATCH_HEADER_BYTES, end),
    };
    at = end;
  }
}

/** Formats 0 and 1 have their magic in the same place, and a shorter head. */
function failOnOldFormat(bytes: Buffer, at: number, end: number): void {
  if (end - at <= 16) return;
  const magic = bytes.readInt8(at + 16);
  if (magic !== 2)
    throw new RangeError(`the records are in message format ${magic}; Spoor reads format 2 (Kafka 0.11)`);
}

/** Key of a control record: i16 version, i16 type. Compaction may have left a marker's batch without it. */
function isAbortMarker(batch: Batch): boolean {
  const key = readRecords(batch)[0]?.key;
  return key != null && key.length >= 4 && key.readInt16BE(2) === ABORT;
}

/** Record: length varint, attributes i8, timestamp delta varlong, offset delta varint, key, value, headers. */
function readRecords({ codec, stored, count, baseOffset, baseTimestampMs }: Batch): FetchedRecord[] {
  const c = new RecordCursor(decompressRecords(codec, stored));
  const records: FetchedRecord[] = [];
  for (let i = 0; i < count; i++) {
    const length = c.varint();
    const end = c.at + length;
    c.skip(1);
    const sinceBaseMs = c.varlong();
    const timestampMs = baseTimestampMs === null ? null : baseTimestampMs + sinceBaseMs;
    const offset = baseOffset + BigInt(c.varint());
    const key = copyOf(c.nullableBytes());
    const value = copyOf(c.nullableBytes());
    let position: string | null = null;
    for (let headers = c.varint(); headers > 0; headers--) {
      const isPosition = c.nullableBytes()?.equals(POSITION_HEADER) === true;
      const text = c.nullableBytes();
      if (isPosition) position = text && text.toString();
    }
    if (c.at !== end) throw new RangeError(`the record at offset ${offset.toString()} is not as long as it says`);
    records.push({ offset, key, value, position, timestampMs });
  }
  c.failUnlessAtEnd();
  return records;
}

/** What a batch came in is some hundred times as large: it must not live as long as one record that is kept. */
function copyOf(bytes: Buffer | null): Buffer | null {
  return bytes && Buffer.from(bytes);
}

/** Reads the parts of a record. @throws {RangeError} when the bytes end early */
class RecordCursor {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Zigzag, at most 32 bits. */
  varint(): number {
    let raw = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#byte();
      raw |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (raw >>> 1) ^ -(raw & 1);
    }
    throw new RangeError('a number in a record is too long');
  }

  /** Zigzag, at most 64 bits; exact below 2^52. */
  varlong(): number {
    let raw = 0;
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      const byte = this.#byte();
      raw += (byte & 0x7f) * scale;
      if (byte < 0x80) return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2;
    }
    throw new RangeError('a number in a record is too long');
  }

  /** A view. */
  nullableBytes(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    const start = this.at;
    this.skip(length);
    return this.#bytes.subarray(start, this.at);
  }

  skip(count: number): void {
    this.at += count;
    if (this.at > this.#bytes.length) throw new RangeError('a record runs over the end of its batch');
  }

  failUnlessAtEnd(): void {
    if (this.at !== this.#bytes.length) throw new RangeError('a batch has more bytes than records');
  }

  #byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) throw new RangeError('a record runs over the end of its batch');
    this.at++;
    return byte;
  }
}
