/** A call into the engine costs more than some bytes one by one. */
const FEW_BYTES = 64;

/** Copies a run of bytes, and answers where it ends in `out`. */
export function copyBytes(out: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  if (end - start < FEW_BYTES) for (let i = start; i < end; i++) out[at++] = from[i]!;
  else {
    out.set(from.subarray(start, end), at);
    at += end - start;
  }
  return at;
}

/**
 * Memory for many small runs of bytes that are made one after another and live about as long as each other: runs lie
 * side by side in chunks, and a chunk is freed when the last view of it is.
 *
 * Use: `reserve(upper bound)`, write into `bytes` from `at` on, set `at` to the end of what was written.
 */
export class ByteArena {
  bytes: Buffer;
  at = 0;
  readonly #chunkBytes: number;

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
    this.bytes = Buffer.allocUnsafeSlow(chunkBytes);
  }

  /** Makes room for `count` bytes in one run after `at`; may replace `bytes`, and never moves what was written. */
  reserve(count: number): void {
    if (this.at + count <= this.bytes.length) return;
    this.bytes = Buffer.allocUnsafeSlow(Math.max(this.#chunkBytes, count));
    this.at = 0;
  }
}
