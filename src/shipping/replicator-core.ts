import { comparePositions, isAhead, type TabletPosition } from '../change/position.ts';
import { countForBatch, writeDueInMs, type ReplicatorLimits } from './batch-policy.ts';
import {
  isAwaited,
  type Ending,
  type Fault,
  type LogPhase,
  type OpenableLog,
  type Opening,
  type ReplicatorState,
} from './replicator-state.ts';
import { backoffMs } from '../util/backoff.ts';

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
 * exactly what was read and not acknowledged. And at most one `open-log` has no answer.
 *
 * Each effect that is answered is a *call*: it has a number of its own, and so has its answer. The state keeps the numbers
 * that it waits for (see {@link isAwaited}), so an answer that is late can never be taken for the one that is due.
 */

/** With `call`, the answer to that one; without, what the outside tells. */
export type ReplicatorEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'sink-opened'; readonly call: number; readonly position: TabletPosition | null }
  /**
   * `takesTurn`: the source has a turn among the copies, or waits for one. `holdsRoom`: what was read of it takes room in memory
   * that others may wait for.
   */
  | {
      readonly kind: 'sink-failed';
      readonly call: number;
      readonly fault: Fault;
      readonly takesTurn: boolean;
      readonly holdsRoom: boolean;
    }
  | { readonly kind: 'sink-fenced'; readonly call: number }
  /** The writer that `open-sink` number `writer` opened has found between two writes that it is fenced. */
  | { readonly kind: 'writer-fenced'; readonly writer: number }
  | { readonly kind: 'sink-retry-due' }
  | { readonly kind: 'log-opened'; readonly call: number }
  | {
      readonly kind: 'log-read';
      readonly call: number;
      readonly upTo: TabletPosition;
      readonly bytes: number;
      readonly hasRecords: boolean;
      /** See `sink-failed`. */
      readonly holdsRoom: boolean;
    }
  | { readonly kind: 'log-failed'; readonly call: number; readonly fault: Fault }
  | { readonly kind: 'log-gone'; readonly call: number }
  | { readonly kind: 'log-retry-due' }
  /** The log cannot be read on, as was found elsewhere: it was let go of, or what was read of it makes no record. */
  | { readonly kind: 'log-lost'; readonly fault: Fault }
  /** What is missing after a gap may be there now: another sidecar had it. */
  | { readonly kind: 'log-filled' }
  /** Nobody has what is missing after a gap: the table itself is to make up for it. */
  | { readonly kind: 'log-repair' }
  | { readonly kind: 'written'; readonly call: number }
  | { readonly kind: 'flush-due' }
  | { readonly kind: 'refresh-due' }
  | { readonly kind: 'stop' };

export type ReplicatorEffect =
  /** Opens the sink's writer anew (disposing an earlier one); answers `sink-opened`, `sink-failed` or `sink-fenced`. */
  | { readonly kind: 'open-sink'; readonly call: number }
  /**
   * Opens the source anew (disposing an earlier reader) behind a position; answers `log-opened` or `log-failed`.
   * `repairs`: the log does not go on there; what it lacks is read from the table.
   */
  | { readonly kind: 'open-log'; readonly call: number; readonly after: TabletPosition; readonly repairs: boolean }
  /** Lets go of the log's files: it is not read on, and they take room. */
  | { readonly kind: 'close-log' }
  /** Reads some operations; answers `log-read`, `log-gone` or `log-failed`, whenever there is something. */
  | { readonly kind: 'read-log'; readonly call: number }
  /** Writes the first `count` reads of the queue, or with 0 the position alone; answers `written`, `sink-failed` or `sink-fenced`. */
  | { readonly kind: 'write'; readonly call: number; readonly count: number }
  /** The first `count` reads of the queue are done with. */
  | { readonly kind: 'drop-queue'; readonly count: number }
  | { readonly kind: 'retry-sink-in'; readonly ms: number }
  | { readonly kind: 'retry-log-in'; readonly ms: number }
  | { readonly kind: 'flush-in'; readonly ms: number }
  /** Releases log and sink; nothing follows. */
  | { readonly kind: 'end'; readonly ending: Ending };

/** A person has to do something; whether it was done shows when the log is read again. */
const OPERATOR_RETRY_MS = 60_000;
/** A sink that is away for less keeps its tablet's turn among the copies; one that says no does not. */
const YIELD_AFTER_MS = 5_000;

export interface StepResult {
  readonly state: ReplicatorState;
  readonly effects: readonly ReplicatorEffect[];
}

