import type { TabletPosition } from '../change/position.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { OpId } from '../kudu/opid.ts';
import type { CatalogTable } from './table-catalog.ts';
import type { Membership, MemberStream, NamedMember } from './membership.ts';
import type { StreamDefinition } from './definition.ts';

/** A stream as it is kept. `generation` differs for each creation: a name may come back, its positions may not. */
export interface StoredStream extends MemberStream {
  readonly definition: StreamDefinition;
  readonly createdAt: string;
  /** Of its definition: each change has the next number, over all streams that had the name. */
  readonly number: number;
  /** Another one whenever something of it changed, definition or {@link StreamDetails}. */
  readonly revision: string;
  /** Nothing of it ships, and its log is held. */
  readonly paused: boolean;
}

/** A table in a stream. */
export interface JoinedTable extends NamedMember {
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

/** What of one tablet is to be shipped again. */
export interface Rewind {
  /** Tells one request from another. */
  readonly id: string;
  readonly to: Whence;
}

/** From where on: an operation, or a time. Both are among what is asked for. */
export type Whence = { readonly opId: OpId } | { readonly time: HybridTime };

/** Of a tablet in one membership of its table. */
export function memberKey(tabletId: string, { id }: Membership): string {
  return id === '' ? tabletId : `${tabletId}/${id}`;
}

/** A tablet of a stream, in one membership of its table. */
export interface MemberTablet {
  readonly tableId: string;
  readonly tabletId: string;
  readonly membership: Membership;
}

/** What is kept of a stream besides its definition; of tablets by {@link memberKey}, of tables by their id. */
export interface StreamDetails {
  /**
   * Where tablets begin that were there before the stream, or before it took their tables in; all others begin with their
   * first operation.
   */
  readonly starts: ReadonlyMap<string, TabletPosition>;
  /** Tables that are in the stream, in their present membership, whatever they are called later. */
  readonly joined: ReadonlyMap<string, JoinedTable>;
  /** Copies of all rows; the last that was asked for. */
  readonly resyncs: ReadonlyMap<string, Resync>;
  /** Repairs of gaps; the last that was asked for. */
  readonly gapRepairs: ReadonlyMap<string, Resync>;
  /** The last that was asked for, by tablet. */
  readonly corrections: ReadonlyMap<string, Correction>;
  /** The last that was asked for, by tablet. */
  readonly rewinds: ReadonlyMap<string, Rewind>;
  /** Operations whose rows are to be left out, by tablet; with a term, since an index may be had again. */
  readonly skips: ReadonlyMap<string, readonly OpId[]>;
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
  /** From now on this tablet ships its table's schema changes: the one that did is no more. */
  setSpeaker(stream: StoredStream, tablet: MemberTablet, signal: AbortSignal): Promise<void>;
  /** The end of a dropped tablet is in the sink. */
  endTablet(stream: StoredStream, tablet: MemberTablet, signal: AbortSignal): Promise<void>;
}
