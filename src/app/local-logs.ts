import type { HybridTime } from '../kudu/hybrid-time.ts';
import { MarkerError, type MarkerWriter } from '../keeping/marker-writing.ts';
import { FreeSpaceFloor } from '../keeping/free-space.ts';
import { Keepers } from '../keeping/keepers.ts';
import { ByteBudget } from '../util/byte-budget.ts';
import type { Logger } from '../util/logger.ts';
import { HoldStore } from '../wal/hold-store.ts';
import type { LogFeed } from '../wal/log-reader.ts';
import { WalWatcher } from '../wal/wal-watcher.ts';
import { HoldOwnership } from '../keeping/hold-owner.ts';
import type { Backoff } from '../util/backoff.ts';

export interface LocalLogsOptions {
  readonly walDir: string;
  readonly hold: {
    readonly dir: string;
    readonly maxBytes: number;
    readonly maxAgeS: number;
    readonly minFreePercent: number;
  };
  readonly markerIntervalMs: number;
  /** Address of the tablet server, which markers are signed with. */
  readonly tserver: string;
  readonly systemTables: { readonly prefix: string };
}

/** Streams are looked at once a second, and a new one's begin is fixed a few seconds before it can be seen. */
export const RELEASE_DELAY_MS = 10_000;
/** Of large operations, by all keepers: each has one for a moment. */
const KEPT_READS_BYTES = 16 << 20;
const MARKER_RETRY: Backoff = { baseMs: 500, capMs: 30_000 };

/**
 * The logs of the tablet server beside us: those that are there, those that are held, and the keepers of both. All that
 * an earlier process held is held on from {@link open} on, before Kudu was asked for anything.
 */
export class LocalLogs implements AsyncDisposable {
  readonly #options: LocalLogsOptions;
  readonly #logger: Logger;
  /** Of the disk of the held logs. */
  readonly freeSpace: FreeSpaceFloor;
  #parts: { readonly holds: HoldStore; readonly watcher: WalWatcher; readonly keepers: Keepers } | null = null;
  #ownership: HoldOwnership | null = null;
  #markers: MarkerWriter | null = null;

  constructor(options: LocalLogsOptions, logger: Logger) {
    this.#options = options;
    this.#logger = logger;
    const { dir, minFreePercent } = options.hold;
    this.freeSpace = new FreeSpaceFloor({ dir, minFreePercent, logger });
  }

  /**
   * Once it succeeded it does nothing more.
   * @throws {HoldTakenError} the folders are another sidecar's; {Error} they are missing, or not what they should be
   */
  open(): void {
    if (this.#parts) return;
    const { walDir, hold, markerIntervalMs, tserver, systemTables } = this.#options;
    const logger = this.#logger;
    // Before anything in there is looked at: what is another's is neither counted nor cleared away.
    this.#ownership ??= HoldOwnership.take({
      walDir,
      holdDir: hold.dir,
      tserver,
      systemTablePrefix: systemTables.prefix,
      logger,
    });
    const holds = HoldStore.open({ dir: hold.dir, walDir, whyFull: () => this.freeSpace.whyFull, logger });
    const watcher = new WalWatcher({ walDir, hold: holds, logger });
    const keptReads = new ByteBudget(KEPT_READS_BYTES);
    const keepers = new Keepers({
      holds,
      openLog: (tabletId, signal) => this.read(tabletId, signal, keptReads),
      markers: { write: (tablet, marker, signal) => this.#writeMarker(tablet, marker, signal) },
      sidecarId: tserver,
      limits: { markerIntervalMs, retry: MARKER_RETRY },
      releaseDelayMs: RELEASE_DELAY_MS,
      maxBytes: hold.maxBytes,
      maxAgeMs: hold.maxAgeS * 1000,
      freeSpace: this.freeSpace,
      logger,
    });
    this.#parts = { holds, watcher, keepers };
    for (const tabletId of holds.tabletIds()) keepers.keep(tabletId);
  }

  /** @throws {TypeError} before {@link open} */
  get parts() {
    if (!this.#parts) throw new TypeError('the logs are not open');
    return this.#parts;
  }

  /** The log of a tablet, the held part first. @param largeReads where room is taken from for large operations */
  read(tabletId: string, signal: AbortSignal, largeReads: ByteBudget): LogFeed {
    return this.parts.watcher.read(tabletId, signal, largeReads);
  }

  /** The cluster whose streams are served from now on. @throws {HoldTakenError} what is held is of another one */
  ofCluster(clusterId: string): void {
    this.#ownership?.claimFor(clusterId);
  }

  /** From now on markers are written through it. */
  markersThrough(writer: MarkerWriter): void {
    this.#markers = writer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#parts) {
      await this.#parts.keepers.close(AbortSignal.abort());
      this.#parts.watcher[Symbol.dispose]();
    }
    this.#ownership?.[Symbol.dispose](); // last: from here on the folders may be another's
    this.#ownership = null;
  }

  async #writeMarker(...[tablet, marker, signal]: Parameters<MarkerWriter['write']>): Promise<HybridTime> {
    if (!this.#markers) throw new MarkerError('retry', 'not connected to Kudu yet');
    return this.#markers.write(tablet, marker, signal);
  }
}
