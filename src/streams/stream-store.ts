import { randomUUID } from 'node:crypto';
import { SpoorError } from '../errors.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { TabletPosition } from '../change/position.ts';
import { type CatalogTable, firstTabletId } from './table-catalog.ts';
import { FIRST_MEMBERSHIP, membershipIn, withMembers, type Membership } from './membership.ts';
import {
  type JoinedTable,
  type MemberTablet,
  type Resync,
  type ResyncFrom,
  type StoredStream,
  type StreamDetails,
  type StreamSource,
  type UnreadableStream,
  type Whence,
} from './stored-stream.ts';
import type { AskedStream, StreamDefinition } from './definition.ts';
import { checkPrecondition, type Precondition } from './precondition.ts';
import { StreamExistsError } from './stream-errors.ts';
import type { Logger } from '../util/logger.ts';
import { formatPosition } from './stored-position.ts';
import {
  detailsItem,
  generationOf,
  itemsOf,
  memberItem,
  skipItems,
  skippedId,
  OLD_DEFINITION,
  OLD_PAUSED,
  OLD_REVISION,
  tableItem,
  type StreamItem,
  type StreamsTable,
} from './stream-items.ts';
import { detailsOf, joinedAmong, joinedBody } from './stream-details.ts';
import { StreamRevisions } from './stream-revisions.ts';

export { STREAM_COLUMNS } from './stream-items.ts';

/** What a change makes of a stream; what it leaves out stays. */
export interface StreamEdit {
  readonly definition?: StreamDefinition;
  readonly paused?: boolean;
  /** Tables that begin a membership. */
  readonly joins?: readonly CatalogTable[];
  /** Where their tablets begin. */
  readonly starts?: ReadonlyMap<string, TabletPosition>;
  /** Ids of tables whose membership ends. */
  readonly leaves?: readonly string[];
}

/** The streams of the cluster, kept in Spoor's own Kudu table so that every sidecar sees the same. */
export class StreamStore implements StreamSource {
  readonly #table: StreamsTable;
  readonly #revisions: StreamRevisions;
  readonly #logger: Logger;
  /** ISO 8601. */
  readonly #now: () => string;
  #unreadable: readonly UnreadableStream[] = [];

  /** @param kuduNow what time it is in the cluster, in milliseconds since 1970: what is written down is compared elsewhere */
  constructor(table: StreamsTable, logger: Logger, kuduNow: () => number = Date.now) {
    this.#table = table;
    this.#revisions = new StreamRevisions(table);
    this.#logger = logger;
    this.#now = () => new Date(kuduNow()).toISOString();
  }

  /** Those that are not understood are left out, and told in {@link unreadable}. */
  async list(signal: AbortSignal): Promise<readonly StoredStream[]> {
    const all = await this.#revisions.all(signal);
    const unreadable = all.flatMap((newest) => newest.unreadable ?? []);
    const wasTold = ({ name, reason }: UnreadableStream): boolean =>
      this.#unreadable.some((told) => told.name === name && told.reason === reason);
    for (const { name, reason } of unreadable.filter((each) => !wasTold(each)))
      this.#logger.error({ stream: name, reason }, 'a stored stream cannot be read: it is not shipped from here');
    this.#unreadable = unreadable;
    return all.flatMap(({ stream }) => stream ?? []);
  }

  get unreadable(): readonly UnreadableStream[] {
    return this.#unreadable;
  }

  /** @throws {SpoorError} SPOOR_NOT_SUPPORTED when it is stored in a way that this version does not understand */
  async get(name: string, signal: AbortSignal): Promise<StoredStream | null> {
    const { stream, unreadable } = await this.#revisions.of(name, signal);
    if (unreadable) throw new SpoorError('SPOOR_NOT_SUPPORTED', unreadable.reason);
    return stream;
  }

  /** Whether the name is taken, also by a stream that this version cannot read. */
  async has(name: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#revisions.of(name, signal)).exists;
  }

