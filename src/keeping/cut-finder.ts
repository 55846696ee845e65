import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { OpId } from '../kudu/opid.ts';
import { waitFor } from '../util/wait-for.ts';

/** An operation that may be the cut of a copy, as a replica's log shows it. */
export interface FoundCut {
  readonly opId: OpId;
  /**
   * Operations before it may be stamped at or after its time (COMMIT_WAIT, kudu-facts 5.9), and rows that are read at
   * that time lack them: from behind this operation on the log is to be read again. Null: there are none.
   */
  readonly replayAfter: OpId | null;
  /** Highest schema version that an ALTER before it names, whatever became of that ALTER. */
  readonly schemaVersion: number;
}

/** What of a REPLICATE is looked at. */
export interface Proposal {
  readonly opId: OpId;
  readonly hybridTime: HybridTime;
}

/** How far ahead of a server's clock an operation can be stamped (max_clock_sync_error_usec, 10 s). */
const MAX_AHEAD = 10_000_000n << 12n;
/** So close to each other operations are not told apart: then a little more than needed is read again. */
const SPAN = 10_000n << 12n;
const MAX_FOUND = 32;

interface Span {
  readonly firstIndex: bigint;
  /** The operation before its first. */
  readonly after: OpId;
  /** Times of its first operation and of its last. */
  readonly first: HybridTime;
  last: HybridTime;
}

/** Finds cuts by their time in a log that is read in order, and what before them is stamped behind them. */
export class CutFinder {
  readonly #found = new Map<HybridTime, FoundCut | 'log-too-young'>();
  readonly #waiting = new Set<() => void>();
  /**
   * The operations whose time is higher than that of all before them, in spans: the first with a time of at least T is
   * the first of the log with such a time. Of those before the last {@link MAX_AHEAD} nobody asks any more.
   */
  readonly #highest: Span[] = [];
  #replayAfter: OpId | null = null;
  #first: Proposal | null = null;
  #last: OpId | null = null;
  #schemaVersion = 0;

  /** @param isCut whether it may be a cut */
  read({ opId, hybridTime: time }: Proposal, isCut: boolean): void {
    const highest = this.#highest;
    if (this.#first === null || opId.index < this.#first.opId.index) this.#first = { opId, hybridTime: time };
    // A log that begins anew, or a proposal that another one overwrites.
    while ((highest.at(-1)?.firstIndex ?? -1n) >= opId.index) highest.pop();
    while (highest.length > 0 && highest[0]!.last < time - MAX_AHEAD) highest.shift();
    const span = highest.at(-1);
    const isBehind = span !== undefined && span.last >= time;
    this.#replayAfter = isBehind ? highest.find(({ last }) => last >= time)!.after : null;
    if (!isBehind) {
      const isNext = this.#last?.index === opId.index - 1n;
      const after = isNext ? this.#last! : { term: opId.term, index: opId.index - 1n };
      if (span && time - span.first < SPAN) span.last = time;
      else highest.push({ firstIndex: opId.index, after, first: time, last: time });
    }
    this.#last = opId;
    if (isCut) this.#note(opId, time);
  }

  /** Part of the log is missing here: what was stamped in it is not known. */
  restart(): void {
    this.#highest.length = 0;
    this.#replayAfter = null;
    this.#first = null;
    this.#last = null;
  }

  /** An ALTER was proposed. */
  readAlter(schemaVersion: number): void {
    if (schemaVersion > this.#schemaVersion) this.#schemaVersion = schemaVersion;
  }

  /** What is to be read again before the operation that was read last; see {@link FoundCut.replayAfter}. */
  get replayAfter(): OpId | null {
    return this.#replayAfter;
  }

  /** How many wait for a cut. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Waits for the operation of that time, which a majority has. `log-too-young`: the log does not reach back far enough
   * to say what is stamped behind it; a cut that is made some seconds later will do.
   */
  async find(time: HybridTime, signal: AbortSignal): Promise<FoundCut | 'log-too-young'> {
    for (;;) {
      const found = this.#found.get(time);
      if (found !== undefined) return found;
      let wake: () => void = () => undefined;
      const noted = new Promise<void>((resolve) => (wake = resolve));
      this.#waiting.add(wake);
      try {
        await waitFor(noted, signal);
      } finally {
        this.#waiting.delete(wake); // no cut may come for a long time
      }
    }
  }

  #note(opId: OpId, time: HybridTime): void {
    const { opId: firstOpId, hybridTime: firstTime } = this.#first!;
    const reachesBack = firstOpId.index <= 1n || time - firstTime > MAX_AHEAD;
    const found = { opId, replayAfter: this.replayAfter, schemaVersion: this.#schemaVersion };
    this.#found.set(time, reachesBack ? found : 'log-too-young');
    for (const known of this.#found.keys()) if (this.#found.size > MAX_FOUND) this.#found.delete(known);
    for (const wake of this.#waiting) wake();
  }
}
