import { ERRORS, SpoorError } from '../errors.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { type OpId, MIN_OPID } from '../kudu/opid.ts';
import { isAhead, type TabletPosition } from '../change/position.ts';
import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { steadyNow } from '../util/steady-clock.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { waitFor } from '../util/wait-for.ts';
import { OpType, type ReplicateEntry } from '../wal/entry.ts';
import type { LogFeed } from '../wal/log-reader.ts';
import { decodeMarker, type MarkedStream } from '../change/apply-marker.ts';
import { MarkerError, type MarkerWriter } from './marker-writing.ts';
import { CutFinder, type FoundCut } from './cut-finder.ts';
import { BoundedHold, type HoldLimits, type LostRange } from './bounded-hold.ts';
import type { ReplicaHold } from './replica-hold.ts';
import {
  type MarkerEffect,
  type MarkerEvent,
  type MarkerLimits,
  type MarkerState,
  type StreamMarks,
  NO_MARKERS,
  safeIndex,
  stepMarkers,
} from './marker-core.ts';
import { NOTHING_TO_RELEASE, stepRelease, type ReleaseEvent, type ReleaseQueue } from './release-queue.ts';
import { backoffMs, type Backoff } from '../util/backoff.ts';

export interface ReplicaKeeperOptions extends HoldLimits {
  readonly tabletId: string;
  /** Reads the replica's log, the held part first. */
  readonly openLog: (signal: AbortSignal) => LogFeed;
  readonly hold: ReplicaHold;
  readonly markers: MarkerWriter;
  /** Who writes the markers: the tablet server's uuid. */
  readonly sidecarId: string;
  readonly limits: MarkerLimits;
  /**
   * How long what is safe is still held: a stream that was made a moment ago begins behind it, and is seen here only
   * with the next look at the streams.
   */
  readonly releaseDelayMs: number;
  readonly onMarkerWritten: (generations: readonly string[]) => void;
  /** A term has begun since the log was read once: whoever was elected has written its first operation. */
  readonly onNewTerm: () => void;
  readonly logger: Logger;
}

/** A log that cannot be read, and since when (ISO 8601). */
export interface Unreadable {
  readonly code: string;
  readonly message: string;
  readonly since: string;
}

const READ_AGAIN: Backoff = { baseMs: 500, capMs: 10_000 };
const MARKER_TIMEOUT_MS = 5_000;

/**
 * Keeps one replica of a streamed table, leader or follower, shipped from here or not: its log is held from the moment
 * of the keeper's birth, the markers in it are read as they come, markers of what is acknowledged here are written, and
 * what is safe is let go. What it decides is marker-core.ts's.
 */
export class ReplicaKeeper implements AsyncDisposable {
  readonly tabletId: string;
  readonly #options: ReplicaKeeperOptions;
  readonly #logger: Logger;
  readonly #abort = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #reading: Promise<void>;
  #state: MarkerState = NO_MARKERS;
  #tableId = '';
  #lastWorthIndex = 0n;
  #term = 0n;
  #committed: OpId = MIN_OPID;
  readonly #cuts = new CutFinder();
  #writing: Promise<void> = Promise.resolve();
  #unreadable: Unreadable | null = null;
  #releases: ReleaseQueue = NOTHING_TO_RELEASE;
  /** Who waits until all is marked, or cannot be. */
  #flushing: (() => void)[] = [];
  #due: { readonly timer: NodeJS.Timeout; readonly atMs: number } | null = null;
  readonly #bounded: BoundedHold;

  constructor(options: ReplicaKeeperOptions) {
    this.#options = options;
    this.tabletId = options.tabletId;
    this.#logger = options.logger.child({ tabletId: options.tabletId });
    this.#bounded = new BoundedHold(options.hold, options);
    this.#reading = this.#read();
  }

  /** Whether all that the log had when the keeper came was read: only then is it known where streams go on. */
  get caughtUp(): boolean {
    return this.#state.caughtUp;
  }

  /** Why its log cannot be read, and so nobody knows yet where the streams go on; null where it can. */
  get unreadable(): Unreadable | null {
    return this.#unreadable;
  }

  /** Nothing goes for so long, whatever streams say: another one that begins behind it is about to be made. */
  pinFor(ms: number): void {
    this.#stepRelease({ kind: 'pin', ms });
  }

  /**
   * The highest operation that is known to be committed, by the log that was read. What is only proposed may never be: a
   * newer leader overwrites it, and where this replica is moved away nobody tells it so.
   */
  get committed(): OpId {
    return this.#committed;
  }

  /** The index up to which there is something that a stream may want: committed, and no marker. */
  get worthIndex(): bigint {
    return this.#lastWorthIndex < this.#committed.index ? this.#lastWorthIndex : this.#committed.index;
  }

  /** Where a stream goes on, as far as markers say. */
  marked(generation: string): MarkedStream | null {
    return this.#state.marked.get(generation) ?? null;
  }

