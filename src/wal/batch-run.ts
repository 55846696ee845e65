import { SpoorError } from '../errors.ts';
import { crc32c } from '../util/crc32c.ts';
import { decompress, decompressInto, mayDecompressTo, type Codec } from './compression.ts';
import { decodeEntryBatch, type LogEntry } from './entry.ts';
import { BatchHeader, batchHeaderBytes } from './segment-format.ts';

/** Decompressed bytes after which a run ends, so that a log that packs well does not fill the memory. */
const MAX_RAW_BYTES = 1024 * 1024;

/** A batch is large from here on, packed or unpacked: an operation of very many rows, or of wide ones. */
const LARGE_BYTES = 1024 * 1024;

/** Memory of its own costs a small batch more than a copy. */
const ALONE_BYTES = 64 * 1024;

/** What stood after the last whole batch of a run. */
export type RunStop =
  /** More batches: the run had its fill. */
  | 'full'
  /** A large batch, which was not asked for. */
  | 'large'
  /** The bytes given end inside of a batch, or just before one. */
  | 'more'
  /** Nothing was written here, or not yet. */
  | 'zeros'
  /** A footer, a header that is just being written, or damage. */
  | 'bad-header'
  /** A payload that is just being written, or damage. */
  | 'bad-payload';

export interface BatchRun {
  readonly entries: LogEntry[];
  /** Bytes of whole batches, from `from` on. */
  readonly consumed: number;
  readonly stop: RunStop;
  /** For `more`: how many bytes from there on make the next batch whole, as far as can be told; for `large`, all that it takes, packed. */
  readonly needBytes: number;
  /** For `large`: what it takes unpacked. */
  readonly rawBytes: number;
}

export interface RunFormat {
  readonly path: string;
  readonly codec: Codec;
  readonly batchVersion: 1 | 2;
}

/**
 * Decodes the whole batches in `window[from, to)`. Both checksums of a batch hold before a byte of it is believed.
 * The entries lie in fresh memory of exactly their size: they may be kept, and `window` used again.
 *
 * @param fileOffset of `window[0]` in the segment; for messages
 * @param takesLarge whether a batch may be of more than {@link LARGE_BYTES}; else the run ends before it
 * @throws {SpoorError} SPOOR_WAL_CORRUPT, SPOOR_WAL_UNSUPPORTED: a batch passes its checksums and yet cannot be read.
 *   Batches before it are delivered first: the error comes when the run begins with the bad one.
 */
export function readBatchRun(
  window: Buffer,
  from: number,
  to: number,
  fileOffset: number,
  format: RunFormat,
  takesLarge = true,
): BatchRun {
  const { batchVersion } = format;
  const headerBytes = batchHeaderBytes(batchVersion);
  const header = new BatchHeader();
  const batches: { at: number; end: number; rawBytes: number }[] = [];
  let rawBytes = 0;
  let at = from;
  let stop: RunStop | null = null;
  let needBytes = 0;
  let largeRawBytes = 0;
  while (stop === null) {
    if (rawBytes >= MAX_RAW_BYTES) {
      stop = 'full';
    } else if (to - at < headerBytes) {
      stop = 'more';
      needBytes = headerBytes;
    } else {
      const kind = header.read(window, at, batchVersion);
      const payloadAt = at + headerBytes;
      const end = payloadAt + header.storedBytes;
      if (kind !== 'entry') {
        stop = kind === 'zeros' ? 'zeros' : 'bad-header';
      } else if (!takesLarge && Math.max(header.storedBytes, header.rawBytes) > LARGE_BYTES) {
        stop = batches.length === 0 ? 'large' : 'full';
        needBytes = header.storedBytes;
        largeRawBytes = header.rawBytes;
      } else if (end > to) {
        stop = 'more';
        needBytes = end - at;
      } else if (crc32c(window, payloadAt, end) !== header.storedCrc) {
        stop = 'bad-payload';
      } else {
        batches.push({ at: payloadAt, end, rawBytes: header.rawBytes });
        rawBytes += header.rawBytes;
        at = end;
      }
    }
  }
  return decodeBatches(window, fileOffset, format, headerBytes, batches, from, {
    stop,
    needBytes,
    rawBytes: largeRawBytes,
  });
}

function decodeBatches(
  window: Buffer,
  fileOffset: number,
  format: RunFormat,
  headerBytes: number,
  batches: readonly { at: number; end: number; rawBytes: number }[],
  from: number,
  after: Pick<BatchRun, 'stop' | 'needBytes' | 'rawBytes'>,
): BatchRun {
  const entries: LogEntry[] = [];
  let consumed = 0;
  let rawAt = 0;
  let arena: Buffer | null = null;
  const isAlone = batches.length === 1 && batches[0]!.rawBytes > ALONE_BYTES;
  try {
    for (const batch of batches) {
      const location = { path: format.path, offset: fileOffset + batch.at - headerBytes };
      if (!mayDecompressTo(batch.end - batch.at, batch.rawBytes))
        throw corrupt(location, `${batch.end - batch.at} stored bytes cannot hold ${batch.rawBytes}`);
      const rawEnd = rawAt + batch.rawBytes;
      try {
        if (isAlone) arena = decompress(format.codec, window, batch.at, batch.end, batch.rawBytes);
        else {
          arena ??= Buffer.allocUnsafe(sumOfRaw(batches));
          decompressInto(format.codec, window, batch.at, batch.end, arena, rawAt, rawEnd);
        }
      } catch (cause) {
        throw corrupt(location, `a batch passes its checksum but does not decompress: ${messageOf(cause)}`, cause);
      }
      decodeEntryBatch(arena, rawAt, rawEnd, location, entries);
      rawAt = rawEnd;
      consumed = batch.end - from;
    }
  } catch (error) {
    // What was good is delivered; the next run begins with the bad batch and says so.
    if (consumed === 0) throw error;
    return { entries, consumed, stop: 'full', needBytes: 0, rawBytes: 0 };
  }
  return { entries, consumed, ...after };
}

/** Of the batches up to the first that promises too much: that one is refused before it is decompressed. */
function sumOfRaw(batches: readonly { at: number; end: number; rawBytes: number }[]): number {
  let sum = 0;
  for (const batch of batches) {
    if (!mayDecompressTo(batch.end - batch.at, batch.rawBytes)) break;
    sum += batch.rawBytes;
  }
  return sum;
}

function corrupt(location: { path: string; offset: number }, why: string, cause?: unknown): SpoorError {
  return new SpoorError('SPOOR_WAL_CORRUPT', `${location.path} byte ${location.offset}: ${why}`, location, cause);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
