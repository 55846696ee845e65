import type { HistoryView, StreamSeries } from '../api/cluster-state.ts';

/** One sample: records a second, the largest lag, and bytes held; null for what is not known. */
export type Sample = readonly [records: number | null, lagSeconds: number | null, heldBytes: number | null];

export const STEP_SECONDS = 10;
/** An hour. */
export const STEPS = 360;
const FIGURES = 3;

/** The end of the step that a moment is in, in seconds since 1970: the same for all sidecars. */
export function stepOf(ms: number): number {
  return Math.ceil(ms / 1000 / STEP_SECONDS) * STEP_SECONDS;
}

/**
 * Samples of the last hour for each stream, in rings of a fixed size: 8.6 KB a stream. A step without a sample is one of
 * which nothing is known.
 */
export class History {
  readonly #rings = new Map<string, Float64Array>();
  /** End of the newest step; 0 before the first. */
  #newest = 0;

  /** Of all streams that there are; what was noted of the step before is replaced. @param at see {@link stepOf} */
  note(at: number, samples: ReadonlyMap<string, Sample>): void {
    if (at < this.#newest) return; // the clock was set back: until it is there again nothing is known
    this.#forget(at);
    this.#newest = at;
    for (const [stream, sample] of samples) {
      let ring = this.#rings.get(stream);
      if (!ring) this.#rings.set(stream, (ring = new Float64Array(STEPS * FIGURES).fill(NaN)));
      for (const [i, figure] of sample.entries()) ring[placeOf(at) + i] = figure ?? NaN;
    }
    for (const [stream, ring] of this.#rings)
      if (!samples.has(stream) && ring.every(Number.isNaN)) this.#rings.delete(stream);
  }

  /** What of an hour ago is still there where the new steps go. */
  #forget(at: number): void {
    const steps = Math.min(STEPS, (at - this.#newest) / STEP_SECONDS);
    for (const ring of this.#rings.values())
      for (let i = 0; i < steps; i++) {
        const place = placeOf(at - i * STEP_SECONDS);
        ring.fill(NaN, place, place + FIGURES);
      }
  }

  view(): HistoryView {
    if (this.#newest === 0) return { stepSeconds: STEP_SECONDS, at: [], streams: {} };
    const all = Array.from({ length: STEPS }, (_, i) => this.#newest - (STEPS - 1 - i) * STEP_SECONDS);
    const rings = [...this.#rings.values()];
    const first = all.findIndex((at) => rings.some((ring) => !isEmpty(ring, placeOf(at))));
    const at = first === -1 ? [] : all.slice(first);
    const figure = (ring: Float64Array, i: number) => at.map((step) => orNull(ring[placeOf(step) + i]!));
    const streams = Object.fromEntries(
      [...this.#rings].map(([stream, ring]): [string, StreamSeries] => [
        stream,
        { records: figure(ring, 0), lagSeconds: figure(ring, 1), heldBytes: figure(ring, 2) },
      ]),
    );
    return { stepSeconds: STEP_SECONDS, at, streams };
  }
}

function placeOf(at: number): number {
  return ((at / STEP_SECONDS) % STEPS) * FIGURES;
}

function isEmpty(ring: Float64Array, place: number): boolean {
  return Number.isNaN(ring[place]!) && Number.isNaN(ring[place + 1]!) && Number.isNaN(ring[place + 2]!);
}

function orNull(figure: number): number | null {
  return Number.isNaN(figure) ? null : figure;
}

/** What several sidecars know, as one: records and held bytes are added up, of lags the largest counts. */
export function mergeHistories(histories: readonly HistoryView[]): HistoryView {
  const usable = histories.filter(({ stepSeconds, at }) => stepSeconds === STEP_SECONDS && at.length > 0);
  if (usable.length === 0) return { stepSeconds: STEP_SECONDS, at: [], streams: {} };
  const newest = Math.max(...usable.map(({ at }) => at.at(-1)!));
  const oldest = Math.max(newest - (STEPS - 1) * STEP_SECONDS, Math.min(...usable.map(({ at }) => at[0]!)));
  const at = Array.from({ length: (newest - oldest) / STEP_SECONDS + 1 }, (_, i) => oldest + i * STEP_SECONDS);
  const streams: Record<string, StreamSeries> = {};
  for (const name of new Set(usable.flatMap((each) => Object.keys(each.streams)))) {
    const merged = { records: nulls(at), lagSeconds: nulls(at), heldBytes: nulls(at) };
    for (const history of usable) {
      const own = history.streams[name];
      if (own === undefined) continue;
      for (const [i, step] of history.at.entries()) {
        const place = (step - oldest) / STEP_SECONDS;
        if (place < 0 || place >= at.length) continue;
        merged.records[place] = joined(merged.records[place], own.records[i], (a, b) => a + b);
        merged.lagSeconds[place] = joined(merged.lagSeconds[place], own.lagSeconds[i], Math.max);
        merged.heldBytes[place] = joined(merged.heldBytes[place], own.heldBytes[i], (a, b) => a + b);
      }
    }
    streams[name] = merged;
  }
  return { stepSeconds: STEP_SECONDS, at, streams };
}

function nulls(of: readonly unknown[]): (number | null)[] {
  return of.map(() => null);
}

function joined(
  a: number | null | undefined,
  b: number | null | undefined,
  join: (a: number, b: number) => number,
): number | null {
  if (a == null || b == null) return a ?? b ?? null;
  return join(a, b);
}
