import type { MessageInitShape } from '@bufbuild/protobuf';
import { KuduError } from './errors.ts';
import { rowOf } from './named-cells.ts';
import type { HybridTime } from './hybrid-time.ts';
import { predicateToPb, type Predicate } from './predicate.ts';
import type { ColumnPredicatePB, ColumnSchemaPB } from './proto/common_pb.ts';
import type { NewScanRequestPBSchema } from './proto/tserver_pb.ts';
import { Deadline } from './rpc/deadline.ts';
import type { RowBlock } from './row-block.ts';
import type { Row, RowInput } from './row-operations.ts';
import { columnToPb } from './schema-codec.ts';
import { DataType, type ColumnSchema, type TableSchema } from './schema.ts';
import type { TableAuthorization } from './table-authorization.ts';
import type { TableContext } from './table-context.ts';
import type { TableLocations } from './table-locations.ts';
import { callReplica, type ReplicaChoice } from './tablet-caller.ts';
import { TabletScanner, isLostScanner } from './tablet-scanner.ts';

/**
 * What a scan sees:
 * - `latest`: what the replica has applied; not repeatable.
 * - `snapshot`: the table at a time. `at` is exclusive: operations with a lower hybrid time are in (kudu-facts 0.4).
 *   Without `at` the first server chooses the present, and the other tablets are read at the same time.
 * - `present`: each tablet at the time at which its server begins, so after every write that the tablet's leader had
 *   acknowledged before. Tablets are read at different times.
 * - `diff`: the net changes from `from` (inclusive) to `to` (exclusive), ordered; see {@link RowBlock.isDeleted}.
 */
export type ReadMode =
  | { readonly mode: 'latest' }
  | { readonly mode: 'snapshot'; readonly at?: HybridTime }
  | { readonly mode: 'present' }
  | { readonly mode: 'diff'; readonly from: HybridTime; readonly to: HybridTime };

export interface ScanOptions {
  /** Names, in the order wanted; none: rows without cells, for counting. Default: all columns. */
  readonly columns?: readonly string[];
  /** All of them hold for each row that comes out. */
  readonly predicates?: readonly Predicate[];
  /** Default: `snapshot` at present. */
  readonly read?: ReadMode;
  /**
   * In the order of the primary key, tablet by tablet. Such a scan of a snapshot goes on at another replica when a
   * server is lost; without order it fails once rows have come.
   */
  readonly ordered?: boolean;
  /** Default: `leader`; `leader-first` for a snapshot or diff, whose rows are the same on each replica. */
  readonly replica?: ReplicaChoice;
  /** Only these tablets. Default: all that can have a row which the predicates let through. */
  readonly tabletIds?: readonly string[];
  /** Encoded primary keys (see `encodeKey`): inclusive and exclusive bound. */
  readonly startKey?: Buffer;
  readonly stopKey?: Buffer;
  /** Goes on behind the row with this encoded primary key: an ordered scan of one tablet, at a time. */
  readonly afterKey?: Buffer;
  /**
   * Whether a scan that can be resumed goes on by itself when its scanner is lost. Default: true. Another scanner looks
   * the columns up by their names again, which may have changed hands meanwhile.
   */
  readonly resumes?: boolean;
  /** At most so many rows in all. */
  readonly limit?: number;
  /** About how many bytes a batch has; the server's default is 1 MiB, its limit 8 MiB. */
  readonly batchBytes?: number;
  /** False keeps a large scan from driving other blocks out of the server's cache. Default: true. */
  readonly cacheBlocks?: boolean;
  /** For each batch, retries included, in milliseconds. Default: the client's. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Source: kudu/common/common.proto ReadMode, OrderMode. */
const READ_LATEST = 1;
const READ_AT_SNAPSHOT = 2;
const ORDERED = 2;

/** A call that goes on works for half a second; one that can be resumed elsewhere is not waited for much longer. */
const RESUMABLE_ATTEMPT_MS = 10_000;
/** How often in a row a scanner may be lost without a row having come out. */
const MAX_FRUITLESS = 5;

/**
 * Scans a table, tablet after tablet. Each yielded block is a batch as the server cut it, possibly of no rows.
 *
 * Errors: {@link KuduError}: `usage` for what does not fit the table; `tserver` INVALID_SNAPSHOT for a time that lies
 * too far back or ahead; `network`, `timeout` and others when a server was lost and the scan cannot be resumed.
 */
export class TableScan implements AsyncIterable<RowBlock> {
  readonly #context: TableContext;
  readonly #locations: TableLocations;
  readonly #authorization: TableAuthorization;
  readonly #options: ScanOptions;
  readonly #projection: TableSchema;
  readonly #projectionPb: readonly ColumnSchemaPB[];
  readonly #predicates: readonly ColumnPredicatePB[] | 'none';
  #snapshotAt: HybridTime | null;

