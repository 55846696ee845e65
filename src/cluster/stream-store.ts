import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import type { SinkPosition } from '../change/position.ts';
import type { CatalogTable } from '../replication/catalog.ts';
import { firstTabletId } from '../replication/catalog.ts';
import { formatPosition, parsePosition } from './stored-position.ts';
import type {
  JoinedTable,
  Resync,
  ResyncFrom,
  StoredStream,
  StreamDetails,
  StreamSource,
} from '../replication/stored-stream.ts';
import type { StreamDefinition } from '../replication/stream.ts';
import { matchTables, parseStreamDefinition } from '../replication/stream.ts';
import type { SystemTable } from './system-table.ts';
import { StreamExistsError } from '../replication/views.ts';

/** The columns of the streams table, all strings; the first two are the key. */
export const STREAM_COLUMNS = ['stream', 'item', 'body'] as const;
type StreamsTable = SystemTable<(typeof STREAM_COLUMNS)[number]>;

/*
 * Rows of one stream:
 *   item `definition`                        body: the stored stream; as long as it is there, so is the stream
 *   item `paused`                            body: generation of the stream, and since when; there while it is paused
 *   item `revision`                          body: generation of the stream, and another id whenever the rows below change
 *   item `start/<generation>/<tablet_id>`    body: where a tablet begins that was there before the stream took it in
 *   item `table/<generation>/<table_id>`     body: a table's name when it joined, and which tablet ships its schema changes
 *   item `resync/<generation>/<tablet_id>`   body: the last resync that was asked for
 *   item `ended/<generation>/<tablet_id>`    body: since when a dropped tablet is done with
 */
const DEFINITION = 'definition';
const PAUSED = 'paused';
const REVISION = 'revision';
const OF_THE_LIST = [DEFINITION, PAUSED, REVISION];

const joinedBody = z.object({ name: z.string(), speakerTabletId: z.string() });
const storedBody = z.object({ definition: z.unknown(), generation: z.string(), createdAt: z.string() });
const pausedBody = z.object({ generation: z.string(), since: z.string() });
const revisionBody = z.object({ generation: z.string(), revision: z.string() });
const resyncBody = z.object({ id: z.string(), from: z.enum(['snapshot', 'gap']), requestedAt: z.string() });

type StreamRow = Record<(typeof STREAM_COLUMNS)[number], string>;

/** The streams of the cluster, kept in Spoor's own Kudu table so that every sidecar sees the same. */
export class StreamStore implements StreamSource {
  readonly #table: StreamsTable;

  constructor(table: StreamsTable) {
    this.#table = table;
  }

