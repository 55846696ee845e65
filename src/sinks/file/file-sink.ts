import { randomUUID } from 'node:crypto';
import { link, readFile, unlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Sink, SinkTablet, TabletWriter } from '../sink.ts';
import type { FileDefinition } from './definition.ts';
import { checkFolder, codeOf, Steps, syncFolder, toSinkError } from './disk.ts';
import { FileWriter } from './file-writer.ts';
import { TabletFolder } from './tablet-folder.ts';

/** In `dir`: says which storage it is, however it is mounted. */
const STORE_ID = '.spoor-store';

/** Writes the records of a stream into files, see docs/sinks-file.md. Exactly once for who reads as that says. */
export class FileSink implements Sink {
  readonly #definition: Omit<FileDefinition, 'type'>;
  readonly #installation: string;

  /** @param installation two clusters may share a folder */
  constructor(definition: Omit<FileDefinition, 'type'>, installation: string) {
    this.#definition = { ...definition, dir: resolve(definition.dir) };
    this.#installation = installation;
  }

  async openTablet(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    const { dir, rotateBytes, rotateSeconds } = this.#definition;
    const steps = new Steps(signal);
    const folder = new TabletFolder(dir, this.#installation, tablet);
    try {
      const sinkId = `file:${await storeIdOf(dir, steps)}`;
      await folder.prepare(tablet.tableName, steps);
      const opened = await folder.takeOver(steps);
      const rotation = { bytes: rotateBytes, ms: rotateSeconds * 1000 };
      return new FileWriter({ ...opened, folder, dir, sinkId, rotation, onFenced: (e) => tablet.onFenced?.(e) });
    } catch (error) {
      throw toSinkError(error, dir);
    }
  }

  async check(signal: AbortSignal): Promise<void> {
    const { dir } = this.#definition;
    try {
      await checkFolder(dir, new Steps(signal));
    } catch (error) {
      throw toSinkError(error, dir);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

async function storeIdOf(dir: string, steps: Steps): Promise<string> {
  const path = join(dir, STORE_ID);
  for (;;)
    try {
      return await steps.take(() => readFile(path, 'utf8'));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      await makeStoreId(path, dir, steps);
    }
}

/** Whole or not at all, and only one of those who try. */
async function makeStoreId(path: string, dir: string, steps: Steps): Promise<void> {
  const id = randomUUID();
  const draft = `${path}-${id}`;
  try {
    await steps.take(() => writeFile(draft, id, { flush: true }));
    await steps.take(() => link(draft, path));
    await syncFolder(dir, steps);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}
