import type { TableDescription, TableRef, TabletLocation } from './catalog.ts';
import { KuduError } from './errors.ts';
import { encodeKey, encodeKeyPrefix } from './key-encoder.ts';
import { murmur2Hash64 } from './murmur2.ts';
import type { HashDimension, PartitionSchema } from './partition.ts';
import type { CallOptions, Deadline } from './rpc/deadline.ts';
import type { ReplicaLocator } from './tablet-caller.ts';
import { decodeRowOperations, RowOpType, type RowInput } from './row-operations.ts';
import type { ColumnSchema, TableSchema } from './schema.ts';

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

const BUCKET_BYTES = 4;

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
    const buckets = this.#partitioning.knownBuckets(equal);
    const tablets = await this.all(deadline);
    if (!buckets) return tablets;
    return tablets.filter(({ partition }) =>
      buckets.every((bucket, i) => bucket === null || bucket === partition.hashBuckets[i]),
    );
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

/** Computes a row's hash buckets and range key (kudu/common/partition.cc). */
export class Partitioning {
  readonly #rangeColumns: readonly ColumnSchema[];
  readonly #hash: readonly CompiledDimension[];
  readonly #customRanges: readonly {
    readonly start: Buffer;
    readonly end: Buffer | null;
    readonly hash: readonly CompiledDimension[];
  }[];

  constructor(schema: TableSchema, partitionSchema: PartitionSchema) {
    const byId = new Map(schema.columns.map((column) => [column.id, column]));
    const columns = (ids: readonly number[]): ColumnSchema[] =>
      ids.map((id) => {
        const column = byId.get(id);
        if (!column) throw new KuduError('protocol', `the table is partitioned by column id ${id}, which it has not`);
        return column;
      });
    const compile = ({ columnIds, buckets, seed }: HashDimension): CompiledDimension => {
      return { columns: columns(columnIds), buckets: BigInt(buckets), seed };
    };
    this.#rangeColumns = columns(partitionSchema.rangeColumnIds);
    this.#hash = partitionSchema.hash.map(compile);
    this.#customRanges = partitionSchema.customHashRanges.map(({ bounds, hash }) => {
      const [lower, upper] = decodeRowOperations(schema, bounds);
      if (lower?.type !== RowOpType.RANGE_LOWER_BOUND || upper?.type !== RowOpType.RANGE_UPPER_BOUND)
        throw new KuduError('protocol', 'a range with its own hash schema has bounds of an unknown form');
      return {
        start: encodeKeyPrefix(this.#rangeColumns, lower.row),
        end: Object.keys(upper.row).length === 0 ? null : encodeKeyPrefix(this.#rangeColumns, upper.row),
        hash: hash.map(compile),
      };
    });
  }

  keyOf(row: RowInput): { readonly buckets: readonly number[]; readonly rangeKey: Buffer } {
    const rangeKey = encodeKey(this.#rangeColumns, row);
    const custom = this.#customRanges.find(
      ({ start, end }) => start.compare(rangeKey) <= 0 && (end === null || rangeKey.compare(end) < 0),
    );
    const buckets = (custom?.hash ?? this.#hash).map((dimension) => bucketOf(dimension, row));
    return { buckets, rangeKey };
  }

  /** The bucket of each dimension whose columns all have a value; null where ranges are hashed each its own way. */
  knownBuckets(row: RowInput): readonly (number | null)[] | null {
    if (this.#customRanges.length > 0) return null;
    return this.#hash.map((dimension) => {
      const isKnown = dimension.columns.every(({ name }) => row[name] !== undefined && row[name] !== null);
      return isKnown ? bucketOf(dimension, row) : null;
    });
  }
}

interface CompiledDimension {
  readonly columns: readonly ColumnSchema[];
  readonly buckets: bigint;
  readonly seed: number;
}

function bucketOf({ columns, buckets, seed }: CompiledDimension, row: RowInput): number {
  return Number(murmur2Hash64(encodeKey(columns, row), seed) % buckets);
}

function byBuckets(locations: readonly TabletLocation[]): Map<string, LocatedTablet[]> {
  const tablets = new Map<string, LocatedTablet[]>();
  for (const location of locations) {
    const { hashBuckets, start, end } = location.partition;
    // A partition key is one u32 a hash dimension, then the range key. An end whose buckets differ from the
    // start's says: to the end of the range.
    const prefix = hashBuckets.length * BUCKET_BYTES;
    const bounded = end.length > prefix && end.subarray(0, prefix).equals(start.subarray(0, prefix));
    const key = hashBuckets.join();
    const sharing = tablets.get(key) ?? [];
    sharing.push({ location, rangeStart: start.subarray(prefix), rangeEnd: bounded ? end.subarray(prefix) : null });
    tablets.set(key, sharing);
  }
  return tablets;
}

function callOptions(deadline: Deadline): CallOptions {
  return { timeoutMs: deadline.remainingMs(), signal: deadline.signal };
}