  /** @throws {KuduError} `usage` for a column that the table has not, or a value that does not fit */
  constructor(
    context: TableContext,
    schema: TableSchema,
    table: { readonly locations: TableLocations; readonly authorization: TableAuthorization },
    options: ScanOptions,
  ) {
    this.#context = context;
    this.#authorization = table.authorization;
    this.#locations = table.locations;
    this.#options = options;
    const read = options.read ?? { mode: 'snapshot' };
    this.#snapshotAt = read.mode === 'diff' ? read.to : read.mode === 'snapshot' ? (read.at ?? null) : null;
    const columns = projectedColumns(schema, options.columns);
    this.#projection = { columns: read.mode === 'diff' ? [...columns, isDeletedColumn(columns)] : columns };
    // Key flags would have to come first; the server looks columns up by name anyhow.
    this.#projectionPb = this.#projection.columns.map((column) =>
      columnToPb({ ...column, isKey: false, autoIncrementing: false }, { withIds: false }),
    );
    const predicates = (options.predicates ?? []).map((predicate) => predicateToPb(schema, predicate));
    const possible = predicates.filter((predicate) => predicate !== 'none');
    this.#predicates = possible.length === predicates.length ? possible : 'none';
  }

  /** The columns of the blocks; a diff scan has one more, of type IS_DELETED. */
  get projection(): TableSchema {
    return this.#projection;
  }

  /** The time of a snapshot: as given, or as the first server chose it. Null before that, and in other modes. */
  get snapshotTimestamp(): HybridTime | null {
    return this.#snapshotAt;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RowBlock, void, void> {
    if (this.#predicates === 'none') return;
    const tabletIds = this.#options.tabletIds ?? (await this.#tabletsToScan());
    let left = this.#options.limit ?? Infinity;
    for (const tabletId of tabletIds) {
      if (left <= 0) return;
      for await (const block of this.#scanTablet(tabletId, left)) {
        left -= block.rowCount;
        yield block;
      }
    }
  }

  /** All rows at once, by column names: for small results. */
  async toArray(): Promise<Row[]> {
    const rows: Row[] = [];
    for await (const block of this) rows.push(...block);
    return rows;
  }

  async #tabletsToScan(): Promise<readonly string[]> {
    const tablets = await this.#locations.matching(equalities(this.#options.predicates ?? []), this.#deadline());
    return tablets.map((tablet) => tablet.tabletId);
  }

