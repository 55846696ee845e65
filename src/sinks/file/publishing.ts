import { link, readdir, truncate, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { SinkError } from '../sink.ts';
import { codeOf, openFile, syncFolder, writeAll, type Steps } from './disk.ts';
import { upTo, type Previous, type Span } from './lines.ts';
import { allFiles, openName, publishedName, type TabletFile } from './names.ts';
import { eachLine, linesBefore, readBegin } from './read-lines.ts';
import { positionOf } from './record-line.ts';

/** Begins the names of copies that are not whole yet. */
const DRAFT = '.publish-';

/*
 * How files come to their last names. From then on they never change: readers may take them whole, and move them away. The
 * newest file of a folder is never published, so there is always one that says where the tablet is.
 */

/**
 * Publishes a file that its own writer is done with, and has begun the next behind. What its name says is what it holds: all of it
 * is committed, and nobody writes to it any more.
 * @param span null: it holds no records, and nobody misses it
 * @returns false: who has taken over was quicker
 */
export async function publishOwn(folder: string, number: number, span: Span | null, steps: Steps): Promise<boolean> {
  const open = join(folder, openName(number));
  try {
    if (span !== null) await linkNew(open, join(folder, publishedName(number, span.first, span.last)), folder, steps);
    await steps.take(() => unlink(open));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
  return true;
}

/** What dead writers have left. */
interface Left {
  /** Number of the file that was begun behind it. */
  readonly below: number;
  /** What that one names of it. */
  readonly counts: Previous;
  /** Of who publishes it. */
  readonly token: string;
}

/**
 * Publishes what counts of the files that dead writers have left, and removes the rest of them. A writer that only slept may have
 * one open still: so the bytes go into a file of their own.
 */
export async function publishLeft(folder: string, left: Left, steps: Steps): Promise<void> {
  try {
    await publishNamed(folder, left, steps);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error; // somebody has taken over from us, and published it
  }
  // Of who died in the midst of it; or only slept, and would publish again what a reader has moved away since.
  for (const name of await steps.take(() => readdir(folder)))
    if (name.startsWith(DRAFT)) await steps.take(() => removeFile(join(folder, name)));
}

async function publishNamed(folder: string, { below, counts, token }: Left, steps: Steps): Promise<void> {
  const files = allFiles(await steps.take(() => readdir(folder))).filter(({ number }) => number < below);
  const lowest = files.find(({ state }) => state === 'open')?.number ?? below;
  let named = counts;
  for (const file of files.filter(({ number }) => number >= lowest).toReversed()) {
    if (named !== null && file.number < named.file) break; // the one that is named was moved away: all before it is long published
    const path = join(folder, file.name);
    const isPublished = files.some(({ number, state }) => number === file.number && state === 'published');
    if (named?.file === file.number) {
      if (!isPublished && file.state === 'open') await publishCopy(folder, file, named.bytes, token, steps);
      named = await previousOf(path, steps);
    }
    if (file.state === 'open') await steps.take(() => removeFile(path));
  }
}

/** Of versions that knew one name alone: what nobody reads is given back. What does not succeed is no harm. */
export async function tidyPlain(path: string, counts: { readonly bytes: number } | null): Promise<void> {
  await (counts === null ? unlink(path) : truncate(path, counts.bytes)).catch(() => undefined);
}

async function publishCopy(
  folder: string,
  { name, number }: TabletFile,
  bytes: number,
  token: string,
  steps: Steps,
): Promise<void> {
  const draft = join(folder, `${DRAFT}${token}`);
  await using to = await openFile(draft, 'wx', steps); // before the other one: who removes that removes this behind it
  try {
    await using from = await openFile(join(folder, name), 'r', steps);
    if (!(await isWhole(from, join(folder, name), bytes, steps))) return;
    const span = await copyLines(from, to, bytes, steps);
    await steps.take(() => to.datasync());
    if (span !== null) await linkNew(draft, join(folder, publishedName(number, span.first, span.last)), folder, steps);
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}

/**
 * False for a number that was begun twice, the first one published and moved away since: nothing was written into the second.
 * @throws {SinkError} `refused`: the disk has lost what it had confirmed
 */
async function isWhole(handle: FileHandle, path: string, bytes: number, steps: Steps): Promise<boolean> {
  const { size } = await steps.take(() => handle.stat());
  if (size >= bytes) return true;
  if ((await readBegin(handle, path, steps)).bytes === size) return false;
  throw new SinkError(
    'refused',
    `${path} has lost ${bytes - size} bytes that were committed: move it away, and resync its table`,
  );
}

/** With the line break that the last commit may lack. @returns what it has of records */
async function copyLines(from: FileHandle, to: FileHandle, bytes: number, steps: Steps): Promise<Span | null> {
  let span: Span | null = null;
  for await (const { lines } of linesBefore(from, bytes, steps)) {
    await writeAll(to, lines, steps);
    for (const [line] of eachLine(lines)) {
      const position = positionOf(line);
      if (position !== null) span = upTo(span, position);
    }
  }
  await writeAll(to, Buffer.from('\n'), steps);
  return span;
}

/** What the first line names. */
async function previousOf(path: string, steps: Steps): Promise<Previous> {
  const handle = await openFile(path, 'r', steps);
  try {
    return (await readBegin(handle, path, steps)).begin.previous;
  } finally {
    void handle.close().catch(() => undefined);
  }
}

/**
 * Durable when it resolves. A name that is there already has the same bytes: who else publishes that number has the same to
 * publish.
 */
async function linkNew(from: string, to: string, folder: string, steps: Steps): Promise<void> {
  try {
    await steps.take(() => link(from, to));
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
  await syncFolder(folder, steps);
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}
