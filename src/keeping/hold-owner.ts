import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { FileLock } from '../util/file-lock.ts';
import type { Logger } from '../util/logger.ts';
import { makePrivateDir, replaceFile } from '../wal/hold-files.ts';
import { isTabletId } from '../wal/log-folder.ts';
import { assertHoldDir, readServerUuid } from './server-folders.ts';

/** In the folder of held logs: whose they are, also while no sidecar runs. */
const OWNER_FILE = 'owner.json';
/** In the folder of held logs and in the tablet server's: locked by the sidecar that runs. */
const LOCK_FILE = 'spoor.lock';
const DEFAULT_PREFIX = 'spoor.';

/** The sidecar cannot have the folders: they are another's. The message says whose, and what to do. */
export class HoldTakenError extends Error {
  override readonly name = 'HoldTakenError';
}

/** Whose held logs are in a folder. Earlier versions wrote down the prefix alone, or nothing. */
export interface HoldOwner {
  /** The streams that they are held for are in tables with this prefix. */
  readonly systemTablePrefix?: string | undefined;
  /** Of the tablet server whose logs they are; it moves with its disk. */
  readonly tserverUuid?: string | undefined;
  /** Where that one was found last. */
  readonly tserver?: string | undefined;
  /** Of its cluster. */
  readonly clusterId?: string | undefined;
}

const holdOwner = z.object({
  systemTablePrefix: z.string().optional(),
  tserverUuid: z.string().optional(),
  tserver: z.string().optional(),
  clusterId: z.string().optional(),
});

/** The process that has a lock, or had it last. */
const lockNote = z.object({
  tserverUuid: z.string(),
  tserver: z.string(),
  holdDir: z.string(),
  pid: z.number(),
  host: z.string(),
  since: z.string(),
});
export type LockNote = Readonly<z.infer<typeof lockNote>>;

export interface HoldOwnershipOptions {
  readonly walDir: string;
  readonly holdDir: string;
  /** Address of the tablet server beside us. */
  readonly tserver: string;
  readonly systemTablePrefix: string;
  readonly logger: Logger;
}

/**
 * Why held logs of `known` are not to be touched by a sidecar of `given`, in words that go on behind the folder's name;
 * null where they are its own. What is not known is no reason: it is from before that was written down.
 */
export function objectionTo(known: HoldOwner, given: HoldOwner): string | null {
  const differs = (key: keyof HoldOwner): boolean =>
    known[key] !== undefined && given[key] !== undefined && known[key] !== given[key];
  if (differs('tserverUuid'))
    return (
      `holds the logs of tablet server ${known.tserverUuid} (last at ${known.tserver ?? 'an address not known'}), ` +
      `and the one beside this sidecar is ${given.tserverUuid} (${given.tserver}): give each sidecar a SPOOR_HOLD_DIR ` +
      'of its own; where the other tablet server is no more, delete the folder'
    );
  if (differs('systemTablePrefix'))
    return (
      `holds logs for the streams of SPOOR_SYSTEM_TABLE_PREFIX ${known.systemTablePrefix}, given is ` +
      `${given.systemTablePrefix}: give the same one again, or another SPOOR_HOLD_DIR, or delete the folder`
    );
  if (differs('clusterId'))
    return (
      `holds logs of cluster ${known.clusterId}, and the masters in SPOOR_KUDU_MASTERS are of cluster ` +
      `${given.clusterId}: give the masters of that cluster again; where it is no more, delete the folder`
    );
  return null;
}

/** The lock of whoever is beside a tablet server for the streams of a prefix. */
export function serverLock(walDir: string, systemTablePrefix: string): string {
  return join(walDir, lockFileOf(systemTablePrefix));
}

/** The lock of whoever uses a folder of held logs. */
export function holdLock(holdDir: string): string {
  return join(holdDir, LOCK_FILE);
}

/** What the one who has a lock, or had it last, wrote down; null where that is nothing. */
export function readLockNote(path: string): LockNote | null {
  try {
    return lockNote.parse(JSON.parse(FileLock.noteOf(path)));
  } catch {
    return null;
  }
}

/** In the tablet server's folder: another installation, with a prefix and held logs of its own, may stand beside it too. */
function lockFileOf(prefix: string): string {
  if (prefix === DEFAULT_PREFIX) return LOCK_FILE;
  return `spoor-${createHash('sha256').update(prefix).digest('hex').slice(0, 12)}.lock`;
}

