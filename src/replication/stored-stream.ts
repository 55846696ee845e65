import type { SinkPosition } from '../sinks/sink.ts';
import type { CatalogTable } from './catalog.ts';
import type { StreamDefinition } from './stream.ts';

/** A stream as it is kept. `generation` differs for each creation: a name may come back, its positions may not. */
export interface StoredStream {
  readonly definition: StreamDefinition;
  readonly generation: string;
  readonly createdAt: string;
  /** Nothing of it ships, and its log is held. */
  readonly paused: boolean;
}

/** A table in a stream. */
export interface JoinedTable {
  /**
   * The tablet that ships the table's schema changes. It stays the same while it lives, since a tablet that joins later
   * begins its log with a schema of its own reckoning.
   */
  readonly speakerTabletId: string;
}

/** Where the definitions of the streams come from; the same for every sidecar of the cluster. */
export interface StreamSource {
  list(signal: AbortSignal): Promise<readonly StoredStream[]>;
  /** Where the tablets that were there before the stream begin; all others begin with their first operation. */
  starts(stream: StoredStream, signal: AbortSignal): Promise<ReadonlyMap<string, SinkPosition>>;
  /** Tables that are in the stream for good, whatever they are called later, by table id. */
  joinedTables(stream: StoredStream, signal: AbortSignal): Promise<ReadonlyMap<string, JoinedTable>>;
  /** Takes a table in; answers what was kept by whoever did so first. */
  joinTable(stream: StoredStream, table: CatalogTable, signal: AbortSignal): Promise<JoinedTable>;
}
