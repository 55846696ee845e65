import { chown, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../../src/demo/ports.ts';
import { runCommand } from '../../../src/demo/run-command.ts';
import { ServerProcess } from '../../../src/demo/server-process.ts';
import { installPackages } from '../../../src/demo/system-packages.ts';
import { WorkDir } from '../../../src/demo/work-dir.ts';
import { artifactOptions } from '../cluster.ts';

const INSTALLS = '/usr/lib/postgresql';
const START_TIMEOUT_MS = 60_000;

/** PostgreSQL of the system's packages, on loopback, with one empty database; whoever comes from there is trusted. */
export class Postgres implements AsyncDisposable {
  readonly #process: ServerProcess;
  readonly #dir: WorkDir;
  readonly #psql: Psql;
  readonly #port: number;

  private constructor(process: ServerProcess, dir: WorkDir, psql: Psql, port: number) {
    this.#process = process;
    this.#dir = dir;
    this.#psql = psql;
    this.#port = port;
  }

  static async start(): Promise<Postgres> {
    const programs = await findPrograms();
    const dir = await WorkDir.create('spoor-test-postgres');
    const as = await unprivileged(dir.path);
    const data = join(dir.path, 'data');
    const initdb = [join(programs, 'initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale'];
    const made = await runCommand('setpriv', [...as, '--', ...initdb, '--no-sync'], { cwd: dir.path });
    if (made.exitCode !== 0) throw new Error(`initdb failed:\n${made.output}`);
    const port = await freePort();
    const psql: Psql = (sql) =>
      runCommand(join(programs, 'psql'), [
        ...['-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', '-X', '-A', '-t', '-q'],
        ...['-v', 'ON_ERROR_STOP=1', '-c', sql],
      ]);
    const settings = { port, listen_addresses: '127.0.0.1', unix_socket_directories: '', fsync: 'off' };
    const process = await ServerProcess.start({
      name: 'PostgreSQL',
      command: 'setpriv',
      args: [
        // To become another user ends the death signal that was set before.
        ...[...as, '--pdeathsig', 'KILL', '--', join(programs, 'postgres'), '-D', data],
        ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ],
      env: { ...globalThis.process.env },
      cwd: dir.path,
      logFile: join(dir.path, 'output.log'),
      isReady: async () => (await psql('SELECT 1')).exitCode === 0,
      readyTimeoutMs: START_TIMEOUT_MS,
    });
    return new Postgres(process, dir, psql, port);
  }

  get jdbcUrl(): string {
    return `jdbc:postgresql://127.0.0.1:${this.#port}/postgres`;
  }

  /** Each row that a query answers, as JSON text. @throws {Error} with what PostgreSQL says */
  async rows(query: string): Promise<readonly string[]> {
    return (await this.execute(`SELECT row_to_json(q) FROM (${query}) q`)).split('\n').filter((line) => line !== '');
  }

  /** Runs statements, separated by semicolons. Answers what psql prints. @throws {Error} with what PostgreSQL says */
  async execute(sql: string): Promise<string> {
    const { exitCode, stdout, output } = await this.#psql(sql);
    if (exitCode !== 0) throw new Error(`${sql}\n${output}`);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop();
    await this.#dir[Symbol.asyncDispose]();
  }
}

type Psql = (sql: string) => ReturnType<typeof runCommand>;

/** The folder of the newest version that is installed. */
async function findPrograms(): Promise<string> {
  const look = async (): Promise<string | undefined> =>
    (await readdir(INSTALLS).catch(() => [])).sort((a, b) => Number(a) - Number(b)).at(-1);
  let version = await look();
  if (version === undefined) {
    const { progress } = await artifactOptions();
    await installPackages(['postgresql'], progress);
    version = await look();
  }
  if (version === undefined) throw new Error(`no PostgreSQL in ${INSTALLS}`);
  return join(INSTALLS, version, 'bin');
}

/** `setpriv`'s options to become a user as whom PostgreSQL is willing to run, who then owns the folder: root may not. */
async function unprivileged(dir: string): Promise<readonly string[]> {
  if (process.getuid?.() !== 0) return [];
  const ids = await Promise.all(['-u', '-g'].map((which) => runCommand('id', [which, 'postgres'])));
  const [uid, gid] = ids.map(({ stdout }) => Number(stdout));
  await chown(dir, uid!, gid!);
  return [`--reuid=${uid!}`, `--regid=${gid!}`, '--clear-groups'];
}
