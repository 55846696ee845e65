import { rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { defaultCacheDir, fetchKafka, fetchKudu, type KafkaInstall } from '../../src/demo/artifacts.ts';
import { withFileLock } from '../../src/demo/file-lock.ts';
import { KafkaServer, type KafkaServerOptions } from '../../src/demo/kafka-server.ts';
import { KuduCluster } from '../../src/demo/kudu-servers.ts';
import type { ArtifactOptions } from '../../src/demo/maven.ts';
import { ensureSystemTools } from '../../src/demo/system-packages.ts';
import type { KuduSecurity } from '../../src/demo/kudu-security.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';

let artifacts: Promise<ArtifactOptions> | null = null;

/** What the servers need from the system and where downloads are kept; looked for once a process. */
export async function artifactOptions(): Promise<ArtifactOptions> {
  const progress = (line: string): void => void process.stderr.write(`# ${line}\n`);
  artifacts ??= ensureSystemTools({ compiler: true, progress }).then((tools) => ({
    tools,
    cacheDir: defaultCacheDir(),
    progress,
  }));
  return artifacts;
}

/** Fetches all that the servers need, so that no test's own time goes into a download. */
export async function prepareServers(): Promise<void> {
  const options = await artifactOptions();
  await fetchKudu(options);
  const kafka = await fetchKafka(options);
  await withFileLock(join(options.cacheDir, '.lock'), () => archiveKafkaClasses(kafka));
  // Before there are several who would install them at once.
  await toolsMissing({ kerberos: true, redis: true, chromium: true, shells: true });
}

/** As {@link serversMissing}, for what needs a KDC besides. */
export function kerberosMissing(): Promise<string | false> {
  return toolsMissing({ kerberos: true });
}

/** As {@link serversMissing}, for what needs tools of the system besides: they are installed where that can be done. */
export function toolsMissing(wanted: {
  kerberos?: boolean;
  redis?: boolean;
  chromium?: boolean;
  shells?: boolean;
}): Promise<string | false> {
  return whyMissing(async () => {
    const { progress } = await artifactOptions();
    await ensureSystemTools({ compiler: false, ...wanted, progress });
  });
}

/** A broker that starts often, and never works long: half of its CPU time would go into compiling and loading classes. */
const SHORT_LIVED = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];

/** The broker's classes as the JVM maps them, beside its jars; an archive that does not fit is left alone by the JVM. */
function archiveOf({ classPath }: KafkaInstall): string {
  return `${dirname(classPath)}.jsa`;
}

/** Lets a broker run once and write down what it has loaded. */
async function archiveKafkaClasses(install: KafkaInstall): Promise<void> {
  const file = archiveOf(install);
  const isThere = await stat(file).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  const partial = `${file}.partial`;
  {
    await using broker = await launchKafka([...SHORT_LIVED, `-XX:ArchiveClassesAtExit=${partial}`]);
    await broker.createTopic('any', 1);
    await rm(partial); // what was written is of the tool that formats its folder
    await broker.stop();
  }
  await rename(partial, file);
}

/**
 * For a test's `skip`: why real servers cannot run here, or false when they can. In CI it rejects instead, so that a
 * missing server is a failure there.
 */
export function serversMissing(): Promise<string | false> {
  return whyMissing(prepareServers);
}

async function whyMissing(prepare: () => Promise<unknown>): Promise<string | false> {
  try {
    await prepare();
    return false;
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    return error instanceof Error ? error.message : String(error);
  }
}

/** What servers say of themselves that nobody reads. */
const QUIET = ['--metrics_log_interval_ms=0', '--diagnostics_log_stack_traces_interval_ms=0'];

/**
 * A stock Kudu cluster on loopback, in a temporary folder, three tablet servers unless told otherwise. `await using`
 * ends it; it also ends with this process.
 */
export async function startKudu(
  options: {
    tservers?: number;
    flags?: readonly string[];
    masterFlags?: readonly string[];
    /** In which its folders are; it is emptied. */
    dir?: string;
    security?: KuduSecurity;
  } = {},
): Promise<KuduCluster> {
  const { security } = options;
  const install = await fetchKudu(await artifactOptions());
  const dir = options.dir === undefined ? await WorkDir.create('spoor-test-kudu') : { path: options.dir };
  return KuduCluster.start({
    install,
    dir: dir.path,
    tservers: options.tservers ?? 3,
    tserverFlags: [...QUIET, ...(security?.tserverFlags ?? []), ...(options.flags ?? [])],
    masterFlags: [...(security?.masterFlags ?? []), ...(options.masterFlags ?? [])],
    ...(security && { env: security.serverEnv, cliEnv: security.cliEnv }),
  });
}

/**
 * A Kafka broker, on loopback, in a temporary folder; ends as Kudu does. `lasting`: it is to be fast, however long it takes
 * to become so.
 */
export async function startKafka(options: KafkaTestOptions & { lasting?: boolean } = {}): Promise<KafkaServer> {
  const { lasting = false, javaOptions = [], ...more } = options;
  const archive = archiveOf(await fetchKafka(await artifactOptions()));
  const how = lasting ? [] : [...SHORT_LIVED, `-XX:SharedArchiveFile=${archive}`];
  return launchKafka([...how, ...javaOptions], more);
}

export type KafkaTestOptions = Pick<KafkaServerOptions, 'settings' | 'joins' | 'listeners' | 'javaOptions'>;

async function launchKafka(
  javaOptions: readonly string[],
  more: Omit<KafkaTestOptions, 'javaOptions'> = {},
): Promise<KafkaServer> {
  const install = await fetchKafka(await artifactOptions());
  const dir = await WorkDir.create('spoor-test-kafka');
  return KafkaServer.start({ install, dir: dir.path, javaOptions, ...more });
}
