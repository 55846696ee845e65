import type { Change, ChangeBatch, TabletEvent } from '../change/change.ts';
import type { OpId } from '../kudu/opid.ts';
import { copyUnderWay, isUpTo, loggedUpTo, type RowRef, type TabletPosition } from '../change/position.ts';

/** Rows behind a position that are in the sink already ({@link TabletPosition.upTo}), until the reading is past them. */
export class ShippedRows {
  readonly #from: TabletPosition;
  #upTo: RowRef | undefined;

  /** @param from where the reading begins */
  constructor(from: TabletPosition) {
    this.#from = from;
    this.#upTo = from.upTo;
  }

  /** Rows of a copy have come: behind them the log is read from elsewhere. */
  end(): void {
    this.#upTo = undefined;
  }

  /** Whether a row was given out before, by its place in its operation. */
  has({ index }: OpId, row: number): boolean {
    return this.#upTo !== undefined && isUpTo({ index, row }, this.#upTo);
  }

  /**
   * Whether what is no row was: it goes before the rows of its operation. The first schema is said by who is asked to; and of a
   * tablet that was dropped its end, which names the last operation that there was: nothing comes behind it.
   */
  hasOther(change: Exclude<Change, ChangeBatch>): boolean {
    if (change.kind === 'event' && isEnd(change)) return false;
    if (change.kind === 'schema' && change.before === null) return false;
    if (this.#upTo === undefined) return false;
    const { index } = this.#upTo;
    // Where rows of an operation are there already, and the rest is left out, that is still to be told.
    const isSkip = change.kind === 'event' && change.event === 'skipped';
    return isSkip ? change.opId.index < index : change.opId.index <= index;
  }

  /** The position behind a read: where that is not past these rows yet, with them. */
  behind(position: TabletPosition): TabletPosition {
    if (this.#upTo === undefined) return position;
    if (!isSameReading(this.#from, position) || loggedUpTo(position) >= this.#upTo.index) {
      this.#upTo = undefined;
      return position;
    }
    return { ...position, upTo: this.#upTo };
  }
}

function isEnd({ event }: TabletEvent): boolean {
  return event === 'range-dropped' || event === 'table-dropped';
}

function isSameReading(from: TabletPosition, now: TabletPosition): boolean {
  const copy = copyUnderWay(from);
  return copy === null ? now.copy === from.copy : copyUnderWay(now)?.cut === copy.cut;
}
