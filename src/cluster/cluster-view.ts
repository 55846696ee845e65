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
  readonly holdHere: (tabletIds: readonly string[]) => void;
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
  copy: z
    .object({
      kind: z.enum(['all', 'changes']),
      hybridTime: z.string(),
      rows: z.number(),
      totalRows: z.number().nullable(),
      percent: z.number().nullable(),
      secondsLeft: z.number().nullable(),
    })
    .exactOptional(),
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
    const others = await this.#others(signal);
    return (await Promise.all(others.map((sidecar) => this.#ask(sidecar, signal)))).flat();
  }

  /**
   * Has the logs of these tablets held beside every replica, from the answer on. A sidecar that does not answer does not
   * hold them yet; what its log lacks later it takes from the others.
   */
  async holdEverywhere(tabletIds: readonly string[], signal: AbortSignal): Promise<void> {
    if (tabletIds.length === 0) return;
    this.#options.holdHere(tabletIds);
    const body = JSON.stringify({ tablets: tabletIds });
    const others = await this.#others(signal);
    await Promise.all(others.map((sidecar) => this.#call(sidecar, '/v1/local/holds', signal, body)));
  }

  async #others(signal: AbortSignal): Promise<readonly SidecarView[]> {
    const { listSidecars, selfId } = this.#options;
    return (await listSidecars(signal)).filter((sidecar) => isAlive(sidecar) && sidecar.id !== selfId);
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
    const answer = await this.#call(sidecar, '/v1/local', signal);
    return answer === null ? [] : localAnswer.parse(JSON.parse(answer));
  }

  /** POSTs a body, or GETs without one. Null where that sidecar does not answer as it should. */
  async #call(sidecar: SidecarView, path: string, signal: AbortSignal, body?: string): Promise<string | null> {
    const { token, logger } = this.#options;
    using limit = new TimeLimit(signal, ASK_TIMEOUT_MS);
    try {
      const response = await fetch(`http://${sidecar.http}${path}`, {
        headers: {
          ...(token !== null && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { method: 'POST', body }),
        signal: limit.signal,
      });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return await response.text();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.debug({ sidecar: sidecar.id, http: sidecar.http, path, reason }, 'sidecar does not answer');
      return null;
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
    // What is left of tablets that were dropped.
    const listed = new Set(views.map(({ tabletId }) => tabletId));
    for (const view of shipped.values())
      if (view.stream === stream.definition.name && !listed.has(view.tabletId)) views.push(view);
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
