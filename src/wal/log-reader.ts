import { SpoorError } from '../errors.ts';
import { freeGivenBack, noteGivenBack, type BudgetShare, type ByteBudget } from '../util/byte-budget.ts';
import { LinkedAbort } from '../util/linked-abort.ts';
import type { Logger } from '../util/logger.ts';
import { Slots } from '../util/slots.ts';
import type { Wait } from '../util/waits.ts';
import type { LogEntry } from './entry.ts';

import { SegmentCursor, segmentFaultError, type CursorPlace, type SegmentStep } from './segment-cursor.ts';
import type { SegmentHeader } from './segment-format.ts';
import type { RestingPlace, SegmentFile, SegmentSource } from './segment-source.ts';

/** Wake-ups for which a header may look damaged: it is written in one go, but may be read at any moment of it. */
const HEADER_TRIES = 3;
/** Wake-ups without progress at an unfinished place, about a poll apart, until it is worth a word. */
const STANDSTILLS_TO_WARN = 30;
/** Of this process: while a large batch is read it is there twice, packed and unpacked. It is no longer than the disk takes. */
const largeReading = new Slots(1);

export type LogChunk =
  /**
   * A segment begins. `restarted`: it is the first of a log that is read from its start, at the opening and whenever
   * the log was written anew (restart, tablet copy): what was pending counts no more, what is committed comes again.
   */
  | { readonly kind: 'segment'; readonly header: SegmentHeader; readonly restarted: boolean }
  /**
   * Whole entries in the order of the log, never none; `bytes` is what they take in the segment. `lentBytes`, where they
   * are large: what they take in memory, see {@link LogFeed.giveBack}.
   */
  | {
      readonly kind: 'entries';
      readonly entries: readonly LogEntry[];
      readonly bytes: number;
      readonly lentBytes?: number;
    }
  /** All that is on disk was given. The next call waits for more. */
  | { readonly kind: 'idle' }
  /**
   * Segments between the last and the next one are gone, or are damaged as `damage` says, so that nothing more of them
   * will come; reading can go on behind them. Whether what was in them is missed shows in the OpIds.
   */
  | { readonly kind: 'missing'; readonly from: number; readonly until: number; readonly damage?: SpoorError }
  /** The tablet has no log here any more, and all that was opened of it was given. */
  | { readonly kind: 'gone' };

/** What comes next is large: at the head of a log nobody reads it for others, for whom there may be no room. */
export class LargeAheadError extends Error {
  override readonly name = 'LargeAheadError';
}

/** Whatever gives a tablet's log in pieces, as {@link TabletLogReader} does; it says what the errors are. */
export interface LogFeed extends AsyncDisposable {
  next(): Promise<LogChunk>;
  /** So much of what was lent is done with, as far as the caller decides: until then other logs may wait with theirs. A feed may lend nothing. */
  giveBack?(lentBytes: number): void;
  /** What {@link next} waits for that is not the log's next entry; null where there is no such thing. */
  readonly waits?: Wait | null;
}

/** How far a log was read. */
export interface LogPlace {
  /** Of the last segment that was begun. */
  readonly inode: bigint;
  /** Null: nothing more comes of it. */
  readonly within: CursorPlace | null;
}

export interface TabletLogReaderOptions {
  /** Ends a waiting {@link TabletLogReader.next} with its reason, as does the reader's own end. */
  readonly signal?: AbortSignal;
  readonly logger?: Logger;
  /** Where room for large batches is taken from; without it they are read as all others. */
  readonly largeReads?: ByteBudget | undefined;
}

/**
 * Follows the log of one replica: everything in it, in its order, proposals that come to nothing included.
 *
 * What it gives is whole and checked, never a guess: at a half-written end it waits. It does not say what is
 * committed; that is for `CommitOrder`. When the log begins anew it first gives the rest of the old one, since its
 * commits hold, and then the new one from its start.
 */
