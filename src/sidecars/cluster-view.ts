import { compareOpIds, parseOpId } from '../kudu/opid.ts';
import type { OtherSidecars } from './other-sidecars.ts';
import type { Catalog, CatalogTable } from '../streams/table-catalog.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { waitingFor, type ReasonedView, type KnownSidecar, type Standing, type StreamView } from '../api/shapes.ts';
import { generationIn, isOfStream, type NamedMember } from '../streams/membership.ts';
import { isStreamable, matchTables } from '../streams/table-patterns.ts';
import { AskedWaits } from '../util/waits.ts';

export interface ClusterViewOptions {
  readonly selfId: string;
  readonly others: OtherSidecars;
  readonly localTablets: () => readonly ReasonedView[];
  readonly holdHere: (tabletIds: readonly string[]) => void;
  readonly listSidecars: (signal: AbortSignal) => Promise<readonly KnownSidecar[]>;
  /** Uuids of the tablet servers of each tablet of a table, its leader's first. */
  readonly replicasOf: (tableId: string, signal: AbortSignal) => Promise<ReadonlyMap<string, readonly string[]>>;
  readonly joinedTables: (stream: StoredStream, signal: AbortSignal) => Promise<ReadonlyMap<string, NamedMember>>;
  readonly catalog: Pick<Catalog, 'fetchNow' | 'tables' | 'tableOf'>;
  readonly systemTablePrefix: string;
}

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
        ...ownFacts(stream),
        tablets: await this.#tabletsOf(stream, views, { sidecars, silent }, signal),
      })),
    );
  }

  /** A stream that was just made, by what its maker knows: nobody is asked for anything. */
  describeNew(stream: StoredStream, tables: readonly CatalogTable[]): StreamView {
    const wait = { for: 'its sidecar to see the stream, which is new', sinceMs: Date.parse(stream.createdAt) };
    const standing: Standing = stream.paused ? { state: 'paused' } : { state: 'starting', ...waitingFor(wait) };
    const tablets = tables.flatMap(({ name, tablets }) =>
      tablets.map(({ tabletId }) => unknownTablet(stream, name, tabletId, standing)),
    );
    return { ...ownFacts(stream), tablets };
  }

  /**
   * Has the logs of these tablets held beside every replica, from the answer on. A sidecar that does not answer does not
   * hold them yet; what its log lacks later it takes from the others.
   */
  async holdEverywhere(tabletIds: readonly string[], signal: AbortSignal): Promise<void> {
    if (tabletIds.length === 0) return;
    this.#options.holdHere(tabletIds);
    await this.#options.others.hold(tabletIds, signal);
  }

  /** How many tablets of each of these tables have no living sidecar beside any replica; tables without one are left out. */
  async unattended(tables: readonly CatalogTable[], signal: AbortSignal): Promise<ReadonlyMap<CatalogTable, number>> {
    const sidecars = await this.#options.listSidecars(signal);
    const alive = new Set(sidecars.filter(({ isAlive }) => isAlive).map(({ tserverUuid }) => tserverUuid));
    const counts = await Promise.all(
      tables.map(async (table): Promise<[CatalogTable, number]> => {
        const replicas = await this.#options.replicasOf(table.tableId, signal);
        const without = [...replicas.values()].filter((uuids) => !uuids.some((uuid) => alive.has(uuid)));
        return [table, without.length];
      }),
    );
    return new Map(counts.filter(([, count]) => count > 0));
  }

  async #askAll(sidecars: readonly KnownSidecar[], signal: AbortSignal): Promise<Answers> {
    const silent = new Set<string>();
    const answers = await Promise.all(
      sidecars.map(async (sidecar) => {
        if (sidecar.id === this.#options.selfId) return this.#options.localTablets();
        const answer = await this.#options.others.tabletsOf(sidecar, signal);
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
      const joinedAs = joined.get(table.tableId)?.name ?? table.name;
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
        const shown = view ?? this.#unshipped(stream, table.name, tabletId, replicas.get(tabletId) ?? [], known);
        views.push(joinedAs === table.name ? shown : { ...shown, joinedAs });
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

/** What is to be shown of a stream besides its tablets. */
function ownFacts({ definition, paused, number, createdAt }: StoredStream): Omit<StreamView, 'tablets'> {
  return { ...definition, paused, revision: number, createdAt };
}

/** Between sidecars alone. */
function withoutGeneration(view: ReasonedView): ReasonedView {
  const shown: { generation?: string } & ReasonedView = { ...view };
  delete shown.generation;
  return shown;
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
