/**
 * What a sink is given: bytes and a position, nothing of Kudu's row layout.
 *
 * Everything in it is a function of the tablet's log alone, so that two sidecars which read the same log
 * make the same bytes.
 */
export interface SinkRecord {
  /**
   * `row`: a row change; `tombstone`: follows a delete, value null; `schema`: a schema version of the table, or what befell
   * a tablet of it; `resolved`: a mark, for every partition that records of the table may go to; `dead-letter`: a note of a
   * row's record that the sink does not take.
   */
  readonly kind: 'row' | 'tombstone' | 'schema' | 'resolved' | 'dead-letter';
  /** The table's name in force at the operation; topic and key templates are filled from it. */
  readonly table: string;
  /** Empty in a mark, which has none. */
  readonly key: Buffer;
  /** Null in a tombstone, and in a mark of a format that has no word for it. */
  readonly value: Buffer | null;
  /**
   * `<tablet_id>/<term>.<index>.<row>`: unique, and rising in the tablet's order; `<tablet_id>/base.<hybrid_time>` for all
   * rows of a copy; of a mark `<tablet_id>/<hybrid_time>`, which is no position but what is resolved.
   */
  readonly position: string;
  /** Of a schema: the one that a tablet begins with, by which nothing has changed. */
  readonly isFirst?: true;
  /** The operation's hybrid time in whole milliseconds since the epoch. */
  readonly timestampMs: number;
  /** What key and value are written under, of a format that has such and no registry for it. */
  readonly schemas?: RecordSchemas;
}

/**
 * The schemas of the keys and values of a table in one version of it, as texts that are the same wherever they are made. For a
 * sink that keeps them with the records.
 */
export interface RecordSchemas {
  readonly key: string;
  readonly value: string;
}
