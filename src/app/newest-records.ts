import type { RecordView } from '../api/shapes.ts';
import { avroRecordReader } from '../formats/avro/avro-reader.ts';
import { formatRawJson } from '../formats/raw-json.ts';
import type { RecordReader } from '../formats/typed/registered-decoder.ts';
import type { ShownPlace, SinkReader, StoredRecord } from '../sinks/reader.ts';
import { UnknownMemberError } from '../streams/stream-errors.ts';

/** A record, and where it lies. */
export interface PlacedRecord {
  readonly record: StoredRecord;
  readonly place: ShownPlace;
  readonly destination: string;
}

/** So many places of a stream are looked into at a time. */
const MAX_PLACES = 20;
/** What a call answers at most, beside its last record. */
const MAX_BYTES = 8 << 20;
/** Of a record that is looked for by its position: so many of each lane are looked at, the newest. */
export const SEARCHED_RECORDS = 10_000;

/**
 * Reads the newest records of some tables, the newest first, as far as their times tell.
 * @throws {UnknownMemberError} there are too many places to look into
 */
export async function newestRecords(
  reader: SinkReader,
  tables: readonly string[],
  last: number,
  signal: AbortSignal,
): Promise<readonly RecordView[]> {
  let found: readonly Kept[] = [];
  const places = placesOf(reader, tables);
  for (const destination of places.keys()) {
    let lane: Kept[] = [];
    for await (const records of reader.read(destination, signal, last))
      for (const record of records) {
        // Lane after lane: of those before it no more is kept than can be among the newest.
        if (lane[0] && lane[0].record.place.lane !== record.place.lane)
          [found, lane] = [newestOf([...found, ...lane], last), []];
        lane.push({ record, destination });
        if (lane.length > last) lane.shift();
      }
    found = newestOf([...found, ...lane], last);
  }
  const texts = new RecordTexts();
  return found.map(({ record, destination }) =>
    viewOf(record, texts, reader.show(record.place), places.get(destination)!),
  );
}

interface Kept {
  readonly record: StoredRecord;
  readonly destination: string;
}

/** Of so many, and of no more than a person can look at, one at least. */
function newestOf(records: readonly Kept[], count: number): readonly Kept[] {
  const sorted = records.toSorted(
    ({ record: a }, { record: b }) => timeOf(b) - timeOf(a) || (a.place.order < b.place.order ? 1 : -1),
  );
  let bytes = 0;
  const end = sorted.findIndex(
    ({ record }, i) =>
      i >= count || ((bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0)) > MAX_BYTES && i > 0),
  );
  return end < 0 ? sorted : sorted.slice(0, end);
}

/** The newest record with a position among those of a table; null where it is not among the newest of any lane. */
export async function findRecord(
  reader: SinkReader,
  table: string,
  position: string,
  signal: AbortSignal,
): Promise<PlacedRecord | null> {
  const destination = reader.destinationOf(table);
  let found: PlacedRecord | null = null;
  for await (const records of reader.read(destination, signal, SEARCHED_RECORDS))
    for (const record of records)
      if (record.position === position && record.value !== null)
        found = { record, place: reader.show(record.place), destination };
  return found;
}

function placesOf(reader: SinkReader, tables: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const places = new Map<string, string[]>();
  for (const table of tables) {
    const destination = reader.destinationOf(table);
    const known = places.get(destination);
    if (known) known.push(table);
    else places.set(destination, [table]);
  }
  if (places.size > MAX_PLACES)
    throw new UnknownMemberError(
      'table',
      `the stream's tables go to ${places.size} places, and ${MAX_PLACES} are looked into at most: name a table`,
    );
  return places;
}

function timeOf({ timestampMs }: StoredRecord): number {
  return timestampMs ?? 0;
}

function viewOf(
  { key, value, position, timestampMs, schemas }: StoredRecord,
  texts: RecordTexts,
  place: ShownPlace,
  tables: readonly string[],
): RecordView {
  const [keyText, valueText] = [texts.of(key, schemas?.key), texts.of(value, schemas?.value)];
  const envelope = valueText?.isBase64 === false ? envelopeOf(valueText.text) : {};
  return {
    table: envelope.table ?? (tables.length === 1 ? tables[0]! : null),
    tabletId: position?.split('/', 1)[0] ?? null,
    position,
    op: envelope.op ?? null,
    at: timestampMs === null ? null : new Date(timestampMs).toISOString(),
    key: keyText?.text ?? null,
    value: valueText?.text ?? null,
    ...((keyText?.isBase64 || valueText?.isBase64) && { isBase64: true as const }),
    place: place.fields,
  };
}

/** Keys and values as text. */
class RecordTexts {
  readonly #readers = new Map<string, RecordReader>();

  /** Of what has its schema with it the JSON that a stream in JSON would have. */
  of(bytes: Buffer | null, schema: string | undefined): Shown | null {
    if (bytes === null || schema === undefined) return textOf(bytes);
    try {
      const read = this.#readers.get(schema) ?? avroRecordReader({ schemaType: 'AVRO', text: schema });
      this.#readers.set(schema, read);
      return { text: formatRawJson(read(bytes)), isBase64: false };
    } catch (error) {
      if (error instanceof SyntaxError) return textOf(bytes);
      throw error;
    }
  }
}

interface Shown {
  readonly text: string;
  readonly isBase64: boolean;
}

/** UTF-8 as it is; other bytes in base64. */
function textOf(bytes: Buffer | null): Shown | null {
  if (bytes === null) return null;
  try {
    const text = UTF8.decode(bytes);
    if (!text.includes('\0')) return { text, isBase64: false }; // a frame of a registry begins with a zero
  } catch {
    // no text
  }
  return { text: bytes.toString('base64'), isBase64: true };
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function envelopeOf(text: string): { readonly op?: string; readonly table?: string } {
  try {
    const { payload, ...bare } = JSON.parse(text) as { payload?: Envelope } & Envelope;
    const { op, source } = payload ?? bare;
    return {
      ...(typeof op === 'string' && { op }),
      ...(typeof source?.kudu_table === 'string' && { table: source.kudu_table }),
    };
  } catch {
    return {};
  }
}

interface Envelope {
  readonly op?: unknown;
  readonly source?: { readonly kudu_table?: unknown };
}
