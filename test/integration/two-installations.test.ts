import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import type { StreamView } from '../../src/api/shapes.ts';
import { eventually } from '../support/eventually.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

/*
 * docs/operations.md, SPOOR_SYSTEM_TABLE_PREFIX: two installations on one Kudu and one Kafka, with a stream of the same name each, neither
 * fence each other nor take each other's tables for data.
 */

const TABLE = 'shop.orders';
const BUILT = process.env['TEST_SPOOR_PROGRAM'];

let cluster: SpoorCluster;
let other: SidecarProcess;
before(async () => {
  cluster = await SpoorCluster.start({ tservers: 1, env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1' } });
  const [tserver] = cluster.kudu.tservers;
  other = await SidecarProcess.start({
    name: 'other',
    ...(BUILT && { command: [process.execPath, BUILT] as const }),
    masters: cluster.kudu.masters,
    tserver: tserver!,
    brokers: cluster.kafka.brokers,
    dir: join(cluster.dir, 'other'),
    env: {
      SPOOR_SYSTEM_TABLE_REPLICAS: '1',
      SPOOR_SYSTEM_TABLE_PREFIX: 'other.',
      SPOOR_HOLD_DIR: join(tserver!.walDir, 'other-hold'),
    },
  });
  await other.waitUntilReady();
});
after(async () => {
  await other[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
});

async function streamOf(url: string): Promise<StreamView> {
  return (await (await fetch(`${url}/v1/streams/same`)).json()) as StreamView;
}

describe('two installations with a stream of the same name', () => {
  it('both ship every row of every table once, and not each other’s system tables', async () => {
    await javaTool('create-table', { masters: cluster.masters, table: TABLE, shape: 'small', replicas: 1 });
    const urls = new Map([
      ['one', cluster.sidecars[0]!.url],
      ['two', other.url],
    ]);
    for (const [topic, url] of urls) {
      const sink = { type: 'kafka', topic, partitions: 3, replicationFactor: 1, schemaTopic: `${topic}.schema` };
      const body = JSON.stringify({ name: 'same', tables: ['*'], start: 'now', sink });
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(`${url}/v1/streams`, { method: 'POST', headers, body });
      assert.equal(answer.status, 201, await answer.text());
    }
    // Longer than a heartbeat, which is a write to a system table.
    const { applied } = await writeMixed({ masters: cluster.masters, table: TABLE, ops: 6_000, rate: 600 });
    for (const [topic, url] of urls) {
      await cluster.assertFoldIsTable(topic, TABLE, applied);
      await eventually('all is shipped', async () => (await streamOf(url)).tablets.every(({ lagOps }) => lagOps === 0));
      const { tablets } = await streamOf(url);
      assert.deepEqual([...new Set(tablets.map(({ table }) => table))], [TABLE]);
    }
    for (const { logFile } of [cluster.sidecars[0]!, other])
      assert.doesNotMatch(await readFile(logFile, 'utf8'), /another sidecar ships this tablet|fencing lanes/);
  });
});
