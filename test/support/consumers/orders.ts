import assert from 'node:assert/strict';
import { KuduClient } from '../../../src/kudu/client.ts';
import type { TableSchema } from '../../../src/kudu/schema.ts';
import type { Apicurio } from '../apicurio.ts';
import { eventually } from '../eventually.ts';
import { javaTool } from '../java-tools.ts';
import { USUAL_FLAGS } from '../leased-cluster.ts';
import { Load } from '../load.ts';
import { ReplicaWatch } from '../replica-watch.ts';
import { isCaughtUp, SpoorCluster } from '../spoor-cluster.ts';
import { snippet } from './doc-snippets.ts';
import { OpenServers } from './open-servers.ts';

/** The table of docs/consumers.md. */
export const ORDERS = 'shop.orders';
/** Where docs/consumers.md has the registry. */
export const REGISTRY = 'http://registry:8080/apis/ccompat/v7';
const TABLETS = 3;
const KUDU_TIMEOUT_MS = 60_000;

type Steps = NonNullable<Parameters<KuduClient['alterTable']>[1]['steps']>;

/** A cluster with the table that the readers of docs/consumers.md read, and what a test does to it. */
export class Orders implements AsyncDisposable {
  readonly cluster: SpoorCluster;
  readonly client: KuduClient;
  /** More servers of the test, closed before those of the table. */
  readonly servers: OpenServers;
  readonly #watch: ReplicaWatch;

  private constructor(cluster: SpoorCluster, client: KuduClient, servers: OpenServers, watch: ReplicaWatch) {
    this.cluster = cluster;
    this.client = client;
    this.servers = servers;
    this.#watch = watch;
  }

  /** @param shape of the table, as CreateTable.java names them */
  static async start(shape: 'types' | 'small'): Promise<Orders> {
    const servers = new OpenServers();
    try {
      const cluster = servers.use(await SpoorCluster.start({ flags: USUAL_FLAGS }));
      const client = servers.use(
        await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: KUDU_TIMEOUT_MS }),
      );
      const watch = servers.use(await ReplicaWatch.open(cluster));
      await javaTool('create-table', { masters: cluster.masters, table: ORDERS, shape, buckets: TABLETS });
      return new Orders(cluster, client, servers, watch);
    } catch (error) {
      await servers[Symbol.asyncDispose]();
      throw error;
    }
  }

  get brokers(): string {
    return this.cluster.kafka.brokers.join(',');
  }

  /**
   * Makes a stream as a block of docs/consumers.md has it, under another name and into a topic of its own.
   * @param replacements more of what stands there → what is meant
   */
  async stream(
    block: string,
    name: string,
    { registry, replacements = {} }: { registry?: Apicurio | null; replacements?: Record<string, string> } = {},
  ): Promise<void> {
    const text = snippet(block, {
      '"name": "orders"': `"name": "${name}"`,
      'cdc.': `${name}.`,
      ...(registry && { [REGISTRY]: registry.url }),
      ...replacements,
    });
    const { status, body } = await this.cluster.api('POST', '/v1/streams', JSON.parse(text));
    assert.equal(status, 201, JSON.stringify(body));
    await this.cluster.waitForTablets(name, ({ state }) => state === 'running');
  }

  /** Mixed operations. */
  load(options: Parameters<typeof Load.start>[2]): Load {
    return Load.start(this.cluster, ORDERS, options);
  }

  /** Every tablet gets another leader. */
  async stepDown(): Promise<void> {
    for (const tabletId of await this.#watch.tabletIds(ORDERS)) await this.#watch.stepDown(tabletId);
  }

  async alter(steps: Steps): Promise<void> {
    await this.client.alterTable({ name: ORDERS }, { steps }, { timeoutMs: KUDU_TIMEOUT_MS });
  }

  /** What Kudu has when all of it is shipped. @param streams that are to ship it */
  async shipped(
    streams: readonly string[],
  ): Promise<{ readonly schema: TableSchema; readonly dump: readonly string[] }> {
    for (const name of streams) await this.cluster.waitForTablets(name, isCaughtUp);
    const { schema } = (await this.client.openTable({ name: ORDERS })).description;
    return { schema, dump: await this.cluster.dump(ORDERS) };
  }

  /** Ships every row of a stream again as it is, and waits for that. */
  async resync(name: string): Promise<void> {
    const { status, body } = await this.cluster.api('POST', `/v1/streams/${name}/resync`, {});
    assert.equal(status, 200, JSON.stringify(body));
    await eventually(`all tablets of ${name} are copied`, async () => {
      const pages = await Promise.all(
        this.cluster.sidecars.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()),
      );
      const lines = pages.flatMap((page) => page.split('\n')).filter((line) => isResyncsOf(line, name));
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0) === TABLETS;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.servers[Symbol.asyncDispose]();
  }
}

function isResyncsOf(line: string, stream: string): boolean {
  return line.startsWith('spoor_resyncs_total{') && line.includes(`stream="${stream}"`);
}
