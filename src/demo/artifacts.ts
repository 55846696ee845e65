import { chmod, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { cached, fetchWithDependencies, type ArtifactOptions, type MavenArtifact } from './maven.ts';
import { DemoError } from './user-error.ts';

const KUDU_VERSION = '1.18.1';
export const KAFKA_VERSION = '4.3.1';
export const LOG4J_VERSION = '2.25.4';

/** Maven's name of the processor, for those that Kudu's build is published for. */
const KUDU_CLASSIFIER: Readonly<Record<string, string>> = { x64: 'linux-x86_64' };

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
    await fetchWithDependencies(options, [artifact], `Kudu ${KUDU_VERSION}`, into, 'unpack-dependencies');
    const binDir = join(into, `kudu-binary-${KUDU_VERSION}-${classifier}`, 'bin');
    for (const name of await readdir(binDir)) await chmod(join(binDir, name), 0o755); // a jar keeps no modes
  });
  const root = join(dir, `kudu-binary-${KUDU_VERSION}-${classifier}`);
  return {
    binDir: join(root, 'bin'),
    env: {
      ...process.env,
      // The libraries find their siblings only this way: some of them carry no run path.
      LD_LIBRARY_PATH: join(root, 'lib'),
      // GSSAPI's plug-in is Kudu's own, of the Kerberos that it was built with.
      SASL_PATH: [options.tools.saslDir, join(root, 'lib', 'sasl2')].join(delimiter),
    },
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
    fetchWithDependencies(options, artifacts, title, into, 'copy-dependencies'),
  );
  return { java: join(options.tools.javaHome, 'bin', 'java'), classPath: join(dir, '*') };
}
