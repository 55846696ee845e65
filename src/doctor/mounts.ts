import { readFileSync } from 'node:fs';
import { sep } from 'node:path';

/**
 * The mount that a path is on, by what `/proc/self/mountinfo` says (proc(5)): two mounts of one file system have one
 * device, and no links go from one to the other. Null where it is not known.
 * @param path absolute, without symbolic links
 */
export function mountOf(path: string, mountInfo: string): string | null {
  let found: string | null = null;
  for (const line of mountInfo.split('\n')) {
    const point = line
      .split(' ')[4]
      ?.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
    if (point === undefined) continue;
    const isAbove = point === '/' || path === point || path.startsWith(point + sep);
    if (isAbove && (found === null || point.length >= found.length)) found = point;
  }
  return found;
}

export function readMountInfo(): string {
  try {
    return readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return '';
  }
}
