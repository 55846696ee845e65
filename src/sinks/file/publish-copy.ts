import { link, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCodeOf } from '../../util/error-code.ts';
import { SinkError } from '../sink.ts';
import { openFile, openIfThere, syncFolder, writeAll, type Steps } from './disk.ts';
import { upTo, type CommittedData, type Span } from './lines.ts';
import { publishedName, type TabletFile } from './names.ts';
import { chunksOf, eachLine, linesBefore, readBegin } from './read-lines.ts';
import { positionOf } from './record-line.ts';

type Place = Pick<TabletFile, 'number' | 'part' | 'container'>;

/** Publishes what a dead writer has left, as files of their own: it may only sleep, and have its own open still. */
export class Copy {
  readonly #folder: string;
  readonly #draft: string;

  /** @param draft path of a file that nobody else uses */
  constructor(folder: string, draft: string) {
    this.#folder = folder;
    this.#draft = draft;
  }

  async lines(path: string, place: Place, bytes: number, steps: Steps): Promise<void> {
    await this.#publish(path, place, bytes + 1, steps, async (from, to) => {
      const isWhole = await hasAll(from, path, bytes, (await readBegin(from, path, steps)).bytes, steps);
      return isWhole ? copyLines(from, to, bytes, steps) : null;
    });
  }

  async data({ file, bytes, first, last }: CommittedData, place: Place, steps: Steps): Promise<void> {
    const path = join(this.#folder, file);
    await this.#publish(path, place, bytes, steps, async (from, to) => {
      for await (const chunk of chunksOf(from, 0, bytes, steps)) await writeAll(to, chunk, steps);
      return { first, last };
    });
  }

  /**
   * @param bytes that the copy is to have: one that has fewer is not published, whatever became of the file meanwhile
   * @param copy null: there is nothing to publish
   */
  async #publish(
    path: string,
    place: Place,
    bytes: number,
    steps: Steps,
    copy: (from: FileHandle, to: FileHandle) => Promise<Span | null>,
  ): Promise<void> {
    await using to = await openFile(this.#draft, 'wx', steps); // before the other: who removes that removes this behind it
    try {
      await using from = await openIfThere(path, steps);
      if (from === null) return; // its own writer has published it meanwhile
      const span = await copy(from, to);
      if (span === null) return;
      await hasAll(to, path, bytes, null, steps);
      await steps.take(() => to.datasync());
      await linkNew(this.#draft, this.#folder, publishedName(place, span.first, span.last), steps);
    } finally {
      await unlink(this.#draft).catch(() => undefined);
    }
  }
}

/**
 * False for a number that was begun twice, the first one published and moved away since: nothing was written into the second.
 * @param empty how many bytes such a file has
 * @throws {SinkError} `refused`: the disk has lost what it had confirmed
 */
async function hasAll(
  handle: FileHandle,
  path: string,
  bytes: number,
  empty: number | null,
  steps: Steps,
): Promise<boolean> {
  const { size } = await steps.take(() => handle.stat());
  if (size >= bytes) return true;
  if (size === empty) return false;
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

/**
 * Durable when it resolves. A name that is there already has the same bytes: who else publishes that number has the same to
 * publish.
 */
export async function linkNew(from: string, folder: string, name: string, steps: Steps): Promise<void> {
  try {
    await steps.take(() => link(from, join(folder, name)));
  } catch (error) {
    if (errorCodeOf(error) !== 'EEXIST') throw error;
  }
  await syncFolder(folder, steps);
}
