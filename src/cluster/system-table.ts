/**
 * A small table of Spoor's own in Kudu whose columns are all strings: what sidecars share. Reads are of the leader,
 * so that whoever wrote sees it.
 */
export interface SystemTable<Column extends string> {
  /** Rows in which every given column has the given value, or one of them. */
  scan(
    equals: Partial<Record<Column, string | readonly string[]>>,
    signal: AbortSignal,
  ): Promise<readonly Record<Column, string>[]>;
  /** False when there is a row with that key already; nothing is changed then. */
  insert(row: Record<Column, string>, signal: AbortSignal): Promise<boolean>;
  upsert(rows: readonly Record<Column, string>[], signal: AbortSignal): Promise<void>;
  /** Deletes by key columns. True when all of them were there. */
  delete(keys: readonly Partial<Record<Column, string>>[], signal: AbortSignal): Promise<boolean>;
}
