import type { RecordDecoder } from '../formats/decoder.ts';
import type { RecordFormat } from '../formats/format.ts';
import { jsonDecoder } from '../formats/json-decode.ts';
import { compileJson } from '../formats/json.ts';
import { saltFilesOf, Selection } from '../selection/selection.ts';
import { Salts } from '../selection/salts.ts';
import { selecting } from '../selection/selecting.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { SPOOR_VERSION } from '../util/version.ts';

/** How the changes of a stream are written. @param nameOf under which name a table is in the stream, where that is known */
export function formatFor({ definition }: StoredStream, nameOf: (tableId: string) => string | undefined): RecordFormat {
  const { name, tombstones } = definition;
  return selecting(compileJson({ streamName: name, version: SPOOR_VERSION, tombstones }), { definition, nameOf });
}

/** What a stream wants of its tables, whichever operations it leaves out. @throws {SinkError} a salt of it cannot be read here */
export async function selectionFor({ skipOperations: _, ...definition }: StreamDefinition): Promise<Selection> {
  const salts = new Salts(saltFilesOf(definition));
  await salts.refresh();
  return new Selection(definition, (file) => salts.of(file));
}

/** How the records of a stream are read again. */
export function decoderFor({ name, images }: Pick<StreamDefinition, 'name' | 'format' | 'images'>): RecordDecoder {
  return jsonDecoder(name, images);
}
