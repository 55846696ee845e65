import { SpoorError } from '../errors.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { CommitEntry, ReplicateEntry } from './entry.ts';

/** An operation that a majority has and this replica applied. */
export interface CommittedOp {
  readonly replicate: ReplicateEntry;
  readonly commit: CommitEntry;
}

interface Pending {
  readonly replicate: ReplicateEntry;
  commit: CommitEntry | null;
}

/** Positions at which the term rose are remembered this many times: leaders change seldom. */
const MAX_TERM_STARTS = 1024;

/**
 * Pairs REPLICATE with COMMIT and gives the committed operations out in index order, each once, without a gap.
 *
 * In the log COMMITs come in any order, maybe segments after their REPLICATE, and an operation that a newer leader
 * overwrote leaves no trace but the newer REPLICATE (kudu-facts 5.1, 5.2). A tablet server that restarts writes its
 * log anew: `restart()` forgets what was only proposed, keeps what is known to be committed, and recognises again
 * what was given out (5.8). So it is after a hole, where segments are lost: it is passed over when all in it is known.
 *
 * What comes out begins with the first operation in the log, which may be before `after`: the reader of the rows skips
 * those, the reader of schemas wants them.
 * Errors: SPOOR_WAL_GAP when the operation after `after`, or a later one, is not in the log; SPOOR_WAL_DIVERGED when
 * another operation was committed at a known position (traps 38, 40); SPOOR_WAL_CORRUPT when the log contradicts itself.
 */
export class CommitOrder {
  readonly #after: OpId;
  readonly #pending = new Map<number, Pending>();
  /** First index of each term among what was given out, oldest first. */
  readonly #termStarts: { readonly index: bigint; readonly term: bigint }[] = [];
  /** The index to give out next; null before the first REPLICATE. */
  #next: bigint | null = null;
  #highestPending = 0n;
  /** The last REPLICATE of this incarnation of the log. */
  #lastProposed: bigint | null = null;
  #committed: OpId;

  /** @param after the position up to which all is done with; `MIN_OPID` before the first */
  constructor(after: OpId) {
    this.#after = after;
    this.#committed = after;
  }

  /** The highest operation that is known to be committed, given out or not. */
  get committed(): OpId {
    return this.#committed;
  }

