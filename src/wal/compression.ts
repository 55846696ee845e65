import { inflateSync } from 'node:zlib';
import { uncompressSync } from 'snappy';
import { decompressLz4Block, decompressLz4BlockInScript, decompressLz4BlockNatively } from '../util/lz4-block.ts';

/** How a segment's batches are stored. Source: kudu/util/compression/compression.proto CompressionType. */
export const Codec = { NONE: 1, SNAPPY: 2, LZ4: 3, ZLIB: 4 } as const;
export type Codec = (typeof Codec)[keyof typeof Codec];

/** @returns null for a number that Kudu 1.18 does not write */
export function codecFromNumber(codec: number): Codec | null {
  if (codec === 0) return Codec.NONE; // DEFAULT_COMPRESSION: a log does not compress unless told to
  return Object.values(Codec).find((known) => known === codec) ?? null;
}

/**
 * Decompresses one stored payload, `source[from, to)`, into `target[at, until)`, which it fills exactly.
 * Errors: throws whatever the codec says of bytes that are not its own, or when the size is not as promised; a
 * promise of gigabytes costs no memory, since the caller has made `target`.
 */
export function decompressInto(
  codec: Codec,
  source: Buffer,
  from: number,
  to: number,
  target: Buffer,
  at: number,
  until: number,
): void {
  switch (codec) {
    case Codec.NONE:
      if (to - from !== until - at) throw new RangeError(`${to - from} stored bytes cannot be ${until - at} raw ones`);
      source.copy(target, at, from, to);
      return;
    case Codec.LZ4:
      decompressLz4Block(source, from, to, target, at, until);
      return;
    case Codec.SNAPPY: {
      // The stream says its size in front: looked at first, so that a wrong one is not allocated.
      const promised = snappySize(source, from, to);
      if (promised !== until - at) throw new RangeError(`a snappy stream of ${promised} bytes, not ${until - at}`);
      copyExactly(uncompressSync(source.subarray(from, to)) as Buffer, target, at, until);
      return;
    }
    case Codec.ZLIB:
      // A limit of 0 is refused by zlib; an empty payload is then found out below.
      copyExactly(inflateSync(source.subarray(from, to), { maxOutputLength: until - at || 1 }), target, at, until);
      return;
  }
}

/** Native code's memory is free some time after the collector has found it, which is too late where there is much of it. */
const MAX_NATIVE_BYTES = 1024 * 1024;

/**
 * {@link decompressInto} memory of its own, of exactly `rawBytes`: what native code has made is not copied once more, and is
 * not there twice.
 */
export function decompress(codec: Codec, source: Buffer, from: number, to: number, rawBytes: number): Buffer {
  if (codec === Codec.LZ4 && rawBytes <= MAX_NATIVE_BYTES)
    return decompressLz4BlockNatively(source, from, to, rawBytes);
  const raw = Buffer.allocUnsafeSlow(rawBytes);
  if (codec === Codec.LZ4) decompressLz4BlockInScript(source, from, to, raw, 0, rawBytes);
  else decompressInto(codec, source, from, to, raw, 0, rawBytes);
  return raw;
}

/** Kudu's largest message is 50 MiB unless it is told otherwise (rpc_max_message_size). */
const MAX_RAW_BYTES = 1024 * 1024 * 1024;

/** No codec packs tighter: zlib's limit is 1032 to 1. A larger promise is a lie, found out before memory is taken. */
export function mayDecompressTo(storedBytes: number, rawBytes: number): boolean {
  return rawBytes <= storedBytes * 1032 + 64 && rawBytes <= MAX_RAW_BYTES;
}

function copyExactly(raw: Buffer, target: Buffer, at: number, until: number): void {
  if (raw.length !== until - at) throw new RangeError(`decompressed to ${raw.length} bytes, not ${until - at}`);
  raw.copy(target, at);
}

/** Source: google/snappy format_description.txt, the preamble: a varint of at most 5 bytes. */
function snappySize(source: Buffer, from: number, to: number): number {
  let size = 0;
  for (let i = 0; i < 5 && from + i < to; i++) {
    const byte = source[from + i]!;
    size += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return size;
  }
  throw new RangeError('a snappy stream lacks its size');
}
