import type { SinkPosition } from '../change/position.ts';
import type { CatalogTable } from './catalog.ts';
import type { StreamDefinition } from './stream.ts';

/** A stream as it is kept. `generation` differs for each creation: a name may come back, its positions may not. */
export interface StoredStream {
  readonly definition: StreamDefinition;
  readonly generation: string;
  readonly createdAt: string;
  /** Another one whenever something of it changed but whether it is paused. */
  readonly revision: string;
  /** Nothing of it ships, and its log is held. */
  readonly paused: boolean;
}

/** A table in a stream. */
export interface JoinedTable {
  /** What it was called then: see NameHistory. */
  readonly name: string;
  /**
   * The tablet that ships the table's schema changes. It stays the same while it lives, since a tablet that joins later
   * begins its log with a schema of its own reckoning.
   */
  readonly speakerTabletId: string;
}

/** A resync of one tablet that somebody asked for. */
export interface Resync {
  /** Tells one request from another. */
  readonly id: string;
  /** `snapshot`: all rows are copied again; `gap`: where the log has a gap, it is repaired. */
  readonly from: ResyncFrom;
  /** ISO 8601. */
  readonly requestedAt: string;
}
/** Rows of one tablet that are to be put right in the sink. */
export interface Correction {
  /** Tells one request from another. */
  readonly id: string;
  /** Encoded primary keys. */
  readonly keys: readonly Buffer[];
}
export type ResyncFrom = 'snapshot' | 'gap';

/** What is kept of a stream besides its definition; all of it by tablet or table id. */
export interface StreamDetails {
  /**
   * Where tablets begin that were there before the stream, or before it took their tables in; all others begin with their
   * first operation.
   */
  readonly starts: ReadonlyMap<string, SinkPosition>;
  /** Tables that are in the stream, whatever they are called later. */
  readonly joined: ReadonlyMap<string, JoinedTable>;
  readonly resyncs: ReadonlyMap<string, Resync>;
  /** The last that was asked for, by tablet. */
  readonly corrections: ReadonlyMap<string, Correction>;
  /** Tablets that were dropped, and whose end was told: the stream wants nothing of them any more. */
  readonly ended: ReadonlySet<string>;
}

/** A stream that is there, of which this version cannot say what it is: a newer one made it. */
export interface UnreadableStream {
  readonly name: string;
  readonly reason: string;
}

/** Where the definitions of the streams come from; the same for every sidecar of the cluster. */
export interface StreamSource {
  list(signal: AbortSignal): Promise<readonly StoredStream[]>;
  /** What the last list left out. Which tables these want is not known: as long as there is one, no log may be let go of. */
  readonly unreadable?: readonly UnreadableStream[];
  details(stream: StoredStream, signal: AbortSignal): Promise<StreamDetails>;
  /** Takes a table in; answers what was kept by whoever did so first. */
  joinTable(stream: StoredStream, table: CatalogTable, signal: AbortSignal): Promise<JoinedTable>;
  /** From now on this tablet ships the table's schema changes: the one that did is no more. */
  setSpeaker(stream: StoredStream, tableId: string, speakerTabletId: string, signal: AbortSignal): Promise<void>;
  /** The end of a dropped tablet is in the sink. */
  endTablet(stream: StoredStream, tabletId: string, signal: AbortSignal): Promise<void>;
}
