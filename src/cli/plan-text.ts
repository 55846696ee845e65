import type { StreamPlan } from '../api/shapes.ts';
import { WIDE, wrapIndented, type Layout } from './text-style.ts';
import { printable, renderTable } from './text-table.ts';

const WOULD_BE: Readonly<Record<StreamPlan['outcome'], string>> = {
  created: 'would be created',
  changed: 'would be changed',
  unchanged: 'would stay as it is',
};

/** What a dry run says of a stream. */
export function renderPlan(plan: StreamPlan, { columns }: Layout = WIDE): string {
  const { definition, outcome, paused, changes, tables, leaves, topics, missing, warnings } = plan;
  const text = (value: unknown): string => (value === undefined ? 'not given' : JSON.stringify(value));
  const lines = [
    `stream ${definition.name} ${WOULD_BE[outcome]}${paused && outcome === 'created' ? ', paused' : ''}`,
    ...changes.map(({ path, now, asked }) => `${path}: ${text(now)} -> ${text(asked)}`),
    ...leaves.map((table) => `table ${table} leaves`),
    ...missing.map((each) => `missing: ${each}`),
    ...warnings.map((each) => `warning: ${each}`),
  ];
  const head = lines
    .map((line, i) => `${wrapIndented(`${i === 0 ? '' : '  '}${printable(line)}`, columns, 4)}\n`)
    .join('');
  const known = (value: number | null): string => (value === null ? '-' : String(value));
  const ofTables = renderTable(
    ['table', 'tablets', 'topic', 'begins', 'rows'],
    tables.map(({ name, tablets, topic, begins, rows }) => [name, String(tablets), topic ?? '-', begins, known(rows)]),
    new Set([1, 4]),
    { columns, shrinks: [0, 2] },
  );
  const ofTopics = renderTable(
    ['topic', 'of', 'state', 'partitions', 'replicas', 'settings'],
    topics.map(({ name, of, state, partitions, replicationFactor, settings }) => [
      name,
      of,
      state === 'made' ? 'to be made' : state,
      known(partitions),
      known(replicationFactor),
      Object.entries(settings)
        .map(([setting, value]) => `${setting}=${value}`)
        .join(' ') || '-',
    ]),
    new Set([3, 4]),
    { columns, shrinks: [0, 5], drops: [1] },
  );
  return head + (tables.length > 0 ? `\n${ofTables}` : '') + (topics.length > 0 ? `\n${ofTopics}` : '') + '\n';
}
