import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { Load } from '../support/load.ts';
import { OutageSuite } from '../support/outage-suite.ts';
import { isCaughtUp } from '../support/spoor-cluster.ts';

/** How long the broker is frozen in the case of that name. */
const FREEZE_S = form(24, 600);
/** Rows a second meanwhile. */
const FREEZE_RATE = form(2000, 1000);

/** Sidecars, servers and the broker are away for longer, and logs go; each time the topic must fold into the table, row for row. */
OutageSuite.describe('outages', (on) => {
  on.check(
    'ships nothing of a paused stream, holds its log, lets the server collect its own, and ships all after',
    async (t) => {
      const tabletIds = await on.begin('paused', 'types', 2);
      using load = Load.start(on.cluster, 'fo.paused', { rate: 2000, threads: 2 });
      await sleep(2000);
      assert.equal((await on.cluster.api('POST', '/v1/streams/paused/pause')).status, 200);
      await on.cluster.waitForTablets('paused', ({ state }) => state === 'paused');
      await sleep(1500); // the last write in hand
      const offsets = async (): Promise<unknown> =>
        on.cluster.kafka.withAdmin((admin) => admin.fetchTopicOffsets('paused'));
      const atPause = await offsets();
      await eventually(
        'every hold is more than the server keeps',
        async () => {
          for (const id of tabletIds)
            for (const number of [0, 1, 2]) {
              const [held, log] = [await on.watch.held(number, id), await on.watch.log(number, id)];
              if (held.segments < 4 || log.segments > held.segments - 2) return false;
            }
          return true;
        },
        60_000,
      );
      assert.deepEqual(await offsets(), atPause, 'nothing ships');
      const { applied } = await load.stop();
      assert.deepEqual(await offsets(), atPause, 'nothing ships');
      assert.equal((await on.cluster.api('POST', '/v1/streams/paused/resume')).status, 200);
      const resumedAtMs = performance.now();
      await on.cluster.waitForTablets('paused', isCaughtUp);
      t.diagnostic(`${applied} rows, caught up ${Math.round(performance.now() - resumedAtMs)} ms after the pause`);
      await on.cluster.assertFoldIsTable('paused', 'fo.paused', applied);
    },
  );

  on.check('misses nothing when the sidecars of two of three replicas are away for a while', async () => {
    const tabletIds = await on.begin('two', 'types');
    using load = Load.start(on.cluster, 'fo.two', { rate: 2500, threads: 2 });
    await sleep(2000);
    const { number } = await on.mostLeading(tabletIds);
    const others = on.cluster.sidecars.filter((_, other) => other !== (number + 1) % 3); // the most leading one among them
    await Promise.all(others.map((sidecar) => sidecar.kill()));
    await sleep(form(18_000, 30_000)); // longer than the others take to miss them
    for (const sidecar of others) await sidecar.restart();
    const { applied } = await load.stop();
    await on.cluster.waitForTablets('two', isCaughtUp);
    await on.cluster.assertFoldIsTable('two', 'fo.two', applied);
  });

  on.check(
    'misses and repeats nothing when the broker is frozen while the leader is killed and comes back',
    async (t) => {
      const part = (FREEZE_S * 1000) / 4;
      const tabletIds = await on.begin('frozen', 'types', form(2, 4));
      using load = Load.start(on.cluster, 'fo.frozen', { rate: FREEZE_RATE, threads: 2 });
      await sleep(3000);
      await on.cluster.kafka.freeze();
      try {
        await sleep(part);
        const { number } = await on.mostLeading(tabletIds);
        await Promise.all([on.cluster.kudu.tservers[number]!.kill(), on.cluster.sidecars[number]!.kill()]);
        await sleep(part);
        await on.cluster.kudu.tservers[number]!.restart();
        await on.cluster.sidecars[number]!.restart();
        await on.watch.waitUntilWhole(tabletIds);
        for (const tabletId of tabletIds.slice(0, 2)) await on.watch.lead(tabletId, number);
        await sleep(2 * part);
      } finally {
        on.cluster.kafka.thaw();
      }
      const { applied } = await load.stop();
      const thawedAtMs = performance.now();
      await on.cluster.waitForTablets('frozen', isCaughtUp, 60_000 + FREEZE_S * 1000);
      t.diagnostic(`${applied} rows, caught up after ${Math.round(performance.now() - thawedAtMs)} ms`);
      await on.cluster.assertFoldIsTable('frozen', 'fo.frozen', applied);
    },
  );

  on.check('fills what its own log lacks from another replica', async () => {
    const tabletIds = await on.begin('filled', 'types', 2);
    using load = Load.start(on.cluster, 'fo.filled', { rate: 2000, threads: 2 });
    await sleep(1000);
    assert.equal((await on.cluster.api('POST', '/v1/streams/filled/pause')).status, 200);
    await on.cluster.waitForTablets('filled', ({ state }) => state === 'paused');
    const sidecar = on.cluster.sidecars[2]!;
    await sidecar.stop();
    const unattended = async (): Promise<readonly string[]> => {
      const text = await (await fetch(`${on.cluster.sidecars[0]!.url}/metrics`)).text();
      return text.match(/^spoor_tserver_without_sidecar\{.*/gm) ?? [];
    };
    await eventually('its tablet server is told to have none', async () => (await unattended()).length === 1);
    await rm(on.watch.holdDir(2), { recursive: true });
    await eventually(
      'log GC took what it lacks',
      async () => (await Promise.all(tabletIds.map((id) => on.watch.firstSegment(2, id)))).every((first) => first > 2),
      180_000,
    );
    for (const tabletId of tabletIds) await on.watch.lead(tabletId, 2);
    await sidecar.restart();
    await sidecar.waitUntilReady();
    await eventually('its tablet server has one again', async () => (await unattended()).length === 0);
    assert.equal((await on.cluster.api('POST', '/v1/streams/filled/resume')).status, 200);
    const { applied } = await load.stop();
    await on.cluster.waitForTablets('filled', isCaughtUp);
    await on.cluster.assertFoldIsTable('filled', 'fo.filled', applied);
    assert.match(await readFile(sidecar.logFile, 'utf8'), /log received from a sidecar/);
  });

  on.check('gives up the log of one stream at its limit, says so, and repairs it when asked', async (t) => {
    await on.cluster.replaceSidecars({ SPOOR_HOLD_MAX_BYTES: String(2 << 20), SPOOR_GAP_REPAIR: 'manual' });
    await on.begin('bounded', 'types', 2);
    await on.begin('small');
    using load = Load.start(on.cluster, 'fo.bounded', { rate: 2000, threads: 2 });
    using small = Load.start(on.cluster, 'fo.small', { rate: 50, threads: 1, flush: 10 });
    await on.cluster.kafka.kill();
    const metrics = async (): Promise<string> =>
      (await Promise.all(on.cluster.sidecars.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()))).join('');
    await eventually('the time that is left is told', async () =>
      /spoor_hold_seconds_until_limit\{.*"bounded".*\} [1-9]/.test(await metrics()),
    );
    await on.cluster.waitForTablets('bounded', ({ state }) => state === 'gap', 90_000);
    await load.stop();
    await on.cluster.kafka.restart();
    const { applied } = await small.stop();
    await on.cluster.waitForTablets('small', isCaughtUp);
    await on.cluster.assertFoldIsTable('small', 'fo.small', applied);
    for (const { state, error } of await on.cluster.tablets('bounded')) {
      assert.equal(state, 'gap');
      assert.equal(error?.code, 'SPOOR_WAL_GAP');
      assert.match(error.message, /SPOOR_HOLD_MAX_BYTES .* after \d+\.\d+ up to index \d+ are missing/);
      t.diagnostic(error.message);
    }
    assert.equal((await on.cluster.api('POST', '/v1/streams/bounded/resync', { from: 'gap' })).status, 200);
    await on.cluster.waitForTablets('bounded', isCaughtUp);
    await on.cluster.foldIsTable('bounded', 'fo.bounded');
    assert.equal((await on.cluster.api('DELETE', '/v1/streams/bounded')).status, 204);
    await on.cluster.replaceSidecars({});
  });
});
