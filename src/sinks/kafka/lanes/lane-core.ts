import { comparePositions } from '../../../change/position.ts';
import type { Cause, LaneEffect, LaneEvent, Share } from './lane-events.ts';
import {
  isSameReading,
  PositionsView,
  type ClaimRef,
  type Decision,
  type LaneId,
  type LanePosition,
  type PositionsEntry,
  type StoredPosition,
} from './positions-view.ts';

/*
 * The decisions of one lane, and nothing else: events in, effects as data out. No clock, no socket.
 *
 * A lane is one transactional producer that ships many tablets of a stream. Each of its transactions has the records of all
 * that wanted to write, and their positions, which are records in the positions partition. Whose a tablet is, is decided
 * there too:
 *
 *   claim ──▶ see ──▶ fence ──▶ read ──▶ settle
 *
 * - *claim*: a record that says "this tablet is mine from now on"; the partition's order decides between two.
 * - *see*: read up to there, and so learn which lanes may still write for the tablet.
 * - *fence*: each of those gets another producer epoch: what it had open is over, and it can write nothing more.
 * - *read*: now the newest position is the last word of all before us.
 * - *settle*: the first position under our claim. Who claims next has to fence only us.
 *
 * A lane that is fenced is opened anew, reads the partition to its end, and gives up the tablets whose newest claim is not
 * its own. Since the other claimed before it fenced, that claim cannot be missed.
 *
 * Invariant: a tablet is in a transaction of an epoch only if the partition was read to its end after that epoch was given
 * out, and the newest claim of the tablet there was ours, the one that the tablet is written under.
 *
 * Each effect that is answered is a *call* with a number of its own; an answer that is late has another number, and changes
 * nothing.
 */

export interface LaneLimits {
  /** For each tablet that is held, transactions begin so much farther apart: many tablets share few transactions. */
  readonly gapMsPerTablet: number;
  readonly maxGapMs: number;
  /**
   * For each tablet that is held, a transaction waits so long for others from the first that wants to be in it: rows that are
   * written together come to their tablets within milliseconds, and share one then.
   */
  readonly lingerMsPerTablet: number;
  readonly maxLingerMs: number;
  /** How long after an opening that failed, or a transaction that failed for no tablet in particular, it is tried again. */
  readonly retryMs: number;
}

interface Tablet {
  /**
   * - `wanted`: its claim is to be made;
   * - `claiming`: it is under way;
   * - `held`: the partition said that it is ours.
   */
  state: 'wanted' | 'claiming' | 'held';
  claim: ClaimRef | null;
  /** The last that is known to be committed. */
  position: LanePosition | null;
  /** Whether a position under our claim is committed. */
  isSettled: boolean;
  /** Whether somebody waits to be told that it is taken. */
  isAwaited: boolean;
  isReleased: boolean;
  write: { readonly id: number; readonly position: LanePosition } | null;
}

interface Round {
  readonly step: 'claim' | 'see' | 'fence' | 'read';
  readonly call: number;
  readonly tablets: readonly string[];
}

/** After more in a row whoever waits is told, and others that use our transactional id are not fenced as fast as we can. */
const MAX_FAULTLESS = 2;

type Phase =
  | { readonly kind: 'closed' }
  /** Not tried again before. */
  | { readonly kind: 'resting'; readonly untilMs: number }
  | { readonly kind: 'opening'; readonly call: number }
  /** The producer's epoch is new; what was claimed before it was given out is being read. */
  | { readonly kind: 'reading'; readonly call: number }
  | { readonly kind: 'open' };

export class LaneCore {
  readonly id: LaneId;
  readonly #limits: LaneLimits;
  readonly #tablets = new Map<string, Tablet>();
  /** Those that want to be in the next transaction. */
  readonly #pending = new Set<string>();
  /**
   * What this lane has committed, by tablet: Kafka answers before its marker is in the partition, so whoever reads there may
   * still miss it.
   */
  readonly #committed = new Map<string, StoredPosition>();
  readonly #view = new PositionsView();
  #phase: Phase = { kind: 'closed' };
  #round: Round | null = null;
  #transaction: { readonly call: number; readonly shares: readonly Share[] } | null = null;
  #calls = 0;
  /** A transaction failed and may be open: consumers wait for its end, though nobody here may want anything any more. */
  #hasOpenEnd = false;
  /** Whether our next epoch was asked for, and whether the opening that is under way began after that. */
  #reopening: 'no' | 'wanted' | 'under-way' = 'no';
  /** Transactions in a row that failed for no tablet. */
  #faultless = 0;
  #beganAtMs = Number.NEGATIVE_INFINITY;
  /** Since when there are some that want to be in the next one. */
  #gatheringSinceMs: number | null = null;
  #effects: LaneEffect[] = [];

