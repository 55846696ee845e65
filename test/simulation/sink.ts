import type { TabletPosition } from '../../src/change/position.ts';
import type { Entry } from './tablet.ts';
import type { Invariants } from './invariants.ts';
import type { Random } from './random.ts';

/**
 * - `exactly-once`: records and position in one transaction;
 * - `at-least-once`: records one by one, the position follows now and then;
 * - `no-position`: as before, and the sink keeps none: only markers tell.
 */
export type Delivery = 'exactly-once' | 'at-least-once' | 'no-position';

export type SinkAnswer = 'done' | 'fenced' | 'unavailable';

interface OpenWrite {
  readonly epoch: number;
  readonly ops: readonly Entry[];
  /** What the writer has asked to commit, of which it may never hear. */
  asked: TabletPosition | null;
}

/** One tablet of one stream in its sink: what a broker keeps, whoever writes. */
export class SimSink {
  readonly generation: string;
  readonly delivery: Delivery;
  isDown = false;
  epoch = 0;
  position: TabletPosition | null = null;
  readonly #random: Random;
  readonly #invariants: Invariants;
  readonly #fences: boolean;
  /** By epoch; more than one only where nothing fences. */
  readonly #open = new Map<number, OpenWrite>();

  constructor(
    generation: string,
    delivery: Delivery,
    { random, invariants, fences }: { random: Random; invariants: Invariants; fences: boolean },
  ) {
    this.generation = generation;
    this.delivery = delivery;
    this.#random = random;
    this.#invariants = invariants;
    this.#fences = fences;
  }

  /** Fences every earlier writer; a commit that was on its way has arrived, or has not. */
  open(): { readonly epoch: number; readonly position: TabletPosition | null } | 'unavailable' {
    if (this.isDown) return 'unavailable';
    if (this.#fences) {
      for (const left of this.#open.values())
        if (left.asked && this.#random.chance(0.5)) {
          this.#invariants.saw('a write was committed though nobody heard of it');
          this.#commit(left, left.asked);
        } else this.#invariants.saw('a write was aborted by a successor');
      this.#open.clear();
    }
    return { epoch: ++this.epoch, position: this.delivery === 'no-position' ? null : this.position };
  }

  /** Some operations' records: visible at once, or once they are committed. */
  append(epoch: number, ops: readonly Entry[]): SinkAnswer {
    const refusal = this.#refusal(epoch);
    if (refusal) return refusal;
    if (this.delivery === 'exactly-once') this.#open.set(epoch, { epoch, ops, asked: null });
    else for (const op of ops) this.#invariants.delivered(this, op, epoch);
    return 'done';
  }

  /** The writer's wish to commit is on its way; from now on it may come true without an answer. */
  askToCommit(epoch: number, position: TabletPosition): void {
    const open = this.#open.get(epoch);
    if (open) open.asked = position;
  }

  commit(epoch: number, position: TabletPosition): SinkAnswer {
    const refusal = this.#refusal(epoch);
    if (refusal) return refusal;
    const open = this.#open.get(epoch);
    if (!open) return 'unavailable'; // aborted meanwhile
    this.#open.delete(epoch);
    this.#commit(open, position);
    return 'done';
  }

  abort(epoch: number): void {
    if (!this.#refusal(epoch)) this.#open.delete(epoch);
  }

  savePosition(epoch: number, position: TabletPosition): SinkAnswer {
    const refusal = this.#refusal(epoch);
    if (refusal) return refusal;
    this.#setPosition(position);
    return 'done';
  }

  #commit(write: OpenWrite, position: TabletPosition): void {
    for (const op of write.ops) this.#invariants.delivered(this, op, write.epoch);
    this.#setPosition(position);
  }

  #setPosition(position: TabletPosition): void {
    this.position = position;
    this.#invariants.positionStored(this, position);
  }

  #refusal(epoch: number): SinkAnswer | null {
    if (this.isDown) return 'unavailable';
    if (!this.#fences || epoch === this.epoch) return null;
    this.#invariants.saw('an older writer was fenced');
    return 'fenced';
  }
}
