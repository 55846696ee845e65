import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TabletView } from '../../src/api/shapes.ts';
import { serversMissing } from '../support/cluster.ts';
import { javaTool } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { NtpServer } from '../support/ntp-server.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';

/** A write that waits is stamped this far ahead of the clock, and is answered after twice of it. */
const CLOCK_ERROR_MS = 400;

/** Servers whose clocks are not exact, so that times of writes with COMMIT_WAIT are out of order (kudu-facts 5.9). */
describe('writes that wait for their time', { skip: await serversMissing(), timeout: 300_000 }, () => {
  it('are all there, once in the stream and in a copy whose cut lies behind them in the log (trap 44)', async (t) => {
    using clock = await NtpServer.start({ errorMs: CLOCK_ERROR_MS });
    await using cluster = await SpoorCluster.start({
      tservers: 1,
      flags: clock.flags,
      masterFlags: clock.flags,
      env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1' },
    });
    const table = { masters: cluster.masters, table: 'wait.rows' };
    await javaTool('create-table', { ...table, shape: 'small', buckets: 1, replicas: 1 });
    await cluster.createStream('wait-now', ['wait.rows']);
    // Few of them: a server has as many threads that carry writes out as it has cores, and each is kept waiting by one.
    // So many keys that no later write hides what is lost of an earlier one.
    using waiting = Load.start(cluster, 'wait.rows', { threads: 4, flush: 1, keys: 1e9, commitWaitEvery: 1 });
    using others = Load.start(cluster, 'wait.rows', { threads: 2, flush: 5, rate: 200, keys: 1e9 });
    await sleep(3000);
    const copies = ['wait-a', 'wait-b', 'wait-c'];
    for (const name of copies) {
      await cluster.createStream(name, ['wait.rows'], { start: 'snapshot' });
      await sleep(1500);
    }
    const applied = (await waiting.stop()).applied + (await others.stop()).applied;
    for (const name of ['wait-now', ...copies])
      await cluster.waitForTablets(name, ({ state, lagOps }: TabletView) => state === 'running' && lagOps === 0);
    await cluster.assertFoldIsTable('wait-now', 'wait.rows', applied);
    const disordered = await countStampedAhead(cluster, 'wait-now');
    t.diagnostic(`${disordered} of ${applied} rows are stamped behind a later one`);
    assert.ok(disordered >= 10, 'or this shows little');
    for (const name of copies) {
      const fold = await cluster.foldIsTable(name, 'wait.rows', { lenient: true });
      t.diagnostic(`${name}: ${fold.baseRows} rows copied, ${fold.records} records`);
      assert.ok(fold.baseRows > 0);
    }
  });
});

/** How many rows of a topic are stamped later than one that is behind them in their tablet's log. */
async function countStampedAhead(cluster: SpoorCluster, topic: string): Promise<number> {
  const rows: { readonly tablet: string; readonly index: number; readonly time: bigint }[] = [];
  await using reader = await TopicReader.start({
    brokers: cluster.kafka.brokers,
    topics: [topic],
    onRecord: ({ value }) => {
      if (value === null) return;
      const { source } = JSON.parse(value.toString()) as {
        source: { tablet_id: string; index: number; hybrid_time: string };
      };
      rows.push({ tablet: source.tablet_id, index: source.index, time: BigInt(source.hybrid_time) });
    },
  });
  await reader.settle(() => rows.length > 0, { timeoutMs: 30_000 });
  const lowestBehind = new Map<string, bigint>();
  let ahead = 0;
  for (const { tablet, time } of rows.sort((a, b) => b.index - a.index)) {
    const lowest = lowestBehind.get(tablet);
    if (lowest !== undefined && time > lowest) ahead++;
    if (lowest === undefined || time < lowest) lowestBehind.set(tablet, time);
  }
  return ahead;
}
