import { fromBinary, isFieldSet } from '@bufbuild/protobuf';
import {
  LogSegmentFooterPBSchema,
  LogSegmentHeaderPBSchema,
  type LogSegmentFooterPB,
  type LogSegmentHeaderPB,
} from '../kudu/proto/log_pb.ts';
import { schemaFromPb } from '../kudu/schema-codec.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { crc32c } from '../util/crc32c.ts';
import { codecFromNumber, type Codec } from './compression.ts';

// What the bytes of a segment are; not what they mean: only a reader knows whether the file is still being written.
//
//   8 "kudulogf"   u32 header length   LogSegmentHeaderPB   entry batches   [LogSegmentFooterPB  "closedls"  u32 footer length]
//
// All numbers are little-endian. Zeros follow in a file that is still open: Kudu allocates the whole size at once.
// Source: kudu/consensus/log_util.cc WriteHeader, WriteFooter, DecodeEntryHeader.

const SEGMENT_MAGIC = Buffer.from('kudulogf', 'latin1');
const FOOTER_MAGIC = Buffer.from('closedls', 'latin1');
const ENCRYPTED_MAGIC = Buffer.from('kuduenc', 'latin1');

export const PREAMBLE_BYTES = 12;
const FOOTER_TRAILER_BYTES = 12;
/** Kudu's own bound for header and footer. */
export const MAX_HEADER_BYTES = 8 * 1024 * 1024;
/** A footer has four numbers; Kudu would allow 8 MiB. */
export const MAX_FOOTER_BYTES = 4096;

export interface SegmentHeader {
  readonly tabletId: string;
  /** Counts from 1 in each incarnation of the log, in the file's name too. */
  readonly sequenceNumber: bigint;
  /** Of the time when the segment began, at best: an ALTER may already stand in the log before it (kudu-facts 5.3). */
  readonly schema: TableSchema;
  readonly schemaVersion: number;
  readonly codec: Codec;
  /** 1: batches as Kudu 1.2 and older wrote them, with 12-byte headers and no compression. */
  readonly batchVersion: 1 | 2;
}

export interface SegmentFooter {
  /** Entries, not batches. */
  readonly entryCount: bigint;
  /** Indexes of the REPLICATEs in the segment, or -1 where it has none. */
  readonly minReplicateIndex: bigint;
  readonly maxReplicateIndex: bigint;
}

/** A segment that cannot be read: what is wrong with it decides whose fault that is. */
export type SegmentFault = { readonly kind: 'corrupt' | 'unsupported' | 'encrypted'; readonly why: string };

export type SegmentStart =
  | { readonly kind: 'header'; readonly header: SegmentHeader; readonly endOffset: number }
  /** The file got its name before its header, or is about to get the last byte of it. */
  | { readonly kind: 'unborn' }
  /** `bytes` ends before the header does: call again with at least `needBytes`, or as many as the file has. */
  | { readonly kind: 'short'; readonly needBytes: number }
  | ({ readonly kind: 'fault' } & { readonly fault: SegmentFault });

/** Reads the start of a segment from the first bytes of its file. Does not throw. */
export function readSegmentStart(bytes: Buffer): SegmentStart {
  const known = Math.min(bytes.length, SEGMENT_MAGIC.length);
  if (bytes.subarray(0, PREAMBLE_BYTES).every((byte) => byte === 0)) return { kind: 'unborn' };
  if (bytes.subarray(0, ENCRYPTED_MAGIC.length).equals(ENCRYPTED_MAGIC))
    return fault('encrypted', 'the file is encrypted (encrypt_data_at_rest)');
  if (!bytes.subarray(0, known).equals(SEGMENT_MAGIC.subarray(0, known)))
    return fault('corrupt', `the file begins with ${bytes.toString('hex', 0, known)}, not with "kudulogf"`);
  if (bytes.length < PREAMBLE_BYTES) return { kind: 'short', needBytes: PREAMBLE_BYTES };
  const length = bytes.readUInt32LE(8);
  if (length > MAX_HEADER_BYTES) return fault('corrupt', `the segment header claims ${length} bytes`);
  const endOffset = PREAMBLE_BYTES + length;
  if (bytes.length < endOffset) return { kind: 'short', needBytes: endOffset };
  // The header has no checksum. Caught half written it ends with zeros, which no message does but in its last byte:
  // the value of its last field. Whether that one is meant shows as soon as something is written behind.
  if (bytes[endOffset - 1] === 0 && bytes.subarray(endOffset, endOffset + 16).every((byte) => byte === 0))
    return { kind: 'unborn' };
  let pb: LogSegmentHeaderPB;
  try {
    pb = fromBinary(LogSegmentHeaderPBSchema, bytes.subarray(PREAMBLE_BYTES, endOffset));
  } catch (error) {
    return fault('corrupt', `the segment header cannot be read: ${messageOf(error)}`);
  }
  if (pb.incompatibleFeatures.length > 0)
    return fault('unsupported', `the segment has incompatible features ${pb.incompatibleFeatures.join(', ')}`);
  const codec = codecFromNumber(pb.compressionCodec);
  if (codec === null) return fault('unsupported', `the segment has compression codec ${pb.compressionCodec}`);
  // proto2's required: a missing one makes fromBinary fail only in some libraries.
  if (pb.schema === undefined || pb.tabletId.length === 0)
    return fault('corrupt', 'the segment header lacks its tablet or schema');
  let schema: TableSchema;
  try {
    schema = schemaFromPb(pb.schema);
  } catch (error) {
    return fault('unsupported', messageOf(error));
  }
  const header: SegmentHeader = {
    tabletId: Buffer.from(pb.tabletId).toString('latin1'),
    sequenceNumber: pb.sequenceNumber,
    schema,
    schemaVersion: pb.schemaVersion,
    codec,
    batchVersion: isFieldSet(pb, LogSegmentHeaderPBSchema.field.DEPRECATEDMajorVersion) ? 1 : 2,
  };
  return { kind: 'header', header, endOffset };
}

