import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { defaultCacheDir } from '../../src/demo/artifacts.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAX_ARCHIVE_BYTES = 64 << 20;

/**
 * Builds an earlier version of Spoor from this repository's history, once for a machine.
 * @param commit what `git archive` takes
 * @returns its `dist/cli/main.js`
 * @throws {Error} a shallow clone does not have it
 */
export async function buildOldVersion(commit: string): Promise<string> {
  const dir = join(defaultCacheDir(), `spoor-${commit}`);
  const program = join(dir, 'dist/cli/main.js');
  if (existsSync(program)) return program;
  const building = `${dir}.building`;
  await rm(building, { recursive: true, force: true });
  await mkdir(building, { recursive: true });
  const archive = join(building, 'source.tar');
  const { stdout } = await run('git', ['archive', commit], {
    cwd: ROOT,
    encoding: 'buffer',
    maxBuffer: MAX_ARCHIVE_BYTES,
  });
  await writeFile(archive, stdout);
  await run('tar', ['-xf', archive], { cwd: building });
  await run('node', ['.ci/setup.mjs'], { cwd: building });
  await run('npm', ['run', '--silent', 'build'], { cwd: building });
  await rm(dir, { recursive: true, force: true });
  await rename(building, dir);
  return program;
}
