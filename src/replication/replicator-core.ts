import { comparePositions, isAhead, type SinkPosition } from '../change/position.ts';

/*
 * The decisions of one tablet's replicator, and nothing else: a state, the events that change it, and effects as data.
 * No clock, no socket, no log line. tablet-replicator.ts carries the effects out in order and reports each outcome as
 * an event, so that every interleaving of outcomes can be played in a test.
 *
 *   source ──read──▶ queue ──write──▶ sink ──acknowledged──▶ position
 *
 * The source is the tablet's log, or a copy of its rows and then the log (tablet-source.ts).
 *
 * Invariant at all times: acked <= written (in flight) <= read, in the order of positions; what is in the queue is
 * exactly what was read and not acknowledged.
 */

/** One read of the source: some committed operations, or rows of a copy, in order (often without a record: a NO_OP). */
export interface QueuedRead {
  readonly upTo: SinkPosition;
  /** Size in the log. */
  readonly bytes: number;
  readonly hasRecords: boolean;
  readonly readAtMs: number;
}

/** Why a replicator has ended. */
export type Ending = 'stopped' | 'fenced' | 'tablet-gone';

/** A fault as the core sees it: whether trying again can help, and what the views show. */
export interface Fault {
  readonly code: string;
  readonly message: string;
  /** `gap`: operations are gone; `operator`: a person must act, and it is looked at again seldom; `retry`: by itself. */
  readonly kind: 'gap' | 'operator' | 'retry';
}

export type SinkPhase =
  | { readonly kind: 'opening' }
  | { readonly kind: 'idle' }
  | { readonly kind: 'writing'; readonly count: number }
  | { readonly kind: 'waiting' };

/** Whether an `open-log` has no answer yet; `again`: what it opens is not what is wanted any more. */
type Opening = 'no' | 'yes' | 'again';

export type LogPhase =
  | { readonly kind: 'unopened'; readonly opening: Opening }
  | { readonly kind: 'open'; readonly reading: boolean }
  | { readonly kind: 'waiting'; readonly opening: Opening; readonly fault: Fault; readonly sinceMs: number }
  | { readonly kind: 'failed'; readonly fault: Fault; readonly sinceMs: number }
  | { readonly kind: 'gone' };

export interface ReplicatorState {
  readonly sink: SinkPhase;
  readonly log: LogPhase;
  /** How far was read, or where the next reading starts. */
  readonly read: SinkPosition;
  /** What the sink has; its OpId is the apply OpId. */
  readonly acked: SinkPosition;
  /** Reads that are not acknowledged, oldest first; while writing, the first `count` are in flight. */
  readonly queue: readonly QueuedRead[];
  readonly queuedBytes: number;
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

export type ReplicatorEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'sink-opened'; readonly position: SinkPosition | null }
  | { readonly kind: 'sink-failed'; readonly fault: Fault }
  | { readonly kind: 'sink-fenced' }
  | { readonly kind: 'sink-retry-due' }
  | { readonly kind: 'log-opened' }
  | { readonly kind: 'log-read'; readonly upTo: SinkPosition; readonly bytes: number; readonly hasRecords: boolean }
  | { readonly kind: 'log-failed'; readonly fault: Fault }
  | { readonly kind: 'log-retry-due' }
  | { readonly kind: 'log-gone' }
  /** What is missing after a gap may be there now: another sidecar had it. */
  | { readonly kind: 'log-filled' }
  /** Nobody has what is missing after a gap: the table itself is to make up for it. */
  | { readonly kind: 'log-repair' }
  | { readonly kind: 'written' }
  | { readonly kind: 'flush-due' }
  | { readonly kind: 'refresh-due' }
  | { readonly kind: 'stop' };

export type ReplicatorEffect =
  /** Opens the sink's writer anew (disposing an earlier one); answers `sink-opened`, `sink-failed` or `sink-fenced`. */
  | { readonly kind: 'open-sink' }
  /**
   * Opens the source anew (disposing an earlier reader) behind a position; answers `log-opened` or `log-failed`.
   * `repairs`: the log does not go on there; what it lacks is read from the table.
   */
  | { readonly kind: 'open-log'; readonly after: SinkPosition; readonly repairs: boolean }
  /** Lets go of the log's files: it cannot be read on, and they take room. */
  | { readonly kind: 'close-log' }
  /** Reads some operations; answers `log-read`, `log-gone` or `log-failed`, whenever there is something. */
  | { readonly kind: 'read-log' }
  /** Writes the first `count` reads of the queue, or with 0 the position alone; answers `written`, `sink-failed` or `sink-fenced`. */
  | { readonly kind: 'write'; readonly count: number }
  /** The first `count` reads of the queue are done with. */
  | { readonly kind: 'drop-queue'; readonly count: number }
  | { readonly kind: 'retry-sink-in'; readonly ms: number }
  | { readonly kind: 'retry-log-in'; readonly ms: number }
  | { readonly kind: 'flush-in'; readonly ms: number }
  /** Releases log and sink; nothing follows. */
  | { readonly kind: 'end'; readonly ending: Ending };

