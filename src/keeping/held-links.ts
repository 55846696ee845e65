import type { HoldStore } from '../wal/hold-store.ts';

/**
 * Checks that every segment of the tablets that are held could be linked, when its folder was looked at last.
 * @throws {Error} naming a tablet and the reason, and how many there are: these logs are read, and are not held
 */
export function checkLinks(holds: Pick<HoldStore, 'tabletIds' | 'get'>): void {
  const failing = holds.tabletIds().flatMap((tabletId) => {
    const failure = holds.get(tabletId)?.failure;
    return failure ? [{ tabletId, failure }] : [];
  });
  const [first] = failing;
  if (!first) return;
  const others = failing.length > 1 ? `, nor those of ${failing.length - 1} more` : '';
  const reason = `segments of tablet ${first.tabletId} cannot be held${others}: ${first.failure.message}`;
  throw new Error(reason, { cause: first.failure });
}
