import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KerberosKdc } from '../../src/demo/kerberos-kdc.ts';
import { ENCRYPTED, kerberosSecurity, type KuduSecurity } from '../../src/demo/kudu-security.ts';
import { runCommand } from '../../src/demo/run-command.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { Deadline } from '../../src/kudu/rpc/deadline.ts';
import { Messenger } from '../../src/kudu/rpc/messenger.ts';
import { SecurityContext } from '../../src/kudu/security/security-context.ts';
import { MasterService } from '../../src/kudu/services.ts';

/** TLS is required; whoever comes from this machine is taken at his word. */
export const TLS_AND_PLAIN: KuduSecurity = {
  masterFlags: ENCRYPTED,
  tserverFlags: ENCRYPTED,
  serverEnv: {},
  cliEnv: {},
  sidecarEnv: { SPOOR_KUDU_ENCRYPTION: 'required', SPOOR_KUDU_AUTH: 'plain' },
  client: { encryption: 'required', auth: 'plain' },
};

/** Authentication tokens of 20 s, authorization tokens of 10 s. */
export const SHORT_TOKENS = ['--authn_token_validity_seconds=20', '--authz_token_validity_seconds=10'];

/** A realm, and a cluster in it whose tablet servers look at privileges; this process may use its Java client there too. */
export class KerberosRealm implements AsyncDisposable {
  readonly kdc: KerberosKdc;
  readonly security: KuduSecurity;
  readonly #dir: WorkDir;
  readonly #before: Readonly<Record<string, string | undefined>>;

  private constructor(kdc: KerberosKdc, security: KuduSecurity, dir: WorkDir, env: Readonly<Record<string, string>>) {
    [this.kdc, this.security, this.#dir] = [kdc, security, dir];
    this.#before = Object.fromEntries(Object.keys(env).map((name) => [name, process.env[name]]));
    Object.assign(process.env, env);
  }

  static async start(options: NonNullable<Parameters<typeof kerberosSecurity>[1]> = {}): Promise<KerberosRealm> {
    const dir = await WorkDir.create('spoor-test-kdc');
    const kdc = await KerberosKdc.start({ dir: dir.path });
    try {
      const security = await kerberosSecurity(kdc, options);
      const env = { ...kdc.env, ...(await javaEnv(kdc, dir.path)) };
      return new KerberosRealm(kdc, security, dir, env);
    } catch (error) {
      await kdc[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [name, value] of Object.entries(this.#before))
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    await this.kdc[Symbol.asyncDispose]();
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** Kudu's Java client takes its tickets from a cache in a file, which somebody fills. */
async function javaEnv(kdc: KerberosKdc, dir: string): Promise<Readonly<Record<string, string>>> {
  const keytab = await kdc.addPrincipal('writer');
  const cache = `FILE:${join(dir, 'writer.cache')}`;
  const env = { ...process.env, ...kdc.env };
  const { exitCode, output } = await runCommand('kinit', ['-c', cache, '-k', '-t', keytab, 'writer'], { env });
  if (exitCode !== 0) throw new Error(`kinit failed (Debian: krb5-user):\n${output}`);
  return { KRB5CCNAME: cache, JAVA_TOOL_OPTIONS: `-Djava.security.krb5.conf=${kdc.env['KRB5_CONFIG']!}` };
}

/** Keys that servers know, and the tokens that they sign. */
export class JwtIssuer {
  readonly #key: KeyObject;
  readonly flags: readonly string[];
  readonly #dir: string;

  private constructor(key: KeyObject, jwksFile: string, dir: string) {
    this.#key = key;
    this.#dir = dir;
    this.flags = ['--enable_jwt_token_auth', `--jwks_file_path=${jwksFile}`];
  }

  static async create(dir: string): Promise<JwtIssuer> {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwksFile = join(dir, 'jwks.json');
    const jwk = { ...publicKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: 'one' };
    await writeFile(jwksFile, JSON.stringify({ keys: [jwk] }));
    return new JwtIssuer(privateKey, jwksFile, dir);
  }

  sign(user: string, lifeS: number): string {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const now = Math.floor(Date.now() / 1000);
    const text = `${part({ alg: 'RS256', typ: 'JWT', kid: 'one' })}.${part({ sub: user, iat: now, exp: now + lifeS })}`;
    return `${text}.${createSign('RSA-SHA256').update(text).sign(this.#key).toString('base64url')}`;
  }

  /** Writes a token as whoever renews one does. @returns the path */
  async write(user: string, lifeS: number): Promise<string> {
    const file = join(this.#dir, `${user}.jwt`);
    await writeFile(file, `${this.sign(user, lifeS)}\n`);
    return file;
  }
}

/** The CA of a cluster, PEM, as its masters name it to whoever asks. */
export async function caOf(master: string): Promise<string> {
  using messenger = new Messenger(new SecurityContext({ auth: 'plain' }));
  const deadline = Deadline.from({}, 10_000);
  await messenger.call(master, MasterService.connectToMaster, {}, { deadline });
  const { message } = await messenger.call(master, MasterService.connectToMaster, {}, { deadline });
  messenger.security.adopt(message);
  return messenger.security.trust.caPems.join('\n');
}
