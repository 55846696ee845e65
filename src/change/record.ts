/**
 * What a sink is given: bytes and a position, nothing of Kudu's row layout.
 *
 * Everything in it is a function of the tablet's log alone, so that two sidecars which read the same log
 * make the same bytes.
 */
export interface SinkRecord {
  /**
   * `row`: a row change; `tombstone`: follows a delete, value null; `schema`: a schema version of the table, or what befell
   * a tablet of it.
   */
  readonly kind: 'row' | 'tombstone' | 'schema';
  /** The table's name in force at the operation; topic and key templates are filled from it. */
  readonly table: string;
  readonly key: Buffer;
  readonly value: Buffer | null;
  /**
   * `<tablet_id>/<term>.<index>.<row>`: unique, and rising in the tablet's order; `<tablet_id>/base.<hybrid_time>` for all
   * rows of a copy.
   */
  readonly position: string;
  /** The operation's hybrid time in whole milliseconds since the epoch. */
  readonly timestampMs: number;
}
