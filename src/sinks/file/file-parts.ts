import { readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCodeOf } from '../../util/error-code.ts';
import { openFile, openIfThere, type Steps } from './disk.ts';
import type { Previous } from './lines.ts';
import { allFiles, filesIn, type Container } from './names.ts';
import { readBegin } from './read-lines.ts';
import { committedData, committedLengthOf } from './recovery.ts';

/** What is read of one file. */
export interface Part {
  readonly folder: string;
  readonly lane: string;
  readonly name: string;
  readonly number: number;
  readonly part: number;
  readonly container: Container;
  /** Of files of one number: how many bytes the ones before have. */
  readonly base: number;
  /** Null: all of it. */
  readonly bytes: number | null;
}

type Found = Pick<Part, 'name' | 'part' | 'bytes'>;

/** What counts of the files of a folder. @throws of the system: one has another name by now */
export async function partsOf(folder: string, lane: string, steps: Steps): Promise<readonly Part[]> {
  const files = filesIn(await namesIn(folder, steps));
  const parts: Part[] = [];
  const oldest = files.find(({ state }) => state !== 'published')?.number ?? Number.POSITIVE_INFINITY;
  let isLast = true;
  let named: Previous = null;
  for (const file of files.toReversed()) {
    const { number, container, state } = file;
    const add = (found: readonly Found[]): void => {
      let base = 0;
      const added = found.map((each): Part => {
        const part = { folder, lane, number, container, base, ...each };
        base += each.bytes ?? 0;
        return part;
      });
      parts.unshift(...added);
    };
    if (state === 'published' && (container === 'avro' || number < oldest)) {
      add([{ name: file.name, part: file.part, bytes: null }]);
      continue; // nobody asks what it names
    }
    if (state !== 'published' && !isLast && named?.file !== number) continue; // what its successor does not name does not count
    const path = join(folder, file.name);
    const handle = await openFile(path, 'r', steps);
    try {
      const { begin, bytes: first } = await readBegin(handle, path, steps);
      const counts = Math.max(first, isLast ? await committedLengthOf(handle, steps) : (named?.bytes ?? 0));
      const own = { name: file.name, part: 0, bytes: state === 'published' ? null : counts };
      add(container === 'lines' ? [own] : await dataOf(path, counts, steps));
      named = begin.previous;
      isLast = false;
    } finally {
      await handle.close();
    }
  }
  return withBases(parts, steps);
}

/** Those that a journal tells of. */
async function dataOf(journal: string, bytes: number, steps: Steps): Promise<readonly Found[]> {
  const data = await committedData(journal, bytes, steps);
  return data.map((each, part) => ({ name: each.file, part, bytes: each.bytes }));
}

/** Those that are published are not asked how long they are, but where others of their number follow. */
async function withBases(parts: readonly Part[], steps: Steps): Promise<readonly Part[]> {
  const whole: Part[] = [];
  for (const part of parts) {
    const before = whole.at(-1);
    if (part.bytes !== null || part.part === 0 || before?.number !== part.number) whole.push(part);
    else {
      const { size } = await steps.take(() => stat(join(before.folder, before.name)));
      whole.push({ ...part, base: before.base + size });
    }
  }
  return whole;
}

/**
 * Opens it under the name that it has by now; null where it is no more: it had no record, or somebody has moved it away.
 * @throws of the system
 */
export async function openPart(
  { folder, name, number, part }: Part,
  steps: Steps,
): Promise<{ readonly handle: FileHandle; readonly path: string } | null> {
  for (let path = join(folder, name); ;) {
    const handle = await openIfThere(path, steps);
    if (handle !== null) return { handle, path };
    const names = await steps.take(() => readdir(folder));
    const published = allFiles(names).find(
      (file) => file.number === number && file.part === part && file.state === 'published',
    );
    if (published === undefined || join(folder, published.name) === path) return null;
    path = join(folder, published.name);
  }
}

/** None where there is no such folder. */
export async function namesIn(path: string, steps: Steps): Promise<readonly string[]> {
  try {
    return (await steps.take(() => readdir(path))).sort();
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
