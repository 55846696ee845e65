import type { SystemTable } from '../../src/cluster/system-table.ts';

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

  scan(equals: Partial<Record<Column, string | readonly string[]>>): Promise<readonly Record<Column, string>[]> {
    this.scans++;
    const wanted = Object.entries(equals) as [Column, string | readonly string[] | undefined][];
    return Promise.resolve(
      this.rows().filter((row) =>
        wanted.every(([column, value]) => value === undefined || [value].flat().includes(row[column])),
      ),
    );
  }

  insert(row: Record<Column, string>): Promise<boolean> {
    const isNew = !this.#rows.has(this.#key(row));
    if (isNew) this.#rows.set(this.#key(row), row);
    return Promise.resolve(isNew);
  }

  upsert(rows: readonly Record<Column, string>[]): Promise<void> {
    for (const row of rows) this.#rows.set(this.#key(row), row);
    return Promise.resolve();
  }

  delete(keys: readonly Partial<Record<Column, string>>[]): Promise<boolean> {
    const were = keys.map((key) => this.#rows.delete(this.#key(key)));
    return Promise.resolve(were.every(Boolean));
  }

  #key(row: Partial<Record<Column, string>>): string {
    return JSON.stringify(this.#keys.map((column) => row[column]));
  }
}
