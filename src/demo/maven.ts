import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withFileLock } from './file-lock.ts';
import { runCommand } from './run-command.ts';
import type { SystemTools } from './system-packages.ts';
import { DemoError } from './user-error.ts';

const DEPENDENCY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';
/** Later ones read an artifact's description first, and with that its parent's, which is not always published. */
const ARCHIVE_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:2.10';

export interface ArtifactOptions {
  readonly tools: SystemTools;
  /** Holds one folder a product and version; made when missing. */
  readonly cacheDir: string;
  readonly progress: (line: string) => void;
}

export interface MavenArtifact {
  readonly groupId: string;
  readonly artifactId: string;
  readonly version: string;
  readonly classifier?: string;
  /** `jar` unless told otherwise. */
  readonly type?: string;
  /** `groupId:artifactId` of dependencies to leave out; either may be `*`. */
  readonly exclusions?: readonly string[];
}

/**
 * The folder of that name in the cache, filled by `fill` when it is not there. It appears in one step (rename), so a
 * killed download leaves nothing that looks complete.
 */
export async function cached(
  options: ArtifactOptions,
  folder: string,
  title: string,
  fill: (into: string) => Promise<void>,
  // One download at a time: Maven's local repository does not stand two writers.
  lock = '.lock',
): Promise<string> {
  const dir = join(options.cacheDir, folder);
  if (await exists(dir)) return dir;
  await mkdir(options.cacheDir, { recursive: true });
  await withFileLock(join(options.cacheDir, lock), async () => {
    if (await exists(dir)) return;
    options.progress(`${title}: fetching (once)`);
    const into = `${dir}.partial`;
    await rm(into, { recursive: true, force: true });
    await mkdir(into, { recursive: true });
    await fill(into);
    await rename(into, dir);
  });
  return dir;
}

/**
 * Lays artifacts and all that they need at run time into a folder, as files or unpacked.
 * @throws {DemoError} with what Maven says
 */
export async function fetchWithDependencies(
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
  await runMaven(options, title, [
    '-f',
    pom,
    `${DEPENDENCY_PLUGIN}:${goal}`,
    '-DincludeScope=runtime',
    `-DoutputDirectory=${into}`,
  ]);
  await rm(project, { recursive: true, force: true });
}

/**
 * Unpacks one archive into a folder, whatever it says it depends on.
 * @throws {DemoError} with what Maven says
 */
export async function fetchAlone(
  options: ArtifactOptions,
  artifact: MavenArtifact,
  title: string,
  into: string,
): Promise<void> {
  const { groupId, artifactId, version, type = 'jar', classifier } = artifact;
  const name = [groupId, artifactId, version, type, ...(classifier === undefined ? [] : [classifier])].join(':');
  const marks = `-DmarkersDirectory=${into}-marks`;
  await runMaven(options, title, [
    `${ARCHIVE_PLUGIN}:unpack`,
    `-Dartifact=${name}`,
    `-DoutputDirectory=${into}`,
    marks,
  ]);
  await rm(`${into}-marks`, { recursive: true, force: true });
}

async function runMaven(options: ArtifactOptions, title: string, args: readonly string[]): Promise<void> {
  let fetched = 0;
  const { exitCode, output } = await runCommand('mvn', ['-B', ...args], {
    env: { ...process.env, JAVA_HOME: options.tools.javaHome },
    onLine: (line) => {
      const file = /Downloaded from .*\/([^/ ]+\.(?:jar|gz)) \(([^)]*)\)/.exec(line);
      if (file !== null) options.progress(`${title}: ${++fetched} files, ${file[1]!} (${file[2]!})`);
    },
  });
  if (exitCode !== 0) {
    const errors = output.split('\n').filter((line) => line.includes('ERROR'));
    throw new DemoError(`Maven could not fetch ${title}:\n${errors.slice(0, 5).join('\n') || output}`);
  }
}

function pomOf(artifacts: readonly MavenArtifact[]): string {
  const dependencies = artifacts.map(({ groupId, artifactId, version, classifier, type, exclusions = [] }) => {
    const excluded = exclusions.map((name) => {
      const [group, artifact] = name.split(':');
      return `<exclusion><groupId>${group!}</groupId><artifactId>${artifact!}</artifactId></exclusion>`;
    });
    return [
      `<dependency><groupId>${groupId}</groupId><artifactId>${artifactId}</artifactId><version>${version}</version>`,
      classifier === undefined ? '' : `<classifier>${classifier}</classifier>`,
      type === undefined ? '' : `<type>${type}</type>`,
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
