import { displayWidth } from './text-table.ts';

const MOST_CELLS = 30;
const LEAST_CELLS = 10;
/** An estimate by less is a guess. */
const LEAST_TRAIL_MS = 2_000;
/** What was long ago says little of the pace now. */
const MOST_TRAIL_MS = 60_000;

/** `[######....]  60.0 %  12 of 20 tablets` within so many columns. @param share 0 to 1 */
export function renderBar(share: number, words: string, columns: number): string {
  const bounded = Math.min(1, Math.max(0, share));
  const percent = `${(bounded * 100).toFixed(1).padStart(5)} %`;
  const left = columns - displayWidth(words) - percent.length - 6;
  const cells = Math.max(LEAST_CELLS, Math.min(MOST_CELLS, left));
  const full = Math.floor(bounded * cells);
  return `[${'#'.repeat(full)}${'.'.repeat(cells - full)}]  ${percent}  ${words}`.trimEnd();
}

/** Tells by the way so far how long the rest will take. Times by any clock that does not jump. */
export class Pace {
  #trail: { readonly atMs: number; readonly share: number }[] = [];

  /** @param share 0 to 1; one that is less than the last begins anew */
  note(share: number, nowMs: number): void {
    const last = this.#trail.at(-1);
    if (last && share < last.share) this.#trail = [];
    this.#trail.push({ atMs: nowMs, share });
    while (this.#trail.length > 2 && this.#trail[1]!.atMs < nowMs - MOST_TRAIL_MS) this.#trail.shift();
  }

  /** Null where nothing can be told yet. */
  get secondsLeft(): number | null {
    const [first, last] = [this.#trail[0], this.#trail.at(-1)];
    if (!first || !last || last.atMs - first.atMs < LEAST_TRAIL_MS || last.share <= first.share) return null;
    return ((1 - last.share) * (last.atMs - first.atMs)) / (last.share - first.share) / 1000;
  }
}

/** `about 40 s left`; empty where nothing is known. */
export function describeTimeLeft(seconds: number | null): string {
  return seconds === null ? '' : `about ${describeDuration(seconds)} left`;
}

function describeDuration(seconds: number): string {
  if (seconds < 99.5) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
