import { RecordOp, type RecordDecoder } from '../formats/decoder.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { Version } from './version.ts';

/** What a record does to the row of its key. */
export const FoldOp = {
  ...RecordOp,
  /** No value: what forgets a key where records are compacted. It follows a delete, or else somebody else's hand put it there. */
  TOMBSTONE: 7,
} as const;
export type FoldOp = (typeof FoldOp)[keyof typeof FoldOp];

export interface FoldRecord {
  readonly op: FoldOp;
  /** Index in the tablet's log, or of the cut of a copy. */
  readonly index: number;
  readonly row: number;
  readonly time: HybridTime;
  /** Which it may have been written under, or whose key columns it has; none for a tombstone. */
  readonly versions: readonly Version[];
  /** What it names, and the text of it as the record has it. */
  readonly cells: ReadonlyMap<string, Buffer>;
  /** False where no schema is known of the columns it set: only those of the key are here. */
  readonly isReadable: boolean;
  /** Whether nothing is left of what the row was before. */
  readonly isWhole: boolean;
  /** The same of the row before, as the record tells it; null: there was none; undefined: it does not tell. */
  readonly before?: ReadonlyMap<string, Buffer> | null | undefined;
}

/** One of several values, where the records do not say which; null is the column's read default. */
export class OneOf {
  readonly values: readonly (Buffer | null)[];

  constructor(values: readonly (Buffer | null)[]) {
    this.values = values;
  }
}
export type FoldCell = Buffer | OneOf;

/**
 * `unknown`: no record tells of the key, and there may have been a row before the first. A row that is not `complete` was
 * there before the first record, so columns that none set are not known; in one that is they show their read default.
 */
export type FoldState =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'row'; readonly isComplete: boolean; readonly cells: ReadonlyMap<number, FoldCell> };

/** A copy of all rows of the tablet: of what no record tells since its cut, nothing is left. */
export interface FoldCut {
  readonly index: number;
  readonly time: HybridTime;
  /** False: it may be another stream's, which says nothing of ours. */
  readonly isCertain: boolean;
}

/** Operations of the tablet that were shipped again, as somebody asked for. */
export interface FoldRewind {
  readonly fromIndex: number;
  /** Where it was told: they are before that. */
  readonly index: number;
}

type CanonicalDecoder = Pick<RecordDecoder, 'canonical'>;

const ABSENT: FoldState = { kind: 'absent' };
const UNKNOWN: FoldState = { kind: 'unknown' };

/**
 * The row of one key, made from its records in their order by the documented rules (docs/records.md); the last word
 * counts, also where it is an old one that comes again. Values are canonical, by column id.
 */
export class RecordFold {
  #state: FoldState;
  readonly #cuts: readonly FoldCut[];
  readonly #rewinds: readonly FoldRewind[];
  readonly #decoder: CanonicalDecoder;
  #maxIndex = -1;
  #maxRow = -1;
  #maxTime: HybridTime = -1n;
  #lastCopy: HybridTime = -1n;
  #repeats = 0;
  #unreadable = 0;
  /** Whether the last record says what the row is, and not some record that may be lost. */
  #isSure = false;
  #lastOp: FoldOp | null = null;

  /**
   * @param base what is there before the first record
   * @param cuts of the key's tablet
   * @param decoder of the format that the cells have
   * @param rewinds of the key's tablet
   */
  constructor(
    base: 'absent' | 'unknown',
    cuts: readonly FoldCut[],
    decoder: CanonicalDecoder,
    rewinds: readonly FoldRewind[] = [],
  ) {
    this.#state = { kind: base };
    this.#cuts = cuts;
    this.#rewinds = rewinds;
    this.#decoder = decoder;
  }

  /** Records whose position does not rise, those apart that a rewind has brought again. */
  get repeats(): number {
    return this.#repeats;
  }

  /** Records that cannot be read, and that may have set what still is in the row. */
  get unreadable(): number {
    return this.#unreadable;
  }

