import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KuduClient } from '../../src/kudu/client.ts';
import { eventually } from './eventually.ts';
import type { SpoorCluster } from './spoor-cluster.ts';

const ASK_TIMEOUT_MS = 2000;

/** What lies on disk of one tablet's log at one server. */
export interface LogOnDisk {
  readonly segments: number;
  readonly bytes: number;
}

/** Looks at a cluster from outside: who leads what by the tablet servers' own word, and which log files lie where. */
export class ReplicaWatch implements Disposable {
  readonly #cluster: SpoorCluster;
  readonly #client: KuduClient;
  /** Uuids of the tablet servers, by number. */
  readonly uuids: readonly string[];

  private constructor(cluster: SpoorCluster, client: KuduClient, uuids: readonly string[]) {
    this.#cluster = cluster;
    this.#client = client;
    this.uuids = uuids;
  }

  static async open(cluster: SpoorCluster): Promise<ReplicaWatch> {
    const client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000 });
    const statuses = await Promise.all(cluster.kudu.tservers.map(({ rpc }) => client.tabletServer(rpc).getStatus()));
    return new ReplicaWatch(
      cluster,
      client,
      statuses.map(({ uuid }) => uuid),
    );
  }

  async tabletIds(table: string): Promise<readonly string[]> {
    const { tableId } = (await this.#client.openTable({ name: table })).description;
    return (await this.#client.getTableLocations({ tableId })).map(({ tabletId }) => tabletId);
  }

  /** Number of the tablet server that leads each tablet, of those servers that answer; `without` is not asked. */
  async leaders(without?: number): Promise<ReadonlyMap<string, number>> {
    const leaders = new Map<string, number>();
    for (const [number, tablets] of (await this.#listAll(without)).entries())
      for (const { tabletId, role } of tablets) if (role === 'leader') leaders.set(tabletId, number);
    return leaders;
  }

  /** Numbers of the tablet servers that have a replica which runs, by tablet. */
  async replicas(): Promise<ReadonlyMap<string, readonly number[]>> {
    const replicas = new Map<string, number[]>();
    for (const [number, tablets] of (await this.#listAll()).entries())
      for (const { tabletId, state, dataState } of tablets)
        if (state === 'running' && dataState === 'ready')
          replicas.set(tabletId, [...(replicas.get(tabletId) ?? []), number]);
    return replicas;
  }

  /** Resolves when every one of the tablets has a leader and `count` replicas that run. */
  async waitUntilWhole(tabletIds: readonly string[], count = 3, timeoutMs = 180_000): Promise<void> {
    await eventually(
      'every tablet has a leader and all replicas run',
      async () => {
        const [leaders, replicas] = [await this.leaders(), await this.replicas()];
        return tabletIds.every((id) => leaders.has(id) && (replicas.get(id)?.length ?? 0) >= count);
      },
      timeoutMs,
    );
  }

  /** Asks a tablet's leader to hand over; to `to` if that is a voter. Answers what the tool said when it failed. */
  async stepDown(tabletId: string, to?: number): Promise<string | null> {
    const uuid = to === undefined ? undefined : this.uuids[to];
    const { exitCode, output } = await this.#cluster.kudu.kuduCli([
      'tablet',
      'leader_step_down',
      this.#cluster.masters,
      tabletId,
      ...(uuid === undefined ? [] : [`--new_leader_uuid=${uuid}`]),
    ]);
    return exitCode === 0 ? null : output;
  }

  /** Hands tablets over until server `to` leads them. */
  async lead(tabletId: string, to: number): Promise<void> {
    await eventually(`server ${to} leads ${tabletId}`, async () => {
      if ((await this.leaders()).get(tabletId) === to) return true;
      await this.stepDown(tabletId, to);
      return false;
    });
  }

  async addColumn(table: string, name: string): Promise<void> {
    const add = { name, type: 'INT32', nullable: true } as const;
    await this.#client.alterTable({ name: table }, { steps: [{ add }] }, { timeoutMs: 60_000 });
  }

  /** Asks for a replica to move to another server. Answers what the tool said when it failed. */
  async move(tabletId: string, from: number, to: number): Promise<string | null> {
    const { exitCode, output } = await this.#cluster.kudu.kuduCli([
      'tablet',
      'change_config',
      'move_replica',
      this.#cluster.masters,
      tabletId,
      this.uuids[from]!,
      this.uuids[to]!,
    ]);
    return exitCode === 0 ? null : output;
  }

  /** Resolves when it has moved: the master does that, step by step. */
  async waitUntilMoved(tabletId: string, from: number, to: number, timeoutMs = 90_000): Promise<void> {
    await eventually(
      'the replica has moved',
      async () => {
        const at = (await this.replicas()).get(tabletId) ?? [];
        return at.includes(to) && !at.includes(from);
      },
      timeoutMs,
    );
  }

  /** Deletes a replica but for its tombstone; the leader copies it anew. Answers what the tool said when it failed. */
  async tombstone(number: number, tabletId: string): Promise<string | null> {
    const { rpc } = this.#cluster.kudu.tservers[number]!;
    const { exitCode, output } = await this.#cluster.kudu.kuduCli(['remote_replica', 'delete', rpc, tabletId, 'test']);
    return exitCode === 0 ? null : output;
  }

  /** The server's own log of a tablet. */
  async log(number: number, tabletId: string): Promise<LogOnDisk> {
    return logIn(join(this.#cluster.kudu.tservers[number]!.walDir, 'wals', tabletId));
  }

  /** Number of the oldest segment in the server's own log of a tablet. */
  async firstSegment(number: number, tabletId: string): Promise<number> {
    const names = await readdir(join(this.#cluster.kudu.tservers[number]!.walDir, 'wals', tabletId));
    return Math.min(...names.flatMap((name) => (name.startsWith('wal-') ? [Number(name.slice(4))] : [])));
  }

  /** What a server's sidecar holds of a tablet's log, whatever it is in. */
  async held(number: number, tabletId: string): Promise<LogOnDisk> {
    return logIn(join(this.holdDir(number), tabletId));
  }

  holdDir(number: number): string {
    return join(this.#cluster.kudu.tservers[number]!.walDir, 'spoor-hold');
  }

  /** Tablets of which a server's sidecar holds something. */
  async heldTablets(number: number): Promise<readonly string[]> {
    const names = await readdir(this.holdDir(number)).catch(() => []);
    return names.filter((name) => /^[0-9a-f]{32}$/.test(name));
  }

  /** Where more than `maxSegments` segments of the tablets' logs lie, or any where no replica is; one line each. */
  async tooLarge(tabletIds: readonly string[], maxSegments: number): Promise<readonly string[]> {
    const lines: string[] = [];
    const replicas = await this.replicas();
    for (const number of this.uuids.keys())
      for (const tabletId of tabletIds)
        for (const what of ['log', 'held'] as const) {
          const { segments, bytes } = await this[what](number, tabletId);
          const allowed = replicas.get(tabletId)?.includes(number) === true ? maxSegments : 0;
          if (segments > allowed) lines.push(`${what} of ${tabletId} at ${number}: ${segments} (${bytes} bytes)`);
        }
    return lines;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  async #listAll(without?: number) {
    return Promise.all(
      this.#cluster.kudu.tservers.map(async ({ rpc, running }, number) => {
        if (!running || number === without) return [];
        const signal = AbortSignal.timeout(ASK_TIMEOUT_MS); // it may be frozen
        return this.#client
          .tabletServer(rpc)
          .listTablets({ signal })
          .catch(() => []);
      }),
    );
  }
}

async function logIn(dir: string): Promise<LogOnDisk> {
  const names = await readdir(dir, { recursive: true }).catch(() => []);
  let segments = 0;
  let bytes = 0;
  for (const name of names) {
    if (!/(^|\/)wal-\d+$/.test(name)) continue;
    const found = await stat(join(dir, name)).catch(() => null);
    if (found === null) continue;
    segments += 1;
    bytes += found.blocks * 512;
  }
  return { segments, bytes };
}
