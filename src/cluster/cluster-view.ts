import * as z from 'zod';
import type { Logger } from '../util/logger.ts';
import { TimeLimit } from '../util/time-limit.ts';
import type { Catalog } from '../replication/catalog.ts';
import type { StoredStream } from '../replication/stored-stream.ts';
import { isStreamable } from '../replication/stream-members.ts';
import { matchTables } from '../replication/stream.ts';
import type { SidecarView, StreamView, TabletView } from '../replication/views.ts';
import { isAlive } from './living-sidecars.ts';
import { TABLET_STATES } from '../replication/views.ts';

const ASK_TIMEOUT_MS = 2000;

export interface ClusterViewOptions {
  readonly selfId: string;
  readonly localTablets: () => readonly TabletView[];
  readonly listSidecars: (signal: AbortSignal) => Promise<readonly SidecarView[]>;
  /** Uuids of the tablet servers of each tablet of a table, its leader's first. */
  readonly replicasOf: (tableId: string, signal: AbortSignal) => Promise<ReadonlyMap<string, readonly string[]>>;
  readonly joinedTables: (stream: StoredStream, signal: AbortSignal) => Promise<ReadonlyMap<string, unknown>>;
  readonly catalog: Catalog;
  readonly systemTablePrefix: string;
  /** Bearer token of the cluster's sidecars, or null. */
  readonly token: string | null;
  readonly logger: Logger;
}

const tabletView: z.ZodType<TabletView> = z.object({
  stream: z.string(),
  tabletId: z.string(),
  table: z.string(),
  sidecar: z.string().nullable(),
  role: z.enum(['leader', 'follower', 'learner', 'unknown']),
  state: z.enum(TABLET_STATES),
  applyOpId: z.string().nullable(),
  committedOpId: z.string().nullable(),
  lagOps: z.number().nullable(),
  lagSeconds: z.number().nullable(),
  hold: z.object({ index: z.number(), bytes: z.number(), ageSeconds: z.number() }).nullable(),
  error: z.object({ code: z.string(), message: z.string(), since: z.string() }).exactOptional(),
});
const localAnswer = z.array(tabletView);

/** Puts together what all sidecars say of their tablets, so that any of them can show the whole cluster. */
export class ClusterView {
  readonly #options: ClusterViewOptions;

  constructor(options: ClusterViewOptions) {
    this.#options = options;
  }

  /** Every tablet of every stream, also those that no sidecar ships. */
  async describe(streams: readonly StoredStream[], signal: AbortSignal): Promise<StreamView[]> {
    const { catalog, listSidecars } = this.#options;
    await catalog.fetchNow(signal);
    const sidecars = await listSidecars(signal);
    const alive = sidecars.filter(isAlive);
    const shipped = await this.#askAll(alive, signal);
    return Promise.all(
      streams.map(async (stream) => ({
        ...stream.definition,
        createdAt: stream.createdAt,
        tablets: await this.#tabletsOf(stream, shipped, alive, signal),
      })),
    );
  }

  /** The tablets that the other sidecars ship, of those that answer. */
  async shippedElsewhere(signal: AbortSignal): Promise<readonly TabletView[]> {
    const { listSidecars, selfId } = this.#options;
    const others = (await listSidecars(signal)).filter((sidecar) => isAlive(sidecar) && sidecar.id !== selfId);
    return (await Promise.all(others.map((sidecar) => this.#ask(sidecar, signal)))).flat();
  }

  async #askAll(sidecars: readonly SidecarView[], signal: AbortSignal): Promise<Map<string, TabletView>> {
    const answers = await Promise.all(
      sidecars.map(async (sidecar) =>
        sidecar.id === this.#options.selfId ? this.#options.localTablets() : this.#ask(sidecar, signal),
      ),
    );
    return new Map(answers.flat().map((view) => [`${view.stream}/${view.tabletId}`, view]));
  }

  async #ask(sidecar: SidecarView, signal: AbortSignal): Promise<readonly TabletView[]> {
    const { token, logger } = this.#options;
    using limit = new TimeLimit(signal, ASK_TIMEOUT_MS);
    try {
      const response = await fetch(`http://${sidecar.http}/v1/local`, {
        headers: token === null ? {} : { authorization: `Bearer ${token}` },
        signal: limit.signal,
      });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return localAnswer.parse(await response.json());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.debug({ sidecar: sidecar.id, http: sidecar.http, reason }, 'sidecar does not answer');
      return [];
    }
  }

  async #tabletsOf(
    stream: StoredStream,
    shipped: ReadonlyMap<string, TabletView>,
    alive: readonly SidecarView[],
    signal: AbortSignal,
  ): Promise<TabletView[]> {
    const { catalog, systemTablePrefix, joinedTables, replicasOf } = this.#options;
    const joined = await joinedTables(stream, signal);
    const views: TabletView[] = [];
    for (const table of catalog.tables()) {
      const member = joined.has(table.tableId) || matchTables(stream.definition.tables, table.name);
      if (!member || !isStreamable(table.name, systemTablePrefix)) continue;
      const missing = table.tablets.some(({ tabletId }) => !shipped.has(`${stream.definition.name}/${tabletId}`));
      const replicas = missing ? await replicasOf(table.tableId, signal) : new Map<string, readonly string[]>();
      for (const { tabletId } of table.tablets) {
        const view = shipped.get(`${stream.definition.name}/${tabletId}`);
        // The leader's own, or one that is about to stand in.
        const [leaderUuid, ...others] = replicas.get(tabletId) ?? [];
        const beside = (uuid: string | undefined) => alive.find(({ tserverUuid }) => tserverUuid === uuid);
        const own = beside(leaderUuid);
        const sidecar = own ?? others.map(beside).find((other) => other !== undefined);
        views.push(view ?? unshipped(stream, table.name, tabletId, sidecar, own ? 'leader' : 'follower'));
      }
    }
    return views;
  }
}

/** A tablet that nobody ships: its stream is paused, or the sidecar of a replica has yet to begin, or there is none. */
function unshipped(
  stream: StoredStream,
  table: string,
  tabletId: string,
  sidecar: SidecarView | undefined,
  role: 'leader' | 'follower',
): TabletView {
  const idle = stream.paused ? 'paused' : 'starting';
  return {
    stream: stream.definition.name,
    tabletId,
    table,
    sidecar: sidecar?.http ?? null,
    role: sidecar ? role : 'unknown',
    state: sidecar ? idle : 'no-sidecar',
    applyOpId: null,
    committedOpId: null,
    lagOps: null,
    lagSeconds: null,
    hold: null,
  };
}
