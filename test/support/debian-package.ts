import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultCacheDir } from '../../src/demo/artifacts.ts';
import { withFileLock } from '../../src/demo/file-lock.ts';
import { runCommand } from '../../src/demo/run-command.ts';

/**
 * A program of a Debian package that is unpacked into the cache, once for a machine, and not installed: no service of it
 * starts, and nothing of the system changes.
 * @param path of the program in the package
 * @throws {Error} this machine has no apt-get, or it cannot fetch the package
 */
export async function debianProgram(name: string, path: string): Promise<string> {
  const dir = join(defaultCacheDir(), `debian-${name}`);
  const program = join(dir, path);
  await mkdir(defaultCacheDir(), { recursive: true });
  await withFileLock(join(defaultCacheDir(), '.lock'), async () => {
    if (await isThere(program)) return;
    const fetching = `${dir}.fetching`;
    await rm(fetching, { recursive: true, force: true });
    await mkdir(fetching, { recursive: true });
    if ((await runCommand('apt-get', ['download', '-q', name], { cwd: fetching })).exitCode !== 0) {
      await run('apt-get', ['update', '-q'], fetching); // a machine that is new has no lists yet
      await run('apt-get', ['download', '-q', name], fetching);
    }
    const [file] = (await readdir(fetching)).filter((each) => each.endsWith('.deb'));
    await run('dpkg-deb', ['-x', file!, '.'], fetching);
    await rm(join(fetching, file!));
    await rename(fetching, dir);
  });
  return program;
}

/** For a test's `skip`: why there is no such program here, or false. In CI it rejects instead. */
export async function programMissing(fetching: Promise<unknown>): Promise<string | false> {
  try {
    await fetching;
    return false;
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    return error instanceof Error ? error.message : String(error);
  }
}

/** `systemd-analyze`, this machine's own or an unpacked one, and the environment that it needs. */
export async function systemdAnalyze(): Promise<{ readonly program: string; readonly env: NodeJS.ProcessEnv }> {
  const own = '/usr/bin/systemd-analyze';
  if (await isThere(own)) return { program: own, env: process.env };
  const program = await debianProgram('systemd', 'usr/bin/systemd-analyze');
  const [triple = ''] = (await readdir('/usr/lib')).filter((name) => name.endsWith('-linux-gnu'));
  const libraries = await debianProgram('libsystemd-shared', `usr/lib/${triple}/systemd`);
  return { program, env: { ...process.env, LD_LIBRARY_PATH: libraries } };
}

/** Prometheus' tool that checks rules and tests them. */
export function promtool(): Promise<string> {
  return debianProgram('prometheus', 'usr/bin/promtool');
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  const { exitCode, output } = await runCommand(command, args, { cwd });
  if (exitCode !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${output}`);
}
