import { stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { errorCodeOf } from '../../util/error-code.ts';
import { LinkedAbort } from '../../util/linked-abort.ts';
import type { RecordPlace, ShownPlace, SinkReader, StoredRecord } from '../reader.ts';
import { Steps, toSinkError } from './disk.ts';
import { namesIn, partsOf, type Part } from './file-parts.ts';
import { avroRecordsOf, lineRecordsOf } from './file-records.ts';
import { escapeName, TABLES } from './names.ts';

const SCHEMA = 'schema';
/** So often a file may get its last name between a look into its folder and the next step. */
const MAX_LOOKS = 20;
/** A place's order is a file's number, and behind it where in the file the line begins. */
const OFFSET_BITS = 40n;

/** Reads back what is committed of a stream: of the last stream of that name, where there was one before. */
export class FileReader implements SinkReader {
  readonly schemaDestination: string;
  readonly #dir: string;
  readonly #stream: string;
  readonly #stop = new AbortController();
  /** What was read, by lane and number. */
  readonly #read = new Map<string, Part[]>();

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
    const number = order >> OFFSET_BITS;
    const offset = Number(BigInt.asUintN(Number(OFFSET_BITS), order));
    const part = this.#read.get(keyOf(lane, number))?.findLast(({ base }) => base <= offset);
    const file = join(lane, part?.name ?? String(number));
    const byte = offset - (part?.base ?? 0);
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
        return await partsOf(folder, relative(this.#dir, folder), steps);
      } catch (error) {
        if (errorCodeOf(error) !== 'ENOENT' || look === MAX_LOOKS) throw error;
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
        const key = keyOf(part.lane, BigInt(part.number));
        this.#read.set(key, [...(this.#read.get(key) ?? []).filter(({ base }) => base < part.base), part]);
        const order = (BigInt(part.number) << OFFSET_BITS) + BigInt(part.base);
        for await (const found of part.container === 'avro' ? avroRecordsOf(part, steps) : lineRecordsOf(part, steps)) {
          const records = found
            .filter(({ kind, table }) => isWanted(kind, table))
            .map(({ at, record }): StoredRecord => ({
              place: { lane: part.lane, order: order + BigInt(at) },
              ...record,
            }));
          if (records.length > 0) yield records;
        }
      }
    } catch (error) {
      throw toSinkError(error, this.#dir);
    } finally {
      either[Symbol.dispose]();
    }
  }
}

/** The last two files of each lane: the last may have just begun. */
function newestParts(parts: readonly Part[]): readonly Part[] {
  return parts.filter(({ lane, number }) => {
    const later = parts.filter((part) => part.lane === lane && part.number > number);
    return new Set(later.map((part) => part.number)).size < 2;
  });
}

function keyOf(lane: string, number: bigint): string {
  return `${lane}/${number}`;
}
