import { collectDefaultMetrics, Registry } from 'prom-client';
import { parseOpId } from '../kudu/opid.ts';
import {
  TABLET_STATES,
  type HoldFigures,
  type MarkerMetrics,
  type ReplicationMetrics,
  type TabletLabels,
  type TabletView,
} from '../replication/views.ts';
import { createInstruments, type Instruments } from './instruments.ts';

/** What the core counts, and the page that Prometheus reads. */
export interface Metrics extends ReplicationMetrics, MarkerMetrics {
  readonly contentType: string;
  text(): Promise<string>;
}

/**
 * How long the counters of a tablet stay on the page after it was last heard of: its last counts, and that it left, must
 * be read by someone who reads every minute or so.
 */
const LINGER_MS = 5 * 60_000;

/**
 * Makes the instruments of one sidecar. The gauges are set from `snapshot` when the page is read, so that between
 * two scrapes they cost nothing. When a tablet has left the snapshot its gauges leave the page at once, and what it
 * counted some minutes later.
 */
export function createMetrics(
  snapshot: () => readonly TabletView[],
  nowMs = () => performance.now(),
  holds: () => readonly HoldFigures[] = () => [],
  freePercent: () => number | null = () => null,
): Metrics {
  const registry = new Registry();
  // The default of 10 ms would wake an idle sidecar a hundred times a second.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  const { freePercent: freeGauge, gauges, counters, histograms } = createInstruments(registry);
  const known = new KnownTablets(nowMs);

  return {
    contentType: registry.contentType,
    async text() {
      const views = snapshot();
      setGauges(gauges, views);
      setHoldGauges(gauges, holds());
      const free = freePercent();
      if (free === null) freeGauge.remove();
      else freeGauge.set(free);
      const gone = known.leave(views);
      for (const labels of gone.tablets) for (const counter of Object.values(counters)) counter.remove(labels);
      for (const labels of gone.tables) for (const histogram of Object.values(histograms)) histogram.remove(labels);
      return registry.metrics();
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

/** Which tablets have counted something, and when each was last heard of. */
class KnownTablets {
  readonly #known = new Map<string, { readonly labels: TabletLabels; heardMs: number }>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  add(labels: TabletLabels): void {
    const heardMs = this.#nowMs();
    const entry = this.#known.get(keyOf(labels));
    if (entry) entry.heardMs = heardMs;
    else this.#known.set(keyOf(labels), { labels, heardMs });
  }

  /** Takes one reading of the snapshot. @returns the tablets that leave now, and the tables whose last tablet that is */
  leave(views: readonly TabletView[]): { tablets: TabletLabels[]; tables: { stream: string; table: string }[] } {
    const nowMs = this.#nowMs();
    for (const view of views) {
      const entry = this.#known.get(keyOf(labelsOf(view)));
      if (entry) entry.heardMs = nowMs;
    }
    const tablets: TabletLabels[] = [];
    for (const [key, { labels, heardMs }] of this.#known)
      if (nowMs - heardMs > LINGER_MS) {
        this.#known.delete(key);
        tablets.push(labels);
      }
    const staying = new Set([...this.#known.values()].map(({ labels }) => tableKeyOf(labels)));
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
