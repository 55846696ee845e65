import type { HeldSegment } from './held-segment.ts';
import type { HoldIncarnation, IncarnationOrigin } from './hold-incarnation.ts';
import { orderHeld, type HeldOrder } from './hold-order.ts';
import type { DirIdentity } from './log-folder.ts';

/** The incarnations that are held of one tablet, its own and other sidecars', and the figures of all of them together. */
export class HeldIncarnations {
  #peers: HoldIncarnation[];
  #own: HoldIncarnation[];

  /** @param found what is there already */
  constructor(found: readonly HoldIncarnation[]) {
    const inOrder = found.toSorted((a, b) => a.number - b.number);
    this.#peers = inOrder.filter(({ origin }) => origin.kind === 'peer');
    this.#own = inOrder.filter(({ origin }) => origin.kind === 'own');
  }

  /** Those of other sidecars first, each kind in the order of its numbers. */
  get all(): readonly HoldIncarnation[] {
    return [...this.#peers, ...this.#own];
  }

  /** What came from other sidecars. */
  get peers(): readonly HoldIncarnation[] {
    return this.#peers;
  }

  /** The newest of the tablet's own folder: the one that is being written, as far as can be told from here. */
  get newest(): HoldIncarnation | null {
    return this.#own.at(-1) ?? null;
  }

  /** The segment that is being written. */
  get live(): HeldSegment | null {
    return this.newest?.segments.at(-1) ?? null;
  }

  /** The newest, where it is of the folder as it is now. */
  newestOf(identity: DirIdentity): HoldIncarnation | null {
    const { newest } = this;
    return newest?.isOf(identity) === true ? newest : null;
  }

  /** In the order in which it is to be read, each log from its start. @throws what the file system says */
  inOrder(current: HoldIncarnation | null): HeldOrder {
    return orderHeld(this.all, current);
  }

  /** What the next one of that kind is numbered. */
  nextNumber(kind: IncarnationOrigin['kind']): number {
    return ((kind === 'own' ? this.#own : this.#peers).at(-1)?.number ?? 0) + 1;
  }

  /** The newest of its kind from now on. */
  add(incarnation: HoldIncarnation): void {
    (incarnation.origin.kind === 'own' ? this.#own : this.#peers).push(incarnation);
  }

  /** Removes those that hold nothing. The one being written is never among them: its newest segment stays. */
  removeEmpty(): void {
    this.#peers = this.#peers.filter((incarnation) => !incarnation.removeIfEmpty());
    this.#own = this.#own.filter((incarnation) => !incarnation.removeIfEmpty());
  }

  /** None is held any more; their files are the caller's to remove. */
  clear(): void {
    this.#peers = [];
    this.#own = [];
  }

  /** What the held segments take on disk, each file once, shared with the tablet server or not. */
  get bytes(): number {
    const seen = new Set<bigint>();
    const { live } = this;
    let sum = 0;
    for (const { segments } of this.all)
      for (const segment of segments) {
        if (seen.has(segment.inode)) continue;
        seen.add(segment.inode);
        sum += segment.figures(segment !== live).bytes;
      }
    return sum;
  }

  /** How many segments the newest has from the first that is held on, that being written included; 0 when none is held. */
  get logLength(): number {
    const segments = this.newest?.segments ?? [];
    const [first, last] = [segments[0], segments.at(-1)];
    return first === undefined || last === undefined ? 0 : last.sequenceNumber - first.sequenceNumber + 1;
  }

  /** The lowest index with which something held begins, or null when no operation is held. */
  get firstIndex(): bigint | null {
    let lowest: bigint | null = null;
    for (const { segments } of this.all)
      for (const [i, segment] of segments.entries()) {
        const first = tryFirstIndex(segment, i + 1 < segments.length);
        if (first === null) continue;
        if (lowest === null || first < lowest) lowest = first;
        break;
      }
    return lowest;
  }
}

/** @param isFollowed by another one: then its footer says it, and no operation has to be read, which may be large */
function tryFirstIndex(segment: HeldSegment, isFollowed: boolean): bigint | null {
  try {
    return isFollowed && segment.isClosed() ? segment.range!.min : segment.firstIndex();
  } catch {
    return null; // a figure; who reads the log says what is wrong
  }
}
