import { after, afterEach, before, describe, it, type TestContext } from 'node:test';
import { join } from 'node:path';
import { javaTool } from './java-tools.ts';
import { heal, leaseCluster, type LeasedCluster } from './leased-cluster.ts';
import { ReplicaWatch } from './replica-watch.ts';
import type { SpoorCluster } from './spoor-cluster.ts';

/** Cases that take servers, sidecars or the broker away, one after the other on a cluster of three. */
export class OutageSuite {
  #lease: LeasedCluster | null = null;
  #watch: ReplicaWatch | null = null;

  /** Declares the suite; `body` declares its cases, with {@link check}. */
  static describe(name: string, body: (on: OutageSuite) => void): void {
    describe(name, () => {
      const suite = new OutageSuite();
      before(async () => suite.#open());
      afterEach(async () => suite.#heal());
      after(async () => suite.#close());
      body(suite);
    });
  }

  get cluster(): SpoorCluster {
    if (this.#lease === null) throw new Error('there is a cluster while cases run');
    return this.#lease.cluster;
  }

  get watch(): ReplicaWatch {
    if (this.#watch === null) throw new Error('replicas are watched while cases run');
    return this.#watch;
  }

  /** A case that leaves the logs of all servers in the folder SPOOR_KEEP_LOGS when it fails. */
  check(name: string, body: (t: TestContext) => Promise<void>): void {
    it(name, async (t) => {
      try {
        await body(t);
      } catch (error) {
        const dir = process.env['SPOOR_KEEP_LOGS'];
        if (dir !== undefined) await this.cluster.keepLogs(join(dir, name.replaceAll(/\W+/g, '-').slice(0, 40)));
        throw error;
      }
    });
  }

  /** A table, of four tablets unless told otherwise, with an exactly-once stream of the same name. */
  async begin(name: string, shape = 'small', buckets = 4): Promise<readonly string[]> {
    await javaTool('create-table', { masters: this.cluster.masters, table: `fo.${name}`, shape, buckets });
    await this.cluster.createStream(name, [`fo.${name}`]);
    const tabletIds = await this.watch.tabletIds(`fo.${name}`);
    await this.watch.waitUntilWhole(tabletIds);
    await this.cluster.waitForTablets(name, ({ state }) => state === 'running');
    return tabletIds;
  }

  /** The server that leads the most of the tablets, and those. */
  async mostLeading(tabletIds: readonly string[]): Promise<{ number: number; led: readonly string[] }> {
    const leaders = await this.watch.leaders();
    const ledBy = (number: number): readonly string[] => tabletIds.filter((id) => leaders.get(id) === number);
    const number = [0, 1, 2].sort((a, b) => ledBy(b).length - ledBy(a).length)[0]!;
    return { number, led: ledBy(number) };
  }

  async #open(): Promise<void> {
    this.#lease = await leaseCluster();
    this.#watch = await ReplicaWatch.open(this.cluster);
  }

  /** What a failed case left behind would fail the next ones. */
  async #heal(): Promise<void> {
    await heal(this.cluster);
  }

  async #close(): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    await this.#lease?.[Symbol.asyncDispose]();
  }
}
