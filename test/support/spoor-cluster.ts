import assert from 'node:assert/strict';
import { copyFile, mkdir } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCli } from '../../src/cli/program.ts';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import type { KuduSecurity } from '../../src/demo/kudu-security.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import type { StreamView, TabletView } from '../../src/api/shapes.ts';
import { startKafka, startKudu, type KafkaTestOptions } from './cluster.ts';
import { TableFold } from './fold.ts';
import { javaTool } from './java-tools.ts';
import { TopicReader } from './topic-reader.ts';

export interface ApiAnswer<T> {
  readonly status: number;
  readonly body: T;
}

/** How a command ended, and what it said. */
export interface CliEnd {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Of a record of a schema topic, what tests look at. */
export interface SchemaRecord {
  readonly event?: string;
  readonly tablet_id: string;
  readonly before: { readonly table: string } | null;
  readonly after: { readonly table: string; readonly columns: readonly { readonly name: string }[] } | null;
}

export interface FoldOptions {
  /** See {@link TableFold}. */
  readonly lenient?: boolean;
  /** Only records of these tablets: of one table, where a topic has several. */
  readonly tabletIds?: readonly string[];
}

/** A sidecar answers before it is at work, and may do nothing but that for so long. */
const STARTS_WITHIN_MS = 10_000;

/** Of a tablet: it is shipped, and all that is committed is. */
export const isCaughtUp = ({ state, lagOps }: TabletView): boolean => state === 'running' && lagOps === 0;

/** The program as built, where the runner of the tests has just done that: it starts in a third of the time. */
const BUILT = process.env['TEST_SPOOR_PROGRAM'];

/** Stock Kudu, Kafka, and a sidecar beside each tablet server, all real processes. */
export class SpoorCluster implements AsyncDisposable {
  readonly kudu: KuduCluster;
  readonly kafka: KafkaServer;
  readonly sidecars: SidecarProcess[] = [];
  /** URLs of sidecars that stand still and are not to be asked anything. */
  readonly frozen = new Set<string>();
  readonly #env: Readonly<Record<string, string>>;
  readonly #dir: WorkDir;

  private constructor(kudu: KuduCluster, kafka: KafkaServer, env: Readonly<Record<string, string>>, dir: WorkDir) {
    this.kudu = kudu;
    this.kafka = kafka;
    this.#env = env;
    this.#dir = dir;
  }

