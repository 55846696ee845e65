import assert from 'node:assert/strict';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { javaTool } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';

const ROWS = 100_000;

/** The same log lies on three disks, and any of them may go bad. */
describe('a held log with damage in it', { skip: await serversMissing(), timeout: 400_000 }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let watch: ReplicaWatch;
  before(async () => {
    lease = await leaseCluster();
    cluster = lease.cluster;
    watch = await ReplicaWatch.open(cluster);
  });
  after(async () => {
    watch[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
  });

  /** A stream that is paused over a load of some segments: all of them are held, everywhere. */
  async function heldStream(name: string): Promise<{ tabletId: string; table: string; applied: number }> {
    const table = `${name}.rows`;
    await javaTool('create-table', { masters: cluster.masters, table, shape: 'small', buckets: 2 });
    await cluster.createStream(name, [table]);
    await cluster.waitForTablets(name, isCaughtUp);
    assert.equal((await cluster.api('POST', `/v1/streams/${name}/pause`)).status, 200);
    using load = Load.start(cluster, table, { ops: ROWS, threads: 2, keys: 20_000 });
    const { applied } = await load.finished();
    const [tabletId] = await watch.tabletIds(table);
    return { tabletId: tabletId!, table, applied };
  }

  /** Exchanges some bytes all along the held segments from the `first`th on but the newest. @returns how many segments */
  async function damage(number: number, tabletId: string, first = 0): Promise<number> {
    const dir = join(watch.holdDir(number), tabletId);
    const [generation] = (await readdir(dir)).filter((name) => name.startsWith('g')).sort();
    const segments = (await readdir(join(dir, generation!))).filter((name) => name.startsWith('wal-')).sort();
    const chosen = segments.slice(first, -1);
    for (const name of chosen) {
      await using file = await open(join(dir, generation!, name), 'r+');
      const { size } = await file.stat();
      for (let at = 20_000; at < size - 20_000; at += 100_000) await file.write(Buffer.from('damaged'), 0, 7, at);
    }
    assert.ok(chosen.length > 0, `no segment to damage among ${segments.length}`);
    return chosen.length;
  }

  // What is whole before the damage and behind it is held still: what comes from elsewhere belongs between.
  it("is mended from another replica's, and not a row is missing or comes twice", async (t) => {
    const { tabletId, table, applied } = await heldStream('mended');
    const leader = await eventually('it has a leader', async () => (await watch.leaders()).get(tabletId));
    const count = await damage(leader, tabletId, 1);
    assert.equal((await cluster.api('POST', '/v1/streams/mended/resume')).status, 200);
    await cluster.waitForTablets('mended', isCaughtUp, 90_000);
    await cluster.assertFoldIsTable('mended', table, applied);
    t.diagnostic(`${count} segments of 1 MB were damaged`);
  });

  it('is made up for by the table where all replicas have it', async () => {
    const { tabletId, table } = await heldStream('lost');
    for (const number of [0, 1, 2]) await damage(number, tabletId);
    assert.equal((await cluster.api('POST', '/v1/streams/lost/resume')).status, 200);
    const told = await eventually('the gap is told', async () =>
      (await cluster.tablets('lost')).find((tablet) => tablet.tabletId === tabletId && tablet.state === 'gap'),
    );
    assert.match(told.error!.message, /the log before that is damaged: \S+wal-0\d+ byte \d+: the checksum of a batch/);
    await cluster.waitForTablets('lost', isCaughtUp, 150_000);
    await cluster.foldIsTable('lost', table, { lenient: true });
  });
});
