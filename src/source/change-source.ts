import type { Change } from '../change/change.ts';
import type { CopyProgress, TabletPosition } from '../change/position.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { OpId } from '../kudu/opid.ts';
import type { Wait } from '../util/waits.ts';

/** Some committed operations of a tablet in order, or some rows of a copy of it. */
export interface ChangeRead {
  readonly kind: 'changes';
  /** What they changed; empty for a NO_OP or a write of which no row was applied. */
  readonly changes: readonly Change[];
  /** Where it ends: what a reader who starts behind it must know. */
  readonly position: TabletPosition;
  /** Of the last operation; of a copy, the time that it shows. */
  readonly hybridTime: HybridTime;
  /** Of the first operation, where that is another one: how long the oldest of them waits. */
  readonly firstHybridTime?: HybridTime;
  /** Rows that Kudu rejected or ignored. */
  readonly rejectedRows: number;
  /** Size in the log, or in the answer of the scan, and what it takes beside that. */
  readonly bytes: number;
  /** Whether there is nothing in it but writes without rows: apply markers, ours or another's. */
  readonly onlyMarkers: boolean;
  /** With it a copy is whole: that position is the first that owes none. */
  readonly completes?: CopyProgress;
  /** It ends at an operation that may be the cut of a copy. */
  readonly cut?: { readonly opId: OpId; readonly time: HybridTime };
}

/** The changes of one tablet from a position on: its log, or a copy of its rows and then the log. */
export interface ChangeSource extends AsyncDisposable {
  /** The highest operation known to be committed, shipped or not. */
  readonly committed: OpId;
  /** How many rows a copy that is under way has in all; null while that is not known. */
  readonly copyRows?: number | null;
  /** Whether it has a turn among the copies, or waits for one. */
  readonly takesTurn?: boolean;
  /** Whether what it has read takes room in memory that others may wait for: large operations do. */
  readonly holdsRoom?: boolean;
  /** What it waits for that is neither the log's next operation nor whoever reads it; null where there is no such thing. */
  readonly waits?: Wait | null;
  /** Resolves as soon as there is something; rejects with {@link SpoorError} when it cannot go on. */
  next(): Promise<ChangeRead | { readonly kind: 'gone' }>;
}
