import { spawnSync } from 'node:child_process';

/** Mounts a file system of its own, so small that it fills up. @returns why it cannot be; null where it is there */
export function mountSmall(path: string, mebibytes: number): string | null {
  const { status, stderr, error } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', path]);
  return status === 0 ? null : `mount is not allowed here: ${error?.message ?? stderr.toString().trim()}`;
}

export function unmount(path: string): void {
  spawnSync('umount', ['-l', path]);
}
