import { readdir, rm, truncate, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCodeOf } from '../../util/error-code.ts';
import { openIfThere, type Steps } from './disk.ts';
import type { CommittedData, Previous, Span } from './lines.ts';
import { allFiles, openName, parseDataName, publishedName, type TabletFile } from './names.ts';
import { Copy, linkNew } from './publish-copy.ts';
import { readBegin } from './read-lines.ts';
import { committedData } from './recovery.ts';

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
export function publishLines(folder: string, number: number, span: Span | null, steps: Steps): Promise<boolean> {
  return unlessGone(async () => {
    const open = join(folder, openName(number, 'lines'));
    if (span !== null) await linkNew(open, folder, publishedName(linesOf(number), span.first, span.last), steps);
    await steps.take(() => unlink(open));
  });
}

/** The same of files of Avro, whose journal goes last: as long as it is there it speaks for them. */
export function publishAvro(
  folder: string,
  number: number,
  parts: readonly CommittedData[],
  steps: Steps,
): Promise<boolean> {
  return unlessGone(async () => {
    for (const [part, { file, first, last }] of parts.entries()) {
      await linkNew(join(folder, file), folder, publishedName({ number, part, container: 'avro' }, first, last), steps);
      await steps.take(() => unlink(join(folder, file)));
    }
    await steps.take(() => unlink(join(folder, openName(number, 'avro'))));
  });
}

function linesOf(number: number): Pick<TabletFile, 'number' | 'part' | 'container'> {
  return { number, part: 0, container: 'lines' };
}

async function unlessGone(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
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
  await publishNamed(folder, left, steps);
  // Of who died in the midst of it; or only slept, and would publish again what a reader has moved away since.
  for (const name of await steps.take(() => readdir(folder)))
    if (name.startsWith(DRAFT)) await steps.take(() => rm(join(folder, name), { force: true }));
  await removeData(folder, left.below, steps);
}

/** Removes what is beside journals that are gone: all that counted of it is published, and a writer that is shut out may have gone on. */
export async function removeData(folder: string, below: number, steps: Steps): Promise<void> {
  for (const name of await steps.take(() => readdir(folder)))
    if ((parseDataName(name)?.number ?? below) < below) await steps.take(() => rm(join(folder, name), { force: true }));
}

async function publishNamed(folder: string, { below, counts, token }: Left, steps: Steps): Promise<void> {
  const files = allFiles(await steps.take(() => readdir(folder))).filter(({ number }) => number < below);
  const lowest = files.find(({ state }) => state === 'open')?.number ?? below;
  let named = counts;
  for (const file of files.filter(({ number }) => number >= lowest).toReversed()) {
    if (named !== null && file.number < named.file) break; // the one that is named was moved away: all before it is long published
    const path = join(folder, file.name);
    const published = files.filter(({ number, state }) => number === file.number && state === 'published');
    if (named?.file === file.number && (file.container === 'lines' || file.state === 'open')) {
      const previous = await previousOf(path, steps);
      if (previous === 'gone') return; // its own writer has published it meanwhile, and all before it
      if (file.state === 'open') await publishCopies(folder, file, published, { bytes: named.bytes, token }, steps);
      named = previous;
    }
    if (file.state === 'open') await steps.take(() => rm(path, { force: true }));
  }
}

/** What counts of a file that was left, or of those that its journal tells of: each that is not published yet. */
async function publishCopies(
  folder: string,
  { name, number, container }: TabletFile,
  published: readonly TabletFile[],
  { bytes, token }: { readonly bytes: number; readonly token: string },
  steps: Steps,
): Promise<void> {
  const copy = new Copy(folder, join(folder, `${DRAFT}${token}`));
  if (container === 'lines') {
    if (published.length === 0) await copy.lines(join(folder, name), linesOf(number), bytes, steps);
    return;
  }
  for (const [part, data] of (await committedData(join(folder, name), bytes, steps)).entries())
    if (published.every((file) => file.part !== part)) await copy.data(data, { number, part, container }, steps);
}

/** Of versions that knew one name alone: what nobody reads is given back. What does not succeed is no harm. */
export async function tidyPlain(path: string, counts: { readonly bytes: number } | null): Promise<void> {
  await (counts === null ? unlink(path) : truncate(path, counts.bytes)).catch(() => undefined);
}

/** What the first line names. */
async function previousOf(path: string, steps: Steps): Promise<Previous | 'gone'> {
  const handle = await openIfThere(path, steps);
  if (handle === null) return 'gone';
  try {
    return (await readBegin(handle, path, steps)).begin.previous;
  } finally {
    void handle.close().catch(() => undefined);
  }
}