export interface ReplicatorLimits {
  /** A write takes reads until they are this large in the log; at least one. */
  readonly maxBatchBytes: number;
  /** Reading pauses while more than this, measured in the log, is queued. */
  readonly maxQueuedBytes: number;
  /** Under steady load writes start at least this far apart unless a batch is full; a lone row is not held back. */
  readonly minWriteIntervalMs: number;
  /** However slow the sink is. */
  readonly maxWriteIntervalMs: number;
  /** A position without records is written at most this often. */
  readonly positionIntervalMs: number;
  /** A position that has not moved for so long is written again: sinks may forget what is old (Kafka's offsets do). */
  readonly positionRefreshMs: number;
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
}

/** A person has to do something; whether it was done shows when the log is read again. */
const OPERATOR_RETRY_MS = 60_000;

export interface StepResult {
  readonly state: ReplicatorState;
  readonly effects: readonly ReplicatorEffect[];
}

export function initialState(start: SinkPosition): ReplicatorState {
  return {
    sink: { kind: 'opening' },
    log: { kind: 'unopened', opening: 'no' },
    read: start,
    acked: start,
    queue: [],
    queuedBytes: 0,
    lastWriteAtMs: Number.NEGATIVE_INFINITY,
    lastWriteTookMs: 0,
    sinkFault: null,
    sinkFailures: 0,
    logFailures: 0,
    ending: null,
    ended: false,
  };
}

/** Pure. A late or repeated event changes nothing. */
export function step(
  state: ReplicatorState,
  event: ReplicatorEvent,
  nowMs: number,
  limits: ReplicatorLimits,
): StepResult {
  if (state.ended) return { state, effects: [] };
  switch (event.kind) {
    case 'start':
      return { state, effects: [{ kind: 'open-sink' }] };
    case 'sink-opened':
      return state.sink.kind === 'opening' ? onSinkOpened(state, event.position, nowMs, limits) : same(state);
    case 'sink-failed':
      return onSinkFailed(state, event.fault, nowMs, limits);
    case 'sink-fenced':
      return advance({ ...state, ending: state.ending ?? 'fenced', sink: { kind: 'idle' } }, nowMs, limits);
    case 'sink-retry-due':
      if (state.sink.kind !== 'waiting' || state.ending) return same(state);
      return { state: { ...state, sink: { kind: 'opening' } }, effects: [{ kind: 'open-sink' }] };
    case 'log-opened':
      if (state.log.kind !== 'unopened' && state.log.kind !== 'waiting') return same(state);
      if (state.log.opening === 'again') return openLog(state, { ...state.log, opening: 'no' });
      return advance({ ...state, log: { kind: 'open', reading: false } }, nowMs, limits);
    case 'log-read':
      return state.log.kind === 'open' && state.log.reading ? onLogRead(state, event, nowMs, limits) : same(state);
    case 'log-failed':
      return onLogFailed(state, event.fault, nowMs, limits);
    case 'log-retry-due':
      if (state.log.kind !== 'waiting' || state.log.opening !== 'no' || state.ending) return same(state);
      return openLog(state, state.log);
    case 'log-gone':
      return advance({ ...state, log: { kind: 'gone' } }, nowMs, limits);
    case 'log-filled':
    case 'log-repair':
      if (state.log.kind !== 'failed' || state.log.fault.kind !== 'gap' || state.ending) return same(state);
      return openLog(state, { ...state.log, kind: 'waiting', opening: 'no' }, event.kind === 'log-repair');
    case 'written':
      return state.sink.kind === 'writing' ? onWritten(state, state.sink.count, nowMs, limits) : same(state);
    case 'flush-due':
      return advance(state, nowMs, limits);
    case 'refresh-due':
      return onRefreshDue(state, nowMs, limits);
    case 'stop':
      return advance({ ...state, ending: state.ending ?? 'stopped' }, nowMs, limits);
    default:
      return assertNever(event);
  }
}

function same(state: ReplicatorState): StepResult {
  return { state, effects: [] };
}

function assertNever(event: never): never {
  throw new TypeError(`unhandled event ${JSON.stringify(event)}`);
}

/**
 * Where to go on is the highest of what the sink says and what we know: an acknowledgement that was lost on the way
 * back shows in the sink, what the sink has forgotten shows in `acked`.
 */
