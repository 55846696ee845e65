import type { FileHandle } from 'node:fs/promises';
import { readdir, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { LinkedAbort } from '../../util/linked-abort.ts';
import type { RecordPlace, ShownPlace, SinkReader, StoredRecord } from '../reader.ts';
import { codeOf, openFile, Steps, toSinkError } from './disk.ts';
import { TABLE_START, type Previous } from './lines.ts';
import { escapeName, filesIn, TABLES, type TabletFile } from './names.ts';
import { eachLine, linesBefore, readBegin } from './read-lines.ts';
import { parseRecord } from './record-line.ts';
import { committedLengthOf } from './recovery.ts';

const SCHEMA = 'schema';
/** So often a file may get its last name between a look into its folder and the next step. */
const MAX_LOOKS = 20;
/** A place's order is a file's number, and behind it where in the file the line begins. */
const OFFSET_BITS = 40n;

/** What is read of one file. */
interface Part {
  readonly folder: string;
  readonly lane: string;
  readonly file: TabletFile;
  /** Null: all of it. */
  readonly bytes: number | null;
}

/** Reads back what is committed of a stream: of the last stream of that name, where there was one before. */
export class FileReader implements SinkReader {
  readonly schemaDestination: string;
  readonly #dir: string;
  readonly #stream: string;
  readonly #stop = new AbortController();
  /** By lane and number: names of files that were read. */
  readonly #names = new Map<string, string>();

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
    const number = String(order >> OFFSET_BITS);
    const file = join(lane, this.#names.get(nameKey(lane, number)) ?? number);
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
    for (let look = 1; ; look++)
      try {
        const files = filesIn(await namesIn(folder, steps));
        return await partsOf(folder, relative(this.#dir, folder), files, steps);
      } catch (error) {
        if (codeOf(error) !== 'ENOENT' || look === MAX_LOOKS) throw error;
      }
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
      for (const part of await parts) {
        this.#names.set(nameKey(part.lane, String(part.file.number)), part.file.name);
        yield* recordsOf(part, isWanted, steps);
      }
    } catch (error) {
      throw toSinkError(error, this.#dir);
    } finally {
      either[Symbol.dispose]();
    }
  }
}

/** What counts of the files of a folder. @throws of the system: one has another name by now */
async function partsOf(
  folder: string,
  lane: string,
  files: readonly TabletFile[],
  steps: Steps,
): Promise<readonly Part[]> {
  const parts: Part[] = [];
  let isLast = true;
  let named: Previous = null;
  const oldest = files.find(({ state }) => state !== 'published')?.number ?? Number.POSITIVE_INFINITY;
  for (const file of files.toReversed()) {
    const isPublished = file.state === 'published';
    if (!isPublished && !isLast && named?.file !== file.number) continue; // what its successor does not name does not count
    if (isPublished && file.number < oldest) {
      parts.unshift({ folder, lane, file, bytes: null });
      continue; // nobody asks any more what it names
    }
    const path = join(folder, file.name);
    const handle = await openFile(path, 'r', steps);
    try {
      const { begin, bytes: first } = await readBegin(handle, path, steps);
      const counts = isLast ? await committedLengthOf(handle, steps) : (named?.bytes ?? 0);
      parts.unshift({ folder, lane, file, bytes: isPublished ? null : Math.max(first, counts) });
      named = begin.previous;
      isLast = false;
    } finally {
      await handle.close();
    }
  }
  return parts;
}

function nameKey(lane: string, number: string): string {
  return `${lane}/${number}`;
}

/** The last two files of each lane: the last may have just begun. */
function newestParts(parts: readonly Part[]): readonly Part[] {
  return parts.filter(
    ({ lane, file }) => parts.filter((later) => later.lane === lane && later.file.number > file.number).length < 2,
  );
}

async function* recordsOf(
  { folder, lane, file, bytes }: Part,
  isWanted: (kind: string, table: string) => boolean,
  steps: Steps,
): AsyncGenerator<readonly StoredRecord[], void, undefined> {
  const { handle, path } = await openNow(folder, file, steps);
  try {
    let { table } = (await readBegin(handle, path, steps)).begin;
    const end = bytes ?? (await steps.take(() => handle.stat())).size;
    for await (const { lines, at: start } of linesBefore(handle, end, steps)) {
      const records: StoredRecord[] = [];
      for (const [line, at] of eachLine(lines)) {
        if (startsWith(line, TABLE_START)) ({ table } = JSON.parse(line.toString()) as { table: string });
        const record = parseRecord(line);
        if (record === null || !isWanted(record.kind, table)) continue;
        const order = (BigInt(file.number) << OFFSET_BITS) + BigInt(start + at);
        const { key, value, position, timestampMs } = record;
        records.push({ place: { lane, order }, key, value, position, timestampMs });
      }
      if (records.length > 0) yield records;
    }
  } finally {
    await handle.close();
  }
}

/** Under the name that it has by now. */
async function openNow(
  folder: string,
  { name, number }: TabletFile,
  steps: Steps,
): Promise<{ handle: FileHandle; path: string }> {
  for (let path = join(folder, name); ;)
    try {
      return { handle: await openFile(path, 'r', steps), path };
    } catch (error) {
      const now = filesIn(await namesIn(folder, steps)).find((file) => file.number === number);
      if (codeOf(error) !== 'ENOENT' || now === undefined || join(folder, now.name) === path) throw error;
      path = join(folder, now.name);
    }
}

function startsWith(line: Buffer, text: string): boolean {
  return line.length >= text.length && line.toString('latin1', 0, text.length) === text;
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
