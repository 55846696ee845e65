import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { accepts, freePort } from './ports.ts';
import { runCommand } from './run-command.ts';
import { ServerProcess } from './server-process.ts';
import { findKdcProgram } from './system-packages.ts';

const REALM = 'KUDU.TEST';
const START_TIMEOUT_MS = 20_000;

export interface KerberosKdcOptions {
  /** Its database, configuration and keytabs go there. */
  readonly dir: string;
  /** Life of every ticket, in seconds. Default: a day. */
  readonly ticketLifeS?: number;
}

/**
 * A stock MIT KDC on loopback, with a realm of its own: nothing of the machine's Kerberos is touched, and who is to speak
 * to it gets {@link env}.
 */
export class KerberosKdc implements AsyncDisposable {
  readonly realm = REALM;
  readonly #dir: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #server: ServerProcess;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(dir: string, env: Readonly<Record<string, string>>, server: ServerProcess) {
    this.#dir = dir;
    this.#env = env;
    this.#server = server;
  }

  static async start({ dir, ticketLifeS = 86_400 }: KerberosKdcOptions): Promise<KerberosKdc> {
    await mkdir(dir, { recursive: true });
    const port = await freePort();
    const env = { KRB5_CONFIG: join(dir, 'krb5.conf'), KRB5_KDC_PROFILE: join(dir, 'kdc.conf') };
    await writeFile(env.KRB5_CONFIG, krb5Conf(port, ticketLifeS));
    await writeFile(env.KRB5_KDC_PROFILE, kdcConf(dir, port, ticketLifeS));
    const password = randomBytes(12).toString('hex'); // of the database; nobody asks for it again
    await run('kdb5_util', ['create', '-s', '-P', password, '-r', REALM], env);
    const server = await ServerProcess.start({
      name: 'KDC',
      command: await program('krb5kdc'),
      args: ['-n'],
      env: { ...process.env, ...env },
      logFile: join(dir, 'kdc.log'),
      isReady: (signal) => accepts(port, signal),
      readyTimeoutMs: START_TIMEOUT_MS,
    });
    return new KerberosKdc(dir, env, server);
  }

  /** What a process needs to use this realm. */
  get env(): Readonly<Record<string, string>> {
    return { KRB5_CONFIG: this.#env['KRB5_CONFIG']! };
  }

  get process(): ServerProcess {
    return this.#server;
  }

  /** Says each request that was answered, `AS_REQ` and `TGS_REQ`. */
  get logFile(): string {
    return this.#server.logFile;
  }

  /**
   * Makes a principal with a random key.
   * @param options.ticketLifeS of its tickets, where that is to be shorter than others'
   * @param options.into a keytab that there is already
   * @returns its keytab, readable by its owner alone
   */
  async addPrincipal(
    name: string,
    options: { readonly ticketLifeS?: number; readonly into?: string } = {},
  ): Promise<string> {
    const keytab = options.into ?? join(this.#dir, `${name.replaceAll('/', '_')}.keytab`);
    const life = options.ticketLifeS === undefined ? '' : `-maxlife ${options.ticketLifeS}sec `;
    const made = this.#turn.then(async () => {
      await this.#admin(`addprinc -randkey ${life}${name}`);
      await this.#admin(`ktadd -k ${keytab} ${name}`);
      await chmod(keytab, 0o600); // servers do not start with one that others can read
    });
    this.#turn = made.catch(() => undefined); // the database takes one at a time
    await made;
    return keytab;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
  }

  async #admin(query: string): Promise<void> {
    await run('kadmin.local', ['-r', REALM, '-q', query], this.#env);
  }
}

async function run(name: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
  const { exitCode, output } = await runCommand(await program(name), args, { env: { ...process.env, ...env } });
  if (exitCode !== 0) throw new Error(`${name} ${args.slice(0, 1).join(' ')} failed:\n${output}`);
}

/** @throws {Error} where it is not installed; see `ensureSystemTools` */
async function program(name: string): Promise<string> {
  const path = await findKdcProgram(name);
  if (path === null) throw new Error(`${name} is not installed (Debian: krb5-kdc, krb5-admin-server)`);
  return path;
}

/** Names and addresses are taken as they are: a container has no DNS that knows it. */
const krb5Conf = (port: number, lifeS: number): string => `[libdefaults]
  default_realm = ${REALM}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  ignore_acceptor_hostname = true
  udp_preference_limit = 1
  ticket_lifetime = ${lifeS}s
  renew_lifetime = 7d
[realms]
  ${REALM} = {
    kdc = 127.0.0.1:${port}
  }
`;

const kdcConf = (dir: string, port: number, lifeS: number): string => `[kdcdefaults]
  kdc_listen = 127.0.0.1:${port}
  kdc_tcp_listen = 127.0.0.1:${port}
[realms]
  ${REALM} = {
    database_name = ${join(dir, 'principal')}
    key_stash_file = ${join(dir, '.k5')}
    acl_file = ${join(dir, 'kadm5.acl')}
    max_life = ${lifeS}s
    max_renewable_life = 7d
    supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal
  }
[logging]
  kdc = STDERR
`;
