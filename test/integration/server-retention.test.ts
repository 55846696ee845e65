import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

const FLAG = 'log_min_segments_to_retain';
/** Small segments that log GC takes four seconds later. */
const EARLY_GC = ['--log_segment_size_mb=1', '--log_compression_codec=no_compression', '--flush_threshold_secs=4'];

describe('server retention', { skip: await serversMissing(), timeout: 180_000 }, () => {
  it('rises while the broker is down, over restarts of both sides, and falls when it is back', async (t) => {
    const began = performance.now();
    const step = (what: string): void => {
      t.diagnostic(`${((performance.now() - began) / 1000).toFixed(1)} s: ${what}`);
    };
    await using cluster = await SpoorCluster.start({
      tservers: 1,
      flags: EARLY_GC,
      env: { SPOOR_HOLD_SERVER: 'on', SPOOR_SYSTEM_TABLE_REPLICAS: '1', SPOOR_NICE: '0' }, // links must be in time
    });
    const [sidecar] = cluster.sidecars;
    const [server] = cluster.kudu.tservers;
    using client = await KuduClient.connect({ masters: cluster.kudu.masters });
    const tserver = client.tabletServer(server!.rpc);
    const flag = async (): Promise<number> => Number((await tserver.getFlags([FLAG]))[0]!.value);
    /** Of the longest log, the server's own names of it. */
    const liveSegments = async (): Promise<number> => {
      const wals = join(server!.walDir, 'wals');
      const counts = (await readdir(wals)).map(async (tabletId) => {
        const names = await readdir(join(wals, tabletId)).catch(() => []);
        return names.filter((name) => name.startsWith('wal-')).length;
      });
      return Math.max(...(await Promise.all(counts)));
    };
    let loaded = 0;
    const load = async (rows: number, ...more: readonly string[]): Promise<void> => {
      const { exitCode, output } = await cluster.kudu.kuduCli([
        'perf',
        'loadgen',
        cluster.kudu.masters[0]!,
        '--num_threads=2',
        `--num_rows_per_thread=${rows / 2}`,
        '--flush_per_n_rows=100',
        '--string_len=200',
        `--seq_start=${loaded}`, // no key twice
        ...more,
      ]);
      assert.equal(exitCode, 0, output);
      loaded += rows;
    };
    step('servers are up');

    const oneTablet = ['--table_num_hash_partitions=1', '--table_num_range_partitions=1'];
    await load(2, '--keep_auto_table', '--table_num_replicas=1', ...oneTablet);
    const [table] = (await client.listTables()).filter(({ name }) => name.includes('loadgen'));
    await cluster.createStream('retained', [table!.name], { start: 'snapshot' });
    await cluster.waitForTablets('retained', ({ state }) => state === 'running');
    await cluster.kafka.stop();
    assert.equal(await flag(), 1);
    await load(30_000, `--table_name=${table!.name}`);
    step('the log is written, the broker is down');
    const raised = await eventually('the flag rises to what the log has', async () => {
      const value = await flag();
      return value >= 6 && value;
    });
    step(`raised to ${raised}`);
    const stateFile = join(server!.walDir, 'spoor-hold', 'server-retention.json');
    assert.deepEqual(JSON.parse(await readFile(stateFile, 'utf8')), { original: 1, ours: [raised] });

    await server!.kill();
    await server!.restart();
    await load(24_000, `--table_name=${table!.name}`); // into a new log, of which all is held
    await eventually('it rises again after the server forgot it', async () => (await flag()) >= 6);
    step('raised again after a restart of the server');

    await sidecar!.kill();
    assert.ok((await flag()) >= 6);
    await load(20_000, `--table_name=${table!.name}`);
    const kept = await flag();
    // Less where log GC was quicker with the restarted server's log than Spoor with the flag; that part is linked.
    await eventually('log GC leaves no more than the flag says', async () => (await liveSegments()) <= kept);
    step(`${kept} segments are kept while nobody links`);
    await sidecar!.restart();
    await cluster.kafka.restart();
    await eventually('the flag falls', async () => (await flag()) === 1, 60_000);
    step('fallen again');
    await eventually('the log shrinks', async () => (await liveSegments()) <= 2);
    const [tablet] = await cluster.waitForTablets('retained', (view) => view.state === 'running' && view.lagOps === 0);
    step('the log has shrunk');
    // On a machine that stood still for seconds log GC took what was not linked yet: that is said, and made up for.
    const isRepaired = tablet!.resynced === 'repair';
    const records = isRepaired ? 0 : loaded - 2;
    const fold = await cluster.foldIsTable('retained', table!.name, { records, lenient: isRepaired });
    if (isRepaired) step('what was lost is repaired');
    else assert.equal(fold.records, records, 'nothing is missing, and nothing comes twice');
  });
});
