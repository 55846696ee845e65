import type { SinkPlanner } from '../api/stream-plan.ts';
import { SpoorError } from '../errors.ts';
import { avroFormat } from '../formats/avro/avro.ts';
import { avroRecordReader } from '../formats/avro/avro-reader.ts';
import type { RecordDecoder } from '../formats/decoder.ts';
import type { RecordFormat } from '../formats/format.ts';
import { flatDecoder } from '../formats/json-flat-decode.ts';
import { jsonDecoder } from '../formats/json-decode.ts';
import { jsonLayout } from '../formats/json-definition.ts';
import { compileJson } from '../formats/json.ts';
import { refuseLossyKey } from '../formats/lossy-keys.ts';
import { protobufFormat } from '../formats/protobuf/protobuf.ts';
import { protoRecordReader } from '../formats/protobuf/proto-reader.ts';
import { RegisteredFormat } from '../formats/typed/registered.ts';
import { RegisteredDecoder } from '../formats/typed/registered-decoder.ts';
import type { SchemaTexts, TypedFormat } from '../formats/typed/row-writer.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { Salts } from '../selection/salts.ts';
import { selecting } from '../selection/selecting.ts';
import { saltFilesOf, Selection } from '../selection/selection.ts';
import type { SinkPlan } from '../sinks/sink.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { SPOOR_VERSION } from '../util/version.ts';
import type { Registries } from './registries.ts';

/** Of what is hashed the type alone is told. */
const NO_SALT = Buffer.alloc(0);

export interface FormatSurroundings {
  readonly registries: Registries;
  readonly planSink: SinkPlanner;
  readonly onNonFinite: () => void;
  /** Under which name a table is in the stream; undefined where that is not known. */
  readonly nameOf: (tableId: string) => string | undefined;
}

/** How the changes of a stream are written. */
export function formatFor(
  { definition }: Pick<StoredStream, 'definition'>,
  { registries, planSink, onNonFinite, nameOf }: FormatSurroundings,
): RecordFormat {
  const { name, tombstones, format } = definition;
  const topicOf = (table: string): string => topicNameOf(definition, table, planSink);
  const typed = typedFormatOf(definition);
  if (typed && format.type !== 'json') {
    const ids = format.registry === undefined ? null : registries.at(format.registry).ids;
    const { subject, autoRegister } = format;
    const registered = new RegisteredFormat({ format: typed, ids, subject, autoRegister, topicOf, tombstones });
    return selecting(registered, { definition, nameOf });
  }
  const layout = jsonLayout(format.type === 'json' ? format : { type: 'json' });
  const json = compileJson({ streamName: name, version: SPOOR_VERSION, tombstones, layout, topicOf, onNonFinite });
  return selecting(json, { definition, nameOf });
}

/** What a stream wants of its tables, whichever operations it leaves out. @throws {SinkError} a salt of it cannot be read here */
export async function selectionFor({ skipOperations: _, ...definition }: StreamDefinition): Promise<Selection> {
  const salts = new Salts(saltFilesOf(definition));
  await salts.refresh();
  return new Selection(definition, (file) => salts.of(file));
}

/** How the records of a stream are read again. */
export function decoderFor(
  { name, format, images: kind }: Pick<StreamDefinition, 'name' | 'format' | 'images'>,
  registries: Registries,
): RecordDecoder {
  const registered = (registry: string | readonly string[] | undefined) => ({
    streamName: name,
    images: kind === 'full' ? ('full' as const) : ('after' as const),
    registry: registry === undefined ? null : registries.at(registry).client,
  });
  switch (format.type) {
    case 'json': {
      const layout = jsonLayout(format);
      if (layout.envelope === 'flat') return flatDecoder(layout);
      return jsonDecoder(name, kind, layout);
    }
    case 'avro':
    case 'protobuf': {
      const { type, decimals, time } = format;
      const of = { ...registered(format.registry), decimals, time };
      return type === 'avro'
        ? new RegisteredDecoder({ ...of, compile: avroRecordReader, times: 'adaptive' })
        : new RegisteredDecoder({ ...of, compile: protoRecordReader });
    }
  }
}

