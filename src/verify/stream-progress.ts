import { type OpId, parseOpId } from '../kudu/opid.ts';
import { isStreamable, matchTables } from '../streams/table-patterns.ts';
import type { StreamView, TabletView } from '../api/shapes.ts';
import { pause } from '../util/pause.ts';
import type { ListedTable, TableReader } from './table-rows.ts';
import { StreamUnavailableError, VerifyError } from './verify-error.ts';

export interface StreamProgressOptions {
  /** The stream as the sidecars show it now. @throws {StreamUnavailableError} which is waited for */
  readonly stream: (signal: AbortSignal) => Promise<StreamView>;
  readonly reader: TableReader;
  readonly systemTablePrefix: string;
  /** How long each wait may take. */
  readonly timeoutMs: number;
  /** @param share how much of it is done, 0 to 1; left out where nobody knows */
  readonly progress: (text: string, share?: number) => void;
  readonly pollMs?: number;
}

export interface StreamTables {
  readonly view: StreamView;
  /** Those that the stream has now. */
  readonly tables: readonly ListedTable[];
}

export interface SelectedTables extends StreamTables {
  readonly others: readonly ListedTable[];
}

const POLL_MS = 250;
/** Of tablets that are waited for, so many are named. */
const MAX_NAMED = 20;

/** Watches how far the sidecars are with a stream. */
export class StreamProgress {
  readonly #options: StreamProgressOptions;

  constructor(options: StreamProgressOptions) {
    this.#options = options;
  }

  /** The stream, and its tables as Kudu lists them: those that match it, and those that it has under other names. */
  async look(signal: AbortSignal): Promise<StreamTables> {
    const { stream, reader, systemTablePrefix } = this.#options;
    const view = await stream(signal);
    const known = new Set(view.tablets.map(({ tabletId }) => tabletId));
    const tables = (await reader.tables(signal)).filter(
      ({ name, tabletIds }) =>
        isStreamable(name, systemTablePrefix) &&
        (matchTables(view.tables, name) || tabletIds.some((tabletId) => known.has(tabletId))),
    );
    return { view, tables };
  }

  /** Waits until every tablet of these tables runs, no copy of its rows under way. @throws {VerifyError} it takes too long */
  async settled(
    select: (tables: readonly ListedTable[]) => readonly ListedTable[],
    signal: AbortSignal,
  ): Promise<SelectedTables> {
    return this.#poll('runs', signal, async () => {
      const { view, tables } = await this.look(signal);
      const selected = select(tables);
      const views = viewsOf(view);
      const waiting = tabletsOf(selected).flatMap((tabletId) => {
        const tablet = views.get(tabletId);
        if (!tablet) return [`tablet ${tabletId}: the stream does not have it yet`];
        const isSettled = tablet.state === 'running' && tablet.copy === undefined && tablet.applyOpId !== null;
        return isSettled ? [] : [describe(tablet)];
      });
      const others = tables.filter((table) => !selected.includes(table));
      return { waiting, found: { view, tables: selected, others } };
    });
  }

  /**
   * Waits until the sink has all operations up to an OpId of each tablet, those apart that are dropped meanwhile; and
   * then until every write that was under way by then is over, since a reader of committed records waits for the oldest.
   */
  async shipped(ends: ReadonlyMap<string, OpId>, signal: AbortSignal): Promise<void> {
    await this.#reached(ends, 'has shipped enough', signal);
    const view = await this.#poll('is told of', signal, async () => ({
      waiting: [],
      found: await this.#options.stream(signal),
    }));
    const begun = view.tablets.flatMap(({ tabletId, state, committedOpId }): [string, OpId][] =>
      state === 'running' && committedOpId !== null ? [[tabletId, parseOpId(committedOpId)]] : [],
    );
    await this.#reached(new Map(begun), 'has shipped what it had begun', signal);
  }

  async #reached(ends: ReadonlyMap<string, OpId>, what: string, signal: AbortSignal): Promise<void> {
    await this.#poll(what, signal, async () => {
      const { view, tables } = await this.look(signal);
      const alive = new Set(tabletsOf(tables));
      const views = viewsOf(view);
      const waiting = [...ends].flatMap(([tabletId, end]) => {
        if (!alive.has(tabletId)) return [];
        const tablet = views.get(tabletId);
        if (!tablet) return [`tablet ${tabletId}: no sidecar tells of it`];
        return indexOf(tablet.applyOpId) >= end.index ? [] : [`${describe(tablet)}, wanted is ${end.index}`];
      });
      return { waiting, found: null };
    });
  }

  async #poll<T>(
    what: string,
    signal: AbortSignal,
    look: () => Promise<{ readonly waiting: readonly string[]; readonly found: T }>,
  ): Promise<T> {
    const { timeoutMs, progress, pollMs = POLL_MS } = this.#options;
    const start = performance.now();
    for (;;) {
      const looked = await look().catch(unavailable);
      const { waiting } = looked;
      if (waiting.length === 0 && 'found' in looked) return looked.found;
      if (performance.now() - start + pollMs > timeoutMs)
        throw new VerifyError('failed', `not every tablet ${what} after ${timeoutMs / 1000} s:\n${listed(waiting)}`);
      progress(`waiting until each tablet ${what}: ${waiting.length} to go`);
      await pause(pollMs, signal);
      signal.throwIfAborted();
    }
  }
}

function unavailable(error: unknown): { readonly waiting: readonly string[] } {
  if (error instanceof StreamUnavailableError) return { waiting: [error.message] };
  throw error;
}

function viewsOf(view: StreamView): ReadonlyMap<string, TabletView> {
  return new Map(view.tablets.map((tablet) => [tablet.tabletId, tablet]));
}

function tabletsOf(tables: readonly ListedTable[]): readonly string[] {
  return tables.flatMap(({ tabletIds }) => tabletIds);
}

function indexOf(opId: string | null): bigint {
  return opId === null ? -1n : parseOpId(opId).index;
}

function describe({ tabletId, table, state, copy, error, applyOpId }: TabletView): string {
  const why = error ? `: ${error.code}: ${error.message}` : copy ? `: copied to ${copy.percent ?? '?'} %` : '';
  return `tablet ${tabletId} of ${table}: ${state}, shipped up to ${applyOpId ?? 'nothing'}${why}`;
}

function listed(lines: readonly string[]): string {
  const named = lines.slice(0, MAX_NAMED).map((line) => `  ${line}`);
  if (lines.length > MAX_NAMED) named.push(`  and ${lines.length - MAX_NAMED} more`);
  return named.join('\n');
}