  async *#scanTablet(tabletId: string, limit: number): AsyncGenerator<RowBlock, void, void> {
    let resumeAfter: Buffer | null = this.#options.afterKey ?? null;
    let snapshotAt = this.#snapshotAt;
    let delivered = 0;
    for (let fruitless = 0; ;) {
      const scanner = new TabletScanner(this.#context, this.#projection, this.#options.batchBytes);
      try {
        let block = await this.#open(scanner, tabletId, { limit: limit - delivered, resumeAfter, snapshotAt });
        snapshotAt ??= scanner.snapshotTimestamp;
        if (this.#mode === 'snapshot') this.#snapshotAt ??= snapshotAt;
        for (;;) {
          resumeAfter = scanner.lastKey ?? resumeAfter;
          delivered += block.rowCount;
          if (block.rowCount > 0) fruitless = 0;
          yield block;
          if (!scanner.hasMore || delivered >= limit) return;
          const next = await this.#next(scanner, this.#resumes && (delivered === 0 || resumeAfter !== null));
          if (next === 'lost') break;
          block = next;
        }
      } finally {
        scanner.close();
      }
      if (++fruitless > MAX_FRUITLESS)
        throw new KuduError('network', `scan of tablet ${tabletId}: lost ${fruitless} scanners without a row`);
    }
  }

  /** The next batch, or `lost` when the scanner is gone and another can take its place. */
  async #next(scanner: TabletScanner, canResume: boolean): Promise<RowBlock | 'lost'> {
    try {
      return await scanner.next(this.#deadline(canResume ? RESUMABLE_ATTEMPT_MS : undefined));
    } catch (error) {
      if (canResume && isLostScanner(error)) return 'lost';
      throw error;
    }
  }

  async #open(
    scanner: TabletScanner,
    tabletId: string,
    at: { readonly limit: number; readonly resumeAfter: Buffer | null; readonly snapshotAt: HybridTime | null },
  ): Promise<RowBlock> {
    const { read, ordered, replica, startKey, stopKey, cacheBlocks } = this.#options;
    const { limit, resumeAfter, snapshotAt } = at;
    const isRepeatable = this.#mode === 'snapshot' || this.#mode === 'diff';
    const request: MessageInitShape<typeof NewScanRequestPBSchema> = {
      tabletId: Buffer.from(tabletId),
      projectedColumns: [...this.#projectionPb],
      columnPredicates: this.#predicates === 'none' ? [] : [...this.#predicates],
      readMode: this.#mode === 'latest' ? READ_LATEST : READ_AT_SNAPSHOT,
      ...(snapshotAt === null ? {} : { snapTimestamp: snapshotAt }),
      ...(read?.mode === 'diff' ? { snapStartTimestamp: read.from } : {}),
      ...(ordered === true || read?.mode === 'diff' ? { orderMode: ORDERED } : {}),
      ...(startKey && !resumeAfter ? { startPrimaryKey: startKey } : {}),
      ...(resumeAfter ? { lastPrimaryKey: resumeAfter } : {}),
      ...(stopKey ? { stopPrimaryKey: stopKey } : {}),
      ...(Number.isFinite(limit) ? { limit: BigInt(limit) } : {}),
      ...(cacheBlocks === undefined ? {} : { cacheBlocks }),
    };
    const choice = replica ?? (isRepeatable ? 'leader-first' : 'leader');
    return callReplica(this.#locations, tabletId, choice, this.#deadline(), (address, deadline) =>
      this.#authorization.run(deadline, (token) =>
        scanner.open(address, { ...request, ...token, ...this.#context.observed.toPropagate() }, deadline),
      ),
    );
  }

  get #resumes(): boolean {
    return this.#options.resumes ?? true;
  }

  get #mode(): ReadMode['mode'] {
    return this.#options.read?.mode ?? 'snapshot';
  }

  #deadline(attemptMs = Infinity): Deadline {
    const timeoutMs = Math.min(this.#options.timeoutMs ?? this.#context.timeoutMs, attemptMs);
    return Deadline.from({ signal: this.#options.signal }, timeoutMs);
  }
}

function projectedColumns(schema: TableSchema, names: readonly string[] | undefined): readonly ColumnSchema[] {
  if (!names) return schema.columns;
  return names.map((name) => {
    const column = schema.columns.find((candidate) => candidate.name === name);
    if (!column) throw new KuduError('usage', `there is no column ${JSON.stringify(name)}`, { notRun: true });
    return column;
  });
}

/** The virtual column of a diff scan, under a name that no column has. The server wants a default for it. */
function isDeletedColumn(columns: readonly ColumnSchema[]): ColumnSchema {
  let name = 'is_deleted';
  while (columns.some((column) => column.name === name)) name = `_${name}`;
  return {
    name,
    type: DataType.IS_DELETED,
    isKey: false,
    nullable: false,
    readDefault: Buffer.from([0]),
    writeDefault: null,
    immutable: false,
    autoIncrementing: false,
    comment: '',
    encoding: 0,
    compression: 0,
  };
}

function equalities(predicates: readonly Predicate[]): RowInput {
  return rowOf(
    predicates.flatMap((predicate) => (predicate.is === '=' ? [[predicate.column, predicate.value] as const] : [])),
  );
}
