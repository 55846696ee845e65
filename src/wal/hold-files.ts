import { chmodSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';

/** Makes a folder that only this user may look into. */
export function makePrivateDir(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if ((statSync(path).mode & 0o777) !== 0o700) chmodSync(path, 0o700);
}

/**
 * Writes a file that is not there yet, readable for this user only, and brings it to the disk.
 * Units:  `lastAppendMs`, milliseconds since 1970, is to be its mtime.
 */
export async function writeDurably(
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  lastAppendMs: number | undefined,
): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const bytes of content) await file.writeFile(bytes);
    if (lastAppendMs !== undefined) await file.utimes(lastAppendMs / 1000, lastAppendMs / 1000);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Writes a small file anew, readable for this user only: what is read after a crash is the old one or the new one. */
export function replaceFile(path: string, text: string): void {
  const fresh = `${path}.new`;
  writeFileSync(fresh, text, { mode: 0o600 });
  renameSync(fresh, path);
}

/** Brings the names in a folder to the disk. */
export async function syncDir(path: string): Promise<void> {
  const dir = await open(path, 'r');
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}
