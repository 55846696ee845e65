import { NULL_TEXT } from '../formats/canonical.ts';
import type { RecordDecoder } from '../formats/decoder.ts';
import type { DataType } from '../kudu/schema.ts';
import { readCells, type ComparedColumn } from './cells.ts';
import {
  FoldOp,
  OneOf,
  RecordFold,
  type FoldCut,
  type FoldRecord,
  type FoldRewind,
  type FoldState,
} from './record-fold.ts';
import type { Entry, SortedRuns } from './sorted-runs.ts';
import { UNKNOWN_SCHEMA, type ShownRecord, type StoredRecords, type UnreadableRecord } from './stored-records.ts';
import { readRowHead, ROW_CELLS_AT } from './table-rows.ts';
import type { Version } from './version.ts';

/** A value of a column, as canonical text. */
export interface NamedValue {
  readonly column: string;
  readonly value: string;
}

/** A row that is not in the table what its records make of it. */
export interface Difference {
  /**
   * `missing`: in the table, and not what the records make. `extra`: what they make, and not in the table. `before`: a record says
   * that the row was before it what the records before it do not make.
   */
  readonly kind: 'missing' | 'extra' | 'different' | 'before';
  readonly table: string;
  readonly key: readonly NamedValue[];
  /** Encoded primary key. */
  readonly encodedKey: Buffer;
  /** Where the row lies, or its last record says so; null where that does not say. */
  readonly tabletId: string | null;
  /** Of a row that is different: what the table has, and what the records make; of `before` what those make, and the record says. */
  readonly columns: readonly { readonly column: string; readonly want: string; readonly have: string }[];
  /** The last records of its key, the newest last; none where there are none. Of `before`, that record and the one before it. */
  readonly records: readonly ShownRecord[];
  /** Of `before`, where it is about the whole row. */
  readonly reason?: string;
}

/** A row of which a record came more than once. */
export type RepeatedRow = Pick<Difference, 'table' | 'key' | 'tabletId' | 'records'> & {
  /** How many came again. */
  readonly repeats: number;
};

/** A table that was scanned. */
export interface ComparedTable {
  readonly name: string;
  readonly columns: readonly ComparedColumn[];
  /** The attempt at the scan that went through. */
  readonly attempt: number;
  /** Of a key that no record tells of: nothing, or (where the stream began at `now`) perhaps a row from before. */
  readonly base: 'absent' | 'unknown';
}

export interface ComparisonOptions {
  readonly tables: readonly ComparedTable[];
  readonly tabletIds: readonly string[];
  /** Tablets that are still there; rows and records of others are left out. */
  readonly alive: ReadonlySet<string>;
  /** Kinds that are counted apart. */
  readonly notCompared: ReadonlySet<Difference['kind']>;
  readonly cuts: ReadonlyMap<string, readonly FoldCut[]>;
  /** By tablet. */
  readonly rewinds: ReadonlyMap<string, readonly FoldRewind[]>;
  readonly rows: SortedRuns;
  readonly records: SortedRuns;
  readonly stored: StoredRecords;
  readonly decoder: Pick<RecordDecoder, 'canonical' | 'shown'>;
  readonly report: (difference: Difference) => void;
  /** A row of which records came again; as it is, where it is none of the others. */
  readonly reportRepeated: (row: RepeatedRow) => void;
  /** Of a row at most the last few. */
  readonly reportUnreadable: (record: UnreadableRecord) => void;
}

export interface Counts {
  /** Rows of the tables that were compared. */
  rows: number;
  missing: number;
  extra: number;
  different: number;
  /** Rows of which a record says that they were before it what the records before it do not make. */
  before: number;
  /** Records whose position had come before. */
  repeats: number;
  /** Rows that no record tells of, of a stream that began at `now`: whether they are older is not known. */
  unseen: number;
  /** Rows that differ in a way that operations which are left out account for. */
  unchecked: number;
  /** Records of tablets that were dropped meanwhile. */
  leftOut: number;
  /** Records that set nobody knows what in their rows, for no schema of their columns is known. */
  unreadable: number;
  /** Others like these that are no matter any more: later records say all of their rows. */
  replaced: number;
}

const LAST_RECORDS = 3;
const NO_CUTS: readonly FoldCut[] = [];

/** Folds the records of each key and holds what comes out against the row of the table: one pass over two sorted lists. */
export async function compare(options: ComparisonOptions): Promise<Counts> {
  const { rows, records } = options;
  const pass = new Pass(options);
  await using rowCursor = new Cursor(rows.entries());
  await using recordCursor = new Cursor(records.entries());
  for (;;) {
    const row = rowCursor.head ?? (await rowCursor.fill());
    const record = recordCursor.head ?? (await recordCursor.fill());
    if (!row && !record) break;
    const order = !row ? 1 : !record ? -1 : Buffer.compare(row.key, record.key);
    pass.begin((order <= 0 ? row : record)!.key);
    if (order >= 0)
      for (let next: Entry | null = record; next?.key.equals(pass.key);) {
        pass.addRecord(next);
        recordCursor.move();
        next = recordCursor.head ?? (await recordCursor.fill());
      }
    if (order <= 0)
      for (let next: Entry | null = row; next?.key.equals(pass.key);) {
        pass.addRow(next);
        rowCursor.move();
        next = rowCursor.head ?? (await rowCursor.fill());
      }
    pass.end();
  }
  return pass.counts;
}

