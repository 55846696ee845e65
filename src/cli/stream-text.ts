import type { CopyView, SidecarView, StreamView, TabletStateName, TabletView } from '../api/shapes.ts';
import { whereOf } from '../sinks/definitions.ts';
import { WIDE, wrap, wrapIndented, type Layout, type Style } from './text-style.ts';
import { printable, renderTable } from './text-table.ts';

/** What a state means to who looks. */
const STATE_STYLES: Readonly<Record<TabletStateName, Style>> = {
  running: 'green',
  starting: 'yellow',
  'base-copy': 'yellow',
  resync: 'yellow',
  stalled: 'yellow',
  paused: 'yellow',
  blocked: 'red',
  gap: 'red',
  'no-sidecar': 'red',
};
/** Enough of an id to tell tablets apart, where there is no room for more. */
const SHORT_ID = 8;
const INDENT = 2;
const NO_TABLETS_YET = 'no tablets: a table of such a name joins by itself when it comes\n';

/** `spoor streams list`: one line a stream. */
export function renderStreams(streams: readonly StreamView[], { columns }: Layout = WIDE): string {
  if (streams.length === 0) return 'no streams\n';
  const rows = streams.map(({ name, tables, sink, start, tablets }) => [
    name,
    tables.join(','),
    `${sink.type}:${whereOf(sink)}`,
    start,
    String(tablets.length),
    countStates(tablets),
    formatNumber(sum(tablets.map((tablet) => tablet.lagOps))),
  ]);
  const headings = ['name', 'tables', 'sink', 'start', 'tablets', 'states', 'lag ops'];
  return renderTable(headings, rows, new Set([4, 6]), { columns, shrinks: [0, 1, 2, 5], drops: [3, 2] });
}

/** `spoor streams show`: the definition, then its tablets. */
export function renderStream(stream: StreamView, layout: Layout = WIDE): string {
  const { name, tables, start, sink, format, images, tombstones, copyRowsPerSecond, createdAt, tablets, warnings } =
    stream;
  const { type, ...sinkOptions } = sink;
  const facts: [string, string][] = [
    ['name', name],
    ['created', createdAt],
    ['tables', tables.join(', ')],
    ['start', start],
    ['sink', type],
    ...Object.entries(sinkOptions).map(([key, value]): [string, string] => [
      `  ${key}`,
      typeof value === 'object' ? JSON.stringify(value) : String(value),
    ]),
    ['format', format.type],
    ['images', images],
    ['tombstones', String(tombstones)],
    ...(stream.paused ? [['paused', 'true'] as [string, string]] : []),
    ...(warnings ?? []).map((warning): [string, string] => ['warning', warning]),
    ...(copyRowsPerSecond === undefined ? [] : [['copy rows/s', String(copyRowsPerSecond)] as [string, string]]),
  ];
  const width = Math.max(...facts.map(([key]) => key.length));
  const lineOf = ([key, value]: [string, string]): string =>
    `${wrapKept(`${key.padEnd(width)}  `, printable(value), layout.columns)}\n`;
  return `${facts.map(lineOf).join('')}\n${tablets.length === 0 ? NO_TABLETS_YET : renderTablets(tablets, layout)}`;
}

