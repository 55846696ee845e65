import type { ChangeEvent, HistorySample, HistoryView, StateEvent, StreamSeries } from '../api/cluster-state.ts';

interface Keyed {
  readonly stream: string;
  readonly tabletId: string;
}

export function keyOf({ stream, tabletId }: Keyed): string {
  return `${stream}/${tabletId}`;
}

/** The state as it is after a change. What did not change is the same object as before. */
export function applyChange(state: StateEvent, change: ChangeEvent): StateEvent {
  const { at, trouble = state.trouble, verdict = state.verdict, sidecars = state.sidecars } = change;
  const goneStreams = new Set(change.gone?.streams);
  let streams = state.streams;
  if (change.streams || change.figures || goneStreams.size > 0) {
    const others = new Map(change.streams?.map((stream) => [stream.name, stream]));
    streams = [
      ...streams
        .filter(({ name }) => !goneStreams.has(name))
        .map((stream) => {
          const changed = others.get(stream.name);
          others.delete(stream.name);
          const figures = change.figures?.[stream.name];
          return changed ?? (figures ? { ...stream, figures } : stream);
        }),
      ...others.values(),
    ];
  }
  const goneTablets = new Set(change.gone?.tablets);
  let tablets = state.tablets;
  if (change.tablets || goneTablets.size > 0) {
    const others = new Map(change.tablets?.map((tablet) => [keyOf(tablet), tablet]));
    tablets = [
      ...tablets
        .filter((tablet) => !goneTablets.has(keyOf(tablet)))
        .map((tablet) => {
          const changed = others.get(keyOf(tablet));
          others.delete(keyOf(tablet));
          return changed ?? tablet;
        }),
      ...others.values(),
    ];
  }
  return { ...state, at, trouble, verdict, streams, tablets, sidecars };
}

const HOUR_S = 3600;

/** The charts with one sample more, and none that is older than an hour. */
export function withSample(history: HistoryView, sample: HistorySample): HistoryView {
  const last = history.at.at(-1);
  if (last !== undefined && sample.at <= last) return history;
  const from = history.at.findIndex((at) => at > sample.at - HOUR_S);
  const keep = <T>(series: readonly T[]): readonly T[] => (from < 0 ? [] : series.slice(from));
  const at = [...keep(history.at), sample.at];
  const nulls = at.slice(1).map(() => null);
  const streams: Record<string, StreamSeries> = {};
  for (const name of new Set([...Object.keys(history.streams), ...Object.keys(sample.streams)])) {
    const own = history.streams[name];
    const [records, lagSeconds, heldBytes] = sample.streams[name] ?? [null, null, null];
    streams[name] = {
      records: [...(own ? keep(own.records) : nulls), records],
      lagSeconds: [...(own ? keep(own.lagSeconds) : nulls), lagSeconds],
      heldBytes: [...(own ? keep(own.heldBytes) : nulls), heldBytes],
    };
  }
  return { ...history, at, streams };
}