  /** The index up to which nothing of this log is needed any more; null while no stream wants it. */
  get safeIndex(): bigint | null {
    return safeIndex(this.#state);
  }

  get hold(): ReplicaHold {
    return this.#options.hold;
  }

  /**
   * The table that it is of, and the streams that have it, paused ones too. Until this is known all of it is held.
   * @param options.isSure whether that is what Kudu says now, and not what it said when it answered last
   */
  setStreams(tableId: string, streams: readonly StreamMarks[], { isSure }: { readonly isSure: boolean }): void {
    this.#tableId = tableId;
    if (isSure) this.#stepRelease({ kind: 'sure' });
    const same =
      streams.length === this.#state.streams.length &&
      streams.every((stream, i) => stream.generation === this.#state.streams[i]!.generation);
    if (!same) this.#post({ kind: 'streams', streams });
  }

  /** The sink has everything of a stream up to `position`; see {@link TabletReplicatorOptions.onAcked}. */
  acked(generation: string, position: TabletPosition, worthIndex: bigint, sink: string): void {
    this.#post({ kind: 'acked', generation, position, worthIndex, sink });
  }

  /** An operation is to come into the tablet's log if no marker has for so long. */
  heartbeat(intervalMs: number): void {
    this.#post({ kind: 'heartbeat', intervalMs });
  }

  /** This sidecar ships the stream no more; what it knows goes into a last marker. */
  shippingEnded(generation: string): void {
    this.#post({ kind: 'flush' });
    this.#post({ kind: 'shipping-ended', generation });
  }

  /**
   * Puts an operation into the tablet's log that may be the cut of a stream's copy, and finds it there: from its birth on
   * the log behind it is held on every replica.
   * Errors: {@link MarkerError}; the signal's reason.
   */
  async makeCut(
    generation: string,
    signal: AbortSignal,
  ): Promise<{ readonly time: HybridTime; readonly found: FoundCut | 'log-too-young' }> {
    const { markers, sidecarId } = this.#options;
    const tablet = { tableId: this.#tableId, tabletId: this.tabletId };
    const time = await markers.write(tablet, { sidecar: sidecarId, streams: [], cut: generation }, signal);
    return { time, found: await this.#cuts.find(time, signal) };
  }

  /** Writes the markers that are due, and waits for them as long as `signal` allows, or until one fails. */
  async flush(signal: AbortSignal): Promise<void> {
    const flushed = new Promise<void>((resolve) => this.#flushing.push(resolve));
    this.#post({ kind: 'flush' });
    await waitFor(flushed, signal).catch(() => undefined);
  }

  /**
   * Lets go of what is beyond the limits. Answers what a stream may still have needed of it, or null.
   * @param nowMs by {@link steadyNow}
   */
  enforceLimits(nowMs: number): LostRange | null {
    return this.#bounded.enforce(safeIndex(this.#state) ?? 0n, nowMs);
  }

  /** Lets go of so many of the oldest held segments. Answers what a stream may still have needed of them, or null. */
  letGoOfOldest(count: number, why: string): LostRange | null {
    return this.#bounded.letGoOfOldest(count, why, safeIndex(this.#state) ?? 0n);
  }

  /** See {@link BoundedHold.secondsUntilLimit}. */
  secondsUntilLimit(nowMs: number): number | null {
    return this.#bounded.secondsUntilLimit(nowMs);
  }

  /** Stops reading and writing; what is held stays held. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the keeper was closed'));
    for (const timer of this.#timers) clearTimeout(timer);
    clearTimeout(this.#due?.timer);
    await Promise.allSettled([this.#reading, this.#writing]);
    for (const resolve of this.#flushing.splice(0)) resolve();
  }

  /** Reads for as long as the keeper lives; a log that cannot be read is opened again after a while. */
  async #read(): Promise<void> {
    const { signal } = this.#abort;
    const isOver = (): boolean => signal.aborted; // asked anew after each wait
    for (let failures = 1; !isOver(); failures++) {
      try {
        await using log = this.#options.openLog(signal);
        await this.#readLog(log);
      } catch (error) {
        if (isOver()) return;
        this.#tellUnreadable(error);
        // That will not pass: who ships the tablet meets the same fault where it stands, and shows it. But what passes is
        // waited for: whoever shipped without the markers in it would begin where the stream did.
        if (error instanceof SpoorError && ERRORS[error.code].retry === 'operator') this.#post({ kind: 'caught-up' });
      }
      await pause(backoffMs(failures, READ_AGAIN), signal);
    }
  }

  async #readLog(log: LogFeed): Promise<void> {
    for (let hasBegun = false; ;) hasBegun = await this.#readChunk(log, hasBegun);
  }

  /** Nothing of it is left in memory when it is done: what comes next may be long in coming. @returns whether the log has begun */
  async #readChunk(log: LogFeed, hasBegun: boolean): Promise<boolean> {
    const chunk = await log.next();
    switch (chunk.kind) {
      case 'segment':
        return true;
      case 'entries':
        for (const entry of chunk.entries) {
          if (entry.kind === 'replicate') this.#readProposal(entry);
          else if (entry.opId.index > this.#committed.index) this.#committed = entry.opId;
        }
        if (chunk.lentBytes !== undefined) log.giveBack?.(chunk.lentBytes);
        break;
      case 'missing':
        this.#cuts.restart();
        break;
      case 'idle':
      case 'gone':
        if (chunk.kind === 'idle' && !hasBegun) break; // a replica that is being copied: its markers are still to come
        this.#unreadable = null;
        // What is committed is never another one later, and all before it was read.
        this.#post({ kind: 'log-read', index: this.#committed.index });
        this.#post({ kind: 'caught-up' });
    }
    return hasBegun;
  }

  #readProposal(entry: ReplicateEntry): void {
    const { opId } = entry;
    if (opId.term > this.#term) {
      this.#term = opId.term;
      if (this.#state.caughtUp) this.#options.onNewTerm();
    }
    if (entry.opType === OpType.ALTER_SCHEMA) this.#cuts.readAlter(entry.readAlter().schemaVersion);
    const extension = entry.readExtension();
    if (extension === null && opId.index > this.#lastWorthIndex) this.#lastWorthIndex = opId.index;
    const marker = extension && decodeMarker(extension);
    this.#cuts.read(entry, marker?.cut !== undefined);
    if (!marker) return;
    this.#post({ kind: 'marker-read', streams: marker.streams.filter((said) => isPast(said, entry)) });
    if (marker.cut !== undefined)
      this.#post({ kind: 'cut-read', generation: marker.cut, index: this.#cuts.replayAfter?.index ?? opId.index });
  }

  #tellUnreadable(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (message === this.#unreadable?.message) return;
    const code = error instanceof SpoorError ? error.code : 'SPOOR_WAL_UNREADABLE';
    this.#unreadable = { code, message, since: this.#unreadable?.since ?? new Date().toISOString() };
    this.#logger.warn({ reason: message, code }, 'markers of this replica cannot be read');
  }

  #post(event: MarkerEvent): void {
    const { state, effects } = stepMarkers(this.#state, event, steadyNow(), this.#options.limits);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: MarkerEffect): void {
    switch (effect.kind) {
      case 'write-marker':
        this.#writing = this.#write(effect.streams);
        return;
      case 'retry-marker-in':
        this.#afterwards(effect.ms, () => {
          this.#post({ kind: 'marker-retry-due' });
        });
        return;
      case 'due-in':
        this.#dueIn(effect.ms);
        return;
      case 'flushed':
        for (const resolve of this.#flushing.splice(0)) resolve();
        return;
      case 'release':
        this.#stepRelease({ kind: 'may-go', index: effect.index });
    }
  }

  async #write(streams: readonly MarkedStream[]): Promise<void> {
    const { markers, sidecarId, onMarkerWritten } = this.#options;
    const tablet = { tableId: this.#tableId, tabletId: this.tabletId };
    try {
      using limit = new TimeLimit(this.#abort.signal, MARKER_TIMEOUT_MS);
      await markers.write(tablet, { sidecar: sidecarId, streams }, limit.signal);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const kind = error instanceof MarkerError ? error.kind : 'retry';
      const reason = error instanceof Error ? error.message : String(error);
      this.#logger[kind === 'refused' ? 'warn' : 'debug']({ reason, kind }, 'apply marker not written');
      // Kudu tries for a transaction's lock for a second, and the transaction's own writes wait behind that.
      this.#post({ kind: 'marker-failed', lost: kind === 'refused' || kind === 'locked' });
      return;
    }
    onMarkerWritten(streams.map(({ generation }) => generation));
    this.#post({ kind: 'marker-written' });
  }

  #afterwards(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }

  #stepRelease(event: ReleaseEvent): void {
    const { releaseDelayMs, hold } = this.#options;
    const { queue, effects } = stepRelease(this.#releases, event, steadyNow(), releaseDelayMs);
    this.#releases = queue;
    for (const effect of effects) {
      if (effect.kind === 'release') hold.release(effect.index);
      else
        this.#afterwards(effect.ms, () => {
          this.#stepRelease({ kind: 'due', safe: safeIndex(this.#state) });
        });
    }
  }

  #dueIn(ms: number): void {
    const atMs = performance.now() + ms;
    if (this.#due && this.#due.atMs <= atMs) return;
    clearTimeout(this.#due?.timer);
    const timer = setTimeout(() => {
      this.#due = null;
      this.#post({ kind: 'due' });
    }, ms);
    this.#due = { timer, atMs };
  }
}

/** A marker speaks of what was there before it. Whoever may write to the table may write one, and a wrong one is none. */
function isPast({ position }: MarkedStream, { opId }: { readonly opId: OpId }): boolean {
  return position.opId.index < opId.index && position.opId.term <= opId.term;
}

/** The further of where a stream starts on a tablet and where a marker says that it stands. */
export function furthestStart(start: TabletPosition, marked: TabletPosition | null): TabletPosition {
  return marked && isAhead(marked, start) ? marked : start;
}
