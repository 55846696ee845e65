import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { MarkerError, type MarkerWriter } from '../replication/apply-marker.ts';
import { ReplicaKeepers, type ReplicaKeepersOptions } from '../replication/replica-keepers.ts';
import type { Logger } from '../util/logger.ts';
import { HoldStore } from '../wal/hold-store.ts';
import { TabletLogReader } from '../wal/log-reader.ts';
import { WalWatcher } from '../wal/wal-watcher.ts';

export interface LocalLogsOptions {
  readonly walDir: string;
  readonly hold: { readonly dir: string; readonly maxBytes: number; readonly maxAgeS: number };
  readonly markerIntervalMs: number;
  /** Address of the tablet server, which markers are signed with. */
  readonly tserver: string;
  readonly systemTables: { readonly prefix: string };
}

/** Streams are looked at once a second, and a new one's begin is fixed a few seconds before it can be seen. */
const RELEASE_DELAY_MS = 10_000;
const MARKER_RETRY_BASE_MS = 500;
const MARKER_RETRY_CAP_MS = 30_000;

/** Whose logs are held in a folder: of the streams in tables with this prefix. */
const OWNER_FILE = 'owner.json';
const owner = z.object({ systemTablePrefix: z.string() });

/**
 * The logs of the tablet server beside us: those that are there, those that are held, and the keepers of both. All that
 * an earlier process held is held on from {@link open} on, before Kudu was asked for anything.
 */
export class LocalLogs implements AsyncDisposable {
  readonly #options: LocalLogsOptions;
  readonly #onMarkerWritten: ReplicaKeepersOptions['onMarkerWritten'];
  readonly #logger: Logger;
  #parts: { readonly holds: HoldStore; readonly watcher: WalWatcher; readonly keepers: ReplicaKeepers } | null = null;
  #markers: MarkerWriter | null = null;

  constructor(options: LocalLogsOptions, onMarkerWritten: ReplicaKeepersOptions['onMarkerWritten'], logger: Logger) {
    this.#options = options;
    this.#onMarkerWritten = onMarkerWritten;
    this.#logger = logger;
  }

  /** Once it succeeded it does nothing more. @throws {Error} the folders are missing, or not what they should be */
  open(): void {
    if (this.#parts) return;
    const { walDir, hold, markerIntervalMs, tserver, systemTables } = this.#options;
    const logger = this.#logger;
    const holds = HoldStore.open({ dir: hold.dir, walDir, logger });
    claim(holds, systemTables.prefix);
    const watcher = new WalWatcher({ walDir, hold: holds, logger });
    const keepers = new ReplicaKeepers({
      holds,
      openLog: (tabletId, signal) => this.read(tabletId, signal),
      markers: { write: (tablet, marker, signal) => this.#writeMarker(tablet, marker, signal) },
      sidecarId: tserver,
      limits: { markerIntervalMs, retryBaseMs: MARKER_RETRY_BASE_MS, retryCapMs: MARKER_RETRY_CAP_MS },
      releaseDelayMs: RELEASE_DELAY_MS,
      maxBytes: hold.maxBytes,
      maxAgeMs: hold.maxAgeS * 1000,
      onMarkerWritten: this.#onMarkerWritten,
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

  /** The log of a tablet, the held part first. */
  read(tabletId: string, signal: AbortSignal): TabletLogReader {
    return TabletLogReader.open({ watcher: this.parts.watcher, tabletId, signal, logger: this.#logger });
  }

  /** From now on markers are written through it. */
  markersThrough(writer: MarkerWriter): void {
    this.#markers = writer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#parts) return;
    await this.#parts.keepers.close(AbortSignal.abort());
    this.#parts.watcher[Symbol.dispose]();
  }

  async #writeMarker(...[tablet, marker, signal]: Parameters<MarkerWriter['write']>): Promise<HybridTime> {
    if (!this.#markers) throw new MarkerError('retry', 'not connected to Kudu yet');
    return this.#markers.write(tablet, marker, signal);
  }
}

/** Another prefix has other streams, and would let go of what these hold. @throws {Error} saying so */
function claim(holds: HoldStore, prefix: string): void {
  const file = join(holds.dir, OWNER_FILE);
  let known: string | null = null;
  try {
    known = owner.parse(JSON.parse(readFileSync(file, 'utf8'))).systemTablePrefix;
  } catch {
    // none yet, or half of one: nothing is known
  }
  if (known === prefix) return;
  if (known !== null && holds.tabletIds().length > 0)
    throw new Error(
      `${holds.dir} holds logs for the streams of SPOOR_SYSTEM_TABLE_PREFIX ${known}, given is ${prefix}: ` +
        'give the same one again, or another SPOOR_HOLD_DIR, or delete the folder',
    );
  writeFileSync(file, `${JSON.stringify({ systemTablePrefix: prefix } satisfies z.infer<typeof owner>)}\n`, {
    mode: 0o600,
  });
}
