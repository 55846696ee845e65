import type { Cause, LaneEffect, LaneEvent, Share } from './lane-events.ts';
import { LaneTablets } from './lane-tablets.ts';
import { PositionsView, type Decision, type LaneId, type LanePosition, type PositionsEntry } from './positions-view.ts';

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
 * A round that is under way then stands, and is seen anew behind that: its claims count on, and so do its fences. If it claimed
 * anew, two lanes that want one another's tablets could make each other begin again for ever.
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

interface Round {
  /** `stand`: its claims are made, and it goes on when our epoch is new. */
  readonly step: 'claim' | 'see' | 'fence' | 'read' | 'stand';
  readonly call: number;
  readonly tablets: readonly string[];
  /** Fenced behind our claims: of those tablets they write nothing more, whatever epoch is ours by then. */
  readonly fenced: readonly LaneId[];
}

/** The call of nothing: no answer has it. */
const NO_CALL = 0;

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
  readonly #view = new PositionsView();
  readonly #tablets: LaneTablets;
  #phase: Phase = { kind: 'closed' };
  #round: Round | null = null;
  /** The call of the one that is under way. */
  #transaction: number | null = null;
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
    this.#tablets = new LaneTablets(id, this.#view, (effect) => {
      this.#effects.push(effect);
    });
  }

  /** Whether it reads what was claimed before its epoch was given out. */
  get isReopening(): boolean {
    return this.#phase.kind === 'reading';
  }

  /** What the sink has of a tablet by the last word that is known; null: nothing; undefined: nothing is known of it. */
  positionOf(tablet: string): LanePosition | null | undefined {
    return this.#tablets.positionOf(tablet);
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
    return this.#transaction === call ? this.#tablets.begin() : [];
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
        this.#tablets.want(event.tablet);
        return;
      case 'release':
        this.#tablets.release(event.tablet);
        return;
      case 'write':
        this.#tablets.write(event);
        return;
      case 'cancel':
        this.#tablets.cancel(event.tablet, event.write);
        return;
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
        if (this.#round?.call === event.call) this.#onClaimed(this.#round, event.offsets);
        return;
      case 'fenced':
        if (this.#round?.call === event.call) this.#readIn(this.#round, 'read');
        return;
      case 'committed':
        if (this.#transaction === event.call) this.#onCommitted(event);
        return;
      case 'not-committed':
        if (this.#transaction === event.call) this.#onNotCommitted(event, nowMs);
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

  #see(entry: PositionsEntry): void {
    this.#view.add(entry);
    if (entry.kind === 'claim' && entry.lane !== this.id)
      this.#tablets.claimedBy(entry.lane, entry.tablet, entry.offset);
  }

  /** The epoch is ours, and all that was claimed before it is known. */
  #onRead(): void {
    this.#phase = { kind: 'open' };
    if (this.#reopening === 'under-way') {
      this.#reopening = 'no';
      this.#effects.push({ kind: 'reopened' });
    }
    this.#tablets.opened();
  }

  #onClaimed(round: Round, offsets: ReadonlyMap<string, bigint>): void {
    this.#tablets.claimed(round.tablets, offsets);
    this.#readIn(round, 'see');
  }

  /** What was read before our epoch is new would say nothing of it. */
  #readIn(round: Round, step: 'see' | 'read'): void {
    const isOpen = this.#phase.kind === 'open';
    const call = isOpen ? this.#call((number) => ({ kind: 'read', call: number })) : NO_CALL;
    this.#round = { ...round, step: isOpen ? step : 'stand', call };
  }

  #onRoundRead(round: Round): void {
    const ours = round.tablets.filter((name) => {
      if (!this.#tablets.isClaiming(name)) return false; // given up meanwhile
      const fault = this.#view.faultOf(name);
      if (fault === null) return this.#tablets.isOurs(name);
      this.#tablets.notTaken(name, fault);
      return false;
    });
    const lanes = [...new Set(ours.flatMap((name) => this.#view.mayWrite(name, this.id)))].filter(
      (lane) => !round.fenced.includes(lane),
    );
    if (lanes.length > 0) {
      const call = this.#call((number) => ({ kind: 'fence', call: number, lanes }));
      this.#round = { step: 'fence', call, tablets: ours, fenced: [...round.fenced, ...lanes] };
      return;
    }
    this.#round = null;
    this.#tablets.hold(ours);
  }

  #onCommitted(event: LaneEvent & { kind: 'committed' }): void {
    this.#transaction = null;
    this.#faultless = 0;
    this.#tablets.committed(event);
  }

  /** How it ended the partition will tell, once our next epoch has made sure that it is over. */
  #onNotCommitted({ culprits, cause }: LaneEvent & { kind: 'not-committed' }, nowMs: number): void {
    this.#transaction = null;
    this.#hasOpenEnd = true;
    this.#faultless = culprits === 'none' ? this.#faultless + 1 : 0;
    const isForAll = culprits === 'all' || this.#faultless > MAX_FAULTLESS;
    this.#close(isForAll ? { kind: 'resting', untilMs: nowMs + this.#limits.retryMs } : { kind: 'closed' });
    this.#tablets.notCommitted((name) => (isForAll ? cause : culprits === 'none' ? undefined : culprits.get(name)));
  }

  /** A round that is under way may have read before the next epoch is given out, so it reads again behind that. */
  #close(phase: Phase): void {
    this.#phase = phase;
    const round = this.#round;
    if (round && (round.step === 'see' || round.step === 'read')) this.#readIn(round, round.step);
  }

  /** As {@link #close}, where nobody knows for how long: who waits is told, and asks anew. */
  #giveUp(phase: Phase): void {
    this.#phase = phase;
    this.#tablets.claimAgain(this.#round?.tablets ?? []);
    this.#round = null;
  }

  #onFailed(call: number, cause: Cause, nowMs: number): void {
    const phase = this.#phase;
    if (this.#round?.call === call) {
      const { tablets } = this.#round;
      this.#round = null;
      for (const name of tablets) this.#tablets.notTaken(name, cause);
    } else if ((phase.kind === 'opening' || phase.kind === 'reading') && phase.call === call) {
      this.#giveUp({ kind: 'resting', untilMs: nowMs + this.#limits.retryMs });
      this.#tablets.notOpened(cause);
      if (this.#reopening !== 'no') this.#effects.push({ kind: 'not-reopened', cause });
      this.#reopening = 'no';
    }
  }

  #goOn(nowMs: number): void {
    const mayReopen = this.#phase.kind === 'open' && this.#transaction === null;
    if (this.#reopening === 'wanted' && mayReopen) this.#close({ kind: 'closed' });
    const phase = this.#phase;
    if (phase.kind !== 'open') this.#tablets.forgetReleasedClaims();
    if (phase.kind === 'closed' || phase.kind === 'resting') {
      this.#tablets.forgetReleased();
      if (!this.#tablets.isNeeded && !this.#hasOpenEnd && this.#reopening === 'no') return;
      if (phase.kind === 'resting' && nowMs < phase.untilMs) this.#due(phase.untilMs - nowMs);
      else this.#open();
    } else if (phase.kind === 'open') {
      this.#tablets.answer();
      if (this.#round?.step === 'stand') this.#readIn(this.#round, 'see');
      this.#beginRound();
      this.#beginTransaction(nowMs);
    }
  }

  #open(): void {
    this.#phase = { kind: 'opening', call: this.#call((call) => ({ kind: 'open', call })) };
    if (this.#reopening === 'wanted') this.#reopening = 'under-way';
  }

  #beginRound(): void {
    if (this.#round) return;
    const tablets = this.#tablets.beginClaims();
    if (tablets.length === 0) return;
    const call = this.#call((number) => ({ kind: 'claim', call: number, tablets }));
    this.#round = { step: 'claim', call, tablets, fenced: [] };
  }

  #beginTransaction(nowMs: number): void {
    if (!this.#tablets.hasPending) {
      this.#gatheringSinceMs = null;
      return;
    }
    this.#gatheringSinceMs ??= nowMs;
    if (this.#transaction !== null) return;
    const { gapMsPerTablet, maxGapMs, lingerMsPerTablet, maxLingerMs } = this.#limits;
    const gapMs = Math.min(maxGapMs, gapMsPerTablet * this.#tablets.size);
    const lingerMs = Math.min(maxLingerMs, lingerMsPerTablet * this.#tablets.size);
    const waitMs = Math.max(this.#beganAtMs + gapMs, this.#gatheringSinceMs + lingerMs) - nowMs;
    if (waitMs > 0) {
      this.#due(waitMs);
      return;
    }
    this.#gatheringSinceMs = null;
    if (!this.#tablets.gather()) return;
    this.#beganAtMs = nowMs;
    this.#transaction = this.#call((call) => ({ kind: 'transact', call }));
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