  /**
   * What the row is before the next record, where the records say so for sure: null before the first of them, since retention or
   * compaction may have taken others; behind one that does not tell the whole row; and where the next one comes again.
   */
  stateBefore(record: FoldRecord): FoldState | null {
    if (!this.#isSure || this.#isRepeat(record)) return null;
    const between = this.#cuts.filter((cut) => this.#isBefore(cut) && !isBeforeCut(record, cut));
    if (between.some(({ isCertain }) => !isCertain)) return null;
    return between.length > 0 ? ABSENT : this.#state;
  }

  push(record: FoldRecord): void {
    for (const cut of this.#cuts)
      if (cut.isCertain && this.#isBefore(cut) && !isBeforeCut(record, cut)) this.#state = ABSENT;
    this.#state = step(this.#state, record, this.#decoder);
    if (this.#state.kind === 'absent' || record.isWhole) this.#unreadable = 0;
    if (!record.isReadable && this.#state.kind !== 'absent') this.#unreadable++;
    if (record.op !== FoldOp.TOMBSTONE) this.#note(record);
    const { op } = record;
    if (op === FoldOp.TOMBSTONE) this.#isSure &&= this.#lastOp === FoldOp.DELETE || this.#lastOp === FoldOp.COPY_DELETE;
    else this.#isSure = op === FoldOp.DELETE || op === FoldOp.COPY_DELETE || (record.isReadable && record.isWhole);
    this.#lastOp = op;
  }

  /** What is left after the last record, and whether even that may be gone. */
  end(): { readonly state: FoldState; readonly mayBeGone: boolean } {
    const after = this.#cuts.filter((cut) => this.#isBefore(cut));
    if (after.some(({ isCertain }) => isCertain)) {
      this.#unreadable = 0;
      return { state: ABSENT, mayBeGone: false };
    }
    return { state: this.#state, mayBeGone: after.length > 0 };
  }

  #isBefore({ index, time }: FoldCut): boolean {
    return this.#maxIndex < index && this.#maxTime < time;
  }

  #isRepeat({ op, index, row, time }: FoldRecord): boolean {
    if (op === FoldOp.COPY || op === FoldOp.COPY_DELETE) return time === this.#lastCopy;
    return index < this.#maxIndex || (index === this.#maxIndex && row <= this.#maxRow);
  }

  #isAskedFor({ op, index }: FoldRecord): boolean {
    if (op === FoldOp.COPY || op === FoldOp.COPY_DELETE) return false;
    return this.#rewinds.some((rewind) => index >= rewind.fromIndex && index < rewind.index);
  }

  #note(record: FoldRecord): void {
    const { op, index, row, time } = record;
    if (this.#isRepeat(record) && !this.#isAskedFor(record)) this.#repeats++;
    if (op === FoldOp.COPY || op === FoldOp.COPY_DELETE) this.#lastCopy = time;
    if (index > this.#maxIndex) [this.#maxIndex, this.#maxRow] = [index, row];
    else if (index === this.#maxIndex && row > this.#maxRow) this.#maxRow = row;
    if (time > this.#maxTime) this.#maxTime = time;
  }
}

function isBeforeCut({ index, time }: FoldRecord, cut: FoldCut): boolean {
  return index < cut.index && time < cut.time;
}

function step(state: FoldState, record: FoldRecord, decoder: CanonicalDecoder): FoldState {
  const { op, versions, isWhole } = record;
  if (op === FoldOp.DELETE || op === FoldOp.COPY_DELETE || op === FoldOp.TOMBSTONE) return ABSENT;
  if (op === FoldOp.UPDATE && !isWhole && state.kind === 'absent') return state; // comes again, and its row was deleted since
  // The row is there, and nobody knows what of it was set.
  if (!record.isReadable)
    return stepUnder(UNKNOWN, { ...record, op: FoldOp.UPDATE, isWhole: false }, versions[0]!, decoder);
  const results = versions.map((version) => stepUnder(state, record, version, decoder));
  return results.length === 1 ? results[0]! : merge(results);
}

interface Row {
  readonly kind: 'row';
  readonly isComplete: boolean;
  readonly cells: Map<number, FoldCell>;
}

function stepUnder(
  state: FoldState,
  { op, cells, isWhole }: FoldRecord,
  version: Version,
  decoder: CanonicalDecoder,
): Row {
  const row: Row =
    state.kind === 'row' && !isWhole
      ? { kind: 'row', isComplete: state.isComplete, cells: new Map(state.cells) }
      : { kind: 'row', isComplete: isWhole || state.kind === 'absent', cells: new Map() };
  if (!isWhole && state.kind === 'absent')
    for (const { id, writeDefault } of version.columns) row.cells.set(id, writeDefault);
  const keepsImmutable = op === FoldOp.UPSERT_IGNORE && !isWhole && state.kind !== 'absent';
  for (const [name, text] of cells) {
    const column = version.byName.get(name)!;
    if (keepsImmutable && column.immutable) continue;
    row.cells.set(column.id, decoder.canonical(column, text));
  }
  return row;
}

/** The row that is one of several, column by column. */
function merge(rows: readonly Row[]): FoldState {
  const isComplete = rows.every((row) => row.isComplete);
  const cells = new Map<number, FoldCell>();
  for (const id of new Set(rows.flatMap((row) => [...row.cells.keys()]))) {
    const values: (Buffer | null)[] = [];
    let isKnown = true;
    for (const row of rows) {
      const cell = row.cells.get(id);
      if (cell === undefined && !row.isComplete) isKnown = false;
      for (const value of cell instanceof OneOf ? cell.values : [cell ?? null])
        if (!values.some((known) => isSame(known, value))) values.push(value);
    }
    if (!isKnown) continue;
    const [only] = values;
    if (values.length === 1 && only) cells.set(id, only);
    else cells.set(id, new OneOf(values));
  }
  return { kind: 'row', isComplete, cells };
}

function isSame(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}
