import { Cell, type ChangeBatch, type TabletRef } from '../change/change.ts';
import { copiedRows } from '../change/copied-rows.ts';
import { rowKey } from '../change/row-key.ts';
import { canonicalCodec, canonicalDefault, NULL_TEXT } from '../formats/canonical.ts';
import type { KuduClient } from '../kudu/client.ts';
import { KuduError } from '../kudu/errors.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { MIN_OPID, type OpId } from '../kudu/opid.ts';
import type { RowBlock } from '../kudu/row-block.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { TserverErrorCode } from '../kudu/status.ts';
import { OpIdType, type LocalTablet } from '../kudu/tserver-proxy.ts';
import { CellsWriter, type ComparedColumn } from './cells.ts';
import { ORDER_BYTES, type SortedRuns } from './sorted-runs.ts';
import { sortKey } from './stored-records.ts';

/** A table with the tablets that the master lists. */
export interface ListedTable {
  readonly tableId: string;
  readonly name: string;
  readonly tabletIds: readonly string[];
  /** How many rows it has, about, as its tablet servers have counted them lately; null where nobody knows. */
  readonly rows?: number | null;
}

export interface ScannedTable {
  readonly schema: TableSchema;
  readonly schemaVersion: number;
  /** Of each tablet that was scanned: no operation that the scan has seen, or must have seen, is behind it. */
  readonly ends: ReadonlyMap<string, OpId>;
}

/** The tables as they are in Kudu. */
export interface TableReader {
  /** All that are there; those that were dropped and are kept for a while are not. */
  tables(signal: AbortSignal): Promise<readonly ListedTable[]>;
  /** A time that no operation of now has reached, and that the servers have in a moment. */
  now(signal: AbortSignal): Promise<HybridTime>;
  /**
   * All rows of a table from operations before `at`, block by block, in any order.
   * @throws {ScanDisturbedError} it has to be begun anew: what was taken does not count
   */
  scan(table: ListedTable, at: HybridTime, take: TakeBlock, signal: AbortSignal): Promise<ScannedTable>;
}
/** Awaited before the next block. The schema has the columns of the block, in their order. */
export type TakeBlock = (tabletId: string, schema: TableSchema, block: RowBlock) => Promise<void>;

/** An ALTER, an election or a lost server came in between; the next try may go through. */
export class ScanDisturbedError extends Error {
  override readonly name = 'ScanDisturbedError';
}

/** A batch that does not come for so long is given up. */
const BATCH_TIMEOUT_MS = 30_000;

/** Reads through Kudu's own API. */
export class KuduTableReader implements TableReader {
  readonly #client: KuduClient;

  constructor(client: KuduClient) {
    this.#client = client;
  }

  async tables(signal: AbortSignal): Promise<readonly ListedTable[]> {
    const listed = await this.#client.listTables({ withTablets: true, signal });
    return listed.map(({ tableId, name, tablets, liveRowCount }) => ({
      tableId,
      name,
      rows: liveRowCount === null ? null : Number(liveRowCount),
      tabletIds: (tablets ?? []).map(({ tabletId }) => tabletId),
    }));
  }

