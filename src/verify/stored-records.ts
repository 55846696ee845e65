import type { RecordCells, RecordDecoder, RowRecord, TombstoneRecord } from '../formats/decoder.ts';
import { hybridTimeToMicros, type HybridTime } from '../kudu/hybrid-time.ts';
import { encodeKeyCells } from '../kudu/key-encoder.ts';
import type { ColumnSchema } from '../kudu/schema.ts';
import type { ShownPlace, SinkReader, StoredRecord } from '../sinks/reader.ts';
import { CellsWriter, endOfCells, readCells } from './cells.ts';
import { FoldOp, type FoldRecord } from './record-fold.ts';
import type { SchemaVersions, TableVersions } from './schema-versions.ts';
import { ORDER_BYTES, type Entry, type SortedRuns } from './sorted-runs.ts';
import type { Version } from './version.ts';

/** A table whose records are wanted; its place in the list of them is what the sort goes by first. */
export interface WantedTable {
  readonly tableId: string;
  readonly name: string;
}

/** A record as a person is shown which one it is. */
export interface ShownRecord {
  /** `spoor.pos`; null where the record has none. */
  readonly position: string | null;
  readonly place: ShownPlace;
}

/** A record that nobody can fold. */
export interface UnreadableRecord extends ShownRecord {
  /** Without any value of a row. */
  readonly reason: string;
}
/** Of a record whose row is known, and not what was set in it. */
export const UNKNOWN_SCHEMA = 'no known schema version has its columns, with such values';

export interface StoredRecordsOptions {
  readonly sink: Pick<SinkReader, 'show'>;
  readonly decoder: RecordDecoder;
  /** Records of operations before this time count, and of copies that are not of later. */
  readonly at: HybridTime;
  readonly tables: readonly WantedTable[];
  /** Tablets that were scanned, with the place of their table. */
  readonly tablets: ReadonlyMap<string, number>;
  /** Ids of tables and tablets whose records are not wanted, and are not counted. */
  readonly ignored: ReadonlySet<string>;
  readonly schemas: SchemaVersions;
  /** Destinations of each table, by its place: for records that do not say whose they are. */
  readonly destinations: readonly ReadonlySet<string>[];
  readonly sorted: SortedRuns;
  /** Whether what a record says of the row before it is held against the records before it. */
  readonly comparesBefore: boolean;
}

/** What is known of a lane of the sink. */
interface Lane {
  readonly number: number;
  readonly name: string;
  /** The highest index so far, by tablet. */
  readonly highest: Map<string, number>;
  /** Position of the last record, by tablet, where that is another stream's: a tombstone may follow. */
  readonly ofOthers: Map<string, string | null>;
}

/**
 * Before the cells of a payload (and, behind them, those of the row before): u8 op, u8 flags, u32 tablet, u32 candidates, f64 term, f64 index, i32 row, u64 time.
 * Numbers of tablets, candidates and names are places in lists that are kept here.
 */
const HEAD_BYTES = 38;
const HAS_POSITION = 1;
const IS_UNREADABLE = 2;
const IS_WHOLE = 4;
/** Behind the cells are those of the row before. */
const HAS_BEFORE = 8;
const HAD_NO_ROW = 16;
const NO_TABLET = 0xffffffff;
const NO_TIME: HybridTime = -1n;

/** Turns the records of a stream into entries of a sort by table, primary key, and their order in the sink. */
export class StoredRecords {
  /** Records that count. */
  folded = 0;
  /** Of operations at the time or after it. */
  later = 0;
  /** Of tablets that are no more, or of tables that the stream has not now. */
  leftOut = 0;
  /** Of which not even the row is known; those apart whose row is, and no more (`isReadable` of {@link foldRecord}). */
  unreadable = 0;
  /** The first of them. */
  readonly unreadableRecords: UnreadableRecord[] = [];
  /** Time of the newest copy that any record is of. */
  newestCopy: HybridTime | null = null;
  readonly #options: StoredRecordsOptions;
  readonly #tableOf: ReadonlyMap<string, number>;
  readonly #tabletNumbers = new Map<string, number>();
  readonly #tabletIds: string[] = [];
  readonly #candidates: (readonly Version[])[] = [];
  readonly #candidateNumbers = new Map<readonly Version[], number>();
  readonly #names: string[] = [];
  readonly #nameNumbers = new Map<string, number>();
  readonly #lanes: Lane[] = [];
  readonly #lanesByName = new Map<string, Lane>();
  /** By tablet, the lowest index that does not count. */
  readonly #lowestLater = new Map<string, number>();
  /** Tablet and time of copies that some record is of. */
  readonly #copies = new Set<string>();
  readonly #writer = new CellsWriter();
  readonly #order = Buffer.alloc(ORDER_BYTES);

