import { constants } from 'node:fs';
import { access, mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCodeOf } from '../../util/error-code.ts';
import { TimeLimit } from '../../util/time-limit.ts';
import { waitFor } from '../../util/wait-for.ts';
import { SinkError } from '../sink.ts';

/** Storage that says nothing for so long is away. */
const STEP_MS = 30_000;
/** What no waiting heals. */
const REFUSED = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG', 'ELOOP', 'ENOTSUP']);
const FULL = new Set(['ENOSPC', 'EDQUOT']);

/** What is done with the disk for one call: nothing begins once the signal has aborted, and nothing is waited for then. */
export class Steps {
  readonly #signal: AbortSignal;
  readonly #stepMs: number;

  constructor(signal: AbortSignal, stepMs = STEP_MS) {
    this.#signal = signal;
    this.#stepMs = stepMs;
  }

  /** @throws {SinkError} it is to stop */
  check(): void {
    if (this.#signal.aborted) throw new SinkError('unavailable', 'stopped', this.#signal.reason);
  }

  /** One step. Told to stop it rejects at once; what was handed to the system by then may still be done. @throws what it throws */
  async take<T>(work: () => Promise<T>): Promise<T> {
    this.check();
    using limit = new TimeLimit(this.#signal, this.#stepMs);
    try {
      return await waitFor(work(), limit.signal);
    } catch (error) {
      this.check();
      if (!limit.signal.aborted) throw error;
      throw new SinkError('unavailable', `the storage has not answered for ${this.#stepMs / 1000} s`);
    }
  }
}

export function isFull(error: unknown): boolean {
  return FULL.has(errorCodeOf(error));
}

/** Opens a file; one that comes too late is closed. */
export async function openFile(path: string, flags: string, steps: Steps): Promise<FileHandle> {
  steps.check();
  const opening = open(path, flags);
  try {
    return await steps.take(() => opening);
  } catch (error) {
    void opening.then((handle) => handle.close()).catch(() => undefined);
    throw error;
  }
}

/** Null where there is no such file. */
export async function openIfThere(path: string, steps: Steps, flags = 'r'): Promise<FileHandle | null> {
  try {
    return await openFile(path, flags, steps);
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** An error of the file system as the core knows them. */
export function toSinkError(error: unknown, dir: string): SinkError {
  if (error instanceof SinkError) return error;
  const code = errorCodeOf(error);
  const why = error instanceof Error ? error.message : String(error);
  if (isFull(error)) return new SinkError('unavailable', `no space is left in ${dir}: ${why}`, error);
  if (code === 'ENOENT')
    return new SinkError('unavailable', `${dir} is not there, or not whole: make it, or mount it: ${why}`, error);
  if (REFUSED.has(code))
    return new SinkError('refused', `${dir} cannot be used: ${why}. Let the sidecar's user write there`, error);
  return new SinkError('unavailable', why, error);
}

/** All of it: the system may take less at once. */
export async function writeAll(handle: FileHandle, bytes: Buffer, steps: Steps): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await steps.take(() => handle.write(bytes, at, bytes.length - at, null));
    at += bytesWritten;
  }
}

/** What was made in it, renamed or removed is durable. */
export async function syncFolder(path: string, steps: Steps): Promise<void> {
  await steps.take(async () => {
    await using folder = await open(path, constants.O_RDONLY);
    await folder.sync();
  });
}

/** Makes a folder and those above it, but for `dir`: storage that is not mounted is not to be filled beneath. */
export async function makeFolder(path: string, dir: string, steps: Steps): Promise<void> {
  if (path === dir || path === dirname(path)) return;
  try {
    await steps.take(() => mkdir(path));
  } catch (error) {
    if (errorCodeOf(error) === 'EEXIST') return;
    if (errorCodeOf(error) !== 'ENOENT' || dirname(path) === dir) throw error;
    await makeFolder(dirname(path), dir, steps);
    return makeFolder(path, dir, steps);
  }
  await syncFolder(dirname(path), steps);
}

/** @throws of the system: it cannot be written to */
export function checkFolder(path: string, steps: Steps): Promise<void> {
  return steps.take(() => access(path, constants.R_OK | constants.W_OK | constants.X_OK));
}