function onSinkOpened(
  state: ReplicatorState,
  position: SinkPosition | null,
  nowMs: number,
  limits: ReplicatorLimits,
): StepResult {
  // A sink that has less than it acknowledged to us had another writer meanwhile, which went on from there: its repeats
  // of what is old stand behind what we wrote (at-least-once), so going on from ours would make them the last word.
  if (state.log.kind !== 'unopened' && position && isAhead(state.acked, position))
    return advance({ ...state, ending: state.ending ?? 'fenced', sink: { kind: 'idle' } }, nowMs, limits);
  const acked = position && isAhead(position, state.acked) ? position : state.acked;
  const opened: ReplicatorState = { ...healedIf(state.queue.length === 0, state), sink: { kind: 'idle' }, acked };
  if (state.log.kind === 'unopened')
    return state.ending ? advance(opened, nowMs, limits) : openLog({ ...opened, read: acked }, state.log);
  if (acked === state.acked) return advance(opened, nowMs, limits);
  const done = state.queue.findIndex((read) => comparePositions(read.upTo, acked) === 0) + 1;
  if (done > 0) {
    const dropped = dropQueue(opened, done);
    const next = advance(dropped, nowMs, limits);
    return { state: next.state, effects: [{ kind: 'drop-queue', count: done }, ...next.effects] };
  }
  // Another sidecar stopped between our reads, or past them: what we queued does not fit on, so it is read again.
  const opening = state.log.kind === 'waiting' ? state.log.opening : 'no';
  const next = openLog({ ...dropQueue(opened, opened.queue.length), read: acked }, { kind: 'unopened', opening });
  return { state: next.state, effects: [{ kind: 'drop-queue', count: state.queue.length }, ...next.effects] };
}

/**
 * One at a time: a reader that another one replaces would never answer, or would have begun too early. What is asked for
 * meanwhile is opened when the answer is there.
 */
function openLog(state: ReplicatorState, log: Extract<LogPhase, { opening: Opening }>, repairs = false): StepResult {
  if (log.opening !== 'no') return { state: { ...state, log: { ...log, opening: 'again' } }, effects: [] };
  return {
    state: { ...state, log: { ...log, opening: 'yes' } },
    effects: [{ kind: 'open-log', after: state.read, repairs }],
  };
}

function onSinkFailed(state: ReplicatorState, fault: Fault, nowMs: number, limits: ReplicatorLimits): StepResult {
  if (state.sink.kind === 'waiting') return same(state);
  const failures = state.sinkFailures + 1;
  const sinkFault = { fault, sinceMs: state.sinkFault?.sinceMs ?? nowMs };
  const next: ReplicatorState = { ...state, sinkFailures: failures, sinkFault, sink: { kind: 'waiting' } };
  if (state.ending) return advance(next, nowMs, limits);
  return { state: next, effects: [{ kind: 'retry-sink-in', ms: backoffMs(failures, limits) }] };
}

/** A sink that opens has not yet shown that it takes what is queued (its topic may be missing); an acknowledgement has. */
function healedIf(healed: boolean, state: ReplicatorState): ReplicatorState {
  return healed ? { ...state, sinkFault: null, sinkFailures: 0 } : state;
}

function onLogRead(
  state: ReplicatorState,
  read: { upTo: SinkPosition; bytes: number; hasRecords: boolean },
  nowMs: number,
  limits: ReplicatorLimits,
): StepResult {
  const item: QueuedRead = { upTo: read.upTo, bytes: read.bytes, hasRecords: read.hasRecords, readAtMs: nowMs };
  return advance(
    {
      ...state,
      log: { kind: 'open', reading: false },
      logFailures: 0,
      read: read.upTo,
      queue: [...state.queue, item],
      queuedBytes: state.queuedBytes + read.bytes,
    },
    nowMs,
    limits,
  );
}

function onLogFailed(state: ReplicatorState, fault: Fault, nowMs: number, limits: ReplicatorLimits): StepResult {
  if (state.log.kind === 'failed' || state.log.kind === 'gone') return same(state);
  const sinceMs = state.log.kind === 'waiting' ? state.log.sinceMs : nowMs;
  if (fault.kind === 'gap') {
    const failed = advance({ ...state, log: { kind: 'failed', fault, sinceMs } }, nowMs, limits);
    return { state: failed.state, effects: [{ kind: 'close-log' }, ...failed.effects] };
  }
  if (state.log.kind === 'waiting' && state.log.opening === 'no') return same(state); // it is opened anew in any case
  if ('opening' in state.log && state.log.opening === 'again' && !state.ending)
    return openLog(state, { ...state.log, opening: 'no' });
  const failures = state.logFailures + 1;
  const log: LogPhase = { kind: 'waiting', opening: 'no', fault, sinceMs };
  const next = advance({ ...state, logFailures: failures, log }, nowMs, limits);
  if (next.state.ending) return next;
  const ms = fault.kind === 'operator' ? OPERATOR_RETRY_MS : backoffMs(failures, limits);
  // What it has open, and a turn among the copies, is others' meanwhile.
  return { state: next.state, effects: [{ kind: 'close-log' }, ...next.effects, { kind: 'retry-log-in', ms }] };
}

