import { closeSync, openSync, readFileSync } from 'node:fs';
import { errorCodeOf } from './error-code.ts';

/** How many files and connections this process may have open at a time; null where the system does not tell. */
export function descriptorLimit(): number | null {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}

/** Kept open to be closed when there is no other. */
let spare: number | null = takeSpare();

/**
 * Does what needs one descriptor for a moment, and that cannot wait until others are free again.
 * @param work nothing asynchronous, so that nobody of this thread takes the descriptor in between
 */
export function withSpareDescriptor<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (spare === null || !isOutOfDescriptors(error)) throw error;
    closeSync(spare);
    spare = null;
    return work();
  } finally {
    spare ??= takeSpare();
  }
}

function isOutOfDescriptors(error: unknown): boolean {
  return ['EMFILE', 'ENFILE'].includes(errorCodeOf(error));
}

function takeSpare(): number | null {
  try {
    return openSync('/dev/null', 'r');
  } catch {
    return null; // the next time, perhaps
  }
}
