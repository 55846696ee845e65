import { type SinkErrorKind, SinkError } from '../sink.ts';

/** What the broker grants the transactions of one producer. */
export interface GrantedTime {
  readonly ms: number;
  /** What was asked for first: more than `ms` where the brokers' transaction.max.timeout.ms does not allow it. */
  readonly wantedMs: number;
}

/** As shipped: transaction.max.timeout.ms. */
const USUAL_MAX_MS = 900_000;
/** With less not even the round trips of an empty transaction could be relied on. */
const LEAST_MS = 1_000;
const MORE_TIMES = 4;

/** How much time to ask for, by transactional id: more for one whose last transaction was not done in time. */
export class TransactionTimes {
  readonly #wanted = new Map<string, number>();

  wantedMs(id: string): number {
    return this.#wanted.get(id) ?? 0;
  }

  /** @returns what the next try asks for */
  ranOut(id: string, { ms, wantedMs }: GrantedTime): number {
    const next = ms < wantedMs ? wantedMs : Math.max(this.wantedMs(id), moreThan(ms));
    this.#wanted.set(id, next);
    return next;
  }
}

/** Not past what brokers allow as shipped before that itself was too little: then somebody may have raised it. */
function moreThan(ms: number): number {
  const more = ms * MORE_TIMES;
  return ms < USUAL_MAX_MS ? Math.min(more, USUAL_MAX_MS) : more;
}

/** What to ask for, one after the other until it is granted: a broker that refuses does not say how much it allows. */
export function* timesToAskFor(wantedMs: number): Generator<number, void, void> {
  yield wantedMs;
  if (wantedMs > USUAL_MAX_MS) yield USUAL_MAX_MS;
  for (let ms = Math.min(wantedMs, USUAL_MAX_MS) / 2; ms >= LEAST_MS; ms /= 2) yield Math.floor(ms);
}

/** One transaction until it failed. */
export interface TransactionProgress {
  readonly tookMs: number;
  /** Records that were sent, and their size; it may not have been all. */
  readonly records: number;
  readonly bytes: number;
  /** Of that, what the brokers have acknowledged. */
  readonly ackedBytes: number;
  /** How long a quota made us wait the last time, or null. */
  readonly throttledMs: number | null;
}

/** A transaction took longer than the broker gave it. The writer is of no use any more; a new one gets more time. */
export class OverdueError extends SinkError {
  constructor(progress: TransactionProgress, granted: GrantedTime, nextMs: number, cause: unknown) {
    const { tookMs, records, bytes, ackedBytes, throttledMs } = progress;
    const kind: SinkErrorKind = granted.ms < granted.wantedMs ? 'refused' : 'unavailable';
    const rate = ackedBytes / (tookMs / 1000);
    const quota =
      throttledMs === null
        ? ''
        : `; a quota of the brokers slows us down (it made us wait ${throttledMs} ms at a time)`;
    const remedy =
      kind === 'unavailable'
        ? `the next try asks for ${seconds(nextMs)}`
        : `${seconds(granted.wantedMs)} were asked for and the brokers do not allow it: raise their transaction.max.timeout.ms`;
    super(
      kind,
      `a write took longer than its transaction may stay open: Kafka ended it after the ${seconds(granted.ms)} of its ` +
        `transaction.timeout.ms; of ${records} records sent, ${megabytes(bytes)}, ${megabytes(ackedBytes)} were ` +
        `acknowledged in ${seconds(tookMs)} (${kilobytes(rate)} a second)${quota}; ${remedy}`,
      cause,
    );
  }
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1e3).toFixed(1)} kB`;
}
