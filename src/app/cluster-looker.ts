import * as z from 'zod';
import type { ClusterLook, ClusterLooker, LocalStanding, SidecarLook } from '../api/cluster-look.ts';
import { historyView, localStatus, tabletKey, type HistoryView, type LocalStatus } from '../api/cluster-state.ts';
import type { KnownSidecar, StreamView } from '../api/shapes.ts';
import type { SidecarClient } from '../sidecars/sidecar-client.ts';
import type { Logger } from '../util/logger.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { WatchedStreams, type WatchedStreamsOptions } from './watched-streams.ts';

const ASK_TIMEOUT_MS = 2000;
/** Who leads a tablet that another one ships is asked so often. */
const LEADERS_FRESH_MS = 5000;

export interface RunningLookerOptions extends WatchedStreamsOptions {
  readonly own: LocalStanding;
  readonly client: Pick<SidecarClient, 'call'>;
  readonly logger: Logger;
}

/** Looks at the cluster for those that watch it: the streams as the API lists them, and what each sidecar says of itself. */
export class RunningLooker implements ClusterLooker {
  readonly #options: RunningLookerOptions;
  readonly #streams: WatchedStreams;
  #leaders: { readonly byTable: Map<string, ReadonlyMap<string, readonly string[]>>; readonly atMs: number } | null =
    null;

  constructor(options: RunningLookerOptions) {
    this.#options = options;
    this.#streams = new WatchedStreams(options);
  }

  async look(signal: AbortSignal): Promise<ClusterLook> {
    const { listSidecars } = this.#options;
    const [streams, sidecars] = await Promise.all([
      this.#streams.list(signal),
      listSidecars(signal).then((known) => Promise.all(known.map((sidecar) => this.#lookAt(sidecar, signal)))),
    ]);
    return { streams, sidecars, leadersOf: await this.#leadersOf(streams, sidecars, signal) };
  }

  async histories(signal: AbortSignal): Promise<readonly HistoryView[]> {
    const { selfId, own, listSidecars } = this.#options;
    const others = (await listSidecars(signal)).filter(({ id, isAlive }) => isAlive && id !== selfId);
    const told = await Promise.all(others.map((other) => this.#ask(other, '/v1/local/history', historyView, signal)));
    return [own.history(), ...told.filter((history) => history !== null)];
  }

  async #lookAt(sidecar: KnownSidecar, signal: AbortSignal): Promise<SidecarLook> {
    if (sidecar.id === this.#options.selfId) return { ...sidecar, status: await this.#options.own.status() };
    const status = sidecar.isAlive
      ? await this.#ask<LocalStatus>(sidecar, '/v1/local/status', localStatus, signal)
      : null;
    return { ...sidecar, status };
  }

  /** Null where it does not answer, or is of a version that has no such answer. */
  async #ask<T>({ id, http }: KnownSidecar, path: string, shape: z.ZodType<T>, signal: AbortSignal): Promise<T | null> {
    const { client, logger } = this.#options;
    try {
      using limit = new TimeLimit(signal, ASK_TIMEOUT_MS);
      const answer = await client.call(http, path, { signal: limit.signal });
      const text = await answer.text();
      return answer.ok ? shape.parse(JSON.parse(text)) : null;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.debug({ sidecar: id, http, path, reason }, 'sidecar does not say how it is');
      return null;
    }
  }

  /** Of tablets that another sidecar than their leader's ships, which are mostly none. */
  async #leadersOf(
    streams: readonly StreamView[],
    sidecars: readonly SidecarLook[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> {
    const leaders = new Map<string, string>();
    const elsewhere = streams.flatMap(({ tablets }) => tablets.filter(({ role }) => role === 'follower'));
    if (elsewhere.length === 0) return leaders;
    const nowMs = performance.now();
    if (this.#leaders === null || nowMs - this.#leaders.atMs > LEADERS_FRESH_MS)
      this.#leaders = { byTable: new Map(), atMs: nowMs };
    const { byTable } = this.#leaders;
    for (const tablet of elsewhere) {
      const table = this.#options.catalog.tableOf(tablet.tabletId);
      if (table === undefined) continue;
      if (!byTable.has(table.tableId))
        byTable.set(table.tableId, await this.#options.replicasOf(table.tableId, signal));
      const [leader] = byTable.get(table.tableId)?.get(tablet.tabletId) ?? [];
      const sidecar = sidecars.find(({ tserverUuid }) => tserverUuid === leader);
      if (sidecar) leaders.set(tabletKey(tablet), sidecar.tserver);
    }
    return leaders;
  }
}
