import 'uplot/dist/uPlot.min.css';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';

export interface Line {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

export interface ChartProps {
  readonly title: string;
  readonly at: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number | null) => string;
  /** Whether the figures are bytes, whose round ones are powers of two. */
  readonly isBytes?: boolean;
  /** What the newest value is for those who do not see the chart. */
  readonly summary: string;
}

const HEIGHT = 150;
const HOUR_S = 3600;

/** Figures of the last hour as lines over time. All charts of the page point at the same moment. */
export function Chart({ title, at, lines, format, isBytes = false, summary }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const names = lines.map(({ name }) => name).join('\n');
  const data = [at, ...lines.map(({ values }) => values)] as unknown as uPlot.AlignedData;

  useEffect(() => {
    const element = place.current!;
    const make = (): void => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(element, lines, format, isBytes), data, element);
      showNewest(plot.current);
    };
    make();
    const resized = new ResizeObserver(() => {
      plot.current?.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    resized.observe(element);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', make);
    return () => {
      resized.disconnect();
      scheme.removeEventListener('change', make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [names]);
  useEffect(() => {
    plot.current?.setData(data);
    if (plot.current) showNewest(plot.current);
  }, [at, lines]);

  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        <span class="quiet">{summary}</span>
      </figcaption>
      <div ref={place} role="img" aria-label={`${title}, the last hour: ${summary}`} />
    </figure>
  );
}

/** The figures below the chart are those that are pointed at, and the newest where nobody points. */
function showNewest(plot: uPlot): void {
  const isPointedAt = plot.cursor.left !== undefined && plot.cursor.left >= 0;
  if (!isPointedAt && plot.data[0].length > 0) plot.setLegend({ idx: plot.data[0].length - 1 }, false);
}

/** Steps of an axis of bytes. */
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

function optionsOf(
  element: HTMLElement,
  lines: readonly Line[],
  format: ChartProps['format'],
  isBytes: boolean,
): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const colorOf = (line: number): string => color(`--line-${(line % 6) + 1}`);
  const axis = {
    stroke: color('--quiet'),
    grid: { stroke: color('--line'), width: 1 },
    ticks: { show: false },
    font: '11px system-ui',
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    cursor: { sync: { key: 'hour' }, points: { size: 6 }, drag: { x: false, y: false } },
    legend: { live: true, show: lines.length > 0, markers: { width: 0, fill: (_plot, i) => colorOf(i - 1) } },
    scales: {
      x: { range: (_plot, _from, to) => [to - HOUR_S, to] },
      y: { range: (_plot, _from, to) => [0, Math.max(to, 1) * 1.1] },
    },
    axes: [
      {
        ...axis,
        values: (_plot, at) =>
          at.map((each) => new Date(each * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })),
        size: 24,
        space: 64,
      },
      {
        ...axis,
        values: (_plot, values) => values.map(format),
        size: 62,
        space: 26,
        ...(isBytes && { incrs: BINARY_STEPS }),
      },
    ],
    hooks: {
      setCursor: [
        (plot) => {
          showNewest(plot);
        },
      ],
    },
    series: [
      {
        label: 'Time',
        value: (_plot, at: number | null) => (at === null ? '–' : new Date(at * 1000).toLocaleTimeString('en-GB')),
      },
      ...lines.map(({ name }, i) => ({
        label: name,
        stroke: colorOf(i),
        width: 1.5,
        points: { show: false },
        value: (_plot: uPlot, value: number | null) => format(value),
      })),
    ],
  };
}
