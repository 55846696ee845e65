import { collectDefaultMetrics, Registry } from 'prom-client';
import { parseOpId } from '../kudu/opid.ts';
import { TABLET_STATES, type HoldFigures, type SidecarFigures, type TabletView } from '../api/shapes.ts';
import type { ReplicationMetrics, TabletLabels } from '../api/counters.ts';
import { TRANSACTION_OUTCOMES, type TransactionMetrics } from '../sinks/transaction-metrics.ts';
import { createInstruments, type Instruments } from './instruments.ts';

/** What is so at the moment when the page is read. */
export interface MetricsSources {
  localTablets(): readonly TabletView[];
  holds(): readonly HoldFigures[];
  sidecar(): SidecarFigures;
  /** Which sidecar this is; `tserver` is host:port. */
  readonly about: { readonly version: string; readonly tserver: string };
  /** Of the disk of the held logs; null where that is not known. */
  freePercent(): number | null;
}

/** What the core counts, and the page that Prometheus reads. */
export interface Metrics extends ReplicationMetrics {
  readonly contentType: string;
  text(): Promise<string>;
  /** What `spoor_records_shipped_total` says of the tablets of each stream together. */
  recordsShipped(): Promise<ReadonlyMap<string, number>>;
  /** Of the stream's sink. */
  transactionsOf(stream: string): TransactionMetrics;
  /** To be called for each value of the stream that JSON has no number for and that was written as null. */
  nonFiniteOf(stream: string): () => void;
}

/**
 * How long the counters of a tablet stay on the page after it was last heard of: its last counts, and that it left, must
 * be read by someone who reads every minute or so.
 */
const LINGER_MS = 5 * 60_000;

/**
 * Makes the instruments of one sidecar. The gauges are set when the page is read, so that between two scrapes they cost
 * nothing. When a tablet is no more among the local ones its gauges leave the page at once, and what it counted some
 * minutes later.
 */
export function createMetrics(sources: MetricsSources, nowMs = () => performance.now()): Metrics {
  const registry = new Registry();
  // The default of 10 ms would wake an idle sidecar a hundred times a second.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  const instruments = createInstruments(registry);
  const { freePercent: freeGauge, gauges, counters, histograms, transactions, nonFinite } = instruments;
  instruments.sidecar.about.set(sources.about, 1);
  const known = new KnownTablets(nowMs);
  const streams = new Lingering<string>(nowMs);

  return {
    contentType: registry.contentType,
    async text() {
      const views = sources.localTablets();
      setGauges(gauges, views);
      setErrors(instruments.tabletError, views);
      setHoldGauges(gauges, sources.holds());
      setSidecar(instruments.sidecar, sources.sidecar());
      const free = sources.freePercent();
      if (free === null) freeGauge.remove();
      else freeGauge.set(free);
      const gone = known.leave(views);
      for (const labels of gone.tablets) for (const counter of Object.values(counters)) counter.remove(labels);
      for (const labels of gone.tables) for (const histogram of Object.values(histograms)) histogram.remove(labels);
      for (const stream of streams.leave(views.map((view) => view.stream))) {
        for (const outcome of TRANSACTION_OUTCOMES) transactions.ended.remove({ stream, outcome });
        nonFinite.remove({ stream });
        for (const histogram of [transactions.seconds, transactions.tablets]) histogram.remove({ stream });
      }
      return registry.metrics();
    },
    async recordsShipped() {
      const sums = new Map<string, number>();
      for (const { labels, value } of (await counters.recordsShipped.get()).values) {
        const stream = String(labels.stream);
        sums.set(stream, (sums.get(stream) ?? 0) + value);
      }
      return sums;
    },
    shipped(labels, records, bytes, latenciesSeconds) {
      known.add(labels);
      counters.recordsShipped.inc(labels, records);
      counters.bytesShipped.inc(labels, bytes);
      const table = tableOf(labels);
      histograms.batchRecords.observe(table, records);
      for (const seconds of latenciesSeconds) histograms.shipLatency.observe(table, seconds);
    },
    rowsRejected(labels, rows) {
      known.add(labels);
      counters.rowsRejected.inc(labels, rows);
    },
    sinkError(labels) {
      known.add(labels);
      counters.sinkErrors.inc(labels);
    },
    leaderChange(labels) {
      known.add(labels);
      counters.leaderChanges.inc(labels);
    },
    resynced(labels) {
      known.add(labels);
      counters.resyncs.inc(labels);
    },
    markerWritten(labels) {
      known.add(labels);
      counters.markersWritten.inc(labels);
    },
    nonFiniteOf: (stream) => () => {
      streams.add(stream, stream);
      nonFinite.inc({ stream });
    },
    transactionsOf: (stream) => ({
      transaction(outcome, seconds, tablets) {
        streams.add(stream, stream);
        transactions.ended.inc({ stream, outcome });
        transactions.seconds.observe({ stream }, seconds);
        transactions.tablets.observe({ stream }, tablets);
      },
    }),
  };
}