  /**
   * Keeps a new stream. The starts are written first and its revision last, so that whoever sees the stream sees
   * where its tablets begin. @throws {StreamExistsError}; {SpoorError} it took too long, and there is no stream
   */
  async create(
    { definition, paused }: AskedStream,
    starts: ReadonlyMap<string, TabletPosition>,
    tables: readonly CatalogTable[],
    signal: AbortSignal,
  ): Promise<StoredStream> {
    const { name } = definition;
    const taken = new StreamExistsError(`there is a stream ${JSON.stringify(name)} already`);
    const readAtMs = performance.now();
    const newest = await this.#revisions.of(name, signal);
    if (newest.exists) throw taken;
    const number = newest.number + 1;
    const body = { definition, generation: randomUUID(), createdAt: this.#now(), paused };
    const stored: StoredStream = { ...body, number, revision: `${number}/`, memberships: new Map() };
    await this.#putStarts(stored, () => FIRST_MEMBERSHIP, starts, signal);
    for (const table of tables) await this.joinTable(stored, table, signal);
    const { generation } = stored;
    if (await this.#revisions.write({ name, generation, number, text: stored }, readAtMs, signal)) return stored;
    await this.#deleteGeneration(name, generation, signal);
    throw taken;
  }

  /**
   * Changes a stream, and answers it as it is then; null where there is none. Where somebody else was first it is read
   * again and `edit` asked again, so that no change is lost.
   * @param edit what is to become of it; null leaves it as it is
   */
  async change(
    name: string,
    edit: (stored: StoredStream) => StreamEdit | null | Promise<StreamEdit | null>,
    signal: AbortSignal,
  ): Promise<StoredStream | null> {
    for (;;) {
      signal.throwIfAborted();
      const readAtMs = performance.now();
      const stored = await this.get(name, signal);
      const asked = stored && (await edit(stored));
      if (stored === null || asked === null) return stored;
      const { joins = [], leaves = [], starts = new Map<string, TabletPosition>() } = asked;
      const joined = joins.length > 0 ? await this.joinedTables(stored, signal) : new Map<string, JoinedTable>();
      const wasIn = (tableId: string): boolean => joined.has(tableId);
      const number = stored.number + 1;
      const next: StoredStream = {
        ...stored,
        definition: asked.definition ?? stored.definition,
        paused: asked.paused ?? stored.paused,
        number,
        revision: `${number}/${stored.revision.slice(stored.revision.indexOf('/') + 1)}`,
        memberships: withMembers(stored.memberships, { joins, leaves }, wasIn, number),
      };
      // Whoever sees the revision has seen where its tablets begin. Until then nobody asks for that membership.
      await this.#putStarts(next, membershipOfTablets(next, joins), starts, signal);
      for (const table of joins) await this.joinTable(next, table, signal);
      const { generation } = next;
      if (!(await this.#revisions.write({ name, generation, number, text: next }, readAtMs, signal))) continue;
      await this.#forgetTables(stored, [...joins.map(({ tableId }) => tableId), ...leaves], signal);
      return next;
    }
  }

  /** Pauses a stream or lets it go on. A stream that is so already stays as it is. */
  async setPaused(name: string, paused: boolean, signal: AbortSignal): Promise<StoredStream | null> {
    return this.change(name, (stored) => (stored.paused === paused ? null : { paused }), signal);
  }

  /** Asks for resyncs of some tablets; one that was asked for before and is not yet done is done once. @returns the id of the request */
  async resync(
    stored: StoredStream,
    tablets: readonly MemberTablet[],
    from: ResyncFrom,
    signal: AbortSignal,
  ): Promise<string> {
    const request: Resync = { id: randomUUID(), from, requestedAt: this.#now() };
    const body = JSON.stringify(request);
    const stream = stored.definition.name;
    // In rows of their own: a repair that is asked for must not take the place of a copy that is.
    const kind = from === 'gap' ? 'gap' : 'resync';
    await this.#table.upsert(
      tablets.map(({ tabletId, membership }) => ({
        stream,
        item: memberItem(kind, stored, tabletId, membership),
        body,
      })),
      signal,
    );
    await this.#touchDetails(stored, signal);
    return request.id;
  }

  /** Asks for rows of a tablet to be put right. @returns the id of the request */
  async correct(
    stored: StoredStream,
    { tabletId, membership }: MemberTablet,
    keys: readonly Buffer[],
    signal: AbortSignal,
  ): Promise<string> {
    const id = randomUUID();
    const body = JSON.stringify({ id, keys: keys.map((key) => key.toString('base64')) });
    const stream = stored.definition.name;
    await this.#table.upsert([{ stream, item: memberItem('keys', stored, tabletId, membership), body }], signal);
    await this.#touchDetails(stored, signal);
    return id;
  }

  /** Asks for tablets to be shipped again from somewhere on; what was asked for before and has not begun is not done. */
  async rewind(
    stored: StoredStream,
    tablets: readonly MemberTablet[],
    to: Whence,
    signal: AbortSignal,
  ): Promise<string> {
    const id = randomUUID();
    const body = JSON.stringify({ id, to: 'opId' in to ? { op: formatOpId(to.opId) } : { time: to.time.toString() } });
    const stream = stored.definition.name;
    await this.#table.upsert(
      tablets.map(({ tabletId, membership }) => {
        return { stream, item: memberItem('rewind', stored, tabletId, membership), body };
      }),
      signal,
    );
    await this.#touchDetails(stored, signal);
    return id;
  }

  /** Has the rows of an operation left out. */
  async skip(
    stored: StoredStream,
    { tabletId, membership }: MemberTablet,
    op: OpId,
    signal: AbortSignal,
  ): Promise<void> {
    const item = memberItem('skip', stored, skippedId(tabletId, op), membership);
    await this.#table.upsert(
      [{ stream: stored.definition.name, item, body: JSON.stringify({ at: this.#now() }) }],
      signal,
    );
    await this.#touchDetails(stored, signal);
  }

  /**
   * A revision that says so comes first: the stream is over then, whatever becomes of its rows. False when there was none.
   * @param precondition that of a stream which is there; it throws what it throws
   */
  async delete(name: string, signal: AbortSignal, precondition: Precondition = {}): Promise<boolean> {
    for (;;) {
      signal.throwIfAborted();
      const readAtMs = performance.now();
      const newest = await this.#revisions.of(name, signal);
      if (!newest.exists) return false;
      checkPrecondition(precondition, name, newest.number);
      const generation = newest.stream?.generation ?? '';
      const number = newest.number + 1;
      if (!(await this.#revisions.write({ name, generation, number, text: null }, readAtMs, signal))) continue;
      // Of version 0.1, which no Spoor of now writes.
      const old = [OLD_DEFINITION, OLD_PAUSED, OLD_REVISION].map((item) => ({ stream: name, item }));
      await this.#table.delete(old, signal);
      if (generation !== '') await this.#deleteGeneration(name, generation, signal);
      return true;
    }
  }

  async details(stream: StoredStream, signal: AbortSignal): Promise<StreamDetails> {
    return detailsOf(stream, await this.#items(stream, signal));
  }

  async joinTable(stream: StoredStream, table: CatalogTable, signal: AbortSignal): Promise<JoinedTable> {
    const joined: JoinedTable = { name: table.name, speakerTabletId: firstTabletId(table) ?? '' };
    const row = { stream: stream.definition.name, item: tableItem(stream, table.tableId) };
    if (await this.#table.insert({ ...row, body: JSON.stringify(joined) }, signal)) return joined;
    const [there] = await this.#table.scan(row, signal);
    return there ? joinedBody.parse(JSON.parse(there.body)) : joined;
  }

  /** The tables of {@link details} alone, which can be read where something else there is of a newer Spoor. */
  async joinedTables(stream: StoredStream, signal: AbortSignal): Promise<ReadonlyMap<string, JoinedTable>> {
    return joinedAmong(stream, await this.#items(stream, signal));
  }

  async setSpeaker(
    stored: StoredStream,
    { tableId, tabletId: speakerTabletId, membership }: MemberTablet,
    signal: AbortSignal,
  ): Promise<void> {
    const row = { stream: stored.definition.name, item: memberItem('table', stored, tableId, membership) };
    const [there] = await this.#table.scan(row, signal);
    if (!there) return; // the table has left the stream
    const { name } = joinedBody.parse(JSON.parse(there.body));
    const body = JSON.stringify({ name, speakerTabletId } satisfies JoinedTable);
    if (await this.#table.update({ ...row, body }, signal)) await this.#touchDetails(stored, signal);
  }

  async endTablet(stored: StoredStream, { tabletId, membership }: MemberTablet, signal: AbortSignal): Promise<void> {
    const stream = stored.definition.name;
    const item = (kind: StreamItem['kind']): string => memberItem(kind, stored, tabletId, membership);
    const body = JSON.stringify({ at: this.#now() });
    await this.#table.upsert([{ stream, item: item('ended'), body }], signal);
    const skips = itemsOf(stored, await this.#table.scan({ stream, item: skipItems(stored, tabletId) }, signal));
    const done = [
      ...(['start', 'resync', 'gap', 'keys', 'rewind'] as const).map(item),
      ...skips
        .filter((each) => each.membership === membership.id)
        .map(({ id }) => memberItem('skip', stored, id, membership)),
    ];
    await this.#table.delete(
      done.map((each) => ({ stream, item: each })),
      signal,
    );
    await this.#touchDetails(stored, signal);
  }

  async #putStarts(
    stored: StoredStream,
    membershipOf: (tabletId: string) => Membership,
    starts: ReadonlyMap<string, TabletPosition>,
    signal: AbortSignal,
  ): Promise<void> {
    const rows = [...starts].map(([tabletId, position]) => ({
      stream: stored.definition.name,
      item: memberItem('start', stored, tabletId, membershipOf(tabletId)),
      body: formatPosition(position),
    }));
    if (rows.length > 0) await this.#table.upsert(rows, signal);
  }

  async #touchDetails({ definition, generation }: StoredStream, signal: AbortSignal): Promise<void> {
    await this.#table.upsert([{ stream: definition.name, item: detailsItem(generation), body: randomUUID() }], signal);
  }

  /** Memberships of before are over, and nobody asks for their rows any more: what stays of them does no harm. */
  async #forgetTables(before: StoredStream, tableIds: readonly string[], signal: AbortSignal): Promise<void> {
    const stream = before.definition.name;
    try {
      await this.#table.delete(
        tableIds.map((tableId) => ({ stream, item: tableItem(before, tableId) })),
        signal,
      );
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#logger.debug({ stream, reason }, 'rows of tables that left a stream not deleted');
    }
  }

  async #items(stream: StoredStream, signal: AbortSignal): Promise<StreamItem[]> {
    return itemsOf(stream, await this.#table.scan({ stream: stream.definition.name }, signal));
  }

  async #deleteGeneration(stream: string, generation: string, signal: AbortSignal): Promise<void> {
    const rows = await this.#table.scan({ stream }, signal);
    const dead = rows.filter((row) => !row.item.startsWith(OLD_DEFINITION) && generationOf(row) === generation);
    if (dead.length > 0)
      await this.#table.delete(
        dead.map(({ item }) => ({ stream, item })),
        signal,
      );
  }
}

function membershipOfTablets(stream: StoredStream, tables: readonly CatalogTable[]): (tabletId: string) => Membership {
  const owners = new Map(
    tables.flatMap(({ tableId, tablets }) => tablets.map(({ tabletId }): [string, string] => [tabletId, tableId])),
  );
  return (tabletId) => membershipIn(stream, owners.get(tabletId) ?? '');
}
