import type { LocalTablet, TabletServerProxy } from '../kudu/tserver-proxy.ts';
import { waitFor } from '../util/wait-for.ts';

type Listing = Promise<readonly LocalTablet[]>;

/**
 * What tablet servers say of their replicas' schemas. Kudu answers for all replicas of a server at once, which is much
 * where there are many with wide schemas: all who ask while a call is under way share the next one. An answer is never
 * of a moment before it was asked for.
 */
export class SchemaLooks {
  readonly #serverAt: (address: string) => Pick<TabletServerProxy, 'listTablets'>;
  readonly #running = new Map<string, Listing>();
  /** Those that have not begun. */
  readonly #next = new Map<string, Listing>();

  constructor(serverAt: (address: string) => Pick<TabletServerProxy, 'listTablets'>) {
    this.#serverAt = serverAt;
  }

  /** The replica of a tablet on that server; undefined where it has none. @throws {KuduError} or the signal's reason */
  async lookAt(address: string, tabletId: string, signal: AbortSignal): Promise<LocalTablet | undefined> {
    const tablets = await waitFor(this.#ask(address), signal);
    return tablets.find((known) => known.tabletId === tabletId);
  }

  #ask(address: string): Listing {
    const next = this.#next.get(address);
    if (next) return next;
    const running = this.#running.get(address);
    if (!running) return this.#begin(address);
    const begin = (): Listing => {
      this.#next.delete(address);
      return this.#begin(address);
    };
    const waiting = running.then(begin, begin);
    this.#next.set(address, waiting);
    return waiting;
  }

  #begin(address: string): Listing {
    const listing = this.#serverAt(address).listTablets({ withSchema: true });
    this.#running.set(address, listing);
    const forget = (): void => {
      if (this.#running.get(address) === listing) this.#running.delete(address);
    };
    listing.then(forget, forget);
    return listing;
  }
}
