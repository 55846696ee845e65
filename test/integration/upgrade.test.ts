import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkTopic } from '../soak/checker.ts';
import { serversMissing } from '../support/cluster.ts';
import { form } from '../support/forms.ts';
import { javaTool } from '../support/java-tools.ts';
import { USUAL_FLAGS } from '../support/leased-cluster.ts';
import { Load } from '../support/load.ts';
import { buildOldVersion } from '../support/old-version.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

/** The last one that kept positions in consumer groups. */
const VERSION_0_1 = '66e8fd1';
const TABLE = 'up.t';
const ROWS_A_SECOND = 600;
const skip = form<string | false>('only in test:long', false) || (await serversMissing());

describe('an upgrade from version 0.1', { skip, timeout: 900_000 }, () => {
  it('loses and repeats nothing, one sidecar after the other under load; nor does the way back lose anything (docs/sinks.md)', async () => {
    const old = await buildOldVersion(VERSION_0_1);
    await using cluster = await SpoorCluster.start({ flags: USUAL_FLAGS, program: old });
    await javaTool('create-table', { masters: cluster.masters, table: TABLE, shape: 'types', buckets: 8 });
    await cluster.createStream('once', [TABLE]);
    await cluster.createStream('atleast', [TABLE], { sink: { delivery: 'at-least-once' } });
    for (const stream of ['once', 'atleast']) await cluster.waitForTablets(stream, ({ state }) => state === 'running');
    let applied = 0;
    const underLoad = async (seed: number, work: () => Promise<void>): Promise<void> => {
      using load = Load.start(cluster, TABLE, { rate: ROWS_A_SECOND, keys: 3000, threads: 3, flush: 20, seed });
      await sleep(8_000);
      await work();
      await sleep(8_000);
      applied += (await load.stop()).applied;
      for (const stream of ['once', 'atleast']) await cluster.waitForTablets(stream, isCaughtUp, 120_000);
    };

    await underLoad(5, async () => {
      for (const [number, sidecar] of cluster.sidecars.entries()) {
        await (number === 1 ? sidecar.kill() : sidecar.stop());
        await cluster.startOther(number);
        await sleep(5_000);
      }
    });
    const { repeats } = await checkTopic(cluster, 'once', TABLE, { repeats: false, atLeast: applied, hasOld: true });
    assert.equal(repeats, 0);
    await checkTopic(cluster, 'atleast', TABLE, { repeats: true, atLeast: applied, hasOld: true });

    await underLoad(6, async () => {
      await Promise.all(cluster.sidecars.map((sidecar) => sidecar.stop()));
      await cluster.kafka.withAdmin(async (admin) => {
        const { groups } = await admin.listGroups();
        await admin.deleteGroups(groups.map(({ groupId }) => groupId).filter((id) => id.startsWith('spoor.')));
      });
      await Promise.all(cluster.sidecars.map((_, number) => cluster.startOther(number, old)));
    });
    for (const stream of ['once', 'atleast'])
      await checkTopic(cluster, stream, TABLE, { repeats: true, atLeast: applied, hasOld: true });
  });
});