  async now(signal: AbortSignal): Promise<HybridTime> {
    const servers = await this.#client.listTabletServers({ signal });
    const clocks = await Promise.allSettled(
      servers.flatMap(({ rpcAddresses: [address] }) =>
        address === undefined ? [] : [this.#client.tabletServer(address).serverClock({ signal })],
      ),
    );
    signal.throwIfAborted();
    // A dead server is still listed for a while, and its tablets have leaders elsewhere.
    const times = clocks.flatMap((clock) => (clock.status === 'fulfilled' ? [clock.value] : []));
    if (times.length === 0) throw new Error('no tablet server answers');
    return times.reduce((a, b) => (a > b ? a : b));
  }

  /**
   * The server looks columns up by the names that they have when it is asked (kudu-facts trap 47), so all replicas that
   * are read must have the same version of the schema before and after.
   */
  async scan(table: ListedTable, at: HybridTime, take: TakeBlock, signal: AbortSignal): Promise<ScannedTable> {
    try {
      return await this.#scan(table, at, take, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (isTransient(error)) throw new ScanDisturbedError(`scan of ${table.name}: ${error.message}`, { cause: error });
      throw error;
    }
  }

  async #scan(table: ListedTable, at: HybridTime, take: TakeBlock, signal: AbortSignal): Promise<ScannedTable> {
    const client = this.#client;
    const locations = await client.getTableLocations({ tableId: table.tableId }, { signal });
    const replicas = locations.map(({ tabletId, replicas }) => {
      const chosen = replicas.find(({ role }) => role === 'leader');
      if (!chosen) throw new ScanDisturbedError(`tablet ${tabletId} has no leader at present`);
      return { tabletId, ...chosen };
    });
    const [first, ...others] = await this.#schemas(replicas, signal);
    if (!first) throw new ScanDisturbedError(`table ${table.name} has no tablets at present`);
    const { schema, schemaVersion } = first;
    if (others.some((other) => other.schemaVersion !== schemaVersion))
      throw new ScanDisturbedError(`table ${table.name} is being altered`);
    const opened = await client.openTable({ tableId: table.tableId }, { signal });
    for (const { tabletId, uuid } of replicas) {
      const scan = opened.scanTablet(tabletId, schema, {
        read: { mode: 'snapshot', at },
        ordered: true,
        replica: { uuid },
        cacheBlocks: false,
        timeoutMs: BATCH_TIMEOUT_MS,
        signal,
      });
      for await (const block of scan) await take(tabletId, schema, block);
    }
    if ((await this.#schemas(replicas, signal)).some((later) => later.schemaVersion !== schemaVersion))
      throw new ScanDisturbedError(`table ${table.name} was altered while it was scanned`);
    // Of the server that was scanned: it has applied, and so knows as committed, all that the scan had to see.
    const ends = new Map<string, OpId>();
    for (const { tabletId, uuid, address } of replicas) {
      const request = { serverUuid: uuid, tabletId, type: OpIdType.COMMITTED };
      ends.set(tabletId, await client.tabletServer(address).getLastOpId(request, { signal }));
    }
    return { schema, schemaVersion, ends };
  }

  /** Of each replica, as its server has it now. */
  async #schemas(
    replicas: readonly { readonly tabletId: string; readonly address: string }[],
    signal: AbortSignal,
  ): Promise<{ readonly schema: TableSchema; readonly schemaVersion: number }[]> {
    const byServer = new Map<string, ReadonlyMap<string, LocalTablet>>();
    for (const address of new Set(replicas.map((replica) => replica.address))) {
      const tablets = await this.#client.tabletServer(address).listTablets({ withSchema: true, signal });
      byServer.set(address, new Map(tablets.map((tablet) => [tablet.tabletId, tablet])));
    }
    return replicas.map(({ tabletId, address }) => {
      const tablet = byServer.get(address)?.get(tabletId);
      if (!tablet?.schema || tablet.schemaVersion === null)
        throw new ScanDisturbedError(`${address} has no running replica of tablet ${tabletId}`);
      return { schema: tablet.schema, schemaVersion: tablet.schemaVersion };
    });
  }
}

const PASSING_CODES: readonly number[] = [
  TserverErrorCode.SCANNER_EXPIRED,
  TserverErrorCode.INVALID_SCHEMA,
  TserverErrorCode.MISMATCHED_SCHEMA,
  TserverErrorCode.INVALID_SCAN_SPEC,
  TserverErrorCode.TABLET_NOT_FOUND,
  TserverErrorCode.TABLET_NOT_RUNNING,
];

function isTransient(error: unknown): error is KuduError {
  if (!(error instanceof KuduError)) return false;
  if (error.retriable || (error.kind === 'tserver' && PASSING_CODES.includes(error.code ?? -1))) return true;
  return error.notFound; // dropped: the next look tells
}

/** What compares with records: the columns of a table, by their ids. */
export function comparedColumns({ columns }: TableSchema): readonly ComparedColumn[] {
  return columns.map((column) => {
    const { id = -1, name, type, isKey } = column;
    return { id, name, type, isKey, readDefault: canonicalDefault(column, column.readDefault) };
  });
}

/** Before the cells of a payload: u32 tablet, u16 which attempt at the scan. */
const HEAD_BYTES = 6;
const NO_ORDER = Buffer.alloc(ORDER_BYTES);

export interface RowHead {
  /** Place of the tablet in the caller's list. */
  readonly tablet: number;
  readonly attempt: number;
}

export function readRowHead(payload: Buffer): RowHead {
  return { tablet: payload.readUInt32LE(0), attempt: payload.readUInt16LE(4) };
}

/** Where the cells of a row's payload begin. */
export const ROW_CELLS_AT = HEAD_BYTES;

/** The rows of a block as a copy of the tablet has them. */
export function batchOf(tablet: TabletRef, hybridTime: HybridTime, schema: TableSchema, block: RowBlock): ChangeBatch {
  const places = Int32Array.from(schema.columns.keys());
  return copiedRows({ copy: 'base', tablet, opId: MIN_OPID, hybridTime, schema, block, places, skip: 0 });
}

/** Turns the rows of a table into entries of a sort by table and primary key. */
export class RowEntries {
  readonly #writer = new CellsWriter();
  readonly #codecs = new WeakMap<TableSchema, readonly RowColumn[]>();

  /** Adds the rows of a batch. @param table place of the table in the caller's list */
  async add(sorted: SortedRuns, row: RowHead & { readonly table: number }, batch: ChangeBatch): Promise<void> {
    const columns = this.#columnsOf(batch.schema);
    for (let at = 0; at < batch.rowCount; at++) {
      const head = this.#writer.begin(HEAD_BYTES);
      head.writeUInt32LE(row.tablet, 0);
      head.writeUInt16LE(row.attempt, 4);
      for (const [place, column] of columns.entries())
        column(this.#writer, batch, batch.cells[at * columns.length + place]!);
      const full = sorted.add(sortKey(row.table, rowKey(batch, at)), NO_ORDER, this.#writer.bytes);
      if (full) await full;
    }
  }

  #columnsOf(schema: TableSchema): readonly RowColumn[] {
    let columns = this.#codecs.get(schema);
    if (!columns) {
      columns = schema.columns.map(rowColumn);
      this.#codecs.set(schema, columns);
    }
    return columns;
  }
}

/** Writes a cell of a column. */
type RowColumn = (out: CellsWriter, batch: ChangeBatch, cell: number) => void;

function rowColumn(column: TableSchema['columns'][number]): RowColumn {
  const { id = -1 } = column;
  const codec = canonicalCodec(column);
  return (out, { rows, indirect }, cell) => {
    if (cell === Cell.NULL) {
      out.add(id, NULL_TEXT);
      return;
    }
    const most = codec.maxBytes ?? codec.maxBytesOf(rows.readUInt32LE(cell + 8));
    out.addWritten(id, most, (bytes, at) => codec.write(bytes, at, rows, cell, indirect));
  };
}
