import type { TabletStateName, TabletView } from '../api/shapes.ts';

/** Worst first: the order in which states are shown, and tablets by them. */
export const STATE_ORDER: readonly TabletStateName[] = [
  'gap',
  'blocked',
  'no-sidecar',
  'stalled',
  'resync',
  'base-copy',
  'starting',
  'paused',
  'running',
];

export type Tone = 'bad' | 'warn' | 'busy' | 'still' | 'good';

export const TONES: Readonly<Record<TabletStateName, Tone>> = {
  gap: 'bad',
  blocked: 'bad',
  'no-sidecar': 'bad',
  stalled: 'warn',
  resync: 'busy',
  'base-copy': 'busy',
  starting: 'busy',
  paused: 'still',
  running: 'good',
};

export interface Filter {
  readonly text: string;
  readonly state: TabletStateName | 'any';
  readonly table: string | null;
}

/** The tablets that a filter lets through, worst first, then by table and id. */
export function filtered(tablets: readonly TabletView[], { text, state, table }: Filter): TabletView[] {
  const wanted = text.trim().toLowerCase();
  return tablets
    .filter(
      (tablet) =>
        (state === 'any' || tablet.state === state) &&
        (table === null || tablet.table === table) &&
        (wanted === '' ||
          [
            tablet.table,
            tablet.tabletId,
            tablet.sidecar ?? '',
            tablet.error?.code ?? '',
            tablet.error?.message ?? '',
          ].some((field) => field.toLowerCase().includes(wanted))),
    )
    .sort(byTrouble);
}

function byTrouble(a: TabletView, b: TabletView): number {
  return (
    STATE_ORDER.indexOf(a.state) - STATE_ORDER.indexOf(b.state) ||
    (a.table < b.table ? -1 : a.table > b.table ? 1 : 0) ||
    (a.tabletId < b.tabletId ? -1 : 1)
  );
}

/** How many tablets are in each state, worst first; states that none is in are left out. */
export function countStates(tablets: readonly TabletView[]): (readonly [TabletStateName, number])[] {
  const counts = new Map<TabletStateName, number>();
  for (const { state } of tablets) counts.set(state, (counts.get(state) ?? 0) + 1);
  return STATE_ORDER.flatMap((state) => (counts.has(state) ? [[state, counts.get(state)!] as const] : []));
}

export interface TableSummary {
  readonly name: string;
  readonly tablets: readonly TabletView[];
  readonly lagSeconds: number | null;
  readonly heldBytes: number;
}

export function byTable(tablets: readonly TabletView[]): TableSummary[] {
  const tables = new Map<string, TabletView[]>();
  for (const tablet of tablets) {
    const own = tables.get(tablet.table);
    if (own) own.push(tablet);
    else tables.set(tablet.table, [tablet]);
  }
  return [...tables]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, own]) => ({
      name,
      tablets: own,
      lagSeconds: own.reduce<number | null>((most, { lagSeconds }) => largest(most, lagSeconds), null),
      heldBytes: own.reduce((sum, { hold }) => sum + (hold?.bytes ?? 0), 0),
    }));
}

function largest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.max(a, b);
}
