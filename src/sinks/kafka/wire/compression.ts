import { gunzipSync, gzipSync } from 'node:zlib';
import { compressFrameSync, decompressFrameSync } from 'lz4-napi';
import { compressSync, uncompressSync } from 'snappy';
import { zstd, ZSTD_NEEDS } from '../../../util/zstd.ts';

/** By number, as the lowest three bits of a batch's attributes say. Source: org.apache.kafka.common.record.CompressionType. */
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type Compression = (typeof CODECS)[number];

/** No batch is nearly as large. gzip packs up to 1032 to 1, and only it could make gigabytes of what a broker takes. */
const MAX_RAW_BYTES = 256 * 1024 * 1024;

/** snappy-java's stream: this, two version numbers, then blocks with their length in front, big-endian. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

/**
 * Decompresses the records of a batch; uncompressed ones come back as they are.
 * @throws {Error} a codec that is not known here, by its name; bytes that are not the codec's own
 */
export function decompressRecords(codec: number, stored: Buffer): Buffer {
  const name = CODECS[codec];
  if (name === undefined)
    throw new RangeError(`its records are compressed with codec ${codec}, which is none of ${CODECS.join(', ')}`);
  switch (name) {
    case 'none':
      return stored;
    case 'gzip':
      return gunzipSync(stored, { maxOutputLength: MAX_RAW_BYTES });
    case 'snappy':
      return decompressSnappy(stored);
    case 'lz4':
      return decompressFrameSync(stored);
    case 'zstd':
      if (zstd === null) throw new Error(`its records are compressed with zstd, which needs ${ZSTD_NEEDS}`);
      return zstd.decompress(stored, { maxOutputLength: MAX_RAW_BYTES });
  }
}

/** With less there is nothing to gain. */
const WORTHWHILE_BYTES = 512;

/**
 * Compresses the records of a batch; null where they would not become less.
 * @throws {Error} zstd, where this Node has none
 */
export function compressRecords(compression: Compression, records: Buffer): { codec: number; stored: Buffer } | null {
  if (compression === 'none' || records.length < WORTHWHILE_BYTES) return null;
  const stored = compressWith(compression, records);
  return stored.length < records.length ? { codec: CODECS.indexOf(compression), stored } : null;
}

function compressWith(compression: Exclude<Compression, 'none'>, records: Buffer): Buffer {
  switch (compression) {
    case 'gzip':
      return gzipSync(records);
    case 'snappy':
      return snappyStream(compressSync(records));
    case 'lz4':
      return compressFrameSync(records);
    case 'zstd':
      if (zstd === null) throw new Error(`zstd needs ${ZSTD_NEEDS}`);
      return zstd.compress(records);
  }
}

/** As snappy-java writes it, in one block. Source: org.xerial.snappy.SnappyOutputStream. */
function snappyStream(block: Buffer): Buffer {
  const header = Buffer.alloc(XERIAL_HEADER_BYTES + 4);
  XERIAL_MAGIC.copy(header);
  header.writeInt32BE(1, 8); // version
  header.writeInt32BE(1, 12); // the oldest that reads it
  header.writeInt32BE(block.length, XERIAL_HEADER_BYTES);
  return Buffer.concat([header, block]);
}

/** Java writes snappy-java's stream; other clients also a bare block, which Java reads too. */
function decompressSnappy(stored: Buffer): Buffer {
  if (!stored.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return uncompressSync(stored) as Buffer;
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER_BYTES; at < stored.length;) {
    const start = at + 4;
    at = start + stored.readInt32BE(at);
    if (at < start || at > stored.length) throw new RangeError('a snappy block runs over the end of its batch');
    blocks.push(uncompressSync(stored.subarray(start, at)) as Buffer);
  }
  return Buffer.concat(blocks);
}