function onWritten(state: ReplicatorState, count: number, nowMs: number, limits: ReplicatorLimits): StepResult {
  const acked = state.queue[count - 1]?.upTo ?? state.acked;
  const lastWriteTookMs = nowMs - state.lastWriteAtMs;
  const written: ReplicatorState = { ...healedIf(true, dropQueue(state, count)), acked, lastWriteTookMs };
  const next = advance({ ...written, sink: { kind: 'idle' } }, nowMs, limits);
  return { state: next.state, effects: [{ kind: 'drop-queue', count }, ...next.effects] };
}

/** The asking is the runner's, now and then; what is older than the limit is decided here. */
function onRefreshDue(state: ReplicatorState, nowMs: number, limits: ReplicatorLimits): StepResult {
  const isQuiet = state.sink.kind === 'idle' && state.log.kind === 'open' && state.queue.length === 0 && !state.ending;
  if (!isQuiet || nowMs - state.lastWriteAtMs < limits.positionRefreshMs) return same(state);
  return {
    state: { ...state, sink: { kind: 'writing', count: 0 }, lastWriteAtMs: nowMs },
    effects: [{ kind: 'write', count: 0 }],
  };
}

function dropQueue(state: ReplicatorState, count: number): ReplicatorState {
  const queue = state.queue.slice(count);
  return { ...state, queue, queuedBytes: queue.reduce((sum, read) => sum + read.bytes, 0) };
}

/** What follows from the state alone: end, write, or wait for a batch to fill; and read on while there is room. */
function advance(state: ReplicatorState, nowMs: number, limits: ReplicatorLimits): StepResult {
  const effects: ReplicatorEffect[] = [];
  let next = state;
  if (next.sink.kind !== 'writing') {
    // A batch in hand is finished first: its outcome comes as an event and leads back here.
    if (next.ending) return { state: { ...next, ended: true }, effects: [{ kind: 'end', ending: next.ending }] };
    if (next.log.kind === 'gone' && next.queue.length === 0)
      return {
        state: { ...next, ending: 'tablet-gone', ended: true },
        effects: [{ kind: 'end', ending: 'tablet-gone' }],
      };
  }
  if (next.sink.kind === 'idle' && next.queue.length > 0) {
    const dueInMs = writeDueInMs(next, nowMs, limits);
    if (dueInMs > 0) effects.push({ kind: 'flush-in', ms: dueInMs });
    else {
      const count = countForBatch(next.queue, limits.maxBatchBytes);
      next = { ...next, sink: { kind: 'writing', count }, lastWriteAtMs: nowMs };
      effects.push({ kind: 'write', count });
    }
  }
  if (next.log.kind === 'open' && !next.log.reading && next.queuedBytes < limits.maxQueuedBytes && !next.ending) {
    next = { ...next, log: { kind: 'open', reading: true } };
    effects.push({ kind: 'read-log' });
  }
  return { state: next, effects };
}

function writeDueInMs(state: ReplicatorState, nowMs: number, limits: ReplicatorLimits): number {
  if (state.log.kind !== 'open' || state.queuedBytes >= limits.maxBatchBytes) return 0;
  // A sink that is slow because it is busy gets fewer and larger writes: it is never asked more than two thirds of the time.
  const restMs = Math.max(limits.minWriteIntervalMs, Math.min(1.5 * state.lastWriteTookMs, limits.maxWriteIntervalMs));
  if (state.queue.some((read) => read.hasRecords)) return state.lastWriteAtMs + restMs - nowMs;
  return (state.queue[0]?.readAtMs ?? nowMs) + limits.positionIntervalMs - nowMs;
}

function countForBatch(queue: readonly QueuedRead[], maxBatchBytes: number): number {
  let bytes = 0;
  for (const [i, read] of queue.entries()) {
    bytes += read.bytes;
    if (bytes > maxBatchBytes) return Math.max(1, i);
  }
  return queue.length;
}

function backoffMs(failures: number, limits: ReplicatorLimits): number {
  return Math.min(limits.retryCapMs, limits.retryBaseMs * 2 ** Math.min(failures - 1, 20));
}
