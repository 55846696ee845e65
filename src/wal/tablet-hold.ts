import { renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from '../util/logger.ts';
import { HeldIncarnations } from './held-incarnations.ts';
import type { HeldSegment } from './held-segment.ts';
import { makePrivateDir, replaceFile, syncDir, writeDurably } from './hold-files.ts';
import { HoldIncarnation } from './hold-incarnation.ts';
import type { HeldLog, HeldOrder } from './hold-order.ts';
import { HoldRelease, type LetGoUntil, type LostRange } from './hold-release.ts';
import { identify, isMissing, isSame, type DirIdentity } from './log-folder.ts';
import { encrypted } from './segment-cipher.ts';
import { serverKeyAbove } from './server-key.ts';

/** What is put before the name of a tablet's folder while it is being removed. */
export const DROPPED = '.dropped-';

/** Beside the incarnations: what {@link TabletHold.describe} keeps. */
export const NOTE_FILE = 'tablet.json';

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
  readonly #held: HeldIncarnations;
  readonly #release: HoldRelease;
  /** An incarnation that is known to be the folder's, inodes and all. */
  #checked: HoldIncarnation | null = null;
  #dropped = false;
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
    this.#held = new HeldIncarnations(found);
    this.#release = new HoldRelease(this.#held, { tabletId, dir }, options.logger);
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
    let incarnation = this.#held.newestOf(identity);
    if (incarnation !== null && incarnation !== this.#checked) {
      const agrees = incarnation.agreesWith(folderPath);
      if (!isSame(identify(folderPath), identity)) return false;
      if (!agrees) incarnation = null;
    }
    const wanted = incarnation === null ? sequenceNumbers : sequenceNumbers.filter((each) => incarnation?.wants(each));
    if (wanted.length > 0) {
      if (incarnation === null) {
        makePrivateDir(this.#dir);
        incarnation = HoldIncarnation.create(this.#dir, this.#held.nextNumber('own'), { kind: 'own', identity });
      }
      try {
        if (!incarnation.link(folderPath, wanted)) return false;
      } finally {
        // One without a segment is none: the one before would seem to have no writer any more.
        if (this.#held.newest !== incarnation && !incarnation.removeIfEmpty()) this.#held.add(incarnation);
      }
    }
    this.#checked = incarnation;
    return true;
  }

  /** What is held of the log in the folder as it is now, ascending; none when that is another folder. */
  segmentsOf(identity: DirIdentity): readonly HeldSegment[] {
    return this.#held.newestOf(identity)?.segments ?? [];
  }

  /** A reader of the log cannot read this file, held here under whatever number, to its end. */
  noteDamage(inode: bigint): void {
    const segment = this.#held.all.flatMap(({ segments }) => segments).find((each) => each.inode === inode);
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
    const { finished, current } = this.#held.inOrder(this.#held.newest);
    return current === null ? finished : [...finished, current];
  }

  /** The same, told apart by whether it is of the folder of that identity. @throws what the file system says */
  inOrder(identity: DirIdentity | null): HeldOrder {
    return this.#held.inOrder(identity === null ? null : this.#held.newestOf(identity));
  }

  /**
   * Lets go of what is done with: of each incarnation, from its oldest segment on, up to the first that has an index
   * above `index`, or that cannot be read. Cheap when nothing goes. Where a segment has to be read for it, as the last
   * of an incarnation that a crash ended, it goes on by itself after that.
   * @returns how many segments went at once
   */
  release(index: bigint): number {
    return this.#release.upTo(index);
  }

  /**
   * The bounded hold: lets go of the oldest segments until what is held is within limits, whether it is done with or
   * not. A segment that has to be read first, to know what is lost with it, goes at a later call.
   * @param until `maxBytes` as {@link bytes} has it, `maxAgeMs` against {@link oldestAtMs}; none, or 0, is no limit.
   *   `oldest`: so many of {@link letGoQueue}, whatever the limits say
   * @returns the lowest and the highest REPLICATE index in what went, or null when nothing went
   * @throws what the file system says
   */
  letGo(until: LetGoUntil, nowMs: number): LostRange | null {
    return this.#release.until(until, nowMs);
  }

  /** What {@link letGo} could let go of, in its order, and what the disk would get back with each. */
  letGoQueue(): readonly { readonly lastAppendMs: number; readonly freesBytes: number }[] {
    return this.#release.queue();
  }

  /**
   * Lets go of everything, the folder included, and ends: from the call on the tablet is not held, and nothing that is
   * under way puts anything back. The files go in the background; what a crash leaves of them goes at the next
   * `HoldStore.open`.
   */
  drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.#held.clear();
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
    let peer = this.#held.peers.find(({ origin }) => origin.kind === 'peer' && origin.name === name);
    if (peer === undefined) {
      makePrivateDir(this.#dir);
      peer = HoldIncarnation.create(this.#dir, this.#held.nextNumber('peer'), { kind: 'peer', name });
      this.#held.add(peer);
    }
    const arriving = peer.admit(sequenceNumber);
    try {
      // As the server's own: what it encrypts lies in no file of ours in the clear.
      const server = serverKeyAbove(arriving.path);
      if (server.kind === 'unknown') throw new Error(`another sidecar's log is not kept: ${server.why}`);
      const written = server.kind === 'key' ? encrypted(content, server.key) : content;
      await writeDurably(arriving.path, written, options.lastAppendMs);
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
    return this.#held.peers.flatMap(({ origin, segments }) =>
      origin.kind === 'peer' && origin.name.startsWith(prefix) ? [{ name: origin.name, segments }] : [],
    );
  }

  /** What the held segments take on disk, each file once, shared with the tablet server or not. */
  get bytes(): number {
    return this.#held.bytes;
  }

  /**
   * How many segments the log in the folder has from the first that is held on, that being written included; 0 when
   * none is held.
   */
  get logLength(): number {
    return this.#held.logLength;
  }

  /**
   * The age of what is held: when something was last written to the oldest held segment, in milliseconds since 1970 by
   * this machine's clock; null when nothing is held but the segment being written, which no limit concerns. A file
   * has no time of its linking that lasts: its ctime changes whenever log GC or we take one of its names. Its mtime does
   * last, and is the fairer measure: a segment that lay open for days is not old because of the first thing in it when
   * the last came a second ago.
   */
  get oldestAtMs(): number | null {
    return this.#release.oldestAtMs;
  }

  /** The lowest index with which something held begins, or null when no operation is held. */
  get firstIndex(): bigint | null {
    return this.#held.firstIndex;
  }

  #assertHeld(): void {
    if (this.#dropped) throw new Error(`tablet ${this.tabletId} is held no more`);
  }
}

let droppedCount = 0;
