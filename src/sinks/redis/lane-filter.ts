import {
  comparePositions,
  copyUnderWay,
  isAhead,
  isUpTo,
  replayedTo,
  type RowRef,
  type TabletPosition,
} from '../../change/position.ts';
import { RecordKind, type RecordBatch, type RecordRun } from '../../change/record-batch.ts';
import type { LaneState, Partial } from './lane-state.ts';

/** What a record's position says, behind the tablet's id: a row of the log, a row of a copy, or neither (a mark). */
type Place = RowRef | { readonly copy: string } | null;

function placeOf(position: string): Place {
  const text = position.slice(position.indexOf('/') + 1);
  if (text.startsWith('base.')) return { copy: text };
  const match = /^\d+\.(\d+)\.(\d+)$/.exec(text);
  return match && { index: BigInt(match[1]!), row: Number(match[2]) };
}

/** Notes what of a write a lane has, record by record: also of those that were there before. */
export class LaneProgress {
  #copied: { at: string; count: number } | null = null;
  /** Position of the last row of the log. */
  #row: string | null = null;
  /** The same, not yet read. */
  #last: { readonly batch: RecordBatch; readonly record: number } | null = null;
  /** Of the last record; the records of an operation share one. */
  #run: RecordRun | null = null;
  /** What the positions of the run have behind the tablet, where it is a copy's. */
  #copyOfRun: string | null = null;

