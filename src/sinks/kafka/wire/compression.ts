import { gunzipSync } from 'node:zlib';
import { decompressFrameSync } from 'lz4-napi';
import { uncompressSync } from 'snappy';

/** By number, as the lowest three bits of a batch's attributes say. Source: org.apache.kafka.common.record.CompressionType. */
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;

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
      throw new Error('its records are compressed with zstd, which Node 20 cannot read: use gzip, snappy or lz4');
  }
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
