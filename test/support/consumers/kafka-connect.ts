import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KAFKA_VERSION, LOG4J_VERSION } from '../../../src/demo/artifacts.ts';
import { cached, fetchAlone, fetchWithDependencies, type ArtifactOptions } from '../../../src/demo/maven.ts';
import { freePort } from '../../../src/demo/ports.ts';
import { ServerProcess } from '../../../src/demo/server-process.ts';
import { WorkDir } from '../../../src/demo/work-dir.ts';
import { artifactOptions } from '../cluster.ts';

const DEBEZIUM_VERSION = '3.5.0.Final';
const CONVERTER_VERSION = '2.6.13.Final';
const START_TIMEOUT_MS = 180_000;
const STATE_TIMEOUT_MS = 60_000;

interface ConnectorStatus {
  readonly connector: { readonly state: string };
  readonly tasks: readonly { readonly state: string; readonly trace?: string }[];
}

/**
 * Kafka Connect, standalone, on loopback, with Debezium's JDBC sink and transforms and Apicurio's Avro converter as
 * plugins. Of the Kafka version that the broker has.
 */
export class KafkaConnect implements AsyncDisposable {
  readonly #process: ServerProcess;
  readonly #dir: WorkDir;
  readonly #url: string;

  private constructor(process: ServerProcess, dir: WorkDir, url: string) {
    this.#process = process;
    this.#dir = dir;
    this.#url = url;
  }

  /** @param worker its settings, but for its own address and where its files are */
  static async start(worker: Readonly<Record<string, string>>): Promise<KafkaConnect> {
    const artifacts = await artifactOptions();
    const install = await fetchKafkaConnect(artifacts);
    const dir = await WorkDir.create('spoor-test-connect');
    const url = `http://127.0.0.1:${await freePort()}`;
    const workerFile = join(dir.path, 'worker.properties');
    const logging = join(dir.path, 'log4j2.properties');
    await writeFile(
      workerFile,
      toProperties({
        ...worker,
        listeners: url,
        'rest.advertised.host.name': '127.0.0.1',
        'offset.storage.file.filename': join(dir.path, 'offsets'),
        'offset.flush.interval.ms': '1000',
        'plugin.path': install.pluginPath,
      }),
    );
    await writeFile(logging, toProperties(LOGGING));
    const process = await ServerProcess.start({
      name: 'Kafka Connect',
      command: join(artifacts.tools.javaHome, 'bin', 'java'),
      args: [
        ...['-Xms128m', '-Xmx512m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'],
        ...[`-Dlog4j2.configurationFile=${logging}`, '-cp', install.classPath],
        ...['org.apache.kafka.connect.cli.ConnectStandalone', workerFile],
      ],
      env: { ...globalThis.process.env },
      logFile: join(dir.path, 'output.log'),
      isReady: async (signal) => (await fetch(`${url}/connectors`, { signal })).ok,
      readyTimeoutMs: START_TIMEOUT_MS,
    });
    return new KafkaConnect(process, dir, url);
  }

  get server(): ServerProcess {
    return this.#process;
  }

  /**
   * Makes a connector, or gives it other settings, and lets it run. Resolves when its task does.
   * @throws {Error} with its trace when that fails
   */
  async configure(connector: string, settings: Readonly<Record<string, string>>): Promise<void> {
    await this.#ask('PUT', `${connector}/config`, settings);
    await this.#ask('PUT', `${connector}/resume`);
    await this.#waitFor(connector, 'RUNNING');
  }

  /** Resolves when its task takes no more records. */
  async pause(connector: string): Promise<void> {
    await this.#ask('PUT', `${connector}/pause`);
    await this.#waitFor(connector, 'PAUSED');
  }

  /** @throws {Error} with the trace of a task of it that has failed */
  async assertRuns(connector: string): Promise<void> {
    await this.#status(connector);
  }

  async #waitFor(connector: string, state: string): Promise<void> {
    for (const deadline = performance.now() + STATE_TIMEOUT_MS; ;) {
      const tasks = (await this.#status(connector))?.tasks ?? [];
      if (tasks.length > 0 && tasks.every((task) => task.state === state)) return;
      if (performance.now() > deadline) throw new Error(`connector ${connector} does not become ${state}`);
      await sleep(100);
    }
  }

  async #status(connector: string): Promise<ConnectorStatus | null> {
    const response = await fetch(`${this.#url}/connectors/${connector}/status`);
    if (response.status === 404) return null; // a moment after it was made
    if (!response.ok) throw new Error(`connector ${connector}: ${response.status} ${await response.text()}`);
    const status = (await response.json()) as ConnectorStatus;
    const failed = status.tasks.find(({ state }) => state === 'FAILED');
    if (failed) throw new Error(`connector ${connector} failed:\n${failed.trace ?? ''}`);
    return status;
  }

  async #ask(method: string, path: string, body?: object): Promise<void> {
    const response = await fetch(`${this.#url}/connectors/${path}`, {
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
    await this.#dir[Symbol.asyncDispose]();
  }
}

async function fetchKafkaConnect(options: ArtifactOptions): Promise<{ classPath: string; pluginPath: string }> {
  const kafka = { groupId: 'org.apache.kafka', version: KAFKA_VERSION };
  const title = `Kafka Connect ${KAFKA_VERSION}`;
  const dir = await cached(options, `kafka-connect-${KAFKA_VERSION}`, title, (into) =>
    fetchWithDependencies(
      options,
      [
        ...['connect-runtime', 'connect-json', 'connect-transforms'].map((artifactId) => ({ ...kafka, artifactId })),
        { groupId: 'org.apache.logging.log4j', artifactId: 'log4j-slf4j-impl', version: LOG4J_VERSION },
      ],
      title,
      into,
      'copy-dependencies',
    ),
  );
  return { classPath: join(dir, '*'), pluginPath: `${await fetchJdbcSink(options)},${await fetchConverter(options)}` };
}

/** Each plugin is a folder in the folder that is answered. */
async function fetchJdbcSink(options: ArtifactOptions): Promise<string> {
  const title = `Debezium JDBC sink ${DEBEZIUM_VERSION}`;
  const artifact = {
    groupId: 'io.debezium',
    artifactId: 'debezium-connector-jdbc',
    version: DEBEZIUM_VERSION,
    classifier: 'plugin',
    type: 'tar.gz',
  };
  return cached(options, `debezium-jdbc-${DEBEZIUM_VERSION}`, title, (into) =>
    fetchAlone(options, artifact, title, into),
  );
}

async function fetchConverter(options: ArtifactOptions): Promise<string> {
  const title = `Apicurio converter ${CONVERTER_VERSION}`;
  const artifact = {
    groupId: 'io.apicurio',
    artifactId: 'apicurio-registry-utils-converter',
    version: CONVERTER_VERSION,
    exclusions: ['org.apache.kafka:*'],
  };
  return cached(options, `apicurio-converter-${CONVERTER_VERSION}`, title, (into) =>
    fetchWithDependencies(options, [artifact], title, join(into, 'apicurio-converter'), 'copy-dependencies'),
  );
}

const LOGGING = {
  'appender.out.type': 'Console',
  'appender.out.name': 'out',
  'appender.out.layout.type': 'PatternLayout',
  'appender.out.layout.pattern': '%d %p %c{1} %m%n',
  'rootLogger.level': 'WARN',
  'rootLogger.appenderRef.out.ref': 'out',
};

function toProperties(entries: Readonly<Record<string, string>>): string {
  return Object.entries(entries)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
