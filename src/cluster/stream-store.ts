import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import { SpoorError } from '../errors.ts';
import type { SinkPosition } from '../change/position.ts';
import type { CatalogTable } from '../replication/catalog.ts';
import { firstTabletId } from '../replication/catalog.ts';
import { formatPosition, parsePosition } from './stored-position.ts';
import type {
  Correction,
  JoinedTable,
  Resync,
  ResyncFrom,
  StoredStream,
  StreamDetails,
  StreamSource,
  UnreadableStream,
} from '../replication/stored-stream.ts';
import type { StreamDefinition } from '../replication/stream.ts';
import { matchTables, parseStreamDefinition } from '../replication/stream.ts';
import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { TimeLimit } from '../util/time-limit.ts';
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
 *   item `keys/<generation>/<tablet_id>`     body: rows that are to be put right
 *   item `ended/<generation>/<tablet_id>`    body: since when a dropped tablet is done with
 */
const DEFINITION = 'definition';
const PAUSED = 'paused';
const REVISION = 'revision';
const OF_THE_LIST = [DEFINITION, PAUSED, REVISION];

const joinedBody = z.object({ name: z.string(), speakerTabletId: z.string() });
const storedBody = z.object({ definition: z.unknown(), generation: z.string(), createdAt: z.string() });
const generationBody = z.object({ generation: z.string() });
const pausedBody = z.object({ generation: z.string(), since: z.string() });
const revisionBody = z.object({ generation: z.string(), revision: z.string() });
const correctionBody = z.object({
  id: z.string(),
  keys: z.array(z.base64().transform((text) => Buffer.from(text, 'base64'))),
});
const resyncBody = z.object({ id: z.string(), from: z.enum(['snapshot', 'gap']), requestedAt: z.string() });

type StreamRow = Record<(typeof STREAM_COLUMNS)[number], string>;

/**
 * Rows without a definition are swept away when they have been so for {@link LEFT_OVER_MS}: far longer than it takes to
 * make a stream, which writes its definition last. A process that was stopped on the way and took longer gives up.
 */
const LEFT_OVER_MS = 600_000;
const MAX_CREATION_MS = 60_000;
const SWEEP_TIMEOUT_MS = 20_000;

/** The streams of the cluster, kept in Spoor's own Kudu table so that every sidecar sees the same. */
export class StreamStore implements StreamSource {
  readonly #table: StreamsTable;
  readonly #logger: Logger;
  #unreadable: readonly UnreadableStream[] = [];
  /** Since when rows of a generation are there without a definition: by stream and generation, on the monotonic clock. */
  #leftOver: ReadonlyMap<string, number> = new Map();

  constructor(table: StreamsTable, logger: Logger) {
    this.#table = table;
    this.#logger = logger;
  }

