/** Chunks that are kept for what comes next: what is on the way of a few writers, or the collector is asked for it over and over. */
const MAX_SPARE = 40;
const MAX_KEPT_DRAFT = 2 << 20;
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
 * side by side in chunks, and a chunk is freed when the last view of it is, or used again when all that held it have let go.
 *
 * Use: `reserve(upper bound)`, write into `bytes` from `at` on, set `at` to the end of what was written.
 */
export class ByteArena {
  bytes: Buffer;
  at = 0;
  readonly #chunkBytes: number;
  /** How many hold what lies in a chunk; those that nobody holds, to be used again. */
  readonly #holders = new WeakMap<Buffer, number>();
  readonly #spare: Buffer[] = [];
  #draft = Buffer.alloc(0);

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
    this.bytes = Buffer.allocUnsafeSlow(chunkBytes);
  }

  /** Makes room for `count` bytes in one run after `at`; may replace `bytes`, and never moves what was written. */
  reserve(count: number): void {
    if (this.at + count <= this.bytes.length) return;
    const spare = count <= this.#chunkBytes ? this.#spare.pop() : undefined;
    this.bytes = spare ?? Buffer.allocUnsafeSlow(Math.max(this.#chunkBytes, count));
    this.at = 0;
  }

  /** Memory to write into what may become much smaller than it could be, and is copied then. It is the same each time. */
  draft(count: number): Buffer {
    if (count > MAX_KEPT_DRAFT) return Buffer.allocUnsafeSlow(count);
    if (this.#draft.length < count) this.#draft = Buffer.allocUnsafeSlow(Math.min(MAX_KEPT_DRAFT, 2 * count));
    return this.#draft;
  }

  /** What was written into `bytes` so far, and is from now on, is in use until {@link release}. */
  hold(): Buffer {
    this.#holders.set(this.bytes, (this.#holders.get(this.bytes) ?? 0) + 1);
    return this.bytes;
  }

  /** Once for each {@link hold}: a chunk that nobody holds is written over. One that is never released goes as all memory does. */
  release(bytes: Buffer): void {
    const others = (this.#holders.get(bytes) ?? 0) - 1;
    if (others > 0) {
      this.#holders.set(bytes, others);
      return;
    }
    this.#holders.delete(bytes);
    if (bytes === this.bytes) this.at = 0;
    else if (bytes.length === this.#chunkBytes && this.#spare.length < MAX_SPARE) this.#spare.push(bytes);
  }
}
