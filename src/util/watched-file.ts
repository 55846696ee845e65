import { readFileSync, statSync } from 'node:fs';

/** What a file's text says of a value: one closing line break is the file's own. */
export function readValueText(content: string): string {
  return content.replace(/\r?\n$/, '');
}

/** {@link readValueText} of a file. @throws {Error} it cannot be read */
export function readValueFile(path: string): string {
  return readValueText(readFileSync(path, 'utf8'));
}

/**
 * A value that is kept in a file, read again when that changes. While the file is away or empty, as while it is replaced, the
 * last value stands: whoever it is shown to says whether it is good.
 */
export class WatchedFile {
  readonly #path: string;
  #value: string;
  #state: string | null = null;

  /** @param value as it was read first */
  constructor(path: string, value: string) {
    this.#path = path;
    this.#value = value;
  }

  /** A call of the file system; a read only where the file is another one. */
  current(): string {
    try {
      const { ino, size, mtimeMs } = statSync(this.#path);
      const state = `${ino}/${size}/${mtimeMs}`;
      if (state === this.#state) return this.#value;
      const value = readValueFile(this.#path);
      if (value === '') return this.#value;
      [this.#value, this.#state] = [value, state];
    } catch {
      // The last value stands.
    }
    return this.#value;
  }
}
