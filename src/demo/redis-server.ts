import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from './ports.ts';
import { RunningServer } from './running-server.ts';
import { ServerProcess } from './server-process.ts';

const START_TIMEOUT_MS = 20_000;
const ASK_TIMEOUT_MS = 2_000;

export interface RedisServerOptions {
  /** Data and log go into it. */
  readonly dir: string;
  /** More settings, by the names in redis.conf; they win over ours. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** How it is asked whether it is there, where it does not talk to everybody. */
  readonly client?: RedisClientOptions;
  /** Files in PEM: it speaks TLS alone. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
  /** It is a sentinel: the settings of its masters are in this file. */
  readonly sentinelFile?: string;
}

export interface RedisClientOptions {
  readonly username?: string;
  readonly password?: string;
  /** PEM of a CA: TLS is spoken. */
  readonly ca?: string;
}

/** A Redis on loopback that keeps what it is told in an append-only file. It is the machine's own `redis-server`. */
export class RedisServer extends RunningServer implements AsyncDisposable {
  readonly port: number;
  readonly #options: RedisServerOptions;

  private constructor(options: RedisServerOptions, port: number, process: ServerProcess) {
    super(process);
    this.#options = options;
    this.port = port;
  }

  /** Resolves when it answers, with all that it had loaded. */
  static async start(options: RedisServerOptions): Promise<RedisServer> {
    const port = await freePort();
    const { dir, sentinelFile, tls } = options;
    await mkdir(dir, { recursive: true });
    const own = {
      bind: '127.0.0.1',
      ...(tls ? tlsSettings(port, tls) : { port }),
      ...(sentinelFile === undefined && {
        dir,
        appendonly: 'yes',
        appendfsync: 'everysec',
        save: '',
        'repl-diskless-sync-delay': 0,
      }),
      ...options.settings,
    };
    const args = Object.entries(own).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const process = await ServerProcess.start({
      name: sentinelFile === undefined ? 'Redis' : 'Redis Sentinel',
      command: 'redis-server',
      args: sentinelFile === undefined ? args : [sentinelFile, '--sentinel', ...args],
      env: { ...globalThis.process.env },
      logFile: join(dir, 'output.log'),
      isReady: () => canServe(port, options.client),
      readyTimeoutMs: START_TIMEOUT_MS,
    });
    return new RedisServer(options, port, process);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Runs `work` with a client that is closed afterwards. */
  async withClient<T>(work: (client: Redis) => Promise<T>): Promise<T> {
    return withClient(this.port, this.#options.client, work);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.#options.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

function tlsSettings(
  port: number,
  { cert, key, ca }: NonNullable<RedisServerOptions['tls']>,
): Record<string, string | number> {
  const files = { 'tls-cert-file': cert, 'tls-key-file': key, 'tls-ca-cert-file': ca };
  return { port: 0, 'tls-port': port, ...files, 'tls-auth-clients': 'no', 'tls-replication': 'yes' };
}

/** While it loads its data it answers nothing but that it does. */
async function canServe(port: number, options: RedisClientOptions | undefined): Promise<boolean> {
  await withClient(port, options, (client) => client.ping());
  return true;
}

async function withClient<T>(
  port: number,
  options: RedisClientOptions | undefined,
  work: (client: Redis) => Promise<T>,
): Promise<T> {
  const client = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    retryStrategy: null,
    connectTimeout: ASK_TIMEOUT_MS,
    enableReadyCheck: false,
    disableClientInfo: true,
    protocol: 2,
    ...(options?.username !== undefined && { username: options.username }),
    ...(options?.password !== undefined && { password: options.password }),
    ...(options?.ca !== undefined && { tls: { ca: options.ca, host: '127.0.0.1' } }),
  });
  client.on('error', () => undefined); // connect() rejects
  try {
    await client.connect();
    return await work(client);
  } finally {
    client.disconnect();
  }
}
