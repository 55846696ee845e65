import type { ClusterLook, ClusterLooker, SidecarLook } from '../../src/api/cluster-look.ts';
import type { HistoryView, LocalStatus } from '../../src/api/cluster-state.ts';
import type { ReasonedView, StreamView, TabletView } from '../../src/api/shapes.ts';
import { streamBody } from '../../src/streams/definition.ts';
import { tabletView } from './memory-control-plane.ts';

/** A stream into Kafka with so many tablets, all of which run until a script says otherwise. */
export function scriptedStream(
  name: string,
  tables: readonly (readonly [table: string, tablets: number])[],
  more: Partial<StreamView> = {},
): StreamView {
  const body = { name, tables: tables.map(([table]) => table), sink: { type: 'kafka', topic: 'cdc.{table}' } };
  let number = 0;
  const tablets = tables.flatMap(([table, count]) =>
    Array.from({ length: count }, () => {
      const tabletId = (0xa1b2c3d4 + number++ * 7919).toString(16).padStart(8, '0').repeat(4);
      const hold = { index: 1040, bytes: 8_388_608, ageSeconds: 12 };
      const opIds = { applyOpId: '7.1042', committedOpId: '7.1042' };
      return tabletView({
        stream: name,
        table,
        tabletId,
        lagOps: 0,
        lagSeconds: 0,
        hold,
        ...opIds,
        sidecar: `127.0.0.1:${8100 + (number % 3)}`,
      });
    }),
  );
  return { ...streamBody.parse(body), revision: 1, createdAt: '2026-01-02T03:04:05.678Z', tablets, ...more };
}

export function scriptedSidecar(
  number: number,
  changed: Partial<SidecarLook> = {},
  status: Partial<LocalStatus> = {},
): SidecarLook {
  return {
    id: `uuid-${number}`,
    http: `127.0.0.1:${8100 + number}`,
    tserver: `tserver-${number + 1}:7050`,
    tserverUuid: `uuid-${number}`,
    version: '0.1.0',
    lastSeen: new Date().toISOString(),
    isAlive: true,
    status: {
      readiness: { kudu: { ok: true }, kafka: { ok: true }, wal: { ok: true } },
      disk: { totalBytes: 500e9, freeBytes: 310e9 - number * 40e9, minFreePercent: 10, secondsUntilFloor: null },
      heldBytes: 2.1e9 + number * 3e8,
      limit: null,
      recordsShipped: {},
      ...status,
    },
    ...changed,
  };
}

/** A cluster that does what a script says, behind the real events. */
export class ScriptedCluster implements ClusterLooker {
  streams: readonly StreamView[];
  sidecars: readonly SidecarLook[];
  leadersOf: ReadonlyMap<string, string> = new Map();
  past: readonly HistoryView[] = [];
  /** What a look throws. */
  failure: Error | null = null;
  /** Called before each look, to change what it shows. */
  onLook: () => void = () => undefined;
  looks = 0;

  constructor(
    streams: readonly StreamView[],
    sidecars: readonly SidecarLook[] = [0, 1, 2].map((n) => scriptedSidecar(n)),
  ) {
    this.streams = streams;
    this.sidecars = sidecars;
  }

  look(): Promise<ClusterLook> {
    this.looks++;
    this.onLook();
    if (this.failure) return Promise.reject(this.failure);
    const { streams, sidecars, leadersOf } = this;
    return Promise.resolve({ streams, sidecars, leadersOf });
  }

  histories(): Promise<readonly HistoryView[]> {
    return Promise.resolve(this.past);
  }

  /** Changes some tablets of a stream. */
  change(
    stream: string,
    isMeant: (tablet: TabletView, place: number) => boolean,
    changed: (tablet: TabletView) => Partial<TabletView>,
  ): void {
    this.streams = this.streams.map((each) =>
      each.name !== stream
        ? each
        : {
            ...each,
            tablets: each.tablets.map((tablet, place): ReasonedView =>
              tabletView(isMeant(tablet, place) ? { ...tablet, ...changed(tablet) } : tablet),
            ),
          },
    );
  }
}

/** An hour in which each stream had about so many records a second. */
export function scriptedHour(rates: Readonly<Record<string, number>>, nowMs = Date.now()): HistoryView {
  const end = Math.floor(nowMs / 10_000) * 10;
  const at = Array.from({ length: 360 }, (_, i) => end - (359 - i) * 10);
  const wave = (i: number, seed: number): number =>
    Math.sin((i + seed) / 17) * 0.25 + Math.sin((i * 3 + seed) / 29) * 0.15 + 1;
  return {
    stepSeconds: 10,
    at,
    streams: Object.fromEntries(
      Object.entries(rates).map(([name, rate], seed) => [
        name,
        {
          records: at.map((_, i) => Math.round(rate * wave(i, seed * 40) * (i > 250 && i < 262 ? 0 : 1))),
          lagSeconds: at.map((_, i) => (i > 250 && i < 264 ? (i - 250) * 10 : 0.02 * wave(i, seed * 90))),
          heldBytes: at.map(
            (_, i) => 2e8 * (seed + 1) * wave(i, seed * 10) + (i > 250 && i < 264 ? (i - 250) * 3e7 : 0),
          ),
        },
      ]),
    ),
  };
}
