import type { RecordPosition } from '../api/control-plane.ts';
import type { TabletView, TraceStep } from '../api/shapes.ts';
import { compareOpIds, formatOpId, parseOpId, type OpId } from '../kudu/opid.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import type { ReplicateEntry } from '../wal/entry.ts';
import type { LogFeed } from '../wal/log-reader.ts';
import { SEARCHED_RECORDS, type PlacedRecord } from './newest-records.ts';

/** What the replica beside a sidecar knows of an operation and of how far its stream has come. */
export interface LocalLook {
  /** Null: its log does not have it, or not any more. */
  readonly operation: Pick<ReplicateEntry, 'opId' | 'hybridTime' | 'location'> | null;
  /** Where the stream's newest marker in this log stands; null where there is none. */
  readonly marked: OpId | null;
}

export interface TraceFacts {
  readonly position: RecordPosition;
  readonly view: TabletView;
  readonly local: LocalLook | null;
  /** An error says why the sink could not be looked at. */
  readonly record: PlacedRecord | null | Error;
}

/** Pure. The way of a record as far as it is known. */
export function traceSteps(facts: TraceFacts): readonly TraceStep[] {
  return [logStep(facts), sinkStep(facts), markerStep(facts)];
}

function logStep({ position: { opId }, view, local }: TraceFacts): TraceStep {
  const committed = view.committedOpId;
  const isCommitted = committed !== null && compareOpIds(opId, parseOpId(committed)) <= 0;
  const named = `operation ${formatOpId(opId)}`;
  if (local?.operation) {
    const { hybridTime, location } = local.operation;
    const wrote = new Date(Number(hybridTimeToMicros(hybridTime) / 1000n)).toISOString();
    return {
      step: 'log',
      is: isCommitted ? 'done' : 'pending',
      text: isCommitted ? `${named} is committed` : `${named} is in the log, and not known to be committed`,
      facts: {
        written: wrote,
        hybrid_time: hybridTime.toString(),
        segment: location.path,
        byte: String(location.offset),
      },
    };
  }
  const where = local === null ? 'there is no replica beside this sidecar' : 'the log here does not reach back to it';
  const elsewhere = view.sidecar === null ? '' : `; ask ${view.sidecar}`;
  return {
    step: 'log',
    is: isCommitted ? 'done' : 'unknown',
    text: isCommitted ? `${named} is committed; ${where}${elsewhere}` : `${named}: ${where}${elsewhere}`,
    facts: { ...(committed !== null && { committed }) },
  };
}

function sinkStep({ position: { opId }, view, record }: TraceFacts): TraceStep {
  const applied = view.applyOpId;
  const facts = { ...(applied !== null && { applied }) };
  if (record instanceof Error) return { step: 'sink', is: 'unknown', text: record.message, facts };
  if (record !== null)
    return {
      step: 'sink',
      is: 'done',
      text: `it is at ${record.place.text}`,
      facts: {
        ...facts,
        ...Object.fromEntries(Object.entries(record.place.fields).map(([name, value]) => [name, String(value)])),
      },
    };
  const isApplied = applied !== null && compareOpIds(opId, parseOpId(applied)) <= 0;
  return isApplied
    ? {
        step: 'sink',
        is: 'unknown',
        text: `the sink has acknowledged all up to ${applied}; the record is not among the newest ${SEARCHED_RECORDS} of its place, or the operation made none`,
        facts,
      }
    : { step: 'sink', is: 'pending', text: 'the sink has not acknowledged it yet', facts };
}

function markerStep({ position: { opId }, view, local }: TraceFacts): TraceStep {
  const marked = local?.marked ?? null;
  if (marked === null) {
    const elsewhere = view.sidecar === null ? '' : `; ask ${view.sidecar}`;
    const text = `no marker of this stream is known to this sidecar${elsewhere}`;
    return { step: 'marker', is: 'unknown', text, facts: {} };
  }
  const facts = { marked: formatOpId(marked) };
  return compareOpIds(opId, marked) <= 0
    ? { step: 'marker', is: 'done', text: `the tablet's own log says that all up to ${facts.marked} is there`, facts }
    : { step: 'marker', is: 'pending', text: `the newest marker in the tablet's log is ${facts.marked}`, facts };
}

/** Looks for an operation in what there is of a log: the last of that OpId, or null. */
export async function operationIn(feed: LogFeed, opId: OpId): Promise<ReplicateEntry | null> {
  let found: ReplicateEntry | null = null;
  for (;;) {
    const chunk = await feed.next();
    if (chunk.kind === 'idle' || chunk.kind === 'gone') return found;
    if (chunk.kind !== 'entries') continue;
    for (const entry of chunk.entries)
      if (entry.kind === 'replicate' && compareOpIds(entry.opId, opId) === 0) found = entry;
    if (chunk.lentBytes !== undefined) feed.giveBack?.(chunk.lentBytes);
  }
}