class Cursor implements AsyncDisposable {
  readonly #batches: AsyncGenerator<readonly Entry[], void, void>;
  #batch: readonly Entry[] = [];
  #at = 0;

  constructor(batches: AsyncGenerator<readonly Entry[], void, void>) {
    this.#batches = batches;
  }

  /** Null: ask for more. */
  get head(): Entry | null {
    return this.#batch[this.#at] ?? null;
  }

  move(): void {
    this.#at++;
  }

  /** Null at the end. */
  async fill(): Promise<Entry | null> {
    const { value, done } = await this.#batches.next();
    [this.#batch, this.#at] = [done ? [] : value, 0];
    return this.head;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#batches.return();
  }
}

class Pass {
  readonly counts: Counts = {
    rows: 0,
    missing: 0,
    extra: 0,
    different: 0,
    before: 0,
    repeats: 0,
    unseen: 0,
    unchecked: 0,
    leftOut: 0,
    unreadable: 0,
    replaced: 0,
  };
  key: Buffer = Buffer.alloc(0);
  readonly #options: ComparisonOptions;
  #table: ComparedTable;
  #fold: RecordFold | null = null;
  #last: Entry[] = [];
  /** Of its records that cannot be read, how many, and the last that still count. */
  #unreadable = 0;
  #lastUnreadable: Entry[] = [];
  #row: { readonly tabletId: string; readonly cells: ReadonlyMap<number, Buffer> } | null = null;
  /** The last record that tells a wrong row before it, but for what a copy has put right since. */
  #wrongBefore: Pick<Difference, 'columns' | 'records' | 'reason'> | null = null;

  constructor(options: ComparisonOptions) {
    this.#options = options;
    this.#table = options.tables[0]!;
  }

  begin(key: Buffer): void {
    this.key = key;
    this.#table = this.#options.tables[key.readUInt16BE(0)]!;
    this.#fold = null;
    this.#last = [];
    this.#unreadable = 0;
    this.#lastUnreadable = [];
    this.#row = null;
    this.#wrongBefore = null;
  }

