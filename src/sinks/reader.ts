import type { RecordSchemas } from '../change/record.ts';

/** Where a record lies in a sink: to others than the sink no more than its order among the records of one lane. */
export interface RecordPlace {
  /** A part of the sink in which records have an order, such as a partition of a topic. No two of one sink have one name. */
  readonly lane: string;
  /** Rises in the lane; from 0 to 2^64 - 1. */
  readonly order: bigint;
}

/** A place in the sink's own words. */
export interface ShownPlace {
  /** For a person, such as `cdc.orders/3/17`. */
  readonly text: string;
  /** For a program, such as `{"topic":"cdc.orders","partition":3,"offset":17}`. */
  readonly fields: Readonly<Record<string, string | number>>;
}

/** A record as a `read_committed` consumer gets it. */
export interface StoredRecord {
  readonly place: RecordPlace;
  readonly key: Buffer | null;
  /** Null for a tombstone. */
  readonly value: Buffer | null;
  /** `spoor.pos`; null where the record has none. */
  readonly position: string | null;
  /** What its writer said, in milliseconds since 1970; null where the sink keeps a time of its own in that place. */
  readonly timestampMs: number | null;
  /** What key and value were written under, where the sink keeps that with them. */
  readonly schemas?: RecordSchemas;
}

/**
 * Reads back what the sink of one stream has stored. A *destination* is what the sink puts records into by their table, such
 * as a topic: one lane or several.
 *
 * Errors: a {@link SinkError} of sinks/sink.ts. `unavailable`: could not be reached, for longer than is worth waiting, or
 * the signal aborted; `refused`: a person must act, and the message names the destination.
 */
export interface SinkReader extends AsyncDisposable {
  /** Where the records of a table of that name go in the stream. @throws {SinkError} it has no place for them */
  destinationOf(tableName: string): string;
  /** That of the schema changes, of this stream and perhaps of others. */
  readonly schemaDestination: string;
  /**
   * Yields all records that are committed in a destination when this is called, without those of aborted transactions and
   * whatever else no consumer gets. Nothing where there is no such destination.
   * Shape:  lane after lane, each in its order, in batches of 1 record up to about 1 MiB. Each record has memory of its own:
   *         to keep one keeps no other.
   * Errors: what was yielded stays true; to begin anew is to call this again.
   * @param newest only the end of each lane: about so many records, as a rule no fewer
   */
  read(destination: string, signal: AbortSignal, newest?: number): AsyncIterable<readonly StoredRecord[]>;
  /** @param place of a record that was read */
  show(place: RecordPlace): ShownPlace;
}
