import * as z from 'zod';
import { compareOpIds, parseOpId } from '../kudu/opid.ts';
import type { Logger } from '../util/logger.ts';
import { TimeLimit } from '../util/time-limit.ts';
import type { Catalog, CatalogTable } from '../replication/catalog.ts';
import type { StoredStream } from '../replication/stored-stream.ts';
import type { SidecarWord } from '../replication/hand-over.ts';
import { generationIn, isOfStream } from '../replication/membership.ts';
import { isStreamable } from '../replication/stream-members.ts';
import { matchTables } from '../replication/stream.ts';
import { TABLET_STATES, waitingFor } from '../replication/views.ts';
import type { ReasonedView, KnownSidecar, Standing, StreamView } from '../replication/views.ts';
import { AskedWaits } from '../replication/waits.ts';

const ASK_TIMEOUT_MS = 2000;
const REFUSED = Symbol('refused');
const ALL = '/v1/local';
const EXCEPTIONS = '/v1/local?only=exceptions';

export interface ClusterViewOptions {
  readonly selfId: string;
  readonly localTablets: () => readonly ReasonedView[];
  readonly holdHere: (tabletIds: readonly string[]) => void;
  readonly listSidecars: (signal: AbortSignal) => Promise<readonly KnownSidecar[]>;
  /** Uuids of the tablet servers of each tablet of a table, its leader's first. */
  readonly replicasOf: (tableId: string, signal: AbortSignal) => Promise<ReadonlyMap<string, readonly string[]>>;
  readonly joinedTables: (stream: StoredStream, signal: AbortSignal) => Promise<ReadonlyMap<string, unknown>>;
  readonly catalog: Catalog;
  readonly systemTablePrefix: string;
  /** Bearer token of the cluster's sidecars, or null. */
  readonly token: string | null;
  readonly logger: Logger;
}

const opId = z.string().regex(/^\d{1,19}\.\d{1,19}$/);
const fault = z.object({ code: z.string(), message: z.string(), since: z.string() });
const wait = z.object({ for: z.string(), since: z.string() });
const facts = z.object({
  stream: z.string(),
  generation: z.string().exactOptional(),
  tabletId: z.string(),
  table: z.string(),
  sidecar: z.string().nullable(),
  role: z.enum(['leader', 'follower', 'learner', 'unknown']),
  applyOpId: opId.nullable(),
  committedOpId: opId.nullable(),
  lagOps: z.number().nullable(),
  lagSeconds: z.number().nullable(),
  hold: z.object({ index: z.number(), bytes: z.number(), ageSeconds: z.number() }).nullable(),
  yields: z.boolean().exactOptional(),
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
  corrected: z.string().exactOptional(),
});
const reasonless = z.enum(['running', 'paused']);
const faulty = z.enum(['blocked', 'gap']);
/** What a sidecar of an older version says of a tablet has no such reason. */
const untold = (): z.output<typeof wait> => ({
  for: 'what its sidecar, which is of an older version, does not say',
  since: new Date().toISOString(),
});
const tabletView: z.ZodType<ReasonedView> = z.discriminatedUnion('state', [
  facts.extend({ state: reasonless }),
  facts.extend({ state: faulty, error: fault }),
  facts.extend({
    state: z.enum(TABLET_STATES).exclude([...reasonless.options, ...faulty.options]),
    waiting: wait.default(untold),
  }),
]);
const localAnswer = z.array(z.unknown());

interface Answers {
  /** By `stream/tablet`. */
  readonly views: ReadonlyMap<string, ReasonedView>;
  /** Ids of the sidecars that live, as far as is known, and did not answer. */
  readonly silent: ReadonlySet<string>;
}

/** What is known of the sidecars when nobody says anything of a tablet. */
interface Known extends Pick<Answers, 'silent'> {
  readonly sidecars: readonly KnownSidecar[];
}

/** Puts together what all sidecars say of their tablets, so that any of them can show the whole cluster. */
export class ClusterView {
  readonly #options: ClusterViewOptions;
  readonly #waits = new AskedWaits();

  constructor(options: ClusterViewOptions) {
    this.#options = options;
  }

