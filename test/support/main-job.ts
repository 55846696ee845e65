import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import type { SecurityOptions } from '../../src/kudu/security/options.ts';
import { javaTool } from './java-tools.ts';
import { Load } from './load.ts';
import { isCaughtUp, type SpoorCluster } from './spoor-cluster.ts';

const ROWS_BEFORE = 5_000;

/**
 * What Spoor is for, in one: a table that holds rows is copied while mixed operations are written to it, a sidecar is
 * killed, every tablet gets another leader, and at the end the records are the table, as Kudu's own Java client reads it
 * and as `spoor verify` does.
 * @param settings of `spoor verify`: how Kudu is reached
 */
export async function mainJob(
  t: TestContext,
  cluster: SpoorCluster,
  name: string,
  options: {
    readonly client: SecurityOptions;
    readonly settings: Readonly<Record<string, string>>;
    readonly ops: number;
    readonly rate: number;
  },
): Promise<void> {
  const table = `sec.${name}`;
  await javaTool('create-table', { masters: cluster.masters, table, shape: 'small' });
  using load = Load.start(cluster, table, { ops: options.ops, rate: options.rate, fill: ROWS_BEFORE, keys: 20_000 });
  await sleep(2000);
  await cluster.createStream(name, [table], { start: 'snapshot' });
  await cluster.waitForTablets(name, ({ state }) => state === 'running');
  await cluster.sidecars[0]!.kill();
  await sleep(500);
  await cluster.sidecars[0]!.restart();
  await cluster.sidecars[0]!.waitUntilReady();
  const moved = await moveLeaders(cluster, table, options.client);
  await load.finished();
  await cluster.waitForTablets(name, isCaughtUp);
  const fold = await cluster.foldIsTable(name, table);
  assert.ok(fold.baseRows > 0 && fold.records > 0, 'rows were copied, and changes shipped');
  t.diagnostic(`${fold.baseRows} rows copied, ${fold.records} changes, ${moved} leaders moved`);
  const env = Object.fromEntries(Object.entries(options.settings).filter(([key]) => key.startsWith('SPOOR_')));
  const { code, out, err } = await cluster.cli(['verify', name], env);
  assert.equal(code, 0, out + err);
  assert.match(out, /\nmissing +0\nextra +0\ndifferent +0\n$/);
}

/** Asks the leader of every tablet to hand over to another replica. */
export async function moveLeaders(
  cluster: SpoorCluster,
  table: string,
  security: SecurityOptions = {},
): Promise<number> {
  using client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 20_000, ...security });
  const locations = await client.getTableLocations({ name: table });
  for (const { tabletId, replicas } of locations) {
    const leader = replicas.find(({ role }) => role === 'leader')!;
    const next = replicas.find(({ role }) => role !== 'leader')!;
    const request = { serverUuid: leader.uuid, tabletId, newLeaderUuid: next.uuid };
    await client.tabletServer(leader.address).leaderStepDown(request);
  }
  return locations.length;
}