  static async start(
    options: {
      /** Three unless told otherwise, each with a sidecar. */
      tservers?: number;
      /** Of the tablet servers. */
      flags?: readonly string[];
      masterFlags?: readonly string[];
      /** See {@link startKudu}. */
      kuduDir?: string;
      /** How Kudu is guarded; the sidecars are let in. */
      security?: KuduSecurity;
      kafka?: KafkaTestOptions;
      /** Of the sidecars. */
      env?: Readonly<Record<string, string>>;
      /** Of another version: its `dist/cli/main.js`. */
      program?: string;
    } = {},
  ): Promise<SpoorCluster> {
    const {
      tservers = 3,
      flags = [],
      masterFlags = [],
      kuduDir,
      security,
      kafka: kafkaOptions,
      program = BUILT,
    } = options;
    const env = { ...security?.sidecarEnv, ...options.env };
    const [kudu, kafka, dir] = await Promise.all([
      startKudu({
        tservers,
        flags,
        masterFlags,
        ...(security && { security }),
        ...(kuduDir !== undefined && { dir: kuduDir }),
      }),
      startKafka(kafkaOptions),
      WorkDir.create('spoor-test-sidecars'),
    ]);
    const cluster = new SpoorCluster(kudu, kafka, env, dir);
    const starts = await Promise.allSettled(
      kudu.tservers.map((_, number) => cluster.#launchSidecar(number, {}, program)),
    );
    for (const start of starts) if (start.status === 'fulfilled') cluster.sidecars.push(start.value);
    try {
      for (const start of starts) if (start.status === 'rejected') throw start.reason as Error;
      for (const sidecar of cluster.sidecars) await sidecar.waitUntilReady();
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  /** Where the sidecars' logs are, and a place for files of a test. */
  get dir(): string {
    return this.#dir.path;
  }

  /** Copies the sidecars', tablet servers' and the broker's own logs to a folder, for a look after the end. */
  async keepLogs(dir: string): Promise<void> {
    await mkdir(dir, { recursive: true });
    const logs = [
      ...this.sidecars.map(({ logFile }): [string, string] => [basename(logFile), logFile]),
      ...this.kudu.tservers.map(({ logFile }, number): [string, string] => [`tserver-${number}.log`, logFile]),
      ['kafka.log', this.kafka.logFile] as [string, string],
    ];
    for (const [name, logFile] of logs) await copyFile(logFile, join(dir, name)).catch(() => undefined);
  }

  /**
   * Links Kafka's topics, the tablet servers' logs and what is held of them into a folder, where they outlive the cluster.
   * On the file system of the cluster's own folders.
   */
  async keepData(dir: string): Promise<void> {
    const folders = [
      ['kafka', dirname(this.kafka.logFile)],
      ...this.kudu.tservers.map(({ walDir }, number) => [`tserver-${number}`, walDir]),
    ] as [string, string][];
    await mkdir(dir, { recursive: true });
    for (const [name, folder] of folders) await promisify(execFile)('cp', ['-al', folder, join(dir, name)]);
  }

  /**
   * Ends all sidecars, in order, and starts others with more settings. They have other API addresses. Waits until they
   * are ready for work, unless they are not to become so.
   */
  async replaceSidecars(env: Readonly<Record<string, string>>, options: { ready?: boolean } = {}): Promise<void> {
    await Promise.all(this.sidecars.map((sidecar) => sidecar.stop()));
    const fresh = await Promise.all(this.kudu.tservers.map((_, number) => this.#launchSidecar(number, env)));
    this.sidecars.splice(0, this.sidecars.length, ...fresh);
    if (options.ready ?? true) await Promise.all(this.sidecars.map((sidecar) => sidecar.waitUntilReady()));
  }

  /** In the place of one that has ended, one of another version, or of this again. */
  async startOther(number: number, program = BUILT): Promise<void> {
    const sidecar = await this.#launchSidecar(number, {}, program);
    this.sidecars[number] = sidecar;
    await sidecar.waitUntilReady();
  }

  async #launchSidecar(
    number: number,
    env: Readonly<Record<string, string>>,
    program = BUILT,
  ): Promise<SidecarProcess> {
    return SidecarProcess.start({
      name: `sidecar-${number}`,
      ...(program && { command: [process.execPath, program] }),
      masters: this.kudu.masters,
      tserver: this.kudu.tservers[number]!,
      brokers: this.kafka.brokers,
      dir: this.dir,
      env: { ...this.#env, ...env },
    });
  }

  get masters(): string {
    return this.kudu.masters.join(',');
  }

  /** Calls the API of a sidecar that runs, of another one where the first cannot answer yet, and again where all have just started. */
  async api<T = unknown>(method: string, path: string, body?: unknown): Promise<ApiAnswer<T>> {
    const deadline = Date.now() + STARTS_WITHIN_MS;
    for (;;) {
      let answer: ApiAnswer<T> | null = null;
      for (const { running, url } of this.sidecars) {
        if (!running || this.frozen.has(url)) continue;
        answer = await callApi<T>(url, method, path, body);
        if (answer.status !== 503) return answer;
      }
      assert.ok(answer, 'no sidecar runs');
      if (!isStarting(answer) || Date.now() > deadline) return answer;
      await sleep(50);
    }
  }

  /** Runs a command of the program in this process, beside the first sidecar. @param env more of its environment */
  async cli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CliEnd> {
    let [out, err] = ['', ''];
    const code = await runCli(args, {
      out: (text) => (out += text),
      err: (text) => (err += text),
      env: {
        SPOOR_KUDU_MASTERS: this.masters,
        SPOOR_KAFKA_BROKERS: this.kafka.brokers.join(),
        SPOOR_HTTP_LISTEN: this.sidecars[0]!.url.replace('http://', ''),
        ...env,
      },
      cwd: this.dir,
      readStdin: () => '',
    });
    return { code, out, err };
  }

  /** Makes a Kafka stream of the given tables into the topic `name`, beginning now unless told otherwise. */
  async createStream(
    name: string,
    tables: readonly string[],
    more: {
      readonly start?: 'now' | 'snapshot';
      readonly sink?: object;
      readonly copyRowsPerSecond?: number;
      readonly resolved?: { readonly intervalMs: number };
      readonly images?: string;
      readonly format?: object;
      readonly where?: Readonly<Record<string, string>>;
      readonly columns?: object;
      readonly skipOperations?: readonly string[];
      readonly partitionBy?: string | readonly string[];
      readonly oversize?: string;
    } = {},
  ): Promise<StreamView> {
    const sink = {
      type: 'kafka',
      topic: name,
      partitions: 3,
      replicationFactor: 1,
      schemaTopic: `${name}.schema`,
      ...more.sink,
    };
    const { status, body } = await this.api<StreamView>('POST', '/v1/streams', {
      name,
      tables,
      start: 'now',
      ...more,
      sink,
    });
    assert.equal(status, 201, JSON.stringify(body));
    return body;
  }

  async tablets(stream: string): Promise<readonly TabletView[]> {
    const { status, body } = await this.api<StreamView>('GET', `/v1/streams/${stream}`);
    assert.equal(status, 200, JSON.stringify(body));
    return body.tablets;
  }

  /** Waits until every tablet of a stream is as `isSo` says. @throws {Error} with the tablets when they do not get there */
  async waitForTablets(
    stream: string,
    isSo: (tablet: TabletView) => boolean,
    timeoutMs = 180_000, // see eventually.ts
  ): Promise<readonly TabletView[]> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const tablets = await this.tablets(stream);
      if (tablets.length > 0 && tablets.every(isSo)) return tablets;
      if (Date.now() > deadline) throw new Error(`not in time: ${JSON.stringify(tablets, null, 1)}`);
      await sleep(100);
    }
  }

  /** Folds a stream's topic as a `read_committed` consumer, from its beginning until `records` are there and it is quiet. */
  async fold(
    stream: string,
    records: number,
    options: FoldOptions & { timeoutMs?: number; quietMs?: number } = {},
  ): Promise<TableFold> {
    const { body: view } = await this.api<StreamView>('GET', `/v1/streams/${stream}`);
    const fold = new TableFold({ lenient: options.lenient ?? false, hasWholeImages: view.images !== 'changed' });
    const failures: unknown[] = [];
    const isWanted = (tabletId: string): boolean => options.tabletIds?.includes(tabletId) ?? true;
    const brokers = this.kafka.brokers;
    {
      await using schemas = await TopicReader.start({
        brokers,
        topics: [`${stream}.schema`],
        onRecord: ({ value }) => {
          if (value && isWanted(tabletIdOf(value))) fold.addSchema(value);
        },
      });
      await schemas.settle(() => schemas.count > 0, { quietMs: 100, timeoutMs: 30_000 });
    }
    await using reader = await TopicReader.start({
      brokers,
      topics: [stream],
      onRecord: ({ key, value, headers, partition }) => {
        if (headers['spoor.resolved'] !== undefined) return;
        const position = headers['spoor.pos'] ?? '';
        if (!isWanted(position.split('/', 1)[0]!)) return;
        try {
          fold.push({ key: key ?? Buffer.alloc(0), value, position }, partition);
        } catch (error) {
          failures.push(error);
        }
      },
    });
    await reader.settle(() => fold.records >= records || failures.length > 0, {
      quietMs: options.quietMs ?? 700,
      timeoutMs: options.timeoutMs ?? 120_000,
    });
    if (failures.length > 0) throw failures[0] as Error;
    return fold;
  }

  /** What the stream's schema topic says of tablets as a whole, so far. */
  async schemaEvents(stream: string): Promise<readonly string[]> {
    return (await this.#schemaTopic(stream)).flatMap(({ event }) => event ?? []);
  }

  /** The schemas that the stream's schema topic tells, first ones and changes, so far. */
  async schemaRecords(stream: string): Promise<readonly SchemaRecord[]> {
    return (await this.#schemaTopic(stream)).filter(({ event }) => event === undefined);
  }

  async #schemaTopic(stream: string): Promise<readonly SchemaRecord[]> {
    const records: SchemaRecord[] = [];
    await using reader = await TopicReader.start({
      brokers: this.kafka.brokers,
      topics: [`${stream}.schema`],
      onRecord: ({ value }) => {
        if (value) records.push(JSON.parse(value.toString()) as SchemaRecord);
      },
    });
    await reader.settle(() => reader.count > 0, { quietMs: 500, timeoutMs: 30_000 });
    return records;
  }

  /** The rows of a table, one JSON line each, as the Java client reads them. */
  async dump(table: string): Promise<readonly string[]> {
    return javaTool('dump', { masters: this.masters, table });
  }

  /** Fold equals table, and there is one record for each row that took effect. */
  async assertFoldIsTable(stream: string, table: string, applied: number): Promise<void> {
    const fold = await this.fold(stream, applied);
    assert.equal(fold.records, applied, 'records shipped and rows applied');
    const { differences } = fold.compare(await this.dump(table));
    assert.deepEqual(differences, []);
  }

  /**
   * The same where tablet servers are restarted under the load: a retry of a write that a server answers out of its log
   * tells no counts, so the writer may know of fewer rows than took effect, by a flush or two a restart. No record comes
   * twice nor out of order all the same, and the fold equals the table.
   */
  async assertFoldIsTableAfterRestarts(stream: string, table: string, applied: number, slack: number): Promise<void> {
    const fold = await this.foldIsTable(stream, table, { records: applied });
    const range = `${applied} to ${applied + slack}`;
    assert.ok(fold.records >= applied && fold.records <= applied + slack, `${fold.records} records, not ${range}`);
  }

  /**
   * Fold equals table, however many records that takes; answers the fold.
   * @param options.lenient see {@link TableFold}
   */
  async foldIsTable(
    stream: string,
    table: string,
    options: FoldOptions & { records?: number } = {},
  ): Promise<TableFold> {
    const { records = 0, ...how } = options;
    const fold = await this.fold(stream, records, { quietMs: 1000, ...how });
    fold.sweep();
    const { differences } = fold.compare(await this.dump(table));
    assert.deepEqual(differences, []);
    return fold;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.sidecars.map((sidecar) => sidecar[Symbol.asyncDispose]()));
    await Promise.all([this.kudu[Symbol.asyncDispose](), this.kafka[Symbol.asyncDispose]()]);
    await this.#dir[Symbol.asyncDispose]();
  }
}

function tabletIdOf(schemaRecord: Buffer): string {
  return (JSON.parse(schemaRecord.toString()) as { tablet_id: string }).tablet_id;
}

function isStarting({ body }: ApiAnswer<unknown>): boolean {
  return (
    (body as { readonly detail?: string } | null)?.detail?.startsWith('not at work yet: still connecting') === true
  );
}

async function callApi<T>(url: string, method: string, path: string, body: unknown): Promise<ApiAnswer<T>> {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as T };
}
