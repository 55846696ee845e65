import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { SinkRecord } from '../../src/change/record.ts';
import type { KuduCluster, TabletServer } from '../../src/demo/kudu-servers.ts';
import type { TabletLocation } from '../../src/kudu/catalog.ts';
import type { KuduClient } from '../../src/kudu/client.ts';
import { formatOpId, type OpId } from '../../src/kudu/opid.ts';
import { OpIdType } from '../../src/kudu/tserver-proxy.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { eventually } from './eventually.ts';
import { TableFold } from './fold.ts';
import { javaTool } from './java-tools.ts';
import type { Random } from './random.ts';
import { describeLog, fromTheStart, ReplicaTail } from './replica-tail.ts';

interface FollowedReplica {
  readonly server: TabletServer;
  readonly tabletId: string;
  readonly tail: ReplicaTail;
}

/** Time for all replicas to have the same, servers that were just killed included. */
const SETTLE_TIMEOUT_MS = 90_000;

/**
 * A table each of whose replicas is followed from its first operation on, one fold a server. Servers must have kept
 * the whole log (`--enable_log_gc=false`), and each have a replica of every tablet.
 */
export class FollowedTable implements AsyncDisposable {
  readonly tableId: string;
  /** When following began. */
  readonly name: string;
  readonly tablets: readonly TabletLocation[];
  readonly #cluster: KuduCluster;
  readonly #client: KuduClient;
  readonly #watchers = new Map<TabletServer, WalWatcher>();
  readonly #folds = new Map<TabletServer, TableFold>();
  readonly #replicas: FollowedReplica[] = [];

  private constructor(
    cluster: KuduCluster,
    client: KuduClient,
    onRecord: (record: SinkRecord) => void,
    table: { readonly tableId: string; readonly name: string; readonly tablets: readonly TabletLocation[] },
  ) {
    this.#cluster = cluster;
    this.#client = client;
    this.tableId = table.tableId;
    this.name = table.name;
    this.tablets = table.tablets;
    for (const server of cluster.tservers) {
      const watcher = new WalWatcher({ walDir: server.walDir, pollMs: 200 });
      const fold = new TableFold();
      this.#watchers.set(server, watcher);
      this.#folds.set(server, fold);
      for (const { tabletId } of table.tablets) {
        const tablet = { tableId: table.tableId, tabletId };
        const after = fromTheStart(table.name);
        const take = (record: SinkRecord): void => {
          fold.push(record);
          onRecord(record);
        };
        const tail = new ReplicaTail({ watcher, tablet, after, onRecord: take });
        this.#replicas.push({ server, tabletId, tail });
      }
    }
  }

  /** @param onRecord sees every record of every replica */
  static async follow(
    cluster: KuduCluster,
    client: KuduClient,
    name: string,
    onRecord: (record: SinkRecord) => void = () => undefined,
  ): Promise<FollowedTable> {
    const { tableId } = await client.getTable({ name });
    // A table counts as created when each tablet has a leader. A server that is late by then may lose the replica that
    // it has just begun, log and all, to a tablet copy: its leader had asked for that when there was none yet. Once a
    // replica has heard from its leader, that is over.
    const tablets = await eventually('each server has a replica of each tablet', async () => {
      const found = await client.getTableLocations({ tableId });
      const ends = await Promise.all(found.map((tablet) => committedEnds(client, tablet)));
      return ends.every((of) => of.length === cluster.tservers.length && of.every(({ index }) => index > 0n)) && found;
    });
    return new FollowedTable(cluster, client, onRecord, { tableId, name, tablets });
  }

  /** What came out of one replica of each tablet. */
  get totals(): { readonly rowRecords: number; readonly rejectedRows: number } {
    const [server] = this.#cluster.tservers;
    const tails = this.#replicas.filter((replica) => replica.server === server).map(({ tail }) => tail);
    return {
      rowRecords: tails.reduce((sum, { rowRecords }) => sum + rowRecords, 0),
      rejectedRows: tails.reduce((sum, { rejectedRows }) => sum + rejectedRows, 0),
    };
  }

  /** Asks the leader of a tablet to give up; who follows is for Raft to say. */
  async stepDown(tabletId: string): Promise<void> {
    const { tablets } = await this.#client.getTabletLocations([tabletId]);
    const leader = tablets[0]?.replicas.find(({ role }) => role === 'leader');
    if (leader) await this.#client.tabletServer(leader.address).leaderStepDown({ serverUuid: leader.uuid, tabletId });
  }

