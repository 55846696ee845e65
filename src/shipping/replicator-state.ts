import type { TabletPosition } from '../change/position.ts';
import type { OpId } from '../kudu/opid.ts';
import { ReadQueue } from './read-queue.ts';

/** Why a replicator has ended; `broken`: by a fault of its own, and the tablet is to be begun anew. */
export type Ending = 'stopped' | 'fenced' | 'tablet-gone' | 'broken';

/** A fault as the core sees it: whether trying again can help, and what the views show. */
export interface Fault {
  readonly code: string;
  readonly message: string;
  /**
   * `gap`: operations are gone; `operator`: a person must act, and the log is looked at again seldom; `retry`: by itself.
   */
  readonly kind: 'gap' | 'operator' | 'retry';
}

export type SinkPhase =
  | { readonly kind: 'opening'; readonly call: number; readonly sinceMs: number }
  /** `writer`: the `open-sink` that opened it. */
  | { readonly kind: 'idle'; readonly writer: number }
  | { readonly kind: 'writing'; readonly writer: number; readonly call: number; readonly count: number }
  | { readonly kind: 'waiting' };

/**
 * An `open-log` that has no answer yet, and what becomes of what it opens. `read`: it is what is wanted; `close`: it is
 * wanted no more; `open`, `repair`: another one is, and it is opened when this one is there.
 */
export interface Opening {
  readonly call: number;
  readonly then: 'read' | 'close' | 'open' | 'repair';
}

export type LogPhase =
  | { readonly kind: 'unopened'; readonly opening: Opening | null }
  /** `reading`: the `read-log` that has no answer yet. */
  | { readonly kind: 'open'; readonly reading: number | null }
  /** What was read of it took room that others may wait for, and the sink did not take it: once that is open it is read again. */
  | { readonly kind: 'let-go'; readonly opening: Opening | null }
  /** Let go of until the sink takes what was read: others have its turn meanwhile. */
  | { readonly kind: 'yielded'; readonly opening: Opening | null }
  | { readonly kind: 'waiting'; readonly opening: Opening | null; readonly fault: Fault; readonly sinceMs: number }
  | { readonly kind: 'failed'; readonly opening: Opening | null; readonly fault: Fault; readonly sinceMs: number }
  | { readonly kind: 'gone' };

export type OpenableLog = Extract<LogPhase, { opening: Opening | null }>;

export interface ReplicatorState {
  readonly sink: SinkPhase;
  readonly log: LogPhase;
  /** How many calls were made: the number of the last one. */
  readonly calls: number;
  /** How far was read, or where the next reading starts. */
  readonly read: TabletPosition;
  /** What the sink has; its OpId is the apply OpId. */
  readonly acked: TabletPosition;
  /** What the sink itself has said or acknowledged; null before its first word, which a marker may be ahead of. */
  readonly confirmed: TabletPosition | null;
  /** Reads that are not acknowledged, oldest first; while writing, the first `count` are in flight. */
  readonly queue: ReadQueue;
  readonly lastWriteAtMs: number;
  /** How long the last acknowledged write took. */
  readonly lastWriteTookMs: number;
  /** What keeps the sink from taking records, until one is acknowledged again: it outlives the tries in between. */
  readonly sinkFault: { readonly fault: Fault; readonly sinceMs: number } | null;
  readonly sinkFailures: number;
  readonly logFailures: number;
  readonly ending: Ending | null;
  readonly ended: boolean;
}

export function initialState(start: TabletPosition): ReplicatorState {
  return {
    sink: { kind: 'waiting' },
    log: { kind: 'unopened', opening: null },
    calls: 0,
    read: start,
    acked: start,
    confirmed: null,
    queue: ReadQueue.EMPTY,
    lastWriteAtMs: Number.NEGATIVE_INFINITY,
    lastWriteTookMs: 0,
    sinkFault: null,
    sinkFailures: 0,
    logFailures: 0,
    ending: null,
    ended: false,
  };
}

/** Whether the answer to this call would still be taken. */
export function isAwaited({ sink, log, ended }: ReplicatorState, call: number): boolean {
  if (ended) return false;
  if ('call' in sink && sink.call === call) return true;
  return log.kind === 'open' ? log.reading === call : 'opening' in log && log.opening?.call === call;
}

/** Where a log ends in a gap, and since when. */
export interface Gap {
  readonly after: OpId;
  readonly sinceMs: number;
}

export function gapOf({ log, read }: ReplicatorState): Gap | null {
  return log.kind === 'failed' && log.fault.kind === 'gap' ? { after: read.opId, sinceMs: log.sinceMs } : null;
}

/** Whether the sink takes what it is given, as far as is known. */
export function sinkWorks({ sink, sinkFault }: ReplicatorState): boolean {
  return sinkFault === null && (sink.kind === 'idle' || sink.kind === 'writing');
}

/** Whether it gets on, as far as is known; one that stands at a gap does, since that is seen to where it is. */
export function works(state: ReplicatorState): boolean {
  const isReading = state.log.kind === 'open' || state.log.kind === 'gone' || gapOf(state) !== null;
  return isReading && sinkWorks(state);
}
