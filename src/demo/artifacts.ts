import { chmod, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { withFileLock } from './file-lock.ts';
import { runCommand } from './run-command.ts';
import type { SystemTools } from './system-packages.ts';
import { DemoError } from './user-error.ts';

const KUDU_VERSION = '1.18.1';
const KAFKA_VERSION = '4.3.1';
const LOG4J_VERSION = '2.25.4';
const DEPENDENCY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';

/** Maven's name of the processor, for those that Kudu's build is published for. */
const KUDU_CLASSIFIER: Readonly<Record<string, string>> = { x64: 'linux-x86_64' };

interface MavenArtifact {
  readonly groupId: string;
  readonly artifactId: string;
  readonly version: string;
  readonly classifier?: string;
  /** `groupId:artifactId` of dependencies to leave out. */
  readonly exclusions?: readonly string[];
}

export interface ArtifactOptions {
  readonly tools: SystemTools;
  /** Holds one folder a product and version; made when missing. */
  readonly cacheDir: string;
  readonly progress: (line: string) => void;
}

/** Unpacked Kudu: programs in `bin`, and the environment that they need. */
export interface KuduInstall {
  readonly binDir: string;
  readonly env: NodeJS.ProcessEnv;
}

export interface KafkaInstall {
  readonly java: string;
  /** Every jar of the broker and its tools. */
  readonly classPath: string;
}

/** `$XDG_CACHE_HOME/spoor`, else `~/.cache/spoor`. */
export function defaultCacheDir(): string {
  const base = process.env['XDG_CACHE_HOME'];
  return join(base !== undefined && base !== '' ? base : join(homedir(), '.cache'), 'spoor');
}

/** Apache's own build of Kudu for small test clusters, as published to Maven Central. */
export async function fetchKudu(options: ArtifactOptions): Promise<KuduInstall> {
  const classifier = process.platform === 'linux' ? KUDU_CLASSIFIER[process.arch] : undefined;
  if (classifier === undefined) {
    throw new DemoError(
      `Kudu publishes test binaries for Linux on x86-64 only, this is ${process.platform} ${process.arch}`,
    );
  }
  const artifact = { groupId: 'org.apache.kudu', artifactId: 'kudu-binary', version: KUDU_VERSION, classifier };
  const dir = await cached(options, `kudu-${KUDU_VERSION}-${classifier}`, `Kudu ${KUDU_VERSION}`, async (into) => {
    await runMaven(options, [artifact], `Kudu ${KUDU_VERSION}`, into, 'unpack-dependencies');
    const binDir = join(into, `kudu-binary-${KUDU_VERSION}-${classifier}`, 'bin');
    for (const name of await readdir(binDir)) await chmod(join(binDir, name), 0o755); // a jar keeps no modes
  });
  const root = join(dir, `kudu-binary-${KUDU_VERSION}-${classifier}`);
  return {
    binDir: join(root, 'bin'),
    // The libraries find their siblings only this way: some of them carry no run path.
    env: { ...process.env, LD_LIBRARY_PATH: join(root, 'lib'), SASL_PATH: options.tools.saslDir },
  };
}

/** Kafka's broker and tools, and a logging back end for them. */
export async function fetchKafka(options: ArtifactOptions): Promise<KafkaInstall> {
  const kafka = { groupId: 'org.apache.kafka', version: KAFKA_VERSION };
  const artifacts: MavenArtifact[] = [
    { ...kafka, artifactId: 'kafka_2.13' },
    // Kafka Connect comes with the tools and is a third of their weight.
    { ...kafka, artifactId: 'kafka-tools', exclusions: ['org.apache.kafka:connect-runtime'] },
    { groupId: 'org.apache.logging.log4j', artifactId: 'log4j-slf4j-impl', version: LOG4J_VERSION },
  ];
  const title = `Kafka ${KAFKA_VERSION}`;
  const dir = await cached(options, `kafka-${KAFKA_VERSION}`, title, (into) =>
    runMaven(options, artifacts, title, into, 'copy-dependencies'),
  );
  return { java: join(options.tools.javaHome, 'bin', 'java'), classPath: join(dir, '*') };
}

/**
 * The folder of that name in the cache, filled by `fill` when it is not there. It appears in one step (rename), so a
 * killed download leaves nothing that looks complete.
 */
async function cached(
  options: ArtifactOptions,
  folder: string,
  title: string,
  fill: (into: string) => Promise<void>,
): Promise<string> {
  const dir = join(options.cacheDir, folder);
  if (await exists(dir)) return dir;
  await mkdir(options.cacheDir, { recursive: true });
  // One download at a time: Maven's local repository does not stand two writers.
  await withFileLock(join(options.cacheDir, '.lock'), async () => {
    if (await exists(dir)) return;
    options.progress(`${title}: fetching through Maven (once)`);
    const into = `${dir}.partial`;
    await rm(into, { recursive: true, force: true });
    await mkdir(into, { recursive: true });
    await fill(into);
    await rename(into, dir);
  });
  return dir;
}

async function runMaven(
  options: ArtifactOptions,
  artifacts: readonly MavenArtifact[],
  title: string,
  into: string,
  goal: 'copy-dependencies' | 'unpack-dependencies',
): Promise<void> {
  const project = `${into}-pom`; // Maven also leaves marks here of what it unpacked
  await rm(project, { recursive: true, force: true });
  await mkdir(project);
  const pom = join(project, 'pom.xml');
  await writeFile(pom, pomOf(artifacts));
  let fetched = 0;
  const { exitCode, output } = await runCommand(
    'mvn',
    ['-B', '-f', pom, `${DEPENDENCY_PLUGIN}:${goal}`, '-DincludeScope=runtime', `-DoutputDirectory=${into}`],
    {
      env: { ...process.env, JAVA_HOME: options.tools.javaHome },
      onLine: (line) => {
        const file = /Downloaded from .*\/([^/ ]+\.jar) \(([^)]*)\)/.exec(line);
        if (file !== null) options.progress(`${title}: ${++fetched} files, ${file[1]!} (${file[2]!})`);
      },
    },
  );
  await rm(project, { recursive: true, force: true });
  if (exitCode !== 0) {
    const errors = output.split('\n').filter((line) => line.includes('ERROR'));
    throw new DemoError(`Maven could not fetch ${title}:\n${errors.slice(0, 5).join('\n') || output}`);
  }
}

function pomOf(artifacts: readonly MavenArtifact[]): string {
  const dependencies = artifacts.map(({ groupId, artifactId, version, classifier, exclusions = [] }) => {
    const excluded = exclusions.map((name) => {
      const [group, artifact] = name.split(':');
      return `<exclusion><groupId>${group!}</groupId><artifactId>${artifact!}</artifactId></exclusion>`;
    });
    return [
      `<dependency><groupId>${groupId}</groupId><artifactId>${artifactId}</artifactId><version>${version}</version>`,
      classifier === undefined ? '' : `<classifier>${classifier}</classifier>`,
      excluded.length === 0 ? '' : `<exclusions>${excluded.join('')}</exclusions>`,
      '</dependency>',
    ].join('');
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>spoor</groupId><artifactId>fetch</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
${dependencies.join('\n')}
</dependencies></project>
`;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