  add(batch: RecordBatch, i: number): void {
    const kind = batch.kindOf(i);
    if (kind !== RecordKind.ROW && kind !== RecordKind.DEAD_LETTER) return;
    const run = batch.runOf(i);
    if (run !== this.#run) {
      this.#run = run;
      const place = placeOf(batch.position(i));
      this.#copyOfRun = place !== null && 'copy' in place ? place.copy : null;
    }
    if (this.#copyOfRun === null) {
      this.#last = { batch, record: i };
      return;
    }
    [this.#last, this.#row] = [null, null];
    if (this.#copied?.at === this.#copyOfRun) this.#copied.count++;
    else this.#copied = { at: this.#copyOfRun, count: 1 };
  }

  /** To be called before the memory of the batch goes to others. */
  endBatch(): void {
    if (this.#last) this.#row = this.#last.batch.position(this.#last.record);
    [this.#last, this.#run] = [null, null];
  }

  get hasCopied(): boolean {
    return this.#copied !== null;
  }

  /** What was added so far; null where nothing of it can be told. */
  get partial(): Partial | null {
    const text = this.#last ? this.#last.batch.position(this.#last.record) : this.#row;
    const place = text === null ? null : placeOf(text);
    const row = place !== null && 'index' in place ? place : null;
    if (row === null && this.#copied === null) return null;
    return { ...(this.#copied && { copied: { ...this.#copied } }), ...(row && { row }) };
  }
}

/**
 * Which records of a write are in a lane already. Two ways lead to that: a write that was left in its midst (the lane has some rows
 * behind its position), and a lane that has come further than another one of the tablet, which begins where the last of them is.
 */
export class LaneFilter {
  readonly #state: LaneState;
  /** The records that come are behind what was there. */
  #isOver = false;
  #from: TabletPosition | null = null;
  #to: TabletPosition | null = null;
  #mode: 'partial' | 'straddle' = 'partial';
  #copyRows = 0;
  #hasCopied = false;

  constructor(state: LaneState) {
    this.#state = state;
  }

  /**
   * A write begins.
   * @param from where the tablet stands
   * @returns `none`: the lane has nothing of it, nor of what comes; `all`; `some`: {@link isThere} says which
   */
  begin(from: TabletPosition | null, to: TabletPosition): 'none' | 'all' | 'some' {
    const { position, partial } = this.#state;
    this.#from = from;
    this.#to = to;
    this.#copyRows = 0;
    this.#hasCopied = false;
    this.#isOver = false;
    if (isSame(position, from)) {
      this.#mode = 'partial';
      return partial === null ? 'none' : 'some';
    }
    if (position === null || !isAhead(position, from)) return 'none';
    if (comparePositions(to, position) <= 0) return 'all';
    this.#mode = 'straddle';
    return 'some';
  }

  /** Whether the write begins before the lane's position: what it leaves in its midst is told by rows of the log alone. */
  get straddles(): boolean {
    return this.#mode === 'straddle';
  }

  /** What is left of {@link LaneState.partial} behind this write. */
  get rest(): Partial | null {
    const { partial } = this.#state;
    if (partial === null || this.#isOver) return null;
    const { copied, row } = partial;
    // At a cut all of the log before is there, and what follows may be that log once more.
    if (copied === undefined && this.#entersCopy()) return null;
    if (this.#mode === 'straddle') return copied === undefined && row ? { row } : null;
    if (copied === undefined || row !== undefined) return partial;
    const count = copied.count - this.#copyRows;
    return count > 0 ? { copied: { ...copied, count } } : null;
  }

  /** Asked of each record in order. */
  isThere(batch: RecordBatch, i: number): boolean {
    if (this.#isOver) return false;
    // One in between was written, or says no more than the next one.
    const kind = batch.kindOf(i);
    if (kind === RecordKind.RESOLVED) return true;
    const place = placeOf(batch.position(i));
    if (place === null) return true;
    const isThere = this.#mode === 'partial' ? this.#isInPartial(place, kind) : this.#isBeforePosition(place);
    // The schema a tablet begins with may come in front of what is there already, said anew.
    if (!isThere && kind !== RecordKind.FIRST_SCHEMA) this.#isOver = true;
    return isThere;
  }

  #isInPartial(place: Exclude<Place, null>, kind: RecordKind): boolean {
    const { copied, row } = this.#state.partial!;
    if ('copy' in place) {
      if (copied === undefined) return false; // it was left before the copy
      if (place.copy !== copied.at) return this.#copyRows < copied.count;
      if (row !== undefined) {
        this.#copyRows = copied.count; // all of the copy is there, as rows behind it are
        return true;
      }
      if (kind === RecordKind.TOMBSTONE) return this.#copyRows <= copied.count; // goes with its delete
      if (kind !== RecordKind.ROW && kind !== RecordKind.DEAD_LETTER) return this.#copyRows < copied.count;
      this.#copyRows++;
      return this.#copyRows <= copied.count;
    }
    if (copied !== undefined && this.#copyRows === 0 && this.#isBeforeCopy()) return true;
    if (copied !== undefined && this.#copyRows < copied.count && row === undefined) return true;
    return row !== undefined && isUpTo(place, row);
  }

  #entersCopy(): boolean {
    const copy = copyUnderWay(this.#to);
    return copy !== null && copy.cut !== copyUnderWay(this.#from)?.cut;
  }

  /** Rows of the log that come in front of a copy. A write that begins within a copy has none. */
  #isBeforeCopy(): boolean {
    return copyUnderWay(this.#from) === null;
  }

  /** The lane has come to its position, and the write goes from before that to behind it. */
  #isBeforePosition(place: Exclude<Place, null>): boolean {
    const position = this.#state.position!;
    const [inCopy, fromInCopy] = [position, this.#from].map((each) => copyUnderWay(each) !== null) as [
      boolean,
      boolean,
    ];
    if ('copy' in place) {
      this.#hasCopied = true;
      // Rows of a copy are the same each time: where it cannot be told, they come again, which sets what they say once more.
      const time = BigInt(place.copy.slice('base.'.length));
      if (!inCopy) return position.time !== undefined && position.time >= time;
      return fromInCopy && replayedTo(position) > replayedTo(this.#from);
    }
    const isAgain = fromInCopy || this.#hasCopied;
    if (inCopy) return place.index <= (isAgain ? replayedTo(position) : position.opId.index);
    if (place.index <= position.opId.index) return true;
    return [position.upTo, this.#state.partial?.copied ? undefined : this.#state.partial?.row].some(
      (last) => last !== undefined && isUpTo(place, last),
    );
  }
}

function isSame(a: TabletPosition | null, b: TabletPosition | null): boolean {
  return a === null || b === null ? a === b : comparePositions(a, b) === 0;
}

/** The position that a tablet has come to in all of its lanes: the lowest of theirs; null where one has none. */
export function lowestPosition(positions: readonly (TabletPosition | null)[]): TabletPosition | null {
  let lowest: TabletPosition | null | undefined;
  for (const position of positions)
    if (lowest === undefined || position === null || (lowest !== null && comparePositions(position, lowest) < 0))
      lowest = position;
  return lowest ?? null;
}
