import type { SidecarState, Trouble } from '../api/cluster-state.ts';
import { eachPart, type Part } from '../api/parts.ts';
import type { TabletView } from '../api/shapes.ts';
import { causeOf } from './cause.ts';
import { counted } from '../util/counted.ts';

/** So much above its bound free space is told of. */
const NEARLY_PERCENT = 5;
/** A limit that is nearer than this is. */
const SOON_S = 3600;

const PARTS = {
  kudu: ['Kudu', 'Look at its masters and the tablet server, and at what the reason names.'],
  kafka: ['the sink', 'Look at the brokers, and at what the reason names.'],
  redis: ['Redis', 'Look at its server, and at what the reason names: see docs/sinks-redis.md.'],
  file: ['the folder of a stream', 'Look at the storage, and at what the reason names: see docs/sinks-file.md.'],
  wal: [
    'the log of its tablet server',
    'The sidecar must run as the user of the tablet server, beside it, and be able to link its files: see docs/operations.md.',
  ],
} as const satisfies Record<Part, readonly [name: string, remedy: string]>;

const NOTHING = { tables: [], tablets: {}, tabletCount: 0, streams: [], action: null, code: null } as const;

/** Sidecars that are down or cannot work, and disks that become full. */
export function sidecarTroubles(sidecars: readonly SidecarState[], tablets: readonly TabletView[]): Trouble[] {
  const states = new Map(tablets.map(({ stream, tabletId, state }) => [`${stream}/${tabletId}`, state]));
  const alive = sidecars.filter(({ isAlive }) => isAlive);
  return [
    ...sidecars.flatMap((sidecar) => downTroubles(sidecar, sidecars)),
    ...readinessTroubles(sidecars),
    ...alive.flatMap((sidecar) => [...diskTroubles(sidecar), ...limitTroubles(sidecar, states)]),
  ];
}

function downTroubles(
  { id, tserver, http, isAlive, lastSeen, status }: SidecarState,
  all: readonly SidecarState[],
): Trouble[] {
  if (isAlive && status !== null) return [];
  const standIns = all.flatMap(({ standsInFor, http: other }) => {
    const own = standsInFor.find((each) => each.tserver === tserver);
    return own ? [`${other} (${counted(own.tablets, 'tablet')})`] : [];
  });
  const meanwhile =
    standIns.length > 0
      ? `Others ship what is led at its tablet server: ${standIns.join(', ')}.`
      : 'No other sidecar stands in for it at the moment.';
  if (isAlive)
    return [
      {
        ...NOTHING,
        ...{ id: `silent/${id}`, severity: 'risk', what: `The sidecar at ${http} does not answer`, since: lastSeen },
        why: `It is alive as far as Kudu knows, and does not say how it is when it is asked. ${meanwhile}`,
        remedy:
          'Look at its log, and whether the sidecars reach each other: SPOOR_HTTP_ADVERTISE, one token and one CA for all, the same version.',
      },
    ];
  const stopped = http === '';
  return [
    {
      ...NOTHING,
      ...{
        id: `down/${id}`,
        severity: 'risk',
        what: `The sidecar beside ${tserver} ${stopped ? 'was stopped' : 'is not there'}`,
        since: lastSeen,
      },
      why: `${stopped ? 'It said that it stops' : 'It has not been heard of since then'}. ${meanwhile}`,
      remedy: 'Start it again. If its tablet server is gone for good, it is forgotten a day after it was last seen.',
    },
  ];
}

/** What several of them cannot reach is one trouble where it has one reason. */
function readinessTroubles(sidecars: readonly SidecarState[]): Trouble[] {
  const byReason = new Map<string, Unready[]>();
  for (const { http, isAlive, status } of sidecars) {
    if (!isAlive || status === null) continue;
    for (const [part, { ok, reason = 'It does not say why.', since = null }] of eachPart(status.readiness)) {
      if (ok) continue;
      const cause = `${part}/${reasonWithout(http, reason)}`;
      byReason.set(cause, [...(byReason.get(cause) ?? []), { part, http, reason, since }]);
    }
  }
  return [...byReason].map(([cause, unready]) => {
    const [{ part, reason }] = unready as [Unready];
    const [name, remedy] = PARTS[part];
    const hosts = unready.map(({ http }) => http);
    const who = hosts.length === 1 ? `The sidecar at ${hosts[0]!}` : `${hosts.length} sidecars (${hosts.join(', ')})`;
    const since = unready.map((each) => each.since).sort()[0] ?? null;
    return {
      ...NOTHING,
      id: `unready/${cause}`,
      severity: 'risk',
      what: `${who} cannot work with ${name}`,
      since,
      why: reason,
      remedy,
    };
  });
}

interface Unready {
  readonly part: Part;
  readonly http: string;
  readonly reason: string;
  readonly since: string | null;
}

function reasonWithout(http: string, reason: string): string {
  return causeOf(reason, { table: http, tabletId: http });
}

function diskTroubles({ id, tserver, status }: SidecarState): Trouble[] {
  if (status?.disk == null) return [];
  const { totalBytes, freeBytes, minFreePercent, secondsUntilFloor } = status.disk;
  const free = (freeBytes * 100) / totalBytes;
  const isSoon = secondsUntilFloor !== null && secondsUntilFloor < SOON_S;
  if (free >= minFreePercent + NEARLY_PERCENT && !isSoon) return [];
  const bound = minFreePercent > 0 ? `, and below ${minFreePercent} % the oldest held logs are let go of` : '';
  const until = isSoon ? ` At the pace of the last minutes that is in ${minutes(secondsUntilFloor)}.` : '';
  return [
    {
      ...NOTHING,
      ...{ id: `disk/${id}`, severity: 'risk', what: `The disk of ${tserver} becomes full`, since: null },
      why: `${free.toFixed(1)} % of it are free${bound}.${until}`,
      remedy: 'Make room on it, or see to it that the streams ship what is held.',
    },
  ];
}

function limitTroubles({ id, http, status }: SidecarState, states: ReadonlyMap<string, string>): Trouble[] {
  if (status?.limit == null || status.limit.seconds >= SOON_S) return [];
  const { seconds, stream, table, tabletId } = status.limit;
  const state = states.get(`${stream}/${tabletId}`);
  if (state === undefined || state === 'running') return []; // what is shipped is let go of before
  return [
    {
      ...NOTHING,
      ...{
        id: `limit/${id}/${stream}/${tabletId}`,
        severity: 'risk',
        what: `A held log of ${stream} reaches its limit`,
        since: null,
      },
      why: `In ${minutes(seconds)} the sidecar at ${http} lets go of the oldest part of the log of tablet ${tabletId} of ${table} (SPOOR_HOLD_MAX_BYTES, SPOOR_HOLD_MAX_AGE_S).`,
      remedy:
        'See to it that the stream ships, or raise the limit. What is let go of has to be repaired from the table.',
      ...{ streams: [stream], tables: [table], tablets: { [stream]: [tabletId] }, tabletCount: 1 },
    },
  ];
}

function minutes(seconds: number): string {
  return seconds < 120 ? `${Math.max(0, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}
