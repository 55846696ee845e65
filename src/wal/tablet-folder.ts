import { watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../util/logger.ts';
import { FolderSource } from './folder-source.ts';
import type { HeldSegment } from './held-segment.ts';
import type { HoldStore } from './hold-store.ts';
import { LocalSegment } from './local-segment.ts';
import { identify, isMissing, isSame, listLog, segmentName, type DirIdentity } from './log-folder.ts';
import type { SegmentSource } from './segment-source.ts';
import type { TabletHold } from './tablet-hold.ts';

/** How often a folder is looked at that the system does not tell about: it would be late by the watcher's own poll. */
const UNWATCHED_POLL_MS = 100;

/**
 * One tablet's folder below `wals/`, for all who follow it. It opens each segment when it appears, so that neither log
 * GC nor the tablet's end can take it away, and notices when the folder is another one than before: a restart rewrites
 * the log, a tablet copy brings a new one (kudu-facts 4.5).
 *
 * Where the tablet is held, a segment is linked when it appears, before anything else, and opened when its turn to be
 * read comes; and who begins to follow gets what is held of earlier logs first.
 */
export class TabletFolder {
  readonly tabletId: string;
  readonly #path: string;
  readonly #logger: Logger | undefined;
  readonly #holds: HoldStore | undefined;
  readonly #sources = new Set<FolderSource>();
  readonly #onUnused: () => void;
  #watcher: FSWatcher | null = null;
  #instead: NodeJS.Timeout | null = null;
  #dir: DirIdentity | null = null;
  /** Segments that somebody may still read, of the log as it is now. */
  readonly #segments = new Map<number, LocalSegment>();

  constructor(
    walsDir: string,
    tabletId: string,
    options: { logger?: Logger | undefined; hold?: HoldStore | undefined; onUnused: () => void },
  ) {
    this.tabletId = tabletId;
    this.#path = join(walsDir, tabletId);
    this.#logger = options.logger;
    this.#holds = options.hold;
    this.#onUnused = options.onUnused;
  }

  /** Begins to follow the log, from its lowest segment, what is held included. */
  follow(): SegmentSource {
    const source = new FolderSource(this.tabletId, {
      openHeld: (segment, identity) => this.#openHeld(segment, identity),
      onDamage: ({ inode }) => this.#hold?.noteDamage(inode),
      onDispose: () => {
        this.#sources.delete(source);
        if (this.#sources.size > 0) return;
        this.#forget();
        this.#onUnused();
      },
    });
    this.#sources.add(source);
    this.look();
    return source;
  }

  /** Looks at the folder, takes up what is new, and tells everybody to look at their segments. */
  look(): void {
    try {
      while (!this.#lookOnce());
      this.#dropReleased();
      for (const source of this.#sources) source.wake();
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      for (const source of this.#sources) source.wake(failure);
    }
  }

  /**
   * Looks for what the system should have told and did not, if there can be something: not while all who read the log rest
   * at its end. It goes on in another segment only when the one that is being written has got its footer. That the folder is
   * exchanged, or goes, shows in the folder that it is in: this is the caller's to see.
   */
  lookForLost(): void {
    if (!this.#rests()) this.look();
  }

  #rests(): boolean {
    if (this.#hold?.failure) return false; // what could not be linked is tried again
    try {
      for (const source of this.#sources) if (!source.rests) return false;
    } catch {
      return false; // who reads it says what is wrong
    }
    return true;
  }

  get #hold(): TabletHold | null {
    return this.#holds?.get(this.tabletId) ?? null;
  }

  /** @returns false when the folder was exchanged meanwhile: then nothing was taken up, and it is to be looked at again */
  #lookOnce(): boolean {
    const dir = identify(this.#path);
    if (dir === null) {
      this.#leave();
      this.#giveHistory(null);
      // Set aside for a restart: the new log is about to appear.
      if (identify(`${this.#path}.recovery`) !== null) return true;
      if (identify(this.#path) !== null) return false;
      for (const source of this.#sources) source.setGone();
      return true;
    }
    if (!isSame(dir, this.#dir)) {
      this.#leave();
      this.#dir = dir;
      this.#watch(); // before listing: what comes later is announced
    }
    const listed = listLog(this.#path);
    if (listed === null) return false;
    const sequenceNumbers = listed.isReadable ? listed.sequenceNumbers : [];
    const hold = this.#hold;
    if (hold !== null && sequenceNumbers.length > 0 && !hold.link(dir, this.#path, sequenceNumbers)) return false;
    const held = hold?.segmentsOf(dir) ?? [];
    const opened = this.#open(sequenceNumbers, held);
    try {
      if (!isSame(identify(this.#path), dir)) return false;
      for (const segment of opened) this.#segments.set(segment.sequenceNumber, segment);
      this.#giveHistory(dir);
      this.#announce(sequenceNumbers, held, dir);
      return true;
    } finally {
      for (const segment of opened) segment.release(); // whoever wants it holds it by now
    }
  }

  /** Opens what somebody has not yet got and that nothing else keeps. */
  #open(sequenceNumbers: readonly number[], held: readonly HeldSegment[]): readonly LocalSegment[] {
    const opened: LocalSegment[] = [];
    const lowestWanted = Math.min(...[...this.#sources].map((source) => source.lastSequenceNumber + 1));
    for (const number of sequenceNumbers) {
      if (number < lowestWanted || this.#segments.get(number)?.held === true) continue;
      if (held.some(({ sequenceNumber }) => sequenceNumber === number)) continue;
      const segment = openSegment(join(this.#path, segmentName(number)), number);
      if (segment !== null) opened.push(segment);
    }
    return opened;
  }

  /** What the folder has, and what was linked while the folder had it: each segment once, in the order of numbers. */
  #announce(sequenceNumbers: readonly number[], held: readonly HeldSegment[], dir: DirIdentity): void {
    const highest = Math.max(sequenceNumbers.at(-1) ?? 0, held.at(-1)?.sequenceNumber ?? 0);
    for (const source of this.#sources) {
      const after = source.lastSequenceNumber;
      if (after >= highest) continue;
      const news = new Map<number, LocalSegment | HeldSegment>();
      for (const number of sequenceNumbers) {
        const segment = this.#segments.get(number);
        if (segment?.held === true && number > after) news.set(number, segment);
      }
      for (const segment of held) if (segment.sequenceNumber > after) news.set(segment.sequenceNumber, segment);
      for (const [, segment] of [...news].sort(([a], [b]) => a - b))
        if (segment instanceof LocalSegment) source.add(segment);
        else source.addHeld(segment, dir);
    }
  }

  /** To those who are new here: all that is held but the log in the folder. */
  #giveHistory(dir: DirIdentity | null): void {
    for (const source of this.#sources)
      if (source.wantsHistory) source.addHistory(this.#hold?.inOrder(dir) ?? { finished: [], current: null });
  }

  /** The folder is not the one that was followed so far: what is open or held of it is all that will come of it. */
  #leave(): void {
    const dir = this.#dir;
    if (dir === null) return;
    // It may have been linked, and the folder be gone before that was told.
    for (const segment of this.#hold?.segmentsOf(dir) ?? [])
      for (const source of this.#sources)
        if (!source.wantsHistory && segment.sequenceNumber > source.lastSequenceNumber) source.addHeld(segment, dir);
    this.#forget();
    for (const source of this.#sources) source.setOver();
  }

  /** @returns null when it was let go of, and the folder that it is from has it no more either */
  #openHeld(segment: HeldSegment, identity: DirIdentity | null): LocalSegment | null {
    const { path, sequenceNumber } = segment;
    const file = openSegment(path, sequenceNumber);
    if (file !== null || identity === null || !isSame(identify(this.#path), identity)) return file;
    const live = openSegment(join(this.#path, segmentName(sequenceNumber)), sequenceNumber);
    if (live === null || isSame(identify(this.#path), identity)) return live;
    live.release();
    return null;
  }

  #forget(): void {
    this.#dir = null;
    this.#segments.clear(); // those who have one queued hold it themselves
    this.#watcher?.close();
    this.#watcher = null;
    if (this.#instead !== null) clearInterval(this.#instead);
    this.#instead = null;
  }

  #dropReleased(): void {
    for (const [number, segment] of this.#segments) if (!segment.held) this.#segments.delete(number);
  }

  #watch(): void {
    try {
      const watcher = watch(this.#path);
      watcher.on('change', (event) => {
        if (watcher !== this.#watcher) return;
        if (event === 'rename') this.look();
        else for (const source of this.#sources) source.wake();
      });
      watcher.on('error', (error) => {
        watcher.close();
        if (watcher !== this.#watcher) return;
        this.#watcher = null;
        this.#pollInstead(error);
      });
      this.#watcher = watcher;
    } catch (error) {
      if (isMissing(error)) return; // gone again, which the next look sees
      this.#pollInstead(error); // no more watches (fs.inotify.max_user_watches)
    }
  }

  #pollInstead(error: unknown): void {
    this.#logger?.warn({ tabletId: this.tabletId, error }, 'log folder cannot be watched, polling it instead');
    this.#instead ??= setInterval(() => {
      this.look();
    }, UNWATCHED_POLL_MS);
  }
}

/** @returns null when log GC was quicker */
function openSegment(path: string, sequenceNumber: number): LocalSegment | null {
  try {
    return new LocalSegment(path, sequenceNumber);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}