export class TabletLogReader implements LogFeed {
  readonly #source: SegmentSource;
  /** One of our own: hundreds of readers may share the caller's. */
  readonly #stop: LinkedAbort;
  readonly #logger: Logger | undefined;
  /** Where room for large batches is taken from; null where they are read as all others, and at the head of a log. */
  #large: BudgetShare | null;
  readonly #tellsLarge: boolean;
  /** What the step in hand has asked for. */
  #askedBytes = 0;
  #packedBytes = 0;
  #endLargeReading: (() => void) | null = null;
  #current: OpenSegment | null = null;
  /** Inode of the segment before. */
  #left: bigint | null = null;
  /** Of the segment before, in this log; null at the log's start. */
  #lastSequenceNumber: number | null = null;
  /** The source's version at which all was given. */
  #exhaustedAt: number | null = null;
  #saidIdle = false;
  /** Where nothing was written yet when it was looked at last; null where there was something, if only a half-written end. */
  #restsAt: RestingPlace | null = null;
  #advancing: Promise<unknown> = Promise.resolve();
  #failure: SpoorError | null = null;

  /** @param source of segments, the lowest first; it is the reader's from now on */
  constructor(source: SegmentSource, { signal, logger, largeReads }: TabletLogReaderOptions) {
    this.#source = source;
    this.#stop = new LinkedAbort(...(signal ? [signal] : []));
    this.#logger = logger;
    this.#large = largeReads?.share() ?? null;
    this.#tellsLarge = largeReads !== undefined;
  }

  /**
   * Goes on where another reader of the same log stood.
   * @returns null when the log does not have that place any more: then it is to be read from its start
   * @throws what the file system says when a held segment cannot be opened
   */
  static at(place: LogPlace, source: SegmentSource, options: TabletLogReaderOptions): TabletLogReader | null {
    const reader = new TabletLogReader(source, options);
    let isThere = false;
    try {
      isThere = reader.#seek(place);
    } finally {
      if (!isThere) void reader[Symbol.asyncDispose]();
    }
    return isThere ? reader : null;
  }

  /** Behind what was given; null before the first segment. */
  get place(): LogPlace | null {
    if (this.#current) return { inode: this.#current.file.inode, within: this.#current.cursor.place };
    return this.#left === null ? null : { inode: this.#left, within: null };
  }

  /**
   * The next piece of the log; waits while there is none. One call at a time.
   * Errors: SPOOR_WAL_CORRUPT, SPOOR_WAL_UNSUPPORTED, SPOOR_WAL_ENCRYPTED name the file, the byte and why: this reader
   *         cannot go on, and says the same again if asked. Damage in a segment that the log has left behind is no error
   *         but `missing`. A file-system error passes as it is. The signal's reason.
   */
  async next(): Promise<LogChunk> {
    for (;;) {
      this.#stop.signal.throwIfAborted();
      const { version } = this.#source;
      if (version === this.#exhaustedAt) {
        if (!this.#saidIdle) {
          this.#saidIdle = true;
          return { kind: 'idle' };
        }
        await this.#changed(version);
        continue;
      }
      if (this.#failure !== null) throw this.#failure;
      this.#restsAt = null;
      const advancing = this.#advance(version);
      this.#advancing = advancing;
      try {
        const chunk = this.#lend(await advancing);
        if (chunk !== null) {
          this.#saidIdle = false;
          return chunk;
        }
        this.#exhaustedAt = version;
      } catch (error) {
        this.#lend(null);
        if (error instanceof SpoorError) this.#failure = error;
        throw error;
      }
    }
  }

  async #changed(version: number): Promise<void> {
    this.#large?.rest(true); // what was lent may be of no use without what comes, and that may never come
    try {
      await this.#source.changed(version, this.#stop.signal, this.#restsAt);
    } finally {
      this.#large?.rest(false);
    }
  }

  /** What was asked for and is not lent (a half-written batch, a damaged one) is given back. */
  #lend(chunk: LogChunk | null): LogChunk | null {
    this.#endLargeReading?.();
    this.#endLargeReading = null;
    noteGivenBack(this.#packedBytes);
    this.#packedBytes = 0;
    const asked = this.#askedBytes;
    if (asked === 0) return chunk;
    this.#askedBytes = 0;
    if (chunk?.kind === 'entries') return { ...chunk, lentBytes: asked };
    this.#large?.giveBack(asked);
    return chunk;
  }

  /** From now on it is read for all who stand at the log's head: at what is large {@link next} rejects with {@link LargeAheadError}. */
  standAtHead(): void {
    this.#large?.giveBack();
    this.#large = null;
  }

  giveBack(lentBytes?: number): void {
    this.#large?.giveBack(lentBytes);
  }

  get waits(): Wait | null {
    return this.#large?.wait.now ?? null;
  }

  /** Ends a waiting {@link next} with an AbortError, and lets go of the segments. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled([this.#advancing]);
    this.#current?.file.release();
    this.#current = null;
    this.#source[Symbol.dispose]();
    this.giveBack();
  }

  #seek({ inode, within }: LogPlace): boolean {
    for (let news = this.#source.peek(); news !== null; news = this.#source.peek()) {
      this.#source.shift();
      if (news.kind === 'over') this.#lastSequenceNumber = null;
      if (news.kind !== 'segment') continue;
      this.#open(news.file, news.isDamaged === true, within);
      const isThere = news.file.inode === inode;
      if (!isThere || within === null) this.#leave();
      if (isThere) return true;
    }
    return false;
  }

  /** @returns null when there is nothing now */
  async #advance(version: number): Promise<LogChunk | null> {
    for (;;) {
      if (this.#current === null) {
        const news = this.#source.peek();
        if (news === null) return null;
        this.#source.shift();
        if (news.kind === 'over') this.#lastSequenceNumber = null;
        if (news.kind === 'gone') return { kind: 'gone' };
        if (news.kind !== 'segment') continue;
        const missing = this.#begin(news.file, news.isDamaged === true);
        if (missing !== null) return missing;
      } else {
        const chunk = await this.#readOrPass(this.#current, version);
        if (chunk?.kind !== 'ended' && chunk?.kind !== 'missing') return chunk;
        this.#leave();
        if (chunk.kind === 'missing') return chunk;
      }
    }
  }