  /**
   * Every tablet of every stream, also those that no sidecar ships. Where two sidecars show the same one, as when it is
   * handed over, the word of one that can ship it counts, then the leader's, then that of the one that is further.
   */
  async describe(streams: readonly StoredStream[], signal: AbortSignal): Promise<StreamView[]> {
    const { catalog, listSidecars } = this.#options;
    await catalog.fetchNow(signal);
    const sidecars = await listSidecars(signal);
    const { views, silent } = await this.#askAll(
      sidecars.filter(({ isAlive }) => isAlive),
      signal,
    );
    return Promise.all(
      streams.map(async (stream) => ({
        ...stream.definition,
        createdAt: stream.createdAt,
        tablets: await this.#tabletsOf(stream, views, { sidecars, silent }, signal),
      })),
    );
  }

  /** A stream that was just made, by what its maker knows: nobody is asked for anything. */
  describeNew(stream: StoredStream, tables: readonly CatalogTable[]): StreamView {
    const wait = { for: 'its sidecar to see the stream, which is new', sinceMs: Date.parse(stream.createdAt) };
    const tablets = tables.flatMap(({ name, tablets }) =>
      tablets.map(({ tabletId }) => unknownTablet(stream, name, tabletId, { state: 'starting', ...waitingFor(wait) })),
    );
    return { ...stream.definition, createdAt: stream.createdAt, tablets };
  }

  /** The tablets that the other sidecars show, of those that answer. */
  async shownElsewhere(signal: AbortSignal): Promise<readonly ReasonedView[]> {
    const others = await this.#others(signal);
    const answers = await Promise.all(others.map((sidecar) => this.#ask(sidecar, ALL, signal)));
    return answers.flatMap((views) => views ?? []);
  }

  /**
   * What these sidecars, but for ourselves, say of the tablets that they stand in for or cannot ship. One of an older
   * version says all that it ships instead.
   */
  async exceptionsOf(sidecars: readonly KnownSidecar[], signal: AbortSignal): Promise<readonly SidecarWord[]> {
    const others = sidecars.filter(({ id }) => id !== this.#options.selfId);
    return Promise.all(
      others.map(async (sidecar) => {
        const views = await this.#ask(sidecar, EXCEPTIONS, signal);
        return { tserverUuid: sidecar.tserverUuid, views };
      }),
    );
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

  async #others(signal: AbortSignal): Promise<readonly KnownSidecar[]> {
    const { listSidecars, selfId } = this.#options;
    return (await listSidecars(signal)).filter((sidecar) => sidecar.isAlive && sidecar.id !== selfId);
  }

  async #askAll(sidecars: readonly KnownSidecar[], signal: AbortSignal): Promise<Answers> {
    const silent = new Set<string>();
    const answers = await Promise.all(
      sidecars.map(async (sidecar) => {
        if (sidecar.id === this.#options.selfId) return this.#options.localTablets();
        const answer = await this.#ask(sidecar, ALL, signal);
        if (answer === null) silent.add(sidecar.id);
        return answer ?? [];
      }),
    );
    const views = new Map<string, ReasonedView>();
    for (const view of answers.flat()) {
      const key = `${view.stream}/${view.tabletId}`;
      const other = views.get(key);
      if (!other || countsMore(view, other)) views.set(key, view);
    }
    return { views, silent };
  }

  /** What a sidecar of another version says is taken as far as it is understood. Null where one that may live is silent. */
  async #ask(sidecar: KnownSidecar, path: string, signal: AbortSignal): Promise<readonly ReasonedView[] | null> {
    const answer = await this.#call(sidecar, path, signal);
    if (answer === null) return null;
    if (answer === REFUSED) return [];
    const { id, http } = sidecar;
    const listed = localAnswer.safeParse(parseJson(answer));
    if (!listed.success) {
      this.#options.logger.debug({ sidecar: id, http }, 'what answers is no sidecar');
      return [];
    }
    const parsed = listed.data.map((tablet) => tabletView.safeParse(tablet));
    const views = parsed.flatMap(({ data }) => data ?? []);
    const reason = parsed.find(({ success }) => !success)?.error?.message;
    if (reason !== undefined)
      this.#options.logger.debug(
        { sidecar: id, http, tablets: parsed.length - views.length, reason },
        'tablets of a sidecar are left out: what it says of them is not understood',
      );
    return views;
  }

  /**
   * POSTs a body, or GETs without one. Null where that sidecar does not answer as it should; {@link REFUSED} where nobody
   * listens: no process is there.
   */
  async #call(
    sidecar: KnownSidecar,
    path: string,
    signal: AbortSignal,
    body?: string,
  ): Promise<string | typeof REFUSED | null> {
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
      return isRefusal(error) ? REFUSED : null;
    }
  }

  async #tabletsOf(
    stream: StoredStream,
    shipped: ReadonlyMap<string, ReasonedView>,
    known: Known,
    signal: AbortSignal,
  ): Promise<ReasonedView[]> {
    const { catalog, systemTablePrefix, joinedTables, replicasOf } = this.#options;
    const { name } = stream.definition;
    const joined = await joinedTables(stream, signal);
    const views: ReasonedView[] = [];
    for (const table of catalog.tables()) {
      const member = joined.has(table.tableId) || matchTables(stream.definition.tables, table.name);
      if (!member || !isStreamable(table.name, systemTablePrefix)) continue;
      const generation = generationIn(stream, table.tableId);
      const viewOf = (tabletId: string): ReasonedView | undefined => {
        const view = shipped.get(`${name}/${tabletId}`);
        // What a sidecar still does for an earlier membership, or an earlier stream of that name, is not this one's state.
        return (view?.generation ?? generation) === generation ? view : undefined;
      };
      const missing = table.tablets.some(({ tabletId }) => viewOf(tabletId) === undefined);
      const replicas = missing ? await replicasOf(table.tableId, signal) : new Map<string, readonly string[]>();
      for (const { tabletId } of table.tablets) {
        const view = viewOf(tabletId);
        if (view) this.#waits.end(`${name}/${tabletId}`);
        views.push(view ?? this.#unshipped(stream, table.name, tabletId, replicas.get(tabletId) ?? [], known));
      }
    }
    // What is left of tablets that were dropped. One that is there is of a table that has left the stream.
    for (const view of shipped.values()) {
      const isOurs = view.stream === name && isOfStream(view.generation ?? stream.generation, stream);
      if (isOurs && catalog.tableOf(view.tabletId) === undefined) views.push(view);
    }
    return views.map(withoutGeneration);
  }

  /**
   * A tablet that nobody ships: its stream is paused, or the sidecar of a replica has yet to begin, or there is none.
   * @param replicas uuids of its tablet servers, the leader's first
   */
  #unshipped(
    stream: StoredStream,
    table: string,
    tabletId: string,
    replicas: readonly string[],
    { sidecars, silent }: Known,
  ): ReasonedView {
    // The leader's own, or one that is about to stand in.
    const beside = replicas.flatMap((uuid) => sidecars.find(({ tserverUuid }) => tserverUuid === uuid) ?? []);
    const sidecar = beside.find(({ isAlive }) => isAlive);
    const wait = (what: string) => waitingFor(this.#waits.note(`${stream.definition.name}/${tabletId}`, what));
    if (!sidecar) {
      const { waiting } = wait('a sidecar beside one of its replicas');
      const since =
        beside
          .map(({ lastSeen }) => lastSeen)
          .sort()
          .at(-1) ?? waiting.since;
      return unknownTablet(stream, table, tabletId, { state: 'no-sidecar', waiting: { ...waiting, since } });
    }
    const what = silent.has(sidecar.id) ? `an answer of its sidecar at ${sidecar.http}` : 'its sidecar to begin';
    const standing: Standing = stream.paused ? { state: 'paused' } : { state: 'starting', ...wait(what) };
    const role = sidecar.tserverUuid === replicas[0] ? 'leader' : 'follower';
    return { ...unknownTablet(stream, table, tabletId, standing), sidecar: sidecar.http, role };
  }
}

