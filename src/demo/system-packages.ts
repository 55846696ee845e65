import { access, readdir } from 'node:fs/promises';
import { constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { DemoError } from './user-error.ts';
import { runCommand } from './run-command.ts';

/** Kafka 4 needs it; Kudu's Java client is content with less. */
const MIN_JAVA = 17;

/** Where distributions keep the plug-ins of Cyrus SASL. Kudu's own build lacks PLAIN, without which nobody can log in. */
const SASL_DIRS = [
  '/usr/lib/x86_64-linux-gnu/sasl2',
  '/usr/lib/aarch64-linux-gnu/sasl2',
  '/usr/lib64/sasl2',
  '/usr/lib/sasl2',
];

/** Libraries that Kudu's archive leaves to the system, and the Debian package of each. */
const KUDU_LIBRARIES: Readonly<Record<string, string>> = {
  'libkeyutils.so.1': 'libkeyutils1',
  'libcom_err.so.2': 'libcom-err2',
  'libcrypt.so.1': 'libcrypt1',
  'libstdc++.so.6': 'libstdc++6',
};

const KERBEROS_LIBRARIES: Readonly<Record<string, string>> = { 'libgssapi_krb5.so.2': 'libgssapi-krb5-2' };

/** By Debian package: what a KDC is made of. Distributions keep it where only root's path leads. */
const KERBEROS_PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  'krb5-kdc': ['krb5kdc'],
  'krb5-admin-server': ['kadmin.local'],
  'krb5-user': ['kinit'],
};
/** A Redis that was installed so starts as a service of the system as well, where there is such; ours is another one. */
const REDIS_PACKAGE = 'redis-server';
/** Debian's names of both the packages and the programs. */
const CHROMIUM = 'chromium';
const SHELLS = ['zsh', 'fish'];
const SYSTEM_PROGRAMS = ['/usr/sbin', '/usr/local/sbin', '/sbin', '/usr/bin'];

export interface SystemTools {
  /** Folder of a Java of at least version 17: has `bin/java`, and `bin/javac` where a compiler was asked for. */
  readonly javaHome: string;
  /** Folder with SASL's PLAIN plug-in. */
  readonly saslDir: string;
}

/**
 * Finds what servers need from the operating system; installs what is missing when it may (root on Debian or Ubuntu).
 * @throws {DemoError} with the exact command to run, when it may not
 */
export async function ensureSystemTools(options: {
  /** The Java compiler too (the tests' own Java programs). */
  compiler: boolean;
  /** A Kerberos KDC, its tools, and the library by which clients speak to it. */
  kerberos?: boolean;
  redis?: boolean;
  /** A browser, for the tests of the status page. */
  chromium?: boolean;
  /** The shells besides bash that `spoor completion` speaks to, for its tests. */
  shells?: boolean;
  progress: (line: string) => void;
}): Promise<SystemTools> {
  const before = await look(options);
  if (before.missing.length > 0) {
    await installPackages(before.missing, options.progress);
    const after = await look(options);
    if (after.missing.length > 0) throw new DemoError(`still missing after installation: ${after.missing.join(', ')}`);
    return { javaHome: after.javaHome!, saslDir: after.saslDir! };
  }
  return { javaHome: before.javaHome!, saslDir: before.saslDir! };
}

/** Installs Debian packages when it may. @throws {DemoError} with the command to run when it may not */
export async function installPackages(missing: readonly string[], progress: (line: string) => void): Promise<void> {
  const aptGet = await findProgram('apt-get');
  if (aptGet === null) {
    throw new DemoError(
      `needed and not found: ${missing.join(', ')} (install them with your system's package manager)`,
    );
  }
  const mayInstall = process.getuid?.() === 0;
  const run = async (args: readonly string[]): Promise<void> => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const { exitCode, output } = await runCommand(aptGet, args, { env });
    if (exitCode !== 0) throw new DemoError(`apt-get ${args.join(' ')} failed:\n${output}`);
  };
  if (mayInstall) {
    progress(`installing ${missing.join(', ')}`);
    await run(['update', '-q']);
  }
  const packages: string[] = [];
  for (const name of missing) {
    if (name === 'java' || name === 'java-compiler') packages.push(await javaPackage(name === 'java' ? 'jre' : 'jdk'));
    else packages.push(name);
  }
  if (!mayInstall) {
    throw new DemoError(
      `system packages are missing; please run:\n  sudo apt-get update && sudo apt-get install -y ${packages.join(' ')}`,
    );
  }
  await run(['install', '-y', '-q', '--no-install-recommends', ...packages]);
}

