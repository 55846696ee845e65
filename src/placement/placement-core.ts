/*
 * Who, of the sidecars beside a tablet's replicas, ships it; the decisions alone. No clock, no socket, no log line:
 * placement.ts gathers what is known and carries out what comes of it.
 *
 * To live is not to be able. So whoever ships a tablet, or leads it, says when it cannot (it *yields*), and a stand-in is
 * whoever judges itself able and *claims*: nobody waits for one that does neither. Those that could claim do so in turns
 * of time, so that one is before the others, and none of them is waited for longer than its turn. Who yields goes on
 * trying until another one claims: where nobody can, nothing moves.
 */
import { backoffMs, type Backoff } from '../util/backoff.ts';

/** What this sidecar's tablet server makes of its replica. */
export type ReplicaRole =
  /** It leads. */
  | 'leader'
  /** It follows a leader that it knows, and has a vote. */
  | 'voter'
  /** It may not stand in: it has no vote, or knows no leader. */
  | 'none';

/**
 * `runs`: with all of its data; `down`: it is there and does not, so that there is no whole log; `silent`: its server has
 * not answered for a while, and its log does not go on.
 */
export type ReplicaHealth = 'runs' | 'silent' | 'down';

/** The place of the leader's sidecar, as one of the others sees it. */
export type Seat =
  /** It lives and can. */
  | 'taken'
  /** It does again, since a moment ago. */
  | 'back'
  /** It does not live or cannot, and it is not yet our turn to stand in. */
  | 'left'
  /** It is. */
  | 'vacant';

/**
 * What another living sidecar does in the leader's place, unless it yields; `before` and `behind`: its turn comes before
 * ours, or later.
 */
export type OtherStandIn = 'none' | 'ships' | 'claims-before' | 'claims-behind';

export interface Situation {
  readonly role: ReplicaRole;
  readonly health: ReplicaHealth;
  /** Whether we could ship it, as far as we know ourselves. */
  readonly can: boolean;
  readonly isShipping: boolean;
  readonly seat: Seat;
  readonly other: OtherStandIn;
}

/**
 * `ships`: it is ours; `tries`: we cannot, nor does another say that it can, so we are the one who finds out when that is
 * over; `stands-back`: it is another's, or nobody's.
 */
export type Placing = 'ships' | 'tries' | 'stands-back';

/** Pure. Where two think that it is their turn the sink fences one, which then sees the other ship. */
export function place({ role, health, can, isShipping, seat, other }: Situation): Placing {
  if (health === 'down') return 'stands-back';
  switch (role) {
    case 'leader':
      // What it has on its disk it ships to the end; but one that was fenced then has another leader, and begins no more.
      if (health === 'silent' && !isShipping) return 'stands-back';
      if (can) return 'ships';
      return other === 'none' ? 'tries' : 'stands-back';
    case 'voter':
      if (health !== 'runs' || seat === 'taken') return 'stands-back';
      if (isShipping && can) return 'ships';
      if (isShipping) return other === 'none' ? 'tries' : 'stands-back';
      return can && seat === 'vacant' && (other === 'none' || other === 'claims-behind') ? 'ships' : 'stands-back';
    case 'none':
      return 'stands-back';
  }
}

/** One that lives and yields may be able again in a moment; of one that is dead its silence was the wait. */
export const PATIENCE_MS = 3_000;
/** A claim is seen within it: the next one in turn need not claim as well. */
export const TURN_MS = 3_000;
/** A sidecar that has just started may not know yet that it cannot. */
export const BACK_FOR_MS = 2_000;

/** @param turn how many living sidecars come before us, by the order of their tablet servers' uuids */
export function seatOf(
  leader: { readonly lives: boolean; readonly yields: boolean },
  forMs: number,
  turn: number,
): Seat {
  if (leader.lives && !leader.yields) return forMs < BACK_FOR_MS ? 'back' : 'taken';
  return forMs < (leader.lives ? PATIENCE_MS : 0) + turn * TURN_MS ? 'left' : 'vacant';
}

/** How many of the voters that live come before `self`; the leader's sidecar is none of them. */
export function turnOf(
  self: string,
  leader: string,
  voters: readonly string[],
  lives: (uuid: string) => boolean,
): number {
  return voters.filter((uuid) => uuid < self && uuid !== leader && lives(uuid)).length;
}

/** How shipping goes, seen now and then; `slow`: it does not work yet, and nothing has failed. */
export type Sight = 'idle' | 'works' | 'slow' | 'troubled';

/** What came of shipping a tablet from here: only that shows some of what one cannot. */
export type Trial =
  /** Nothing speaks against a try. */
  | { readonly kind: 'untried'; readonly failures: number }
  | { readonly kind: 'works'; readonly failures: number; readonly sinceMs: number }
  | { readonly kind: 'troubled'; readonly failures: number; readonly sinceMs: number }
  /** We cannot: until it works after all, or `hopeAtMs` has come for one that has given up. */
  | { readonly kind: 'failed'; readonly failures: number; readonly hopeAtMs: number };

export const UNTRIED: Trial = { kind: 'untried', failures: 0 };

/** What passes by itself has mostly passed by then: a broker's restart, a partition's new leader. */
export const TROUBLE_MS = 10_000;
/** On a machine that is short of CPU everything takes long, and a hand-over would take as long once more. */
export const SLOW_MS = 45_000;
/** One that has worked for so long begins with a clean slate. */
export const WORKED_FOR_MS = 60_000;
/** So seldom a tablet goes round that nobody can ship although all can reach the sink. */
export const HOPE_CAP_MS = 300_000;
const HOPE: Backoff = { baseMs: 15_000, capMs: HOPE_CAP_MS };

/** Pure. */
export function stepTrial(trial: Trial, sight: Sight, nowMs: number): Trial {
  const { failures } = trial;
  switch (sight) {
    case 'works':
      if (trial.kind !== 'works') return { kind: 'works', failures, sinceMs: nowMs };
      return failures > 0 && nowMs - trial.sinceMs >= WORKED_FOR_MS ? { ...trial, failures: 0 } : trial;
    case 'slow':
    case 'troubled':
      if (trial.kind === 'failed') return { ...trial, hopeAtMs: nowMs + backoffMs(failures, HOPE) };
      if (trial.kind !== 'troubled') return { kind: 'troubled', failures, sinceMs: nowMs };
      if (nowMs - trial.sinceMs < (sight === 'slow' ? SLOW_MS : TROUBLE_MS)) return trial;
      return { kind: 'failed', failures: failures + 1, hopeAtMs: nowMs + backoffMs(failures + 1, HOPE) };
    case 'idle':
      if (trial.kind === 'failed' && nowMs < trial.hopeAtMs) return trial;
      return trial.kind === 'untried' ? trial : { kind: 'untried', failures };
  }
}

/** By then whoever's turn it was is done, unless something holds it up: then it is the next one's. */
const DROPPED_TAKE_OVER_MS = 20_000;

/**
 * Who ships what is left of a tablet that was dropped: the living sidecars that stood beside its replicas, one after the
 * other, until it is done. Two at once do no harm: the sink fences one.
 */
export function shipsDropped(
  { voterUuids, sinceMs }: { readonly voterUuids: readonly string[]; readonly sinceMs: number },
  { self, lives }: { readonly self: string; readonly lives: (uuid: string) => boolean },
  nowMs: number,
): boolean {
  const living = voterUuids.filter((uuid) => uuid === self || lives(uuid));
  const turn = living.includes(self) ? living.indexOf(self) : living.length;
  return nowMs - sinceMs >= DROPPED_TAKE_OVER_MS * (turn + 1);
}
