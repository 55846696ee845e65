import type { CatalogTable } from './table-catalog.ts';
import { matchTables } from './table-patterns.ts';

/*
 * A table's stay in a stream, from when it joins until it is taken out. Positions, markers and all rows that are kept of
 * its tablets belong to one membership: what an earlier one left behind is never taken for a later one's.
 */

export interface Membership {
  /** The number of the stream's revision that began it; empty for the first one, which needed no change of the stream. */
  readonly id: string;
  /** The stream had the table before: what the sink has of it may be of then. */
  readonly again: boolean;
}

export const FIRST_MEMBERSHIP: Membership = { id: '', again: false };

/** A stream as far as memberships are concerned. */
export interface MemberStream {
  readonly generation: string;
  /** By table id; those that are not in it are in their {@link FIRST_MEMBERSHIP}. */
  readonly memberships: ReadonlyMap<string, Membership>;
}

export function membershipIn({ memberships }: MemberStream, tableId: string): Membership {
  return memberships.get(tableId) ?? FIRST_MEMBERSHIP;
}

/** What positions in sinks, markers and cuts are kept under: of one stream, and of one stay of the table in it. */
export function generationIn(stream: MemberStream, tableId: string): string {
  const { id } = membershipIn(stream, tableId);
  return id === '' ? stream.generation : `${stream.generation}.${id}`;
}

/** Whether {@link generationIn} has said that of this stream, in whatever membership. */
export function isOfStream(generation: string, stream: MemberStream): boolean {
  return generation.split('.', 1)[0] === stream.generation;
}

/** A table as it is in a stream, by the name that it joined under: a rename does not take it out. */
export interface NamedMember {
  readonly name: string;
}

/** What a change of the patterns does to memberships. */
export interface MembershipChange {
  /** Tables that begin a membership: they may hold rows, so they are copied first. */
  readonly joins: readonly CatalogTable[];
  /** Ids of tables whose membership ends. */
  readonly leaves: readonly string[];
}

/**
 * Who joins and who leaves when a stream's patterns change. A table that matches before and after stays, whether it has
 * joined by now or is about to; one that joined by a name that is asked for no more leaves, and is in anew where its
 * present name is asked for.
 * @param joined members before, by table id
 */
export function changeMembers(
  before: readonly string[],
  after: readonly string[],
  joined: ReadonlyMap<string, NamedMember>,
  tables: readonly CatalogTable[],
): MembershipChange {
  const joins: CatalogTable[] = [];
  const leaves: string[] = [];
  const stays = (tableId: string): boolean => {
    const member = joined.get(tableId);
    return member !== undefined && matchTables(after, member.name);
  };
  for (const table of tables) {
    const { tableId, name } = table;
    if (stays(tableId)) continue;
    const wasIn = joined.has(tableId) || matchTables(before, name);
    const isIn = matchTables(after, name);
    if (isIn && (!wasIn || joined.has(tableId))) joins.push(table);
    else if (wasIn && !isIn) leaves.push(tableId);
  }
  const listed = new Set(tables.map(({ tableId }) => tableId));
  for (const tableId of joined.keys()) if (!listed.has(tableId) && !stays(tableId)) leaves.push(tableId);
  return { joins, leaves };
}

/** The memberships of a stream from its revision `number` on. */
export function withMembers(
  memberships: ReadonlyMap<string, Membership>,
  { joins, leaves }: MembershipChange,
  wereIn: (tableId: string) => boolean,
  number: number,
): ReadonlyMap<string, Membership> {
  const next = new Map(memberships);
  const id = String(number);
  for (const { tableId } of joins)
    next.set(tableId, { id, again: memberships.get(tableId)?.again === true || wereIn(tableId) });
  // Whatever of it comes later is another membership, also where it comes by itself, under another name.
  for (const tableId of leaves) next.set(tableId, { id, again: true });
  return next;
}
