import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../../src/demo/run-command.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

const DISK_MB = 120;
const MIN_FREE_PERCENT = 20;
const TABLE = 'small.disk';
const KEYS = 200;
const VALUE_BYTES = 8_000;
/** With it some 4 MB are written in a second: a thirtieth of the disk. */
const PAUSE_MS = 350;

/** A tablet server whose disk is small, and Kafka is away: what is held would fill it, and the server would not survive that. */
describe('a disk that what is held would fill', { skip: await serversMissing(), timeout: 300_000 }, () => {
  let mount: string;
  /** Of rows: only logs are on the small disk. */
  let data: WorkDir;
  let cluster: SpoorCluster;
  let client: KuduClient;
  before(async () => {
    mount = await mkdtemp(join(tmpdir(), 'spoor-small-disk-'));
    const { exitCode, output } = await runCommand('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m`, 'tmpfs', mount]);
    assert.equal(exitCode, 0, output);
    data = await WorkDir.create('spoor-small-disk-data');
    cluster = await SpoorCluster.start({
      tservers: 1,
      kuduDir: join(mount, 'kudu'),
      flags: [
        `--fs_data_dirs=${join(data.path, 'data')}`,
        ...['--log_segment_size_mb=1', '--log_min_segments_to_retain=1', '--flush_threshold_secs=1'],
        ...[
          '--flush_threshold_mb=4',
          '--maintenance_manager_polling_interval_ms=50',
          '--tablet_history_max_age_sec=600',
        ],
        ...['--log_container_preallocate_bytes=1048576', '--log_compression_codec=no_compression'],
      ],
      env: {
        SPOOR_SYSTEM_TABLE_REPLICAS: '1',
        SPOOR_HOLD_MIN_FREE_PERCENT: String(MIN_FREE_PERCENT),
      },
    });
    client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000 });
  });
  after(async () => {
    client[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
    await data[Symbol.asyncDispose]();
    await runCommand('umount', ['-l', mount]);
    await rm(mount, { recursive: true, force: true });
  });

  const freePercent = (): number => {
    const { bavail, blocks } = statfsSync(mount);
    return (100 * bavail) / blocks;
  };

  it('keeps its floor: the oldest held log goes, writes go on, and the gap is made up for when Kafka is back', async (t) => {
    const { tableId } = await client
      .createTable({
        name: TABLE,
        columns: [
          { name: 'id', type: 'INT64', key: true },
          { name: 'note', type: 'STRING' },
        ],
        hash: [{ columns: ['id'], buckets: 2 }],
        numReplicas: 1,
      })
      .then(({ description }) => description);
    await cluster.createStream('disk', [TABLE]);
    await cluster.waitForTablets('disk', isCaughtUp);
    await cluster.kafka.stop();
    const table = await client.openTable({ tableId });
    let written = 0;
    let lowest = 100;
    for (let round = 0; written < 1.3 * DISK_MB * 1e6; round++) {
      // The same few rows again and again, each as wide as before: the table stays small, and its log does not.
      const note = String(round % 10).repeat(VALUE_BYTES);
      await table.write(
        Array.from({ length: KEYS }, (_, id) => ({ type: 'upsert' as const, row: { id: BigInt(id), note } })),
      );
      written += KEYS * VALUE_BYTES;
      await sleep(PAUSE_MS);
      lowest = Math.min(lowest, freePercent());
    }
    t.diagnostic(
      `${Math.round(written / 1e6)} MB were written into the log; free at the lowest: ${lowest.toFixed(1)} %`,
    );
    assert.ok(cluster.kudu.tservers[0]!.running, 'the tablet server is well');
    assert.ok(lowest > 2, `${lowest} % free`);
    const metrics = await (await fetch(`${cluster.sidecars[0]!.url}/metrics`)).text();
    assert.match(metrics, /^spoor_hold_free_percent \d/m);
    const log = await readFile(cluster.sidecars[0]!.logFile, 'utf8');
    assert.match(log, /the disk is nearly full, held logs are let go of/);
    await eventually('the floor is kept', () => freePercent() >= MIN_FREE_PERCENT - 2, 60_000);

    await cluster.kafka.restart();
    await cluster.waitForTablets('disk', isCaughtUp, 150_000);
    await cluster.foldIsTable('disk', TABLE, { lenient: true });
  });
});
