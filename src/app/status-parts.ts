import type { FreeSpaceFloor } from '../keeping/free-space.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { ClusterEvents } from '../status/cluster-events.ts';
import { OwnStanding } from '../status/local-standing.ts';
import type { SecretMask } from '../util/secret-mask.ts';
import { SPOOR_VERSION } from '../util/version.ts';
import type { StartingSidecar } from './starting-sidecar.ts';

/** What the status page is told, from the sidecar's first moment on. */
export function createStatusParts(parts: {
  readonly sidecar: StartingSidecar;
  readonly metrics: Metrics;
  readonly freeSpace: FreeSpaceFloor;
  readonly minFreePercent: number;
  readonly mask: SecretMask;
}): { readonly own: OwnStanding; readonly events: ClusterEvents } {
  const { sidecar, metrics, freeSpace, minFreePercent, mask } = parts;
  const own = new OwnStanding({
    localTablets: () => sidecar.localTablets('all'),
    holds: () => sidecar.holds(),
    space: () => freeSpace.space,
    minFreePercent,
    recordsShipped: () => metrics.recordsShipped(),
    readiness: () => sidecar.readiness(),
    mask: mask.apply,
  });
  return { own, events: new ClusterEvents({ looker: sidecar, version: SPOOR_VERSION, mask: mask.apply }) };
}