  /** How many operations wait for their COMMIT, or for one before them. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /**
   * What follows does not go on from what was read: another incarnation of the log, or what comes after a hole. They may
   * come in any order: what is known already is recognised.
   */
  restart(): void {
    this.#lastProposed = null;
    for (const [index, { commit }] of this.#pending) if (commit === null) this.#pending.delete(index);
  }

  push(entry: ReplicateEntry | CommitEntry): void {
    if (entry.kind === 'replicate') this.#propose(entry);
    else this.#commit(entry);
  }

  /** What can be given out since the last call; an operation that diverges is thrown at when it is the first. */
  take(): CommittedOp[] {
    const ops: CommittedOp[] = [];
    if (this.#next === null) return ops;
    for (;;) {
      const key = Number(this.#next);
      const pending = this.#pending.get(key);
      if (!pending?.commit) return ops;
      const divergence = this.#divergence(pending.commit);
      if (divergence && ops.length > 0) return ops;
      if (divergence) throw divergence;
      this.#pending.delete(key);
      this.#noteTerm(pending.replicate.opId);
      ops.push({ replicate: pending.replicate, commit: pending.commit });
      this.#next++;
    }
  }

  #propose(entry: ReplicateEntry): void {
    const { index } = entry.opId;
    // What stood between is lost: whether it is missed is the same question as at the start of a log.
    if (this.#lastProposed !== null && index > this.#lastProposed + 1n) this.restart();
    if (this.#lastProposed === null) this.#begin(entry);
    this.#lastProposed = index;
    for (let i = index; i <= this.#highestPending; i++) {
      const pending = this.#pending.get(Number(i));
      if (pending && pending.commit === null) this.#pending.delete(Number(i));
    }
    if (index < this.#next! || this.#pending.has(Number(index))) return; // known to be committed
    this.#pending.set(Number(index), { replicate: entry, commit: null });
    if (index > this.#highestPending) this.#highestPending = index;
  }

  /** The first REPLICATE of an incarnation, or after a hole: the log must not begin after what is wanted. */
  #begin(entry: ReplicateEntry): void {
    const { index } = entry.opId;
    const next = this.#next ?? 0n;
    const wanted = next > this.#after.index ? next : this.#after.index + 1n;
    if (index > wanted)
      throw gap(`the operation at index ${wanted} is wanted, the log goes on with ${formatOpId(entry.opId)}`, entry);
    // Below `wanted` operations are read for their schemas alone: a log that begins later does as well.
    if (this.#next !== null && index <= this.#next) return;
    this.#next = index;
    this.#termStarts.length = 0;
    for (const known of this.#pending.keys()) if (known < Number(index)) this.#pending.delete(known);
  }

  #commit(entry: CommitEntry): void {
    const { opId } = entry;
    if (opId.index > this.#committed.index) this.#committed = opId;
    const isGivenOut = this.#next !== null && opId.index < this.#next;
    const pending = isGivenOut ? undefined : this.#pending.get(Number(opId.index));
    // Without its REPLICATE, which was in a hole or before the log's start, one that is done with is no loss.
    if (isGivenOut || (!pending && opId.index <= this.#after.index)) {
      const divergence = this.#divergence(entry);
      if (divergence) throw divergence;
      return;
    }
    if (!pending) throw gap(`${formatOpId(opId)} is committed and not in the log`, entry);
    if (pending.replicate.opId.term !== opId.term) {
      const what = `${formatOpId(opId)} is committed, the log has ${formatOpId(pending.replicate.opId)} there`;
      if (pending.commit) throw diverged(what, entry);
      const { path, offset } = entry.location;
      throw new SpoorError('SPOOR_WAL_CORRUPT', `${path} byte ${offset}: ${what}`, { path, offset });
    }
    // The first COMMIT counts: a log written anew after a loss of power may judge the rows otherwise (trap 39).
    pending.commit ??= entry;
  }

  /** Holds a committed operation against all that is known: at one index there is one term, and terms never fall. */
  #divergence(entry: CommitEntry): SpoorError | null {
    const { term, index } = entry.opId;
    const { term: knownTerm, index: knownIndex } = this.#after;
    const fits = index === knownIndex ? term === knownTerm : index < knownIndex ? term <= knownTerm : term >= knownTerm;
    if (!fits)
      return diverged(`${formatOpId(entry.opId)} is committed, the stream stands at ${formatOpId(this.#after)}`, entry);
    const given = this.#termStarts.findLast((start) => start.index <= index);
    if (!given) return null;
    const isNew = this.#next !== null && index >= this.#next;
    if (isNew ? term >= given.term : term === given.term) return null;
    return diverged(`${formatOpId(entry.opId)} is committed, term ${given.term} was read there before`, entry);
  }

  #noteTerm({ term, index }: OpId): void {
    if (this.#termStarts.at(-1)?.term === term) return;
    this.#termStarts.push({ index, term });
    if (this.#termStarts.length > MAX_TERM_STARTS) this.#termStarts.shift();
  }
}

function gap(what: string, entry: ReplicateEntry | CommitEntry): SpoorError {
  const { path, offset } = entry.location;
  return new SpoorError('SPOOR_WAL_GAP', `${path} byte ${offset}: ${what}`, {
    path,
    offset,
    opId: formatOpId(entry.opId),
  });
}

function diverged(what: string, entry: CommitEntry): SpoorError {
  const { path, offset } = entry.location;
  return new SpoorError('SPOOR_WAL_DIVERGED', `${path} byte ${offset}: ${what}`, {
    path,
    offset,
    opId: formatOpId(entry.opId),
  });
}
