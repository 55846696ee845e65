import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TabletView } from '../../src/replication/views.ts';
import { serversMissing } from '../support/cluster.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

const isWhole = ({ state, lagOps }: TabletView): boolean => state === 'running' && lagOps === 0;

describe('base copy', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let cluster: SpoorCluster;
  before(async () => {
    cluster = await SpoorCluster.start();
  });
  after(() => cluster[Symbol.asyncDispose]());

  it('copies the rows that were there, under load, and then ships the log: fold equals table', async (t) => {
    await javaTool('create-table', { masters: cluster.masters, table: 'bc.first', shape: 'types' });
    await writeMixed({ masters: cluster.masters, table: 'bc.first', ops: 40_000, keys: 20_000 });
    using load = Load.start(cluster, 'bc.first', { rate: 2000, keys: 20_000 });
    await sleep(1500);
    await cluster.createStream('first', ['bc.first'], { start: 'snapshot' });
    await cluster.waitForTablets('first', ({ state }) => state === 'running');
    await sleep(1500);
    await load.stop();
    await cluster.waitForTablets('first', isWhole);
    const fold = await cluster.foldIsTable('first', 'bc.first');
    t.diagnostic(`${fold.baseRows} rows copied, ${fold.records} changes`);
    assert.ok(fold.baseRows > 1000 && fold.records > 1000);
  });
});
