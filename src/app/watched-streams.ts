import { withWarnings, type SinkPlanner } from '../api/stream-plan.ts';
import type { StreamView } from '../api/shapes.ts';
import { ClusterView, type ClusterViewOptions } from '../sidecars/cluster-view.ts';
import type { NamedMember } from '../streams/membership.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import type { Catalog } from '../streams/table-catalog.ts';
import { RecentAnswer } from '../util/recent-answer.ts';
import { RecentMap } from '../util/recent-map.ts';

export interface WatchedStreamsOptions extends Omit<ClusterViewOptions, 'catalog'> {
  readonly catalog: Catalog;
  readonly list: (signal: AbortSignal) => Promise<readonly StoredStream[]>;
  readonly planSink: SinkPlanner;
}

/** Somebody who changes a stream sees that soon. */
const STREAMS_FRESH_MS = 2_000;
/** Tables come and go seldom, and the master's answer has every tablet in it. */
const TABLES_FRESH_MS = 5_000;
const STREAMS_KEPT = 500;

/**
 * The streams as the API lists them, for those who look at them all the time: the tablets as they are at the moment, and
 * what changes seldom as it was a few seconds ago.
 */
export class WatchedStreams {
  readonly #options: WatchedStreamsOptions;
  readonly #view: ClusterView;
  readonly #streams = new RecentAnswer<readonly StoredStream[]>(STREAMS_FRESH_MS);
  readonly #joined = new RecentMap<string, RecentAnswer<ReadonlyMap<string, NamedMember>>>(STREAMS_KEPT);

  constructor(options: WatchedStreamsOptions) {
    this.#options = options;
    const { catalog } = options;
    this.#view = new ClusterView({
      ...options,
      catalog: {
        fetchNow: (signal) => catalog.refresh([], signal), // its own age decides
        tables: () => catalog.tables(),
        tableOf: (tabletId) => catalog.tableOf(tabletId),
      },
      joinedTables: (stream, signal) =>
        this.#joined
          .of(`${stream.generation}/${stream.number}`, () => new RecentAnswer(TABLES_FRESH_MS))
          .ask(() => options.joinedTables(stream, signal)),
    });
  }

  async list(signal: AbortSignal): Promise<readonly StreamView[]> {
    const streams = await this.#streams.ask(() => this.#options.list(signal));
    const views = await this.#view.describe(streams, signal);
    return views.map((view) => withWarnings(view, this.#options.planSink));
  }
}
