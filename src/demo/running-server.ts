import type { ServerProcess } from './server-process.ts';

/** What a server of this machine can be told as a process, whatever it serves. */
export class RunningServer {
  readonly #process: ServerProcess;

  constructor(process: ServerProcess) {
    this.#process = process;
  }

  /** @throws {Error} while it is down */
  get pid(): number {
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process.running;
  }

  get logFile(): string {
    return this.#process.logFile;
  }

  /** The last lines of its log. */
  async logTail(): Promise<string> {
    return this.#process.logTail();
  }

  /** SIGTERM: a clean shutdown, where it knows one. */
  async stop(): Promise<void> {
    await this.#process.stop();
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#process.kill();
  }

  /** Stops it if it runs and starts it on the same port and data, with these arguments besides. */
  async restart(extraArgs: readonly string[] = []): Promise<void> {
    await this.#process.restart(extraArgs);
  }

  /** SIGSTOP. */
  async freeze(): Promise<void> {
    await this.#process.freeze();
  }

  /** SIGCONT. */
  thaw(): void {
    this.#process.thaw();
  }
}
