import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataType, type ColumnSchema, type TableSchema } from '../../../src/kudu/schema.ts';
import { WorkDir } from '../../../src/demo/work-dir.ts';
import { runPython } from './python.ts';

/** Where the number of the schema stands, behind a zero. */
const ID_AT = 1;

/** A row as ClickHouse's decoder reads an envelope: its values by their columns, as text. */
export interface ReadEnvelope {
  readonly op: string;
  readonly before: ReadonlyMap<string, string | null>;
  readonly after: ReadonlyMap<string, string | null>;
}

/**
 * Decodes values of a topic, in Confluent's framing, with ClickHouse's `AvroConfluent`, which gets schemas from the registry.
 * Of each schema the columns that the table has now are read. Answers an envelope for each value, in their order.
 */
export async function decodeWithClickHouse(
  registryUrl: string,
  schema: TableSchema,
  values: readonly Buffer[],
): Promise<readonly ReadEnvelope[]> {
  await using dir = await WorkDir.create('spoor-test-chdb');
  const places = new Map<number, number[]>();
  for (const [place, value] of values.entries()) {
    const id = value.readUInt32BE(ID_AT);
    places.set(id, [...(places.get(id) ?? []), place]);
  }
  const envelopes: ReadEnvelope[] = [];
  for (const [id, itsPlaces] of places) {
    const file = join(dir.path, `${id}.avro`);
    await writeFile(file, Buffer.concat(itsPlaces.map((place) => values[place]!)));
    const columns = await columnsOf(registryUrl, id, schema);
    const lines = await runPython(PROGRAM, { env: { QUERY: query(registryUrl, file, columns) } });
    for (const [i, line] of lines.entries()) envelopes[itsPlaces[i]!] = envelopeOf(line, columns);
  }
  return envelopes;
}

const PROGRAM = `
import os, chdb
print(chdb.query(os.environ["QUERY"], "JSONCompactEachRow"))
`;

function query(registryUrl: string, file: string, columns: readonly ColumnSchema[]): string {
  const images = ['before', 'after'].flatMap((image) => columns.map((column) => asText(column, image)));
  return `SELECT op, ${images.join(', ')} FROM file('${file}', 'AvroConfluent')
    SETTINGS format_avro_schema_registry_url = '${registryUrl}', max_threads = 1`;
}

function asText({ name, type, scale }: ColumnSchema, image: string): string {
  const cell = `tupleElement(${image}, '${name}')`;
  if (type === DataType.FLOAT) return `toString(toFloat64(${cell}))`;
  if (type === DataType.BINARY) return `base64Encode(${cell})`;
  if (type === DataType.UNIXTIME_MICROS) return `toString(toUnixTimestamp64Micro(${cell}))`;
  if (type === DataType.DATE) return `toString(toInt32(${cell}))`;
  return scale === undefined ? `toString(${cell})` : `toDecimalString(${cell}, ${scale})`;
}

function envelopeOf(line: string, columns: readonly ColumnSchema[]): ReadEnvelope {
  const [op, ...cells] = JSON.parse(line) as [string, ...(string | null)[]];
  const image = (first: number): ReadonlyMap<string, string | null> =>
    new Map(columns.map(({ name }, i) => [name, cells[first + i]?.replace(/^(-?)inf$/, '$1Infinity') ?? null]));
  return { op, before: image(0), after: image(columns.length) };
}

interface RecordType {
  readonly fields: readonly { readonly name: string; readonly type: unknown }[];
}

/** Those columns of the table as it is now that a schema of then has, too. */
async function columnsOf(registryUrl: string, id: number, table: TableSchema): Promise<readonly ColumnSchema[]> {
  const response = await fetch(`${registryUrl}/schemas/ids/${id}`);
  const { schema } = (await response.json()) as { schema: string };
  const envelope = JSON.parse(schema) as RecordType;
  const [, row] = envelope.fields.find(({ name }) => name === 'before')!.type as [null, RecordType];
  const names = new Set(row.fields.map(({ name }) => name));
  return table.columns.filter(({ name }) => names.has(name));
}
