import { renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from '../util/logger.ts';
import type { HeldSegment } from './held-segment.ts';
import { makePrivateDir, replaceFile, syncDir, writeDurably } from './hold-files.ts';
import { HoldIncarnation } from './hold-incarnation.ts';
import { orderHeld, type HeldLog, type HeldOrder } from './hold-order.ts';
import type { IndexRange } from './segment-indexes.ts';
import { identify, isMissing, isSame, type DirIdentity } from './log-folder.ts';

/** What is put before the name of a tablet's folder while it is being removed. */
export const DROPPED = '.dropped-';

/** Beside the incarnations: what {@link TabletHold.describe} keeps. */
export const NOTE_FILE = 'tablet.json';

/** REPLICATE indexes, both ends included, that may be held no more. */
export interface LostRange {
  readonly fromIndex: bigint;
  readonly toIndex: bigint;
}

/**
 * The held log of one tablet: a hard link to every segment from its birth, whatever becomes of the server's own, until
 * what is in it is done with (kudu-facts 0.2, 8.5). It is held from `HoldStore.enable` until {@link drop}, over restarts
 * of Spoor and of the server; linking is done by who watches the tablet's folder.
 *
 * The newest segment of the newest incarnation is the one that is being written: only {@link drop} lets go of it.
 */
export class TabletHold {
  readonly tabletId: string;
  /** What somebody wrote down of the tablet, see {@link describe}. */
  note: string | null;
  /** The last trouble with linking, until it works again: then the log is read, and is not held. */
  failure: Error | null = null;
  readonly #dir: string;
  readonly #logger: Logger | undefined;
  readonly #whyFull: () => string | null;
  readonly #onDrop: () => void;
  #peers: HoldIncarnation[];
  #own: HoldIncarnation[];
  /** An incarnation that is known to be the folder's, inodes and all. */
  #checked: HoldIncarnation | null = null;
  #dropped = false;
  /** The highest index that was asked to be let go up to. */
  #safe = -1n;
  readonly #scanning = new Set<HeldSegment>();
  #unreadable: HeldSegment | null = null;
  #noteFailed = false;
  #damagedCount = 0;

  /** Prefer `HoldStore.enable`. @param found what is in `dir` already */
  constructor(
    dir: string,
    tabletId: string,
    found: readonly HoldIncarnation[],
    options: {
      readonly note?: string | null;
      readonly whyFull: () => string | null;
      readonly logger?: Logger | undefined;
      readonly onDrop: () => void;
    },
  ) {
    this.note = options.note ?? null;
    this.tabletId = tabletId;
    this.#dir = dir;
    this.#logger = options.logger;
    this.#whyFull = options.whyFull;
    this.#onDrop = options.onDrop;
    const inOrder = found.toSorted((a, b) => a.number - b.number);
    this.#peers = inOrder.filter(({ origin }) => origin.kind === 'peer');
    this.#own = inOrder.filter(({ origin }) => origin.kind === 'own');
  }

  /**
   * Keeps a text with the held log, for whoever finds it when nobody else knows the tablet any more. Where the disk does
   * not take it, that is logged, and the next call tries again.
   */
  describe(note: string): void {
    if (this.#dropped || note === this.note) return;
    try {
      makePrivateDir(this.#dir);
      replaceFile(join(this.#dir, NOTE_FILE), note);
      this.note = note;
      this.#noteFailed = false;
    } catch (error) {
      if (!this.#noteFailed)
        this.#logger?.warn({ tabletId: this.tabletId, dir: this.#dir, error }, 'what a held log is of was not kept');
      this.#noteFailed = true;
    }
  }

  /**
   * Links those of the listed segments that are not held yet, as long as the folder is the one that was listed; what
   * log GC took in between is left out. What goes wrong otherwise is told in {@link failure} and logged: reading goes on.
   * @param identity of the folder when it was listed. Another one than before begins a new incarnation.
   * @returns false when the folder was exchanged since it was listed: then it is to be listed again
   */
  link(identity: DirIdentity, folderPath: string, sequenceNumbers: readonly number[]): boolean {
    try {
      const isSameFolder = this.#link(identity, folderPath, sequenceNumbers);
      this.failure = null;
      return isSameFolder;
    } catch (error) {
      if (this.failure === null)
        this.#logger?.error({ tabletId: this.tabletId, dir: this.#dir, error }, 'segments cannot be held');
      this.failure = error instanceof Error ? error : new Error(String(error));
      return isSame(identify(folderPath), identity);
    }
  }

  #link(identity: DirIdentity, folderPath: string, sequenceNumbers: readonly number[]): boolean {
    if (this.#dropped) return true;
    let incarnation = this.#newestOf(identity);
    if (incarnation !== null && incarnation !== this.#checked) {
      const agrees = incarnation.agreesWith(folderPath);
      if (!isSame(identify(folderPath), identity)) return false;
      if (!agrees) incarnation = null;
    }
    const wanted = incarnation === null ? sequenceNumbers : sequenceNumbers.filter((each) => incarnation?.wants(each));
    if (wanted.length > 0) {
      if (incarnation === null) {
        makePrivateDir(this.#dir);
        const number = (this.#own.at(-1)?.number ?? 0) + 1;
        incarnation = HoldIncarnation.create(this.#dir, number, { kind: 'own', identity });
      }
      try {
        if (!incarnation.link(folderPath, wanted)) return false;
      } finally {
        // One without a segment is none: the one before would seem to have no writer any more.
        if (this.#own.at(-1) !== incarnation && !incarnation.removeIfEmpty()) this.#own.push(incarnation);
      }
    }
    this.#checked = incarnation;
    return true;
  }

  /** What is held of the log in the folder as it is now, ascending; none when that is another folder. */
  segmentsOf(identity: DirIdentity): readonly HeldSegment[] {
    return this.#newestOf(identity)?.segments ?? [];
  }

  /** A reader of the log cannot read this file, held here under whatever number, to its end. */
  noteDamage(inode: bigint): void {
    const segment = this.#all.flatMap(({ segments }) => segments).find((each) => each.inode === inode);
    if (segment === undefined || segment.isDamaged) return;
    segment.isDamaged = true;
    this.#damagedCount++;
  }

  /**
   * How often damage was found that was not known. With each what is held may have got another order, in which it gives
   * more than it did to those who began to read before.
   */
  get damagedCount(): number {
    return this.#damagedCount;
  }

  /**
   * All that is held, in the order in which it is to be read, each log from its start; the one that is being written
   * comes last. @throws what the file system says
   */
  incarnations(): readonly HeldLog[] {
    const { finished, current } = orderHeld(this.#all, this.#own.at(-1) ?? null);
    return current === null ? finished : [...finished, current];
  }

  /** The same, told apart by whether it is of the folder of that identity. @throws what the file system says */
  inOrder(identity: DirIdentity | null): HeldOrder {
    return orderHeld(this.#all, identity === null ? null : this.#newestOf(identity));
  }

  /**
   * Lets go of what is done with: of each incarnation, from its oldest segment on, up to the first that has an index
   * above `index`, or that cannot be read. Cheap when nothing goes. Where a segment has to be read for it, as the last
   * of an incarnation that a crash ended, it goes on by itself after that.
   * @returns how many segments went at once
   */
  release(index: bigint): number {
    if (index > this.#safe) this.#safe = index;
    let count = 0;
    try {
      for (const incarnation of this.#all)
        for (let oldest = this.#oldestOf(incarnation); oldest !== null; oldest = this.#oldestOf(incarnation)) {
          const range = this.#rangeOf(oldest);
          if (range === null) break;
          if (!range.isWhole) this.#noteUnreadable(oldest.segment);
          if (!range.isWhole || (range.max ?? this.#safe) > this.#safe) break;
          this.#letGoOf(oldest);
          count++;
        }
    } catch (error) {
      this.#logger?.warn({ tabletId: this.tabletId, dir: this.#dir, error }, 'held segment cannot be let go');
    }
    return count;
  }

  /**
   * The bounded hold: lets go of the oldest segments until what is held is within limits, whether it is done with or
   * not. A segment that has to be read first, to know what is lost with it, goes at a later call.
   * @param until `maxBytes` as {@link bytes} has it, `maxAgeMs` against {@link oldestAtMs}; none, or 0, is no limit.
   *   `oldest`: so many of {@link letGoQueue}, whatever the limits say
   * @returns the lowest and the highest REPLICATE index in what went, or null when nothing went
   * @throws what the file system says
   */
  letGo(
    until: { readonly maxBytes?: number; readonly maxAgeMs?: number; readonly oldest?: number },
    nowMs: number,
  ): LostRange | null {
    const { maxBytes = 0, maxAgeMs = 0, oldest: wanted = 0 } = until;
    let lost: LostRange | null = null;
    let gone = 0;
    for (let oldest = this.#oldest(); oldest !== null; oldest = this.#oldest()) {
      const isTooMuch = maxBytes > 0 && this.bytes > maxBytes;
      const isTooOld = maxAgeMs > 0 && nowMs - oldest.segment.figures(true).lastAppendMs > maxAgeMs;
      const range = isTooMuch || isTooOld || gone < wanted ? this.#rangeOf(oldest) : null;
      if (range === null) break;
      this.#letGoOf(oldest);
      gone++;
      lost = widen(lost, range);
    }
    return lost;
  }

  /** What {@link letGo} could let go of, in its order, and what the disk would get back with each. */
  letGoQueue(): readonly { readonly lastAppendMs: number; readonly freesBytes: number }[] {
    const left = this.#all.map(({ segments }) => segments.filter((segment) => segment !== this.#live));
    const queue: { lastAppendMs: number; freesBytes: number }[] = [];
    const ageOf = ([next]: readonly HeldSegment[]): number => next!.figures(true).lastAppendMs;
    for (;;) {
      const open = left.filter((segments) => segments.length > 0);
      if (open.length === 0) return queue;
      const oldest = open.reduce((a, b) => (ageOf(b) < ageOf(a) ? b : a));
      queue.push({ lastAppendMs: ageOf(oldest), freesBytes: oldest.shift()!.freesBytes() });
    }
  }

  /**
   * Lets go of everything, the folder included, and ends: from the call on the tablet is not held, and nothing that is
   * under way puts anything back. The files go in the background; what a crash leaves of them goes at the next
   * `HoldStore.open`.
   */
  drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.#peers = [];
    this.#own = [];
    this.#onDrop();
    const aside = join(dirname(this.#dir), `${DROPPED}${this.tabletId}-${process.pid}-${++droppedCount}`);
    const noteFailure = (error: unknown): void => {
      if (!isMissing(error))
        this.#logger?.warn({ tabletId: this.tabletId, dir: this.#dir, error }, 'held log cannot be removed');
    };
    try {
      renameSync(this.#dir, aside); // out of the way in one step: the tablet may be held anew at once
    } catch (error) {
      noteFailure(error);
      return;
    }
    rm(aside, { recursive: true, force: true }).catch(noteFailure);
  }

  /**
   * Stores a segment of another sidecar's held log. Those of one `name` are one log, read before our own ones and let
   * go by the same rule; where a number is held already the new file takes its place. Followers that began before do
   * not see it.
   * Units:  `lastAppendMs`, of the peer's file, keeps its age; without it the segment counts as written now.
   * Errors: a {@link RangeError} for a name other than 1 to 100 of `A-Za-z0-9._-`; what `content` throws; what the
   *   file system says. Then nothing is kept.
   */
  async receive(
    name: string,
    sequenceNumber: number,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: { readonly lastAppendMs?: number } = {},
  ): Promise<void> {
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/.test(name)) throw new RangeError(`"${name}" is no name for a held log`);
    if (!Number.isSafeInteger(sequenceNumber) || sequenceNumber < 1)
      throw new RangeError(`${sequenceNumber} is no sequence number of a segment`);
    this.#assertHeld();
    const whyFull = this.#whyFull();
    if (whyFull !== null) throw new Error(`no room for another sidecar's log: ${whyFull}`);
    let peer = this.#peers.find(({ origin }) => origin.kind === 'peer' && origin.name === name);
    if (peer === undefined) {
      makePrivateDir(this.#dir);
      peer = HoldIncarnation.create(this.#dir, (this.#peers.at(-1)?.number ?? 0) + 1, { kind: 'peer', name });
      this.#peers.push(peer);
    }
    const arriving = peer.admit(sequenceNumber);
    try {
      await writeDurably(arriving.path, content, options.lastAppendMs);
      this.#assertHeld();
    } catch (error) {
      arriving.discard();
      throw error;
    }
    arriving.keep();
    await syncDir(peer.dir);
  }

  /** What {@link receive} has stored under names that begin with `prefix`, and is held still. */
  received(prefix: string): readonly { readonly name: string; readonly segments: readonly HeldSegment[] }[] {
    return this.#peers.flatMap(({ origin, segments }) =>
      origin.kind === 'peer' && origin.name.startsWith(prefix) ? [{ name: origin.name, segments }] : [],
    );
  }

  /** What the held segments take on disk, each file once, shared with the tablet server or not. */
  get bytes(): number {
    const seen = new Set<bigint>();
    const live = this.#live;
    let sum = 0;
    for (const { segments } of this.#all)
      for (const segment of segments) {
        if (seen.has(segment.inode)) continue;
        seen.add(segment.inode);
        sum += segment.figures(segment !== live).bytes;
      }
    return sum;
  }

  /**
   * How many segments the log in the folder has from the first that is held on, that being written included; 0 when
   * none is held.
   */
  get logLength(): number {
    const segments = this.#own.at(-1)?.segments ?? [];
    const [first, last] = [segments[0], segments.at(-1)];
    return first === undefined || last === undefined ? 0 : last.sequenceNumber - first.sequenceNumber + 1;
  }

  /**
   * The age of what is held: when something was last written to the oldest held segment, in milliseconds since 1970 by
   * this machine's clock; null when nothing is held but the segment being written, which no limit concerns. A file
   * has no time of its linking that lasts: its ctime changes whenever log GC or we take one of its names. Its mtime does
   * last, and is the fairer measure: a segment that lay open for days is not old because of the first thing in it when
   * the last came a second ago.
   */
  get oldestAtMs(): number | null {
    return this.#oldest()?.segment.figures(true).lastAppendMs ?? null;
  }

  /** The lowest index with which something held begins, or null when no operation is held. */
  get firstIndex(): bigint | null {
    let lowest: bigint | null = null;
    for (const { segments } of this.#all)
      for (const segment of segments) {
        const first = tryFirstIndex(segment);
        if (first === null) continue;
        if (lowest === null || first < lowest) lowest = first;
        break;
      }
    return lowest;
  }

  #assertHeld(): void {
    if (this.#dropped) throw new Error(`tablet ${this.tabletId} is held no more`);
  }

  #newestOf(identity: DirIdentity): HoldIncarnation | null {
    const newest = this.#own.at(-1);
    return newest?.isOf(identity) === true ? newest : null;
  }

  get #all(): readonly HoldIncarnation[] {
    return [...this.#peers, ...this.#own];
  }

  /** The segment that is being written, as far as can be told from here. */
  get #live(): HeldSegment | null {
    return this.#own.at(-1)?.segments.at(-1) ?? null;
  }

  /** What would go next of all: that which was written first. */
  #oldest(): Oldest | null {
    let oldest: Oldest | null = null;
    for (const incarnation of this.#all) {
      const next = this.#oldestOf(incarnation);
      if (next === null) continue;
      const isOlder =
        oldest === null || next.segment.figures(true).lastAppendMs < oldest.segment.figures(true).lastAppendMs;
      if (isOlder) oldest = next;
    }
    return oldest;
  }

  /** What would go next of it; null when that is the one being written, or there is none. */
  #oldestOf(incarnation: HoldIncarnation): Oldest | null {
    const [segment] = incarnation.segments;
    return segment === undefined || segment === this.#live ? null : { incarnation, segment };
  }

  /** Null when it has to be read for that, which begins here. */
  #rangeOf({ incarnation, segment }: Oldest): IndexRange | null {
    if (incarnation.segments.length > 1) segment.isClosed(); // then its range is known
    const { range } = segment;
    if (range === null && !this.#scanning.has(segment)) {
      this.#scanning.add(segment);
      segment
        .scan()
        .then(() => this.release(this.#safe))
        .catch((error: unknown) => {
          const fields = { tabletId: this.tabletId, path: segment.path, error };
          this.#logger?.warn(fields, 'held segment cannot be read, or not be let go of');
        })
        .finally(() => this.#scanning.delete(segment));
    }
    return range;
  }

  #letGoOf({ incarnation, segment }: Oldest): void {
    rmSync(segment.path, { force: true });
    incarnation.shift();
    this.#removeEmpty();
  }

  /** The incarnation being written is never among them: its newest segment stays. */
  #removeEmpty(): void {
    this.#peers = this.#peers.filter((incarnation) => !incarnation.removeIfEmpty());
    this.#own = this.#own.filter((incarnation) => !incarnation.removeIfEmpty());
  }

  #noteUnreadable(segment: HeldSegment): void {
    if (this.#unreadable === segment) return;
    this.#unreadable = segment;
    this.#logger?.error(
      { tabletId: this.tabletId, path: segment.path },
      'held segment cannot be read, it and what follows it stays held',
    );
  }
}

interface Oldest {
  readonly incarnation: HoldIncarnation;
  readonly segment: HeldSegment;
}

let droppedCount = 0;

function tryFirstIndex(segment: HeldSegment): bigint | null {
  try {
    return segment.firstIndex();
  } catch {
    return null; // a figure; who reads the log says what is wrong
  }
}

function widen(lost: LostRange | null, { min, max }: IndexRange): LostRange | null {
  if (min === null || max === null) return lost;
  return {
    fromIndex: lost === null || min < lost.fromIndex ? min : lost.fromIndex,
    toIndex: lost === null || max > lost.toIndex ? max : lost.toIndex,
  };
}