  #begin(file: SegmentFile, isDamaged: boolean): LogChunk | null {
    const last = this.#lastSequenceNumber;
    this.#open(file, isDamaged);
    if (last === null || file.sequenceNumber === last + 1) return null;
    return { kind: 'missing', from: last + 1, until: file.sequenceNumber - 1 };
  }

  #open(file: SegmentFile, isDamaged: boolean, from: CursorPlace | null = null): void {
    const restarted = this.#lastSequenceNumber === null;
    this.#current = {
      file,
      cursor: new SegmentCursor(file, from, this.#tellsLarge ? this.#askForLarge : null),
      restarted,
      isDamaged,
      standstills: 0,
    };
    this.#lastSequenceNumber = file.sequenceNumber;
  }

  readonly #askForLarge = async (rawBytes: number, packedBytes: number): Promise<void> => {
    if (!this.#large) throw new LargeAheadError();
    await this.#large.take(rawBytes, this.#stop.signal);
    this.#askedBytes += rawBytes;
    this.#packedBytes += packedBytes;
    this.#endLargeReading ??= await largeReading.acquire(this.#stop.signal);
    await freeGivenBack();
  };

  #leave(): void {
    this.#left = this.#current!.file.inode;
    this.#current!.file.release();
    this.#current = null;
  }

  /** What is damaged, and no more the end of the log, is lost here like a segment that is gone: others may have it whole. */
  async #readOrPass(current: OpenSegment, version: number): Promise<LogChunk | Ended | null> {
    try {
      return await this.#read(current, version);
    } catch (error) {
      const isDamage = error instanceof SpoorError && error.code === 'SPOOR_WAL_CORRUPT';
      if (!isDamage || this.#source.peek() === null) throw error;
      const { path, sequenceNumber } = current.file;
      const tabletId = this.#source.tabletId;
      this.#source.noteDamage(current.file);
      this.#logger?.warn({ tabletId, path, reason: error.message }, 'segment is damaged, reading on behind it');
      return { kind: 'missing', from: sequenceNumber, until: sequenceNumber, damage: error };
    }
  }

  /** @returns null when the segment has nothing now, but may have later */
  async #read(current: OpenSegment, version: number): Promise<LogChunk | Ended | null> {
    let suspect = -1;
    for (;;) {
      // Asked before reading: only what is read after the writer has left is all of it (kudu-facts trap 4).
      const next = this.#source.peek();
      const step = await current.cursor.step(suspect < 0 && next === null ? version : null);
      if (step.kind === 'closed') return ENDED;
      if (step.kind === 'entries' || step.kind === 'header') current.standstills = 0;
      if (step.kind === 'entries') return step;
      if (step.kind === 'header') {
        this.#checkHeader(current, step.header);
        return { kind: 'segment', header: step.header, restarted: current.restarted };
      }
      if (next?.kind === 'segment' || (next !== null && current.isDamaged))
        throw this.#cannotGoOn(current, step, 'the log goes on in another segment');
      if (next !== null && !isForAPerson(step)) return ENDED; // the writer died here
      if (this.#source.peek() !== next) continue;
      if (step.kind === 'fault') {
        if (isForAPerson(step) || current.standstills >= HEADER_TRIES)
          throw this.#cannotGoOn(current, step, 'it does not change any more');
      } else if (step.reason === 'bad-payload') {
        if (suspect === step.offset) throw this.#cannotGoOn(current, step, 'another batch follows');
        // Both were perhaps written since this one was read: what counts is how it reads now.
        if (await current.cursor.isFollowedByBatch()) {
          suspect = step.offset;
          continue;
        }
      }
      this.#noteStandstill(current, step);
      return null;
    }
  }

  /** A dead server leaves such an end, and so it may stay; under a live one something is wrong (kudu-facts 8.6). */
  #noteStandstill(current: OpenSegment, step: TailStep): void {
    if (step.kind === 'tail' && step.reason === 'zeros') {
      this.#restsAt = { file: current.file, offset: step.offset };
      return;
    }
    if (++current.standstills !== STANDSTILLS_TO_WARN) return;
    const { path } = current.file;
    const offset = step.kind === 'tail' ? step.offset : 0;
    const why = step.kind === 'tail' ? TAIL_WORDS[step.reason] : step.fault.why;
    this.#logger?.warn(
      { tabletId: this.#source.tabletId, path, offset, why },
      'log stands still at an unfinished place',
    );
  }

  #checkHeader(current: OpenSegment, header: SegmentHeader): void {
    const { path, sequenceNumber } = current.file;
    if (header.tabletId !== this.#source.tabletId || header.sequenceNumber !== BigInt(sequenceNumber))
      throw new SpoorError(
        'SPOOR_WAL_CORRUPT',
        `${path} byte 0: the header is of segment ${header.sequenceNumber} of tablet ${header.tabletId}`,
        { path, offset: 0 },
      );
  }

  #cannotGoOn(current: OpenSegment, step: TailStep, because: string): SpoorError {
    const { path } = current.file;
    if (step.kind === 'fault') return segmentFaultError(path, step.fault);
    const { offset } = step;
    return new SpoorError('SPOOR_WAL_CORRUPT', `${path} byte ${offset}: ${TAIL_WORDS[step.reason]}, and ${because}`, {
      path,
      offset,
    });
  }
}

interface OpenSegment {
  readonly file: SegmentFile;
  readonly cursor: SegmentCursor;
  readonly restarted: boolean;
  /** By what a reader before has found. */
  readonly isDamaged: boolean;
  /** Wake-ups since it last gave something. */
  standstills: number;
}

/** All that will ever be in the segment was given. */
interface Ended {
  readonly kind: 'ended';
}
const ENDED: Ended = { kind: 'ended' };

type TailStep = Extract<SegmentStep, { kind: 'tail' | 'fault' }>;

/** Whether waiting cannot help: the header is whole, and not for us. */
function isForAPerson(step: TailStep): boolean {
  return step.kind === 'fault' && step.fault.kind !== 'corrupt';
}

const TAIL_WORDS = {
  unborn: 'the segment has no header',
  short: 'the file ends inside of a batch',
  zeros: 'nothing was written here',
  'bad-header': 'the checksum of a batch header is wrong',
  'bad-payload': 'the checksum of a batch is wrong',
} as const satisfies Record<Extract<SegmentStep, { kind: 'tail' }>['reason'], string>;
