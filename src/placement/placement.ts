import type { Sink } from '../sinks/sink.ts';
import { steadyNow } from '../util/steady-clock.ts';
import type { HandOverCore, Since, Word } from './hand-over-core.ts';
import type { LocalReplica } from '../keeping/local-replica.ts';
import {
  PATIENCE_MS,
  UNTRIED,
  place,
  seatOf,
  stepTrial,
  turnOf,
  type OtherStandIn,
  type ReplicaHealth,
  type Seat,
  type Sight,
  type Trial,
} from './placement-core.ts';
import type { Ending, Fault } from '../shipping/replicator-state.ts';
import type { SinkChecks } from './sink-checks.ts';
import { Waits, type Wait } from '../util/waits.ts';
import { backoffMs, type Backoff } from '../util/backoff.ts';

type Reason = Pick<Fault, 'code' | 'message'>;

/** Why this sidecar cannot ship a tablet; `starting`: it cannot yet, and nothing is wrong with that. */
export interface Inability {
  readonly reason: Reason | 'starting';
  readonly sinceMs: number;
}

/** A tablet of a stream that has a replica here, and what is known of it at this moment. */
export interface Placed {
  /** Of stream and tablet, for as long as the stream is the same. */
  readonly key: string;
  readonly stream: string;
  readonly replica: LocalReplica;
  readonly sink: Sink;
  /** Whether its log was read to where its markers are; why not, where that is known. */
  readonly caughtUp: boolean;
  readonly unreadable: Reason | null;
  readonly shipping: Shipping | null;
}

/** How a replicator gets on. */
export interface Shipping {
  readonly works: boolean;
  readonly fault: Reason | null;
}

/** What others say, and whether one may begin beside them. */
export type HandOverPart = Pick<HandOverCore, 'selfUuid' | 'lives' | 'words' | 'since' | 'mayLead' | 'mayStandIn'>;

/** What is remembered of a tablet of a stream. */
interface Memory {
  /** In which it was asked about last. */
  round: number;
  seat: { readonly isTaken: boolean; readonly sinceMs: number } | null;
  trial: Trial;
  inability: Inability | null;
  /** Of what we lead and do not ship, since we cannot: since when, and since when it is ours to begin all the same. */
  away: { readonly sinceMs: number; readonly back: { readonly can: boolean; readonly since: Since } | null } | null;
  fenced: { readonly times: number; readonly notBeforeMs: number; readonly why: string } | null;
}

const WAITS_FOR_LOG = 'the log of its replica here, which is read for where it goes on';
const WAITS_FOR_STAND_IN = 'the sidecar that ships it in our place to finish its write';
const WAITS_FOR_LEADER = "to know whether its leader's sidecar lives, in whose place it would be shipped from here";
const WAITS_AFTER = {
  fenced: 'its turn: another sidecar has opened it since, and may be shipping it',
  'tablet-gone': 'its log, which has ended here, or its end to be kept',
  broken: 'to be begun anew after an unexpected error, see the log of its sidecar',
} as const satisfies Record<Exclude<Ending, 'stopped'>, string>;
/** A tablet server that restarts is away for less; one that is silent for longer has leaders elsewhere. */
const SILENT_AFTER_MS = 10_000;
/** One that has shipped for so long was right to begin: being fenced then is no contest. */
const FENCED_FORGET_MS = 60_000;
/** A sidecar that was fenced waits for its tablet server to learn who leads; then it may be its turn again. */
const FENCED: Backoff = { baseMs: 1000, capMs: 30_000 };

/**
 * Which tablets this sidecar is to ship now: gathers for placement-core.ts what is known of its own ability and of the
 * other sidecars, and begins what comes of it as hand-over.ts allows.
 */
export class Placement {
  readonly #handOver: HandOverPart;
  readonly #checks: Pick<SinkChecks, 'works' | 'failure'>;
  readonly #now: () => number;
  readonly #memories = new Map<string, Memory>();
  /** What tablets wait for that are ours to ship and not shipped. */
  readonly #waits = new Waits();
  #round = 0;
  #heardAtMs: number;

