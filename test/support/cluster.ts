import { defaultCacheDir, fetchKafka, fetchKudu, type ArtifactOptions } from '../../src/demo/artifacts.ts';
import { KafkaServer, type KafkaServerOptions } from '../../src/demo/kafka-server.ts';
import { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { ensureSystemTools } from '../../src/demo/system-packages.ts';
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
  await fetchKafka(options);
}

/**
 * For a test's `skip`: why real servers cannot run here, or false when they can. In CI it rejects instead, so that a
 * missing server is a failure there.
 */
export async function serversMissing(): Promise<string | false> {
  try {
    await prepareServers();
    return false;
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * A stock Kudu cluster on loopback, in a temporary folder, three tablet servers unless told otherwise. `await using`
 * ends it; it also ends with this process.
 */
export async function startKudu(
  options: { tservers?: number; flags?: readonly string[]; masterFlags?: readonly string[] } = {},
): Promise<KuduCluster> {
  const install = await fetchKudu(await artifactOptions());
  const dir = await WorkDir.create('spoor-test-kudu');
  return KuduCluster.start({
    install,
    dir: dir.path,
    tservers: options.tservers ?? 3,
    tserverFlags: options.flags ?? [],
    masterFlags: options.masterFlags ?? [],
  });
}

/** A single Kafka broker, on loopback, in a temporary folder; ends as Kudu does. */
export async function startKafka(settings: NonNullable<KafkaServerOptions['settings']> = {}): Promise<KafkaServer> {
  const install = await fetchKafka(await artifactOptions());
  const dir = await WorkDir.create('spoor-test-kafka');
  return KafkaServer.start({ install, dir: dir.path, settings });
}
