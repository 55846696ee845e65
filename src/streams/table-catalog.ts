/** A table as the master knows it now. */
export interface CatalogTable {
  readonly tableId: string;
  readonly name: string;
  readonly tablets: readonly CatalogTablet[];
}

export interface CatalogTablet {
  readonly tabletId: string;
  /** Encoded start of its partition: orders the tablets of a table (kudu-facts 2). */
  readonly partitionKeyStart: Uint8Array;
}

/**
 * Which table a tablet belongs to: the master's catalog, kept for a while. Soft-deleted tables are part of it, since
 * they still take writes (kudu-facts trap 32).
 */
export class Catalog {
  readonly #fetch: (signal: AbortSignal) => Promise<readonly CatalogTable[]>;
  readonly #maxAgeMs: number;
  #tables = new Map<string, CatalogTable>();
  #tableOfTablet = new Map<string, CatalogTable>();
  #unlisted: ReadonlySet<string> = new Set();
  /** Of which all was known, or known not to be listed, when it was last asked. */
  #known: readonly string[] = [];
  #fetchedAtMs = Number.NEGATIVE_INFINITY;

  constructor(fetch: (signal: AbortSignal) => Promise<readonly CatalogTable[]>, maxAgeMs: number) {
    this.#fetch = fetch;
    this.#maxAgeMs = maxAgeMs;
  }

  /**
   * Asks the master anew when what we know is old, or when it lacks one of `tabletIds`; at most once a call. A tablet
   * that the master does not list (of Kudu's own transaction table) is asked after again only when the rest is old.
   */
  async refresh(tabletIds: readonly string[], signal: AbortSignal): Promise<void> {
    const aged = performance.now() - this.#fetchedAtMs > this.#maxAgeMs;
    if (!aged && tabletIds === this.#known) return;
    if (aged || !tabletIds.every((id) => this.#tableOfTablet.has(id) || this.#unlisted.has(id))) {
      await this.fetchNow(signal);
      this.#unlisted = new Set(tabletIds.filter((id) => !this.#tableOfTablet.has(id)));
    }
    this.#known = tabletIds;
  }

  async fetchNow(signal: AbortSignal): Promise<void> {
    const tables = await this.#fetch(signal);
    this.#fetchedAtMs = performance.now();
    if (tables.length === this.#tables.size && tables.every((table) => this.#tables.get(table.tableId) === table))
      return;
    this.#known = [];
    this.#tables = new Map(tables.map((table) => [table.tableId, table]));
    this.#tableOfTablet = new Map(tables.flatMap((table) => table.tablets.map(({ tabletId }) => [tabletId, table])));
  }

  tables(): Iterable<CatalogTable> {
    return this.#tables.values();
  }

  /** Every tablet that is listed, with its table. The same map, itself, while nothing about them changes. */
  get tableOfTablet(): ReadonlyMap<string, CatalogTable> {
    return this.#tableOfTablet;
  }

  tableOf(tabletId: string): CatalogTable | undefined {
    return this.#tableOfTablet.get(tabletId);
  }
}

/** The tablet of a table's first partition. */
export function firstTabletId(table: CatalogTable): string | undefined {
  let first: CatalogTablet | undefined;
  for (const tablet of table.tablets)
    if (!first || Buffer.compare(tablet.partitionKeyStart, first.partitionKeyStart) < 0) first = tablet;
  return first?.tabletId;
}
