/** What a column is to be: that value, one of these, or one that begins so. */
export type ColumnFilter = string | readonly string[] | { readonly prefix: string };

/**
 * A small table of Spoor's own in Kudu whose columns are all strings: what sidecars share. Reads are of the leader,
 * so that whoever wrote sees it.
 */
export interface SystemTable<Column extends string> {
  /** Rows in which every given column is as it is asked for. */
  scan(wanted: Partial<Record<Column, ColumnFilter>>, signal: AbortSignal): Promise<readonly Record<Column, string>[]>;
  /** False when there is a row with that key already; nothing is changed then. */
  insert(row: Record<Column, string>, signal: AbortSignal): Promise<boolean>;
  /** False when there is no row with that key: none is made. */
  update(row: Record<Column, string>, signal: AbortSignal): Promise<boolean>;
  upsert(rows: readonly Record<Column, string>[], signal: AbortSignal): Promise<void>;
  /** Deletes by key columns. True when all of them were there. */
  delete(keys: readonly Partial<Record<Column, string>>[], signal: AbortSignal): Promise<boolean>;
}