/** Between sidecars alone. */
function withoutGeneration(view: ReasonedView): ReasonedView {
  const shown: { generation?: string } & ReasonedView = { ...view };
  delete shown.generation;
  return shown;
}

function isRefusal(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether the first of two views of one tablet is to be shown, and not the second. */
function countsMore(view: ReasonedView, other: ReasonedView): boolean {
  if ((view.yields ?? false) !== (other.yields ?? false)) return other.yields === true;
  // Who only waits for another to finish does not know as much as that one.
  if ((view.state === 'starting') !== (other.state === 'starting')) return other.state === 'starting';
  if ((view.role === 'leader') !== (other.role === 'leader')) return view.role === 'leader';
  if (view.applyOpId === null || other.applyOpId === null) return view.applyOpId !== null && other.applyOpId === null;
  return compareOpIds(parseOpId(view.applyOpId), parseOpId(other.applyOpId)) > 0;
}

function unknownTablet(stream: StoredStream, table: string, tabletId: string, standing: Standing): ReasonedView {
  return {
    stream: stream.definition.name,
    tabletId,
    table,
    sidecar: null,
    role: 'unknown',
    applyOpId: null,
    committedOpId: null,
    lagOps: null,
    lagSeconds: null,
    hold: null,
    ...standing,
  };
}
