import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What is sorted: by key, and by order where keys are the same. Both compare as bytes. */
export interface Entry {
  readonly key: Buffer;
  /** Of {@link ORDER_BYTES}. */
  readonly order: Buffer;
  readonly payload: Buffer;
}

export const ORDER_BYTES = 20;
/** Layout of an entry, in memory and on disk: u32 key bytes, u32 payload bytes, order, key, payload. */
const HEADER_BYTES = 8;
const KEY_AT = HEADER_BYTES + ORDER_BYTES;
const BUFFER_BYTES = 64 * 1024 * 1024;
/** What the buffer begins with. */
const FIRST_BYTES = 1024 * 1024;
const WRITE_BYTES = 1024 * 1024;
/** Of all runs together while they are merged. */
const READ_BYTES = 32 * 1024 * 1024;
const MAX_READ_BYTES = 1024 * 1024;
const MIN_READ_BYTES = 64 * 1024;
/** So many of the same size become one, so that no merge has more files open. */
const RUNS_PER_LEVEL = 32;
const ENTRIES_PER_YIELD = 1024;

/** A folder for {@link SortedRuns} that only its owner can look into, removed at the end with all that is in it. */
export class SortFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** @param parent default: the system's folder for temporary files */
  static async create(parent: string = tmpdir()): Promise<SortFolder> {
    return new SortFolder(await mkdtemp(join(parent, 'spoor-verify-'))); // mode 0700
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** A file without a name: nothing of it stays on the disk however this process ends. */
interface Run {
  readonly file: FileHandle;
  readonly level: number;
}

/**
 * Sorts more than fits into memory: what fills the buffer is sorted and written to disk as a run, and the runs are merged
 * when they are read. Memory is that of one buffer while entries are added, and of read buffers afterwards.
 */
export class SortedRuns implements AsyncDisposable {
  readonly #folder: string;
  readonly #bufferBytes: number;
  #buffer: Buffer;
  #used = 0;
  /** Where in the buffer each entry begins. */
  #starts: number[] = [];
  #runs: Run[] = [];
  #named = 0;
  #count = 0;
  static #instances = 0;
  readonly #instance = ++SortedRuns.#instances;

  /** @param bufferBytes default: 64 MiB; an entry that is larger makes the buffer grow */
  constructor(folder: SortFolder, bufferBytes = BUFFER_BYTES) {
    this.#folder = folder.path;
    this.#bufferBytes = bufferBytes;
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(bufferBytes, FIRST_BYTES));
  }

  get count(): number {
    return this.#count;
  }

  /** Takes a copy of an entry. Await what comes back before the next: it is there where the buffer had to be written. */
  add(key: Buffer, order: Buffer, payload: Buffer): Promise<void> | undefined {
    const size = KEY_AT + key.length + payload.length;
    if (this.#used > 0 && this.#used + size > this.#bufferBytes)
      return this.#spill().then(() => {
        this.#put(key, order, payload, size);
      });
    this.#put(key, order, payload, size);
    return undefined;
  }

  /**
   * All entries in order; may be asked for again, also after more were added. What is yielded stays valid.
   * @throws what the file system throws
   */
  async *entries(): AsyncGenerator<readonly Entry[], void, void> {
    if (this.#runs.length === 0) {
      // A copy at a time: what is yielded must not change when more is added.
      const starts = this.#sorted();
      for (let from = 0; from < starts.length; from += ENTRIES_PER_YIELD)
        yield starts.slice(from, from + ENTRIES_PER_YIELD).map((start) => {
          const size = KEY_AT + this.#buffer.readUInt32LE(start) + this.#buffer.readUInt32LE(start + 4);
          return entryAt(Buffer.from(this.#buffer.subarray(start, start + size)), 0);
        });
      return;
    }
    if (this.#used > 0) await this.#spill();
    this.#buffer = Buffer.alloc(0); // what reads now needs the memory
    yield* merge(this.#runs);
  }

  /** Gives back memory and disk; nothing is left in it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#runs.map(({ file }) => file.close()));
    [this.#runs, this.#starts, this.#used, this.#count] = [[], [], 0, 0];
    this.#buffer = Buffer.alloc(0);
  }

  #put(key: Buffer, order: Buffer, payload: Buffer, size: number): void {
    if (this.#used + size > this.#buffer.length) this.#grow(size);
    const buffer = this.#buffer;
    const at = this.#used;
    buffer.writeUInt32LE(key.length, at);
    buffer.writeUInt32LE(payload.length, at + 4);
    order.copy(buffer, at + HEADER_BYTES, 0, ORDER_BYTES);
    key.copy(buffer, at + KEY_AT);
    payload.copy(buffer, at + KEY_AT + key.length);
    this.#starts.push(at);
    this.#used += size;
    this.#count++;
  }

  #grow(size: number): void {
    const wanted = Math.max(
      this.#used + size,
      Math.min(this.#bufferBytes, Math.max(FIRST_BYTES, this.#buffer.length * 2)),
    );
    const grown = Buffer.allocUnsafeSlow(wanted);
    this.#buffer.copy(grown, 0, 0, this.#used);
    this.#buffer = grown;
  }

  /** Where the entries begin, in their order. */
  #sorted(): number[] {
    const buffer = this.#buffer;
    const starts = this.#starts;
    // The first twelve bytes of a key as two numbers: few entries have to be compared byte by byte.
    const first = new Float64Array(starts.length);
    const second = new Float64Array(starts.length);
    for (const [i, start] of starts.entries()) {
      const [key, keyEnd] = [start + KEY_AT, start + KEY_AT + buffer.readUInt32LE(start)];
      first[i] = numberAt(buffer, key, keyEnd);
      second[i] = numberAt(buffer, key + PREFIX_BYTES, keyEnd);
    }
    const places = Uint32Array.from(starts, (_, i) => i);
    places.sort(
      (a, b) => first[a]! - first[b]! || second[a]! - second[b]! || compareAt(buffer, starts[a]!, starts[b]!),
    );
    return Array.from(places, (place) => starts[place]!);
  }

  async #spill(): Promise<void> {
    const buffer = this.#buffer;
    await this.#write(0, async (writer) => {
      for (const start of this.#sorted()) {
        const size = KEY_AT + buffer.readUInt32LE(start) + buffer.readUInt32LE(start + 4);
        const full = writer.add(buffer, start, size);
        if (full) await full;
      }
    });
    this.#used = 0;
    this.#starts = [];
    for (let level = 0; this.#runs.filter((run) => run.level === level).length >= RUNS_PER_LEVEL; level++) {
      const merged = this.#runs.filter((run) => run.level === level);
      this.#runs = this.#runs.filter((run) => run.level !== level);
      await this.#write(level + 1, async (writer) => {
        for await (const entries of merge(merged))
          for (const { key, order, payload } of entries) {
            const head = Buffer.allocUnsafe(KEY_AT);
            head.writeUInt32LE(key.length, 0);
            head.writeUInt32LE(payload.length, 4);
            order.copy(head, HEADER_BYTES);
            for (const part of [head, key, payload]) await writer.add(part, 0, part.length);
          }
      });
      await Promise.all(merged.map(({ file }) => file.close()));
    }
  }

  async #write(level: number, fill: (writer: RunWriter) => Promise<void>): Promise<void> {
    const path = join(this.#folder, `${this.#instance}-${this.#named++}`);
    const file = await open(path, 'wx+', 0o600);
    this.#runs.push({ file, level });
    await rm(path);
    const writer = new RunWriter(file);
    await fill(writer);
    await writer.flush();
  }
}

