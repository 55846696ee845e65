import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import type { TabletView } from '../../src/replication/views.ts';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import type { SpoorCluster } from '../support/spoor-cluster.ts';

/** How long the broker is frozen in the case of that name. */
const FREEZE_S = form(24, 600);
/** Rows a second meanwhile. */
const FREEZE_RATE = form(4000, 1000);

/** Servers, sidecars and the broker go away under load; each time the topic must fold into the table, row for row. */
describe('failover', () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let watch: ReplicaWatch;
  before(async () => {
    lease = await leaseCluster();
    cluster = lease.cluster;
    watch = await ReplicaWatch.open(cluster);
  });
  afterEach(async () => {
    // What a failed case left behind would fail the next ones.
    if (!cluster.kafka.running) await cluster.kafka.restart();
    for (const tserver of cluster.kudu.tservers) if (!tserver.running) await tserver.restart();
    for (const sidecar of cluster.sidecars) if (!sidecar.running) await sidecar.restart();
  });
  after(async () => {
    watch[Symbol.dispose]();
    await lease[Symbol.asyncDispose]();
  });

  /** A test that leaves the logs of all servers in the folder SPOOR_KEEP_LOGS when it fails. */
  function check(name: string, body: (t: TestContext) => Promise<void>): void {
    it(name, async (t) => {
      try {
        await body(t);
      } catch (error) {
        const dir = process.env['SPOOR_KEEP_LOGS'];
        if (dir !== undefined) await cluster.keepLogs(join(dir, name.replaceAll(/\W+/g, '-').slice(0, 40)));
        throw error;
      }
    });
  }

  /** A table, of four tablets unless told otherwise, with an exactly-once stream of the same name. */
  async function begin(name: string, shape = 'small', buckets = 4): Promise<readonly string[]> {
    await javaTool('create-table', { masters: cluster.masters, table: `fo.${name}`, shape, buckets });
    await cluster.createStream(name, [`fo.${name}`]);
    const tabletIds = await watch.tabletIds(`fo.${name}`);
    await watch.waitUntilWhole(tabletIds);
    await cluster.waitForTablets(name, ({ state }) => state === 'running');
    return tabletIds;
  }

  async function local(sidecar: SidecarProcess): Promise<readonly TabletView[]> {
    const response = await fetch(`${sidecar.url}/v1/local`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as readonly TabletView[];
  }

  /** The server that leads the most of the tablets, and those. */
  async function mostLeading(tabletIds: readonly string[]): Promise<{ number: number; led: readonly string[] }> {
    const leaders = await watch.leaders();
    const ledBy = (number: number): readonly string[] => tabletIds.filter((id) => leaders.get(id) === number);
    const number = [0, 1, 2].sort((a, b) => ledBy(b).length - ledBy(a).length)[0]!;
    return { number, led: ledBy(number) };
  }

  const isCaughtUp = ({ state, lagOps }: TabletView): boolean => state === 'running' && lagOps === 0;
  const termOf = ({ applyOpId }: TabletView): number => Number(applyOpId?.split('.')[0] ?? 0);

  for (const how of ['kill', 'freeze'] as const)
    check(`a new leader ships within 5 s: ${how} of the old one and its sidecar`, async (t) => {
      const name = `leader-${how}`;
      const tabletIds = await begin(name);
      using load = Load.start(cluster, `fo.${name}`, { rate: 2000 });
      await sleep(2000);
      const { number, led } = await mostLeading(tabletIds);
      // The hardest case: what the sidecars ask Kudu for is led from there too.
      for (const table of ['spoor.streams', 'spoor.sidecars'])
        for (const tabletId of await watch.tabletIds(table)) await watch.lead(tabletId, number);
      await sleep(2000);
      const before = new Map((await cluster.tablets(name)).map((view) => [view.tabletId, view]));
      const sidecar = cluster.sidecars[number]!;
      const server = cluster.kudu.tservers[number]!;
      if (how === 'freeze') cluster.frozen.add(sidecar.url);
      await Promise.all([sidecar[how](), server[how]()]);
      const downAtMs = performance.now();
      const times = await Promise.all(
        led.map(async (tabletId) => {
          const leader = await eventually(
            'another leads',
            async () => (await watch.leaders(number)).get(tabletId),
            60_000,
          );
          const electedAtMs = performance.now();
          await eventually('its sidecar ships', async () =>
            (await local(cluster.sidecars[leader]!)).some(
              (view) => view.tabletId === tabletId && termOf(view) > termOf(before.get(tabletId)!),
            ),
          );
          return { electedMs: electedAtMs - downAtMs, shipsMs: performance.now() - electedAtMs };
        }),
      );
      for (const { electedMs, shipsMs } of times)
        t.diagnostic(`elected after ${Math.round(electedMs)} ms, ships ${Math.round(shipsMs)} ms later`);
      if (how === 'freeze') {
        server.thaw();
        sidecar.thaw();
        cluster.frozen.delete(sidecar.url);
      } else {
        await server.restart();
        await sidecar.restart();
      }
      const { applied } = await load.stop();
      await cluster.assertFoldIsTable(name, `fo.${name}`, applied);
      for (const { shipsMs } of times) assert.ok(shipsMs < 5000, `${shipsMs} ms`);
    });

  check('another replica stands in for a leader without a sidecar, until that is back (trap 33)', async (t) => {
    const tabletIds = await begin('standin');
    using load = Load.start(cluster, 'fo.standin', { rate: 1000 });
    await sleep(2000);
    // One that stops in order says so; a dead one must be missed first, which takes 15 s.
    for (const [how, withinMs] of [
      ['kill', 25_000],
      ['stop', 10_000],
    ] as const) {
      const { number, led } = await mostLeading(tabletIds);
      const sidecar = cluster.sidecars[number]!;
      const own = sidecar.url.replace('http://', '');
      await sidecar[how]();
      const goneAtMs = performance.now();
      const isLed = ({ tabletId }: TabletView): boolean => led.includes(tabletId);
      await cluster.waitForTablets(
        'standin',
        (view) => !isLed(view) || (view.role === 'follower' && view.sidecar !== own && view.state === 'running'),
        40_000,
      );
      const tookMs = performance.now() - goneAtMs;
      t.diagnostic(`${how}: stands in after ${Math.round(tookMs)} ms`);
      assert.ok(tookMs < withinMs, `${tookMs} ms`);
      const at = new Map((await cluster.tablets('standin')).map((view) => [view.tabletId, view.applyOpId]));
      await cluster.waitForTablets('standin', (view) => view.applyOpId !== at.get(view.tabletId)); // it does ship
      await sidecar.restart();
      await sidecar.waitUntilReady();
      const backAtMs = performance.now();
      await cluster.waitForTablets(
        'standin',
        (view) => !isLed(view) || (view.role === 'leader' && view.sidecar === own && view.state === 'running'),
        40_000,
      );
      t.diagnostic(`${how}: taken over again after ${Math.round(performance.now() - backAtMs)} ms`);
    }
    const { applied } = await load.stop();
    await cluster.assertFoldIsTable('standin', 'fo.standin', applied);
  });

  check('lets go of every held log when a stream is deleted, also where the sidecar was down', async (t) => {
    const tabletIds = await begin('deleted');
    await writeMixed({ masters: cluster.masters, table: 'fo.deleted', ops: 5000 });
    const isHeld = async (number: number): Promise<boolean> =>
      (await watch.heldTablets(number)).some((id) => tabletIds.includes(id));
    for (const number of [0, 1, 2]) assert.ok(await isHeld(number), `nothing is held at ${number}`);
    await cluster.sidecars[2]!.kill();
    assert.equal((await cluster.api('DELETE', '/v1/streams/deleted')).status, 204);
    const deletedAtMs = performance.now();
    for (const number of [0, 1]) await eventually('it is let go', async () => !(await isHeld(number)), 10_000);
    t.diagnostic(`let go after ${Math.round(performance.now() - deletedAtMs)} ms`);
    assert.ok(await isHeld(2), 'the one that is down holds still');
    await cluster.sidecars[2]!.restart();
    await eventually('it is let go at its start', async () => !(await isHeld(2)), 15_000);
  });

  check(
    'ships nothing of a paused stream, holds its log, lets the server collect its own, and ships all after',
    async (t) => {
      const tabletIds = await begin('paused', 'types', 2);
      using load = Load.start(cluster, 'fo.paused', { rate: 4000, threads: 2 });
      await sleep(2000);
      assert.equal((await cluster.api('POST', '/v1/streams/paused/pause')).status, 200);
      await cluster.waitForTablets('paused', ({ state }) => state === 'paused');
      await sleep(1500); // the last write in hand
      const offsets = async (): Promise<unknown> =>
        cluster.kafka.withAdmin((admin) => admin.fetchTopicOffsets('paused'));
      const atPause = await offsets();
      await eventually(
        'every hold is more than the server keeps',
        async () => {
          for (const id of tabletIds)
            for (const number of [0, 1, 2]) {
              const [held, log] = [await watch.held(number, id), await watch.log(number, id)];
              if (held.segments < 4 || log.segments > held.segments - 2) return false;
            }
          return true;
        },
        60_000,
      );
      assert.deepEqual(await offsets(), atPause, 'nothing ships');
      const { applied } = await load.stop();
      assert.deepEqual(await offsets(), atPause, 'nothing ships');
      assert.equal((await cluster.api('POST', '/v1/streams/paused/resume')).status, 200);
      const resumedAtMs = performance.now();
      await cluster.waitForTablets('paused', isCaughtUp);
      t.diagnostic(`${applied} rows, caught up ${Math.round(performance.now() - resumedAtMs)} ms after the pause`);
      await cluster.assertFoldIsTable('paused', 'fo.paused', applied);
    },
  );

  check('lets log GC work: two segments at most, on every replica, within a minute of all shipped rows', async (t) => {
    const tabletIds = await begin('collected', 'types', form(2, 4));
    const { applied } = await writeMixed({
      masters: cluster.masters,
      table: 'fo.collected',
      ops: form(80_000, 300_000),
      keys: 20_000,
      flush: 1000,
    });
    await cluster.waitForTablets('collected', isCaughtUp);
    const shippedAtMs = performance.now();
    let left: readonly string[] = [];
    await eventually(
      'logs are small',
      async () => (left = await watch.tooLarge(tabletIds, 2)).length === 0,
      60_000,
    ).catch(() => assert.fail(left.join('\n')));
    t.diagnostic(`small again after ${Math.round(performance.now() - shippedAtMs)} ms`);
    await cluster.assertFoldIsTable('collected', 'fo.collected', applied);
  });

  check('misses nothing when the sidecars of two of three replicas are away for a while', async () => {
    const tabletIds = await begin('two', 'types');
    using load = Load.start(cluster, 'fo.two', { rate: 2500, threads: 2 });
    await sleep(2000);
    const { number } = await mostLeading(tabletIds);
    const others = cluster.sidecars.filter((_, other) => other !== (number + 1) % 3); // the most leading one among them
    await Promise.all(others.map((sidecar) => sidecar.kill()));
    await sleep(form(18_000, 30_000)); // longer than the others take to miss them
    for (const sidecar of others) await sidecar.restart();
    const { applied } = await load.stop();
    await cluster.waitForTablets('two', isCaughtUp);
    await cluster.assertFoldIsTable('two', 'fo.two', applied);
  });

  check('misses and repeats nothing when the broker is frozen while the leader is killed and comes back', async (t) => {
    const part = (FREEZE_S * 1000) / 4;
    const tabletIds = await begin('frozen', 'types', form(2, 4));
    using load = Load.start(cluster, 'fo.frozen', { rate: FREEZE_RATE, threads: 2 });
    await sleep(3000);
    await cluster.kafka.freeze();
    try {
      await sleep(part);
      const { number } = await mostLeading(tabletIds);
      await Promise.all([cluster.kudu.tservers[number]!.kill(), cluster.sidecars[number]!.kill()]);
      await sleep(part);
      await cluster.kudu.tservers[number]!.restart();
      await cluster.sidecars[number]!.restart();
      await watch.waitUntilWhole(tabletIds);
      for (const tabletId of tabletIds.slice(0, 2)) await watch.lead(tabletId, number);
      await sleep(2 * part);
    } finally {
      cluster.kafka.thaw();
    }
    const { applied } = await load.stop();
    const thawedAtMs = performance.now();
    await cluster.waitForTablets('frozen', isCaughtUp, 60_000 + FREEZE_S * 1000);
    t.diagnostic(`${applied} rows, caught up after ${Math.round(performance.now() - thawedAtMs)} ms`);
    await cluster.assertFoldIsTable('frozen', 'fo.frozen', applied);
  });

  check('fills what its own log lacks from another replica', async () => {
    const tabletIds = await begin('filled', 'types', 2);
    using load = Load.start(cluster, 'fo.filled', { rate: 4000, threads: 2 });
    await sleep(1000);
    assert.equal((await cluster.api('POST', '/v1/streams/filled/pause')).status, 200);
    await cluster.waitForTablets('filled', ({ state }) => state === 'paused');
    const sidecar = cluster.sidecars[2]!;
    await sidecar.stop();
    await rm(watch.holdDir(2), { recursive: true });
    await eventually(
      'log GC took what it lacks',
      async () => (await Promise.all(tabletIds.map((id) => watch.firstSegment(2, id)))).every((first) => first > 2),
      180_000,
    );
    for (const tabletId of tabletIds) await watch.lead(tabletId, 2);
    await sidecar.restart();
    await sidecar.waitUntilReady();
    assert.equal((await cluster.api('POST', '/v1/streams/filled/resume')).status, 200);
    const { applied } = await load.stop();
    await cluster.waitForTablets('filled', isCaughtUp);
    await cluster.assertFoldIsTable('filled', 'fo.filled', applied);
    assert.match(await readFile(sidecar.logFile, 'utf8'), /log received from a sidecar/);
  });

  check('gives up the log of one stream at its limit, says so, and repairs it when asked', async (t) => {
    await cluster.replaceSidecars({ SPOOR_HOLD_MAX_BYTES: String(2 << 20), SPOOR_GAP_REPAIR: 'manual' });
    await begin('bounded', 'types', 2);
    await begin('small');
    using load = Load.start(cluster, 'fo.bounded', { rate: 4000, threads: 2 });
    using small = Load.start(cluster, 'fo.small', { rate: 50, threads: 1, flush: 10 });
    await cluster.kafka.kill();
    const metrics = async (): Promise<string> =>
      (await Promise.all(cluster.sidecars.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()))).join('');
    await eventually('the time that is left is told', async () =>
      /spoor_hold_seconds_until_limit\{.*"bounded".*\} [1-9]/.test(await metrics()),
    );
    await cluster.waitForTablets('bounded', ({ state }) => state === 'gap', 90_000);
    await load.stop();
    await cluster.kafka.restart();
    const { applied } = await small.stop();
    await cluster.waitForTablets('small', isCaughtUp);
    await cluster.assertFoldIsTable('small', 'fo.small', applied);
    for (const { state, error } of await cluster.tablets('bounded')) {
      assert.equal(state, 'gap');
      assert.equal(error?.code, 'SPOOR_WAL_GAP');
      assert.match(error.message, /SPOOR_HOLD_MAX_BYTES .* after \d+\.\d+ up to index \d+ are missing/);
      t.diagnostic(error.message);
    }
    assert.equal((await cluster.api('POST', '/v1/streams/bounded/resync', { from: 'gap' })).status, 200);
    await cluster.waitForTablets('bounded', isCaughtUp);
    await cluster.foldIsTable('bounded', 'fo.bounded');
    assert.equal((await cluster.api('DELETE', '/v1/streams/bounded')).status, 204);
    await cluster.replaceSidecars({});
  });
});
