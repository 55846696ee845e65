import type { ClusterState, HistorySample } from '../api/cluster-state.ts';
import { stepOf } from './history.ts';

interface Step {
  readonly at: number;
  readonly fromMs: number;
  readonly records: ReadonlyMap<string, number>;
  readonly lags: Map<string, number | null>;
}

/** Goes on with the charts while somebody looks at them: makes a sample of each step out of the states within it. */
export class LiveSamples {
  #step: Step | null = null;

  /** @returns the sample of the step that is over, or null */
  note(state: ClusterState, nowMs: number): HistorySample | null {
    const at = stepOf(nowMs);
    const last = this.#step;
    if (last?.at === at) {
      for (const { name, figures } of state.streams)
        last.lags.set(name, larger(last.lags.get(name), figures.lagSeconds));
      return null;
    }
    const records = new Map(state.streams.map(({ name, figures }) => [name, figures.recordsShipped]));
    this.#step = {
      at,
      fromMs: nowMs,
      records,
      lags: new Map(state.streams.map(({ name, figures }) => [name, figures.lagSeconds])),
    };
    if (last === null || state.trouble !== null) return null;
    const seconds = (nowMs - last.fromMs) / 1000;
    const streams = state.streams.map(({ name, figures }): [string, HistorySample['streams'][string]] => {
      const more = figures.recordsShipped - (last.records.get(name) ?? 0);
      const rate = seconds > 0 && more >= 0 ? more / seconds : null;
      return [name, [rate, larger(last.lags.get(name), figures.lagSeconds), figures.heldBytes]];
    });
    return { at: last.at, streams: Object.fromEntries(streams) };
  }
}

function larger(a: number | null | undefined, b: number | null): number | null {
  if (a == null || b === null) return a ?? b;
  return Math.max(a, b);
}