/** Null for a format whose records name no schema. */
function typedFormatOf({ name, format }: Pick<StreamDefinition, 'name' | 'format'>): TypedFormat | null {
  switch (format.type) {
    case 'json':
      return null;
    case 'avro':
      return avroFormat({ ...format, streamName: name, version: SPOOR_VERSION });
    case 'protobuf':
      return protobufFormat({ ...format, streamName: name, version: SPOOR_VERSION });
  }
}

/** The schemas of a table's records, and where they go. */
export interface DescribedTable extends SchemaTexts {
  readonly topic: string;
  readonly schemaType: TypedFormat['schemaType'];
}

/**
 * What the records of a table would be in a stream: null where they name no schema.
 * @param table its name, and that under which it joins
 * @param stored as the table has it
 * @throws {RangeError} they cannot be written in the stream's format; {@link SpoorError} what is selected is not there
 */
export function describeTable(
  definition: StreamDefinition,
  table: string,
  stored: TableSchema,
  planSink: SinkPlanner,
): DescribedTable | null {
  const { format } = definition;
  const schema = new Selection(definition, () => NO_SALT).project(stored, table);
  const typed = typedFormatOf(definition);
  if (typed) {
    const topic = topicNameOf(definition, table, planSink);
    return { ...typed.schemas(schema, topic), topic, schemaType: typed.schemaType };
  }
  if (format.type === 'json') for (const column of schema.columns) refuseLossyKey(column, jsonLayout(format));
  return null;
}

/** Why the records of a table cannot be written as a stream has them; null where they can, or where `columns` is what is wrong. */
export function troubleOf(...of: Parameters<typeof describeTable>): string | null {
  try {
    describeTable(...of);
    return null;
  } catch (error) {
    if (error instanceof RangeError) return error.message;
    if (error instanceof SpoorError) return null;
    throw error;
  }
}

/** Whether {@link describeTable} may throw for some table. */
export function isChoosy({ format }: Pick<StreamDefinition, 'format'>): boolean {
  if (format.type !== 'json') return true;
  const { decimals, time } = jsonLayout(format);
  return decimals === 'double' || time === 'connect';
}

/** What a sink would do with the tables of a stream, and what its format has against that. */
export function planWithFormat(plan: SinkPlan, { format }: Pick<StreamDefinition, 'format'>): SinkPlan {
  if (format.type === 'json') return plan;
  const tablesOf = new Map<string, string[]>();
  for (const [table, place] of plan.places) tablesOf.set(place, [...(tablesOf.get(place) ?? []), table]);
  const shared = [...tablesOf].flatMap(([place, tables]) => {
    if (tables.length === 1) return [];
    const [one, other] = tables.map((table) => JSON.stringify(table)) as [string, string];
    return [
      `${one} and ${other} share the topic ${place}, and a topic has one schema in ${format.type}: take {table} into sink.topic, or give each a topic of its own in sink.topics`,
    ];
  });
  return { ...plan, faults: [...plan.faults, ...shared] };
}

/** What the names in a table's schemas begin with: its topic's, or where it has none, in files, that of stream and table. */
export function topicNameOf(definition: StreamDefinition, table: string, planSink: SinkPlanner): string {
  const { name, format } = definition;
  const hasTopic = format.type === 'json' || format.registry !== undefined;
  return hasTopic ? placeOf(definition, table, planSink) : `${name}.${table}`;
}

/** Where the records of a table go. @throws {RangeError} nowhere */
export function placeOf(definition: StreamDefinition, table: string, planSink: SinkPlanner): string {
  const { places, faults } = planSink(definition, [table]);
  const place = places.get(table);
  if (place === undefined) throw new RangeError(faults[0] ?? 'the sink has no place for it');
  return place;
}
