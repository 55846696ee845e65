import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import type { SinkPosition } from '../sinks/sink.ts';
import type { CatalogTable } from '../replication/catalog.ts';
import { firstTabletId } from '../replication/catalog.ts';
import { formatPosition, parsePosition } from './stored-position.ts';
import type { JoinedTable, StoredStream, StreamSource } from '../replication/stored-stream.ts';
import type { StreamDefinition } from '../replication/stream.ts';
import { parseStreamDefinition } from '../replication/stream.ts';
import type { SystemTable } from './system-table.ts';
import { StreamExistsError } from '../replication/views.ts';

/** The columns of the streams table, all strings; the first two are the key. */
export const STREAM_COLUMNS = ['stream', 'item', 'body'] as const;
type StreamsTable = SystemTable<(typeof STREAM_COLUMNS)[number]>;

/*
 * Rows of one stream:
 *   item `definition`                       body: the stored stream; as long as it is there, so is the stream
 *   item `paused`                           body: generation of the stream, and since when; there while it is paused
 *   item `start/<generation>/<tablet_id>`   body: where a tablet begins that was there before the stream
 *   item `table/<generation>/<table_id>`    body: a table's name when it joined, and which tablet ships its schema changes
 */
const DEFINITION = 'definition';
const PAUSED = 'paused';

const joinedBody = z.object({ speakerTabletId: z.string() });
const storedBody = z.object({ definition: z.unknown(), generation: z.string(), createdAt: z.string() });
const pausedBody = z.object({ generation: z.string(), since: z.string() });

type StreamRow = Record<(typeof STREAM_COLUMNS)[number], string>;

/** The streams of the cluster, kept in Spoor's own Kudu table so that every sidecar sees the same. */
export class StreamStore implements StreamSource {
  readonly #table: StreamsTable;

  constructor(table: StreamsTable) {
    this.#table = table;
  }

