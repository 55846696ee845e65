/** A record as a `read_committed` consumer gets it. */
export interface StoredRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer | null;
  /** Null for a tombstone. */
  readonly value: Buffer | null;
  /** `spoor.pos`; null where the record has none. */
  readonly position: string | null;
}

/**
 * Reads back what the sink of one stream has stored.
 *
 * Errors: a {@link SinkError} of sinks/sink.ts. `unavailable`: could not be reached, for longer than is worth waiting, or
 * the signal aborted; `refused`: a person must act, and the message names the topic.
 */
export interface SinkReader extends AsyncDisposable {
  /** The topic, or whatever the sink calls it, of a table of that name in the stream. @throws {SinkError} it makes none */
  topicOf(tableName: string): string;
  /** That of the schema changes, of this stream and perhaps of others. */
  readonly schemaTopic: string;
  /**
   * Yields all records that are committed in a topic when this is called: `read_committed`, so up to the last stable
   * offset of that moment, without aborted and control records. Nothing where there is no such topic.
   * Shape:  partition after partition, each in its order, in batches of 1 record up to about 1 MiB. Each record has memory
   *         of its own: to keep one keeps no other.
   * Errors: what was yielded stays true; to begin anew is to call this again.
   */
  read(topic: string, signal: AbortSignal): AsyncIterable<readonly StoredRecord[]>;
}
