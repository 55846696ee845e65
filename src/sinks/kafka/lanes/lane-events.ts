import type { ClaimRef, LaneId, LanePosition, PositionsEntry } from './positions-view.ts';

/* What lane-core.ts is told, and what it has done: each effect that is answered has a number of its own, its call. */

/** Why something failed, for whoever asked for it; the core only hands it on. */
export type Cause = Error | string;

export type LaneEvent =
  /** Somebody wants to write for a tablet; answered by `taken`, `lost` or `not-taken`. */
  | { readonly kind: 'want'; readonly tablet: string }
  /** Nobody does any more. */
  | { readonly kind: 'release'; readonly tablet: string }
  /** One at a time for a tablet; answered by `written`, `not-written` or `lost`. */
  | { readonly kind: 'write'; readonly tablet: string; readonly write: number; readonly position: LanePosition }
  /** Whoever wanted that written does not wait for it any more. */
  | { readonly kind: 'cancel'; readonly tablet: string; readonly write: number }
  | { readonly kind: 'opened'; readonly call: number }
  | { readonly kind: 'claimed'; readonly call: number; readonly offsets: ReadonlyMap<string, bigint> }
  | { readonly kind: 'fenced'; readonly call: number }
  /** Whatever the partition holds, in its order, asked for or not. */
  | { readonly kind: 'entries'; readonly entries: readonly PositionsEntry[] }
  /** All that the partition had when that was asked was told. */
  | { readonly kind: 'read'; readonly call: number }
  /**
   * Decided, with what was not left out of it: by tablet why not, and null where there was no room, which is nobody's
   * fault.
   */
  | {
      readonly kind: 'committed';
      readonly call: number;
      readonly leftOut: ReadonlyMap<string, Cause | null>;
      /** Of writes that go on in the next transaction: where they stand now. */
      readonly parts: ReadonlyMap<string, LanePosition>;
    }
  /** It failed for `culprits`, or for no tablet in particular (`none`: it is tried again); nobody knows how it ended. */
  | {
      readonly kind: 'not-committed';
      readonly call: number;
      readonly culprits: ReadonlyMap<string, Cause> | 'all' | 'none';
      readonly cause: Cause;
    }
  /**
   * Another lane of this process has claimed tablets of ours. In place of its fence, which would cost us the transaction that
   * is under way, we take our next epoch ourselves; answered by `reopened` or `not-reopened`.
   */
  | { readonly kind: 'reopen' }
  /** An effect but a transaction failed. */
  | { readonly kind: 'failed'; readonly call: number; readonly cause: Cause }
  | { readonly kind: 'due' };

/** What a transaction has of one tablet. */
export interface Share {
  readonly tablet: string;
  readonly claim: ClaimRef;
  /** Which records it has, by the number of the write; null for none. */
  readonly write: number | null;
  readonly position: LanePosition | null;
  /** Where it stands before. */
  readonly from: LanePosition | null;
  /** With this the tablet is given up. */
  readonly isReleased: boolean;
}

export type LaneEffect =
  /** Our own producer, anew: answers `opened` or `failed`. What it had open before is over then. */
  | { readonly kind: 'open'; readonly call: number }
  /** Answers `claimed` or `failed`. */
  | { readonly kind: 'claim'; readonly call: number; readonly tablets: readonly string[] }
  /** A new epoch for each of them: answers `fenced` when what they had open is over, or `failed`. */
  | { readonly kind: 'fence'; readonly call: number; readonly lanes: readonly LaneId[] }
  /** Answers `read` when every entry was given that the partition has at this moment, or `failed`. */
  | { readonly kind: 'read'; readonly call: number }
  /** A transaction of what {@link LaneCore.begin} says when its turn has come. Answers `committed` or `not-committed`. */
  | { readonly kind: 'transact'; readonly call: number }
  | { readonly kind: 'taken'; readonly tablet: string; readonly position: LanePosition | null }
  | { readonly kind: 'not-taken'; readonly tablet: string; readonly cause: Cause }
  /** Another lane has claimed it: it is not ours any more. */
  | { readonly kind: 'lost'; readonly tablet: string; readonly to: LaneId }
  | { readonly kind: 'written'; readonly tablet: string; readonly write: number }
  | { readonly kind: 'not-written'; readonly tablet: string; readonly write: number; readonly cause: Cause }
  /** The tablet was given up, and the partition says so. */
  | { readonly kind: 'released'; readonly tablet: string }
  /** An epoch was given out, and what was claimed read, since that was last asked for. */
  | { readonly kind: 'reopened' }
  | { readonly kind: 'not-reopened'; readonly cause: Cause }
  | { readonly kind: 'due-in'; readonly ms: number };