  /** Those that are not understood are left out, and told in {@link unreadable}. */
  async list(signal: AbortSignal): Promise<readonly StoredStream[]> {
    const { streams, unreadable } = parseStreams(await this.#table.scan({ item: OF_THE_LIST }, signal));
    const wasTold = ({ name, reason }: UnreadableStream): boolean =>
      this.#unreadable.some((told) => told.name === name && told.reason === reason);
    for (const { name, reason } of unreadable.filter((each) => !wasTold(each)))
      this.#logger.error({ stream: name, reason }, 'a stored stream cannot be read: it is not shipped from here');
    this.#unreadable = unreadable;
    return streams;
  }

  get unreadable(): readonly UnreadableStream[] {
    return this.#unreadable;
  }

  /** @throws {SpoorError} SPOOR_NOT_SUPPORTED when it is stored in a way that this version does not understand */
  async get(name: string, signal: AbortSignal): Promise<StoredStream | null> {
    const { streams, unreadable } = parseStreams(await this.#table.scan({ stream: name, item: OF_THE_LIST }, signal));
    if (unreadable[0]) throw new SpoorError('SPOOR_NOT_SUPPORTED', unreadable[0].reason);
    return streams[0] ?? null;
  }

  /** Whether the name is taken, also by a stream that this version cannot read. */
  async has(name: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#table.scan({ stream: name, item: DEFINITION }, signal)).length > 0;
  }

  /**
   * Keeps a new stream. The starts are written first and the definition last, so that whoever sees the stream sees
   * where its tablets begin. @throws {StreamExistsError}; {SpoorError} it took too long, and there is no stream
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
    const begunAtMs = Date.now();
    await this.#putStarts(stored, starts, signal);
    for (const table of tables) await this.joinTable(stored, table, signal);
    // Whoever stood still for long may find the starts swept away: a stream without them would begin elsewhere.
    if (Date.now() - begunAtMs > MAX_CREATION_MS)
      throw new SpoorError('SPOOR_KUDU_UNAVAILABLE', `stream ${JSON.stringify(stream)} was not stored in time`);
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

  /** Asks for rows of a tablet to be put right. @returns the id of the request */
  async correct(stored: StoredStream, tabletId: string, keys: readonly Buffer[], signal: AbortSignal): Promise<string> {
    const id = randomUUID();
    const body = JSON.stringify({ id, keys: keys.map((key) => key.toString('base64')) });
    const stream = stored.definition.name;
    await this.#table.upsert([{ stream, item: `keys/${stored.generation}/${tabletId}`, body }], signal);
    await this.#revise(stored, signal);
    return id;
  }

  /**
   * The definition goes first: the stream is over then. False when there was none. Rows of another generation stay:
   * they are of a stream of that name that is being made at the same time.
   */
  async delete(name: string, signal: AbortSignal): Promise<boolean> {
    const [row] = await this.#table.scan({ stream: name, item: DEFINITION }, signal);
    if (!row) return false;
    const existed = await this.#table.delete([{ stream: name, item: DEFINITION }], signal);
    const generation = generationOf(row);
    if (generation !== null) await this.#deleteGeneration(name, generation, signal);
    return existed;
  }

  async details(stream: StoredStream, signal: AbortSignal): Promise<StreamDetails> {
    const starts = new Map<string, SinkPosition>();
    const joined = new Map<string, JoinedTable>();
    const resyncs = new Map<string, Resync>();
    const corrections = new Map<string, Correction>();
    const ended = new Set<string>();
    for (const { kind, id, body } of await this.#items(stream, signal)) {
      if (kind === 'start') starts.set(id, parsePosition(body));
      else if (kind === 'table') joined.set(id, parseJoined(body));
      else if (kind === 'resync') resyncs.set(id, resyncBody.parse(JSON.parse(body)));
      else if (kind === 'keys') corrections.set(id, correctionBody.parse(JSON.parse(body)));
      else ended.add(id);
    }
    return { starts, joined, resyncs, corrections, ended };
  }

  async joinTable(stream: StoredStream, table: CatalogTable, signal: AbortSignal): Promise<JoinedTable> {
    const joined: JoinedTable = { name: table.name, speakerTabletId: firstTabletId(table) ?? '' };
    const item = `table/${stream.generation}/${table.tableId}`;
    const row = { stream: stream.definition.name, item, body: JSON.stringify(joined) };
    if (await this.#table.insert(row, signal)) return joined;
    return (await this.joinedTables(stream, signal)).get(table.tableId) ?? joined;
  }

  /** The tables of {@link details} alone, which can be read where something else there is of a newer Spoor. */
  async joinedTables(stream: StoredStream, signal: AbortSignal): Promise<ReadonlyMap<string, JoinedTable>> {
    const tables = (await this.#items(stream, signal)).filter(({ kind }) => kind === 'table');
    return new Map(tables.map(({ id, body }) => [id, parseJoined(body)]));
  }

  async setSpeaker(stored: StoredStream, tableId: string, speakerTabletId: string, signal: AbortSignal): Promise<void> {
    const item = `table/${stored.generation}/${tableId}`;
    const stream = stored.definition.name;
    const [row] = await this.#table.scan({ stream, item }, signal);
    if (!row) return; // the table has left the stream
    const joined = joinedBody.parse(JSON.parse(row.body));
    await this.#table.upsert([{ stream, item, body: JSON.stringify({ ...joined, speakerTabletId }) }], signal);
    await this.#revise(stored, signal);
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
        { stream, item: item('keys') },
      ],
      signal,
    );
    await this.#revise(stored, signal);
  }

  /** Sweeps now and then until `signal` aborts. */
  async keepSwept(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        using limit = new TimeLimit(signal, SWEEP_TIMEOUT_MS);
        await this.sweep(performance.now(), limit.signal);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        this.#logger.debug({ reason }, 'left-over rows of streams not looked for');
      }
      await pause(LEFT_OVER_MS, signal);
    }
  }

