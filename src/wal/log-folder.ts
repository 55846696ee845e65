import { readdirSync, statSync } from 'node:fs';
import { withSpareDescriptor } from '../util/descriptors.ts';
import { errorCodeOf } from '../util/error-code.ts';

/**
 * Tells a directory from another one that has its name, and perhaps even its inode number, later. It stays the same
 * when the directory is renamed, and never comes back (kudu-facts 4.5).
 */
export interface DirIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly bornNs: bigint;
}

/** @returns null when there is nothing of that name */
export function identify(path: string): DirIdentity | null {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? null : { dev: stat.dev, ino: stat.ino, bornNs: stat.birthtimeNs };
}

export function isSame(a: DirIdentity | null, b: DirIdentity | null): boolean {
  return a !== null && b !== null && a.dev === b.dev && a.ino === b.ino && a.bornNs === b.bornNs;
}

/** Kudu's tablet ids. */
export function isTabletId(name: string): boolean {
  return /^[0-9a-f]{32}$/.test(name);
}

/** `wal-000000001`. Source: kudu/fs/fs_manager.cc GetWalSegmentFileName. */
export function segmentName(sequenceNumber: number): string {
  return `wal-${String(sequenceNumber).padStart(9, '0')}`;
}

/** @returns null when it is not the name of a segment */
export function segmentNumber(name: string): number | null {
  const digits = /^wal-(\d{9,})$/.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

/**
 * The segments of a folder, lowest first, and whether they are a log that a tablet server writes. While a tablet copy
 * downloads segments, in whatever order, there is no index file; a log has one from its first entry on (kudu-facts
 * trap 36; consensus/log_index.cc).
 * @returns null when the folder is gone
 */
export function listLog(path: string): { sequenceNumbers: number[]; isReadable: boolean } | null {
  let names: string[];
  try {
    // A segment that is not seen is not linked, and log GC does not wait until this process may open files again.
    names = withSpareDescriptor(() => readdirSync(path));
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
  const sequenceNumbers = names
    .map(segmentNumber)
    .filter((number) => number !== null)
    .sort((a, b) => a - b);
  return { sequenceNumbers, isReadable: names.some((name) => name.startsWith('index.')) };
}

export function isMissing(error: unknown): boolean {
  return errorCodeOf(error) === 'ENOENT';
}
