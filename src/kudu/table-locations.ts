import type { TableDescription, TableRef, TabletLocation } from './catalog.ts';
import { Partitioning, rangeOf } from './partitioning.ts';
import type { CallOptions, Deadline } from './rpc/deadline.ts';
import type { ReplicaLocator } from './tablet-caller.ts';
import type { RowInput } from './row-operations.ts';

/** The catalog calls that locations need; {@link KuduClient} has them. */
export interface LocationSource {
  getTableLocations(table: TableRef, options?: CallOptions): Promise<readonly TabletLocation[]>;
  getTabletLocations(
    tabletIds: readonly string[],
    options?: CallOptions,
  ): Promise<{ readonly tablets: readonly TabletLocation[] }>;
}

interface LocatedTablet {
  readonly location: TabletLocation;
  /** The tablet's part of the encoded range key; null for no end. */
  readonly rangeStart: Buffer;
  readonly rangeEnd: Buffer | null;
}

/** Which of a table's tablets a row belongs to, and where their replicas are; asked of the master when first needed. */
export class TableLocations implements ReplicaLocator {
  readonly doubted = new Set<string>();
  readonly #source: LocationSource;
  readonly #table: TableRef;
  readonly #partitioning: Partitioning;
  #loading: Promise<Map<string, LocatedTablet[]>> | null = null;
  readonly #fresh = new Map<string, TabletLocation>();

  constructor(source: LocationSource, table: TableDescription) {
    this.#source = source;
    this.#table = { tableId: table.tableId };
    this.#partitioning = new Partitioning(table.schema, table.partitionSchema);
  }

  /** Every tablet, in the order of their partition keys. */
  async all(deadline: Deadline): Promise<readonly TabletLocation[]> {
    const tablets = [...(await this.#load(deadline)).values()].flat();
    return tablets
      .map(({ location }) => location)
      .sort((a, b) => a.partition.start.compare(b.partition.start))
      .map((location) => this.#fresh.get(location.tabletId) ?? location);
  }

  /** The tablets that can have rows with these values in the given columns: those whose hash buckets fit. */
  async matching(equal: RowInput, deadline: Deadline): Promise<readonly TabletLocation[]> {
    const tablets = await this.all(deadline);
    return tablets.filter(({ partition }) => {
      const buckets = this.#partitioning.knownBuckets(equal, partition);
      return buckets.every((bucket, i) => bucket === null || bucket === partition.hashBuckets[i]);
    });
  }

  /**
   * The tablet of a row, or null when no partition covers it (also after asking the master again).
   * @throws {KuduError} `usage` when a column that the table is partitioned by is not set
   */
  async find(row: RowInput, deadline: Deadline): Promise<string | null> {
    const known = this.#lookUp(await this.#load(deadline), row);
    if (known) return known.location.tabletId;
    this.reset(); // a range partition may have been added
    return this.#lookUp(await this.#load(deadline), row)?.location.tabletId ?? null;
  }

  /** Where a tablet's replicas were when last asked; asks for one that was not there then. Null: no such tablet (any more). */
  async replicas(tabletId: string, deadline: Deadline): Promise<TabletLocation | null> {
    const fresh = this.#fresh.get(tabletId);
    if (fresh) return fresh;
    const known = (await this.all(deadline)).find((tablet) => tablet.tabletId === tabletId);
    return known ?? this.refresh(tabletId, deadline); // a range partition may have been added
  }

  /** Asks the master for one tablet again. Null: the table has no such tablet any more. */
  async refresh(tabletId: string, deadline: Deadline): Promise<TabletLocation | null> {
    const { tablets } = await this.#source.getTabletLocations([tabletId], callOptions(deadline));
    const location = tablets[0];
    if (!location) {
      this.reset();
      return null;
    }
    this.#fresh.set(tabletId, location);
    return location;
  }

  /** Forgets everything; the next question goes to the master. */
  reset(): void {
    this.#loading = null;
    this.#fresh.clear();
  }

  async #load(deadline: Deadline): Promise<Map<string, LocatedTablet[]>> {
    let loading = this.#loading;
    if (!loading) {
      loading = this.#source.getTableLocations(this.#table, callOptions(deadline)).then(byBuckets);
      this.#loading = loading;
      loading.catch(() => {
        if (this.#loading === loading) this.#loading = null;
      });
    }
    return loading;
  }

  #lookUp(tablets: Map<string, LocatedTablet[]>, row: RowInput): LocatedTablet | null {
    const { buckets, rangeKey } = this.#partitioning.keyOf(row);
    const candidates = tablets.get(buckets.join()) ?? [];
    return (
      candidates.find(
        ({ rangeStart, rangeEnd }) =>
          rangeStart.compare(rangeKey) <= 0 && (rangeEnd === null || rangeKey.compare(rangeEnd) < 0),
      ) ?? null
    );
  }
}

function byBuckets(locations: readonly TabletLocation[]): Map<string, LocatedTablet[]> {
  const tablets = new Map<string, LocatedTablet[]>();
  for (const location of locations) {
    const { start, end } = rangeOf(location.partition);
    const key = location.partition.hashBuckets.join();
    const sharing = tablets.get(key) ?? [];
    sharing.push({ location, rangeStart: start, rangeEnd: end });
    tablets.set(key, sharing);
  }
  return tablets;
}

function callOptions(deadline: Deadline): CallOptions {
  return { timeoutMs: deadline.remainingMs(), signal: deadline.signal };
}
