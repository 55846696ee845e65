import type { OpId } from '../kudu/opid.ts';
import type { StreamDefinition } from './stream.ts';

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

/** A tablet in a stream, as the API, `spoor status` and the metrics show it. OpIds are printed `term.index`. */
export interface TabletView {
  readonly stream: string;
  readonly tabletId: string;
  readonly table: string;
  /** Advertised `host:port` of the sidecar that ships it, or null where none does. */
  readonly sidecar: string | null;
  readonly role: 'leader' | 'follower' | 'learner' | 'unknown';
  readonly state: TabletStateName;
  readonly applyOpId: string | null;
  readonly committedOpId: string | null;
  readonly lagOps: number | null;
  /** Age of the oldest committed operation that the sink has not acknowledged; 0 when there is none. */
  readonly lagSeconds: number | null;
  readonly hold: HoldView | null;
  /** What keeps it from running, and since when (ISO 8601). */
  readonly error?: { readonly code: string; readonly message: string; readonly since: string };
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
  /** Acknowledged operations that no marker tells of yet: what a crash may make at-least-once repeat. */
  readonly unmarkedOps: number;
}

export interface StreamView extends StreamDefinition {
  readonly createdAt: string;
  readonly tablets: readonly TabletView[];
}

export interface SidecarView {
  readonly id: string;
  /** Where the other sidecars call it: `host:port`. */
  readonly http: string;
  readonly tserver: string;
  readonly tserverUuid: string;
  readonly version: string;
  readonly lastSeen: string;
}

/** A part of Spoor and whether it can work now; `reason` is there when not. */
export interface PartHealth {
  readonly ok: boolean;
  readonly reason?: string;
}

/** What the HTTP API asks of the running sidecar. */
export interface ControlPlane {
  /** @throws {StreamExistsError} when the name is taken; {@link SpoorError} when Kudu cannot answer */
  createStream(definition: StreamDefinition): Promise<StreamView>;
  listStreams(): Promise<readonly StreamView[]>;
  getStream(name: string): Promise<StreamView | null>;
  /** Nothing of it ships from now on, and its log is held. Null when there is no such stream. */
  pauseStream(name: string): Promise<StreamView | null>;
  /** A paused stream goes on where it stopped. Null when there is no such stream. */
  resumeStream(name: string): Promise<StreamView | null>;
  /** False when there is no such stream. */
  deleteStream(name: string): Promise<boolean>;
  localTablets(): readonly TabletView[];
  /**
   * The held log of a replica beside this sidecar from the first operation after `after` on, as wal/log-transfer.ts
   * writes it; null where nothing of that tablet is held here. What cannot be read is thrown while it is iterated.
   */
  openHeldLog(tabletId: string, after: OpId): AsyncIterable<Uint8Array> | null;
  listSidecars(): Promise<readonly SidecarView[]>;
  readiness(): Promise<{ readonly kudu: PartHealth; readonly kafka: PartHealth; readonly wal: PartHealth }>;
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
