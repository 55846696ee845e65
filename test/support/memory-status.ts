import type { ClusterLook, ClusterLooker } from '../../src/api/cluster-look.ts';
import { ClusterEvents, type ClusterEventsOptions } from '../../src/status/cluster-events.ts';
import { OwnStanding } from '../../src/status/local-standing.ts';
import type { StatusParts } from '../../src/control/status-routes.ts';
import type { MemoryControlPlane } from './memory-control-plane.ts';

/** Looks at a control plane in memory. */
export function memoryLooker(plane: MemoryControlPlane): ClusterLooker {
  return {
    look: async (): Promise<ClusterLook> => ({
      streams: await plane.listStreams(),
      sidecars: (await plane.listSidecars()).map((sidecar) => ({ ...sidecar, isAlive: true, status: null })),
      leadersOf: new Map(),
    }),
    histories: () => Promise.resolve([]),
  };
}

/** What a sidecar says of its control plane in memory. */
export function memoryStatus(
  plane: MemoryControlPlane,
  more: Partial<ClusterEventsOptions> & { readonly looker?: ClusterEventsOptions['looker'] } = {},
): StatusParts {
  return {
    events: new ClusterEvents({ looker: { looker: memoryLooker(plane) }, version: '1.2.3', ...more }),
    own: new OwnStanding({
      localTablets: () => plane.tablets,
      holds: () => [],
      space: () => ({ totalBytes: 1000, freeBytes: 500 }),
      minFreePercent: 10,
      recordsShipped: () => Promise.resolve(new Map([['orders', 7]])),
      readiness: () => plane.readiness(),
      mask: (text) => text,
    }),
  };
}