/** `spoor status`: one line a tablet, then what any waits for, and what is wrong with it. */
export function renderTablets(tablets: readonly TabletView[], layout: Layout = WIDE): string {
  if (tablets.length === 0) return 'no tablets\n';
  const rows = tablets.map((tablet) => [
    tablet.stream,
    tablet.table,
    tablet.tabletId,
    tablet.role,
    tablet.state,
    tablet.applyOpId ?? '-',
    tablet.committedOpId ?? '-',
    formatNumber(tablet.lagOps),
    tablet.lagSeconds === null ? '-' : tablet.lagSeconds.toFixed(1),
    tablet.hold === null ? '-' : `${tablet.hold.index} (${formatBytes(tablet.hold.bytes)})`,
    tablet.sidecar ?? '-',
  ]);
  const headings = [
    'stream',
    'table',
    'tablet',
    'role',
    'state',
    'apply',
    'committed',
    'lag ops',
    'lag s',
    'hold',
    'sidecar',
  ];
  const { columns, paint } = layout;
  const idOf = (tabletId: string): string => (columns === Infinity ? tabletId : tabletId.slice(0, SHORT_ID));
  const line = ({ stream, tabletId }: TabletView, words: string): string =>
    `${wrapIndented(`${stream} ${idOf(tabletId)}: ${words}`, columns, INDENT)}\n`;
  /** Where there is no room for whole ids, what several tablets of a stream have in common is a line. */
  const kept = (keptBy: KeptBy): string[] =>
    alike(tablets, keptBy, columns !== Infinity).map(({ stream, tabletIds, what, since, why }) => {
      const more = tabletIds.length === 1 ? '' : ` and ${tabletIds.length - 1} more`;
      return `${wrapIndented(`${stream} ${idOf(tabletIds[0]!)}${more}: ${what} since ${since}${why}`, columns, INDENT)}\n`;
    });
  const below = [
    ...tablets.flatMap((tablet) => (tablet.copy ? [line(tablet, describeCopy(tablet.copy))] : [])),
    ...kept(
      ({ state, waiting }) =>
        waiting && { what: `${state}, waits`, since: waiting.since, why: ` for ${printable(waiting.for)}` },
    ),
    ...kept(({ error }) => error && { what: error.code, since: error.since, why: `: ${printable(error.message)}` }),
  ];
  const table = renderTable(headings, rows, new Set([5, 6, 7, 8]), {
    columns,
    shrinks: [0, 1, 2, 10],
    drops: [6, 10, 5, 9, 3],
    paint: (cell, column, row) => (column === STATE_COLUMN ? paint(STATE_STYLES[tablets[row]!.state], cell) : cell),
  });
  return table + (below.length === 0 ? '' : `\n${below.join('')}`);
}

/** Of {@link renderTablets}. */
const STATE_COLUMN = 4;

/** What keeps a tablet, since when, and what is said behind that. */
interface Keeping {
  readonly what: string;
  readonly since: string;
  readonly why: string;
}
type KeptBy = (tablet: TabletView) => Keeping | undefined;

/** Tablets of a stream with the same words, since the first of them; with `isGrouped` off each by itself. */
function alike(
  tablets: readonly TabletView[],
  keptBy: KeptBy,
  isGrouped: boolean,
): readonly (Keeping & { readonly stream: string; readonly tabletIds: readonly string[] })[] {
  const groups = new Map<string, Keeping & { readonly stream: string; readonly tabletIds: readonly string[] }>();
  for (const tablet of tablets) {
    const keeping = keptBy(tablet);
    if (!keeping) continue;
    const { stream, tabletId } = tablet;
    const key = JSON.stringify([stream, keeping.what, keeping.why, isGrouped ? null : tabletId]);
    const { since = keeping.since, tabletIds = [] } = groups.get(key) ?? {};
    const first = since < keeping.since ? since : keeping.since;
    groups.set(key, { ...keeping, since: first, stream, tabletIds: [...tabletIds, tabletId] });
  }
  return [...groups.values()];
}

/** A fact, whose value goes on below its beginning. */
function wrapKept(key: string, value: string, columns: number): string {
  if (columns === Infinity) return `${key}${value}`.trimEnd();
  const lines = wrap(value, columns - key.length);
  return lines.length === 0
    ? key.trimEnd()
    : lines.map((text, i) => (i === 0 ? key : ' '.repeat(key.length)) + text).join('\n');
}

/** `copied 3000 of 10000 rows (30.0 %), about 7 s left`. */
function describeCopy({ kind, rows, totalRows, percent, secondsLeft }: CopyView): string {
  const what = kind === 'all' ? 'rows' : 'changed rows';
  const of = totalRows === null ? ` ${what}` : ` of ${totalRows} ${what} (${percent!.toFixed(1)} %)`;
  return `copied ${rows}${of}${secondsLeft === null ? '' : `, about ${Math.ceil(secondsLeft)} s left`}`;
}

/** `spoor status`, below the tablets. */
export function renderSidecars(sidecars: readonly SidecarView[], { columns }: Layout = WIDE): string {
  if (sidecars.length === 0) return 'no sidecars\n';
  const rows = sidecars.map(({ http, tserver, version, lastSeen }) => [
    http === '' ? 'stopped' : http,
    tserver,
    version,
    lastSeen,
  ]);
  const fit = { columns, shrinks: [0, 1, 2], drops: [2] };
  return renderTable(['sidecar', 'tserver', 'version', 'last seen'], rows, new Set(), fit);
}

/** `3 running, 1 blocked`, in the order of the tablets. */
function countStates(tablets: readonly TabletView[]): string {
  const counts = new Map<string, number>();
  for (const { state } of tablets) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ') || '-';
}

/** Null where nothing is known at all; what is unknown of single tablets counts as nothing. */
function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0);
}

function formatNumber(value: number | null): string {
  return value === null ? '-' : String(value);
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]!}`;
}
