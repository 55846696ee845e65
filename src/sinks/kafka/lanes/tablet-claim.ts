import type { TabletPosition } from '../../../change/position.ts';
import type { SinkError } from '../../sink.ts';
import type { Throttling } from '../connections.ts';
import type { LanePosition } from './positions-view.ts';
import type { RecordsOfWrite } from './write-cursor.ts';

/** The lane that a tablet was taken in. */
export interface ClaimedLane {
  readonly waits: Throttling | null;
  write(
    claim: TabletClaim,
    records: RecordsOfWrite | null,
    position: TabletPosition,
    signal: AbortSignal,
  ): Promise<void>;
  release(claim: TabletClaim, signal: AbortSignal): Promise<void>;
}

/** A tablet that was taken; of no use any more once somebody else has taken it. */
export class TabletClaim {
  readonly tablet: string;
  readonly generation: string;
  /** What the lanes know of it; null: nothing yet. */
  stored: LanePosition | null = null;
  /** Told where another lane has claimed it: whoever writes next is told so as well. */
  readonly onLost: ((error: SinkError) => void) | undefined;
  readonly #lane: ClaimedLane;

  constructor(lane: ClaimedLane, tablet: string, generation: string, onLost?: (error: SinkError) => void) {
    this.#lane = lane;
    this.tablet = tablet;
    this.generation = generation;
    this.onLost = onLost;
  }

  /** Null where there is none of this generation. */
  get position(): TabletPosition | null {
    return this.stored?.generation === this.generation ? this.stored.at : null;
  }

  get waits(): Throttling | null {
    return this.#lane.waits;
  }

  isIn(lane: ClaimedLane): boolean {
    return this.#lane === lane;
  }

  /** One at a time. @param records null: only the position moves */
  async write(records: RecordsOfWrite | null, position: TabletPosition, signal: AbortSignal): Promise<void> {
    return this.#lane.write(this, records, position, signal);
  }

  /** Resolves when the next may take the tablet without fencing anybody, or it was not ours. */
  async release(signal: AbortSignal): Promise<void> {
    return this.#lane.release(this, signal);
  }
}
