import type { RecordBatch } from '../change/record-batch.ts';
import type { TabletPosition } from '../change/position.ts';

/** One tablet of one stream, as a sink sees it. */
export interface SinkTablet {
  readonly streamName: string;
  /** Differs for each creation of a stream, names may return; a stored position of another generation is none of ours. */
  readonly streamGeneration: string;
  readonly tabletId: string;
  /** Name of the table when the tablet's stream is opened; records name theirs themselves. */
  readonly tableName: string;
  /** To be told what the opening waits for, in words for a person. */
  readonly onWait?: (what: string) => void;
  /** To be told whenever {@link TabletWriter.saved} has moved, by a sink that has it. */
  readonly onSaved?: (position: TabletPosition) => void;
  /** To be told where the writer finds between two writes that it is fenced; the next one would say so as well. */
  readonly onFenced?: (error: SinkError) => void;
}

/**
 * Where records go: what a new sink implements to be shipped to (what else Spoor asks of it: sink-type.ts). One `Sink` serves
 * one stream.
 *
 * Errors: every method rejects with {@link SinkError}, whose `kind` decides what the core does next.
 */
export interface Sink extends AsyncDisposable {
  /**
   * Opens the one writer of a tablet. When it resolves, no earlier writer of the same stream and tablet, in this
   * process or any other, can add another record (fenced), as far as the sink's delivery promises that.
   */
  openTablet(tablet: SinkTablet, signal: AbortSignal): Promise<TabletWriter>;
  /** Resolves when the sink can be reached, rejects with the reason when not. For readiness. */
  check(signal: AbortSignal): Promise<void>;
}

/** Where a sink would put the tables of a stream, and what comes in the way, as far as their names tell. */
export interface SinkPlan {
  /** By table; one that has no place is not there. */
  readonly places: ReadonlyMap<string, string>;
  /** What the sink will refuse, each with a way out. */
  readonly faults: readonly string[];
  /** What it will do, and somebody may not have meant. */
  readonly warnings: readonly string[];
}

export interface TabletWriter extends AsyncDisposable {
  /** The position that is durable in the sink itself, or null where there is none (first start, or a sink that keeps none). */
  readonly position: TabletPosition | null;
  /**
   * Where the tablet's records go, see sink-id.ts: `kafka:<cluster id>/<topic>@<topic id>`, or the first part alone as
   * long as the rest is not known. It may change with any opening and any write. Apply markers say of whom they speak.
   */
  readonly sinkId?: string;
  /**
   * The position that a successor would be told if this process died now, where that may lie behind what `write` has
   * resolved for (a sink that stores positions now and then); it moves between writes, and once more when the writer is
   * disposed. A sink that stores position and records together leaves it out.
   */
  readonly saved?: TabletPosition | null;
  /** What a write waits for besides its answer, in words for a person, and since when: a quota, say. */
  readonly waits?: { readonly for: string; readonly sinceMs: number } | null;
  /**
   * Writes records in order and, with them, the position. Resolves when both are durable; the core sends the next
   * call only then. The records come in batches of a few thousand, each encoded when it is taken, so that memory stays
   * flat for an operation of any size: `for (const batch of batches) await send(batch)`. None at all may come: then
   * only the position moves. Iterated again, they come again from the first on.
   * `for (const record of batch)` is the simple way to the records of a batch. Their bytes stay as they are until the write
   * has resolved, and are written over after that: who wants to keep them makes a copy. A sink that needs a batch no more
   * before that may say so ({@link RecordBatch.release}); the memory then serves the batches that follow.
   * After a rejection the writer is not used again: the core disposes it and opens a new one, which says through
   * `position` whether the records had arrived.
   */
  write(batches: Iterable<RecordBatch>, position: TabletPosition, signal: AbortSignal): Promise<void>;
}

/**
 * - `unavailable`: broker down, time-out: the core retries with backoff; state `blocked` meanwhile.
 * - `refused`: a person must act (topic missing, not authorised, record too large): as above, logged as an error.
 * - `fenced`: another sidecar has taken this tablet over; the core stops shipping and looks at who leads.
 */
export type SinkErrorKind = 'unavailable' | 'refused' | 'fenced';

export class SinkError extends Error {
  override readonly name = 'SinkError';
  readonly kind: SinkErrorKind;

  constructor(kind: SinkErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

/** A record by itself that the sink finds too large: it will be refused again as it is. */
export class RecordTooLargeError extends SinkError {
  readonly record: RefusedRecord;

  constructor(message: string, record: RefusedRecord) {
    super('refused', message);
    this.record = record;
  }
}

/** Which record it is: those of a copy all have one position. */
export interface RefusedRecord {
  readonly position: string;
  readonly key: Buffer;
}
