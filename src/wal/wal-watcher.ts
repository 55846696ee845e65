import { EventEmitter } from 'node:events';
import { readdirSync, statSync, watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import type { ByteBudget } from '../util/byte-budget.ts';
import type { Logger } from '../util/logger.ts';
import { fileNow } from '../util/steady-clock.ts';
import type { HoldStore } from './hold-store.ts';
import { isTabletId, isMissing } from './log-folder.ts';
import type { LogFeed } from './log-reader.ts';
import type { SegmentSource } from './segment-source.ts';
import { TabletFolder } from './tablet-folder.ts';
import { TabletLog } from './tablet-log.ts';

/** What no notification told is found at the latest after this time. */
const DEFAULT_POLL_MS = 1000;
/** The coarsest steps in which a file system counts the time of a write. */
const WRITE_TIME_STEP_MS = 2_000;

export interface WalWatcherEvents {
  /** A tablet has a folder here; perhaps one that is only just being copied. */
  'tablet-appeared': [tabletId: string];
  /** Its folder is gone, and not only set aside for a restart. */
  'tablet-removed': [tabletId: string];
}

export interface WalWatcherOptions {
  /** The tablet server's `--fs_wal_dir`: the folder that contains `wals/`. */
  readonly walDir: string;
  readonly pollMs?: number;
  /** Where the logs of tablets are held: those of them that somebody follows are, from their first segment here on. */
  readonly hold?: HoldStore;
  readonly logger?: Logger;
}

/**
 * Watches the logs of one tablet server: one for a process, however many tablets and readers. File-system
 * notification tells of new bytes within a fraction of a millisecond; a slow poll is there for what it loses, so an
 * idle tablet costs one small read a poll.
 * Units:  `pollMs` milliseconds.
 * Errors: {@link open} rejects when `<walDir>/wals` cannot be read; later troubles go to the readers they concern.
 */
export class WalWatcher extends EventEmitter<WalWatcherEvents> implements Disposable {
  readonly #walsDir: string;
  readonly #logger: Logger | undefined;
  readonly #hold: HoldStore | undefined;
  readonly #endHold: (() => void) | undefined;
  readonly #folders = new Map<string, TabletFolder>();
  readonly #logs = new Map<string, TabletLog>();
  #present: ReadonlySet<string>;
  #isListed = true;
  /** When the folder of logs was last written to, by the last poll; null while that is not told for certain. */
  #settledMs: number | null = null;
  #watcher: FSWatcher | null;
  readonly #poll: NodeJS.Timeout;

  constructor(options: WalWatcherOptions) {
    super();
    this.#walsDir = join(options.walDir, 'wals');
    this.#logger = options.logger;
    this.#hold = options.hold;
    this.#watcher = this.#watch();
    try {
      this.#present = this.#list();
    } catch (error) {
      this.#watcher?.close();
      throw error;
    }
    this.#endHold = this.#hold?.onEnabled((tabletId) => this.#folders.get(tabletId)?.look());
    this.#poll = setInterval(() => {
      this.#lookForLost();
    }, options.pollMs ?? DEFAULT_POLL_MS);
  }

  /** Every tablet that has a folder here, in no order. The master's catalogue is none: it has its own log folder. */
  get tabletIds(): readonly string[] {
    return [...this.#present];
  }

  /** The tablet's log for one of those who follow it, see {@link TabletLog}. `signal` ends a waiting `next` with its reason. */
  read(tabletId: string, signal: AbortSignal, largeReads?: ByteBudget): LogFeed {
    let log = this.#logs.get(tabletId);
    if (log === undefined) {
      log = new TabletLog({
        tabletId,
        source: () => this.follow(tabletId),
        onUnused: () => this.#logs.delete(tabletId),
        logger: this.#logger,
      });
      this.#logs.set(tabletId, log);
    }
    return log.follow(signal, largeReads);
  }

  /**
   * The segments of a tablet's log for one reader, see {@link SegmentSource}: what is held of it from elsewhere and from earlier on,
   * each followed by `over`, then the folder's from its lowest segment on, held or there.
   */
  follow(tabletId: string): SegmentSource {
    let folder = this.#folders.get(tabletId);
    if (folder === undefined) {
      folder = new TabletFolder(this.#walsDir, tabletId, {
        logger: this.#logger,
        hold: this.#hold,
        onUnused: () => this.#folders.delete(tabletId),
      });
      this.#folders.set(tabletId, folder);
    }
    return folder.follow();
  }

  /** Stops watching. Readers that are still open wait for ever: end them first. */
  [Symbol.dispose](): void {
    clearInterval(this.#poll);
    this.#endHold?.();
    this.#watcher?.close();
    this.#watcher = null;
    this.removeAllListeners();
  }

  #watch(): FSWatcher | null {
    try {
      const watcher = watch(this.#walsDir);
      watcher.on('change', (_event, name) => {
        if (watcher !== this.#watcher) return;
        // `<id>`, or `<id>.recovery` and what follows it
        if (typeof name === 'string') this.#folders.get(name.split('.', 1)[0]!)?.look();
        this.#look();
      });
      watcher.on('error', (error) => {
        watcher.close();
        if (watcher === this.#watcher) this.#watcher = null;
        this.#logger?.warn({ dir: this.#walsDir, error }, 'folder of logs is no longer watched, polling it instead');
      });
      return watcher;
    } catch (error) {
      if (isMissing(error)) throw error;
      this.#logger?.warn({ dir: this.#walsDir, error }, 'folder of logs cannot be watched, polling it instead');
      return null;
    }
  }

  /** What is neither written to nor exchanged is not read again: most logs of a server with many tablets stand still. */
  #lookForLost(): void {
    const settledMs = settledWriteTime(this.#walsDir);
    const isSettled = settledMs !== null && settledMs === this.#settledMs;
    if (!isSettled) this.#look();
    this.#settledMs = this.#isListed ? settledMs : null;
    for (const folder of this.#folders.values())
      if (isSettled) folder.lookForLost();
      else folder.look();
  }

  #look(): void {
    let now: ReadonlySet<string>;
    try {
      now = this.#list();
    } catch (error) {
      if (this.#isListed) this.#logger?.warn({ dir: this.#walsDir, error }, 'folder of logs cannot be listed');
      this.#isListed = false;
      return;
    }
    this.#isListed = true;
    const before = this.#present;
    this.#present = now;
    for (const tabletId of before) if (!now.has(tabletId)) this.emit('tablet-removed', tabletId);
    for (const tabletId of now) if (!before.has(tabletId)) this.emit('tablet-appeared', tabletId);
  }

  #list(): ReadonlySet<string> {
    const ids = new Set<string>();
    for (const name of readdirSync(this.#walsDir)) {
      // Beside the folders lie `<id>.recovery`, while a restart rewrites a log, and then its remains.
      const id = name.endsWith('.recovery') ? name.slice(0, -'.recovery'.length) : name;
      if (isTabletId(id)) ids.add(id);
    }
    return ids;
  }
}

/**
 * When something in a folder was made, renamed or removed last. If that is done again, this is another time.
 * @returns null while it was so lately that one more may get the same time, and where it cannot be told
 */
function settledWriteTime(dir: string): number | null {
  try {
    const { mtimeMs } = statSync(dir);
    return fileNow() - mtimeMs > WRITE_TIME_STEP_MS ? mtimeMs : null;
  } catch {
    return null; // listing it says what is wrong
  }
}
