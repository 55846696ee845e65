import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import { SpoorError } from '../errors.ts';
import type { Membership } from './membership.ts';
import type { StoredStream, UnreadableStream } from './stored-stream.ts';
import { parseStreamDefinition } from './definition.ts';
import {
  detailsItem,
  LISTED,
  OLD_DEFINITION,
  OLD_PAUSED,
  OLD_REVISION,
  partItem,
  revisionItem,
  revisionNumber,
  type StreamRow,
  type StreamsTable,
} from './stream-items.ts';

/** What is written down of a stream with each revision. */
type StreamText = Pick<StoredStream, 'definition' | 'generation' | 'createdAt' | 'paused' | 'memberships'>;

/** The newest revision of a name. */
export interface NewestRevision {
  readonly name: string;
  readonly number: number;
  /** False where the name had a stream, and has none now. */
  readonly exists: boolean;
  /** Null where there is none, or where it is {@link unreadable}. */
  readonly stream: StoredStream | null;
  readonly unreadable: UnreadableStream | null;
}

const revisionBody = z.object({
  id: z.string(),
  generation: z.string(),
  /** How many rows hold the text; absent where the stream was deleted with this revision. */
  parts: z.int().positive().exactOptional(),
});
type RevisionBody = z.output<typeof revisionBody>;

const membershipBody = z.object({ id: z.string(), again: z.literal(true).exactOptional() });
const textBody = z.object({
  definition: z.unknown(),
  generation: z.string(),
  createdAt: z.string(),
  paused: z.boolean(),
  memberships: z.record(z.string(), membershipBody),
});
const oldText = z.object({ definition: z.unknown(), generation: z.string(), createdAt: z.string() });
const oldPaused = z.object({ generation: z.string(), since: z.string() });
const detailsBody = z.object({ generation: z.string(), revision: z.string() });

/** A cell takes 64 KiB (kudu-facts 5.5), and the text is ASCII. */
const PART_LENGTH = 60_000;
/**
 * Revisions that are no longer the newest are swept away at the earliest when they have been so for ten minutes
 * (stream-sweeper.ts). Whoever read one and took that long would find its number free, and believe itself the first.
 */
const MAX_CHANGE_MS = 60_000;

/**
 * The definitions of the streams, each a chain of numbered revisions. A change is one INSERT of the next number, which
 * fails when somebody else was first: so none is lost, and a name whose newest revision says that it is deleted stays so.
 */
export class StreamRevisions {
  readonly #table: StreamsTable;
  /** Texts by the id of their revision, which never change. */
  #texts: ReadonlyMap<string, string> = new Map();
  /** What {@link all} read last, and made of it. */
  #last: { readonly rows: readonly StreamRow[]; readonly newest: readonly NewestRevision[] } | null = null;

  constructor(table: StreamsTable) {
    this.#table = table;
  }

