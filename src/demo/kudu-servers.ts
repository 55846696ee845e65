import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { KuduInstall } from './artifacts.ts';
import { accepts, freePort } from './ports.ts';
import { runCommand, type CommandResult } from './run-command.ts';
import { RunningServer } from './running-server.ts';
import { ServerProcess } from './server-process.ts';

/** Time for a first start on a busy two-core machine. */
const START_TIMEOUT_MS = 60_000;
const CLI_TIMEOUT_MS = 60_000;
const REGISTER_TIMEOUT_MS = 30_000;
/** Else Kudu asks DNS for the machine's full name, which a container may lack. */
const LOCAL_NAME = '--host_for_tests=127.0.0.1';

export interface KuduClusterOptions {
  readonly install: KuduInstall;
  /** Data and logs of every server go below it. */
  readonly dir: string;
  readonly tservers: number;
  readonly tserverFlags?: readonly string[];
  readonly masterFlags?: readonly string[];
  /** More variables for the servers. */
  readonly env?: Readonly<Record<string, string>>;
  /** More variables for the `kudu` program: as whom it asks. */
  readonly cliEnv?: Readonly<Record<string, string>>;
}

/** One stock master and some stock tablet servers on loopback. */
export class KuduCluster implements AsyncDisposable {
  readonly #options: KuduClusterOptions;
  readonly #master: ServerProcess;
  readonly #masterAddress: string;
  readonly #tservers: TabletServer[] = [];

  private constructor(options: KuduClusterOptions, master: ServerProcess, masterAddress: string) {
    this.#options = options;
    this.#master = master;
    this.#masterAddress = masterAddress;
  }

  /** Resolves when every tablet server is registered with the master. */
  static async start(options: KuduClusterOptions): Promise<KuduCluster> {
    const port = await freePort();
    const dir = join(options.dir, 'master');
    const master = await startServer(options, {
      name: 'master',
      program: 'kudu-master',
      dir,
      port,
      flags: [
        ...(await commonFlags(dir, port)),
        '--ipki_ca_key_size=1024',
        '--tsk_num_rsa_bits=1024',
        ...(options.masterFlags ?? []),
      ],
    });
    const cluster = new KuduCluster(options, master, `127.0.0.1:${port}`);
    try {
      const flags = options.tserverFlags ?? [];
      const starts = Array.from({ length: options.tservers }, (_, number) => cluster.#launch(number, flags));
      for (const result of await Promise.allSettled(starts)) {
        if (result.status === 'rejected') throw result.reason as Error;
        cluster.#tservers.push(result.value);
      }
      await cluster.waitForTabletServers(options.tservers);
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  get masters(): readonly string[] {
    return [this.#masterAddress];
  }

  get master(): ServerProcess {
    return this.#master;
  }

  get tservers(): readonly TabletServer[] {
    return this.#tservers;
  }

  /** Starts one more; ready to serve when it resolves, known to the master a moment later. */
  async addTabletServer(flags: readonly string[] = this.#options.tserverFlags ?? []): Promise<TabletServer> {
    const server = await this.#launch(this.#tservers.length, flags);
    this.#tservers.push(server);
    return server;
  }

  async #launch(number: number, flags: readonly string[]): Promise<TabletServer> {
    const port = await freePort();
    const dir = join(this.#options.dir, `tserver-${number}`);
    const process = await startServer(this.#options, {
      name: `tablet server ${number}`,
      program: 'kudu-tserver',
      dir,
      port,
      flags: [...(await commonFlags(dir, port)), `--tserver_master_addrs=${this.#masterAddress}`, ...flags],
    });
    return new TabletServer(process, `127.0.0.1:${port}`, dir);
  }

  /** Resolves when the master has `count` live tablet servers. */
  async waitForTabletServers(count: number): Promise<void> {
    const deadline = Date.now() + REGISTER_TIMEOUT_MS;
    for (;;) {
      const listed = await this.kuduCli(['tserver', 'list', this.#masterAddress, '--columns=uuid,state']);
      const seen = listed.stdout.split('\n').filter((line) => /\b[0-9a-f]{32}\b/.test(line)).length;
      if (listed.exitCode === 0 && seen >= count) return;
      if (Date.now() > deadline)
        throw new Error(`the master knows ${seen} of ${count} tablet servers: ${listed.output}`);
    }
  }

  /** Runs the `kudu` program. Does not reject for a non-zero exit. */
  async kuduCli(args: readonly string[]): Promise<CommandResult> {
    const { install, cliEnv } = this.#options;
    return runCommand(join(install.binDir, 'kudu'), [...args, LOCAL_NAME], {
      env: { ...install.env, ...cliEnv },
      signal: AbortSignal.timeout(CLI_TIMEOUT_MS),
    });
  }

  /** Tablet servers first, all at once, then the master. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#tservers.map((server) => server.kill()));
    await this.#master.kill();
    await rm(this.#options.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

export class TabletServer extends RunningServer {
  /** RPC `host:port`; stays the same over restarts. */
  readonly rpc: string;
  /** Its `--fs_wal_dir`, the folder that contains `wals/`. */
  readonly walDir: string;
  readonly dataDir: string;

  constructor(process: ServerProcess, rpc: string, dir: string) {
    super(process);
    this.rpc = rpc;
    this.walDir = join(dir, 'wal');
    this.dataDir = join(dir, 'data');
  }
}

async function startServer(
  options: KuduClusterOptions,
  server: { name: string; program: string; dir: string; port: number; flags: readonly string[] },
): Promise<ServerProcess> {
  await mkdir(join(server.dir, 'log'), { recursive: true });
  return ServerProcess.start({
    name: server.name,
    command: join(options.install.binDir, server.program),
    args: server.flags,
    env: { ...options.install.env, ...options.env },
    logFile: join(server.dir, 'log', 'output.log'),
    isReady: (signal) => accepts(server.port, signal),
    readyTimeoutMs: START_TIMEOUT_MS,
  });
}

/**
 * What makes servers small, quick to start and independent of the machine's clock daemon. Everything that decides how
 * the log is written and when Raft moves stays as Kudu ships it.
 */
async function commonFlags(dir: string, port: number): Promise<readonly string[]> {
  return [
    `--fs_wal_dir=${join(dir, 'wal')}`,
    `--fs_data_dirs=${join(dir, 'data')}`,
    `--log_dir=${join(dir, 'log')}`,
    '--logtostderr',
    `--rpc_bind_addresses=127.0.0.1:${port}`,
    LOCAL_NAME,
    '--webserver_interface=127.0.0.1',
    `--webserver_port=${await freePort()}`,
    '--unlock_unsafe_flags',
    '--unlock_experimental_flags',
    '--time_source=system_unsync', // containers seldom run NTP
    '--never_fsync', // a power cut is not among the tests
    '--enable_minidumps=false',
    '--block_cache_capacity_mb=32',
    // Key sizes decide how long a first start takes; nothing here is secret.
    '--ipki_server_key_size=1024',
    '--openssl_security_level_override=0',
  ];
}
