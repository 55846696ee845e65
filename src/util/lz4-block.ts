import { uncompressSync } from 'lz4-napi';

/** The bytes are not an LZ4 block, or not one of the size that was promised. */
export class Lz4FormatError extends Error {
  override readonly name = 'Lz4FormatError';
}

/** From here on a run is moved by the engine's own copy instead of byte by byte. */
const LONG_RUN = 24;

/** From this raw size on native code is quicker, for all that it copies and allocates (measured; at 16 KiB four times). */
const NATIVE_BYTES = 1024;

/**
 * Decompresses one raw LZ4 block (no frame, no size in front) from `source[from, to)` into `target[at, until)`, which
 * it must fill exactly.
 * Errors: {@link Lz4FormatError}; nothing outside of `target[at, until)` is written.
 */
export function decompressLz4Block(
  source: Buffer,
  from: number,
  to: number,
  target: Buffer,
  at: number,
  until: number,
): void {
  if (until - at < NATIVE_BYTES) {
    decompressLz4BlockInScript(source, from, to, target, at, until);
    return;
  }
  decompressLz4BlockNatively(source, from, to, until - at).copy(target, at);
}

/**
 * {@link decompressLz4Block} into memory of its own, of exactly `rawBytes`.
 * For a moment the four bytes before the block are others, if there are as many: native code wants the raw size there.
 */
export function decompressLz4BlockNatively(source: Buffer, from: number, to: number, rawBytes: number): Buffer {
  let raw: Buffer;
  try {
    raw =
      from < 4
        ? uncompressSync(withSize(source, from, to, rawBytes))
        : uncompressBehindSize(source, from, to, rawBytes);
  } catch (cause) {
    throw new Lz4FormatError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  if (raw.length !== rawBytes) throw new Lz4FormatError(`the block holds ${raw.length} bytes, not ${rawBytes}`);
  return raw;
}

function uncompressBehindSize(source: Buffer, from: number, to: number, rawBytes: number): Buffer {
  const before = source.readUInt32LE(from - 4);
  source.writeUInt32LE(rawBytes, from - 4);
  try {
    return uncompressSync(source.subarray(from - 4, to));
  } finally {
    source.writeUInt32LE(before, from - 4);
  }
}

function withSize(source: Buffer, from: number, to: number, rawBytes: number): Buffer {
  const sized = Buffer.allocUnsafe(4 + to - from);
  sized.writeUInt32LE(rawBytes, 0);
  source.copy(sized, 4, from, to);
  return sized;
}

/**
 * {@link decompressLz4Block} without native code: for the many small batches of a log the way there and back takes
 * longer than the work.
 * Source: the LZ4 block format description, github.com/lz4/lz4 doc/lz4_Block_format.md.
 */
export function decompressLz4BlockInScript(
  source: Uint8Array,
  from: number,
  to: number,
  target: Uint8Array,
  at: number,
  until: number,
): void {
  let s = from;
  let t = at;
  while (s < to) {
    const token = source[s++]!;

    let literals = token >>> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (s >= to) throw new Lz4FormatError('a literal length is cut short');
        more = source[s++]!;
        literals += more;
      } while (more === 255);
    }
    if (literals > to - s || literals > until - t) throw new Lz4FormatError('literals run over the end');
    if (literals < LONG_RUN) for (const end = s + literals; s < end;) target[t++] = source[s++]!;
    else {
      target.set(source.subarray(s, s + literals), t);
      s += literals;
      t += literals;
    }
    if (s === to) break; // the last sequence has no match

    if (to - s < 2) throw new Lz4FormatError('a match offset is cut short');
    const offset = source[s]! | (source[s + 1]! << 8);
    s += 2;
    if (offset === 0 || offset > t - at) throw new Lz4FormatError('a match begins before the block');
    let length = token & 15;
    if (length === 15) {
      let more: number;
      do {
        if (s >= to) throw new Lz4FormatError('a match length is cut short');
        more = source[s++]!;
        length += more;
      } while (more === 255);
    }
    length += 4;
    if (length > until - t) throw new Lz4FormatError('a match runs over the end');
    if (length < LONG_RUN || offset < length) {
      // A match may overlap what it writes: then its bytes repeat, and only going byte by byte gives that.
      for (const end = t + length; t < end; t++) target[t] = target[t - offset]!;
    } else {
      target.copyWithin(t, t - offset, t - offset + length);
      t += length;
    }
  }
  if (t !== until) throw new Lz4FormatError(`the block holds ${t - at} bytes, not ${until - at}`);
}
