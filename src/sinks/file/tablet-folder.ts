import { randomUUID } from 'node:crypto';
import { link, readdir, readFile, rename, symlink, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCodeOf } from '../../util/error-code.ts';
import type { TabletPosition } from '../../change/position.ts';
import { SinkError, type SinkTablet } from '../sink.ts';
import { makeFolder, openFile, syncFolder, writeAll, type Steps } from './disk.ts';
import { beginLine, type Begin, type Previous } from './lines.ts';
import {
  allFiles,
  escapeName,
  filesIn,
  openName,
  streamFolder,
  TABLES,
  type Container,
  type TabletFile,
} from './names.ts';
import { publishLeft, tidyPlain } from './publishing.ts';
import { sealedLengthOf, type Sealed } from './recovery.ts';

/** Says who writes: the name that stands in it is renamed into place, and whoever is named no more is fenced. */
const OWNER = 'owner';

/** A file that this process has begun. */
export interface OpenFile {
  readonly number: number;
  readonly handle: FileHandle;
  /** Of its first line. */
  readonly bytes: number;
  /** What that says of the file before. */
  readonly previous: Previous;
}

/** What a file begins with, besides its number. */
export type Beginning = Pick<Begin, 'previous' | 'position' | 'table'>;

/**
 * The folder of a tablet, and who may write into it.
 *
 * Of two writers one is always right: a writer looks at `owner` *behind* its commit is durable, and before it says so to anybody;
 * who takes over puts its own name there *before* it looks how much was committed. So what was said is always found. It looks once
 * more behind that: had a third one come meanwhile, the file that it has looked at could be the third one's, who goes on in it.
 */
export class TabletFolder {
  readonly path: string;
  readonly #dir: string;
  readonly #stream: string;
  readonly #tablet: SinkTablet;
  readonly #container: Container;
  readonly token = randomUUID();

  constructor(dir: string, installation: string, tablet: SinkTablet, container: Container) {
    this.#container = container;
    const { streamName, streamGeneration: generation, tabletId } = tablet;
    this.#dir = dir;
    this.#tablet = tablet;
    this.#stream = streamFolder(dir, { installation, streamName, generation });
    this.path = join(this.#stream, escapeName(tabletId));
  }

  /** Makes it, and lets it be found by the name of its table. @throws of the system */
  async prepare(table: string, steps: Steps): Promise<void> {
    await makeFolder(this.path, this.#dir, steps);
    await this.linkTable(table, steps);
  }

  /** Shuts every earlier writer out, seals its file, and begins the next. @throws of the system */
  async takeOver(steps: Steps): Promise<{ file: OpenFile; position: TabletPosition | null; table: string }> {
    await this.#claim(steps);
    for (;;) {
      const newest = filesIn(await steps.take(() => readdir(this.path))).at(-1);
      const sealed = newest === undefined ? null : await this.#seal(newest, steps);
      if (sealed === 'gone') continue;
      await this.assertOwner(steps);
      const { position, table } = sealed ?? { position: null, table: this.#tablet.tableName };
      const number = (newest?.number ?? 0) + 1;
      const counts = toPrevious(sealed);
      const file = await this.begin(number, { previous: counts, position, table }, steps);
      if (file === null) continue; // a rival was quicker, and what it has begun is to be sealed
      try {
        if (newest?.state === 'plain')
          await tidyPlain(join(this.path, newest.name), sealed?.hasRecords ? sealed : null);
        await publishLeft(this.path, { below: number, counts, token: this.token }, steps);
      } catch (error) {
        void file.handle.close().catch(() => undefined);
        await this.assertOwner(steps); // a third one may have published it, and removed what we have begun of that
        throw error;
      }
      return { file, position, table };
    }
  }

  /** Begins a file, whole with its first line or not at all. @returns null where that number is another's, or was */
  async begin(number: number, beginning: Beginning, steps: Steps): Promise<OpenFile | null> {
    const { streamName: stream, tabletId: tablet } = this.#tablet;
    const draft = join(this.path, `.begin-${this.token}`);
    const path = join(this.path, openName(number, this.#container));
    const line = Buffer.from(beginLine({ begin: number, stream, tablet, ...beginning }));
    const handle = await openFile(draft, 'ax', steps);
    try {
      await writeAll(handle, line, steps);
      await steps.take(() => handle.datasync());
      await steps.take(() => link(draft, path));
      // Who slept before that: the number may have been a rival's, published since, and its name free again.
      if (!(await this.#isNewest(number, steps))) {
        await Promise.allSettled([handle.close(), unlink(draft), unlink(path)]);
        return null;
      }
    } catch (error) {
      await Promise.allSettled([handle.close(), unlink(draft)]);
      if (errorCodeOf(error) === 'EEXIST') return null;
      throw error;
    }
    try {
      await steps.take(() => unlink(draft));
      await syncFolder(this.path, steps);
    } catch (error) {
      void handle.close().catch(() => undefined);
      throw error;
    }
    return { number, handle, bytes: line.length, previous: beginning.previous };
  }

  /** @throws {SinkError} `fenced` */
  async assertOwner(steps: Steps): Promise<void> {
    const owner = await steps.take(() => readFile(join(this.path, OWNER), 'utf8'));
    if (owner !== this.token) throw this.fenced();
  }

  fenced(): SinkError {
    return new SinkError('fenced', `tablet ${this.#tablet.tabletId} has a newer writer in ${this.path}`);
  }

  /** Lets the tablet be found by the name of a table. */
  async linkTable(table: string, steps: Steps): Promise<void> {
    const folder = join(this.#stream, TABLES, escapeName(table));
    const tablet = escapeName(this.#tablet.tabletId);
    await makeFolder(folder, this.#dir, steps);
    try {
      await steps.take(() => symlink(join('..', '..', tablet), join(folder, tablet)));
    } catch (error) {
      if (errorCodeOf(error) === 'EEXIST') return;
      throw error;
    }
    await syncFolder(folder, steps);
  }

  async #claim(steps: Steps): Promise<void> {
    const draft = join(this.path, `.owner-${this.token}`);
    const handle = await openFile(draft, 'ax', steps);
    try {
      await writeAll(handle, Buffer.from(this.token), steps);
      await steps.take(() => handle.datasync());
      await steps.take(() => rename(draft, join(this.path, OWNER)));
    } catch (error) {
      await Promise.allSettled([unlink(draft)]);
      throw error;
    } finally {
      void handle.close().catch(() => undefined);
    }
    await syncFolder(this.path, steps);
  }

  /** Whether a file of that number is the last one, and was never published. */
  async #isNewest(number: number, steps: Steps): Promise<boolean> {
    const files = allFiles(await steps.take(() => readdir(this.path)));
    const own = openName(number, this.#container);
    return files.every((file) => file.number < number || file.name === own);
  }

  async #seal({ name }: TabletFile, steps: Steps): Promise<Sealed | 'gone'> {
    try {
      return await sealedLengthOf(join(this.path, name), steps);
    } catch (error) {
      if (errorCodeOf(error) === 'ENOENT') return 'gone';
      throw error;
    }
  }
}

/** A file without a record is as if it had not been: where the tablet is stands in its successor. */
function toPrevious(sealed: Sealed | null): Previous {
  if (sealed === null) return null;
  return sealed.hasRecords ? { file: sealed.begin.begin, bytes: sealed.bytes } : sealed.begin.previous;
}
