import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCodeOf } from '../../util/error-code.ts';
import type { SinkReader } from '../reader.ts';
import { refusingSink } from '../refusing-sink.ts';
import type { Sink, SinkPlan } from '../sink.ts';
import type { PlaceReport, SinkReport, SinkStream, SinkType, StreamToRead } from '../sink-type.ts';
import type { FileDefinition } from './definition.ts';
import { toSinkError } from './disk.ts';
import { FileReader } from './file-reader.ts';
import { FileSink } from './file-sink.ts';
import { escapeName, TABLES } from './names.ts';

/** What streams into files ask for besides shipping. */
export class FileType implements SinkType<FileDefinition> {
  readonly configured = null;

  open(definition: FileDefinition, { format, installation }: SinkStream): Sink {
    if (format !== 'json' && format !== 'avro')
      return refusingSink(`files take format json or avro, and the stream has ${format}`);
    return new FileSink(definition, installation, format === 'avro' ? 'avro' : 'lines');
  }

  plan({ dir }: FileDefinition, streamName: string, tables: readonly string[]): SinkPlan {
    const placeOf = (table: string): string => join(dir, escapeName(streamName), '*', TABLES, escapeName(table));
    return { places: new Map(tables.map((table) => [table, placeOf(table)])), faults: [], warnings: [] };
  }

  markless(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  /** Folders of tables are made with the first record; `dir` itself has to be there. */
  async inquire({ dir }: FileDefinition, places: readonly string[]): Promise<SinkReport> {
    const { state, missing } = await stateOf(dir);
    return { places: places.map((name) => placeIn(name, state)), missing, warnings: [] };
  }

  wrongSettings(): Promise<null> {
    return Promise.resolve(null);
  }

  reader(definition: FileDefinition, { name }: StreamToRead): SinkReader {
    return new FileReader(definition.dir, name);
  }

  /** A write costs an fsync. */
  writeIntervalMs(): number {
    return 10;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

async function stateOf(dir: string): Promise<{ state: PlaceReport['state']; missing: readonly string[] }> {
  try {
    await access(dir, constants.R_OK | constants.W_OK | constants.X_OK);
    return { state: 'made', missing: [] };
  } catch (error) {
    const state = errorCodeOf(error) === 'ENOENT' ? 'missing' : 'refused';
    return { state, missing: [toSinkError(error, dir).message] };
  }
}

function placeIn(name: string, state: PlaceReport['state']): PlaceReport {
  return { name, of: 'rows', state, partitions: null, replicationFactor: null, settings: {}, differences: [] };
}
