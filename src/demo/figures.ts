export interface Counts {
  readonly written: number;
  readonly shipped: number;
  /** Longest time from commit to consumer since the counts before, in milliseconds; 0 when nothing came. */
  readonly worstAgeMs: number;
}

export interface Figures extends Pick<Counts, 'written' | 'shipped'> {
  /** Age of the oldest row that was not shipped, or of the oldest that just was, whichever is more. */
  readonly lagMs: number;
  readonly elapsedMs: number;
  /** Records a second over the last {@link RATE_WINDOW_MS}. */
  readonly rowsPerSecond: number;
}

const RATE_WINDOW_MS = 5_000;

/** Turns counts over time into what is shown of them. */
export class DemoFigures {
  readonly #startMs: number;
  readonly #history: { readonly atMs: number; readonly shipped: number }[];
  /** How many rows were written by when, from the last time on at which all of them are shipped by now. */
  #written: { readonly atMs: number; readonly count: number }[];

  constructor(startMs: number) {
    this.#startMs = startMs;
    this.#history = [{ atMs: startMs, shipped: 0 }];
    this.#written = [{ atMs: startMs, count: 0 }];
  }

  next(nowMs: number, counts: Counts): Figures {
    const { written, shipped, worstAgeMs } = counts;
    this.#history.push({ atMs: nowMs, shipped: counts.shipped });
    while (this.#history.length > 2 && this.#history[1]!.atMs <= nowMs - RATE_WINDOW_MS) this.#history.shift();
    const oldest = this.#history[0]!;
    const seconds = (nowMs - oldest.atMs) / 1000;
    const rowsPerSecond = seconds > 0 ? (counts.shipped - oldest.shipped) / seconds : 0;
    const lagMs = Math.max(worstAgeMs, this.#oldestAgeMs(nowMs, written, shipped));
    return { written, shipped, lagMs, elapsedMs: nowMs - this.#startMs, rowsPerSecond };
  }

  /** Of a row that nobody has seen yet there is no record to tell its age; when it was written there is a count. */
  #oldestAgeMs(nowMs: number, written: number, shipped: number): number {
    this.#written.push({ atMs: nowMs, count: written });
    const last = this.#written.findLastIndex(({ count }) => count <= shipped);
    this.#written = this.#written.slice(Math.max(0, last));
    return written <= shipped ? 0 : nowMs - this.#written[0]!.atMs;
  }
}

/** `0:12  written 12,000  shipped 11,990  lag 10 rows, 31 ms  1,000 rows/s` */
export function statusLine({ written, shipped, lagMs, elapsedMs, rowsPerSecond }: Figures): string {
  const seconds = Math.floor(elapsedMs / 1000);
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  const number = (value: number): string => Math.round(value).toLocaleString('en-US');
  const lag = `lag ${number(Math.max(written - shipped, 0))} rows, ${number(lagMs)} ms`;
  return `${clock}  written ${number(written)}  shipped ${number(shipped)}  ${lag}  ${number(rowsPerSecond)} rows/s`;
}
