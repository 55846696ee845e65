import type { OfParts } from './parts.ts';
import type { OpId } from '../kudu/opid.ts';
import type { AskedStream, StreamDefinition } from '../streams/definition.ts';
import type { StreamChange } from '../streams/change-definition.ts';
import type { Precondition } from '../streams/precondition.ts';
import type { LogRequest } from '../wal/log-transfer.ts';
import type {
  NewestRecords,
  PartHealth,
  PutStream,
  ReasonedView,
  ResyncedStream,
  ResyncRequest,
  RewindRequest,
  RewoundStream,
  SidecarView,
  SkipRequest,
  StreamPlan,
  StreamView,
  TableSchemas,
  TraceView,
  UpdatedStream,
} from './shapes.ts';

export type { LogRequest };

/** Which records of a stream somebody wants to see. */
export interface RecordsRequest {
  readonly last: number;
  /** By the name that it has now; null: of all of them. */
  readonly table: string | null;
}

/** A `spoor.pos` of an operation. */
export interface RecordPosition {
  readonly text: string;
  readonly tabletId: string;
  readonly opId: OpId;
}

/** What a sidecar says of itself at any time. */
export interface SidecarStatus {
  /** The tablets that it ships, or would but for a pause; or only those of which something is not as usual. */
  localTablets(which: 'all' | 'exceptions'): readonly ReasonedView[];
  readiness(): Promise<OfParts<PartHealth>>;
}

/** A stream as somebody defined it, and which change of it that is. */
export type AuditedStream = StreamDefinition & Pick<StreamView, 'paused' | 'revision'>;

/** What the HTTP API asks of a sidecar that is at work. */
export interface ControlPlane extends SidecarStatus {
  /**
   * @throws {StreamExistsError} when the name is taken; {@link RefusedDefinitionError} when the sink cannot take its tables,
   *   or has something against how it is to be made; {@link SpoorError} when Kudu cannot answer
   */
  createStream(asked: AskedStream): Promise<StreamView>;
  /** What {@link createStream} would do; nothing is made. It throws what that would throw. */
  planStream(asked: AskedStream): Promise<StreamPlan>;
  /**
   * Has the stream be as it is asked for: it is made, changed, or left as it is.
   * @throws {PreconditionError}; {@link UnchangeableError} where it would have to change what cannot; and as `createStream`
   */
  putStream(asked: AskedStream, precondition: Precondition): Promise<PutStream>;
  /** What {@link putStream} would do; nothing is made or changed. It throws what that would throw. */
  planPut(asked: AskedStream, precondition: Precondition): Promise<StreamPlan>;
  listStreams(): Promise<readonly StreamView[]>;
  getStream(name: string): Promise<StreamView | null>;
  /** What {@link getStream} shows of how it is defined. */
  definitionOf(name: string): Promise<AuditedStream | null>;
  /**
   * What a consumer needs to know of the records of its tables, or of one. Null when there is no such stream.
   * @throws {UnknownMemberError} it has no such table
   */
  schemasOf(name: string, table: string | null): Promise<readonly TableSchemas[] | null>;
  /**
   * The newest records of a stream, or of one of its tables, read through its sink. Null when there is no such stream.
   * @throws {UnknownMemberError} it has no such table, or too many places to look into; {@link SinkError}
   */
  newestRecords(name: string, request: RecordsRequest): Promise<NewestRecords | null>;
  /**
   * The way of one record by its `spoor.pos`. Null when there is no such stream.
   * @throws {UnknownMemberError} it has no such tablet
   */
  traceRecord(name: string, position: RecordPosition): Promise<TraceView | null>;
  /** Changes what can change while the stream goes on. @throws {PreconditionError} */
  updateStream(name: string, change: StreamChange, precondition?: Precondition): Promise<UpdatedStream>;
  /**
   * Copies its rows again, or repairs its gaps, while it goes on. Null when there is no such stream.
   * @throws {UnknownMemberError} it names a table or tablet that the stream has not
   */
  resyncStream(name: string, request: ResyncRequest): Promise<ResyncedStream | null>;
  /**
   * Ships again what was shipped, from somewhere on; consumers are told before. Null when there is no such stream.
   * @throws {UnknownMemberError} it names a table or tablet that the stream has not
   */
  rewindStream(name: string, request: RewindRequest): Promise<RewoundStream | null>;
  /**
   * Leaves the rows of an operation out that was not shipped; consumers are told. Null when there is no such stream.
   * @throws {UnknownMemberError} it names a tablet that the stream has not, or what is shipped already
   */
  skipOperation(name: string, request: SkipRequest): Promise<StreamView | null>;
  /** The logs of these tablets are held here for a while, before any stream has them: one is about to be made. */
  holdTablets(tabletIds: readonly string[]): Promise<void>;
  /** Nothing of it ships from now on, and its log is held. Null when there is no such stream. */
  pauseStream(name: string): Promise<StreamView | null>;
  /** A paused stream goes on where it stopped. Null when there is no such stream. */
  resumeStream(name: string): Promise<StreamView | null>;
  /** False when there is no such stream. @throws {PreconditionError} */
  deleteStream(name: string, precondition?: Precondition): Promise<boolean>;
  /**
   * The held log of a replica beside this sidecar from the first operation after `after` on, as wal/log-transfer.ts
   * writes it; null where nothing of that tablet is held here. What cannot be read is thrown while it is iterated.
   */
  openHeldLog(tabletId: string, after: OpId, request: LogRequest): AsyncIterable<Uint8Array> | null;
  listSidecars(): Promise<readonly SidecarView[]>;
}

/** A sidecar as its API serves it, from its first moment on. */
export interface ServedSidecar extends SidecarStatus {
  /** @throws {SpoorError} SPOOR_KUDU_UNAVAILABLE before it is at work */
  readonly plane: ControlPlane;
}
