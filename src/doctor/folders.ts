import { accessSync, constants, readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { objectionTo, readOwner, type HoldOwner } from '../keeping/hold-owner.ts';
import { measureDisk, percentOf, type DiskSpace } from '../keeping/free-space.ts';
import { FolderError, assertHoldDir, readServerUuid } from '../keeping/server-folders.ts';
import { asError } from '../util/as-error.ts';
import { isTabletId } from '../wal/log-folder.ts';
import { fault, faultBy, faultsOr, ok, unknown, type CheckName, type Finding } from './finding.ts';
import { mountOf, readMountInfo } from './mounts.ts';
import type { Probe } from './examine.ts';

const AS_SERVER = "Run Spoor as the tablet server's own user: Kudu lets nobody else read its log.";
const GIVE_WAL_DIR = "Set SPOOR_WAL_DIR to the tablet server's --fs_wal_dir.";
const GIVE_HOLD_DIR =
  'Set SPOOR_HOLD_DIR to a folder of its own on the file system and mount of SPOOR_WAL_DIR, or leave it out.';
/** Below so much free space a tablet server is about to stop, whatever bound was given. */
const NEARLY_FULL_PERCENT = 1;

/** What is to be known of the two folders. */
export interface FolderFacts {
  readonly walDir: string;
  /** Who we are, and whom the folder belongs to. */
  readonly uid: number;
  readonly ownerUid: number | null;
  /** What keeps the log from being read; null for nothing. */
  readonly walTrouble: string | null;
  /** Of the tablet server, where it can be read. */
  readonly serverUuid: string | null;
  /** Null where no folder is given, or nothing is known of the other. */
  readonly hold: HoldFacts | null;
}

export interface HoldFacts {
  readonly dir: string;
  /** What keeps it from being Spoor's; null for nothing. */
  readonly trouble: string | null;
  readonly device: number;
  readonly mount: string | null;
  readonly walDevice: number;
  readonly walMount: string | null;
  /** Of the folder, or where it is to be made. */
  readonly isWritable: boolean;
  readonly owner: HoldOwner;
  readonly hasLogs: boolean;
  readonly space: DiskSpace;
}

export function judgeFolders(
  { walDir, uid, ownerUid, walTrouble, serverUuid, hold }: FolderFacts,
  given: Omit<HoldOwner, 'tserverUuid'> & { readonly minFreePercent: number },
): readonly Finding[] {
  return [
    judgeUser(walDir, uid, ownerUid),
    walTrouble === null ? ok('wal folder', walDir) : faultBy('wal folder', walTrouble, GIVE_WAL_DIR),
    ...(hold === null
      ? [unknown('hold folder', 'looked at once SPOOR_WAL_DIR and SPOOR_HOLD_DIR can be used')]
      : [
          ...judgeHold(hold, { ...given, ...(serverUuid !== null && { tserverUuid: serverUuid }) }),
          judgeDisk(hold, given.minFreePercent),
        ]),
  ];
}

function judgeUser(walDir: string, uid: number, ownerUid: number | null): Finding {
  if (ownerUid === null) return unknown('user', 'whose the log is cannot be told');
  if (uid === ownerUid) return ok('user', `uid ${uid}, whose the tablet server's files are`);
  if (uid === 0)
    return unknown(
      'user',
      `asked as root, who may do more than a sidecar; the files belong to uid ${ownerUid}: ask as that user`,
    );
  return fault('user', `this process has uid ${uid}, and ${walDir} belongs to uid ${ownerUid}`, AS_SERVER);
}

function judgeHold(hold: HoldFacts, given: HoldOwner): readonly Finding[] {
  const { dir, trouble, device, mount, walDevice, walMount, isWritable, owner, hasLogs } = hold;
  const check: CheckName = 'hold folder';
  const objection = hasLogs ? objectionTo(owner, given) : null;
  const isElsewhere = device !== walDevice || mount !== walMount;
  const what = device === walDevice ? 'mount' : 'file system';
  return faultsOr(
    [
      ...(trouble === null ? [] : [faultBy(check, trouble, GIVE_HOLD_DIR)]),
      ...(isElsewhere
        ? [
            fault(
              check,
              `${dir} is on another ${what} than the log, so no segment can be linked into it`,
              GIVE_HOLD_DIR,
            ),
          ]
        : []),
      ...(isWritable || trouble !== null
        ? []
        : [
            fault(
              check,
              `${dir} may not be written by this user`,
              `Let it belong to the tablet server's user, mode 0700.`,
            ),
          ]),
      ...(objection === null ? [] : [faultBy(check, `SPOOR_HOLD_DIR ${dir} ${objection}`, GIVE_HOLD_DIR)]),
    ],
    ok(check, dir),
  );
}

function judgeDisk({ dir, space }: HoldFacts, minFreePercent: number): Finding {
  const percent = percentOf(space);
  const floor = Math.max(minFreePercent, NEARLY_FULL_PERCENT);
  if (space.totalBytes === 0) return unknown('disk', `how full the disk of ${dir} is cannot be told`);
  if (percent >= floor) return ok('disk', `${percent} % of the disk of ${dir} are free`);
  const bound = minFreePercent >= NEARLY_FULL_PERCENT ? `, SPOOR_HOLD_MIN_FREE_PERCENT is ${minFreePercent}` : '';
  return fault(
    'disk',
    `${percent} % of the disk of ${dir} are free${bound}`,
    'Make room on it, or see to it that the streams ship: below the bound held logs are let go of, oldest first.',
  );
}

/** How many tablets' logs are held in a folder; none where it cannot be read. */
export function heldTablets(holdDir: string | null): number {
  try {
    return holdDir === null ? 0 : readdirSync(holdDir).filter(isTabletId).length;
  } catch {
    return 0;
  }
}

/** @param given.holdDir null where none can be known */
export function folderProbe(given: {
  readonly walDir: string | null;
  readonly holdDir: string | null;
  readonly tserver: string | null;
  readonly systemTablePrefix: string;
  readonly minFreePercent: number;
}): Probe {
  const { walDir, holdDir, tserver, systemTablePrefix, minFreePercent } = given;
  return {
    check: 'wal folder',
    // eslint-disable-next-line @typescript-eslint/require-await -- the file system is asked at once, as a sidecar does
    look: async () => {
      if (walDir === null) return [unknown('wal folder', 'looked at once SPOOR_WAL_DIR is given')];
      const owner = { systemTablePrefix, ...(tserver !== null && { tserver }) };
      return judgeFolders(lookAtFolders(walDir, holdDir), { ...owner, minFreePercent });
    },
  };
}

function lookAtFolders(walDir: string, holdDir: string | null): FolderFacts {
  const wal = lookAtWal(walDir);
  const canBeHeld = holdDir !== null && valueOr(() => statSync(join(walDir, 'wals')).isDirectory(), false);
  return {
    walDir,
    uid: process.getuid?.() ?? 0,
    ownerUid: valueOr(() => statSync(walDir).uid, null),
    ...wal,
    hold: canBeHeld ? lookAtHold(walDir, holdDir) : null,
  };
}

function lookAtWal(walDir: string): Pick<FolderFacts, 'walTrouble' | 'serverUuid'> {
  try {
    const serverUuid = readServerUuid(walDir);
    readdirSync(join(walDir, 'wals'));
    return { walTrouble: null, serverUuid };
  } catch (error) {
    const { message } = asError(error);
    return {
      walTrouble: error instanceof FolderError ? message : `SPOOR_WAL_DIR ${walDir}: ${message}`,
      serverUuid: null,
    };
  }
}

/** Nothing is made: what is not there yet is judged by the folder that it is to be made in. */
function lookAtHold(walDir: string, holdDir: string): HoldFacts {
  const [place, wals] = [nearestThere(holdDir), realpathSync(join(walDir, 'wals'))];
  const mounts = readMountInfo();
  return {
    dir: holdDir,
    trouble: troubleOf(() => {
      assertHoldDir(holdDir, walDir);
    }),
    device: statSync(place).dev,
    mount: mountOf(place, mounts),
    walDevice: statSync(wals).dev,
    walMount: mountOf(wals, mounts),
    isWritable: valueOr(() => {
      accessSync(place, constants.R_OK | constants.W_OK | constants.X_OK);
      return true;
    }, false),
    owner: readOwner(holdDir),
    hasLogs: heldTablets(holdDir) > 0,
    space: measureDisk(place),
  };
}

function troubleOf(work: () => void): string | null {
  try {
    work();
    return null;
  } catch (error) {
    // What may not be read is told by whether it may be written.
    return error instanceof FolderError ? error.message : null;
  }
}

function nearestThere(path: string): string {
  const parent = dirname(path);
  return valueOr(() => realpathSync(path), null) ?? (parent === path ? path : nearestThere(parent));
}

function valueOr<T, U>(work: () => T, otherwise: U): T | U {
  try {
    return work();
  } catch {
    return otherwise;
  }
}