  /**
   * Deletes what is left of streams that are no more or were never whole: rows of a generation that has no definition
   * now and had none when they were first seen so, long enough ago.
   */
  async sweep(nowMs: number, signal: AbortSignal): Promise<void> {
    const rows = await this.#table.scan({}, signal);
    const living = new Map(
      rows.filter(({ item }) => item === DEFINITION).map((row) => [row.stream, generationOf(row)] as const),
    );
    const dead = rows.filter((row) => isDead(row, living));
    const keyOf = (row: StreamRow): string => `${row.stream}/${generationOf(row)}`;
    const leftOver = new Map(dead.map((row) => [keyOf(row), this.#leftOver.get(keyOf(row)) ?? nowMs]));
    this.#leftOver = leftOver;
    const due = dead.filter((row) => nowMs - leftOver.get(keyOf(row))! >= LEFT_OVER_MS);
    if (due.length === 0) return;
    await this.#table.delete(
      due.map(({ stream, item }) => ({ stream, item })),
      signal,
    );
    this.#logger.info({ rows: due.length }, 'rows of streams that are no more deleted');
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

const ITEM_KINDS = ['start', 'table', 'resync', 'keys', 'ended'] as const;
interface StreamItem {
  readonly kind: (typeof ITEM_KINDS)[number];
  /** Of the tablet or table. */
  readonly id: string;
  readonly body: string;
}

function isItemKind(kind: string): kind is StreamItem['kind'] {
  return (ITEM_KINDS as readonly string[]).includes(kind);
}

/** Of which creation of its stream a row is; null for one that is not understood. */
function generationOf({ item, body }: StreamRow): string | null {
  if (!OF_THE_LIST.includes(item)) return item.split('/')[1] ?? null;
  try {
    return generationBody.parse(JSON.parse(body)).generation;
  } catch {
    return null;
  }
}

/** Whether a row is of a generation that has no definition. One that is not understood may be of a newer Spoor. */
function isDead(row: StreamRow, living: ReadonlyMap<string, string | null>): boolean {
  const generation = generationOf(row);
  if (generation === null || row.item === DEFINITION) return false;
  const isDefined = living.has(row.stream);
  if (isDefined && living.get(row.stream) === null) return false;
  // The next generation has these under the same key, and may write them any moment.
  if (OF_THE_LIST.includes(row.item)) return !isDefined;
  return isItemKind(row.item.split('/', 1)[0]!) && living.get(row.stream) !== generation;
}

/** Streams of their rows {@link OF_THE_LIST}, and those that are not understood. */
function parseStreams(rows: readonly StreamRow[]): { streams: StoredStream[]; unreadable: UnreadableStream[] } {
  const streams: StoredStream[] = [];
  const unreadable: UnreadableStream[] = [];
  for (const { stream: name } of rows.filter(({ item }) => item === DEFINITION))
    try {
      streams.push(parseStored(rows.filter(({ stream }) => stream === name)));
    } catch (error) {
      const knows = `stream ${JSON.stringify(name)} was made by a Spoor that knows more than this one`;
      unreadable.push({ name, reason: `${knows}: ${faultsOf(error)}` });
    }
  return { streams, unreadable };
}

/** What is said of a stream counts for the generation that it was said of. @throws whatever is not understood */
function parseStored(rows: readonly StreamRow[]): StoredStream {
  const bodyOf = (item: string): unknown => {
    const row = rows.find((each) => each.item === item);
    return row && JSON.parse(row.body);
  };
  const { definition, generation, createdAt } = storedBody.parse(bodyOf(DEFINITION));
  const paused = pausedBody.optional().parse(bodyOf(PAUSED));
  const revised = revisionBody.optional().parse(bodyOf(REVISION));
  const parsed = parseStreamDefinition(definition);
  if (parsed.kind !== 'ok') throw new Error(parsed.faults.map(({ path, message }) => `${path}: ${message}`).join('; '));
  return {
    definition: parsed.definition,
    generation,
    createdAt,
    revision: revised?.generation === generation ? revised.revision : '',
    paused: paused?.generation === generation,
  };
}

function faultsOf(error: unknown): string {
  if (error instanceof z.ZodError)
    return error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  return error instanceof Error ? error.message : String(error);
}

function parseJoined(body: string): JoinedTable {
  return joinedBody.parse(JSON.parse(body));
}
