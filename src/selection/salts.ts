import { readFile, stat } from 'node:fs/promises';
import { SinkError } from '../sinks/sink.ts';
import { errorCodeOf } from '../util/error-code.ts';

/** The salts of a stream's hashes, each in a file of its own that is read again when it changes. */
export class Salts {
  readonly #files: readonly string[];
  readonly #known = new Map<string, { readonly salt: Buffer; readonly state: string }>();
  /** Another one whenever a salt changed. */
  version = 0;

  constructor(files: Iterable<string>) {
    this.#files = [...new Set(files)];
  }

  get isEmpty(): boolean {
    return this.#files.length === 0;
  }

  /** @throws {SinkError} `refused`: one cannot be read, or is empty */
  async refresh(): Promise<void> {
    for (const file of this.#files)
      try {
        const { mtimeMs, size, ino } = await stat(file);
        const state = `${ino}/${size}/${mtimeMs}`;
        if (this.#known.get(file)?.state === state) continue;
        const salt = withoutLineEnd(await readFile(file));
        if (salt.length === 0) throw new Error('it is empty');
        if (this.#known.get(file)?.salt.equals(salt) !== true) this.version++;
        this.#known.set(file, { salt, state });
      } catch (error) {
        throw new SinkError('refused', `the salt file ${file} of hash cannot be used: ${reasonOf(error)}`, error);
      }
  }

  /** @throws {TypeError} it was never read */
  of(file: string): Buffer {
    const known = this.#known.get(file);
    if (!known) throw new TypeError(`the salt file ${file} was not read`);
    return known.salt;
  }
}

/** Editors and `echo` put one there. */
function withoutLineEnd(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  return bytes.subarray(0, end);
}

function reasonOf(error: unknown): string {
  return errorCodeOf(error) || (error instanceof Error ? error.message : String(error));
}