  /** @throws {Error} when a definition is of a newer Spoor and this one does not understand it */
  async list(signal: AbortSignal): Promise<readonly StoredStream[]> {
    return parseStreams(await this.#table.scan({ item: OF_THE_LIST }, signal));
  }

  async get(name: string, signal: AbortSignal): Promise<StoredStream | null> {
    const [stored] = parseStreams(await this.#table.scan({ stream: name, item: OF_THE_LIST }, signal));
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
    const stored: StoredStream = { ...body, revision: '', paused: false };
    const stream = definition.name;
    await this.#putStarts(stored, starts, signal);
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
   * Changes what a stream is; `starts` are of the tablets of tables that are new in it. A table leaves when it joined by a
   * name that is asked for no more.
   */
  async update(
    stored: StoredStream,
    definition: StreamDefinition,
    starts: ReadonlyMap<string, SinkPosition>,
    signal: AbortSignal,
  ): Promise<StoredStream> {
    const { generation, createdAt } = stored;
    const stream = definition.name;
    // Whoever sees the definition has seen the starts; and who re-reads after the last revision sees who left.
    await this.#putStarts(stored, starts, signal);
    await this.#revise(stored, signal);
    const body = JSON.stringify({ definition, generation, createdAt });
    await this.#table.upsert([{ stream, item: DEFINITION, body }], signal);
    const left = (await this.#items(stored, signal)).filter(
      ({ kind, body }) => kind === 'table' && !matchTables(definition.tables, joinedBody.parse(JSON.parse(body)).name),
    );
    await this.#table.delete(
      left.map(({ kind, id }) => ({ stream, item: `${kind}/${generation}/${id}` })),
      signal,
    );
    return { ...stored, definition, revision: await this.#revise(stored, signal) };
  }

  /** Asks for resyncs of some tablets; one that was asked for before and is not yet done is done once. */
  async resync(
    stored: StoredStream,
    tabletIds: readonly string[],
    from: ResyncFrom,
    signal: AbortSignal,
  ): Promise<void> {
    const request: Resync = { id: randomUUID(), from, requestedAt: new Date().toISOString() };
    const body = JSON.stringify(request);
    const stream = stored.definition.name;
    await this.#table.upsert(
      tabletIds.map((tabletId) => ({ stream, item: `resync/${stored.generation}/${tabletId}`, body })),
      signal,
    );
    await this.#revise(stored, signal);
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

  async details(stream: StoredStream, signal: AbortSignal): Promise<StreamDetails> {
    const starts = new Map<string, SinkPosition>();
    const joined = new Map<string, JoinedTable>();
    const resyncs = new Map<string, Resync>();
    const ended = new Set<string>();
    for (const { kind, id, body } of await this.#items(stream, signal)) {
      if (kind === 'start') starts.set(id, parsePosition(body));
      else if (kind === 'table')
        joined.set(id, { speakerTabletId: joinedBody.parse(JSON.parse(body)).speakerTabletId });
      else if (kind === 'resync') resyncs.set(id, resyncBody.parse(JSON.parse(body)));
      else ended.add(id);
    }
    return { starts, joined, resyncs, ended };
  }

  async joinTable(stream: StoredStream, table: CatalogTable, signal: AbortSignal): Promise<JoinedTable> {
    const joined: JoinedTable = { speakerTabletId: firstTabletId(table) ?? '' };
    const item = `table/${stream.generation}/${table.tableId}`;
    const row = { stream: stream.definition.name, item, body: JSON.stringify({ name: table.name, ...joined }) };
    if (await this.#table.insert(row, signal)) return joined;
    return (await this.details(stream, signal)).joined.get(table.tableId) ?? joined;
  }

  async endTablet(stored: StoredStream, tabletId: string, signal: AbortSignal): Promise<void> {
    const stream = stored.definition.name;
    const item = (kind: StreamItem['kind']): string => `${kind}/${stored.generation}/${tabletId}`;
    const body = JSON.stringify({ at: new Date().toISOString() });
    await this.#table.upsert([{ stream, item: item('ended'), body }], signal);
    await this.#table.delete(
      [
        { stream, item: item('start') },
        { stream, item: item('resync') },
      ],
      signal,
    );
    await this.#revise(stored, signal);
  }

  async #putStarts(
    { definition, generation }: StoredStream,
    starts: ReadonlyMap<string, SinkPosition>,
    signal: AbortSignal,
  ): Promise<void> {
    const rows = [...starts].map(([tabletId, position]) => ({
      stream: definition.name,
      item: `start/${generation}/${tabletId}`,
      body: formatPosition(position),
    }));
    await this.#table.upsert(rows, signal);
  }

  async #revise({ definition, generation }: StoredStream, signal: AbortSignal): Promise<string> {
    const revision = randomUUID();
    const body = JSON.stringify({ generation, revision } satisfies z.input<typeof revisionBody>);
    await this.#table.upsert([{ stream: definition.name, item: REVISION, body }], signal);
    return revision;
  }

  /** The rows of a stream that say something of a tablet or table. */
  async #items(stream: StoredStream, signal: AbortSignal): Promise<StreamItem[]> {
    const rows = await this.#table.scan({ stream: stream.definition.name }, signal);
    return rows.flatMap(({ item, body }) => {
      const [kind = '', generation, id = ''] = item.split('/');
      if (generation !== stream.generation || !isItemKind(kind)) return [];
      return [{ kind, id, body }];
    });
  }

  async #deleteGeneration(stream: string, generation: string, signal: AbortSignal): Promise<void> {
    const rows = await this.#table.scan({ stream }, signal);
    await this.#table.delete(
      rows.filter((row) => generationOf(row) === generation).map(({ item }) => ({ stream, item })),
      signal,
    );
  }
}

const ITEM_KINDS = ['start', 'table', 'resync', 'ended'] as const;
interface StreamItem {
  readonly kind: (typeof ITEM_KINDS)[number];
  /** Of the tablet or table. */
  readonly id: string;
  readonly body: string;
}

function isItemKind(kind: string): kind is StreamItem['kind'] {
  return (ITEM_KINDS as readonly string[]).includes(kind);
}

/** Of which creation of its stream a row is. */
function generationOf({ item, body }: StreamRow): string {
  if (item === DEFINITION) return storedBody.parse(JSON.parse(body)).generation;
  if (item === PAUSED) return pausedBody.parse(JSON.parse(body)).generation;
  if (item === REVISION) return revisionBody.parse(JSON.parse(body)).generation;
  return item.split('/')[1] ?? '';
}

/** Streams of their rows {@link OF_THE_LIST}. What is said of one counts for the generation that it was said of. */
function parseStreams(rows: readonly StreamRow[]): StoredStream[] {
  const paused = new Set(rows.filter(({ item }) => item === PAUSED).map(generationOf));
  const revisions = new Map(
    rows
      .filter(({ item }) => item === REVISION)
      .map(({ body }) => revisionBody.parse(JSON.parse(body)))
      .map(({ generation, revision }) => [generation, revision]),
  );
  return rows
    .filter(({ item }) => item === DEFINITION)
    .map(({ stream, body }) => {
      const stored = parseStored(stream, body);
      const { generation } = stored;
      return { ...stored, revision: revisions.get(generation) ?? '', paused: paused.has(generation) };
    });
}

function parseStored(name: string, body: string): Omit<StoredStream, 'paused' | 'revision'> {
  const { definition, generation, createdAt } = storedBody.parse(JSON.parse(body));
  const parsed = parseStreamDefinition(definition);
  if (parsed.kind === 'ok') return { definition: parsed.definition, generation, createdAt };
  const faults = parsed.faults.map(({ path, message }) => `${path}: ${message}`).join('; ');
  throw new Error(`stream ${JSON.stringify(name)} was made by a Spoor that knows more than this one: ${faults}`);
}
