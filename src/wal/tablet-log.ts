import type { ByteBudget } from '../util/byte-budget.ts';
import { LinkedAbort } from '../util/linked-abort.ts';
import type { Logger } from '../util/logger.ts';
import type { Wait } from '../util/waits.ts';
import { LargeAheadError, TabletLogReader, type LogChunk, type LogFeed, type LogPlace } from './log-reader.ts';
import type { SegmentSource } from './segment-source.ts';

/** What a follower at the head has not taken yet; a chunk that is larger comes alone. */
const MAX_QUEUED_BYTES = 64 << 10;
/** Who was too slow reads alone for so long at least. */
const ALONE_FOR_MS = 1_000;

export interface TabletLogOptions {
  readonly tabletId: string;
  /** A new look at the log, its lowest segment first. */
  readonly source: () => SegmentSource;
  /** Nobody follows it any more. */
  readonly onUnused: () => void;
  readonly logger?: Logger | undefined;
}

/**
 * A tablet's log on this machine for all who follow it: the keeper of the replica, and each stream that is shipped from
 * here. At its head there is one reader, and what it reads and decodes goes to all. Whoever is behind has a reader of its own until it
 * stands where the head stands; whoever is too slow for the head has one again, from where it stood, and holds nobody up.
 *
 *   alone ── all is read, the head stands there too, or there was none ──▶ at the head
 *   at the head ── {@link MAX_QUEUED_BYTES} wait, or the head has failed, or comes to what is large ──▶ alone
 */
export class TabletLog {
  readonly #options: TabletLogOptions;
  readonly #followers = new Set<Follower>();
  #head: Head | null = null;

  constructor(options: TabletLogOptions) {
    this.#options = options;
  }

  /**
   * From the log's start, as {@link TabletLogReader} gives it. `signal` ends a waiting `next` with its reason.
   * @param largeReads where room is taken from for what is large
   */
  follow(signal: AbortSignal, largeReads?: ByteBudget): LogFeed {
    const { tabletId, source, logger, onUnused } = this.#options;
    const follower: Follower = new Follower(signal, {
      open: (place) => {
        const options = { largeReads, ...(logger && { logger }) }; // it is ended by disposing of it
        // A place is lost with its segment: what comes again is known again, and what is missing is missed.
        const reader = place && TabletLogReader.at(place, source(), options);
        if (place && !reader) logger?.debug({ tabletId }, 'the log is read from its start again');
        return reader ?? new TabletLogReader(source(), options);
      },
      join: (reader) => this.#join(follower, reader),
      leave: async () => {
        await this.#leaveHead(follower);
        if (this.#followers.delete(follower) && this.#followers.size === 0) onUnused();
      },
    });
    this.#followers.add(follower);
    return follower;
  }

  /** How many follow it at its head. */
  get followersAtHead(): number {
    return this.#head?.followers.size ?? 0;
  }

  #join(follower: Follower, reader: TabletLogReader): 'as-head' | 'at-head' | 'not-yet' {
    if (this.#head === null) {
      reader.standAtHead();
      this.#head = new Head(reader, (head) => {
        if (this.#head === head) this.#head = null;
      });
      this.#head.followers.add(follower);
      this.#head.start();
      return 'as-head';
    }
    if (!isSame(this.#head.place, reader.place)) return 'not-yet';
    this.#head.followers.add(follower);
    return 'at-head';
  }

  async #leaveHead(follower: Follower): Promise<void> {
    const head = this.#head;
    head?.followers.delete(follower);
    if (head?.followers.size === 0) await head.end();
  }
}

/** The reader at the head of a log. */
class Head {
  readonly followers = new Set<Follower>();
  readonly #reader: TabletLogReader;
  readonly #onEnd: (head: Head) => void;
  /** Behind what all followers were given. */
  place: LogPlace | null;

  constructor(reader: TabletLogReader, onEnd: (head: Head) => void) {
    this.#reader = reader;
    this.#onEnd = onEnd;
    this.place = reader.place;
  }

  start(): void {
    void this.#run();
  }

  /** Whoever follows it still reads on alone. */
  async end(): Promise<void> {
    this.#onEnd(this);
    await this.#reader[Symbol.asyncDispose]();
  }

  async #run(): Promise<void> {
    try {
      while (this.followers.size > 0) {
        const chunk = await this.#reader.next();
        this.place = this.#reader.place;
        for (const follower of this.followers)
          if (!follower.push({ chunk, place: this.place })) this.followers.delete(follower);
      }
    } catch (error) {
      for (const follower of this.followers)
        if (error instanceof LargeAheadError) follower.goAlone();
        else follower.fail(error);
      this.followers.clear();
    }
    await this.end();
  }
}