function setGauges(gauges: Instruments['gauges'], views: readonly TabletView[]): void {
  for (const gauge of Object.values(gauges)) gauge.reset();
  for (const view of views) {
    const labels = labelsOf(view);
    const set = (gauge: Instruments['gauges']['lagOps'], value: number | null | undefined) => {
      if (value !== null && value !== undefined) gauge.set(labels, value); // no sample rather than an invented one
    };
    set(gauges.applyIndex, indexOf(view.applyOpId));
    set(gauges.committedIndex, indexOf(view.committedOpId));
    set(gauges.lagOps, view.lagOps);
    set(gauges.lagSeconds, view.lagSeconds);
    set(gauges.holdIndex, view.hold?.index);
    set(gauges.holdBytes, view.hold?.bytes);
    set(gauges.copyRows, view.copy?.rows);
    set(gauges.copyTotalRows, view.copy?.totalRows);
    set(gauges.copySecondsLeft, view.copy?.secondsLeft);
    for (const state of TABLET_STATES) gauges.tabletState.set({ ...labels, state }, state === view.state ? 1 : 0);
  }
}

function setErrors(gauge: Instruments['tabletError'], views: readonly TabletView[]): void {
  gauge.reset();
  for (const view of views) if (view.error) gauge.set({ ...labelsOf(view), code: view.error.code }, 1);
}

function setSidecar(gauges: Instruments['sidecar'], figures: SidecarFigures): void {
  const { kuduAnswers, clockOffsetSeconds, unattendedTservers } = figures;
  gauges.kuduUp.set(kuduAnswers ? 1 : 0);
  if (clockOffsetSeconds === null) gauges.clockOffset.remove();
  else gauges.clockOffset.set(clockOffsetSeconds);
  gauges.unattended.reset();
  for (const tserver of unattendedTservers) gauges.unattended.set({ tserver }, 1);
}

/** Followers hold their log too, so these are more than the tablets that are shipped from here. */
function setHoldGauges(gauges: Instruments['gauges'], holds: readonly HoldFigures[]): void {
  for (const { stream, table, tablet, hold, secondsUntilLimit, unmarkedOps } of holds) {
    const labels = { stream, table, tablet };
    gauges.unmarkedOps.set(labels, unmarkedOps);
    if (secondsUntilLimit !== null) gauges.holdSecondsLeft.set(labels, secondsUntilLimit);
    if (!hold) continue;
    gauges.holdIndex.set(labels, hold.index);
    gauges.holdBytes.set(labels, hold.bytes);
    gauges.holdAge.set(labels, hold.ageSeconds);
  }
}

/** What has counted something, by a key, and when it was last heard of. */
class Lingering<T> {
  readonly #known = new Map<string, { readonly value: T; heardMs: number }>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  add(key: string, value: T): void {
    const heardMs = this.#nowMs();
    const entry = this.#known.get(key);
    if (entry) entry.heardMs = heardMs;
    else this.#known.set(key, { value, heardMs });
  }

  get values(): readonly T[] {
    return Array.from(this.#known.values(), ({ value }) => value);
  }

  /** Takes one reading of the snapshot. @returns what leaves now */
  leave(present: Iterable<string>): readonly T[] {
    const nowMs = this.#nowMs();
    for (const key of present) {
      const entry = this.#known.get(key);
      if (entry) entry.heardMs = nowMs;
    }
    const gone: T[] = [];
    for (const [key, { value, heardMs }] of this.#known)
      if (nowMs - heardMs > LINGER_MS) {
        this.#known.delete(key);
        gone.push(value);
      }
    return gone;
  }
}

/** Which tablets have counted something. */
class KnownTablets {
  readonly #tablets: Lingering<TabletLabels>;

  constructor(nowMs: () => number) {
    this.#tablets = new Lingering(nowMs);
  }

  add(labels: TabletLabels): void {
    this.#tablets.add(keyOf(labels), labels);
  }

  /** @returns the tablets that leave now, and the tables whose last tablet that is */
  leave(views: readonly TabletView[]): {
    tablets: readonly TabletLabels[];
    tables: { stream: string; table: string }[];
  } {
    const tablets = this.#tablets.leave(views.map((view) => keyOf(labelsOf(view))));
    const staying = new Set(this.#tablets.values.map(tableKeyOf));
    return { tablets, tables: tablets.filter((labels) => !staying.has(tableKeyOf(labels))).map(tableOf) };
  }
}

function labelsOf({ stream, table, tabletId }: TabletView): TabletLabels {
  return { stream, table, tablet: tabletId };
}

function tableOf({ stream, table }: TabletLabels): { stream: string; table: string } {
  return { stream, table };
}

function keyOf({ stream, table, tablet }: TabletLabels): string {
  return JSON.stringify([stream, table, tablet]);
}

function tableKeyOf({ stream, table }: TabletLabels): string {
  return JSON.stringify([stream, table]);
}

function indexOf(opId: string | null): number | null {
  return opId === null ? null : Number(parseOpId(opId).index);
}
