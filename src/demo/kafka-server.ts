import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel, type Admin } from 'kafkajs';
import type { KafkaInstall } from './artifacts.ts';
import { accepts, freePort } from './ports.ts';
import { runCommand } from './run-command.ts';
import { RunningServer } from './running-server.ts';
import { ServerProcess } from './server-process.ts';

/** 16 bytes of one's choice. Not random: one in 64 would begin with a dash and be taken for an option. */
const CLUSTER_ID = Buffer.from('spoor-test-kafka').toString('base64url');
const START_TIMEOUT_MS = 60_000;
const ASK_TIMEOUT_MS = 2_000;

export interface KafkaServerOptions {
  readonly install: KafkaInstall;
  /** Data, settings and log go into it. */
  readonly dir: string;
  /** More lines for `server.properties`; they win over ours. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** More listeners, by name in capital letters, each at a port of its own. The plain one, which asks nobody, stays. */
  readonly listeners?: Readonly<Record<string, KafkaListener>>;
  /** More options for its JVM, and that of its tools. */
  readonly javaOptions?: readonly string[];
  /** It is a further broker of that one's cluster, with this id; the first has the id 1 and is the controller. */
  readonly joins?: { readonly first: KafkaServer; readonly nodeId: number };
}

export interface KafkaListener {
  readonly protocol: 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL';
  /** Its own settings, without the `listener.name.<name>.` in front. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}

/**
 * A Kafka broker on loopback that is its own controller (KRaft), or a further one of such a broker's cluster. Topics must be
 * made: it makes none by itself.
 */
export class KafkaServer extends RunningServer implements AsyncDisposable {
  readonly #options: KafkaServerOptions;
  readonly #address: string;
  readonly #controller: string;
  readonly #listeners: ReadonlyMap<string, string>;

  private constructor(
    options: KafkaServerOptions,
    process: ServerProcess,
    addresses: { readonly plain: string; readonly controller: string; readonly others: ReadonlyMap<string, string> },
  ) {
    super(process);
    this.#options = options;
    this.#address = addresses.plain;
    this.#controller = addresses.controller;
    this.#listeners = addresses.others;
  }

  /** Resolves when topics can be created. */
  static async start(options: KafkaServerOptions): Promise<KafkaServer> {
    const { dir, install, joins, javaOptions = [], listeners = {} } = options;
    const address = `127.0.0.1:${await freePort()}`;
    const controller = joins ? joins.first.#controller : `127.0.0.1:${await freePort()}`;
    const others = new Map<string, string>();
    for (const name of Object.keys(listeners)) others.set(name, `127.0.0.1:${await freePort()}`);
    const role = joins ? brokerOf(joins.nodeId, address, controller) : firstBroker(address, controller);
    await mkdir(dir, { recursive: true });
    const propertiesFile = join(dir, 'server.properties');
    const own = { ...role, ...settings(dir, address) };
    const all = { ...own, ...withListeners(own, listeners, others), ...options.settings };
    await writeFile(propertiesFile, toProperties(all));
    const logFile = join(dir, 'output.log');
    const log4jFile = join(dir, 'log4j2.properties');
    await writeFile(log4jFile, toProperties(LOGGING));

    const java = [...javaOptions, `-Dlog4j2.configurationFile=${log4jFile}`, '-cp', install.classPath];
    const format = ['kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', propertiesFile];
    const formatted = await runCommand(install.java, ['-Xmx128m', '-XX:TieredStopAtLevel=1', ...java, ...format]);
    if (formatted.exitCode !== 0) throw new Error(`Kafka could not format its folder:\n${formatted.output}`);

    const process = await ServerProcess.start({
      name: 'Kafka broker',
      command: install.java,
      args: ['-Xms128m', '-Xmx512m', ...java, 'kafka.Kafka', propertiesFile],
      env: { ...globalThis.process.env },
      logFile,
      isReady: async (signal) => (await canServe(address)) && (await allAccept(others.values(), signal)),
      readyTimeoutMs: START_TIMEOUT_MS,
    });
    return new KafkaServer(options, process, { plain: address, controller, others });
  }