  constructor(
    handOver: HandOverPart,
    checks: Pick<SinkChecks, 'works' | 'failure'>,
    now: () => number = () => performance.now(),
  ) {
    this.#handOver = handOver;
    this.#checks = checks;
    this.#now = now;
    this.#heardAtMs = now();
  }

  /** The tablet server beside us has said how its replicas are. */
  heardServer(): void {
    this.#heardAtMs = this.#now();
  }

  /** What is not asked about from here to the next round is forgotten: it is shipped no more. */
  beginRound(): void {
    this.#memories.forEach(({ round }, key) => {
      if (round !== this.#round) this.#memories.delete(key);
    });
    this.#round++;
  }

  /** All have been asked about. */
  endRound(): void {
    this.#waits.endRound();
  }

  /** Why a tablet that is ours to ship has not begun, where that is no inability; not there where it is not ours. */
  waitOf(key: string): Wait | undefined {
    return this.#waits.get(key);
  }

  /** Why we cannot ship what is ours to ship, or what nobody ships; null where we can, or need not know. */
  inabilityOf(key: string): Inability | null {
    return this.#memories.get(key)?.inability ?? null;
  }

  /** Whether it is to be shipped from here now. */
  ships(placed: Placed): boolean {
    const memory = this.#memoryOf(placed.key);
    const nowMs = this.#now();
    const { shipping, replica, stream } = placed;
    const { tabletId, isLeader } = replica;
    const isShipping = shipping !== null;
    const words = this.#handOver.words(stream, tabletId);
    memory.trial = stepTrial(memory.trial, sightOf(shipping), nowMs);
    const role = this.#roleOf(replica);
    const seat = role === 'voter' ? this.#seat(memory, replica, words, nowMs) : 'taken';
    if (role !== 'voter') memory.seat = null;
    const health = this.#healthOf(replica, nowMs);
    const concerns = role === 'leader' || (role === 'voter' && (isShipping || seat === 'left' || seat === 'vacant'));
    const why = concerns ? this.#whyNot(placed, memory, health) : null;
    memory.inability = why && { reason: why, sinceMs: memory.inability?.sinceMs ?? steadyNow() };
    const can =
      concerns && why === null && (!this.#needsCheck(placed, memory) || this.#checks.works(placed.sink) === true);
    const placing = place({ role, health, can, isShipping, seat, other: this.#otherOf(words) });
    if (!isLeader || isShipping) memory.away = null;
    else if (!can) memory.away ??= { sinceMs: nowMs, back: null };
    if (placing === 'stands-back') {
      if (memory.away) memory.away = { ...memory.away, back: null };
      memory.fenced = null; // whoever fenced us was right; when our turn comes again it is a new one
      return false;
    }
    if (isShipping) return true;
    if (!this.#mayBegin(placed.key, memory, placed.caughtUp, nowMs)) return false;
    const isFree = isLeader
      ? this.#handOver.mayLead(stream, tabletId, this.#backSince(memory, can, nowMs))
      : this.#handOver.mayStandIn(stream, tabletId);
    if (!isFree) this.#waits.note(placed.key, isLeader ? WAITS_FOR_STAND_IN : WAITS_FOR_LEADER);
    return isFree;
  }

  /** Of a tablet that is no more, and of which it is our turn to ship what is left. */
  shipsRest(key: string, caughtUp: boolean): boolean {
    return this.#mayBegin(key, this.#memoryOf(key), caughtUp, this.#now());
  }

  /** A replicator has ended by itself, after so long. */
  ended(key: string, ending: Ending, ranMs: number): void {
    const memory = this.#memoryOf(key);
    if (ending === 'stopped') {
      memory.fenced = null;
      return;
    }
    const times = (ranMs > FENCED_FORGET_MS ? 0 : (memory.fenced?.times ?? 0)) + 1;
    memory.fenced = { times, notBeforeMs: this.#now() + backoffMs(times, FENCED), why: WAITS_AFTER[ending] };
  }

  #memoryOf(key: string): Memory {
    let memory = this.#memories.get(key);
    if (!memory) {
      memory = { round: 0, seat: null, trial: UNTRIED, inability: null, away: null, fenced: null };
      this.#memories.set(key, memory);
    }
    memory.round = this.#round;
    return memory;
  }

  /** Where a stream goes on is in the markers of our log: to be read first. */
  #mayBegin(key: string, { fenced }: Memory, caughtUp: boolean, nowMs: number): boolean {
    const why = !caughtUp ? WAITS_FOR_LOG : fenced && fenced.notBeforeMs > nowMs ? fenced.why : null;
    if (why !== null) this.#waits.note(key, why);
    return why === null;
  }

  #roleOf({ isLeader, leaderUuid, voterUuids }: LocalReplica): 'leader' | 'voter' | 'none' {
    if (isLeader) return 'leader';
    return leaderUuid !== null && voterUuids.includes(this.#handOver.selfUuid) ? 'voter' : 'none';
  }

  #healthOf({ isRunning }: LocalReplica, nowMs: number): ReplicaHealth {
    if (!isRunning) return 'down';
    return nowMs - this.#heardAtMs > SILENT_AFTER_MS ? 'silent' : 'runs';
  }

  /** Of a voter. */
  #seat(
    memory: Memory,
    { leaderUuid, voterUuids }: LocalReplica,
    words: ReadonlyMap<string, Word>,
    nowMs: number,
  ): Seat {
    const leader = leaderUuid!;
    const lives = (uuid: string): boolean => this.#handOver.lives(uuid);
    const yields = words.get(leader) === 'yields';
    const isTaken = lives(leader) && !yields;
    if (memory.seat?.isTaken !== isTaken) memory.seat = { isTaken, sinceMs: nowMs };
    const turn = turnOf(this.#handOver.selfUuid, leader, voterUuids, lives);
    return seatOf({ lives: lives(leader), yields }, nowMs - memory.seat.sinceMs, turn);
  }

  #otherOf(words: ReadonlyMap<string, Word>): OtherStandIn {
    if (words.size === 0) return 'none';
    const others = [...words];
    if (others.some(([, word]) => word === 'ships')) return 'ships';
    const claims = others.filter(([, word]) => word === 'claims');
    if (claims.some(([uuid]) => uuid < this.#handOver.selfUuid)) return 'claims-before';
    return claims.length > 0 ? 'claims-behind' : 'none';
  }

  /** To stand in, and to begin again what failed here, takes a sink that answers; the leader's sidecar begins at once. */
  #needsCheck({ shipping, replica }: Placed, { trial }: Memory): boolean {
    return shipping === null && (!replica.isLeader || trial.failures > 0);
  }

  /** Why we cannot ship it as far as we know; null also where that is still being found out. */
  #whyNot(placed: Placed, memory: Memory, health: ReplicaHealth): Inability['reason'] | null {
    const { caughtUp, unreadable, shipping, sink, replica } = placed;
    if (health === 'down') return unreadableLog('its replica here does not run');
    if (health === 'silent') return unreadableLog('the tablet server here does not answer');
    // What it stands at may lie behind the damage, and only shipping shows that: but in its place another one is asked.
    if (unreadable !== null && !replica.isLeader && shipping === null) return unreadable;
    if (!caughtUp) return unreadable ?? 'starting';
    if (memory.trial.kind === 'failed') return shipping?.fault ?? memory.inability?.reason ?? NO_BEGINNING;
    return this.#needsCheck(placed, memory) ? this.#checks.failure(sink) : null;
  }

  /** Since when we would begin again to ship what we lead. Null: we could not for so short a while that nobody stands in. */
  #backSince(memory: Memory, can: boolean, nowMs: number): Since | null {
    const { away } = memory;
    const isBrief = away?.back === null && can && nowMs - away.sinceMs < PATIENCE_MS;
    if (away === null || isBrief) return null;
    const back = away.back?.can === can ? away.back : { can, since: this.#handOver.since };
    memory.away = { ...away, back };
    return back.since;
  }
}

function sightOf(shipping: Shipping | null): Sight {
  if (shipping === null) return 'idle';
  if (shipping.works) return 'works';
  return shipping.fault === null ? 'slow' : 'troubled';
}

/** The sink neither takes anything nor says why. */
const NO_BEGINNING: Reason = { code: 'SPOOR_SINK_UNAVAILABLE', message: 'the sink has not been opened for a while' };

function unreadableLog(message: string): Reason {
  return { code: 'SPOOR_WAL_UNREADABLE', message };
}
