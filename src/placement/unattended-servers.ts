import type { LocalReplica } from '../keeping/local-replica.ts';

/**
 * Tablet servers without a living sidecar, as far as one sidecar can see them: those that have a voter of a streamed tablet
 * whose replica is here as well.
 * @returns uuids, in order, each once
 */
export function unattendedServers(
  replicas: readonly Pick<LocalReplica, 'tabletId' | 'voterUuids'>[],
  streamed: ReadonlySet<string>,
  isAttended: (tserverUuid: string) => boolean,
): readonly string[] {
  const voters = replicas.flatMap(({ tabletId, voterUuids }) => (streamed.has(tabletId) ? voterUuids : []));
  return [...new Set(voters)].filter((uuid) => !isAttended(uuid)).sort();
}
