import type { Trouble, TroubleAction, TroubleSeverity } from '../api/cluster-state.ts';
import type { TabletView } from '../api/shapes.ts';
import { causeOf } from './cause.ts';
import { counted } from '../util/counted.ts';
import { remedyOf } from './words.ts';

/** A tablet that runs and is later than this is told of. */
const LATE_S = 60;
/** One that has not begun by then is. */
const STARTING_S = 60;

/** One tablet's trouble, as it is before it is put together with others of the same cause. */
interface Ailment {
  readonly tablet: TabletView;
  /** What it has in common with others. */
  readonly cause: string;
  readonly severity: TroubleSeverity;
  /** What is told of it: `<n tablets> of <streams> <verb>`. */
  readonly verb: readonly [one: string, many: string];
  readonly since: string;
  readonly why: string;
  readonly code: string | null;
  readonly remedy: string;
  readonly action: TroubleAction | null;
}

/** What keeps tablets from shipping, one trouble for each cause. */
export function tabletTroubles(tablets: readonly TabletView[], nowMs: number): Trouble[] {
  const byCause = new Map<string, Ailment[]>();
  for (const tablet of tablets) {
    const ailment = ailmentOf(tablet, nowMs);
    if (ailment === null) continue;
    const others = byCause.get(ailment.cause);
    if (others) others.push(ailment);
    else byCause.set(ailment.cause, [ailment]);
  }
  return [...byCause].map(([cause, ailments]) => asOne(cause, ailments));
}

/** Streams that somebody paused, each one trouble: each has a button of its own. */
export function pausedTroubles(tablets: readonly TabletView[]): Trouble[] {
  const byStream = new Map<string, TabletView[]>();
  for (const tablet of tablets)
    if (tablet.state === 'paused') byStream.set(tablet.stream, [...(byStream.get(tablet.stream) ?? []), tablet]);
  return [...byStream].map(([stream, own]) => ({
    id: `paused/${stream}`,
    severity: 'note' as const,
    what: `Stream ${stream} is paused`,
    since: null,
    why: 'Somebody paused it. Nothing of it is shipped, and its log is held on the disks of the tablet servers meanwhile.',
    code: null,
    remedy: 'Resume it: it goes on where it stopped, and nothing is lost.',
    action: 'resume' as const,
    ...about(own),
  }));
}

function ailmentOf(tablet: TabletView, nowMs: number): Ailment | null {
  const { error, waiting, state, lagSeconds } = tablet;
  if ((state === 'blocked' || state === 'gap') && error) {
    const { code, message, since } = error;
    const cause = `${state}/${code}/${causeOf(message, tablet)}`;
    const remedy = remedyOf(code) ?? 'See docs/errors.md.';
    return {
      tablet,
      cause,
      severity: 'down',
      verb: VERBS[state],
      since,
      why: message,
      code,
      remedy,
      action: actionFor(state, code),
    };
  }
  const waits = waiting ?? { for: 'what its sidecar does not say', since: new Date(nowMs).toISOString() };
  const told = { tablet, since: waits.since, code: null, action: null };
  const why = `Waits for ${waits.for}.`;
  const cause = `${state}/${causeOf(waits.for, tablet)}`;
  if (state === 'no-sidecar')
    return {
      ...told,
      why,
      cause,
      severity: 'down',
      verb: VERBS[state],
      remedy: 'Start the sidecar beside one of the tablet servers that have a replica.',
    };
  if (state === 'stalled') return { ...told, why, cause, severity: 'down', verb: VERBS[state], remedy: STALLED_REMEDY };
  if (state === 'starting' && nowMs - Date.parse(waits.since) > STARTING_S * 1000)
    return {
      ...told,
      why,
      cause,
      severity: 'risk',
      verb: ['has yet to begin', 'have yet to begin'],
      remedy: STALLED_REMEDY,
    };
  if (state === 'running' && lagSeconds !== null && lagSeconds > LATE_S)
    return {
      ...{ tablet, cause: 'late', severity: 'risk', verb: ['is late', 'are late'], code: null, action: null },
      since: new Date(Math.round(nowMs / 1000 - lagSeconds) * 1000).toISOString(),
      why: `More is written than is shipped: the oldest row that waits is older than ${LATE_S} s.`,
      remedy:
        'Look at the charts: it catches up when less is written. If it does not, the sink or the CPU of its machine is too slow for it (SPOOR_NICE_MAX_LAG_S).',
    };
  return null;
}

const STALLED_REMEDY = 'The section States of a tablet of docs/operations.md says who ends each of these waits.';

const VERBS = {
  blocked: ['is blocked', 'are blocked'],
  gap: ['has a gap in its log', 'have a gap in their log'],
  'no-sidecar': ['has no sidecar', 'have no sidecar'],
  stalled: ['does not move', 'do not move'],
} as const;

/** What is lost or unreadable in the log can be had from the table as it is now. */
const MENDED_BY_A_COPY: ReadonlySet<string> = new Set([
  'SPOOR_IMAGE_LOST',
  'SPOOR_NOT_ENCODABLE',
  'SPOOR_WAL_CORRUPT',
  'SPOOR_TRANSACTION_UNSUPPORTED',
]);

function actionFor(state: 'blocked' | 'gap', code: string): TroubleAction | null {
  if (state === 'gap') return 'resync-gap';
  return MENDED_BY_A_COPY.has(code) ? 'resync-snapshot' : null;
}

function asOne(cause: string, ailments: readonly Ailment[]): Trouble {
  const oldest = ailments.reduce((a, b) => (b.since < a.since ? b : a));
  const own = about(ailments.map(({ tablet }) => tablet));
  const verb = oldest.verb[ailments.length === 1 ? 0 : 1];
  const of = own.streams.length <= 2 ? own.streams.join(' and ') : counted(own.streams.length, 'stream');
  const { severity, since, why, code, remedy, action } = oldest;
  const what = `${counted(ailments.length, 'tablet')} of ${of} ${verb}`;
  return { id: cause, severity, what, since, why, code, remedy, action, ...own };
}

function about(tablets: readonly TabletView[]): Pick<Trouble, 'streams' | 'tables' | 'tablets' | 'tabletCount'> {
  const ids: Record<string, string[]> = {};
  for (const { stream, tabletId } of tablets) (ids[stream] ??= []).push(tabletId);
  const tables = [...new Set(tablets.map(({ table }) => table))].sort();
  return { streams: Object.keys(ids).sort(), tables, tablets: ids, tabletCount: tablets.length };
}