  /** @throws {Error} when a definition is of a newer Spoor and this one does not understand it */
  async list(signal: AbortSignal): Promise<readonly StoredStream[]> {
    return parseStreams(await this.#table.scan({ item: [DEFINITION, PAUSED] }, signal));
  }

  async get(name: string, signal: AbortSignal): Promise<StoredStream | null> {
    const [stored] = parseStreams(await this.#table.scan({ stream: name, item: [DEFINITION, PAUSED] }, signal));
    return stored ?? null;
  }

  /**
   * Keeps a new stream. The starts are written first and the definition last, so that whoever sees the stream sees
   * where its tablets begin. @throws {StreamExistsError}
   */
  async create(
    definition: StreamDefinition,
    starts: ReadonlyMap<string, SinkPosition>,
    tables: readonly CatalogTable[],
    signal: AbortSignal,
  ): Promise<StoredStream> {
    const body = { definition, generation: randomUUID(), createdAt: new Date().toISOString() };
    const stored: StoredStream = { ...body, paused: false };
    const stream = definition.name;
    await this.#table.upsert(
      [...starts].map(([tabletId, position]) => ({
        stream,
        item: `start/${stored.generation}/${tabletId}`,
        body: formatPosition(position),
      })),
      signal,
    );
    for (const table of tables) await this.joinTable(stored, table, signal);
    const isNew = await this.#table.insert({ stream, item: DEFINITION, body: JSON.stringify(body) }, signal);
    if (!isNew) {
      await this.#deleteGeneration(stream, stored.generation, signal);
      throw new StreamExistsError(`there is a stream ${JSON.stringify(stream)} already`);
    }
    return stored;
  }

  /**
   * Pauses a stream or lets it go on, and answers it as it is then; null where there is none. A stream that is so
   * already stays as it is.
   */
  async setPaused(name: string, paused: boolean, signal: AbortSignal): Promise<StoredStream | null> {
    const stored = await this.get(name, signal);
    if (stored === null || stored.paused === paused) return stored;
    const { generation } = stored;
    const body = JSON.stringify({ generation, since: new Date().toISOString() } satisfies z.input<typeof pausedBody>);
    if (paused) await this.#table.upsert([{ stream: name, item: PAUSED, body }], signal);
    else await this.#table.delete([{ stream: name, item: PAUSED }], signal);
    return { ...stored, paused };
  }

  /**
   * The definition goes first: the stream is over then. False when there was none. Rows of another generation stay:
   * they are of a stream of that name that is being made at the same time.
   */
  async delete(name: string, signal: AbortSignal): Promise<boolean> {
    const [row] = await this.#table.scan({ stream: name, item: DEFINITION }, signal);
    if (!row) return false;
    const existed = await this.#table.delete([{ stream: name, item: DEFINITION }], signal);
    await this.#deleteGeneration(name, generationOf(row), signal);
    return existed;
  }

  async starts(stream: StoredStream, signal: AbortSignal): Promise<ReadonlyMap<string, SinkPosition>> {
    const items = await this.#items(stream, 'start', signal);
    return new Map(items.map(([tabletId, body]) => [tabletId, parsePosition(body)]));
  }

  async joinedTables(stream: StoredStream, signal: AbortSignal): Promise<ReadonlyMap<string, JoinedTable>> {
    const items = await this.#items(stream, 'table', signal);
    return new Map(items.map(([tableId, body]) => [tableId, joinedBody.parse(JSON.parse(body))]));
  }

  async joinTable(stream: StoredStream, table: CatalogTable, signal: AbortSignal): Promise<JoinedTable> {
    const joined: JoinedTable = { speakerTabletId: firstTabletId(table) ?? '' };
    const item = `table/${stream.generation}/${table.tableId}`;
    const row = { stream: stream.definition.name, item, body: JSON.stringify({ name: table.name, ...joined }) };
    if (await this.#table.insert(row, signal)) return joined;
    return (await this.joinedTables(stream, signal)).get(table.tableId) ?? joined;
  }

  async #items(stream: StoredStream, kind: 'start' | 'table', signal: AbortSignal): Promise<[string, string][]> {
    const prefix = `${kind}/${stream.generation}/`;
    const rows = await this.#table.scan({ stream: stream.definition.name }, signal);
    return rows
      .filter(({ item }) => item.startsWith(prefix))
      .map(({ item, body }) => [item.slice(prefix.length), body]);
  }

  async #deleteGeneration(stream: string, generation: string, signal: AbortSignal): Promise<void> {
    const rows = await this.#table.scan({ stream }, signal);
    await this.#table.delete(
      rows.filter((row) => generationOf(row) === generation).map(({ item }) => ({ stream, item })),
      signal,
    );
  }
}

/** Of which creation of its stream a row is. */
function generationOf({ item, body }: StreamRow): string {
  if (item === DEFINITION) return storedBody.parse(JSON.parse(body)).generation;
  if (item === PAUSED) return pausedBody.parse(JSON.parse(body)).generation;
  return item.split('/')[1] ?? '';
}

/** Streams of their `definition` and `paused` rows. A pause counts for the generation that it was said of. */
function parseStreams(rows: readonly StreamRow[]): StoredStream[] {
  const paused = new Set(rows.filter(({ item }) => item === PAUSED).map(generationOf));
  return rows
    .filter(({ item }) => item === DEFINITION)
    .map(({ stream, body }) => {
      const stored = parseStored(stream, body);
      return { ...stored, paused: paused.has(stored.generation) };
    });
}

function parseStored(name: string, body: string): Omit<StoredStream, 'paused'> {
  const { definition, generation, createdAt } = storedBody.parse(JSON.parse(body));
  const parsed = parseStreamDefinition(definition);
  if (parsed.kind === 'ok') return { definition: parsed.definition, generation, createdAt };
  const faults = parsed.faults.map(({ path, message }) => `${path}: ${message}`).join('; ');
  throw new Error(`stream ${JSON.stringify(name)} was made by a Spoor that knows more than this one: ${faults}`);
}
