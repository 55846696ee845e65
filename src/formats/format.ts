import type { Change } from '../change/change.ts';
import type { RecordBatch } from '../change/record-batch.ts';

/**
 * Turns changes into records: the same change gives the same bytes in every process, whatever it was given before.
 * One of a stream, for all of its tablets.
 */
export interface RecordFormat {
  /** A row of which columns are missing, since they cannot be read any more, has no record: it has a schema for all of them. */
  readonly needsWholeRows?: boolean;
  /**
   * Makes ready for changes before they are encoded, where that takes a service: a registry of schemas, say. What it rejects
   * with is the tablet's trouble as if the sink had said it: a `SinkError`, `refused` or `unavailable`.
   */
  prepare?(changes: readonly Change[], signal: AbortSignal): Promise<void>;
  /**
   * Adds the records of a change to a batch, in the order of its rows.
   * @param fromRow rows before it were encoded already
   * @returns the row that was not encoded any more, since the batch is full; null: the change is done
   * @throws what cannot be encoded, in words that name it: the tablet is `blocked`
   */
  encode(change: Change, fromRow: number, out: RecordBatch): number | null;
  /**
   * The sink finds a record too large.
   * @param reason in its words
   * @returns whether it is another one the next time
   */
  tooLarge?(record: { readonly position: string; readonly key: Buffer }, reason: string): boolean;
}
