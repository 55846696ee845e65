import { join } from 'node:path';
import { cached, fetchAlone, type ArtifactOptions } from '../../src/demo/maven.ts';
import { accepts, freePort } from '../../src/demo/ports.ts';
import { ServerProcess } from '../../src/demo/server-process.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { artifactOptions } from './cluster.ts';

const VERSION = '3.0.9';
const START_TIMEOUT_MS = 180_000;

/** A schema registry with Confluent's REST API: Apicurio on loopback, which keeps what it is given in memory. */
export class Apicurio implements AsyncDisposable {
  readonly #process: ServerProcess;
  readonly #dir: WorkDir;
  /** Where its own API is. */
  readonly #base: string;

  /** The same over TLS; null where that is not spoken. */
  readonly #secureBase: string | null;

  private constructor(process: ServerProcess, dir: WorkDir, base: string, secureBase: string | null) {
    this.#process = process;
    this.#dir = dir;
    this.#base = base;
    this.#secureBase = secureBase;
  }

  /** @param options.tls files in PEM: it speaks TLS as well, on another port */
  static async start({
    tls,
  }: { readonly tls?: { readonly cert: string; readonly key: string } } = {}): Promise<Apicurio> {
    const options = await artifactOptions();
    const install = await fetchApicurio(options);
    const dir = await WorkDir.create('spoor-test-registry');
    const securePort = tls && (await freePort());
    const base = `http://127.0.0.1:${await freePort()}`;
    const process = await ServerProcess.start({
      name: 'Apicurio',
      command: join(options.tools.javaHome, 'bin', 'java'),
      args: ['-Xmx400m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-jar', install],
      env: {
        ...globalThis.process.env,
        QUARKUS_HTTP_HOST: '127.0.0.1',
        QUARKUS_HTTP_PORT: new URL(base).port,
        ...(tls && {
          QUARKUS_HTTP_SSL_PORT: String(securePort),
          QUARKUS_HTTP_INSECURE_REQUESTS: 'enabled',
          QUARKUS_HTTP_SSL_CERTIFICATE_FILES: tls.cert,
          QUARKUS_HTTP_SSL_CERTIFICATE_KEY_FILES: tls.key,
        }),
      },
      cwd: dir.path,
      logFile: join(dir.path, 'output.log'),
      isReady: async (signal) =>
        (await fetch(`${base}/apis/ccompat/v7/subjects`, { signal })).ok &&
        (securePort === undefined || accepts(securePort, signal)),
      readyTimeoutMs: START_TIMEOUT_MS,
    });
    return new Apicurio(process, dir, base, securePort === undefined ? null : `https://127.0.0.1:${securePort}`);
  }

  /** Where Confluent's API is. */
  get url(): string {
    return `${this.#base}/apis/ccompat/v7`;
  }

  /** {@link url} over TLS. */
  get secureUrl(): string {
    return `${this.#secureBase!}/apis/ccompat/v7`;
  }

  /** Ends it and starts it again with nothing in it, at the same address. */
  async makeAnew(): Promise<void> {
    await this.#process.kill();
    await this.#process.restart();
  }

  /** Where Apicurio's own API of version 2 is, which its converters of that version speak. */
  get registryV2Url(): string {
    return `${this.#base}/apis/registry/v2`;
  }

  get server(): ServerProcess {
    return this.#process;
  }

  /** What a change of a subject's schema must keep to from now on. As started it is nothing at all (Confluent's: BACKWARD). */
  async demand(compatibility: 'NONE' | 'BACKWARD' | 'FORWARD' | 'FULL', subject?: string): Promise<void> {
    const path = subject === undefined ? 'config' : `config/${encodeURIComponent(subject)}`;
    const response = await fetch(`${this.url}/${path}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ compatibility }),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** Answers the path of the jar that starts it. */
async function fetchApicurio(options: ArtifactOptions): Promise<string> {
  const title = `Apicurio ${VERSION}`;
  const artifact = {
    groupId: 'io.apicurio',
    artifactId: 'apicurio-registry-app',
    version: VERSION,
    classifier: 'all',
    type: 'tar.gz',
  };
  const dir = await cached(options, `apicurio-${VERSION}`, title, (into) => fetchAlone(options, artifact, title, into));
  return join(dir, `apicurio-registry-app-${VERSION}-runner.jar`);
}
