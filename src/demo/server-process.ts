import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ServerCommand {
  /** What messages call it: `tablet server 2`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Its working folder; ours when not given. */
  readonly cwd?: string;
  /** Both output streams are appended here. */
  readonly logFile: string;
  /** Rejects, or answers false, as long as the server cannot be used. Asked every {@link READY_POLL_MS}. */
  readonly isReady: (signal: AbortSignal) => Promise<boolean>;
  /** How long a start may take. */
  readonly readyTimeoutMs: number;
}

const READY_POLL_MS = 50;
const STOP_POLL_MS = 2;
const STOP_TIMEOUT_MS = 20_000;
const LOG_TAIL_LINES = 15;

/**
 * A server that cannot outlive us: the kernel kills it when this process ends, however that happens.
 *
 * It runs in a session of its own, so that a Ctrl-C on the terminal reaches us alone and the order in which servers
 * stop stays ours. `setpriv` (util-linux) sets the death signal and then becomes the server, so the pid is the server's.
 */
export class ServerProcess implements AsyncDisposable {
  readonly #command: ServerCommand;
  #child: ChildProcess | null = null;

  private constructor(command: ServerCommand) {
    this.#command = command;
  }

  /** Resolves when the server is ready. @throws {Error} with the end of its log when it is not in time, or ended */
  static async start(command: ServerCommand): Promise<ServerProcess> {
    const server = new ServerProcess(command);
    await server.#launch([]);
    return server;
  }

  /** @throws {Error} while it is down */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined || !this.running) throw new Error(`${this.#command.name} is not running`);
    return pid;
  }

  get running(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get logFile(): string {
    return this.#command.logFile;
  }

  /** Starts it again with the same command and `extraArgs`; ready when it resolves. */
  async restart(extraArgs: readonly string[] = []): Promise<void> {
    await this.stop();
    await this.#launch(extraArgs);
  }

  /** SIGTERM, and SIGKILL when that was not heard in time. Resolves when the process is gone. */
  async stop(timeoutMs: number = STOP_TIMEOUT_MS): Promise<void> {
    await this.#end('SIGTERM', timeoutMs);
  }

  /** SIGKILL, as a crash would be. Resolves when the process is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL', STOP_TIMEOUT_MS);
  }

  /** SIGSTOP: sockets stay open and nobody answers. Resolves when every thread stands still, moments after the signal. */
  async freeze(): Promise<void> {
    const { pid } = this;
    process.kill(pid, 'SIGSTOP');
    while (!(await isStopped(pid))) await sleep(STOP_POLL_MS);
  }

  thaw(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL', timeoutMs: number): Promise<void> {
    const child = this.#child;
    if (child === null || !this.running) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    if (signal === 'SIGTERM') child.kill('SIGCONT'); // a frozen process would never see the SIGTERM
    const late = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    try {
      await gone;
    } finally {
      clearTimeout(late);
    }
  }

  async #launch(extraArgs: readonly string[]): Promise<void> {
    const { name, command, args, env, cwd, logFile, isReady, readyTimeoutMs } = this.#command;
    const log = openSync(logFile, 'a');
    let child: ChildProcess;
    try {
      child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args, ...extraArgs], {
        env,
        ...(cwd === undefined ? {} : { cwd }),
        detached: true,
        stdio: ['ignore', log, log],
      });
    } finally {
      closeSync(log);
    }
    this.#child = child;
    const failures: Error[] = [];
    child.once('error', (error) => failures.push(error));
    child.unref(); // a test that forgot to stop it must not hang: the kernel ends it with us

    const deadline = AbortSignal.timeout(readyTimeoutMs);
    while (!deadline.aborted) {
      if (failures.length > 0) throw new Error(`${name} could not be started`, { cause: failures[0] });
      if (!this.running) throw new Error(`${name} ended while it started\n${await this.logTail()}`);
      if (await isReady(deadline).catch(() => false)) return;
      await sleep(READY_POLL_MS);
    }
    await this.kill();
    throw new Error(`${name} was not ready after ${readyTimeoutMs / 1000} s\n${await this.logTail()}`);
  }

  /** The last lines that it wrote. */
  async logTail(): Promise<string> {
    const text = await readFile(this.#command.logFile, 'utf8').catch(() => '');
    return text.trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
  }
}

/** Whether every thread of a process is in state T; also when the process is gone. Source: proc(5), /proc/[pid]/stat. */
async function isStopped(pid: number): Promise<boolean> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const states = await Promise.all(
    threads.map(async (thread) => {
      const stat = await readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8').catch(() => '');
      return /^\d+ \(.*\) (\w)/s.exec(stat)?.[1] ?? 'X';
    }),
  );
  return states.every((state) => 'TtZX'.includes(state));
}