interface Found {
  readonly javaHome: string | null;
  readonly saslDir: string | null;
  /** Debian packages; `java` stands for whichever version the release has. */
  readonly missing: readonly string[];
}

async function look({
  compiler,
  kerberos = false,
  redis = false,
  chromium = false,
  shells = false,
}: {
  compiler: boolean;
  kerberos?: boolean;
  redis?: boolean;
  chromium?: boolean;
  shells?: boolean;
}): Promise<Found> {
  const [javaHome, saslDir, maven, setpriv, libraries] = await Promise.all([
    findJava(compiler),
    findSaslDir(),
    findProgram('mvn'),
    findProgram('setpriv'),
    missingLibraries(kerberos ? { ...KUDU_LIBRARIES, ...KERBEROS_LIBRARIES } : KUDU_LIBRARIES),
  ]);
  const missing = [...libraries];
  if (kerberos)
    for (const [name, programs] of Object.entries(KERBEROS_PROGRAMS))
      for (const each of programs) if ((await findKdcProgram(each)) === null) missing.push(name);
  if (javaHome === null) missing.push(compiler ? 'java-compiler' : 'java');
  if (saslDir === null) missing.push('libsasl2-modules');
  if (maven === null) missing.push('maven');
  if (setpriv === null) missing.push('util-linux');
  if (redis && (await findProgram('redis-server')) === null) missing.push(REDIS_PACKAGE);
  if (chromium && (await findProgram(CHROMIUM)) === null) missing.push(CHROMIUM);
  if (shells) for (const shell of SHELLS) if ((await findProgram(shell)) === null) missing.push(shell);
  return { javaHome, saslDir, missing };
}

/** The lowest Java that the release carries and that is new enough. */
async function javaPackage(kind: 'jre' | 'jdk'): Promise<string> {
  for (const version of [MIN_JAVA, 21, 25]) {
    const name = `openjdk-${version}-${kind}-headless`;
    const { exitCode, stdout } = await runCommand('apt-cache', ['policy', name]);
    if (exitCode === 0 && /Candidate: (?!\(none\))/.test(stdout)) return name;
  }
  return `default-${kind}-headless`;
}

async function findJava(compiler: boolean): Promise<string | null> {
  const homes: string[] = [];
  if (process.env['JAVA_HOME']) homes.push(process.env['JAVA_HOME']);
  const jvms = await readdir('/usr/lib/jvm').catch(() => []);
  homes.push(...jvms.sort().map((name) => join('/usr/lib/jvm', name)));
  const onPath = await findProgram('java');
  if (onPath !== null) homes.push(join(onPath, '..', '..'));
  for (const home of homes) {
    const java = join(home, 'bin', 'java');
    if (!(await isExecutable(java))) continue;
    if (compiler && !(await isExecutable(join(home, 'bin', 'javac')))) continue;
    const { exitCode, output } = await runCommand(java, ['-version']);
    const major = /version "(\d+)/.exec(output)?.[1];
    if (exitCode === 0 && major !== undefined && Number(major) >= MIN_JAVA) return home;
  }
  return null;
}

async function findSaslDir(): Promise<string | null> {
  for (const dir of SASL_DIRS) {
    const files = await readdir(dir).catch(() => []);
    if (files.some((file) => file.startsWith('libplain.so'))) return dir;
  }
  return null;
}

async function missingLibraries(wanted: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const { exitCode, stdout } = await runCommand('/sbin/ldconfig', ['-p']).catch(() => ({ exitCode: 1, stdout: '' }));
  if (exitCode !== 0) return []; // another libc: let the loader say what it lacks
  return Object.entries(wanted)
    .filter(([library]) => !stdout.includes(library))
    .map(([, name]) => name);
}

/** Where the browser is, or null where it is not installed. */
export function findChromium(): Promise<string | null> {
  return findProgram(CHROMIUM);
}

async function findProgram(name: string): Promise<string | null> {
  for (const dir of (process.env['PATH'] ?? '').split(delimiter)) {
    if (dir !== '' && (await isExecutable(join(dir, name)))) return join(dir, name);
  }
  return null;
}

/** Where a program of the KDC is, or null where it is not installed. */
export async function findKdcProgram(name: string): Promise<string | null> {
  for (const dir of SYSTEM_PROGRAMS) if (await isExecutable(join(dir, name))) return join(dir, name);
  return null;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