interface Piece {
  readonly chunk: LogChunk;
  readonly place: LogPlace | null;
}

interface FollowerOptions {
  readonly open: (place: LogPlace | null) => TabletLogReader;
  readonly join: (reader: TabletLogReader) => 'as-head' | 'at-head' | 'not-yet';
  readonly leave: () => Promise<void>;
}

class Follower implements LogFeed {
  readonly #options: FollowerOptions;
  readonly #stop: LinkedAbort;
  /** Its own: what it is to read is kept from its birth on. Null at the head. */
  #reader: TabletLogReader | null;
  #isAtHead = false;
  #queue: Piece[] = [];
  #queuedBytes = 0;
  /** What the head failed with, behind all that is queued. */
  #failure: { readonly error: unknown } | null = null;
  #wake: () => void = () => undefined;
  /** Behind what was taken. */
  #place: LogPlace | null = null;
  #aloneUntilMs = 0;
  /** What its reader has lent is in use: until then it is its own. */
  #lentBytes = 0;

  constructor(signal: AbortSignal, options: FollowerOptions) {
    signal.throwIfAborted();
    this.#options = options;
    this.#reader = options.open(null);
    this.#stop = new LinkedAbort(signal);
    this.#stop.signal.addEventListener('abort', () => {
      this.#wake();
      void this.#reader?.[Symbol.asyncDispose](); // ends what it waits for
    });
  }

  async next(): Promise<LogChunk> {
    for (;;) {
      this.#stop.signal.throwIfAborted();
      const piece = this.#queue.shift();
      if (piece) {
        this.#queuedBytes -= bytesOf(piece.chunk);
        this.#place = piece.place;
        return piece.chunk;
      }
      if (this.#failure) {
        const { error } = this.#failure;
        this.#failure = null;
        throw error;
      }
      if (!this.#isAtHead) return this.#nextAlone();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** By the head. @returns false: it is too much, and the follower is at the head no more */
  push(piece: Piece): boolean {
    const bytes = bytesOf(piece.chunk);
    if (this.#queue.length > 0 && this.#queuedBytes + bytes > MAX_QUEUED_BYTES) {
      this.#queue = [];
      this.#queuedBytes = 0;
      this.goAlone();
      return false;
    }
    // That all was given is true no more.
    if (this.#queue.at(-1)?.chunk.kind === 'idle') this.#queue.pop();
    this.#queue.push(piece);
    this.#queuedBytes += bytes;
    this.#wake();
    return true;
  }

  giveBack(lentBytes: number): void {
    this.#lentBytes -= lentBytes;
    this.#reader?.giveBack(lentBytes);
  }

  get waits(): Wait | null {
    return this.#reader?.waits ?? null;
  }

  /** By the head. */
  fail(error: unknown): void {
    this.#failure = { error };
    this.goAlone();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#queue = [];
    await this.#options.leave();
    await this.#reader?.[Symbol.asyncDispose]();
  }

  /** By the head: behind what is queued it reads for itself. */
  goAlone(): void {
    this.#isAtHead = false;
    this.#aloneUntilMs = performance.now() + ALONE_FOR_MS;
    this.#wake();
  }

  async #nextAlone(): Promise<LogChunk> {
    const reader = (this.#reader ??= this.#options.open(this.#place));
    let chunk: LogChunk;
    try {
      chunk = await reader.next();
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      throw error;
    }
    this.#place = reader.place;
    if (chunk.kind === 'entries') this.#lentBytes += chunk.lentBytes ?? 0;
    if (chunk.kind === 'idle' && this.#lentBytes === 0 && performance.now() >= this.#aloneUntilMs)
      await this.#join(reader);
    return chunk;
  }

  async #join(reader: TabletLogReader): Promise<void> {
    if (reader.place === null || this.#stop.signal.aborted) return; // nothing has begun yet, or will be read
    const joined = this.#options.join(reader);
    if (joined === 'not-yet') return;
    this.#isAtHead = true;
    this.#reader = null;
    if (joined === 'at-head') await reader[Symbol.asyncDispose]();
  }
}

function bytesOf(chunk: LogChunk): number {
  return chunk.kind === 'entries' ? chunk.bytes : 0;
}

function isSame(a: LogPlace | null, b: LogPlace | null): boolean {
  if (a === null || b === null || a.inode !== b.inode) return false;
  return a.within?.offset === b.within?.offset;
}