  /**
   * Holds all against all, once every replica has come to the same end: the folds of each server against the table as
   * Kudu's own client reads it; the bytes of each replica against the others'; and reading anew, from the start and
   * from somewhere in the middle, out of logs that restarts have rewritten, against what was read live.
   */
  async check(random: Random): Promise<void> {
    await this.#settle();
    const { name } = await this.#client.getTable({ tableId: this.tableId });
    const dump = await javaTool('dump', { masters: this.#cluster.masters, table: name });
    for (const [server, fold] of this.#folds)
      assert.deepEqual(fold.compare(dump), { rows: dump.length, differences: [] }, `fold of ${server.rpc}`);
    for (const { tabletId } of this.tablets) {
      const replicas = this.#replicas.filter((replica) => replica.tabletId === tabletId);
      const { digests } = replicas[0]!.tail;
      for (const { tail, server } of replicas) assertSame(tail.digests, digests, `replica of ${server.rpc}`);
      for (const { tail, server } of replicas) {
        const { position, records } = random.pick(tail.marks);
        const after = position.opId.index;
        assertSame(await this.#readAgain(server, tail, position), digests.slice(records), `read again after ${after}`);
        assertSame(await this.#readAgain(server, tail, fromTheStart(this.name)), digests, 'read again');
      }
    }
  }

  async #readAgain(server: TabletServer, live: ReplicaTail, after: TabletPosition): Promise<readonly string[]> {
    const watcher = this.#watchers.get(server)!;
    await using again = new ReplicaTail({ watcher, tablet: live.tablet, after });
    await eventually('the log is read again', () => again.failure !== null || again.upTo.index >= live.upTo.index);
    if (again.failure !== null) throw again.failure as Error;
    return again.digests;
  }

  /** Waits until all replicas have committed the same and all of that is read. */
  async #settle(): Promise<void> {
    try {
      await eventually(
        'all replicas are read to the same end',
        async () => {
          if (this.#replicas.some(({ tail }) => tail.failure !== null)) return true;
          const settled = await Promise.all(this.tablets.map((tablet) => this.#isSettled(tablet)));
          return settled.every((isSettled) => isSettled);
        },
        SETTLE_TIMEOUT_MS,
      );
    } catch (error) {
      const stands = await Promise.all(this.#replicas.map((replica) => this.#describe(replica)));
      throw new Error([(error as Error).message, ...stands].join('\n'), { cause: (error as Error).cause });
    }
    for (const { tail, server, tabletId } of this.#replicas)
      if (tail.failure !== null) {
        const said = await lastWords(server, tabletId);
        throw new Error(`replica of ${server.rpc} cannot be read; its server: ${said}`, { cause: tail.failure });
      }
  }

  /** Where one replica stands: as the server says, as it was read, and what its log has at that place. */
  async #describe({ server, tabletId, tail }: FollowedReplica): Promise<string> {
    const asServer = this.#client.tabletServer(server.rpc);
    const said = async (what: string, answer: Promise<string>): Promise<string> =>
      `${what} ${await answer.catch((error: unknown) => String(error))}`;
    const lastOpId = async (type: OpIdType): Promise<string> => {
      const { uuid } = await asServer.getStatus({ timeoutMs: 2000 });
      return formatOpId(await asServer.getLastOpId({ serverUuid: uuid, tabletId, type }, { timeoutMs: 2000 }));
    };
    const state = async (): Promise<string> => {
      const tablets = await asServer.listTablets({ timeoutMs: 2000 });
      const tablet = tablets.find((one) => one.tabletId === tabletId);
      return tablet ? `${tablet.state} ${tablet.dataState} ${tablet.role}` : 'it has none';
    };
    const lines = [
      `read up to ${formatOpId(tail.upTo)}, commits up to ${formatOpId(tail.committed)} seen`,
      await said('server says:', state()),
      await said('received', lastOpId(OpIdType.RECEIVED)),
      await said('committed', lastOpId(OpIdType.COMMITTED)),
      await said('log:', describeLog(this.#watchers.get(server)!, tabletId, tail.upTo.index + 1n)),
    ];
    return `- tablet ${tabletId} on ${server.rpc}: ${lines.join('; ')}`;
  }

  async #isSettled(tablet: TabletLocation): Promise<boolean> {
    const ends = await committedEnds(this.#client, tablet);
    const tails = this.#replicas.filter(({ tabletId }) => tabletId === tablet.tabletId);
    return tails.every(({ tail }) => ends.every((end) => end.index === tail.upTo.index));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#replicas.map(({ tail }) => tail[Symbol.asyncDispose]()));
    for (const watcher of this.#watchers.values()) watcher[Symbol.dispose]();
  }
}

/** The last committed operation of each replica, as its server knows it. */
async function committedEnds(client: KuduClient, { tabletId, replicas }: TabletLocation): Promise<readonly OpId[]> {
  return Promise.all(
    replicas.map(({ uuid, address }) =>
      client
        .tabletServer(address)
        .getLastOpId({ serverUuid: uuid, tabletId, type: OpIdType.COMMITTED }, { timeoutMs: 2000 }),
    ),
  );
}

/** What a tablet server's log said of a tablet last. */
async function lastWords({ logFile }: TabletServer, tabletId: string): Promise<string> {
  const lines = (await readFile(logFile, 'utf8')).split('\n').filter((line) => line.includes(tabletId));
  return ['', ...lines.slice(-40)].join('\n');
}

/** Names the first difference instead of printing thousands of lines. */
function assertSame(have: readonly string[], want: readonly string[], what: string): void {
  const place = want.findIndex((digest, i) => digest !== have[i]);
  if (place >= 0) assert.fail(`${what}: record ${place} is ${have[place]}, not ${want[place]}`);
  assert.equal(have.length, want.length, what);
}
