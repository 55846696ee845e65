import type { Entry, Replica } from './tablet.ts';

interface Held {
  readonly entry: Entry;
  readonly committed: boolean;
}

/** `missing`: the log goes on after it, and it is nowhere; `ahead`: nothing has come there yet. */
export type Found = Held | 'missing' | 'ahead';

/**
 * The links to one replica's log, operation by operation: they outlive Spoor, the tablet server's GC, its restarts and
 * a copy of the replica made anew. Only a living sidecar makes new ones. Letting go has no segments to round to: one
 * operation too many shows at once.
 */
export class HeldLog {
  /** The lowest index that is held, if it was there to be held. */
  first = 1;
  #held: (Held | undefined)[] = [];
  /** Linked and committed, with nothing missing: not to be looked at again. */
  #done = { from: 1, to: 0 };
  /** Cannot be read, neither in the links nor in the tablet server's own log, which are the same files. */
  readonly #damaged = new Set<number>();

  /** Links what the tablet server has now. */
  mirror(replica: Replica): void {
    const from = Math.max(this.first, replica.first);
    if (from < this.#done.from || from > this.#done.to) this.#done = { from, to: from - 1 };
    for (let index = this.#done.to + 1; index <= replica.log.length; index++) {
      const held = this.#held[index];
      const committed = held?.committed === true || index <= replica.shown;
      if (held?.committed !== true) this.#held[index] = { entry: replica.log[index - 1]!, committed };
      if (committed && index === this.#done.to + 1) this.#done.to = index;
    }
  }

  /** A sidecar that starts links all that it finds, also what an earlier one had let go. */
  enable(replica: Replica): void {
    this.first = Math.min(this.first, replica.first);
    this.mirror(replica);
  }

  release(index: number): void {
    for (; this.first <= index; this.first++) this.#held[this.first] = undefined;
  }

  /** What is at an index, in the links and in the tablet server's own log read as one. */
  find(index: number, replica: Replica): Found {
    if (this.#damaged.has(index)) return 'missing';
    const held = index >= this.first ? this.#held[index] : undefined;
    if (held?.committed) return held;
    const entry = index >= replica.first ? replica.log[index - 1] : undefined;
    if (entry) return { entry, committed: index <= replica.shown };
    return index > replica.log.length ? 'ahead' : 'missing';
  }

  /** An operation goes bad on the disk; there is more behind it, or the log would seem to end there. */
  damage(index: number): void {
    this.#damaged.add(index);
  }

  isDamaged(index: number): boolean {
    return this.#damaged.has(index);
  }

  /** Takes operations from another sidecar's log, from `index` on up to where ours goes on. False: neither has the first. */
  fill(index: number, replica: Replica, other: Replica): boolean {
    let at = index;
    for (; this.find(at, replica) === 'missing'; at++) {
      const found = other.hold.find(at, other);
      if (typeof found === 'string' || !found.committed) break;
      this.first = Math.min(this.first, at);
      this.#damaged.delete(at);
      this.#held[at] = found;
    }
    return at > index || this.find(index, replica) !== 'missing';
  }
}
