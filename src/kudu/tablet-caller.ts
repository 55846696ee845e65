import type { ReplicaLocation, TabletLocation } from './catalog.ts';
import { KuduError, withNotRun } from './errors.ts';
import { pauseBefore, type Deadline } from './rpc/deadline.ts';
import { AppStatus } from './status.ts';

/** One attempt: a server that hangs must not use up the whole time, when another may have taken over by now. */
const ATTEMPT_MS = 5000;

/**
 * Which of a tablet's replicas to call:
 * - `leader`: the one that the master says leads, and no other.
 * - `leader-first`: that one, then the other voters in turn: for calls that a follower refuses or answers as well.
 * - `any`: whichever, at random.
 * - the one on the server with this uuid.
 */
export type ReplicaChoice = 'leader' | 'leader-first' | 'any' | { readonly uuid: string };

/** Where a tablet's replicas are. */
export interface ReplicaLocator {
  /** As last asked of the master. Null: there is no such tablet (any more). */
  replicas(tabletId: string, deadline: Deadline): Promise<TabletLocation | null>;
  /** Asks the master again. Null: there is no such tablet any more. */
  refresh(tabletId: string, deadline: Deadline): Promise<TabletLocation | null>;
  /**
   * Tablets of which a call was given up by its caller before a replica had answered. That one may hang and have a
   * successor, and callers who are less patient than {@link callReplica} would never learn of it: so the next call of
   * such a tablet begins with a question to the master.
   */
  readonly doubted: Set<string>;
}

/**
 * Runs a call on a replica of a tablet until it succeeds, fails for good, or its time is over.
 *
 * The master's word on who leads is a heartbeat old, and there may be no leader for a moment. So after a refusal the
 * master is asked again, and where it still names the one that refused, others are tried as `choice` allows.
 *
 * @param run one attempt at one address, within its deadline; repeated, so it must be safe to repeat
 * @throws {KuduError} what the last attempt said; `timeout`, with that as its cause
 */
export async function callReplica<T>(
  locations: ReplicaLocator,
  tabletId: string,
  choice: ReplicaChoice,
  deadline: Deadline,
  run: (address: string, deadline: Deadline) => Promise<T>,
): Promise<T> {
  const refusedBy = new Set<string>();
  let location = await locations.replicas(tabletId, deadline);
  if (location && locations.doubted.delete(tabletId)) location = await refreshed(locations, location, deadline);
  let lastError: KuduError | null = null;
  let mayHaveRun = false;
  for (let attempt = 1; ; attempt++) {
    if (!location) throw noSuchTablet(tabletId, lastError, !mayHaveRun);
    const target = chooseReplica(location, choice, refusedBy);
    try {
      if (target) return await run(target.address, deadline.atMost(ATTEMPT_MS));
      lastError ??= new KuduError('network', `tablet ${tabletId} has no such replica now`, { notRun: true });
    } catch (error) {
      if (!(error instanceof KuduError)) {
        if (deadline.signal?.aborted === true) locations.doubted.add(tabletId);
        throw error;
      }
      // An attempt before this one may have gone through, whatever this one says of itself.
      mayHaveRun ||= !error.notRun;
      if (!error.retriable) throw withNotRun(error, !mayHaveRun);
      // That the whole time ended in the middle of an attempt says less than why there had to be another.
      const wasCut = error.kind === 'timeout' && deadline.remainingMs() === 0;
      if (!wasCut || !lastError) lastError = error;
    }
    if (target) refusedBy.add(target.uuid);
    if (location.replicas.every((replica) => refusedBy.has(replica.uuid))) refusedBy.clear();
    if (deadline.remainingMs() === 0) throw outOfTime(tabletId, lastError, !mayHaveRun);
    await deadline.sleep(pauseBefore(attempt));
    location = await refreshed(locations, location, deadline);
  }
}

function chooseReplica(
  location: TabletLocation,
  choice: ReplicaChoice,
  refusedBy: ReadonlySet<string>,
): ReplicaLocation | undefined {
  const { replicas } = location;
  if (typeof choice === 'object') return replicas.find((replica) => replica.uuid === choice.uuid);
  const leader = replicas.find((replica) => replica.role === 'leader');
  if (choice === 'leader') return leader;
  const open = replicas.filter(({ uuid, role }) => !refusedBy.has(uuid) && (role === 'leader' || role === 'follower'));
  if (choice === 'any') return open[Math.floor(Math.random() * open.length)];
  return leader && open.includes(leader) ? leader : open[0];
}

/** Asks the master again; where it cannot answer now, what is known stands. */
async function refreshed(
  locations: ReplicaLocator,
  before: TabletLocation,
  deadline: Deadline,
): Promise<TabletLocation | null> {
  try {
    return await locations.refresh(before.tabletId, deadline);
  } catch (error) {
    if (!(error instanceof KuduError) || !error.retriable) throw error;
    return before;
  }
}

function noSuchTablet(tabletId: string, cause: KuduError | null, notRun: boolean): KuduError {
  const message = `tablet ${tabletId} is not there any more: its table or partition was dropped`;
  return new KuduError('usage', message, { status: AppStatus.NOT_FOUND, notRun, ...(cause ? { cause } : {}) });
}

function outOfTime(tabletId: string, last: KuduError | null, notRun: boolean): KuduError {
  return new KuduError('timeout', `tablet ${tabletId}: out of time; last: ${last?.message ?? 'nothing'}`, {
    notRun,
    ...(last ? { cause: last } : {}),
  });
}
