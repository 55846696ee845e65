import { randomUUID } from 'node:crypto';
import { link, readFile, unlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errorCodeOf } from '../../util/error-code.ts';
import type { Sink, SinkTablet, TabletWriter } from '../sink.ts';
import { AvroContent } from './avro/avro-content.ts';
import type { FileDefinition } from './definition.ts';
import { checkFolder, Steps, syncFolder, toSinkError } from './disk.ts';
import { FileWriter } from './file-writer.ts';
import { LinesContent } from './lines-content.ts';
import type { Container } from './names.ts';
import { TabletFolder } from './tablet-folder.ts';

/** In `dir`: says which storage it is, however it is mounted. */
const STORE_ID = '.spoor-store';

/** Writes the records of a stream into files, see docs/sinks-file.md. Exactly once for who reads as that says. */
export class FileSink implements Sink {
  readonly #definition: Omit<FileDefinition, 'type'>;
  readonly #installation: string;
  readonly #container: Container;

  /**
   * @param installation two clusters may share a folder
   * @param container `lines`: keys and values are JSON; `avro`: they are in Avro, and their batches tell its schemas
   */
  constructor(definition: Omit<FileDefinition, 'type'>, installation: string, container: Container = 'lines') {
    this.#definition = { ...definition, dir: resolve(definition.dir) };
    this.#installation = installation;
    this.#container = container;
  }

  async openTablet(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter> {
    const { dir, rotateBytes, rotateSeconds } = this.#definition;
    const steps = new Steps(signal);
    const folder = new TabletFolder(dir, this.#installation, tablet, this.#container);
    try {
      const sinkId = `file:${await storeIdOf(dir, steps)}`;
      await folder.prepare(tablet.tableName, steps);
      const { file, table, position } = await folder.takeOver(steps);
      const rotation = { bytes: rotateBytes, ms: rotateSeconds * 1000 };
      const content =
        this.#container === 'avro'
          ? new AvroContent(folder.path, file, table, folder.token)
          : new LinesContent(folder.path, file, table);
      return new FileWriter({
        content,
        position,
        folder,
        dir,
        sinkId,
        rotation,
        onFenced: (e) => tablet.onFenced?.(e),
      });
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
      if (errorCodeOf(error) !== 'ENOENT') throw error;
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
    if (errorCodeOf(error) !== 'EEXIST') throw error;
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}
