import { copyUnderWay, isAhead, isResync, type TabletPosition } from '../change/position.ts';
import { hybridTimeToMicros, type HybridTime } from '../kudu/hybrid-time.ts';
import { MIN_OPID, formatOpId, type OpId } from '../kudu/opid.ts';
import type { ChangeSource } from '../source/change-source.ts';
import type { Fault, ReplicatorState } from './replicator-state.ts';
import { wallTimeOf } from '../util/steady-clock.ts';
import { waitingFor, type Standing, type TabletView } from '../api/shapes.ts';
import type { Wait } from '../util/waits.ts';

/** Running, and yet the position has not moved for so long while there is something to ship. */
const STALLED_AFTER_MS = 30_000;

/** What a view of a replicator is made of, besides its past. */
export interface ReplicatorFacts {
  readonly state: ReplicatorState;
  readonly source: Pick<ChangeSource, 'committed' | 'copyRows' | 'waits'> | null;
  /** Of the oldest operation that was read and is not acknowledged. */
  readonly oldestTime: HybridTime | null;
  /** What time it is by the clock that such times are of. */
  readonly kuduNowMs: number;
  /** What its sink says that an opening or a write waits for. */
  readonly sinkWaits: Wait | null;
}

/** What keeps a tablet from running, or null. */
export function faultOf({ log, sinkFault }: ReplicatorState): { fault: Fault; sinceMs: number } | null {
  return log.kind === 'failed' || log.kind === 'waiting' ? log : sinkFault;
}

/** What one replicator shows of itself: its state with the reason for it, and how far behind it is. */
export class ReplicatorViewer {
  /** Highest operation that its tablet server has told of. */
  #noted: OpId = MIN_OPID;
  /** When all that its server had committed was last known to be in the sink. */
  #caughtUpAtMs: number | null = null;
  /** Since when there is something to ship, and the position has not moved; null while there is nothing. */
  #standsSinceMs: number | null = null;
  /** Of the copy that is under way: where it stood when this replicator came to it. */
  #copyBegan: { readonly cut: bigint; readonly rows: number; readonly atMs: number } | null = null;
  /** What it is at, and since when. */
  #phase: { readonly name: Phase; readonly sinceMs: number } | null = null;

  /** The tablet server says what is committed. */
  noteCommitted(opId: OpId, facts: ReplicatorFacts, nowMs: number): void {
    this.#noted = opId;
    if (facts.state.acked.opId.index >= opId.index) this.#caughtUpAtMs = nowMs;
    this.noteStep(facts.state.acked, facts, nowMs);
  }