const PREFIX_BYTES = 6;

/** The bytes from a place on as a number; behind the end stand zeros. */
function numberAt(bytes: Buffer, at: number, end: number): number {
  if (at + PREFIX_BYTES <= end) return bytes.readUIntBE(at, PREFIX_BYTES);
  let number = 0;
  for (let i = at; i < at + PREFIX_BYTES; i++) number = number * 256 + (i < end ? bytes[i]! : 0);
  return number;
}

/** Entries that begin at these places. */
function compareAt(bytes: Buffer, a: number, b: number): number {
  const [aKey, bKey] = [a + KEY_AT, b + KEY_AT];
  const byKey = bytes.compare(bytes, bKey, bKey + bytes.readUInt32LE(b), aKey, aKey + bytes.readUInt32LE(a));
  return byKey !== 0 ? byKey : bytes.compare(bytes, b + HEADER_BYTES, bKey, a + HEADER_BYTES, aKey);
}

class RunWriter {
  readonly #file: FileHandle;
  readonly #out = Buffer.allocUnsafeSlow(WRITE_BYTES);
  #used = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  add(from: Buffer, start: number, size: number): Promise<void> | undefined {
    if (this.#used + size <= WRITE_BYTES) {
      from.copy(this.#out, this.#used, start, start + size);
      this.#used += size;
      return undefined;
    }
    return this.flush().then(async () => {
      if (size > WRITE_BYTES) await writeAll(this.#file, from.subarray(start, start + size));
      else this.#used = from.copy(this.#out, 0, start, start + size);
    });
  }

  async flush(): Promise<void> {
    await writeAll(this.#file, this.#out.subarray(0, this.#used));
    this.#used = 0;
  }
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
}

/** Reads a run from its beginning; `head` is the entry that it stands before. */
class RunReader {
  head: Entry | null = null;
  readonly #file: FileHandle;
  readonly #readBytes: number;
  #position = 0;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  #isAtEnd = false;

  constructor(file: FileHandle, readBytes: number) {
    this.#file = file;
    this.#readBytes = readBytes;
  }

  /** Moves on; await what comes back. */
  next(): Promise<void> | undefined {
    if (this.#take()) return undefined;
    return this.#fill();
  }

  #take(): boolean {
    const left = this.#chunk.length - this.#at;
    if (left < KEY_AT) return false;
    const size = KEY_AT + this.#chunk.readUInt32LE(this.#at) + this.#chunk.readUInt32LE(this.#at + 4);
    if (left < size) return false;
    this.head = entryAt(this.#chunk, this.#at);
    this.#at += size;
    return true;
  }

  async #fill(): Promise<void> {
    while (!this.#isAtEnd) {
      const rest = this.#chunk.subarray(this.#at);
      const wanted =
        rest.length < HEADER_BYTES ? 0 : KEY_AT + rest.readUInt32LE(0) + rest.readUInt32LE(4) - rest.length;
      // Another buffer each time: entries of the one before are still in use.
      const chunk = Buffer.allocUnsafeSlow(rest.length + Math.max(this.#readBytes, wanted));
      rest.copy(chunk);
      const { bytesRead } = await this.#file.read(chunk, rest.length, chunk.length - rest.length, this.#position);
      this.#position += bytesRead;
      this.#isAtEnd = bytesRead === 0;
      this.#chunk = chunk.subarray(0, rest.length + bytesRead);
      this.#at = 0;
      if (this.#take()) return;
    }
    if (this.#at < this.#chunk.length) throw new Error('a run of the sort was cut short');
    this.head = null;
  }
}

/** The entries of all runs in order. */
async function* merge(runs: readonly Run[]): AsyncGenerator<readonly Entry[], void, void> {
  const share = Math.floor(READ_BYTES / Math.max(1, runs.length));
  const readBytes = Math.max(MIN_READ_BYTES, Math.min(MAX_READ_BYTES, share));
  const readers = runs.map(({ file }) => new RunReader(file, readBytes));
  for (const reader of readers) await reader.next();
  const heap = new Heap(readers.filter(({ head }) => head !== null));
  let entries: Entry[] = [];
  for (let first = heap.first; first; first = heap.first) {
    entries.push(first.head!);
    const more = first.next();
    if (more) await more;
    heap.firstChanged();
    if (entries.length === ENTRIES_PER_YIELD) {
      yield entries;
      entries = [];
    }
  }
  if (entries.length > 0) yield entries;
}

/** Readers by the entries that they stand before, the least first. */
class Heap {
  readonly #readers: RunReader[];

  constructor(readers: RunReader[]) {
    this.#readers = readers;
    for (let i = (readers.length >> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  get first(): RunReader | undefined {
    return this.#readers[0];
  }

  /** The first has moved on, or come to its end. */
  firstChanged(): void {
    if (this.#readers[0]!.head === null) {
      const last = this.#readers.pop()!;
      if (this.#readers.length === 0) return;
      this.#readers[0] = last;
    }
    this.#sink(0);
  }

  #sink(from: number): void {
    const readers = this.#readers;
    for (let at = from; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < readers.length && compareEntries(readers[child]!.head!, readers[least]!.head!) < 0) least = child;
      if (least === at) return;
      [readers[at], readers[least]] = [readers[least]!, readers[at]!];
      at = least;
    }
  }
}

export function compareEntries(a: Entry, b: Entry): number {
  const byKey = Buffer.compare(a.key, b.key);
  return byKey !== 0 ? byKey : Buffer.compare(a.order, b.order);
}

function entryAt(bytes: Buffer, at: number): Entry {
  const keyEnd = at + KEY_AT + bytes.readUInt32LE(at);
  return {
    order: bytes.subarray(at + HEADER_BYTES, at + KEY_AT),
    key: bytes.subarray(at + KEY_AT, keyEnd),
    payload: bytes.subarray(keyEnd, keyEnd + bytes.readUInt32LE(at + 4)),
  };
}
