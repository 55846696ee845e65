import type { FileHandle } from 'node:fs/promises';
import { readdir, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { LinkedAbort } from '../../util/linked-abort.ts';
import type { RecordPlace, ShownPlace, SinkReader, StoredRecord } from '../reader.ts';
import { codeOf, openFile, Steps, toSinkError } from './disk.ts';
import { committedLengthOf, readAt, readBegin } from './recovery.ts';
import { TABLE_START } from './lines.ts';
import { escapeName, fileName, fileNumbers, TABLES } from './names.ts';
import { parseRecord } from './record-line.ts';

const SCHEMA = 'schema';
const CHUNK = 1 << 20;
const NEWLINE = 0x0a;
/** A place's order is a file's number, and behind it where in the file the line begins. */
const OFFSET_BITS = 40n;

/** What is read of one file. */
interface Part {
  readonly path: string;
  readonly lane: string;
  readonly number: number;
  readonly bytes: number;
}

/** Reads back what is committed of a stream: of the last stream of that name, where there was one before. */
export class FileReader implements SinkReader {
  readonly schemaDestination: string;
  readonly #dir: string;
  readonly #stream: string;
  readonly #stop = new AbortController();

  constructor(dir: string, streamName: string) {
    this.#dir = resolve(dir);
    this.#stream = join(this.#dir, escapeName(streamName));
    this.schemaDestination = join(this.#stream, SCHEMA);
  }

  destinationOf(tableName: string): string {
    return join(this.#stream, TABLES, escapeName(tableName));
  }

  read(destination: string, signal: AbortSignal, newest?: number): AsyncIterable<readonly StoredRecord[]> {
    const either = new LinkedAbort(signal, this.#stop.signal);
    const steps = new Steps(either.signal);
    const parts = this.#partsOf(destination, steps); // of this moment, however much later the first record is asked for
    parts.catch(() => {
      either[Symbol.dispose](); // the reason is seen by whoever asks for it
    });
    const wanted = newest === undefined ? parts : parts.then(newestParts);
    return this.#records(wanted, destination, steps, either);
  }

  show({ lane, order }: RecordPlace): ShownPlace {
    const file = join(lane, fileName(Number(order >> OFFSET_BITS)));
    const byte = Number(BigInt.asUintN(Number(OFFSET_BITS), order));
    return { text: `${file}:${byte}`, fields: { file, byte } };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the reader was closed'));
    return Promise.resolve();
  }

  /** @throws of the system */
  async #partsOf(destination: string, steps: Steps): Promise<readonly Part[]> {
    try {
      const parts: Part[] = [];
      for (const creation of await this.#newestCreation(steps)) {
        const found = destination === this.schemaDestination ? '' : relative(this.#stream, destination);
        for (const tablet of await namesIn(join(creation, found), steps))
          if (tablet !== TABLES) parts.push(...(await this.#partsIn(join(creation, tablet), steps)));
      }
      return parts;
    } catch (error) {
      throw toSinkError(error, this.#dir);
    }
  }

  /** Folders of the stream that was made last under this name; a table that was made anew has one beside it. */
  async #newestCreation(steps: Steps): Promise<readonly string[]> {
    const made = new Map<string, { at: number; paths: string[] }>();
    for (const name of await namesIn(this.#stream, steps)) {
      const path = join(this.#stream, name);
      const { birthtimeMs } = await steps.take(() => stat(path));
      const key = name.split('.').slice(0, 2).join('.');
      const known = made.get(key) ?? { at: birthtimeMs, paths: [] };
      known.at = Math.min(known.at, birthtimeMs);
      known.paths.push(path);
      made.set(key, known);
    }
    return [...made.values()].sort((a, b) => b.at - a.at)[0]?.paths ?? [];
  }

  async #partsIn(folder: string, steps: Steps): Promise<readonly Part[]> {
    const lane = relative(this.#dir, folder);
    const parts: Part[] = [];
    let counts: { file: number; bytes: number } | null = null;
    for (const number of fileNumbers(await namesIn(folder, steps)).toReversed()) {
      const path = join(folder, fileName(number));
      const handle = await openFile(path, 'r', steps);
      try {
        const { begin, bytes: first } = await readBegin(handle, path, steps);
        const bytes = counts === null ? await committedLengthOf(handle, steps) : counts.bytes;
        // A file that its successor does not name has nothing that counts.
        if (counts === null || counts.file === number)
          parts.unshift({ path, lane, number, bytes: Math.max(first, bytes) });
        if (counts === null || counts.file === number) counts = begin.previous;
        if (counts === null) break;
      } finally {
        await handle.close();
      }
    }
    return parts;
  }

  async *#records(
    parts: Promise<readonly Part[]>,
    destination: string,
    steps: Steps,
    either: LinkedAbort,
  ): AsyncGenerator<readonly StoredRecord[], void, undefined> {
    const isSchema = destination === this.schemaDestination;
    const isWanted = (kind: string, table: string): boolean =>
      isSchema ? kind === SCHEMA : kind === '' && this.destinationOf(table) === destination;
    try {
      for (const part of await parts) yield* recordsOf(part, isWanted, steps);
    } catch (error) {
      throw toSinkError(error, this.#dir);
    } finally {
      either[Symbol.dispose]();
    }
  }
}

/** The last two files of each lane: the last may have just begun. */
function newestParts(parts: readonly Part[]): readonly Part[] {
  return parts.filter(
    ({ lane, number }) => parts.filter((later) => later.lane === lane && later.number > number).length < 2,
  );
}

async function* recordsOf(
  { path, lane, number, bytes }: Part,
  isWanted: (kind: string, table: string) => boolean,
  steps: Steps,
): AsyncGenerator<readonly StoredRecord[], void, undefined> {
  const handle = await openFile(path, 'r', steps);
  try {
    let { table } = (await readBegin(handle, path, steps)).begin;
    for await (const { lines, at: start } of chunksOf(handle, bytes, steps)) {
      const records: StoredRecord[] = [];
      for (let at = 0, end: number; at < lines.length; at = end + 1) {
        end = lines.indexOf(NEWLINE, at);
        if (end < 0) end = lines.length;
        const line = lines.subarray(at, end);
        if (startsWith(line, TABLE_START)) ({ table } = JSON.parse(line.toString()) as { table: string });
        const record = parseRecord(line);
        if (record === null || !isWanted(record.kind, table)) continue;
        const order = (BigInt(number) << OFFSET_BITS) + BigInt(start + at);
        const { key, value, position, timestampMs } = record;
        records.push({ place: { lane, order }, key, value, position, timestampMs });
      }
      if (records.length > 0) yield records;
    }
  } finally {
    await handle.close();
  }
}

function startsWith(line: Buffer, text: string): boolean {
  return line.length >= text.length && line.toString('latin1', 0, text.length) === text;
}

/** Whole lines, about 1 MiB of them; what comes last may lack its line break. */
async function* chunksOf(handle: FileHandle, end: number, steps: Steps): AsyncGenerator<{ lines: Buffer; at: number }> {
  for (let at = 0, length = CHUNK; at < end;) {
    const bytes = await readAt(handle, at, Math.min(length, end - at), steps);
    if (bytes.length === 0) return;
    const isLast = at + bytes.length >= end;
    const whole = isLast ? bytes.length : bytes.lastIndexOf(NEWLINE) + 1;
    if (whole === 0) {
      length *= 2; // a line that is longer
      continue;
    }
    yield { lines: bytes.subarray(0, whole), at };
    at += whole;
    length = CHUNK;
  }
}

/** None where there is no such folder. */
async function namesIn(path: string, steps: Steps): Promise<readonly string[]> {
  try {
    return (await steps.take(() => readdir(path))).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
