import { comparePositions, isUpTo } from '../../../change/position.ts';
import type { Cause, LaneEffect, LaneEvent, Share } from './lane-events.ts';
import {
  isSameReading,
  type ClaimRef,
  type LaneId,
  type LanePosition,
  type PositionsView,
  type StoredPosition,
} from './positions-view.ts';

/** What whoever ships a tablet is told. */
type TabletEffect = Extract<LaneEffect, { readonly tablet: string }>;

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

/**
 * The tablets of a lane: which are held, under which claims, what each wants of the next transaction, and what the one that is
 * under way has of them. Pure, as lane-core.ts is, which says when claims and transactions begin.
 */
export class LaneTablets {
  readonly #lane: LaneId;
  readonly #view: Pick<PositionsView, 'newestClaim' | 'storedOf'>;
  readonly #tell: (effect: TabletEffect) => void;
  readonly #tablets = new Map<string, Tablet>();
  /** Those that want to be in the next transaction. */
  readonly #pending = new Set<string>();
  /** What the transaction that is under way has. */
  #shares: readonly Share[] = [];
  /**
   * What this lane has committed, by tablet: Kafka answers before its marker is in the partition, so whoever reads there may
   * still miss it.
   */
  readonly #committed = new Map<string, StoredPosition>();

  /** @param view what the positions partition says, as far as it was read */
  constructor(
    lane: LaneId,
    view: Pick<PositionsView, 'newestClaim' | 'storedOf'>,
    tell: (effect: TabletEffect) => void,
  ) {
    this.#lane = lane;
    this.#view = view;
    this.#tell = tell;
  }

  get size(): number {
    return this.#tablets.size;
  }

