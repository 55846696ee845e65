import { readFile, rename, writeFile } from 'node:fs/promises';
import * as z from 'zod';
import { errorCodeOf } from '../util/error-code.ts';

const retentionState = z.object({
  original: z.int().positive(),
  ours: z.array(z.int().positive()),
});

/** What must outlive a crash of Spoor, so that a value of ours is never taken for the operator's. */
export interface RetentionState {
  /** What the flag was before Spoor touched it. */
  readonly original: number;
  /** What Spoor set, or may have set: the answer to an attempt can be lost. Another value is somebody else's. */
  readonly ours: readonly number[];
}

/**
 * What {@link writeRetentionState} left, or null where there is nothing, or nothing that can be read: the file is not
 * synced, so a power cut may leave it empty. That ends the tablet server too, and with it the flag's value.
 * @throws what the file system says otherwise
 */
export async function readRetentionState(path: string): Promise<RetentionState | null> {
  try {
    return retentionState.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return null;
    if (errorCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Replaces the file in one step. @throws what the file system says */
export async function writeRetentionState(path: string, state: RetentionState): Promise<void> {
  const fresh = `${path}.new`;
  await writeFile(fresh, `${JSON.stringify(state)}\n`, { mode: 0o600 });
  await rename(fresh, path);
}
