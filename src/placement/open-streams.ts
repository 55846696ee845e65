import type { RecordFormat } from '../formats/format.ts';
import type { Sink } from '../sinks/sink.ts';
import { ByteArena } from '../util/byte-arena.ts';
import { ByteBudget } from '../util/byte-budget.ts';
import { Pace } from '../util/pace.ts';
import { remembered } from '../util/remembered.ts';
import { oncePer } from '../util/once-per.ts';
import { Slots } from '../util/slots.ts';
import { TimeLimit } from '../util/time-limit.ts';
import type { Catalog, CatalogTable } from '../streams/table-catalog.ts';
import type { DroppedTablet } from '../keeping/dropped-tablets.ts';
import { keptOf } from './kept-tablet.ts';
import type { JoinedTable, StoredStream, StreamDetails, StreamSource } from '../streams/stored-stream.ts';
import { isStreamable, matchTables } from '../streams/table-patterns.ts';

/**
 * A tablet with a replica or a held log here, of a table that streams have. It is another object whenever anything of that is
 * another, or of what is kept of it in its streams.
 */
export interface StreamedTablet {
  readonly tabletId: string;
  readonly table: CatalogTable;
  /** Those that still want something of it. */
  readonly streams: readonly TabletsStream[];
  /** It is no more, and its log is held. */
  readonly dropped?: DroppedTablet;
}

/** A stream that has a tablet. */
export interface TabletsStream {
  readonly open: OpenStream;
  readonly paused: boolean;
  /** See {@link shippingKey}. */
  readonly key: string;
}

/** A stream in use: what is kept of it, its sink and its format. */
export interface OpenStream {
  /** As it was listed when `details` were read; what of it decides sink and format never changes. */
  stored: StoredStream;
  readonly sink: Sink;
  readonly format: RecordFormat;
  /** Where its records are written. */
  readonly arena: ByteArena;
  /** Rows a second that are copied here, of all its tablets together. */
  readonly pace: Pace;
  /** Room for large operations of its logs: a stream whose sink takes nothing keeps no other from theirs. */
  readonly largeReads: ByteBudget;
  /** Tablets that are copied here at a time. */
  readonly copySlots: Slots;
  details: Omit<StreamDetails, 'joined'>;
  joined: Map<string, JoinedTable>;
  /** Revision of the stream that these were read at, or after. */
  detailsOf: string;
  joinedReadAtMs: number;
}

export interface StreamMembersOptions {
  readonly streams: StreamSource;
  readonly catalog: Catalog;
  readonly sinkFor: (stream: StoredStream) => Sink;
  /** @param nameOf the name that a table of the stream joined under */
  readonly formatFor: (stream: StoredStream, nameOf: (tableId: string) => string | undefined) => RecordFormat;
  /** What begins with it is Spoor's own and is never streamed. */
  readonly systemTablePrefix: string;
}

/** How old what is known of joined tables may be; below the keepers' patience with what no stream seems to have. */
const JOINED_MAX_AGE_MS = 3_000;
/** How long one question of a look may take: a new leader must not wait for the table where the streams are kept. */
const QUESTION_TIMEOUT_MS = 1_500;
/** Records of a few hundred bytes each; a chunk goes when the last record in it does. */
const ARENA_BYTES = 256 * 1024;
/** Of one stream; an operation that is larger is read alone. */
const LARGE_READS_BYTES = 32 << 20;
/** Of one stream. What a copy reads is bounded, and a sink that refuses one table must not hold up all the others. */
const MAX_COPIES_AT_A_TIME = 2;

/** The streams that are in use here, and which tablets are theirs. Owns their sinks. */
export class StreamMembers {
  readonly #options: StreamMembersOptions;
  readonly #open = new Map<string, OpenStream>();
  /** What is kept of a stream was read anew since the tablets were looked at. */
  #hasNews = false;

  constructor(options: StreamMembersOptions) {
    this.#options = options;
  }

