import type { KnownSidecar } from '../api/shapes.ts';

/** How old an answer may be: a sidecar that comes back is seen within it. */
const MAX_AGE_MS = 2_000;

/** Which sidecars live: those that were heard of lately and have not said that they stop, by what Kudu keeps of that. */
export class LivingSidecars {
  readonly #list: (signal: AbortSignal) => Promise<readonly KnownSidecar[]>;
  #known: { readonly sidecars: readonly KnownSidecar[]; readonly atMs: number } | null = null;

  constructor(list: (signal: AbortSignal) => Promise<readonly KnownSidecar[]>) {
    this.#list = list;
  }

  async list(signal: AbortSignal): Promise<readonly KnownSidecar[]> {
    return (await this.known(signal)).filter(({ isAlive }) => isAlive);
  }

  /** Also those that are silent. */
  async known(signal: AbortSignal, maxAgeMs = MAX_AGE_MS): Promise<readonly KnownSidecar[]> {
    if (this.#known === null || performance.now() - this.#known.atMs > maxAgeMs)
      this.#known = { sidecars: await this.#list(signal), atMs: performance.now() };
    return this.#known.sidecars;
  }

  /** Uuids of the tablet servers that they stand beside. @param fresh asks, whatever is known from before */
  async tserverUuids(fresh: boolean, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const known = await this.known(signal, fresh ? -1 : MAX_AGE_MS);
    return new Set(known.filter(({ isAlive }) => isAlive).map(({ tserverUuid }) => tserverUuid));
  }
}
