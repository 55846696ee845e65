import { readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { errorCodeOf } from '../util/error-code.ts';
import { isMissing, isTabletId, segmentNumber } from '../wal/log-folder.ts';

/** SPOOR_WAL_DIR or SPOOR_HOLD_DIR is not what it is to be: the message says why, and what to give instead. */
export class FolderError extends Error {
  override readonly name = 'FolderError';
}

/** What Kudu keeps below `--fs_wal_dir`, and below the folders of `--fs_data_dirs`. */
const SERVERS_OWN = ['wals', 'tablet-meta', 'consensus-meta', 'data'];

/**
 * Uuid of the tablet server whose `--fs_wal_dir` it is: field 1 of what is in its file `instance` (kudu/fs/fs.proto
 * InstanceMetadataPB), 32 hexadecimal digits.
 * @throws {FolderError} it is none, or may not be read
 */
export function readServerUuid(walDir: string): string {
  const path = join(walDir, 'instance');
  let content: string;
  try {
    content = readFileSync(path, 'latin1');
  } catch (error) {
    throw notWalDir(walDir, isMissing(error) ? whyNoInstance(walDir) : whyUnreadable(error), error);
  }
  const uuid = /\n ([0-9a-f]{32})/.exec(content)?.[1];
  if (uuid === undefined) throw new FolderError(`${path} names no tablet server`);
  // A data folder has an instance too; whoever does not look makes a folder for held logs in there.
  if (!isFolder(join(walDir, 'wals')))
    throw notWalDir(walDir, 'it has no folder wals, so it may be one of --fs_data_dirs: give --fs_wal_dir');
  return uuid;
}

/**
 * That a folder may be Spoor's own. What is in there it clears away, link by link and folder by folder: in a folder of the
 * tablet server that would be the tablets' logs themselves.
 * @throws {FolderError} it is not; nothing was changed
 */
export function assertHoldDir(holdDir: string, walDir: string): void {
  const taken = whyNotOurs(holdDir, walDir);
  if (taken !== null)
    throw new FolderError(
      `SPOOR_HOLD_DIR ${holdDir} ${taken}: give it a folder of its own, such as ${join(walDir, 'spoor-hold')}, the default`,
    );
}

function whyNotOurs(holdDir: string, walDir: string): string | null {
  const server = realpathSync(walDir);
  const hold = realPath(holdDir);
  if (isIn(server, hold)) return `is the tablet server's SPOOR_WAL_DIR ${walDir}, or a folder around it`;
  for (const own of SERVERS_OWN)
    if (isIn(hold, realPath(join(server, own)))) return `is within the tablet server's own ${join(walDir, own)}`;
  let names: string[];
  try {
    names = readdirSync(hold);
  } catch (error) {
    if (isMissing(error)) return null;
    if (errorCodeOf(error) === 'ENOTDIR') return 'is no folder';
    throw error;
  }
  for (const name of names.filter(isTabletId))
    if (readdirSync(join(hold, name)).some((file) => segmentNumber(file) !== null))
      return 'holds the logs of a tablet server, as its wals does';
  const isOurs = names.some((name) => name === 'owner.json' || name === 'spoor.lock' || isTabletId(name));
  const foreign = names.find((name) => !name.startsWith('.') && name !== 'lost+found');
  return isOurs || foreign === undefined ? null : `has something else in it (${foreign})`;
}

function notWalDir(walDir: string, why: string, cause?: unknown): FolderError {
  return new FolderError(
    `SPOOR_WAL_DIR ${walDir} is not the --fs_wal_dir of a tablet server that we may read: ${why}`,
    {
      cause,
    },
  );
}

function whyNoInstance(walDir: string): string {
  if (!isFolder(walDir)) return 'there is no such folder';
  const parent = dirname(walDir);
  if (basename(walDir) === 'wals' && isServers(parent)) return `it is the folder wals in one, give ${parent}`;
  const within = subFolders(walDir).find(isServers);
  return within === undefined ? 'no tablet server has used it yet' : `it has one in it, give ${within}`;
}

function whyUnreadable(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  return ['EACCES', 'EPERM'].includes(errorCodeOf(error)) ? `${said}; run Spoor as the tablet server's own user` : said;
}

function isServers(dir: string): boolean {
  return statSync(join(dir, 'instance'), { throwIfNoEntry: false })?.isFile() === true && isFolder(join(dir, 'wals'));
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function subFolders(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(dir, name));
  } catch {
    return []; // a hint that cannot be given
  }
}

/** As the system sees it, also of what is not there yet. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    const parent = dirname(path);
    if (!isMissing(error) || parent === path) return path;
    return join(realPath(parent), basename(path));
  }
}

function isIn(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir.endsWith(sep) ? dir : dir + sep);
}
