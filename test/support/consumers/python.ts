import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached } from '../../../src/demo/maven.ts';
import { runCommand } from '../../../src/demo/run-command.ts';
import { WorkDir } from '../../../src/demo/work-dir.ts';
import { artifactOptions } from '../cluster.ts';

/** Of the programs that the tests run. chDB is ClickHouse as a library; grpcio-tools has protoc. */
const ALL_PACKAGES = [
  'confluent-kafka[avro,protobuf]==2.16.1',
  'fastavro==1.13.1',
  'grpcio-tools==1.85.1',
  'chdb==4.4.0',
  'chdb-core==26.9.0',
];
/** For a test that reads files alone, and is run often. */
export const FASTAVRO = ALL_PACKAGES.filter((name) => name.startsWith('fastavro'));
const TIME_LIMIT_MS = 180_000;

/**
 * Runs a Python program that has confluent-kafka, fastavro, protoc and chDB; answers the lines that it prints.
 * @param options.first commands of a shell that are run before it, in its folder
 * @param options.packages all that it has, where it needs no more
 * @throws {Error} with what it says when it fails
 */
export async function runPython(
  program: string,
  {
    env = {},
    first,
    packages = ALL_PACKAGES,
  }: {
    readonly env?: Readonly<Record<string, string>>;
    readonly first?: string;
    readonly packages?: readonly string[];
  } = {},
): Promise<readonly string[]> {
  const bin = join(await fetchPython(packages), 'bin');
  await using dir = await WorkDir.create('spoor-test-python');
  const file = join(dir.path, 'program.py');
  await writeFile(file, program);
  const run = async (command: readonly string[]): Promise<string> => {
    const { exitCode, stdout, output } = await runCommand('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
      cwd: dir.path,
      env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}`, PYTHONUNBUFFERED: '1', ...env },
      signal: AbortSignal.timeout(TIME_LIMIT_MS),
    });
    if (exitCode !== 0) throw new Error(`${command[0]!} failed:\n${output}`);
    return stdout;
  };
  if (first !== undefined) await run(['sh', '-e', '-c', first]);
  const stdout = await run([join(bin, 'python3'), file]);
  return stdout.split('\n').filter((line) => line !== '');
}

async function fetchPython(packages: readonly string[]): Promise<string> {
  const options = await artifactOptions();
  const title = 'Python packages';
  const version = packages.map((name) => name.replace(/^.*==/, '')).join('-');
  return cached(
    options,
    `python-${packages === ALL_PACKAGES ? '' : `${packages.length}-`}${version}`,
    title,
    async (into) => {
      const run = async (command: string, args: readonly string[]): Promise<void> => {
        const { exitCode, output } = await runCommand(command, args);
        if (exitCode !== 0) throw new Error(`${[command, ...args].join(' ')} failed:\n${output}`);
      };
      await run('python3', ['-m', 'venv', into]);
      await run(join(into, 'bin', 'python3'), ['-m', 'pip', 'install', '--quiet', '--no-input', ...packages]);
    },
    '.lock-python',
  );
}
