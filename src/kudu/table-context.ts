import type { ClusterClock } from './cluster-clock.ts';
import type { HybridTime } from './hybrid-time.ts';
import type { RequestTracker } from './rpc/request-tracker.ts';
import type { TabletServerProxy } from './tserver-proxy.ts';

/** What the tables of one client share. */
export interface TableContext {
  readonly tracker: RequestTracker;
  readonly observed: ObservedTime;
  readonly clock: ClusterClock;
  /** The time of a call that names none itself, in milliseconds. */
  readonly timeoutMs: number;
  tabletServer(address: string): TabletServerProxy;
}

/**
 * The highest time that servers have answered this client with. Sent along, it keeps cause before effect: what this
 * client does next gets a later time, and a snapshot taken next has what this client wrote, whichever server's clock
 * is behind.
 */
export class ObservedTime {
  #latest: HybridTime = 0n;

  note(time: HybridTime): void {
    if (time > this.#latest) this.#latest = time;
  }

  /** The field of a write or scan request; nothing while no server has answered. */
  toPropagate(): { readonly propagatedTimestamp?: HybridTime } {
    return this.#latest === 0n ? {} : { propagatedTimestamp: this.#latest };
  }
}
