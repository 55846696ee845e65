/*
 * What is done about a tablet whose log ends in a gap; the decisions alone. gaps.ts gathers what is known and carries out
 * what comes of it.
 */

import type { Filling } from '../source/gap-filler.ts';

/**
 * What came of asking the sidecars of the other replicas for what is missing, where it was not filled. `lost`: nobody can
 * have it, since a limit let go of it everywhere.
 */
export type Verdict = 'lost' | Exclude<Filling, 'filled'>;

/** A log that comes from another sidecar has every change, a repair only the last ones: it is worth a wait. */
export const REPAIR_AFTER_MS: Readonly<Record<Verdict, number>> = { lost: 0, nobody: 30_000, silent: 600_000 };

export interface GapSituation {
  /** The last operation before the gap, and how long it has been there. */
  readonly afterIndex: bigint;
  readonly lastsMs: number;
  /** How far a marker in our log says that the sink has it all, shipped from wherever. */
  readonly markedIndex: bigint;
  /** Null: the others were not asked yet, or did not come to an answer. */
  readonly verdict: Verdict | null;
  readonly sinkWorks: boolean;
  /** How long the tablet is known to be no more; null while it is there. */
  readonly droppedForMs: number | null;
  /** Whether somebody has asked for a resync or a repair since the gap is there. */
  readonly isAskedFor: boolean;
  /** `manual`: it stays until somebody asks. */
  readonly repair: 'auto' | 'manual';
}

/** `begins-anew`: somebody else has shipped what is missing; `repairs`: the table itself is to make up for it. */
export type GapStep = 'begins-anew' | 'repairs' | 'asks-others';

/** Pure. */
export function seeToGap(situation: GapSituation): GapStep {
  if (situation.markedIndex > situation.afterIndex) return 'begins-anew';
  return mayRepair(situation) ? 'repairs' : 'asks-others';
}

/** A sink that does not work would let the copy wait, and the log behind its cut grow. */
function mayRepair(situation: GapSituation): boolean {
  const { afterIndex, lastsMs, verdict, sinkWorks, droppedForMs, isAskedFor, repair } = situation;
  if (verdict === null || !sinkWorks) return false;
  // Since the drop, not since this sidecar's turn began: the turns go round, and there is to be an end to it. There is no
  // table to ask: its end is all that is left to tell, and that what the log lacks is missing.
  if (droppedForMs !== null) return verdict !== 'silent' || droppedForMs >= REPAIR_AFTER_MS.silent;
  // Nothing of it was shipped yet: it joins by a copy, since its log does not begin with its first operation.
  if (afterIndex === 0n || isAskedFor) return true;
  return repair === 'auto' && lastsMs >= REPAIR_AFTER_MS[verdict];
}