  all(): readonly OpenStream[] {
    return [...this.#open.values()];
  }

  /**
   * Those that are no more, or go on with another sink or format: they are the caller's to close now, and what is open of
   * a stream that goes on is opened anew.
   */
  takeEnded(streams: readonly StoredStream[]): readonly OpenStream[] {
    const now = new Map(streams.map((stream) => [streamKey(stream), stream]));
    const ended: OpenStream[] = [];
    for (const [key, open] of this.#open) {
      const stream = now.get(key);
      if (stream === open.stored || (stream && shapeOf(stream) === shapeOf(open.stored))) continue;
      this.#open.delete(key);
      ended.push(open);
    }
    return ended;
  }

  /**
   * Which of these tablets are, or were, of streamed tables, and whose. A failure of one stream or table is told and stops no
   * other: of its tablets what was known `before` counts. Of each stream at most one question goes unanswered a look. Of
   * hundreds of tablets little is new from one look to the next: those of which nothing is are given as they were `before`,
   * and where nothing is of any, so is the whole list.
   * @param tabletIds another set whenever they are others
   */
  async streamedTablets(
    all: readonly StoredStream[],
    tabletIds: ReadonlySet<string>,
    before: readonly StreamedTablet[],
    droppedOf: (tabletId: string) => DroppedTablet | undefined,
    signal: AbortSignal,
    onTrouble: (error: unknown) => void,
  ): Promise<readonly StreamedTablet[]> {
    const { catalog } = this.#options;
    const opened: OpenedStream[] = [];
    const unanswered = new Map<OpenStream, unknown>();
    const answers = await Promise.allSettled(all.map((stream) => this.#openStream(stream, signal, unanswered)));
    signal.throwIfAborted();
    for (const [i, answer] of answers.entries())
      if (answer.status === 'fulfilled') opened.push({ open: answer.value, paused: all[i]!.paused });
      else onTrouble(answer.reason);
    for (const error of unanswered.values()) onTrouble(error);
    const { tableOf, tables: asked } = this.#streamable(tabletIds, catalog.tableOfTablet);
    // Side by side: a new leader must not wait for one unanswered question of each stream.
    const members = await Promise.all(
      opened.map(({ open }) => this.#membersAmong(open, asked, unanswered.get(open), signal, onTrouble)),
    );
    signal.throwIfAborted();
    const sure = asked.filter((table) => !members.some(({ unsure }) => unsure.has(table)));
    const streamsOf = new Map(sure.map((table) => [table, opened.filter((_, i) => members[i]!.has.has(table))]));
    const known = tabletsById(before);
    const hasNews = this.#hasNews;
    this.#hasNews = hasNews && members.some(({ unsure }) => unsure.size > 0); // of those nothing is told now
    const streamed: StreamedTablet[] = [];
    for (const tabletId of tabletIds) {
      const table = tableOf.get(tabletId);
      if (!table) {
        const dropped = catalog.tableOf(tabletId) ? undefined : droppedOf(tabletId);
        const streams = dropped ? opened.filter(({ open }) => wantsDropped(open, tabletId, dropped)) : [];
        if (dropped && streams.length > 0) {
          const { tableId, tableName: name } = dropped;
          const table = { tableId, name, tablets: [] };
          streamed.push({ tabletId, table, streams: streams.map((each) => withKey(each, tabletId)), dropped });
        }
        continue;
      }
      const last = known.get(tabletId);
      const streams = streamsOf.get(table);
      if (!streams) {
        if (last) streamed.push(last);
        continue;
      }
      if (streams.length === 0) continue;
      const isSame = last?.table === table && !last.dropped && areSame(last.streams, streams);
      if (isSame && !hasNews) streamed.push(last);
      else streamed.push({ tabletId, table, streams: streams.map((each) => withKey(each, tabletId)) });
    }
    const isAsBefore = streamed.length === before.length && streamed.every((tablet, i) => tablet === before[i]);
    return isAsBefore ? before : streamed;
  }

  /** Those of the tablets whose table may be streamed, and these tables. */
  readonly #streamable = remembered(
    (tabletIds: ReadonlySet<string>, tableOfTablet: ReadonlyMap<string, CatalogTable>) => {
      const tableOf = new Map<string, CatalogTable>();
      for (const tabletId of tabletIds) {
        const table = tableOfTablet.get(tabletId);
        if (table && isStreamable(table.name, this.#options.systemTablePrefix)) tableOf.set(tabletId, table);
      }
      return { tableOf, tables: [...new Set(tableOf.values())] };
    },
  );

  /** Which of these tables the stream has; of some it may not be known. @param trouble why it cannot be asked now */
  async #membersAmong(
    open: OpenStream,
    tables: readonly CatalogTable[],
    trouble: unknown,
    signal: AbortSignal,
    onTrouble: (error: unknown) => void,
  ): Promise<{ readonly has: ReadonlySet<CatalogTable>; readonly unsure: ReadonlySet<CatalogTable> }> {
    const has = new Set<CatalogTable>();
    const unsure = new Set<CatalogTable>();
    let error = trouble;
    for (const table of tables)
      if (open.joined.has(table.tableId)) has.add(table);
      else if (error !== undefined) unsure.add(table);
      else
        try {
          if (await withinTime(signal, (limited) => this.#isMember(open, table, limited))) has.add(table);
        } catch (reason) {
          error = reason;
          unsure.add(table);
        }
    if (unsure.size > 0) onTrouble(error);
    return { has, unsure };
  }

  async #openStream(
    stored: StoredStream,
    signal: AbortSignal,
    unanswered: Map<OpenStream, unknown>,
  ): Promise<OpenStream> {
    const key = streamKey(stored);
    const known = this.#open.get(key);
    if (known) {
      // Both or neither: a membership that is new has its tablets' starts among the details.
      if (known.detailsOf !== stored.revision)
        try {
          this.#setDetails(known, stored, await this.#details(stored, signal));
        } catch (error) {
          signal.throwIfAborted();
          unanswered.set(known, error);
        }
      return known;
    }
    const { sinkFor, formatFor } = this.#options;
    const details = await this.#details(stored, signal);
    const open: OpenStream = {
      stored,
      sink: sinkFor(stored),
      format: formatFor(stored, (tableId) => open.joined.get(tableId)?.name),
      arena: new ByteArena(ARENA_BYTES),
      pace: new Pace(() => open.stored.definition.copyRowsPerSecond ?? 0),
      largeReads: new ByteBudget(LARGE_READS_BYTES),
      copySlots: new Slots(MAX_COPIES_AT_A_TIME),
      details,
      joined: new Map(details.joined),
      detailsOf: stored.revision,
      joinedReadAtMs: performance.now(),
    };
    this.#open.set(key, open);
    return open;
  }

  #details(stored: StoredStream, signal: AbortSignal): Promise<StreamDetails> {
    return withinTime(signal, (limited) => this.#options.streams.details(stored, limited));
  }

  #setDetails(open: OpenStream, stored: StoredStream, details: StreamDetails): void {
    open.stored = stored;
    open.details = details;
    open.joined = new Map(details.joined);
    open.detailsOf = stored.revision;
    open.joinedReadAtMs = performance.now();
    this.#hasNews = true;
  }

  /** A table joins by its name and stays by its id: a rename does not take it out (kudu-facts 2). */
  async #isMember(open: OpenStream, table: CatalogTable, signal: AbortSignal): Promise<boolean> {
    const { streams } = this.#options;
    if (!matchTables(open.stored.definition.tables, table.name)) {
      // It may have joined by another name, seen by another sidecar.
      if (performance.now() - open.joinedReadAtMs < JOINED_MAX_AGE_MS) return false;
      this.#setDetails(open, open.stored, await streams.details(open.stored, signal));
      return open.joined.has(table.tableId);
    }
    open.joined.set(table.tableId, await streams.joinTable(open.stored, table, signal));
    return true;
  }
}

const tabletsById = oncePer(
  (tablets: readonly StreamedTablet[]) => new Map(tablets.map((tablet) => [tablet.tabletId, tablet])),
);

type OpenedStream = Pick<TabletsStream, 'open' | 'paused'>;

function withKey(stream: OpenedStream, tabletId: string): TabletsStream {
  return { ...stream, key: shippingKey(stream.open.stored, tabletId) };
}

function areSame(before: readonly OpenedStream[], now: readonly OpenedStream[]): boolean {
  return (
    before.length === now.length &&
    before.every(({ open, paused }, i) => open === now[i]!.open && paused === now[i]!.paused)
  );
}

/** A stream that was made after it was dropped never had it. */
function wantsDropped(open: OpenStream, tabletId: string, { tableId, generations }: DroppedTablet): boolean {
  const { generation, isEnded } = keptOf(open, tableId, tabletId);
  return open.joined.has(tableId) && !isEnded && generations.includes(generation);
}

/** What a stream cannot change and be the same one to those who ship it. */
function shapeOf({ definition }: StoredStream): string {
  return JSON.stringify({ ...definition, tables: null, copyRowsPerSecond: null });
}

async function withinTime<T>(signal: AbortSignal, question: (limited: AbortSignal) => Promise<T>): Promise<T> {
  using limit = new TimeLimit(signal, QUESTION_TIMEOUT_MS);
  return await question(limit.signal);
}

export function streamKey(stream: StoredStream): string {
  return `${stream.definition.name}/${stream.generation}`;
}

/** Of a stream and a tablet that it has. */
export function shippingKey(stream: StoredStream, tabletId: string): string {
  return `${streamKey(stream)}/${tabletId}`;
}