  constructor(id: LaneId, limits: LaneLimits) {
    this.id = id;
    this.#limits = limits;
  }

  /** Whether it reads what was claimed before its epoch was given out. */
  get isReopening(): boolean {
    return this.#phase.kind === 'reading';
  }

  /** What the sink has of a tablet by the last word that is known; null: nothing; undefined: nothing is known of it. */
  positionOf(tablet: string): LanePosition | null | undefined {
    return this.#lastOf(tablet)?.position;
  }

  /** How a lane's last transaction was decided, as was noted before it was fenced. */
  decisionOf(lane: LaneId): Decision | null {
    return this.#view.decisionOf(lane);
  }

  /**
   * What a transaction consists of when its turn has come, which may be a while after it was decided on: a write that was given
   * up since, or whose tablet is another's by now, has no part in it, and neither has its position. To be called once, before
   * anything of it is sent.
   */
  begin(call: number): readonly Share[] {
    if (this.#transaction?.call !== call) return [];
    const shares = this.#transaction.shares.filter(({ tablet: name, claim, write }) => {
      const tablet = this.#tablets.get(name);
      return tablet?.claim?.offset === claim.offset && (write === null || tablet.write?.id === write);
    });
    this.#transaction = { call, shares };
    return shares;
  }

  /** Deterministic: the same events at the same times have the same effects. */
  on(event: LaneEvent, nowMs: number): readonly LaneEffect[] {
    this.#take(event, nowMs);
    this.#goOn(nowMs);
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #take(event: LaneEvent, nowMs: number): void {
    switch (event.kind) {
      case 'want':
        this.#want(event.tablet);
        return;
      case 'release':
        this.#release(event.tablet);
        return;
      case 'write':
        this.#write(event);
        return;
      case 'cancel': {
        const tablet = this.#tablets.get(event.tablet);
        if (tablet?.write?.id === event.write) tablet.write = null;
        return;
      }
      case 'opened':
        if (this.#phase.kind === 'opening' && this.#phase.call === event.call) {
          this.#hasOpenEnd = false;
          this.#phase = { kind: 'reading', call: this.#call((call) => ({ kind: 'read', call })) };
        }
        return;
      case 'entries':
        for (const entry of event.entries) this.#see(entry);
        return;
      case 'read':
        if (this.#phase.kind === 'reading' && this.#phase.call === event.call) this.#onRead();
        else if (this.#round?.call === event.call) this.#onRoundRead(this.#round);
        return;
      case 'claimed':
        if (this.#round?.call === event.call) this.#onClaimed(this.#round.tablets, event.offsets);
        return;
      case 'fenced':
        if (this.#round?.call === event.call)
          this.#round = { ...this.#round, step: 'read', call: this.#call((call) => ({ kind: 'read', call })) };
        return;
      case 'committed':
        if (this.#transaction?.call === event.call) this.#onCommitted(this.#transaction.shares, event);
        return;
      case 'not-committed':
        if (this.#transaction?.call === event.call) this.#onNotCommitted(this.#transaction.shares, event, nowMs);
        return;
      case 'reopen':
        // What is read after that has the claim in it, whenever the epoch was given out.
        this.#reopening = this.#phase.kind === 'opening' ? 'under-way' : 'wanted';
        return;
      case 'failed':
        this.#onFailed(event.call, event.cause, nowMs);
        return;
      case 'due':
        return;
    }
  }

  #want(name: string): void {
    const tablet = this.#tablets.get(name);
    if (tablet) {
      tablet.isAwaited = true;
      // A release that is not on its way yet was meant for nobody.
      if (!this.#isInTransaction(name)) tablet.isReleased = false;
      return;
    }
    this.#tablets.set(name, {
      state: 'wanted',
      claim: null,
      position: null,
      isSettled: false,
      isAwaited: true,
      isReleased: false,
      write: null,
    });
  }

  #release(name: string): void {
    const tablet = this.#tablets.get(name);
    if (!tablet || tablet.state === 'wanted') {
      this.#drop(name);
      this.#effects.push({ kind: 'released', tablet: name });
      return;
    }
    tablet.isAwaited = false;
    tablet.isReleased = true;
    tablet.write = null;
    if (tablet.state === 'held') this.#pending.add(name);
  }

  #write({ tablet: name, write, position }: LaneEvent & { kind: 'write' }): void {
    const tablet = this.#tablets.get(name);
    if (tablet?.state !== 'held') {
      const cause = new Error('the tablet is not held any more; it is to be opened again');
      this.#effects.push({ kind: 'not-written', tablet: name, write, cause });
      return;
    }
    tablet.write = { id: write, position };
    this.#pending.add(name);
  }

  /** Whoever has claimed behind us is going to fence us: the sooner we stop the better. */
  #see(entry: PositionsEntry): void {
    this.#view.add(entry);
    if (entry.kind !== 'claim' || entry.lane === this.id) return;
    const tablet = this.#tablets.get(entry.tablet);
    if (tablet?.state === 'held' && entry.offset > tablet.claim!.offset) this.#lose(entry.tablet, entry.lane);
  }

  #lose(name: string, to: LaneId): void {
    this.#drop(name);
    this.#effects.push({ kind: 'lost', tablet: name, to });
  }

  #drop(name: string): void {
    this.#tablets.delete(name);
    this.#pending.delete(name);
  }

  /** The epoch is ours, and all that was claimed before it is known. */
  #onRead(): void {
    this.#phase = { kind: 'open' };
    if (this.#reopening === 'under-way') {
      this.#reopening = 'no';
      this.#effects.push({ kind: 'reopened' });
    }
    this.#committed.clear(); // the markers of our earlier epochs are there
    for (const [name, tablet] of this.#tablets) {
      if (tablet.state !== 'held') continue;
      const newest = this.#view.newestClaim(name);
      if (newest?.offset !== tablet.claim!.offset) {
        this.#lose(name, newest?.lane ?? 'nobody');
        continue;
      }
      const stored = this.#view.storedOf(name);
      if (stored?.isReleased && stored.claim.offset === newest.offset) {
        this.#onReleased(name, tablet); // nobody would fence us for it any more
        continue;
      }
      tablet.isSettled = stored?.claim.offset === tablet.claim!.offset;
      tablet.position = stored?.position ?? null;
      if (!tablet.isSettled) this.#pending.add(name);
      // A transaction of which nobody heard how it ended may have been committed.
      const { write, position } = tablet;
      if (write && position && isAsFar(position, write.position)) this.#onWritten(name, tablet, write.id);
    }
  }

  #onWritten(name: string, tablet: Tablet, write: number): void {
    tablet.write = null;
    this.#effects.push({ kind: 'written', tablet: name, write });
  }

  #onClaimed(names: readonly string[], offsets: ReadonlyMap<string, bigint>): void {
    for (const name of names) {
      const tablet = this.#tablets.get(name);
      const offset = offsets.get(name);
      if (tablet && offset !== undefined) tablet.claim = { lane: this.id, offset };
    }
    this.#round = { step: 'see', call: this.#call((call) => ({ kind: 'read', call })), tablets: names };
  }

  #onRoundRead({ step, tablets }: Round): void {
    const ours = tablets.filter((name) => {
      const tablet = this.#tablets.get(name);
      const newest = this.#view.newestClaim(name);
      const fault = this.#view.faultOf(name);
      if (fault !== null) {
        this.#notTaken(name, fault);
        return false;
      }
      if (tablet?.claim && newest?.offset === tablet.claim.offset) return true;
      if (tablet) this.#lose(name, newest?.lane ?? 'nobody');
      return false;
    });
    const lanes = step === 'see' ? [...new Set(ours.flatMap((name) => this.#view.mayWrite(name, this.id)))] : [];
    if (lanes.length > 0) {
      const call = this.#call((number) => ({ kind: 'fence', call: number, lanes }));
      this.#round = { step: 'fence', call, tablets: ours };
      return;
    }
    this.#round = null;
    for (const name of ours) this.#hold(name, this.#tablets.get(name)!);
  }

  #hold(name: string, tablet: Tablet): void {
    tablet.state = 'held';
    tablet.position = this.#lastOf(name)?.position ?? null;
    tablet.isSettled = false;
    this.#pending.add(name);
  }

  /** The last word on a tablet: claims are in the order of their offsets, and under one there is but one writer. */
  #lastOf(name: string): StoredPosition | null {
    const stored = this.#view.storedOf(name);
    const own = this.#committed.get(name) ?? null;
    if (!stored || !own) return stored ?? own;
    return own.claim.offset >= stored.claim.offset ? own : stored;
  }

  #onCommitted(shares: readonly Share[], { leftOut, parts }: LaneEvent & { kind: 'committed' }): void {
    this.#transaction = null;
    this.#faultless = 0;
    for (const { tablet: name, claim, write, position: whole, isReleased } of shares) {
      const part = parts.get(name);
      const position = part ?? whole;
      const cause = leftOut.get(name);
      if (cause !== undefined) {
        if (cause !== null) this.#fail(name, write, cause);
        continue;
      }
      this.#committed.set(name, { claim, position, isReleased });
      const tablet = this.#tablets.get(name);
      if (tablet?.claim?.offset !== claim.offset) continue; // lost meanwhile
      tablet.position = position;
      tablet.isSettled = true;
      if (part) continue; // it goes on, unless nobody wants it any more
      if (write !== null && tablet.write?.id === write) this.#onWritten(name, tablet, write);
      if (isReleased) this.#onReleased(name, tablet);
      else if (!tablet.isReleased && tablet.write === null) this.#pending.delete(name);
    }
  }

  #onReleased(name: string, { isAwaited }: Tablet): void {
    this.#drop(name);
    this.#effects.push({ kind: 'released', tablet: name });
    if (isAwaited) this.#want(name);
  }

  /** How it ended the partition will tell, once our next epoch has made sure that it is over. */
  #onNotCommitted(
    shares: readonly Share[],
    { culprits, cause }: LaneEvent & { kind: 'not-committed' },
    nowMs: number,
  ): void {
    this.#transaction = null;
    this.#hasOpenEnd = true;
    this.#faultless = culprits === 'none' ? this.#faultless + 1 : 0;
    const isForAll = culprits === 'all' || this.#faultless > MAX_FAULTLESS;
    this.#close(isForAll ? { kind: 'resting', untilMs: nowMs + this.#limits.retryMs } : { kind: 'closed' });
    for (const { tablet: name, write } of shares) {
      const its = isForAll ? cause : culprits === 'none' ? undefined : culprits.get(name);
      if (its !== undefined) this.#fail(name, write, its);
    }
  }

  #fail(name: string, write: number | null, cause: Cause): void {
    const tablet = this.#tablets.get(name);
    if (!tablet?.write || tablet.write.id !== write) return;
    tablet.write = null;
    this.#effects.push({ kind: 'not-written', tablet: name, write, cause });
  }

  /** A round that is under way may have read before the next epoch is given out, so it begins again behind that. */
  #close(phase: Phase): void {
    this.#phase = phase;
    for (const name of this.#round?.tablets ?? []) {
      const tablet = this.#tablets.get(name);
      if (!tablet) continue;
      tablet.state = 'wanted';
      if (tablet.isReleased) this.#release(name);
    }
    this.#round = null;
  }

  #onFailed(call: number, cause: Cause, nowMs: number): void {
    const phase = this.#phase;
    if (this.#round?.call === call) {
      const { tablets } = this.#round;
      this.#round = null;
      for (const name of tablets) this.#notTaken(name, cause);
    } else if ((phase.kind === 'opening' || phase.kind === 'reading') && phase.call === call) {
      this.#close({ kind: 'resting', untilMs: nowMs + this.#limits.retryMs });
      for (const [name, tablet] of this.#tablets) {
        if (tablet.write) this.#effects.push({ kind: 'not-written', tablet: name, write: tablet.write.id, cause });
        tablet.write = null;
        if (tablet.isAwaited) this.#notTaken(name, cause);
      }
      if (this.#reopening !== 'no') this.#effects.push({ kind: 'not-reopened', cause });
      this.#reopening = 'no';
    }
  }

  /** What is held stays so: it was read that it is ours, and will be read again before anything is written. */
  #notTaken(name: string, cause: Cause): void {
    const tablet = this.#tablets.get(name);
    if (!tablet) return;
    if (tablet.isAwaited) this.#effects.push({ kind: 'not-taken', tablet: name, cause });
    tablet.isAwaited = false;
    if (tablet.state === 'held') return;
    this.#drop(name);
    if (tablet.isReleased) this.#effects.push({ kind: 'released', tablet: name });
  }

  #goOn(nowMs: number): void {
    const mayReopen = this.#phase.kind === 'open' && this.#transaction === null;
    if (this.#reopening === 'wanted' && mayReopen) this.#close({ kind: 'closed' });
    const phase = this.#phase;
    if (phase.kind === 'closed' || phase.kind === 'resting') {
      this.#forgetReleased();
      if (!this.#isNeeded() && !this.#hasOpenEnd && this.#reopening === 'no') return;
      if (phase.kind === 'resting' && nowMs < phase.untilMs) this.#due(phase.untilMs - nowMs);
      else this.#open();
    } else if (phase.kind === 'open') {
      this.#answer();
      this.#beginRound();
      this.#beginTransaction(nowMs);
    }
  }

  #open(): void {
    this.#phase = { kind: 'opening', call: this.#call((call) => ({ kind: 'open', call })) };
    if (this.#reopening === 'wanted') this.#reopening = 'under-way';
  }

  /** Whoever claims them next fences a lane that is not there: nothing is lost by not saying that they were given up. */
  #forgetReleased(): void {
    for (const [name, tablet] of this.#tablets) {
      if (!tablet.isReleased || tablet.state !== 'held') continue;
      if (tablet.isAwaited) tablet.isReleased = false;
      else this.#onReleased(name, tablet);
    }
  }

  #isNeeded(): boolean {
    for (const { state, isAwaited, write } of this.#tablets.values())
      if (isAwaited || write || state === 'wanted') return true;
    return false;
  }

  #answer(): void {
    for (const [name, tablet] of this.#tablets) {
      if (tablet.state !== 'held' || !tablet.isAwaited || this.#isInTransaction(name)) continue;
      tablet.isAwaited = false;
      tablet.isReleased = false; // a release that was left out of its transaction was meant for nobody
      this.#effects.push({ kind: 'taken', tablet: name, position: tablet.position });
    }
  }

  #beginRound(): void {
    if (this.#round) return;
    const tablets: string[] = [];
    for (const [name, { state }] of this.#tablets)
      if (state === 'wanted' && !this.#isInTransaction(name)) tablets.push(name); // where that ends is where it goes on
    if (tablets.length === 0) return;
    for (const name of tablets) this.#tablets.get(name)!.state = 'claiming';
    this.#round = { step: 'claim', call: this.#call((call) => ({ kind: 'claim', call, tablets })), tablets };
  }

  #beginTransaction(nowMs: number): void {
    if (this.#pending.size === 0) {
      this.#gatheringSinceMs = null;
      return;
    }
    this.#gatheringSinceMs ??= nowMs;
    if (this.#transaction) return;
    const { gapMsPerTablet, maxGapMs, lingerMsPerTablet, maxLingerMs } = this.#limits;
    const gapMs = Math.min(maxGapMs, gapMsPerTablet * this.#tablets.size);
    const lingerMs = Math.min(maxLingerMs, lingerMsPerTablet * this.#tablets.size);
    const waitMs = Math.max(this.#beganAtMs + gapMs, this.#gatheringSinceMs + lingerMs) - nowMs;
    if (waitMs > 0) {
      this.#due(waitMs);
      return;
    }
    const shares: Share[] = [];
    for (const name of this.#pending) {
      const { claim, write, position: from, isReleased, isSettled } = this.#tablets.get(name)!;
      if (!write && !isReleased && isSettled) {
        this.#pending.delete(name); // its write was cancelled
        continue;
      }
      const position = write ? carried(from, write.position) : from;
      const share = { write: write?.id ?? null, position, from, isReleased };
      shares.push({ tablet: name, claim: claim!, ...share });
    }
    this.#gatheringSinceMs = null;
    if (shares.length === 0) return;
    this.#beganAtMs = nowMs;
    this.#transaction = { call: this.#call((call) => ({ kind: 'transact', call })), shares };
  }

  #isInTransaction(name: string): boolean {
    return this.#transaction?.shares.some(({ tablet }) => tablet === name) ?? false;
  }

  #due(ms: number): void {
    this.#effects.push({ kind: 'due-in', ms });
  }

  #call(effect: (call: number) => LaneEffect): number {
    const call = ++this.#calls;
    this.#effects.push(effect(call));
    return call;
  }
}

/** What is there beyond a position stays there when the position moves, as long as it does not move past it. */
function carried(from: LanePosition | null, to: LanePosition): LanePosition {
  const isBeyond = from?.upTo && isSameReading(from, to) && from.upTo.index > to.at.opId.index;
  return isBeyond ? { ...to, upTo: from.upTo } : to;
}

function isAsFar(position: LanePosition, as: LanePosition): boolean {
  return position.generation === as.generation && comparePositions(position.at, as.at) >= 0;
}