  /** To be called after each step of the core. */
  noteStep(ackedBefore: TabletPosition, facts: ReplicatorFacts, nowMs: number): void {
    const { acked } = facts.state;
    const copy = copyUnderWay(acked);
    if (copy !== null && this.#copyBegan?.cut !== copy.cut)
      this.#copyBegan = { cut: copy.cut, rows: copy.rows, atMs: nowMs };
    if (acked.opId.index >= this.#committed(facts).index) this.#standsSinceMs = null;
    else if (isAhead(acked, ackedBefore)) this.#standsSinceMs = nowMs;
    else this.#standsSinceMs ??= nowMs;
    const name = phaseOf(facts.state);
    if (this.#phase?.name !== name) this.#phase = { name, sinceMs: nowMs };
  }

  /** All but what only its stream, its tablet and the tablet manager know. */
  view(
    facts: ReplicatorFacts,
    nowMs: number,
  ): Pick<
    TabletView,
    'table' | 'applyOpId' | 'committedOpId' | 'lagOps' | 'lagSeconds' | 'copy' | 'corrected' | 'resynced' | 'rewound'
  > &
    Standing {
    const { acked } = facts.state;
    const committed = this.#committed(facts);
    return {
      table: acked.tableName,
      applyOpId: formatOpId(acked.opId),
      committedOpId: formatOpId(committed),
      lagOps: Number(committed.index - acked.opId.index),
      lagSeconds: this.#lagSeconds(facts, nowMs),
      ...this.#copyView(facts, nowMs),
      ...(acked.corrected !== undefined && { corrected: acked.corrected }),
      ...(acked.resync !== undefined && { resynced: acked.resync }),
      ...(acked.rewound !== undefined && { rewound: acked.rewound }),
      ...this.standing(facts, nowMs),
    };
  }

  /** Where it stands, and what keeps it there. */
  standing(facts: ReplicatorFacts, nowMs: number): Standing {
    const { state, source, sinkWaits } = facts;
    const fault = faultOf(state);
    if (fault) {
      const { code, message, kind } = fault.fault;
      const error = { code, message, since: wallTimeOf(fault.sinceMs) };
      return { state: kind === 'gap' ? 'gap' : 'blocked', error };
    }
    const phase = this.#phase?.name ?? 'sink';
    const sinceMs = this.#phase?.sinceMs ?? nowMs;
    if (phase === 'sink') {
      const waits = sinkWaits ?? { for: "its sink's writer, which is being opened", sinceMs };
      return { state: 'starting', ...waitingFor(waits) };
    }
    if (phase === 'log')
      return { state: 'starting', ...waitingFor({ for: 'its log, which is being opened', sinceMs }) };
    const { sink, lastWriteAtMs } = state;
    if (sink.kind === 'writing' && nowMs - lastWriteAtMs > STALLED_AFTER_MS) {
      const waits = sinkWaits ?? { for: 'its sink to acknowledge a write', sinceMs: lastWriteAtMs };
      return { state: 'stalled', ...waitingFor(waits) };
    }
    const sourceWaits = source?.waits ?? null;
    if (phase !== 'following' && sourceWaits) return { state: phase, ...waitingFor(sourceWaits) };
    if (this.#standsSinceMs !== null && nowMs - this.#standsSinceMs > STALLED_AFTER_MS) {
      const committed = formatOpId(this.#committed(facts));
      const what = `its log, which was read up to ${formatOpId(state.read.opId)} while its server has committed ${committed}`;
      return { state: 'stalled', ...waitingFor(sourceWaits ?? { for: what, sinceMs: this.#standsSinceMs }) };
    }
    if (phase === 'following') return { state: 'running' };
    return { state: phase, ...waitingFor({ for: 'the rest of its rows, which are being copied', sinceMs }) };
  }

  /** The highest operation that is known to be committed, by the log or by the server. */
  #committed({ state, source }: ReplicatorFacts): OpId {
    const { opId } = state.read;
    return highest([opId, this.#noted, source?.committed ?? opId]);
  }

  /**
   * Age of the oldest operation that is not shipped. Where it was not read yet it came behind the last that is shipped,
   * and after its server was known to have nothing more: no less.
   */
  #lagSeconds(facts: ReplicatorFacts, nowMs: number): number | null {
    const { acked } = facts.state;
    if (facts.oldestTime !== null) return secondsSince(facts.oldestTime, facts.kuduNowMs);
    if (this.#committed(facts).index <= acked.opId.index) return 0;
    const bounds: number[] = [];
    if (acked.time !== undefined) bounds.push(secondsSince(acked.time, facts.kuduNowMs));
    if (this.#caughtUpAtMs !== null) bounds.push(Math.max(0, nowMs - this.#caughtUpAtMs) / 1000);
    return bounds.length === 0 ? null : Math.min(...bounds);
  }

  #copyView({ state, source }: ReplicatorFacts, nowMs: number): Pick<TabletView, 'copy'> {
    const copy = copyUnderWay(state.acked);
    if (copy === null) return {};
    const { rows, at, since, onlyLog } = copy;
    const total = source?.copyRows ?? null;
    const began = this.#copyBegan;
    const perSecond = began && nowMs > began.atMs ? ((rows - began.rows) * 1000) / (nowMs - began.atMs) : 0;
    return {
      copy: {
        kind: onlyLog ? 'log' : since === undefined ? 'all' : 'changes',
        hybridTime: at.toString(),
        rows,
        totalRows: total,
        percent: total === null ? null : total === 0 ? 100 : Math.min(100, (100 * rows) / total),
        secondsLeft: total === null || perSecond === 0 ? null : Math.max(0, (total - rows) / perSecond),
      },
    };
  }
}

/** What a replicator is at that no fault keeps: opening its sink, its log, copying, or following the log. */
type Phase = 'sink' | 'log' | 'base-copy' | 'resync' | 'following';

function phaseOf({ sink, log, read, acked, confirmed }: ReplicatorState): Phase {
  if (sink.kind === 'opening' || (sink.kind === 'waiting' && confirmed === null)) return 'sink';
  if (log.kind === 'unopened' || log.kind === 'let-go') return 'log';
  const { copy, resync } = read.copy === undefined ? acked : read;
  if (copy === undefined) return 'following';
  return copy !== 'wanted' && isResync(copy, resync) ? 'resync' : 'base-copy';
}

/** Committed operations of one tablet are ordered by their index alone. */
function highest(opIds: readonly OpId[]): OpId {
  return opIds.reduce((max, opId) => (opId.index > max.index ? opId : max));
}

export function secondsSince(time: HybridTime, nowMs: number): number {
  return Math.max(0, nowMs / 1000 - Number(hybridTimeToMicros(time)) / 1e6);
}