/**
 * That the folder of held logs, and the tablet server, are this sidecar's alone: two that let go of each other's held
 * logs would lose what neither has shipped. Both folders are locked while it lives, and the folder of held logs says
 * whose they are when it does not.
 */
export class HoldOwnership implements Disposable {
  readonly #options: HoldOwnershipOptions;
  readonly #locks: readonly FileLock[];
  #owner: HoldOwner;

  private constructor(options: HoldOwnershipOptions, locks: readonly FileLock[], owner: HoldOwner) {
    this.#options = options;
    this.#locks = locks;
    this.#owner = owner;
  }

  /**
   * Nothing is made in the tablet server's folder before that one has made it: Kudu takes no folder that is not empty.
   * @throws {HoldTakenError} another has the folder or stands beside the tablet server; {FolderError} one of the folders
   *   is not what it is to be; {Error} what else is wrong
   */
  static take(options: HoldOwnershipOptions): HoldOwnership {
    const { walDir, holdDir, tserver, systemTablePrefix } = options;
    const tserverUuid = readServerUuid(walDir);
    assertHoldDir(holdDir, walDir);
    const self: LockNote = {
      tserverUuid,
      tserver,
      holdDir,
      pid: process.pid,
      host: hostname(),
      since: new Date().toISOString(),
    };
    const locks: FileLock[] = [];
    try {
      locks.push(
        lock(
          serverLock(walDir, systemTablePrefix),
          self,
          `the tablet server of SPOOR_WAL_DIR ${walDir} has a sidecar`,
          'A tablet server has one: stop that one first, or give this one a SPOOR_SYSTEM_TABLE_PREFIX of its own',
        ),
      );
      makePrivateDir(holdDir);
      locks.push(
        lock(
          holdLock(holdDir),
          self,
          `SPOOR_HOLD_DIR ${holdDir} is used by another sidecar`,
          'Give each a SPOOR_HOLD_DIR of its own',
        ),
      );
      const ownership = new HoldOwnership(options, locks, readOwner(holdDir));
      ownership.#claim({ tserverUuid, tserver, systemTablePrefix });
      return ownership;
    } catch (error) {
      for (const each of locks) each[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Of the masters that were given. Streams of another cluster have none of what is held here: to their eyes it could go.
   * @throws {HoldTakenError} it is another cluster's
   */
  claimFor(clusterId: string): void {
    if (clusterId !== '') this.#claim({ ...this.#owner, clusterId });
  }

  /** Lets the folders go; what is held stays, and stays its owner's. */
  [Symbol.dispose](): void {
    for (const each of this.#locks) each[Symbol.dispose]();
  }

  #claim(given: HoldOwner): void {
    const { holdDir, logger } = this.#options;
    const known = this.#owner;
    const objection = objectionTo(known, given);
    if (objection !== null && hasHeldLogs(holdDir)) throw new HoldTakenError(`SPOOR_HOLD_DIR ${holdDir} ${objection}`);
    const owner = objection === null ? { ...known, ...given } : given;
    const text = `${JSON.stringify(owner)}\n`;
    if (text === `${JSON.stringify(known)}\n`) return;
    try {
      replaceFile(join(holdDir, OWNER_FILE), text);
      this.#owner = owner;
    } catch (error) {
      // On a full disk what is held must be let go of all the same.
      logger.warn({ holdDir, error }, 'whose held logs these are cannot be written down');
    }
  }
}

function lock(path: string, self: LockNote, what: string, remedy: string): FileLock {
  const taken = FileLock.take(path, `${JSON.stringify(self)}\n`);
  if (taken !== null) return taken;
  throw new HoldTakenError(`${what}: ${describeOwner(readLockNote(path))}. ${remedy}`);
}

/** In words that go on behind a colon. */
export function describeOwner(note: LockNote | null): string {
  if (note === null) return 'a process that has not said who it is';
  const { tserverUuid, tserver, holdDir, pid, host, since } = note;
  return (
    `process ${pid} on host ${host}, beside tablet server ${tserverUuid} (${tserver}), ` +
    `with SPOOR_HOLD_DIR ${holdDir}, since ${since}`
  );
}

/** Whose held logs are in a folder. Nothing, or half of something, is no owner. */
export function readOwner(holdDir: string): HoldOwner {
  try {
    return holdOwner.parse(JSON.parse(readFileSync(join(holdDir, OWNER_FILE), 'utf8')));
  } catch {
    return {};
  }
}

function hasHeldLogs(holdDir: string): boolean {
  return readdirSync(holdDir).some(isTabletId);
}