  constructor(options: StoredRecordsOptions) {
    this.#options = options;
    this.#tableOf = new Map(options.tables.map(({ tableId }, place) => [tableId, place]));
  }

  /** Whether some record is of the copy of a tablet at that time. */
  hasCopy(tabletId: string, time: HybridTime): boolean {
    return this.#copies.has(`${tabletId} ${time}`);
  }

  /** Takes the next record of a lane, in its order. Await what comes back before the next. */
  add(record: StoredRecord, destination: string): Promise<void> | undefined {
    try {
      const decoded = this.#options.decoder.decode(record);
      const lane = this.#lane(record.place.lane);
      switch (decoded.kind) {
        case 'row':
          return this.#addRow(record, decoded, lane);
        case 'tombstone':
          return this.#addTombstone(record, decoded, lane, destination);
        case 'foreign':
          lane.ofOthers.set(decoded.tabletId, record.position);
          return undefined;
        case 'mark':
          return undefined;
      }
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#refuse(record, error.message);
      return undefined;
    }
  }

  /** The record of an entry; null where it does not count, which of a tombstone is known only at the end. */
  foldRecord(payload: Buffer): FoldRecord | null {
    const op = payload[0] as FoldOp;
    const index = payload.readDoubleLE(18);
    const row = payload.readInt32LE(26);
    const time = payload.readBigInt64LE(30);
    if (op === FoldOp.TOMBSTONE) {
      const tabletId = this.#tabletIds[payload.readUInt32LE(2)];
      const lowest = tabletId === undefined ? undefined : this.#lowestLater.get(tabletId);
      if (lowest !== undefined && time === NO_TIME && index >= lowest) return null;
      return { op, index, row, time, versions: [], cells: NO_CELLS, isReadable: true, isWhole: false };
    }
    const cells = new Map<string, Buffer>();
    for (const [number, raw] of readCells(payload, HEAD_BYTES)) cells.set(this.#names[number]!, raw);
    const versions = this.#candidates[payload.readUInt32LE(6)]!;
    const flags = payload[1]!;
    const [isReadable, isWhole] = [(flags & IS_UNREADABLE) === 0, (flags & IS_WHOLE) !== 0];
    return { op, index, row, time, versions, cells, isReadable, isWhole, before: this.#beforeOf(payload) };
  }

  #beforeOf(payload: Buffer): FoldRecord['before'] {
    const flags = payload[1]!;
    if ((flags & HAD_NO_ROW) !== 0) return null;
    if ((flags & HAS_BEFORE) === 0) return undefined;
    const cells = readCells(payload, endOfCells(payload, HEAD_BYTES));
    return new Map(Array.from(cells, ([number, raw]) => [this.#names[number]!, raw]));
  }

  /** Whose record an entry is; null where it does not say. */
  tabletOf(payload: Buffer): string | null {
    return this.#tabletIds[payload.readUInt32LE(2)] ?? null;
  }

  /** Which record an entry is. */
  show({ order, payload }: Entry): ShownRecord {
    const place = { lane: this.#lanes[order.readUInt32BE(8)]!.name, order: order.readBigUInt64BE(12) };
    return { position: this.#positionOf(payload), place: this.#options.sink.show(place) };
  }

  #positionOf(payload: Buffer): string | null {
    if ((payload[1]! & HAS_POSITION) === 0) return null;
    const tabletId = this.tabletOf(payload)!;
    const time = payload.readBigInt64LE(30);
    const isCopy = payload[0] === FoldOp.COPY || payload[0] === FoldOp.COPY_DELETE;
    if (isCopy || (payload[0] === FoldOp.TOMBSTONE && time !== NO_TIME)) return `${tabletId}/base.${time}`;
    return `${tabletId}/${payload.readDoubleLE(10)}.${payload.readDoubleLE(18)}.${payload.readInt32LE(26)}`;
  }

  #addRow(record: StoredRecord, decoded: RowRecord, lane: Lane): Promise<void> | undefined {
    const { at, tablets, ignored, schemas } = this.#options;
    lane.ofOthers.delete(decoded.tabletId);
    const { tabletId, tableId } = decoded;
    if (ignored.has(tableId ?? tabletId)) return undefined;
    const table = tableId === null ? tablets.get(tabletId) : this.#tableOf.get(tableId);
    if (table === undefined || tablets.get(tabletId) !== table) {
      this.leftOut++;
      return undefined;
    }
    const { op, index, time } = decoded;
    const isCopy = op === FoldOp.COPY || op === FoldOp.COPY_DELETE;
    if (isCopy) {
      this.#copies.add(`${tabletId} ${time}`);
      if (this.newestCopy === null || time > this.newestCopy) this.newestCopy = time;
    }
    const highest = highestOf(lane, tabletId, this.#options.decoder.hasMillisOnly ? millisOf(time) : index);
    if (isCopy ? time > at : time >= at) {
      this.later++;
      if (!isCopy) this.#lowestLater.set(tabletId, Math.min(index, this.#lowestLater.get(tabletId) ?? index));
      return undefined;
    }
    const isDelete = op === FoldOp.DELETE || op === FoldOp.COPY_DELETE;
    const { cells } = decoded;
    const versions = schemas.of(this.#options.tables[table]!.tableId)!;
    const fits = versions.candidates({ tabletId, index, time, cells, isWhole: op === FoldOp.INSERT });
    const isReadable = fits.length > 0 || isDelete; // which of a row it was is no matter to a delete
    const candidates = fits.length > 0 ? fits : versions.keyed(cells);
    const [first] = candidates;
    if (!first) throw new SyntaxError('no known schema version has its key columns');
    const key = encodedKey(first.keys, cells);
    decoded.checkKey(first.keys);

    const before = isReadable && this.#options.comparesBefore ? decoded.before : undefined;
    const head = this.#writer.begin(HEAD_BYTES);
    head[0] = op;
    head[1] =
      (record.position === null ? 0 : HAS_POSITION) |
      (before === undefined ? 0 : before === null ? HAD_NO_ROW : HAS_BEFORE) |
      (isReadable ? 0 : IS_UNREADABLE) |
      (!isDelete && decoded.isWhole ? IS_WHOLE : 0);
    head.writeUInt32LE(this.#tabletNumber(tabletId), 2);
    head.writeUInt32LE(this.#candidatesNumber(candidates), 6);
    head.writeDoubleLE(decoded.term, 10);
    head.writeDoubleLE(index, 18);
    head.writeInt32LE(decoded.row, 26);
    head.writeBigInt64LE(time, 30);
    const names = fits.length > 0 && !isDelete ? cells.names : first.keys.map(({ name }) => name);
    for (const name of names) this.#writer.add(this.#nameNumber(name), cells.textOf(name));
    if (before) {
      this.#writer.beginNext();
      for (const name of before.names) this.#writer.add(this.#nameNumber(name), before.textOf(name));
    }
    if (isReadable) this.folded++;
    return this.#put(record, table, key, lane, highest);
  }

  /** A tombstone says only by its position whose it is; without one, its destination and the names in its key do. */
  #addTombstone(
    record: StoredRecord,
    decoded: TombstoneRecord,
    lane: Lane,
    destination: string,
  ): Promise<void> | undefined {
    const { tables, tablets, ignored, schemas, destinations, at } = this.#options;
    const position = record.position === null ? null : POSITION.exec(record.position);
    const tabletId = position?.[1];
    if (tabletId !== undefined && lane.ofOthers.get(tabletId) === record.position) return undefined;
    if (tabletId !== undefined && ignored.has(tabletId)) return undefined;
    if (tabletId !== undefined && !tablets.has(tabletId)) {
      this.leftOut++;
      return undefined;
    }
    const { cells } = decoded;
    const places =
      tabletId === undefined
        ? tables.flatMap((_, place) => (destinations[place]!.has(destination) ? [place] : []))
        : [tablets.get(tabletId)!];
    const keyed = places.flatMap((place) => {
      const columns = schemas.of(tables[place]!.tableId)?.keysNamed(cells.names);
      return columns ? [{ place, columns }] : [];
    });
    // Where several tables could be meant, nobody knows which.
    if (keyed.length !== 1) throw new SyntaxError('a record without value whose key is of no table, or of several');
    const { place, columns } = keyed[0]!;
    const time = position?.[2] === undefined ? NO_TIME : BigInt(position[2]);
    if (time > at) return undefined;
    const key = encodedKey(columns, cells);
    const index = position?.[4] === undefined ? -1 : Number(position[4]);
    const head = this.#writer.begin(HEAD_BYTES);
    head[0] = FoldOp.TOMBSTONE;
    head[1] = position ? HAS_POSITION : 0;
    head.writeUInt32LE(tabletId === undefined ? NO_TABLET : this.#tabletNumber(tabletId), 2);
    head.writeUInt32LE(0, 6);
    head.writeDoubleLE(position?.[3] === undefined ? 0 : Number(position[3]), 10);
    head.writeDoubleLE(index, 18);
    head.writeInt32LE(position?.[5] === undefined ? 0 : Number(position[5]), 26);
    head.writeBigInt64LE(time, 30);
    const highest = tabletId === undefined ? highestIn(lane) : highestOf(lane, tabletId, index);
    return this.#put(record, place, key, lane, highest);
  }

  #put({ place }: StoredRecord, table: number, key: Buffer, lane: Lane, highest: number): Promise<void> | undefined {
    const order = this.#order;
    order.writeBigUInt64BE(BigInt(Math.max(0, highest)), 0);
    order.writeUInt32BE(lane.number, 8);
    order.writeBigUInt64BE(place.order, 12);
    return this.#options.sorted.add(sortKey(table, key), order, this.#writer.bytes);
  }

  #refuse({ position, place }: StoredRecord, reason: string): void {
    this.unreadable++;
    if (this.unreadableRecords.length < MAX_UNREADABLE)
      this.unreadableRecords.push({ position, place: this.#options.sink.show(place), reason });
  }

  #lane(name: string): Lane {
    const known = this.#lanesByName.get(name);
    if (known) return known;
    const lane = { number: this.#lanes.length, name, highest: new Map(), ofOthers: new Map() };
    this.#lanes.push(lane);
    this.#lanesByName.set(name, lane);
    return lane;
  }

  #tabletNumber(tabletId: string): number {
    return numberIn(this.#tabletNumbers, this.#tabletIds, tabletId);
  }

  #nameNumber(name: string): number {
    return numberIn(this.#nameNumbers, this.#names, name);
  }

  #candidatesNumber(candidates: readonly Version[]): number {
    return numberIn(this.#candidateNumbers, this.#candidates, candidates);
  }
}

/** What is kept of records that cannot be read; the rest is counted. */
const MAX_UNREADABLE = 1000;
const NO_CELLS: ReadonlyMap<string, Buffer> = new Map();
const POSITION = /^([^/]+)\/(?:base\.(\d{1,19})|(\d{1,15})\.(\d{1,15})\.(\d{1,9}))$/;

/** What the sort goes by first: the table's place, u16, and the encoded primary key. */
export function sortKey(table: number, key: Buffer): Buffer {
  const sort = Buffer.allocUnsafe(2 + key.length);
  sort.writeUInt16BE(table, 0);
  key.copy(sort, 2);
  return sort;
}

/** Where a table's records are: it may have had other names. */
export function destinationsOf(
  table: WantedTable,
  versions: TableVersions | undefined,
  sink: Pick<SinkReader, 'destinationOf'>,
): ReadonlySet<string> {
  return new Set([table.name, ...(versions?.names ?? [])].map((name) => sink.destinationOf(name)));
}

function encodedKey(columns: readonly ColumnSchema[], cells: RecordCells): Buffer {
  return encodeKeyCells(
    columns,
    columns.map((column) => cells.keyCell(column)),
  );
}

/**
 * Orders the records of a key over several lanes, between which a table goes when it is renamed: those in one lane stay as
 * they are there, since this never sinks.
 */
function highestOf({ highest }: Lane, tabletId: string, index: number): number {
  const most = Math.max(index, highest.get(tabletId) ?? -1);
  highest.set(tabletId, most);
  return most;
}

function millisOf(time: HybridTime): number {
  return Number(hybridTimeToMicros(time) / 1000n);
}

/** Behind all that the lane has so far. */
function highestIn({ highest }: Lane): number {
  let most = -1;
  for (const index of highest.values()) most = Math.max(most, index);
  return most;
}

function numberIn<T>(numbers: Map<T, number>, list: T[], item: T): number {
  const known = numbers.get(item);
  if (known !== undefined) return known;
  numbers.set(item, list.length);
  return list.push(item) - 1;
}
