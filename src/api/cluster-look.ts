import type { HistoryView, LocalStatus } from './cluster-state.ts';
import type { KnownSidecar, StreamView } from './shapes.ts';

/** A sidecar as another one sees it. */
export interface SidecarLook extends KnownSidecar {
  /** Null where it does not say it. */
  readonly status: LocalStatus | null;
}

/** What one look at the cluster shows. */
export interface ClusterLook {
  readonly streams: readonly StreamView[];
  readonly sidecars: readonly SidecarLook[];
  /** Of tablets that another sidecar than their leader's ships, by `stream/tabletId`: the leader's tablet server. */
  readonly leadersOf: ReadonlyMap<string, string>;
}

/** Who looks at the cluster for those that watch it. */
export interface ClusterLooker {
  /** @throws {SpoorError} it cannot be looked at */
  look(signal: AbortSignal): Promise<ClusterLook>;
  /** The last hour of all sidecars that answer, each with what it ships itself. */
  histories(signal: AbortSignal): Promise<readonly HistoryView[]>;
}

/** What a sidecar says of itself for the others' pages. */
export interface LocalStanding {
  status(): Promise<LocalStatus>;
  history(): HistoryView;
}