  /** Whether some want to be in the next transaction. */
  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  /** Whether anybody wants anything of the lane. */
  get isNeeded(): boolean {
    for (const { state, isAwaited, write } of this.#tablets.values())
      if (isAwaited || write || state === 'wanted') return true;
    return false;
  }

  /** See `LaneCore.positionOf`. */
  positionOf(name: string): LanePosition | null | undefined {
    return this.#lastOf(name)?.position;
  }

  want(name: string): void {
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

  release(name: string): void {
    const tablet = this.#tablets.get(name);
    if (!tablet || tablet.state === 'wanted') {
      this.#drop(name);
      this.#tell({ kind: 'released', tablet: name });
      return;
    }
    tablet.isAwaited = false;
    tablet.isReleased = true;
    tablet.write = null;
    if (tablet.state === 'held') this.#pending.add(name);
  }

  write({ tablet: name, write, position }: LaneEvent & { kind: 'write' }): void {
    const tablet = this.#tablets.get(name);
    if (tablet?.state !== 'held') {
      const cause = new Error('the tablet is not held any more; it is to be opened again');
      this.#tell({ kind: 'not-written', tablet: name, write, cause });
      return;
    }
    tablet.write = { id: write, position };
    this.#pending.add(name);
  }

  cancel(name: string, write: number): void {
    const tablet = this.#tablets.get(name);
    if (tablet?.write?.id === write) tablet.write = null;
  }

  /** Another lane has claimed it. Whoever did so behind us is going to fence us: the sooner we stop the better. */
  claimedBy(lane: LaneId, name: string, offset: bigint): void {
    const tablet = this.#tablets.get(name);
    if (tablet?.state === 'held' && offset > tablet.claim!.offset) this.#lose(name, lane);
  }

  /** Those that are to be claimed now; from then on it is under way. */
  beginClaims(): readonly string[] {
    const names: string[] = [];
    for (const [name, { state }] of this.#tablets)
      if (state === 'wanted' && !this.#isInTransaction(name)) names.push(name); // where that ends is where it goes on
    for (const name of names) this.#tablets.get(name)!.state = 'claiming';
    return names;
  }

  claimed(names: readonly string[], offsets: ReadonlyMap<string, bigint>): void {
    for (const name of names) {
      const tablet = this.#tablets.get(name);
      const offset = offsets.get(name);
      if (tablet?.state === 'claiming' && offset !== undefined) tablet.claim = { lane: this.#lane, offset };
    }
  }

  /** Whether it is still the one whose claim is under way: it may have been given up since, and wanted anew. */
  isClaiming(name: string): boolean {
    return this.#tablets.get(name)?.state === 'claiming';
  }

  /** Whether no newer claim than ours was read; else the tablet is lost. */
  isOurs(name: string): boolean {
    const tablet = this.#tablets.get(name);
    const newest = this.#view.newestClaim(name);
    if (tablet?.claim && newest?.offset === tablet.claim.offset) return true;
    if (tablet) this.#lose(name, newest?.lane ?? 'nobody');
    return false;
  }

  /** All that others may have written for them is over, and was read. */
  hold(names: readonly string[]): void {
    for (const name of names) {
      const tablet = this.#tablets.get(name)!;
      tablet.state = 'held';
      tablet.position = this.#lastOf(name)?.position ?? null;
      tablet.isSettled = false;
      this.#pending.add(name);
    }
  }

  /** Their claims came to nothing, through no fault of theirs, and are to be made once more. */
  claimAgain(names: readonly string[]): void {
    for (const name of names) {
      const tablet = this.#tablets.get(name);
      if (!tablet) continue;
      tablet.state = 'wanted';
      if (tablet.isReleased) this.release(name);
    }
  }

  /** What is held stays so: it was read that it is ours, and will be read again before anything is written. */
  notTaken(name: string, cause: Cause): void {
    const tablet = this.#tablets.get(name);
    if (!tablet) return;
    if (tablet.isAwaited) this.#tell({ kind: 'not-taken', tablet: name, cause });
    tablet.isAwaited = false;
    if (tablet.state === 'held') return;
    this.#drop(name);
    if (tablet.isReleased) this.#tell({ kind: 'released', tablet: name });
  }

  /** The lane could not be opened: whoever waits for anything is told. */
  notOpened(cause: Cause): void {
    for (const [name, tablet] of this.#tablets) {
      if (tablet.write) this.#tell({ kind: 'not-written', tablet: name, write: tablet.write.id, cause });
      tablet.write = null;
      if (tablet.isAwaited) this.notTaken(name, cause);
    }
  }

  /** A new epoch is ours, and all that was claimed before it is known: what another has claimed since is given up. */
  opened(): void {
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

  /** Whoever waits for what is held is told where it stands. */
  answer(): void {
    for (const [name, tablet] of this.#tablets) {
      if (tablet.state !== 'held' || !tablet.isAwaited || this.#isInTransaction(name)) continue;
      tablet.isAwaited = false;
      tablet.isReleased = false; // a release that was left out of its transaction was meant for nobody
      this.#tell({ kind: 'taken', tablet: name, position: tablet.position });
    }
  }

  /** Whoever claims them next fences a lane that is not there: nothing is lost by not saying that they were given up. */
  forgetReleased(): void {
    for (const [name, tablet] of this.#tablets) {
      if (!tablet.isReleased || tablet.state !== 'held') continue;
      if (tablet.isAwaited) tablet.isReleased = false;
      else this.#onReleased(name, tablet);
    }
  }

  /** As {@link forgetReleased}, of those whose claim is under way while no epoch is ours. */
  forgetReleasedClaims(): void {
    for (const [name, tablet] of this.#tablets)
      if (tablet.isReleased && tablet.state === 'claiming') this.#onReleased(name, tablet);
  }

  /** What the next transaction has, by what is wanted now; that one is under way from then on. @returns whether it has anything */
  gather(): boolean {
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
    this.#shares = shares;
    return shares.length > 0;
  }

  /** See `LaneCore.begin`. */
  begin(): readonly Share[] {
    this.#shares = this.#shares.filter(({ tablet: name, claim, write }) => {
      const tablet = this.#tablets.get(name);
      return tablet?.claim?.offset === claim.offset && (write === null || tablet.write?.id === write);
    });
    return this.#shares;
  }

  /** The transaction that was under way is. */
  committed({ leftOut, parts }: LaneEvent & { kind: 'committed' }): void {
    for (const { tablet: name, claim, write, position: whole, isReleased } of this.#takeShares()) {
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

  /** Nobody knows how the transaction that was under way has ended. @param causeOf for whom it failed; all others are in the next */
  notCommitted(causeOf: (name: string) => Cause | undefined): void {
    for (const { tablet: name, write } of this.#takeShares()) {
      const cause = causeOf(name);
      if (cause !== undefined) this.#fail(name, write, cause);
    }
  }

  #takeShares(): readonly Share[] {
    const shares = this.#shares;
    this.#shares = [];
    return shares;
  }

  #lose(name: string, to: LaneId): void {
    this.#drop(name);
    this.#tell({ kind: 'lost', tablet: name, to });
  }

  #drop(name: string): void {
    this.#tablets.delete(name);
    this.#pending.delete(name);
  }

  #onWritten(name: string, tablet: Tablet, write: number): void {
    tablet.write = null;
    this.#tell({ kind: 'written', tablet: name, write });
  }

  #onReleased(name: string, { isAwaited }: Tablet): void {
    this.#drop(name);
    this.#tell({ kind: 'released', tablet: name });
    if (isAwaited) this.want(name);
  }

  #fail(name: string, write: number | null, cause: Cause): void {
    const tablet = this.#tablets.get(name);
    if (!tablet?.write || tablet.write.id !== write) return;
    tablet.write = null;
    this.#tell({ kind: 'not-written', tablet: name, write, cause });
  }

  /** The last word on a tablet: claims are in the order of their offsets, and under one there is but one writer. */
  #lastOf(name: string): StoredPosition | null {
    const stored = this.#view.storedOf(name);
    const own = this.#committed.get(name) ?? null;
    if (!stored || !own) return stored ?? own;
    return own.claim.offset >= stored.claim.offset ? own : stored;
  }

  #isInTransaction(name: string): boolean {
    return this.#shares.some(({ tablet }) => tablet === name);
  }
}

/** What is there beyond a position stays there when the position moves, as long as it does not move past it. */
function carried(from: LanePosition | null, to: LanePosition): LanePosition {
  if (!from?.upTo || !isSameReading(from, to) || from.upTo.index <= to.at.opId.index) return to;
  const isPassed = to.at.upTo !== undefined && isUpTo(from.upTo, to.at.upTo);
  return isPassed ? to : { ...to, upTo: from.upTo };
}

function isAsFar(position: LanePosition, as: LanePosition): boolean {
  return position.generation === as.generation && comparePositions(position.at, as.at) >= 0;
}
