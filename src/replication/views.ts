import type { OpId } from '../kudu/opid.ts';
import { wallTimeOf } from '../util/steady-clock.ts';
import type { LogRequest } from '../wal/log-transfer.ts';
import type { ResyncFrom } from './stored-stream.ts';
import type { ParsedDefinition, StreamChange, StreamDefinition } from './stream.ts';
import type { Wait } from './waits.ts';

export type { LogRequest };

/** The states of a tablet in a stream, as the contract names them. */
export const TABLET_STATES = [
  'starting',
  'base-copy',
  'running',
  'stalled',
  'blocked',
  'paused',
  'gap',
  'resync',
  'no-sidecar',
] as const;
export type TabletStateName = (typeof TABLET_STATES)[number];

/**
 * A tablet in a stream, as the API, `spoor status` and the metrics show it. OpIds are printed `term.index`. Who makes one
 * makes a {@link ReasonedView}.
 */
export interface TabletView extends TabletFacts {
  readonly state: TabletStateName;
  readonly error?: FaultView;
  readonly waiting?: WaitingView;
}

/** A view whose state cannot be without its reason. */
export type ReasonedView = TabletFacts & Standing;

export interface TabletFacts {
  readonly stream: string;
  /** Of which creation of the stream, and which membership of the table in it, this speaks: for other sidecars. */
  readonly generation?: string;
  readonly tabletId: string;
  readonly table: string;
  /** Advertised `host:port` of the sidecar that ships it, or null where none does. */
  readonly sidecar: string | null;
  readonly role: 'leader' | 'follower' | 'learner' | 'unknown';
  readonly applyOpId: string | null;
  readonly committedOpId: string | null;
  readonly lagOps: number | null;
  /** Age of the oldest committed operation that the sink has not acknowledged; 0 when there is none. */
  readonly lagSeconds: number | null;
  readonly hold: HoldView | null;
  /** This sidecar cannot ship it at present, and leaves it to another one that can. */
  readonly yields?: boolean;
  /** The copy of its rows that is under way. */
  readonly copy?: CopyView;
  /** The last correction of rows that is in the sink, by its id. */
  readonly corrected?: string;
}

/** A tablet's state with the reason for it: only one that runs or is paused has none to give. */
export type Standing =
  | { readonly state: 'running' | 'paused'; readonly error?: never; readonly waiting?: never }
  | { readonly state: 'blocked' | 'gap'; readonly error: FaultView; readonly waiting?: never }
  | {
      readonly state: Exclude<TabletStateName, 'running' | 'paused' | 'blocked' | 'gap'>;
      readonly waiting: WaitingView;
      readonly error?: never;
    };

/** What keeps a tablet from running, and since when (ISO 8601). */
export interface FaultView {
  readonly code: string;
  readonly message: string;
  readonly since: string;
}

/** What a tablet waits for that is no fault, in words, and since when (ISO 8601). */
export interface WaitingView {
  readonly for: string;
  readonly since: string;
}

export function waitingFor({ for: what, sinceMs }: Wait): { readonly waiting: WaitingView } {
  return { waiting: { for: what, since: wallTimeOf(sinceMs) } };
}

/** Whether other sidecars must know of it: we stand in for theirs, or are about to, or cannot ship it. */
export function isException({ role, yields }: TabletView): boolean {
  return role === 'follower' || yields === true;
}

/** How far a copy of a tablet's rows has come. */
export interface CopyView {
  /** `changes`: a repair, of what changed while the log was lost. */
  readonly kind: 'all' | 'changes';
  /** The rows are copied as they were then. */
  readonly hybridTime: string;
  /** In the sink. */
  readonly rows: number;
  /** Null while that is not known: it is counted while the copy runs, and not for a repair. */
  readonly totalRows: number | null;
  readonly percent: number | null;
  /** At the pace so far. */
  readonly secondsLeft: number | null;
}

/** What is held of a replica's log. */
export interface HoldView {
  /** The lowest index in it. */
  readonly index: number;
  readonly bytes: number;
  readonly ageSeconds: number;
}

/** What the metrics show of a stream's log on a replica here, shipped from here or not. */
export interface HoldFigures extends TabletLabels {
  readonly hold: HoldView | null;
  /** Until a limit lets go of the held log, if it goes on growing as it does; null where none is in sight. */
  readonly secondsUntilLimit: number | null;
  /** Operations that were sent and no marker tells of yet: what a crash may make at-least-once repeat. */
  readonly unmarkedOps: number;
}

export interface StreamView extends StreamDefinition {
  readonly createdAt: string;
  readonly tablets: readonly TabletView[];
  /** What may not be meant, or cannot work, by the names that its tables have now. */
  readonly warnings?: readonly string[];
}

/** What would become of a stream: nothing of it was made. */
export interface StreamPlan {
  readonly definition: StreamDefinition;
  readonly tables: readonly {
    readonly name: string;
    readonly tablets: number;
    readonly topic: string | null;
    /** `copy`: with a copy of its rows; `now`: with what is written from then on. */
    readonly begins: 'copy' | 'now';
  }[];
  readonly warnings: readonly string[];
}

