import * as z from 'zod';
import { memberKey, type StoredStream } from './stored-stream.ts';
import { membershipIn, type Membership, type MemberStream } from './membership.ts';
import { formatOpId, parseOpId, type OpId } from '../kudu/opid.ts';
import type { SystemTable } from './system-table.ts';

/** The columns of the streams table, all strings; the first two are the key. */
export const STREAM_COLUMNS = ['stream', 'item', 'body'] as const;
export type StreamsTable = SystemTable<(typeof STREAM_COLUMNS)[number]>;
export type StreamRow = Record<(typeof STREAM_COLUMNS)[number], string>;

/*
 * Rows of one stream's name. Why two writers of one do no harm: docs/decisions/0003-shared-rows.md.
 *
 *   item `definition/<n>`                    body: the n-th revision of the name; the highest says whether there is a stream,
 *                                            and what it is. Inserted, never changed: who comes second reads again
 *   item `part/<revision id>/<i>`            body: a piece of what that revision says, written before it
 *   item `details/<generation>`              body: another id whenever the rows below change
 *   item `start/<generation>/<tablet id>`    body: where a tablet begins that was there before the stream took it in
 *   item `table/<generation>/<table id>`     body: a table's name when it joined, and which tablet ships its schema changes
 *   item `resync/<generation>/<tablet id>`   body: the last copy of all its rows that was asked for
 *   item `gap/<generation>/<tablet id>`      body: the last repair of its gap that was asked for
 *   item `keys/<generation>/<tablet id>`     body: rows that are to be put right
 *   item `rewind/<generation>/<tablet id>`   body: from where on it is to be shipped again, the last that was asked for
 *   item `skip/<generation>/<tablet id>:<term>.<index>`  body: since when the rows of that operation are to be left out
 *   item `ended/<generation>/<tablet id>`    body: since when a dropped tablet is done with
 *
 * The last eight have `/<membership>` behind them where that is not the table's first (streams/membership.ts).
 *
 * Of version 0.1, read as long as the name has no revision of this kind:
 *   item `definition`                        body: the stream
 *   item `paused`                            body: generation of the stream, and since when; there while it is paused
 *   item `revision`                          body: as `details`, with the generation
 */
export const OLD_DEFINITION = 'definition';
export const OLD_PAUSED = 'paused';
export const OLD_REVISION = 'revision';
/** Items that say which streams there are, those of before apart, begin so, and no others. */
export const LISTED = { prefix: 'de' } as const;

const REVISION_PREFIX = 'definition/';
const DETAILS_PREFIX = 'details/';
const PART_PREFIX = 'part/';
/** Numbers of revisions are in the order of their texts. */
const NUMBER_DIGITS = 10;

export function revisionItem(number: number): string {
  return REVISION_PREFIX + String(number).padStart(NUMBER_DIGITS, '0');
}

/** The number of a revision; 0 is a definition of version 0.1, null no definition. */
export function revisionNumber(item: string): number | null {
  if (item === OLD_DEFINITION) return 0;
  return item.startsWith(REVISION_PREFIX) ? Number(item.slice(REVISION_PREFIX.length)) : null;
}

export function detailsItem(generation: string): string {
  return DETAILS_PREFIX + generation;
}

export function partItem(revisionId: string, place: number): string {
  return `${PART_PREFIX}${revisionId}/${place}`;
}

/** Of which revision a row is a part; null for another row. */
export function partOf(item: string): string | null {
  return item.startsWith(PART_PREFIX) ? (item.split('/')[1] ?? null) : null;
}

const ITEM_KINDS = ['start', 'table', 'resync', 'gap', 'keys', 'rewind', 'skip', 'ended'] as const;
export type ItemKind = (typeof ITEM_KINDS)[number];

/** What is kept of a tablet or table in a stream. */
export interface StreamItem {
  readonly kind: ItemKind;
  /** Of the tablet or table. */
  readonly id: string;
  /** Id of the membership. */
  readonly membership: string;
  /** {@link memberKey} of the two. */
  readonly key: string;
  readonly body: string;
}

/** The item of a tablet or table in one of its memberships. */
export function memberItem(kind: ItemKind, { generation }: MemberStream, id: string, membership: Membership): string {
  return `${kind}/${generation}/${memberKey(id, membership)}`;
}

/** What an operation of a tablet whose rows are left out is kept under. */
export function skippedId(tabletId: string, opId: OpId): string {
  return `${tabletId}:${formatOpId(opId)}`;
}

/** Those of a tablet, in any membership. */
export function skipItems({ generation }: MemberStream, tabletId: string): { readonly prefix: string } {
  return { prefix: `skip/${generation}/${tabletId}:` };
}

/** Of which operation {@link skippedId} is. */
export function skippedOf(id: string): { readonly tabletId: string; readonly opId: OpId } {
  const [tabletId, opId] = id.split(':') as [string, string];
  return { tabletId, opId: parseOpId(opId) };
}

/** The item of a table in its present membership. */
export function tableItem(stream: MemberStream, tableId: string): string {
  return memberItem('table', stream, tableId, membershipIn(stream, tableId));
}

/** The rows of a stream that say something of a tablet or table, in any membership. */
export function itemsOf({ generation }: StoredStream, rows: readonly StreamRow[]): StreamItem[] {
  return rows.flatMap(({ item, body }) => {
    const [kind = '', of, id = '', membership = ''] = item.split('/');
    if (of !== generation || !isItemKind(kind)) return [];
    return [{ kind, id, membership, key: memberKey(id, { id: membership, again: false }), body }];
  });
}

export function isItemKind(kind: string): kind is ItemKind {
  return (ITEM_KINDS as readonly string[]).includes(kind);
}

const generationBody = z.object({ generation: z.string() });

/** Of which creation of its stream a row is; null for one that is not understood, or is of none. */
export function generationOf({ item, body }: StreamRow): string | null {
  const isText = [OLD_DEFINITION, OLD_PAUSED, OLD_REVISION].includes(item) || item.startsWith(REVISION_PREFIX);
  if (!isText) return item.startsWith(PART_PREFIX) ? null : (item.split('/')[1] ?? null);
  try {
    return generationBody.parse(JSON.parse(body)).generation;
  } catch {
    return null;
  }
}
