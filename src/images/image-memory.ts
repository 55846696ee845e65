import type { RowImage } from './row-image.ts';

/** What an entry takes beside its bytes, about. */
const ENTRY_BYTES = 120;

/**
 * Bounds what all tablets of a sidecar remember of rows, in bytes. Where there is no more room, the tablet that remembered something
 * longest ago gives way first.
 */
export class ImageMemories {
  readonly #maxBytes: number;
  /** Those that remember something; who did last is at the end. */
  readonly #memories = new Set<ImageMemory>();
  #last: ImageMemory | null = null;
  bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** One of them has remembered something more. */
  grown(memory: ImageMemory): void {
    if (memory !== this.#last) {
      this.#memories.delete(memory);
      this.#memories.add((this.#last = memory));
    }
    if (this.bytes <= this.#maxBytes) return;
    for (const idlest of this.#memories) {
      while (this.bytes > this.#maxBytes && idlest.forgetOldest());
      if (this.bytes <= this.#maxBytes) return;
    }
  }

  /** One of them remembers nothing any more. */
  emptied(memory: ImageMemory): void {
    this.#memories.delete(memory);
    if (memory === this.#last) this.#last = null;
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

  /** Undefined: it is not remembered. */
  get(key: string): RowImage | null | undefined {
    return this.#images.get(key);
  }

  set(key: string, image: RowImage | null): void {
    if (this.#isClosed) return;
    this.delete(key);
    this.#images.set(key, image);
    this.#of.bytes += bytesOf(key, image);
    this.#of.grown(this);
  }

  delete(key: string): void {
    const image = this.#images.get(key);
    if (image === undefined || !this.#images.delete(key)) return;
    this.#of.bytes -= bytesOf(key, image);
    if (this.#images.size === 0) this.#of.emptied(this);
  }

  /** @returns whether there was one */
  forgetOldest(): boolean {
    for (const key of this.#images.keys()) {
      this.delete(key);
      return true;
    }
    return false;
  }

  /** Nothing is remembered any more: nobody would ever clear what is folded after this. */
  close(): void {
    this.#isClosed = true;
    this.clear();
  }

  clear(): void {
    for (const [key, image] of this.#images) this.#of.bytes -= bytesOf(key, image);
    this.#images.clear();
    this.#of.emptied(this);
  }
}

function bytesOf(key: string, image: RowImage | null): number {
  return ENTRY_BYTES + key.length + (image?.length ?? 0);
}
