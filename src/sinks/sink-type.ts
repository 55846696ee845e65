import type { Logger } from '../util/logger.ts';
import type { SinkReader } from './reader.ts';
import type { Sink, SinkPlan } from './sink.ts';
import type { TransactionMetrics } from './transaction-metrics.ts';

/** What a sink may know of the stream that it is opened for. */
export interface SinkStream {
  readonly name: string;
  readonly generation: string;
  /** The type of its format, such as `json`: what keys and values are made of. */
  readonly format: string;
  /** Whether a record may lack columns of its row (`images: "changed"`), so that those before it are needed as well. */
  readonly partialRows: boolean;
  /** The id of the table of streams: two installations may share a sink, and never a table. */
  readonly installation: string;
  /** Who ships: unique among the sidecars, and the same for the next life of this one. */
  readonly sidecar: string;
  /** The names of the stream's tables at present. */
  readonly tables: () => readonly string[];
  readonly metrics: TransactionMetrics;
  readonly logger: Logger;
}

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

/** `path` is where in the definition of the sink the fault is. */
export interface SettingsFault {
  readonly path: string;
  readonly message: string;
}

/** What a reader has to know of the stream whose records it reads. */
export interface StreamToRead {
  readonly name: string;
  /** Whether its records are bare rows (`envelope: "flat"`): only their time stamps say when their operation was. */
  readonly isFlat: boolean;
}

/** A kind of sink: all that Spoor asks of it besides shipping. app/sinks.ts has one of each. */
export interface SinkType<Definition> extends AsyncDisposable {
  /** One that this sidecar cannot serve is a sink that says why: the stream may be other sidecars' as well. */
  open(definition: Definition, stream: SinkStream): Sink;
  /** Where tables would go, and what comes in the way. Nobody is asked. */
  plan(definition: Definition, streamName: string, tables: readonly string[]): SinkPlan;
  /**
   * Which of these places are there and take no marks of `resolved`, as far as we may know.
   * @throws {SinkError} it does not answer
   */
  markless(places: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** What would become of the places of a stream into these, and what is missing. Nothing is made, and nothing is thrown. */
  inquire(definition: Definition, places: readonly string[], signal: AbortSignal): Promise<SinkReport>;
  /**
   * What the sink has against the settings of places that it would have to make, in its own words, whichever place it is;
   * null for nothing, or where it does not say.
   * @throws {SinkError} it does not answer
   */
  wrongSettings(definition: Definition, places: readonly string[], signal: AbortSignal): Promise<SettingsFault | null>;
  /** To be asked for readiness while no stream may be there; null where this sidecar has none configured. */
  readonly configured: Pick<Sink, 'check'> | null;
  /**
   * Reads back what the sink has of a stream: for `spoor verify`.
   * @throws {SinkError} `refused`: this process is not told how to reach it, or nobody can read such a sink
   */
  reader(definition: Definition, stream: StreamToRead): SinkReader;
  /** Under steady load writes of a tablet start so far apart: what a write costs by itself. */
  writeIntervalMs(definition: Definition): number;
}
