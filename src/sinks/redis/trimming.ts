import { compareEntryIds, idAfter, type EntryId } from './entry-id.ts';

/** What the script LOOK says of a stream key. */
export interface StreamLook {
  /** By the server's clock. */
  readonly nowMs: bigint;
  readonly length: number;
  /** First of the entries that may stay by `maxLen`, as far as was looked; null: all may. */
  readonly firstToKeep: EntryId | null;
  readonly groups: readonly GroupProgress[];
}

/** How far a consumer group has come. */
export interface GroupProgress {
  /** Given to one of its consumers last. */
  readonly delivered: EntryId;
  /** The oldest that none has acknowledged; null where there is none. */
  readonly pending: EntryId | null;
}

/**
 * The entries before this one may go; null: none. Never one that a consumer group has not read, or not acknowledged: a group
 * that stands still keeps all that came after.
 * @param minIdAgeMs entries that are older may go; null: none for their age
 */
export function trimBefore({ nowMs, firstToKeep, groups }: StreamLook, minIdAgeMs: number | null): EntryId | null {
  const oldest: EntryId | null = minIdAgeMs === null ? null : { ms: nowMs - BigInt(minIdAgeMs), seq: 0n };
  let cut: EntryId | null = null;
  for (const asked of [firstToKeep, oldest])
    if (asked && (cut === null || compareEntryIds(asked, cut) > 0)) cut = asked;
  if (cut === null || cut.ms < 0n) return null;
  for (const { delivered, pending } of groups) {
    const needed = pending ?? idAfter(delivered);
    if (compareEntryIds(needed, cut) < 0) cut = needed;
  }
  return cut.ms === 0n && cut.seq <= 1n ? null : cut;
}
