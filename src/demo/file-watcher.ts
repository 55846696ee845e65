import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ChangeTally } from './change-tally.ts';
import { errorCodeOf } from '../util/error-code.ts';

const POLL_MS = 100;
const MAX_READ = 8 << 20;
const COMMIT = '{"commit":';

interface Line {
  readonly key: unknown;
  readonly value: unknown;
  readonly pos: string;
}

/** How far a tablet's files were read. */
interface Place {
  number: number;
  at: number;
}

/** Follows the files of a stream as docs/sinks-file.md tells readers to. */
export class FileWatcher implements AsyncDisposable {
  readonly tally = new ChangeTally();
  readonly #dir: string;
  readonly #places = new Map<string, Place>();
  #isClosed = false;
  readonly #watching: Promise<void>;

  /** @param dir of one stream alone */
  constructor(dir: string) {
    this.#dir = dir;
    this.#watching = this.#watch();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#watching;
  }

  async #watch(): Promise<void> {
    while (!this.#isClosed) {
      for (const stream of await namesIn(this.#dir))
        for (const creation of await namesIn(join(this.#dir, stream)))
          for (const tablet of await namesIn(join(this.#dir, stream, creation)))
            if (tablet !== 'tables') await this.#follow(join(this.#dir, stream, creation, tablet));
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Reads on in a tablet's folder, through all of its files. */
  async #follow(folder: string): Promise<void> {
    const place = this.#places.get(folder) ?? { number: 0, at: 0 };
    this.#places.set(folder, place);
    try {
      for (;;) {
        const files = filesOf(await namesIn(folder));
        const next = Math.min(...[...files.keys()].filter((number) => number > place.number));
        const successor = files.get(next);
        const current = files.get(place.number);
        const end = successor === undefined ? null : await endOf(join(folder, successor), place);
        if (current !== undefined) while (await this.#read(join(folder, current), place, end));
        if (successor === undefined) return;
        [place.number, place.at] = [next, 0];
      }
    } catch (error) {
      if (errorCodeOf(error) !== 'ENOENT') throw error; // it was published meanwhile, under another name
    }
  }

  /** @returns whether there may be more of it */
  async #read(path: string, place: Place, end: number | null): Promise<boolean> {
    const length = Math.min(MAX_READ, (end ?? Number.POSITIVE_INFINITY) - place.at);
    if (length <= 0) return false;
    await using file = await open(path, 'r');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, place.at);
    const isEnd = end !== null && place.at + bytesRead === end;
    const text = buffer.toString('latin1', 0, bytesRead) + (isEnd ? '\n' : ''); // a character is a byte
    const commit = text.lastIndexOf(`\n${COMMIT}`, text.lastIndexOf('\n') - 1);
    if (commit < 0) return false;
    const taken = text.indexOf('\n', commit + 1) + 1;
    for (const line of text.slice(0, taken).split('\n'))
      if (line.startsWith('{"key":')) this.#see(JSON.parse(Buffer.from(line, 'latin1').toString()) as Line);
    place.at += taken;
    return bytesRead === length && !isEnd;
  }

  #see({ key, value, pos }: Line): void {
    if (value === null) return;
    this.tally.see(JSON.stringify(key), JSON.stringify(value), `pos ${pos}`);
  }
}

/** Up to where the file that is being read counts, by its successor's first line. */
async function endOf(next: string, place: Place): Promise<number> {
  await using file = await open(next, 'r');
  for await (const line of file.readLines({ autoClose: false })) {
    const { previous } = JSON.parse(line) as { previous: { file: number; bytes: number } | null };
    return previous?.file === place.number ? previous.bytes : place.at;
  }
  return place.at;
}

/** Names by numbers: what is published sorts behind what its writer had open. */
function filesOf(names: readonly string[]): ReadonlyMap<number, string> {
  const own = names.filter((name) => /^\d+(_.*)?\.jsonl(\.open)?$/.test(name)).sort();
  return new Map(own.map((name) => [Number.parseInt(name, 10), name]));
}

async function namesIn(path: string): Promise<readonly string[]> {
  return readdir(path).catch(() => []);
}