  addRecord(entry: Entry): void {
    const { stored, alive, cuts, rewinds, decoder } = this.#options;
    const tabletId = stored.tabletOf(entry.payload);
    if (tabletId !== null && !alive.has(tabletId)) {
      this.counts.leftOut++;
      return;
    }
    const record = stored.foldRecord(entry.payload);
    if (!record) return;
    const ofTablet = (tabletId === null ? undefined : cuts.get(tabletId)) ?? NO_CUTS;
    const again = tabletId === null ? undefined : rewinds.get(tabletId);
    this.#fold ??= new RecordFold(this.#table.base, ofTablet, decoder, again);
    this.#checkBefore(record, this.#fold, entry);
    this.#fold.push(record);
    if (!record.isReadable) {
      this.#unreadable++;
      this.#lastUnreadable.push(entry);
    }
    this.#lastUnreadable.splice(0, this.#lastUnreadable.length - Math.min(this.#fold.unreadable, LAST_RECORDS));
    this.#last.push(entry);
    if (this.#last.length > LAST_RECORDS) this.#last.shift();
  }

  #checkBefore(record: FoldRecord, fold: RecordFold, entry: Entry): void {
    if (record.op === FoldOp.COPY || record.op === FoldOp.COPY_DELETE) this.#wrongBefore = null;
    const { before, versions } = record;
    if (before === undefined) return;
    const state = fold.stateBefore(record);
    if (state === null || state.kind === 'unknown') return;
    const records = [...this.#last.slice(-1), entry].map((each) => this.#options.stored.show(each));
    if (state.kind === 'row' && before !== null) {
      const perVersion = versions.map((version) => this.#wrongCells(state, before, version));
      if (perVersion.every((columns) => columns.length > 0)) this.#wrongBefore = { records, columns: perVersion[0]! };
    } else if ((state.kind === 'row') !== (before !== null)) {
      const [says, make] = before === null ? ['no row', 'one'] : ['a row', 'none'];
      const reason = `the record says that there was ${says} before it, and the records before it make ${make}`;
      this.#wrongBefore = { records, columns: [], reason };
    }
  }

  /** What of a row before a record is otherwise than the records before it make it; what either does not tell is not. */
  #wrongCells(
    state: FoldState & { readonly kind: 'row' },
    before: ReadonlyMap<string, Buffer>,
    { byName }: Version,
  ): Difference['columns'] {
    const says = new Map<number, Buffer>();
    for (const [name, text] of before) {
      const column = byName.get(name);
      if (column) says.set(column.id, this.#options.decoder.canonical(column, text));
    }
    return this.#table.columns.flatMap(({ id, name, type, isKey, readDefault }) => {
      const have = says.get(id);
      const cell = state.cells.get(id) ?? (state.isComplete ? readDefault : undefined);
      if (isKey || have === undefined || cell === undefined) return [];
      const values = cell instanceof OneOf ? cell.values.map((value) => value ?? readDefault) : [cell];
      const shown = this.#shown(type, have);
      if (values.some((value) => this.#shown(type, value).equals(shown))) return [];
      return [{ column: name, want: values[0]!.toString(), have: have.toString() }];
    });
  }

  addRow({ payload }: Entry): void {
    const { tablet, attempt } = readRowHead(payload);
    const tabletId = this.#options.tabletIds[tablet]!;
    if (attempt === this.#table.attempt && this.#options.alive.has(tabletId))
      this.#row = { tabletId, cells: readCells(payload, ROW_CELLS_AT) };
  }

  end(): void {
    const row = this.#row;
    if (row) this.counts.rows++;
    if (!this.#fold) {
      if (row) this.#endUnseen(row.tabletId);
      return;
    }
    const { repeats } = this.#fold;
    this.counts.repeats += repeats;
    const { state, mayBeGone } = this.#fold.end();
    if (repeats > 0) this.#options.reportRepeated({ ...this.#place(state), repeats });
    if (this.#unreadable > 0) this.#countUnreadable(this.#fold.unreadable, state);
    if (this.#wrongBefore) this.#report('before', state, this.#wrongBefore);
    if (row) {
      if (state.kind !== 'row') {
        this.#report('missing', state);
        return;
      }
      const columns = this.#differentColumns(state, row.cells);
      if (columns.length > 0) this.#report('different', state, { columns });
    } else if (state.kind === 'row' && !mayBeGone) this.#report('extra', state);
  }

  #endUnseen(tabletId: string): void {
    const isCopied = this.#options.cuts.get(tabletId)?.some(({ isCertain }) => isCertain) ?? false;
    if (this.#table.base === 'absent' || isCopied) this.#report('missing', { kind: 'absent' });
    else this.counts.unseen++;
  }

  /** Where each column was set later on, what set it before is no matter. */
  #countUnreadable(last: number, state: FoldState): void {
    const isSet = ({ id, isKey }: ComparedColumn): boolean => isKey || (state.kind === 'row' && state.cells.has(id));
    const unreadable = this.#table.columns.every(isSet) ? 0 : last;
    this.counts.unreadable += unreadable;
    this.counts.replaced += this.#unreadable - unreadable;
    if (unreadable === 0) return;
    const { stored, reportUnreadable } = this.#options;
    for (const entry of this.#lastUnreadable) reportUnreadable({ ...stored.show(entry), reason: UNKNOWN_SCHEMA });
  }

  #differentColumns(
    state: FoldState & { readonly kind: 'row' },
    cells: ReadonlyMap<number, Buffer>,
  ): Difference['columns'] {
    const columns: Difference['columns'][number][] = [];
    for (const { id, name, type, isKey, readDefault } of this.#table.columns) {
      if (isKey) continue;
      const cell = state.cells.get(id) ?? (state.isComplete ? readDefault : undefined);
      if (cell === undefined) continue; // nobody knows: set before the stream began, or by a record that cannot be read
      const want = this.#shown(type, cells.get(id)!);
      const values = cell instanceof OneOf ? cell.values.map((value) => value ?? readDefault) : [cell];
      if (values.some((value) => this.#shown(type, value).equals(want))) continue;
      columns.push({ column: name, want: want.toString(), have: values[0]!.toString() });
    }
    return columns;
  }

  #shown(type: DataType, value: Buffer): Buffer {
    return this.#options.decoder.shown?.(type, value) ?? value;
  }

  #report(kind: Difference['kind'], state: FoldState, more: Partial<Difference> = {}): void {
    if (this.#options.notCompared.has(kind)) {
      this.counts.unchecked++;
      return;
    }
    this.counts[kind]++;
    const encodedKey = Buffer.from(this.key.subarray(2));
    this.#options.report({ kind, ...this.#place(state), encodedKey, columns: [], ...more });
  }

  #place(state: FoldState): Pick<Difference, 'table' | 'key' | 'tabletId' | 'records'> {
    const records = this.#last.map((entry) => this.#options.stored.show(entry));
    const tabletId = this.#row?.tabletId ?? this.#lastTablet();
    return { table: this.#table.name, key: this.#keyValues(state), tabletId, records };
  }

  #lastTablet(): string | null {
    for (const { payload } of this.#last.toReversed()) {
      const tabletId = this.#options.stored.tabletOf(payload);
      if (tabletId !== null) return tabletId;
    }
    return null;
  }

  /** By the names of now. The row has it, or what the records make. */
  #keyValues(state: FoldState): readonly NamedValue[] {
    const cells = this.#row?.cells ?? (state.kind === 'row' ? state.cells : new Map<number, Buffer>());
    return this.#table.columns
      .filter(({ isKey }) => isKey)
      .map(({ id, name }) => {
        const cell = cells.get(id);
        return { column: name, value: cell instanceof Buffer ? cell.toString() : NULL_TEXT };
      });
  }
}