export interface SidecarView {
  readonly id: string;
  /** Where the other sidecars call it: `host:port`; empty once it has stopped and said so. */
  readonly http: string;
  readonly tserver: string;
  readonly tserverUuid: string;
  readonly version: string;
  readonly lastSeen: string;
}

/** What the sidecars know of one another. */
export interface KnownSidecar extends SidecarView {
  /** It was heard of lately, and has not said that it stops. */
  readonly isAlive: boolean;
}

/** A part of Spoor and whether it can work now; `reason` is there when not. */
export interface PartHealth {
  readonly ok: boolean;
  readonly reason?: string;
}

/** What the HTTP API asks of the running sidecar. */
export interface ControlPlane {
  /**
   * @throws {StreamExistsError} when the name is taken; {@link RefusedDefinitionError} when the sink cannot take its tables;
   *   {@link SpoorError} when Kudu cannot answer
   */
  createStream(definition: StreamDefinition): Promise<StreamView>;
  /** What {@link createStream} would do; nothing is made. It throws what that would throw. */
  planStream(definition: StreamDefinition): Promise<StreamPlan>;
  listStreams(): Promise<readonly StreamView[]>;
  getStream(name: string): Promise<StreamView | null>;
  /** Changes what can change while the stream goes on. */
  updateStream(name: string, change: StreamChange): Promise<UpdatedStream>;
  /**
   * Copies its rows again, or repairs its gaps, while it goes on. Null when there is no such stream.
   * @throws {UnknownMemberError} it names a table or tablet that the stream has not
   */
  resyncStream(name: string, request: ResyncRequest): Promise<ResyncedStream | null>;
  /** The logs of these tablets are held here for a while, before any stream has them: one is about to be made. */
  holdTablets(tabletIds: readonly string[]): Promise<void>;
  /** Nothing of it ships from now on, and its log is held. Null when there is no such stream. */
  pauseStream(name: string): Promise<StreamView | null>;
  /** A paused stream goes on where it stopped. Null when there is no such stream. */
  resumeStream(name: string): Promise<StreamView | null>;
  /** False when there is no such stream. */
  deleteStream(name: string): Promise<boolean>;
  localTablets(): readonly ReasonedView[];
  /**
   * The held log of a replica beside this sidecar from the first operation after `after` on, as wal/log-transfer.ts
   * writes it; null where nothing of that tablet is held here. What cannot be read is thrown while it is iterated.
   */
  openHeldLog(tabletId: string, after: OpId, request: LogRequest): AsyncIterable<Uint8Array> | null;
  listSidecars(): Promise<readonly SidecarView[]>;
  readiness(): Promise<{ readonly kudu: PartHealth; readonly kafka: PartHealth; readonly wal: PartHealth }>;
}

/** What a resync is of; the whole stream where neither tables nor tablets are named. */
export interface ResyncRequest {
  readonly from: ResyncFrom;
  readonly tables?: readonly string[] | undefined;
  readonly tablets?: readonly string[] | undefined;
  /** Only these rows, by their encoded primary keys; then exactly one tablet is named. */
  readonly keys?: readonly Buffer[] | undefined;
}

/** `correction`: the id that the tablet's `corrected` has when the rows that were asked for are in the sink. */
export type ResyncedStream = StreamView & { readonly correction?: string };

export type UpdatedStream =
  | { readonly kind: 'ok'; readonly stream: StreamView }
  | { readonly kind: 'missing' }
  | Exclude<ParsedDefinition, { readonly kind: 'ok' }>;

/** A table or tablet that the stream has not; `path` is where in the request it stands. */
export class UnknownMemberError extends Error {
  override readonly name = 'UnknownMemberError';
  readonly path: string;

  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

/** A definition that is right by itself, and does not fit the tables that are there. */
export class RefusedDefinitionError extends Error {
  override readonly name = 'RefusedDefinitionError';
  readonly path: string;
  readonly faults: readonly string[];

  constructor(path: string, faults: readonly string[]) {
    super('The stream cannot be as it is defined.');
    this.path = path;
    this.faults = faults;
  }
}

export class StreamExistsError extends Error {
  override readonly name = 'StreamExistsError';
}

/** What the core counts; metrics/ implements it with prom-client, tests with nothing. Times in seconds. */
export interface ReplicationMetrics {
  shipped(labels: TabletLabels, records: number, bytes: number, latenciesSeconds: readonly number[]): void;
  rowsRejected(labels: TabletLabels, rows: number): void;
  sinkError(labels: TabletLabels): void;
  leaderChange(labels: TabletLabels): void;
  /** A repair, or a copy that was asked for, is whole. */
  resynced(labels: TabletLabels): void;
}

/** Counted where a marker was written, for each stream that it speaks of. */
export interface MarkerMetrics {
  markerWritten(labels: TabletLabels): void;
}

export interface TabletLabels {
  readonly stream: string;
  readonly table: string;
  readonly tablet: string;
}
