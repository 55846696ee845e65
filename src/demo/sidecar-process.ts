import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.ts';
import { RunningServer } from './running-server.ts';
import { ServerProcess } from './server-process.ts';

const START_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 100;

export interface SidecarOptions {
  readonly name: string;
  readonly masters: readonly string[];
  /** The tablet server beside it. */
  readonly tserver: { readonly rpc: string; readonly walDir: string };
  /** Without them it ships to what `env` says. */
  readonly brokers?: readonly string[];
  /** Its working folder; its log goes there. */
  readonly dir: string;
  /** How Spoor is started; this very one unless told otherwise. */
  readonly command?: readonly [string, ...string[]];
  /** More variables, or other values. */
  readonly env?: Readonly<Record<string, string>>;
  /** How its API is asked where that speaks TLS. */
  readonly httpsGet?: Get;
}

type Get = (url: string, signal: AbortSignal) => Promise<Pick<Response, 'ok' | 'text'>>;
const httpGet: Get = (url, signal) => fetch(url, { signal });

/** A sidecar as a process of its own, beside a tablet server of this machine. */
export class SidecarProcess extends RunningServer implements AsyncDisposable {
  /** Of its HTTP API; stays the same over restarts. */
  readonly url: string;
  readonly #get: Get;

  private constructor(process: ServerProcess, url: string, get: Get) {
    super(process);
    this.url = url;
    this.#get = get;
  }

  /** Resolves when its API answers; it may still be waiting for Kudu then. */
  static async start(options: SidecarOptions): Promise<SidecarProcess> {
    await mkdir(options.dir, { recursive: true });
    const listen = `127.0.0.1:${await freePort()}`;
    const url = `${options.httpsGet ? 'https' : 'http'}://${listen}`;
    const get = options.httpsGet ?? httpGet;
    const [command, ...args] = options.command ?? spoorCommand();
    const server = await ServerProcess.start({
      name: options.name,
      command,
      args: [...args, 'run'],
      cwd: options.dir, // so that no .env of the caller's folder is read
      env: {
        ...withoutSpoor(process.env),
        SPOOR_KUDU_MASTERS: options.masters.join(','),
        SPOOR_TSERVER: options.tserver.rpc,
        SPOOR_WAL_DIR: options.tserver.walDir,
        ...(options.brokers && { SPOOR_KAFKA_BROKERS: options.brokers.join(',') }),
        SPOOR_HTTP_LISTEN: listen,
        ...options.env,
      },
      logFile: join(options.dir, `${options.name.replaceAll(' ', '-')}.log`),
      isReady: async (signal) => (await get(`${url}/healthz`, signal)).ok,
      readyTimeoutMs: START_TIMEOUT_MS,
    });
    return new SidecarProcess(server, url, get);
  }

  /** Resolves when it is ready to work: Kudu, Kafka and the log are there. @throws {Error} with the reasons when not in time */
  async waitUntilReady(timeoutMs: number = START_TIMEOUT_MS): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const answer = await this.#get(`${this.url}/readyz`, AbortSignal.timeout(timeoutMs));
      const text = await answer.text();
      if (answer.ok) return;
      if (Date.now() > deadline) throw new Error(`${this.url} is not ready: ${text}`);
      await sleep(READY_POLL_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** How this very Spoor is started: built, or from its sources. */
export function spoorCommand(): readonly [string, ...string[]] {
  const main = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  if (!import.meta.url.endsWith('.ts')) return [process.execPath, main];
  // A URL, since a bare name would be looked for from the sidecar's working folder.
  return [process.execPath, '--import', import.meta.resolve('tsx'), main.replace(/\.js$/, '.ts')];
}

/** The settings are its own: nothing of the caller's environment gets in. */
function withoutSpoor(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('SPOOR_')));
}
