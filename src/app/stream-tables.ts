import { UnknownMemberError } from '../streams/stream-errors.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import type { StreamStore } from '../streams/stream-store.ts';
import type { Catalog, CatalogTable } from '../streams/table-catalog.ts';

export interface StreamTablesOptions {
  readonly store: StreamStore;
  readonly catalog: Catalog;
}

/** A table that is in a stream. */
export interface StreamTable {
  /** As it is now. */
  readonly table: CatalogTable;
  /** The name under which it joined. */
  readonly joinedAs: string;
}

/** The tables of a stream that are there at this moment: the catalog is fetched anew for it. */
export async function tablesOf(
  stored: StoredStream,
  { store, catalog }: StreamTablesOptions,
  signal: AbortSignal,
): Promise<readonly StreamTable[]> {
  await catalog.fetchNow(signal);
  const joined = await store.joinedTables(stored, signal);
  return [...catalog.tables()].flatMap((table) => {
    const as = joined.get(table.tableId);
    return as === undefined ? [] : [{ table, joinedAs: as.name }];
  });
}

/**
 * The same, or the one that is named.
 * @param name that it has now; null for all
 * @throws {UnknownMemberError} the stream has no such table
 */
export async function tablesNamed(
  stored: StoredStream,
  name: string | null,
  options: StreamTablesOptions,
  signal: AbortSignal,
): Promise<readonly StreamTable[]> {
  const all = await tablesOf(stored, options, signal);
  const named = all.filter(({ table }) => name === null || table.name === name);
  if (name !== null && named.length === 0)
    throw new UnknownMemberError('table', `stream ${stored.definition.name} has no table ${name}`);
  return named;
}
