import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { serversMissing } from '../support/cluster.ts';
import { form } from '../support/forms.ts';
import { javaTool } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

/**
 * The heaviest of the ten cases of an earlier attempt (see ten-cases.test.ts): 2,000,000 rows from 4 writers while
 * everything is restarted in turn, 10 times; that is the long form.
 * Rows are mixed operations: about half of them take effect, and each of those must arrive once.
 */
const ROWS = form(40_000, 2_000_000);
const ROUNDS = form(2, 10);
const WRITERS = 4;
const FLUSH = 500;
/** About what a round takes: the load is spread over all of them. More rows a second than that starve two cores. */
const ROUND_S = 15;
const MAX_RATE = 3000;
/** Flushes now and then, so that log GC has work; each second they would leave nothing for the writers. */
const FLAGS = ['--log_segment_size_mb=1', '--flush_threshold_secs=10'];

describe(
  'restarts of everything',
  { skip: await serversMissing(), timeout: (300 + ROUNDS * 120 + ROWS / 1000) * 1000 },
  () => {
    it(`${ROWS} rows from ${WRITERS} writers and ${ROUNDS} rounds: every row arrives, once and in order`, async (t) => {
      await using cluster = await SpoorCluster.start({ flags: FLAGS });
      await javaTool('create-table', { masters: cluster.masters, table: 'all.rows', shape: 'small' });
      await cluster.createStream('all', ['all.rows']);
      await cluster.waitForTablets('all', ({ state }) => state === 'running');
      const startedMs = performance.now();
      const seconds = (): string => ((performance.now() - startedMs) / 1000).toFixed(1);
      using load = Load.start(cluster, 'all.rows', {
        ops: ROWS,
        threads: WRITERS,
        flush: FLUSH,
        keys: Math.max(1000, ROWS / 10),
        rate: Math.min(MAX_RATE, Math.ceil(ROWS / (ROUNDS * ROUND_S))),
        seed: 20,
      });
      for (let round = 0; round < ROUNDS; round++) {
        for (const [number, server] of cluster.kudu.tservers.entries()) {
          const sidecar = cluster.sidecars[number]!;
          // In order and by force, in turns.
          if (round % 2 === 1) await Promise.all([server.kill(), sidecar.kill()]);
          await Promise.all([server.restart(), sidecar.restart()]);
        }
        if (round % 2 === 1) await cluster.kafka.kill();
        await cluster.kafka.restart();
        await cluster.kudu.master.restart();
      }
      t.diagnostic(`${ROUNDS} rounds were over after ${seconds()} s`);
      const { rows, applied } = await load.finished();
      t.diagnostic(`${rows} rows were written after ${seconds()} s, ${applied} of them took effect`);
      assert.equal(rows, ROWS);
      await cluster.waitForTablets('all', isCaughtUp, 300_000);
      t.diagnostic(`all was shipped after ${seconds()} s`);
      await cluster.assertFoldIsTableAfterRestarts('all', 'all.rows', applied, ROUNDS * 3 * FLUSH * WRITERS);
    });
  },
);
