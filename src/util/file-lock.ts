import { spawnSync } from 'node:child_process';
import { closeSync, constants, fchownSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCodeOf } from './error-code.ts';

/**
 * The lock of a file, which the kernel keeps for as long as this process has the file open: it is let go when the process
 * ends, however it ends, so that nothing has to be cleared away. It counts for every process of the machine, whatever
 * containers they are in, as long as they see the same file. The text in the file says who has it, to whoever asks.
 *
 * Node cannot lock a file. `flock` (util-linux, BusyBox) can, on a descriptor that it was given: the lock belongs to what
 * was opened, and stays ours when that program has ended.
 */
export class FileLock implements Disposable {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Takes the lock of a file, which is made where it is missing, readable for this user only, and writes `note` into it.
   * @returns null when somebody else has it
   * @throws {Error} the file cannot be opened or locked
   */
  static take(path: string, note: string): FileLock | null {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      if (!lockDescriptor(fd, path)) {
        closeSync(fd);
        return null;
      }
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    tellOwner(fd, path, note);
    return new FileLock(fd);
  }

  /** What the one who has the lock, or had it last, wrote down; empty where that is not known. */
  static noteOf(path: string): string {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** @returns false when another has it */
function lockDescriptor(fd: number, path: string): boolean {
  const { error, status, stderr } = spawnSync('flock', ['-x', '-n', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', fd],
    encoding: 'utf8',
  });
  if (error !== undefined) {
    const isMissing = errorCodeOf(error) === 'ENOENT';
    const why = isMissing ? 'the program flock (package util-linux) is not installed' : error.message;
    throw new Error(`${path} cannot be locked: ${why}`, { cause: error });
  }
  if (status === 0) return true;
  if (status === 1 && stderr === '') return false;
  throw new Error(`${path} cannot be locked: ${stderr.trim() || `flock ended with ${status ?? 'a signal'}`}`);
}

/** A full disk must not keep anybody from his lock: then nobody is told whose it is. */
function tellOwner(fd: number, path: string, note: string): void {
  try {
    if (process.getuid?.() === 0) {
      const { uid, gid } = statSync(dirname(path)); // root for once, and the folder's owner the next time
      fchownSync(fd, uid, gid);
    }
    ftruncateSync(fd);
    writeSync(fd, note, 0);
  } catch {
    // told above
  }
}
