import type { LetGoCandidate } from './free-space.ts';

/** The held log of one replica, see wal/hold-store.ts. */
export interface ReplicaHold {
  /** Lets go of every closed segment all of whose operations are at or below `index`, oldest first. */
  release(index: bigint): void;
  /** Lets go of the oldest segments until the rest is within the limits; answers what operations that cost, or null. */
  letGo(
    until: { readonly maxBytes?: number; readonly maxAgeMs?: number; readonly oldest?: number },
    nowMs: number,
  ): { readonly fromIndex: bigint; readonly toIndex: bigint } | null;
  /** What could be let go of, in the order in which it would; see {@link LetGoCandidate}. */
  letGoQueue(): readonly LetGoCandidate[];
  /** Lets go of all of it, for good. */
  drop(): void;
  /** Keeps a text with it: what is known of the tablet, for when nobody else knows it any more. */
  describe(note: string): void;
  readonly note: string | null;
  readonly bytes: number;
  readonly oldestAtMs: number | null;
  readonly firstIndex: bigint | null;
}
