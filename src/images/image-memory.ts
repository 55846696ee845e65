import type { RowImage } from './row-image.ts';

/** What an entry takes beside its bytes, about. */
const ENTRY_BYTES = 120;

/** Bounds what all tablets of a sidecar remember of rows, in bytes. */
export class ImageMemories {
  readonly #maxBytes: number;
  bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isFull(): boolean {
    return this.bytes > this.#maxBytes;
  }
}

/**
 * Rows of one tablet as its last operations left them, by encoded primary key (latin1); null: there is none. What is in it is as
 * it is in the table behind the operation that was folded last, so whoever folds one says it here, or clears all. The row that
 * was touched longest ago goes first.
 */
export class ImageMemory {
  readonly #of: ImageMemories;
  readonly #images = new Map<string, RowImage | null>();
  #isClosed = false;

  constructor(of: ImageMemories) {
    this.#of = of;
  }

  get size(): number {
    return this.#images.size;
  }

  /** Undefined: it is not remembered. */
  get(key: string): RowImage | null | undefined {
    return this.#images.get(key);
  }

  set(key: string, image: RowImage | null): void {
    if (this.#isClosed) return;
    this.delete(key);
    this.#images.set(key, image);
    this.#of.bytes += bytesOf(key, image);
    for (const oldest of this.#images.keys()) {
      if (!this.#of.isFull) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const image = this.#images.get(key);
    if (image !== undefined && this.#images.delete(key)) this.#of.bytes -= bytesOf(key, image);
  }

  /** Nothing is remembered any more: nobody would ever clear what is folded after this. */
  close(): void {
    this.#isClosed = true;
    this.clear();
  }

  clear(): void {
    for (const [key, image] of this.#images) this.#of.bytes -= bytesOf(key, image);
    this.#images.clear();
  }
}

function bytesOf(key: string, image: RowImage | null): number {
  return ENTRY_BYTES + key.length + (image?.length ?? 0);
}
