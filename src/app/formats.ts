import type { SinkPlanner } from '../api/stream-plan.ts';
import type { RecordDecoder } from '../formats/decoder.ts';
import type { RecordFormat } from '../formats/format.ts';
import { jsonDecoder } from '../formats/json-decode.ts';
import { jsonLayout } from '../formats/json-definition.ts';
import { compileJson } from '../formats/json.ts';
import { Salts } from '../selection/salts.ts';
import { selecting } from '../selection/selecting.ts';
import { saltFilesOf, Selection } from '../selection/selection.ts';
import { SinkError } from '../sinks/sink.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { SPOOR_VERSION } from '../util/version.ts';

export interface FormatSurroundings {
  readonly planSink: SinkPlanner;
  readonly onNonFinite: () => void;
  /** Under which name a table is in the stream; undefined where that is not known. */
  readonly nameOf: (tableId: string) => string | undefined;
}

/** How the changes of a stream are written. */
export function formatFor(
  { definition }: Pick<StoredStream, 'definition'>,
  { planSink, onNonFinite, nameOf }: FormatSurroundings,
): RecordFormat {
  const { name, tombstones, format } = definition;
  const topicOf = (table: string): string => placeOf(definition, table, planSink);
  const layout = jsonLayout(format);
  const json = compileJson({ streamName: name, version: SPOOR_VERSION, tombstones, layout, topicOf, onNonFinite });
  return selecting(json, { definition, nameOf });
}

/** What a stream wants of its tables, whichever operations it leaves out. @throws {SinkError} a salt of it cannot be read here */
export async function selectionFor({ skipOperations: _, ...definition }: StreamDefinition): Promise<Selection> {
  const salts = new Salts(saltFilesOf(definition));
  await salts.refresh();
  return new Selection(definition, (file) => salts.of(file));
}

/** How the records of a stream are read again. @throws {SinkError} they do not say what they are of */
export function decoderFor({
  name,
  format,
  images,
}: Pick<StreamDefinition, 'name' | 'format' | 'images'>): RecordDecoder {
  const layout = jsonLayout(format);
  if (layout.envelope === 'flat')
    throw new SinkError(
      'refused',
      `stream ${name} has envelope "flat": its records do not say of which table and operation they are, so they cannot be verified`,
    );
  return jsonDecoder(name, images, layout);
}

/** Where the records of a table go. @throws {RangeError} nowhere */
function placeOf(definition: StreamDefinition, table: string, planSink: SinkPlanner): string {
  const { places, faults } = planSink(definition, [table]);
  const place = places.get(table);
  if (place === undefined) throw new RangeError(faults[0] ?? 'the sink has no place for it');
  return place;
}