  get brokers(): readonly string[] {
    return [this.#address];
  }

  /** As {@link brokers}, of another listener. */
  brokersAt(listener: string): readonly string[] {
    const address = this.#listeners.get(listener);
    if (address === undefined) throw new RangeError(`no listener ${listener}`);
    return [address];
  }

  /** Runs `work` with an admin client that is closed afterwards. */
  async withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    return withAdmin(this.#address, work);
  }

  /** Resolves when every partition of it has a leader that serves. */
  async createTopic(topic: string, partitions: number, settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
    await this.withAdmin(async (admin) => {
      await admin.createTopics({
        waitForLeaders: true,
        topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }],
      });
      // A broker is told of as the leader of a partition a moment before it takes itself for that.
      for (const deadline = performance.now() + 10_000; ;)
        try {
          await admin.fetchTopicOffsets(topic);
          return;
        } catch (error) {
          if (performance.now() > deadline) throw error;
          await sleep(50);
        }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.#options.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

function firstBroker(address: string, controller: string): Record<string, string | number> {
  return {
    ...brokerOf(1, address, controller),
    'process.roles': 'broker,controller',
    listeners: `PLAINTEXT://${address},CONTROLLER://${controller}`,
  };
}

function brokerOf(nodeId: number, address: string, controller: string): Record<string, string | number> {
  return {
    'process.roles': 'broker',
    'node.id': nodeId,
    'controller.quorum.voters': `1@${controller}`,
    listeners: `PLAINTEXT://${address}`,
  };
}

function settings(dir: string, address: string): Record<string, string | number | boolean> {
  return {
    'controller.listener.names': 'CONTROLLER',
    'advertised.listeners': `PLAINTEXT://${address}`,
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    'log.dirs': join(dir, 'data'),
    'auto.create.topics.enable': false,
    'default.replication.factor': 1,
    // One broker has to do for Kafka's own topics, and few partitions of them start faster.
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
    // A broker that was killed may register again only when its old session has ended (9 s as shipped).
    'broker.session.timeout.ms': 2_000,
    'broker.heartbeat.interval.ms': 500,
  };
}

/** What of these settings is otherwise with more listeners, and what is theirs. */
function withListeners(
  own: Readonly<Record<string, string | number | boolean>>,
  listeners: NonNullable<KafkaServerOptions['listeners']>,
  addresses: ReadonlyMap<string, string>,
): Record<string, string | number | boolean> {
  const named = Object.entries(listeners);
  if (named.length === 0) return {};
  const append = (setting: string, more: (name: string, listener: KafkaListener) => string): string =>
    [own[setting], ...named.map(([name, listener]) => more(name, listener))].join(',');
  const at = (name: string): string => `${name}://${addresses.get(name) ?? ''}`;
  return {
    listeners: append('listeners', at),
    'advertised.listeners': append('advertised.listeners', at),
    'listener.security.protocol.map': append(
      'listener.security.protocol.map',
      (name, { protocol }) => `${name}:${protocol}`,
    ),
    ...Object.fromEntries(
      named.flatMap(([name, listener]) =>
        Object.entries(listener.settings).map(([key, value]) => [`listener.name.${name.toLowerCase()}.${key}`, value]),
      ),
    ),
  };
}

const LOGGING = {
  'appender.out.type': 'Console',
  'appender.out.name': 'out',
  'appender.out.layout.type': 'PatternLayout',
  'appender.out.layout.pattern': '%d %p %c{1} %m%n',
  'rootLogger.level': 'INFO',
  'rootLogger.appenderRef.out.ref': 'out',
};

function toProperties(entries: Readonly<Record<string, string | number | boolean>>): string {
  return Object.entries(entries)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

/** Each listener begins by itself. */
async function allAccept(addresses: Iterable<string>, signal: AbortSignal): Promise<boolean> {
  for (const address of addresses) if (!(await accepts(Number(address.split(':')[1]), signal))) return false;
  return true;
}

/** A broker is in the cluster's metadata only once it is allowed to lead partitions; others of the cluster are there before. */
async function canServe(address: string): Promise<boolean> {
  const { brokers } = await withAdmin(address, (admin) => admin.describeCluster());
  return brokers.some(({ host, port }) => `${host}:${port}` === address);
}

async function withAdmin<T>(address: string, work: (admin: Admin) => Promise<T>): Promise<T> {
  const kafka = new Kafka({
    clientId: 'spoor-demo',
    brokers: [address],
    logLevel: logLevel.NOTHING,
    connectionTimeout: ASK_TIMEOUT_MS,
    requestTimeout: 30_000,
    retry: { retries: 3, initialRetryTime: 100 },
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}
