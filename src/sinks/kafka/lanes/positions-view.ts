import { isUpTo, type RowRef, type TabletPosition } from '../../../change/position.ts';
import type { Outcome } from '../transaction-steps.ts';

/** Name of a lane: the transactional id of its producer. */
export type LaneId = string;

/** Under which claim a position was written: the claim's lane, and its offset in the positions partition. */
export interface ClaimRef {
  readonly lane: LaneId;
  readonly offset: bigint;
}

/** A position, and of which making of the stream, or stay of the table in it, see {@link SinkTablet.streamGeneration}. */
export interface LanePosition {
  readonly generation: string;
  readonly at: TabletPosition;
  /** Records behind `at` are there too, up to this row: a write takes several transactions, and was left in its midst. */
  readonly upTo?: RowRef;
}

/** Whether rows between the two are rows of the same reading of the log: a copy reads it a second time. */
export function isSameReading(from: LanePosition, to: LanePosition): boolean {
  return from.generation === to.generation && !from.at.copy && !to.at.copy;
}

/** Whether a row of the log was there when the position was, in the same reading of the log. */
export function hasRow({ at, upTo }: LanePosition, row: RowRef): boolean {
  return at.opId.index >= row.index || [at.upTo, upTo].some((last) => last !== undefined && isUpTo(row, last));
}

/** What the positions partition says of one tablet. */
export interface StoredPosition {
  readonly claim: ClaimRef;
  /** Null where the tablet has none yet: the record says whose the tablet is, and nothing else. */
  readonly position: LanePosition | null;
  /** The lane has given the tablet up: under this claim it writes nothing any more. */
  readonly isReleased: boolean;
}

/** How transactions of a producer were decided. */
export interface Decision {
  readonly producerId: bigint;
  /** Of its last one, of which this is said; without it nothing is said but of `ends`. */
  readonly epoch?: number;
  readonly outcome: Outcome;
  /** What is about to be ended so, by the offset of its first record: it is open although its transaction is over. */
  readonly ends?: readonly { readonly topic: string; readonly partition: number; readonly since: bigint }[];
}

/** One record of the positions partition, or a marker that says how a transaction ended. */
export type PositionsEntry =
  | { readonly kind: 'claim'; readonly offset: bigint; readonly tablet: string; readonly lane: LaneId }
  | {
      readonly kind: 'position';
      readonly offset: bigint;
      readonly tablet: string;
      readonly producerId: bigint;
      readonly stored: StoredPosition;
    }
  /** Somebody has deleted it by hand. @param lane of a claim; null: the position */
  | { readonly kind: 'forgotten'; readonly offset: bigint; readonly tablet: string; readonly lane: LaneId | null }
  | { readonly kind: 'decision'; readonly offset: bigint; readonly lane: LaneId; readonly decision: Decision }
  /** Under a key of ours there is what is no position. */
  | { readonly kind: 'unreadable'; readonly offset: bigint; readonly tablet: string; readonly why: string }
  | {
      readonly kind: 'marker';
      readonly offset: bigint;
      readonly producerId: bigint;
      readonly outcome: Outcome;
    };

interface TabletLines {
  /** Offset of the newest claim of each lane. */
  readonly claims: Map<LaneId, bigint>;
  stored: StoredPosition | null;
  fault: string | null;
}

/**
 * The positions partition of a stream, as far as it was read. It is read `read_uncommitted`, markers and all: a
 * `read_committed` reader would wait for the open transaction of any sidecar, dead ones too, and whoever takes a tablet
 * over needs to know the end of those only whom it has fenced.
 *
 * Compaction keeps the newest claim of each lane and the newest position of each tablet, and with a position the marker
 * that committed it, so a partition that was compacted at any point reads the same.
 */
export class PositionsView {
  readonly #tablets = new Map<string, TabletLines>();
  readonly #decisions = new Map<LaneId, Decision>();
  /** By producer: what its open transaction has written. */
  readonly #open = new Map<bigint, { readonly tablet: string; readonly stored: StoredPosition }[]>();

  add(entry: PositionsEntry): void {
    switch (entry.kind) {
      case 'claim':
        this.#linesOf(entry.tablet).claims.set(entry.lane, entry.offset);
        return;
      case 'position': {
        const open = this.#open.get(entry.producerId);
        if (open) open.push(entry);
        else this.#open.set(entry.producerId, [entry]);
        return;
      }
      case 'forgotten':
        if (entry.lane === null) Object.assign(this.#linesOf(entry.tablet), { stored: null, fault: null });
        else this.#linesOf(entry.tablet).claims.delete(entry.lane);
        return;
      case 'decision':
        this.#decisions.set(entry.lane, entry.decision);
        return;
      case 'unreadable':
        this.#linesOf(entry.tablet).fault = entry.why;
        return;
      case 'marker':
        if (entry.outcome === 'commit')
          for (const { tablet, stored } of this.#open.get(entry.producerId) ?? [])
            Object.assign(this.#linesOf(tablet), { stored, fault: null });
        this.#open.delete(entry.producerId);
    }
  }

  /** What was committed last for a tablet; null where nothing ever was. */
  storedOf(tablet: string): StoredPosition | null {
    return this.#tablets.get(tablet)?.stored ?? null;
  }

  /** Why nobody knows where a tablet stands; null where that is known. */
  faultOf(tablet: string): string | null {
    return this.#tablets.get(tablet)?.fault ?? null;
  }

  /** What was noted last of a lane's open ends; null: nothing had to be. */
  decisionOf(lane: LaneId): Decision | null {
    return this.#decisions.get(lane) ?? null;
  }

  /** Who claimed a tablet last, by the order of the partition. */
  newestClaim(tablet: string): ClaimRef | null {
    let newest: ClaimRef | null = null;
    for (const [lane, offset] of this.#tablets.get(tablet)?.claims ?? [])
      if (newest === null || offset > newest.offset) newest = { lane, offset };
    return newest;
  }

  /**
   * The lanes that may still write for a tablet, but for `own`: whoever wrote last under its claim and has not given the
   * tablet up, and whoever has claimed it since. Those that claimed earlier were fenced by the one that wrote.
   */
  mayWrite(tablet: string, own: LaneId): LaneId[] {
    const lines = this.#tablets.get(tablet);
    if (!lines) return [];
    const { stored, claims } = lines;
    const lanes = new Set<LaneId>();
    if (stored && !stored.isReleased) lanes.add(stored.claim.lane);
    for (const [lane, offset] of claims) if (stored === null || offset > stored.claim.offset) lanes.add(lane);
    lanes.delete(own);
    return [...lanes];
  }

  #linesOf(tablet: string): TabletLines {
    let lines = this.#tablets.get(tablet);
    if (lines === undefined) this.#tablets.set(tablet, (lines = { claims: new Map(), stored: null, fault: null }));
    return lines;
  }
}
