import type { ColumnFilter, SystemTable } from '../../src/streams/system-table.ts';

/** Kudu's default: max_cell_size_bytes. */
const MAX_CELL_BYTES = 64 << 10;

/** A system table in memory; the first `keys` of its columns are the key. */
export class MemorySystemTable<Column extends string> implements SystemTable<Column> {
  readonly #keys: readonly Column[];
  readonly #rows = new Map<string, Record<Column, string>>();
  scans = 0;

  constructor(columns: readonly Column[], keys: number) {
    this.#keys = columns.slice(0, keys);
  }

  rows(): readonly Record<Column, string>[] {
    return [...this.#rows.values()];
  }

  scan(filters: Partial<Record<Column, ColumnFilter>>): Promise<readonly Record<Column, string>[]> {
    this.scans++;
    const wanted = Object.entries(filters) as [Column, ColumnFilter | undefined][];
    return Promise.resolve(
      this.rows().filter((row) => wanted.every(([column, filter]) => isWanted(row[column], filter))),
    );
  }

  insert(row: Record<Column, string>): Promise<boolean> {
    this.#checkCells([row]);
    const isNew = !this.#rows.has(this.#key(row));
    if (isNew) this.#rows.set(this.#key(row), row);
    return Promise.resolve(isNew);
  }

  update(row: Record<Column, string>): Promise<boolean> {
    const isThere = this.#rows.has(this.#key(row));
    if (isThere) this.#rows.set(this.#key(row), row);
    return Promise.resolve(isThere);
  }

  upsert(rows: readonly Record<Column, string>[]): Promise<void> {
    this.#checkCells(rows);
    for (const row of rows) this.#rows.set(this.#key(row), row);
    return Promise.resolve();
  }

  delete(keys: readonly Partial<Record<Column, string>>[]): Promise<boolean> {
    const were = keys.map((key) => this.#rows.delete(this.#key(key)));
    return Promise.resolve(were.every(Boolean));
  }

  #checkCells(rows: readonly Record<Column, string>[]): void {
    for (const row of rows)
      for (const cell of Object.values<string>(row))
        if (Buffer.byteLength(cell) > MAX_CELL_BYTES)
          throw new RangeError(`value too large for column: ${cell.length}`);
  }

  #key(row: Partial<Record<Column, string>>): string {
    return JSON.stringify(this.#keys.map((column) => row[column]));
  }
}

function isWanted(cell: string, filter: ColumnFilter | undefined): boolean {
  if (filter === undefined) return true;
  if (typeof filter === 'string') return cell === filter;
  return 'prefix' in filter ? cell.startsWith(filter.prefix) : filter.includes(cell);
}
