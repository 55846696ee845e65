import { linkSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodeOf } from '../util/error-code.ts';
import type { Logger } from '../util/logger.ts';
import { makePrivateDir } from './hold-files.ts';
import { HoldIncarnation } from './hold-incarnation.ts';
import { isMissing, isTabletId } from './log-folder.ts';
import { INSTANCE_FILE, readServerKey } from './server-key.ts';
import { DROPPED, NOTE_FILE, TabletHold } from './tablet-hold.ts';

/** A link that is made once to see whether links can be made. */
const TRIAL = '.trial';

export interface HoldStoreOptions {
  /** SPOOR_HOLD_DIR; made if it is not there. One sidecar's own: no other may use it. */
  readonly dir: string;
  /** The tablet server's `--fs_wal_dir`: the folder that contains `wals/`. */
  readonly walDir: string;
  /** Why there is no room for what other sidecars have, or null. */
  readonly whyFull?: () => string | null;
  readonly logger?: Logger | undefined;
}

/** The folder for held logs cannot be one: the message says why, and what to do. */
export class HoldDirError extends Error {
  override readonly name = 'HoldDirError';
}

/**
 * The held logs of one tablet server's tablets, in one folder: `<dir>/<tablet id>/<incarnation>/wal-NNNNNNNNN`. The
 * folder is all there is to know: every step leaves it in a state that {@link open} takes up, so a crash needs no repair.
 *
 * A tablet is held from {@link enable} until its `drop()`, also over a restart of Spoor: what a process before this one
 * held is held again as soon as the store is open. New segments are linked while somebody follows the tablet through a
 * `WalWatcher` that has this store.
 *
 * Links keep owner and mode of the server's files (0600, kudu-facts trap 54), since they are the same files; folders
 * have 0700.
 */
export class HoldStore {
  readonly dir: string;
  readonly #logger: Logger | undefined;
  readonly #whyFull: () => string | null;
  readonly #holds = new Map<string, TabletHold>();
  readonly #listeners = new Set<(tabletId: string) => void>();
  /** Null where it is to be listed anew. */
  #tabletIds: readonly string[] | null = null;

  private constructor({ dir, whyFull, logger }: HoldStoreOptions) {
    this.dir = dir;
    this.#whyFull = whyFull ?? (() => null);
    this.#logger = logger;
  }

  /**
   * Takes stock of what is in the folder, and clears away what a crash left unfinished.
   * Errors: a {@link HoldDirError} when segments cannot be linked from `<walDir>/wals` into it: it is on another
   *   filesystem or mount, or the log belongs to another user. What the file system says otherwise.
   */
  static open(options: HoldStoreOptions): HoldStore {
    const { dir, walDir } = options;
    makePrivateDir(dir);
    assertLinkable(dir, walDir);
    keepKeyNear(dir, walDir);
    const store = new HoldStore(options);
    for (const name of readdirSync(dir)) {
      if (name.startsWith(DROPPED)) rmSync(join(dir, name), { recursive: true, force: true });
      else if (isTabletId(name)) store.#load(name);
    }
    return store;
  }

  /** Holds the tablet's log from now on, or still. Throws a {@link RangeError} for what is no tablet id. */
  enable(tabletId: string): TabletHold {
    const known = this.#holds.get(tabletId);
    if (known !== undefined) return known;
    if (!isTabletId(tabletId)) throw new RangeError(`"${tabletId}" is no tablet id`);
    try {
      makePrivateDir(join(this.dir, tabletId));
    } catch (error) {
      // A full disk, for one: whoever links tries it again, and tells it. Until then the log is read all the same.
      this.#logger?.warn({ tabletId, dir: this.dir, error }, 'no folder for a held log');
    }
    const hold = this.#add(tabletId, []);
    for (const listener of this.#listeners) listener(tabletId);
    return hold;
  }

  /** The tablet's held log, or null when it is not held. */
  get(tabletId: string): TabletHold | null {
    return this.#holds.get(tabletId) ?? null;
  }

  /** Every tablet that is held, those included that an earlier process held. The same list, itself, while they are the same. */
  tabletIds(): readonly string[] {
    this.#tabletIds ??= [...this.#holds.keys()];
    return this.#tabletIds;
  }

  /**
   * How many segments, that being written included, the server would have to keep of each log for its own copy to reach
   * back as far as what is held: those of the longest, and one that may be born meanwhile. 1 while only segments
   * being written are held.
   */
  neededSegments(): number {
    let longest = 1;
    for (const hold of this.#holds.values()) longest = Math.max(longest, hold.logLength);
    return longest === 1 ? 1 : longest + 1;
  }

  /** Calls `listener` whenever another tablet is to be held. @returns what ends that */
  onEnabled(listener: (tabletId: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #load(tabletId: string): void {
    const dir = join(this.dir, tabletId);
    const found: HoldIncarnation[] = [];
    let note: string | null = null;
    for (const name of readdirSync(dir)) {
      if (name === NOTE_FILE) note = readFileSync(join(dir, name), 'utf8');
      if (name.startsWith(NOTE_FILE)) continue; // or what a crash left of another
      const incarnation = HoldIncarnation.load(dir, name);
      if (incarnation === null) this.#logger?.warn({ dir, name }, 'something in the folder of held logs is not ours');
      else if (!incarnation.removeIfEmpty()) found.push(incarnation);
    }
    this.#add(tabletId, found, note);
  }

  #add(tabletId: string, found: readonly HoldIncarnation[], note: string | null = null): TabletHold {
    const hold: TabletHold = new TabletHold(join(this.dir, tabletId), tabletId, found, {
      note,
      whyFull: this.#whyFull,
      logger: this.#logger,
      onDrop: () => {
        if (this.#holds.get(tabletId) !== hold) return;
        this.#holds.delete(tabletId);
        this.#tabletIds = null;
      },
    });
    this.#holds.set(tabletId, hold);
    this.#tabletIds = null;
    return hold;
  }
}

/**
 * Held segments that the server has encrypted are read with its key, as long as they are held, wherever the folder is.
 * What is linked says what the key is, and no more than that.
 */
function keepKeyNear(dir: string, walDir: string): void {
  const [instance, link] = [join(walDir, INSTANCE_FILE), join(dir, INSTANCE_FILE)];
  const inode = statSync(instance, { throwIfNoEntry: false })?.ino;
  if (inode === undefined || readServerKey(instance).kind === 'none') return;
  if (statSync(link, { throwIfNoEntry: false })?.ino === inode) return;
  rmSync(link, { force: true });
  linkSync(instance, link);
}

function assertLinkable(dir: string, walDir: string): void {
  const wals = join(walDir, 'wals');
  if (statSync(dir).dev !== statSync(wals).dev)
    throw new HoldDirError(
      `the folder for held logs ${dir} is on another filesystem than ${wals}: set SPOOR_HOLD_DIR to a folder on the same one`,
    );
  // Two mounts of one filesystem look the same, and do not link. A file that every server has tells.
  const trial = join(dir, TRIAL);
  rmSync(trial, { force: true });
  try {
    linkSync(join(walDir, INSTANCE_FILE), trial);
    rmSync(trial, { force: true });
  } catch (error) {
    if (isMissing(error)) return; // no server has started here yet
    const why =
      errorCodeOf(error) === 'EXDEV'
        ? 'it is on another mount: set SPOOR_HOLD_DIR to a folder on the same one'
        : `run Spoor as the tablet server's own user (${error instanceof Error ? error.message : String(error)})`;
    throw new HoldDirError(`the folder for held logs ${dir} cannot take links to files in ${walDir}: ${why}`, {
      cause: error,
    });
  }
}
