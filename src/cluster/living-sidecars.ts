import type { SidecarView } from '../replication/views.ts';

/** Three beats and more: a sidecar that has not been heard of for so long does not ship any more, as far as others care. */
export const SIDECAR_ALIVE_MS = 15_000;
/** How old an answer may be: a sidecar that comes back is seen within it. */
const MAX_AGE_MS = 2_000;

/** Which sidecars live: those that were heard of lately and have not said that they stop, by what Kudu keeps of that. */
export class LivingSidecars {
  readonly #list: (signal: AbortSignal) => Promise<readonly SidecarView[]>;
  #known: { readonly sidecars: readonly SidecarView[]; readonly atMs: number } | null = null;

  constructor(list: (signal: AbortSignal) => Promise<readonly SidecarView[]>) {
    this.#list = list;
  }

  async list(signal: AbortSignal): Promise<readonly SidecarView[]> {
    return (await this.known(signal)).filter(isAlive);
  }

  /** Also those that are silent. */
  async known(signal: AbortSignal, maxAgeMs = MAX_AGE_MS): Promise<readonly SidecarView[]> {
    if (this.#known === null || performance.now() - this.#known.atMs > maxAgeMs)
      this.#known = { sidecars: await this.#list(signal), atMs: performance.now() };
    return this.#known.sidecars;
  }

  /** Uuids of the tablet servers that they stand beside. @param fresh asks, whatever is known from before */
  async tserverUuids(fresh: boolean, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const known = await this.known(signal, fresh ? -1 : MAX_AGE_MS);
    return new Set(known.filter(isAlive).map(({ tserverUuid }) => tserverUuid));
  }
}

/** Clocks of a Kudu cluster agree within seconds, or its servers would not run. */
export function isAlive({ http, lastSeen }: SidecarView): boolean {
  return http !== '' && Date.now() - Date.parse(lastSeen) < SIDECAR_ALIVE_MS;
}
