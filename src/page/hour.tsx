import type { StreamSeries } from '../api/cluster-state.ts';
import { Chart, type Line } from './chart.tsx';
import { history, streams } from './feed.ts';
import { bytes, duration, rate } from './words.ts';

/** More lines than that nobody tells apart. */
const MAX_LINES = 5;

type Figure = keyof StreamSeries;
const FIGURES: readonly {
  readonly figure: Figure;
  readonly title: string;
  readonly format: (value: number | null) => string;
  readonly join: (a: number, b: number) => number;
}[] = [
  { figure: 'records', title: 'Records a second', format: rate, join: (a, b) => a + b },
  { figure: 'lagSeconds', title: 'Lag', format: duration, join: Math.max },
  { figure: 'heldBytes', title: 'Held log', format: bytes, join: (a, b) => a + b },
];

/** The last hour of all streams, or of one. */
export function Hour({ only }: { readonly only?: string }) {
  const past = history.value;
  if (past === null) return <p class="quiet">Asking the sidecars for their last hour …</p>;
  if (past.at.length === 0)
    return (
      <p class="quiet">The sidecars have nothing of the last hour yet. The first figures come after ten seconds.</p>
    );
  const there = streams.value.map(({ name }) => name).filter((name) => name in past.streams);
  const names = only === undefined ? there : there.filter((name) => name === only);
  return (
    <div class="charts">
      {FIGURES.map(({ figure, title, format, join }) => {
        const lines = linesOf(names, past.streams, figure, join);
        return (
          <Chart
            key={figure}
            title={title}
            at={past.at}
            lines={lines}
            format={format}
            isBytes={figure === 'heldBytes'}
            summary={`now ${format(newest(lines, join))}`}
          />
        );
      })}
    </div>
  );
}

/** One line a stream; the streams that have least are one together. */
function linesOf(
  names: readonly string[],
  series: Readonly<Record<string, StreamSeries>>,
  figure: Figure,
  join: (a: number, b: number) => number,
): Line[] {
  const all = names.map((name) => ({ name, values: series[name]![figure] }));
  if (all.length <= MAX_LINES) return all;
  const ranked = all
    .map((line) => ({ line, most: Math.max(0, ...line.values.map((value) => value ?? 0)) }))
    .sort((a, b) => b.most - a.most)
    .map(({ line }) => line);
  const rest = ranked.slice(MAX_LINES);
  const values = rest[0]!.values.map((_, i) =>
    rest.reduce<number | null>((sum, line) => {
      const value = line.values[i] ?? null;
      return sum === null || value === null ? (sum ?? value) : join(sum, value);
    }, null),
  );
  return [...ranked.slice(0, MAX_LINES), { name: `${rest.length} others`, values }];
}

function newest(lines: readonly Line[], join: (a: number, b: number) => number): number | null {
  return lines.reduce<number | null>((all, { values }) => {
    const value = values.at(-1) ?? null;
    return all === null || value === null ? (all ?? value) : join(all, value);
  }, null);
}
