import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { assertIntact } from '../support/intact-table.ts';
import { javaTool } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

/** Log segments are small and log GC is eager, so that what Spoor does not hold is soon gone. */
const FLAGS = [
  '--log_segment_size_mb=1',
  '--flush_threshold_secs=2',
  '--raft_heartbeat_interval_ms=200',
  '--maintenance_manager_polling_interval_ms=100',
];
const SERVERS = [0, 1, 2, 3];

/**
 * Kafka is down, so every log is held, and the replicas are taken away from under the sidecars that hold them. Tablet
 * copies of a held replica are where a stock server can corrupt one (kudu-facts 8.6); wal-hold.test.ts has the holds
 * alone, and this the sidecars.
 */
describe('replicas that come and go while they are held', { skip: await serversMissing(), timeout: 580_000 }, () => {
  let cluster: SpoorCluster;
  let watch: ReplicaWatch;
  before(async () => {
    cluster = await SpoorCluster.start({ tservers: 4, flags: FLAGS });
    watch = await ReplicaWatch.open(cluster);
  });
  after(async () => {
    watch[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  async function replicasOf(tabletId: string): Promise<{ leader: number; followers: readonly number[] }> {
    return eventually('it has a leader and two followers', async () => {
      const leader = (await watch.leaders()).get(tabletId);
      const followers = ((await watch.replicas()).get(tabletId) ?? []).filter((number) => number !== leader);
      return leader !== undefined && followers.length === 2 && { leader, followers };
    });
  }

  /** How many incarnations of a tablet's log a server's sidecar holds. */
  async function generations(number: number, tabletId: string): Promise<number> {
    return (await readdir(join(watch.holdDir(number), tabletId))).length;
  }

  it('lose and repeat nothing, and stay intact: tombstoned and copied anew, moved away and back (traps 35, 36)', async (t) => {
    await javaTool('create-table', { masters: cluster.masters, table: 'moved.rows', shape: 'types', buckets: 2 });
    await cluster.createStream('moved', ['moved.rows']);
    const [copied, moved] = (await watch.tabletIds('moved.rows')) as [string, string];
    await watch.waitUntilWhole([copied, moved]);
    await cluster.waitForTablets('moved', ({ state }) => state === 'running');
    using load = Load.start(cluster, 'moved.rows', { rate: 2500, threads: 2, keys: 5000, seed: 31 });
    await sleep(2000);
    await cluster.kafka.kill();
    const downAtMs = Date.now();

    // In place, twice, each time after some of its log is gone everywhere but in the holds.
    const victim = (await replicasOf(copied)).followers[0]!;
    for (let round = 1; round <= 2; round++) {
      await eventually('the server collected what is held', async () => {
        const [log, held] = [await watch.log(victim, copied), await watch.held(victim, copied)];
        return held.segments >= log.segments + round;
      });
      const before = await generations(victim, copied);
      assert.equal(await watch.tombstone(victim, copied), null);
      await eventually('the copy is held', async () => (await generations(victim, copied)) > before);
      await watch.waitUntilWhole([copied]);
    }

    // Away to the server that has none, and back.
    const { followers, leader } = await replicasOf(moved);
    const from = followers[0]!;
    const to = SERVERS.find((number) => number !== leader && !followers.includes(number))!;
    for (const [source, target] of [
      [from, to],
      [to, from],
    ] as const) {
      assert.equal(await watch.move(moved, source, target), null);
      await watch.waitUntilMoved(moved, source, target, 90_000);
      await watch.waitUntilWhole([moved]);
      await sleep(2000);
    }
    // Those that were away lead now: what they lack they must ask the others for.
    await watch.lead(copied, victim);
    await watch.lead(moved, from);
    t.diagnostic(`Kafka was down for ${((Date.now() - downAtMs) / 1000).toFixed(1)} s`);
    await cluster.kafka.restart();
    const { applied } = await load.stop();
    await cluster.waitForTablets('moved', isCaughtUp, 90_000);
    await cluster.assertFoldIsTable('moved', 'moved.rows', applied);

    await assertIntact(cluster.kudu, 'moved.rows', 2);
  });
});
