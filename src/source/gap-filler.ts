import type { OpId } from '../kudu/opid.ts';

/**
 * `filled`: the held log now goes on; `nobody`: no sidecar has what is missing; `silent`: none that answers has it, and
 * one that does not may.
 */
export type Filling = 'filled' | 'nobody' | 'silent';

/** Fetches what the held log lacks from the sidecars of the tablet's other replicas. */
export interface GapFiller {
  /** @param asker who reads the log there on: each is told once of what there is */
  fill(tabletId: string, after: OpId, signal: AbortSignal, asker?: string): Promise<Filling>;
}