/** Pure. A late or repeated event changes nothing. */
export function step(
  state: ReplicatorState,
  event: ReplicatorEvent,
  nowMs: number,
  limits: ReplicatorLimits,
): StepResult {
  if (state.ended || ('call' in event && !isAwaited(state, event.call))) return same(state);
  switch (event.kind) {
    case 'start':
    case 'sink-retry-due':
      return state.sink.kind === 'waiting' && !state.ending ? openSink(state, nowMs) : same(state);
    case 'sink-opened':
      return onSinkOpened(state, event, nowMs, limits);
    case 'sink-failed':
      return onSinkFailed(state, event, nowMs, limits);
    case 'sink-fenced':
      return fenced(state, nowMs, limits);
    case 'writer-fenced':
      // A write that is under way is told so itself.
      return state.sink.kind === 'idle' && state.sink.writer === event.writer
        ? fenced(state, nowMs, limits)
        : same(state);
    case 'log-opened':
      return onLogOpened(state, nowMs, limits);
    case 'log-read':
      return onLogRead(state, event, nowMs, limits);
    case 'log-failed':
      return onLogFailed(state, event.fault, nowMs, limits);
    case 'log-lost':
      // Whoever has met the gap by reading knows only that there is one; this says why.
      if (state.log.kind === 'failed' && event.fault.kind === 'gap')
        return same({ ...state, log: { ...state.log, fault: event.fault } });
      return onLogFault(state, event.fault, nowMs, limits);
    case 'log-retry-due':
      if (state.log.kind !== 'waiting' || state.ending || isOpened(state.log)) return same(state);
      return openLog(state, state.log);
    case 'log-gone':
      return advance({ ...state, log: { kind: 'gone' } }, nowMs, limits);
    case 'log-filled':
    case 'log-repair':
      if (state.log.kind !== 'failed' || state.log.fault.kind !== 'gap' || state.ending) return same(state);
      return openLog(state, { ...state.log, kind: 'waiting' }, event.kind === 'log-repair' ? 'repair' : 'open');
    case 'written':
      return state.sink.kind === 'writing' ? onWritten(state, state.sink, nowMs, limits) : same(state);
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

function openSink(state: ReplicatorState, nowMs: number): StepResult {
  const call = state.calls + 1;
  return {
    state: { ...state, calls: call, sink: { kind: 'opening', call, sinceMs: nowMs } },
    effects: [{ kind: 'open-sink', call }],
  };
}

/**
 * Where to go on is the highest of what the sink says and what we know: an acknowledgement that was lost on the way
 * back shows in the sink, what the sink has forgotten shows in `acked`.
 */
function onSinkOpened(
  state: ReplicatorState,
  { call: writer, position }: { readonly call: number; readonly position: TabletPosition | null },
  nowMs: number,
  limits: ReplicatorLimits,
): StepResult {
  // A sink that has less than it acknowledged to us had another writer meanwhile, which went on from there: its repeats
  // of what is old stand behind what we wrote (at-least-once), so going on from ours would make them the last word.
  if (position && state.confirmed && isAhead(state.confirmed, position)) return fenced(state, nowMs, limits);
  const acked = position && isAhead(position, state.acked) ? position : state.acked;
  const owesNothing = state.queue.length === 0 && state.log.kind !== 'let-go';
  const healed = healedIf(owesNothing || acked !== state.acked, state);
  const confirmed = position ?? state.confirmed;
  const opened: ReplicatorState = { ...healed, sink: { kind: 'idle', writer }, acked, confirmed };
  if (state.log.kind === 'unopened' || state.log.kind === 'let-go')
    return state.ending ? advance(opened, nowMs, limits) : openLog({ ...opened, read: acked }, state.log);
  if (acked === state.acked) return advance(opened, nowMs, limits);
  const done = state.queue.findIndex((read) => comparePositions(read.upTo, acked) === 0) + 1;
  if (done > 0) {
    const dropped = dropQueue(opened, done);
    const next = advance(dropped, nowMs, limits);
    return { state: next.state, effects: [{ kind: 'drop-queue', count: done }, ...next.effects] };
  }
  // Another sidecar stopped between our reads, or past them: what we queued does not fit on, so it is read again.
  const next = openLog(
    { ...dropQueue(opened, opened.queue.length), read: acked },
    { kind: 'unopened', opening: openingOf(state.log) },
  );
  return { state: next.state, effects: [{ kind: 'drop-queue', count: state.queue.length }, ...next.effects] };
}

function openingOf(log: LogPhase): Opening | null {
  return 'opening' in log ? log.opening : null;
}

/** Whether something is being opened that will be read. */
function isOpened({ opening }: OpenableLog): boolean {
  return opening !== null && opening.then !== 'close';
}

/**
 * One at a time: a reader that another one replaces would never answer, or would have begun too early. What is asked for
 * meanwhile is opened when the answer is there.
 */
function openLog(state: ReplicatorState, log: OpenableLog, how: 'open' | 'repair' = 'open'): StepResult {
  if (log.opening) return { state: { ...state, log: { ...log, opening: { ...log.opening, then: how } } }, effects: [] };
  const call = state.calls + 1;
  return {
    state: { ...state, calls: call, log: { ...log, opening: { call, then: 'read' } } },
    effects: [{ kind: 'open-log', call, after: state.read, repairs: how === 'repair' }],
  };
}

/** What is open now is read, or was asked to be another one, or none, since. */
function onLogOpened(state: ReplicatorState, nowMs: number, limits: ReplicatorLimits): StepResult {
  const { log } = state;
  if (!('opening' in log) || !log.opening) return same(state);
  const { then } = log.opening;
  const answered = { ...log, opening: null };
  if (then === 'read') return advance({ ...state, log: { kind: 'open', reading: null } }, nowMs, limits);
  if (then !== 'close' && !state.ending) return openLog(state, answered, then);
  const next = advance({ ...state, log: answered }, nowMs, limits);
  return { state: next.state, effects: [{ kind: 'close-log' }, ...next.effects] };
}

function onSinkFailed(
  state: ReplicatorState,
  {
    fault,
    takesTurn,
    holdsRoom,
  }: Pick<Extract<ReplicatorEvent, { kind: 'sink-failed' }>, 'fault' | 'takesTurn' | 'holdsRoom'>,
  nowMs: number,
  limits: ReplicatorLimits,
): StepResult {
  const failures = state.sinkFailures + 1;
  const sinkFault = { fault, sinceMs: state.sinkFault?.sinceMs ?? nowMs };
  const next: ReplicatorState = { ...state, sinkFailures: failures, sinkFault, sink: { kind: 'waiting' } };
  if (state.ending) return advance(next, nowMs, limits);
  const retry = { kind: 'retry-sink-in' as const, ms: backoffMs(failures, limits.retry) };
  if (holdsRoom && state.log.kind === 'open') return letGo(next, retry);
  const isLong = fault.kind === 'operator' || nowMs - sinkFault.sinceMs >= YIELD_AFTER_MS;
  if (!takesTurn || !isLong || state.log.kind !== 'open') return { state: next, effects: [retry] };
  return { state: { ...next, log: { kind: 'yielded', opening: null } }, effects: [{ kind: 'close-log' }, retry] };
}

/** Room that others may wait for is not kept for a sink that is away: all that was read is read again. */
function letGo(state: ReplicatorState, ...then: readonly ReplicatorEffect[]): StepResult {
  const count = state.queue.length;
  const log: LogPhase = { kind: 'let-go', opening: null };
  return {
    state: { ...dropQueue(state, count), read: state.acked, log },
    effects: [{ kind: 'drop-queue', count }, { kind: 'close-log' }, ...then],
  };
}

/**
 * A sink that opens has not yet shown that it takes what is queued (its topic may be missing); an acknowledgement has, and
 * one that was lost on its way too.
 */
function healedIf(healed: boolean, state: ReplicatorState): ReplicatorState {
  return healed ? { ...state, sinkFault: null, sinkFailures: 0 } : state;
}

function onLogRead(
  state: ReplicatorState,
  read: Extract<ReplicatorEvent, { kind: 'log-read' }>,
  nowMs: number,
  limits: ReplicatorLimits,
): StepResult {
  const { upTo, bytes, hasRecords, holdsRoom } = read;
  const next: ReplicatorState = {
    ...state,
    log: { kind: 'open', reading: null },
    logFailures: 0,
    read: upTo,
    queue: state.queue.push({ upTo, bytes, hasRecords, readAtMs: nowMs }),
  };
  return holdsRoom && state.sink.kind === 'waiting' ? letGo(next) : advance(next, nowMs, limits);
}

/** Of what was to be opened and is not wanted any more a failure says nothing. */
function onLogFailed(state: ReplicatorState, fault: Fault, nowMs: number, limits: ReplicatorLimits): StepResult {
  const { log } = state;
  if (!('opening' in log) || !log.opening) return onLogFault(state, fault, nowMs, limits);
  const { then } = log.opening;
  const answered: ReplicatorState & { log: OpenableLog } = { ...state, log: { ...log, opening: null } };
  if (then === 'read') return failLog(answered, fault, nowMs, limits);
  return then === 'close' || state.ending ? advance(answered, nowMs, limits) : openLog(answered, answered.log, then);
}

/** What is said once is not said again: of a log that is given up, or is to be opened anew in any case. */
function onLogFault(state: ReplicatorState, fault: Fault, nowMs: number, limits: ReplicatorLimits): StepResult {
  const { log } = state;
  if (log.kind === 'failed' || log.kind === 'gone') return same(state);
  if (log.kind === 'waiting' && fault.kind !== 'gap' && !isOpened(log)) return same(state);
  return failLog(state, fault, nowMs, limits);
}

/** It is not read on; what is being opened of it is closed when it is there. */
function failLog(state: ReplicatorState, fault: Fault, nowMs: number, limits: ReplicatorLimits): StepResult {
  const sinceMs = state.log.kind === 'waiting' ? state.log.sinceMs : nowMs;
  const underWay = openingOf(state.log);
  const opening: Opening | null = underWay && { ...underWay, then: 'close' };
  if (fault.kind === 'gap') {
    const failed = advance({ ...state, log: { kind: 'failed', opening, fault, sinceMs } }, nowMs, limits);
    return { state: failed.state, effects: [{ kind: 'close-log' }, ...failed.effects] };
  }
  const failures = state.logFailures + 1;
  const log: LogPhase = { kind: 'waiting', opening, fault, sinceMs };
  const next = advance({ ...state, logFailures: failures, log }, nowMs, limits);
  if (next.state.ending) return next;
  const ms = fault.kind === 'operator' ? OPERATOR_RETRY_MS : backoffMs(failures, limits.retry);
  // What it has open, and a turn among the copies, is others' meanwhile.
  return { state: next.state, effects: [{ kind: 'close-log' }, ...next.effects, { kind: 'retry-log-in', ms }] };
}

function fenced(state: ReplicatorState, nowMs: number, limits: ReplicatorLimits): StepResult {
  return advance({ ...state, ending: state.ending ?? 'fenced', sink: { kind: 'waiting' } }, nowMs, limits);
}

function onWritten(
  state: ReplicatorState,
  { writer, count }: { readonly writer: number; readonly count: number },
  nowMs: number,
  limits: ReplicatorLimits,
): StepResult {
  const acked = state.queue.at(count - 1)?.upTo ?? state.acked;
  const lastWriteTookMs = nowMs - state.lastWriteAtMs;
  const healed = healedIf(true, dropQueue(state, count));
  const written: ReplicatorState = { ...healed, acked, confirmed: acked, lastWriteTookMs };
  const next = advance({ ...written, sink: { kind: 'idle', writer } }, nowMs, limits);
  return { state: next.state, effects: [{ kind: 'drop-queue', count }, ...next.effects] };
}

/** The asking is the runner's, now and then; what is older than the limit is decided here. */
function onRefreshDue(state: ReplicatorState, nowMs: number, limits: ReplicatorLimits): StepResult {
  if (state.sink.kind !== 'idle' || state.log.kind !== 'open' || state.queue.length > 0 || state.ending)
    return same(state);
  if (nowMs - state.lastWriteAtMs < limits.positionRefreshMs) return same(state);
  return write(state, state.sink.writer, 0, nowMs);
}

function write(state: ReplicatorState, writer: number, count: number, nowMs: number): StepResult {
  const call = state.calls + 1;
  return {
    state: { ...state, calls: call, sink: { kind: 'writing', writer, call, count }, lastWriteAtMs: nowMs },
    effects: [{ kind: 'write', call, count }],
  };
}

function dropQueue(state: ReplicatorState, count: number): ReplicatorState {
  return { ...state, queue: state.queue.drop(count) };
}

/** What follows from the state alone: end, write, or wait for a batch to fill; and read on while there is room. */
function advance(state: ReplicatorState, nowMs: number, limits: ReplicatorLimits): StepResult {
  if (state.sink.kind !== 'writing') {
    // A batch in hand is finished first: its outcome comes as an event and leads back here.
    const isAll = state.log.kind === 'gone' && state.queue.length === 0;
    const ending = state.ending ?? (isAll ? 'tablet-gone' : null);
    if (ending) return { state: { ...state, ending, ended: true }, effects: [{ kind: 'end', ending }] };
  }
  const effects: ReplicatorEffect[] = [];
  let next = state;
  const goOn = (result: StepResult): void => {
    next = result.state;
    effects.push(...result.effects);
  };
  if (next.sink.kind === 'idle' && next.queue.length > 0) {
    const dueInMs = writeDueInMs(next, next.log.kind === 'open', nowMs, limits);
    if (dueInMs > 0) effects.push({ kind: 'flush-in', ms: dueInMs });
    else goOn(write(next, next.sink.writer, countForBatch(next.queue, limits.maxBatchBytes, next.acked), nowMs));
  }
  const { log } = next;
  if (next.ending) return { state: next, effects };
  if (log.kind === 'yielded' && !isOpened(log) && next.sinkFault === null) goOn(openLog(next, log));
  if (log.kind === 'open' && log.reading === null && next.queue.bytes < limits.maxQueuedBytes) {
    const call = next.calls + 1;
    goOn({ state: { ...next, calls: call, log: { ...log, reading: call } }, effects: [{ kind: 'read-log', call }] });
  }
  return { state: next, effects };
}