/**
 * Reads a footer from `tail`: all bytes from the end of the last batch to the end of the file.
 * @returns null when they are not a footer and nothing else
 */
export function readSegmentFooter(tail: Buffer): SegmentFooter | null {
  const length = tail.length - FOOTER_TRAILER_BYTES;
  if (length < 0 || !tail.subarray(length, length + FOOTER_MAGIC.length).equals(FOOTER_MAGIC)) return null;
  if (tail.readUInt32LE(length + FOOTER_MAGIC.length) !== length) return null;
  let pb: LogSegmentFooterPB;
  try {
    pb = fromBinary(LogSegmentFooterPBSchema, tail.subarray(0, length));
  } catch {
    return null;
  }
  return {
    entryCount: pb.numEntries,
    minReplicateIndex: pb.minReplicateIndex,
    maxReplicateIndex: pb.maxReplicateIndex,
  };
}

/**
 * The footer at the end of a file, told by its last bytes alone: what lies before it is not looked at, so only of a
 * file that was closed for sure is it proof.
 * @returns null when the file does not end like a closed segment
 */
export function readFooterAtEnd(file: FooterFile): SegmentFooter | null {
  const size = file.size();
  const trailer = Buffer.alloc(FOOTER_TRAILER_BYTES);
  if (size < FOOTER_TRAILER_BYTES || file.read(trailer, size - FOOTER_TRAILER_BYTES) !== FOOTER_TRAILER_BYTES)
    return null;
  const length = trailer.readUInt32LE(FOOTER_MAGIC.length) + FOOTER_TRAILER_BYTES;
  if (length > Math.min(size, MAX_FOOTER_BYTES)) return null;
  const tail = Buffer.alloc(length);
  return file.read(tail, size - length) === length ? readSegmentFooter(tail) : null;
}

/** A file of which some kilobytes can be read at once. */
interface FooterFile {
  size(): number;
  read(target: Buffer, position: number): number | Promise<number>;
}

/** Bytes of a batch's own header, by {@link SegmentHeader.batchVersion}. */
export function batchHeaderBytes(version: 1 | 2): number {
  return version === 1 ? 12 : 16;
}

/** The fields of one batch header, filled anew for each batch: millions of them pass. */
export class BatchHeader {
  /** The payload as it lies in the file, and what it decompresses to. */
  storedBytes = 0;
  rawBytes = 0;
  /** CRC-32C of the stored payload. */
  storedCrc = 0;

  /**
   * Reads the header at `at`, of which all bytes must be there.
   * - `entry`: the fields are set; the payload is still to be checked.
   * - `zeros`: nothing was written here, or not yet.
   * - `bad-crc`: a footer, a header that is just being written, or damage.
   */
  read(bytes: Buffer, at: number, version: 1 | 2): 'entry' | 'zeros' | 'bad-crc' {
    const crcAt = at + batchHeaderBytes(version) - 4;
    const crc = bytes.readUInt32LE(crcAt);
    if (crc !== crc32c(bytes, at, crcAt)) {
      if (crc !== 0) return 'bad-crc';
      for (let i = at; i < crcAt; i++) if (bytes[i] !== 0) return 'bad-crc';
      return 'zeros';
    }
    this.storedBytes = bytes.readUInt32LE(at);
    // v1 has no compression, and so one length less
    this.rawBytes = version === 1 ? this.storedBytes : bytes.readUInt32LE(at + 4);
    this.storedCrc = bytes.readUInt32LE(crcAt - 4);
    return 'entry';
  }
}

function fault(kind: SegmentFault['kind'], why: string): SegmentStart {
  return { kind: 'fault', fault: { kind, why } };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
