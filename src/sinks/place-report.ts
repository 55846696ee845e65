/** A place of a sink as a stream would find it, or make it: for Kafka a topic. */
export interface PlaceReport {
  readonly name: string;
  readonly of: 'rows' | 'schema-changes' | 'positions';
  /**
   * `there`: it is used as it is. `made`: it is missing, and is made with the first record. `missing`: somebody else has to
   * make it. `refused`: the sink does not let us make it, or use it. `unknown`: the sink cannot be asked.
   */
  readonly state: 'there' | 'made' | 'missing' | 'refused' | 'unknown';
  /** As it is, or would be; -1 is the sink's own default, null what is not known. */
  readonly partitions: number | null;
  readonly replicationFactor: number | null;
  /** With which it would be made; of one that is there, what it has of those that were asked for. */
  readonly settings: Readonly<Record<string, string>>;
  /** Where one that is there is not as the stream would have made it. It stays as it is. */
  readonly differences: readonly string[];
}

/** What a sink says of a stream before there is one. */
export interface SinkReport {
  readonly places: readonly PlaceReport[];
  /** What keeps it from working until a person acts, in the sink's words and with what to do. */
  readonly missing: readonly string[];
  /** What could not be found out. */
  readonly warnings: readonly string[];
}