  /** The newest revision of every name. It is asked for each second: where no row is another, they are the same, themselves. */
  async all(signal: AbortSignal): Promise<readonly NewestRevision[]> {
    const rows = await this.#table.scan({ item: LISTED }, signal);
    if (this.#last !== null && areSame(this.#last.rows, rows)) return this.#last.newest;
    this.#last = null;
    const newest = await this.#newest(rows, {}, signal);
    // Of the others more than these rows decides.
    if (newest.every(({ number, unreadable }) => number > 0 && unreadable === null)) this.#last = { rows, newest };
    return newest;
  }

  async of(name: string, signal: AbortSignal): Promise<NewestRevision> {
    const where = { stream: name };
    const rows = await this.#table.scan({ ...where, item: LISTED }, signal);
    const [newest] = await this.#newest(rows, where, signal);
    return newest ?? { name, number: 0, exists: false, stream: null, unreadable: null };
  }

  /**
   * Writes the next revision of a name; without a text, that it is deleted.
   * @param readAtMs when that was read which the revision changes, by `performance.now()`
   * @returns false when somebody else was first: nothing has changed
   * @throws {SpoorError} it took so long that nobody knows whether it counts; {KuduError} and others: it may or may not
   *   be written, which shows when it is read again
   */
  async write(
    { name, generation, number, text }: { name: string; generation: string; number: number; text: StreamText | null },
    readAtMs: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const id = randomUUID();
    const parts = text === null ? [] : partsOf(formatText(text));
    if (parts.length > 0)
      await this.#table.upsert(
        parts.map((body, place) => ({ stream: name, item: partItem(id, place), body })),
        signal,
      );
    const body: RevisionBody = { id, generation, ...(parts.length > 0 && { parts: parts.length }) };
    failWhenLate(name, readAtMs);
    const isFirst = await this.#insert(
      { stream: name, item: revisionItem(number), body: JSON.stringify(body) },
      signal,
    );
    if (isFirst) failWhenLate(name, readAtMs);
    return isFirst;
  }

  /** Whether the row is there now by this very call: an answer may be lost, and the row tells who wrote it. */
  async #insert(row: StreamRow, signal: AbortSignal): Promise<boolean> {
    let failure: unknown = null;
    try {
      if (await this.#table.insert(row, signal)) return true;
    } catch (error) {
      signal.throwIfAborted();
      failure = error;
    }
    const [there] = await this.#table.scan({ stream: row.stream, item: row.item }, signal);
    if (there === undefined && failure !== null) throw failure as Error;
    return there?.body === row.body;
  }

  /** @param rows of the names that are asked for, all that are {@link LISTED} */
  async #newest(
    rows: readonly StreamRow[],
    where: { readonly stream?: string },
    signal: AbortSignal,
  ): Promise<NewestRevision[]> {
    const newest = new Map<string, StreamRow>();
    for (const row of rows) {
      const number = revisionNumber(row.item);
      const other = newest.get(row.stream);
      if (number !== null && (!other || number > revisionNumber(other.item)!)) newest.set(row.stream, row);
    }
    const hasOld = [...newest.values()].some(({ item }) => item === OLD_DEFINITION);
    const old = hasOld ? await this.#table.scan({ ...where, item: [OLD_PAUSED, OLD_REVISION] }, signal) : [];
    const texts = await this.#readTexts([...newest.values()], where.stream === undefined, signal);
    const sayings = new Map<string, StreamRow[]>([...newest.keys()].map((name) => [name, []]));
    for (const row of [...rows, ...old]) sayings.get(row.stream)?.push(row);
    return [...newest.values()].map((row) => parseNewest(row, sayings.get(row.stream)!, texts));
  }

  /** The texts of revisions, by their ids. Read once; those that are the newest no more are forgotten. */
  async #readTexts(
    newest: readonly StreamRow[],
    areAll: boolean,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> {
    const wanted = newest.flatMap(({ item, body }) => {
      const revision = item === OLD_DEFINITION ? null : parseRevision(body);
      return revision?.parts === undefined ? [] : [{ id: revision.id, parts: revision.parts }];
    });
    const unknown = wanted.filter(({ id }) => !this.#texts.has(id));
    const items = unknown.flatMap(({ id, parts }) => Array.from({ length: parts }, (_, i) => partItem(id, i)));
    const rows = items.length > 0 ? await this.#table.scan({ item: items }, signal) : [];
    const bodies = new Map(rows.map(({ item, body }) => [item, body]));
    const texts = new Map(areAll ? [] : this.#texts);
    for (const { id, parts } of wanted) {
      const pieces = Array.from({ length: parts }, (_, i) => bodies.get(partItem(id, i)));
      const text = this.#texts.get(id) ?? (pieces.includes(undefined) ? undefined : pieces.join(''));
      if (text !== undefined) texts.set(id, text);
    }
    this.#texts = texts;
    return texts;
  }
}

function areSame(before: readonly StreamRow[], now: readonly StreamRow[]): boolean {
  return (
    before.length === now.length &&
    before.every(({ stream, item, body }, i) => {
      const other = now[i]!;
      return stream === other.stream && item === other.item && body === other.body;
    })
  );
}

function failWhenLate(name: string, readAtMs: number): void {
  if (performance.now() - readAtMs > MAX_CHANGE_MS)
    throw new SpoorError('SPOOR_KUDU_UNAVAILABLE', `stream ${JSON.stringify(name)} was not stored in time`);
}

function parseNewest(row: StreamRow, said: readonly StreamRow[], texts: ReadonlyMap<string, string>): NewestRevision {
  const name = row.stream;
  const number = revisionNumber(row.item)!;
  try {
    if (number === 0) return { name, number, exists: true, stream: parseOld(row, said), unreadable: null };
    const revision = revisionBody.parse(JSON.parse(row.body));
    if (revision.parts === undefined) return { name, number, exists: false, stream: null, unreadable: null };
    const text = texts.get(revision.id);
    if (text === undefined) throw new Error('its text is not whole');
    const parsed = textBody.parse(JSON.parse(text));
    const details = said.find(({ item }) => item === detailsItem(parsed.generation));
    const stream: StoredStream = {
      definition: parseDefinition(parsed.definition),
      generation: parsed.generation,
      createdAt: parsed.createdAt,
      number,
      revision: `${number}/${details?.body ?? ''}`,
      paused: parsed.paused,
      memberships: new Map(
        Object.entries(parsed.memberships).map(([id, membership]): [string, Membership] => [
          id,
          { id: membership.id, again: membership.again === true },
        ]),
      ),
    };
    return { name, number, exists: true, stream, unreadable: null };
  } catch (error) {
    const knows = `stream ${JSON.stringify(name)} was made by a Spoor that knows more than this one`;
    return { name, number, exists: true, stream: null, unreadable: { name, reason: `${knows}: ${faultsOf(error)}` } };
  }
}

/** What is said of a stream counts for the generation that it was said of. @throws whatever is not understood */
function parseOld(row: StreamRow, said: readonly StreamRow[]): StoredStream {
  const bodyOf = (item: string): unknown => {
    const other = said.find((each) => each.item === item);
    return other && JSON.parse(other.body);
  };
  const { definition, generation, createdAt } = oldText.parse(JSON.parse(row.body));
  const paused = oldPaused.optional().parse(bodyOf(OLD_PAUSED));
  const revised = detailsBody.optional().parse(bodyOf(OLD_REVISION));
  const details = said.find(({ item }) => item === detailsItem(generation));
  return {
    definition: parseDefinition(definition),
    generation,
    createdAt,
    number: 0,
    revision: `0/${revised?.generation === generation ? revised.revision : ''}${details?.body ?? ''}`,
    paused: paused?.generation === generation,
    memberships: new Map(),
  };
}

function parseDefinition(definition: unknown): StoredStream['definition'] {
  const parsed = parseStreamDefinition(definition);
  if (parsed.kind !== 'ok') throw new Error(parsed.faults.map(({ path, message }) => `${path}: ${message}`).join('; '));
  return parsed.definition;
}

function parseRevision(body: string): RevisionBody | null {
  try {
    return revisionBody.parse(JSON.parse(body));
  } catch {
    return null; // told where it is read as the newest
  }
}

/** As ASCII, so that it may be cut anywhere. */
function formatText({ definition, generation, createdAt, paused, memberships }: StreamText): string {
  const text: z.input<typeof textBody> = {
    definition,
    generation,
    createdAt,
    paused,
    memberships: Object.fromEntries(
      [...memberships].map(([tableId, { id, again }]) => [tableId, { id, ...(again && { again }) }]),
    ),
  };
  return JSON.stringify(text).replace(
    /[\u0080-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function partsOf(text: string): string[] {
  return Array.from({ length: Math.ceil(text.length / PART_LENGTH) }, (_, i) =>
    text.slice(i * PART_LENGTH, (i + 1) * PART_LENGTH),
  );
}

function faultsOf(error: unknown): string {
  if (error instanceof z.ZodError)
    return error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  return error instanceof Error ? error.message : String(error);
}
