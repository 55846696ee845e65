import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withFileLock } from '../../src/demo/file-lock.ts';
import { runCommand } from '../../src/demo/run-command.ts';
import { artifactOptions } from './cluster.ts';
import { JavaProcess, type JavaCall } from './java-process.ts';

const MODULE_DIR = fileURLToPath(new URL('../java', import.meta.url));
const SOURCE_DIR = join(MODULE_DIR, 'src/main/java/spoor/tools');
const TARGET_DIR = join(MODULE_DIR, 'target');

export interface MixedCounts {
  /** Row operations answered by Kudu. */
  readonly rows: number;
  /** Those that took effect: the number of records that Spoor owes. */
  readonly applied: number;
  readonly ignored: number;
  readonly rejected: number;
  readonly rejectedBy: Readonly<Record<string, number>>;
}

/**
 * Runs a tool of test/java, which speaks to Kudu through its own Java client, and answers the lines it prints.
 * `arguments_` are its `--name value` pairs; `masters` is one of them. An aborted `signal` ends it.
 * @throws {Error} with what the tool says when it fails
 */
export async function javaTool(
  tool: 'create-table' | 'write-mixed' | 'write-types' | 'write-transaction' | 'dump',
  arguments_: Readonly<Record<string, string | number | readonly string[]>>,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const chunks: Buffer[] = [];
  const call = await callJava(tool, arguments_, (bytes) => chunks.push(bytes));
  const end = (): void => void call.end();
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted === true) end();
  try {
    await call.done;
  } finally {
    signal?.removeEventListener('abort', end);
  }
  return Buffer.concat(chunks)
    .toString()
    .split('\n')
    .filter((line) => line !== '');
}

/** {@link javaTool} `write-mixed`: random operations of all eight kinds; see WriteMixed.java for the arguments. */
export async function writeMixed(
  arguments_: Readonly<Record<string, string | number | readonly string[]>>,
  signal?: AbortSignal,
): Promise<MixedCounts> {
  const [line] = await javaTool('write-mixed', arguments_, signal);
  return JSON.parse(line!) as MixedCounts;
}

/** Begins a tool whose output comes bit by bit. */
export async function callJava(
  tool: string,
  arguments_: Readonly<Record<string, string | number | readonly string[]>>,
  onOutput: (bytes: Buffer) => void,
): Promise<JavaCall> {
  running ??= startJava();
  return (await running).call(tool, arguments_, onOutput);
}

let running: Promise<JavaProcess> | null = null;

/** Compiles test/java unless that was done with the same sources, and starts it. One is enough for all that a test asks. */
async function startJava(): Promise<JavaProcess> {
  const java = await buildJavaTools();
  const classPath = `${join(TARGET_DIR, 'classes')}:${join(TARGET_DIR, 'dependency', '*')}`;
  const options = [
    '-Xmx768m',
    '-XX:+ExitOnOutOfMemoryError',
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    '-cp',
    classPath,
  ];
  return new JavaProcess(java, [...options, 'spoor.tools.Main']);
}

let building: Promise<string> | null = null;

/** Compiles the module unless that was done with the same sources; answers the path of `java`. */
export async function buildJavaTools(): Promise<string> {
  building ??= compile();
  return building;
}

async function compile(): Promise<string> {
  const { tools, cacheDir, progress } = await artifactOptions();
  const java = join(tools.javaHome, 'bin', 'java');
  const stampFile = join(TARGET_DIR, 'sources.sha256');
  const hash = createHash('sha256').update(await readFile(join(MODULE_DIR, 'pom.xml')));
  for (const name of (await readdir(SOURCE_DIR)).sort()) hash.update(await readFile(join(SOURCE_DIR, name)));
  const stamp = hash.digest('hex');
  const isBuilt = async (): Promise<boolean> => (await readFile(stampFile, 'utf8').catch(() => '')) === stamp;
  if (await isBuilt()) return java;
  await mkdir(cacheDir, { recursive: true });
  await withFileLock(join(cacheDir, '.lock'), async () => {
    if (await isBuilt()) return;
    progress('building the Java tools');
    const pom = join(MODULE_DIR, 'pom.xml');
    const env = { ...process.env, JAVA_HOME: tools.javaHome };
    const { exitCode, output } = await runCommand('mvn', ['-B', '-ntp', '-q', '-f', pom, 'clean', 'compile'], { env });
    if (exitCode !== 0) throw new Error(`the Java tools do not build:\n${output}`);
    await writeFile(stampFile, stamp);
  });
  return java;
}
