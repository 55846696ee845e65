import type { LookTrouble, SidecarState, Trouble, TroubleSeverity, VerdictView } from '../api/cluster-state.ts';
import type { StreamView, TabletView } from '../api/shapes.ts';
import { pausedTroubles, tabletTroubles } from './tablet-troubles.ts';
import { sidecarTroubles } from './sidecar-troubles.ts';
import { counted } from '../util/counted.ts';
import { remedyOf } from './words.ts';

/** What the verdict is made of. */
export interface Judged {
  readonly streams: readonly Pick<StreamView, 'name' | 'paused'>[];
  readonly tablets: readonly TabletView[];
  readonly sidecars: readonly SidecarState[];
  /** Why the cluster cannot be looked at now. */
  readonly trouble: LookTrouble | null;
  /** When all this was so, in milliseconds since 1970. */
  readonly nowMs: number;
}

const RANK: Readonly<Record<TroubleSeverity, number>> = { down: 0, risk: 1, note: 2 };

/**
 * Whether everything is shipped, and if not what is wrong, worst first: what ships nothing before what may come to that,
 * and within these what is about more tablets. Tablets that have one cause are one trouble, however many they are.
 */
export function judge(judged: Judged): VerdictView {
  if (judged.trouble !== null) return unknown(judged.trouble);
  const troubles = [
    ...tabletTroubles(judged.tablets, judged.nowMs),
    ...pausedTroubles(judged.tablets),
    ...sidecarTroubles(judged.sidecars, judged.tablets),
  ].sort((a, b) => RANK[a.severity] - RANK[b.severity] || b.tabletCount - a.tabletCount || a.id.localeCompare(b.id));
  if (judged.streams.length === 0) {
    const none = 'There is no stream yet';
    const headline = troubles.length === 0 ? none : `${none}, and something needs a look`;
    return {
      kind: troubles.length === 0 ? 'empty' : 'trouble',
      headline,
      detail: 'A stream says which tables go where.',
      troubles,
    };
  }
  const detail = describe(judged);
  if (troubles.some(({ severity }) => severity !== 'note'))
    return { kind: 'trouble', headline: troubleHeadline(troubles, judged.tablets), detail, troubles };
  const headline = troubles.some(({ streams }) => streams.length > 0)
    ? 'Everything is shipped that is meant to be'
    : 'Everything is shipped';
  return { kind: 'well', headline, detail, troubles };
}

function unknown({ code, message, since }: LookTrouble): VerdictView {
  const remedy = (code === null ? null : remedyOf(code)) ?? 'Look at the log of this sidecar.';
  const only: Trouble = {
    ...{
      id: `look/${code ?? ''}`,
      severity: 'down',
      what: 'This sidecar cannot see the cluster',
      since,
      why: message,
      code,
    },
    ...{ remedy, action: null, streams: [], tables: [], tablets: {}, tabletCount: 0 },
  };
  return {
    kind: 'unknown',
    headline: 'What the cluster does is not known',
    detail: 'What is shown below is as it was before.',
    troubles: [only],
  };
}

function troubleHeadline(troubles: readonly Trouble[], tablets: readonly TabletView[]): string {
  const down = new Set(
    troubles
      .filter(({ severity }) => severity === 'down')
      .flatMap(({ tablets: ids }) =>
        Object.entries(ids).flatMap(([stream, own]) => own.map((id) => `${stream}/${id}`)),
      ),
  );
  if (down.size === 0) return 'Everything is shipped, and something needs a look';
  if (down.size === tablets.length) return 'Nothing is shipped';
  return `${counted(down.size, 'tablet')} of ${tablets.length} ${down.size === 1 ? 'is' : 'are'} not shipped`;
}

/** What goes on that is no trouble. */
function describe({ streams, tablets }: Judged): string {
  const parts = [`${counted(streams.length, 'stream')}, ${counted(tablets.length, 'tablet')}`];
  const copying = tablets.filter(({ state }) => state === 'base-copy' || state === 'resync').length;
  if (copying > 0) parts.push(`${copying} being copied`);
  const starting = tablets.filter(({ state }) => state === 'starting').length;
  if (starting > 0) parts.push(`${starting} starting`);
  const running = tablets.filter(({ state }) => state === 'running');
  const lag = Math.max(0, ...running.map(({ lagSeconds }) => lagSeconds ?? 0));
  if (running.length > 0) parts.push(lateness(lag, running.length === tablets.length));
  return parts.join(' · ');
}

function lateness(seconds: number, ofAll: boolean): string {
  if (seconds < 0.5) return ofAll ? 'nothing is late' : 'what runs is not late';
  return `${seconds.toFixed(1)} s late at most`;
}
