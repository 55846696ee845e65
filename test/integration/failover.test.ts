import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import type { TabletView } from '../../src/api/shapes.ts';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { writeMixed } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { OutageSuite } from '../support/outage-suite.ts';
import { isCaughtUp } from '../support/spoor-cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';

/** What the docs promise is held where nothing else wants the machine; a machine of two cores that runs all suites at once takes its time. */
const MOST_MS = form(5_000, 2_000);

/** How soon another goes on where servers or sidecars go away under load; each time the topic must fold into the table. */
OutageSuite.describe('failover', (on) => {
  async function local(sidecar: SidecarProcess): Promise<readonly TabletView[]> {
    const response = await fetch(`${sidecar.url}/v1/local`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as readonly TabletView[];
  }

  const termOf = (opId: string | null | undefined): number => Number(opId?.split('.')[0] ?? 0);

  for (const how of ['kill', 'freeze'] as const)
    on.check(`a new leader ships within ${MOST_MS / 1000} s: ${how} of the old one and its sidecar`, async (t) => {
      const name = `leader-${how}`;
      const tabletIds = await on.begin(name);
      using load = Load.start(on.cluster, `fo.${name}`, { rate: 2000 });
      /** By tablet and term, when its first row was committed, and when a consumer had it. */
      const firsts = new Map<string, { readonly committedMs: number; readonly seenMs: number }>();
      await using reader = await TopicReader.start({
        brokers: on.cluster.kafka.brokers,
        topics: [name],
        maxWaitMs: 20,
        onRecord: ({ headers, timestampMs: committedMs }) => {
          const [tabletId, opId] = headers['spoor.pos']!.split('/');
          const key = `${tabletId} ${termOf(opId)}`;
          if (!firsts.has(key)) firsts.set(key, { committedMs, seenMs: Date.now() });
        },
      });
      await eventually('a consumer has rows', () => reader.count > 0);
      await sleep(2000);
      const { number, led } = await on.mostLeading(tabletIds);
      // The hardest case: what the sidecars ask Kudu for is led from there too.
      for (const table of ['spoor.streams', 'spoor.sidecars'])
        for (const tabletId of await on.watch.tabletIds(table)) await on.watch.lead(tabletId, number);
      await sleep(2000);
      const before = new Map((await on.cluster.tablets(name)).map((view) => [view.tabletId, termOf(view.applyOpId)]));
      const sidecar = on.cluster.sidecars[number]!;
      const server = on.cluster.kudu.tservers[number]!;
      if (how === 'freeze') on.cluster.frozen.add(sidecar.url);
      await Promise.all([sidecar[how](), server[how]()]);
      const downAtMs = Date.now();
      const times = await Promise.all(
        led.map(async (tabletId) => {
          const leader = await eventually(
            'another leads',
            async () => (await on.watch.leaders(number)).get(tabletId),
            60_000,
          );
          const electedMs = Date.now();
          await eventually('its sidecar ships', async () =>
            (await local(on.cluster.sidecars[leader]!)).some(
              (view) => view.tabletId === tabletId && view.role === 'leader' && view.state === 'running',
            ),
          );
          return { tabletId, electedMs, shipsMs: Date.now() - electedMs };
        }),
      );
      // The writer still waits for a server that is frozen; another one asks the master who leads.
      using second = Load.start(on.cluster, `fo.${name}`, { rate: 500, ops: 2000 });
      for (const { tabletId, electedMs, shipsMs } of times) {
        const first = await eventually('its rows are shipped', () =>
          [1, 2, 3, 4, 5, 6].map((more) => firsts.get(`${tabletId} ${before.get(tabletId)! + more}`)).find(Boolean),
        );
        const readMs = first.seenMs - Math.max(electedMs, first.committedMs);
        t.diagnostic(
          `elected after ${electedMs - downAtMs} ms, ships ${shipsMs} ms later, first row read ${readMs} ms after`,
        );
        assert.ok(shipsMs < MOST_MS, `${shipsMs} ms`);
        assert.ok(readMs < MOST_MS, `${readMs} ms`);
      }
      if (how === 'freeze') {
        server.thaw();
        sidecar.thaw();
        on.cluster.frozen.delete(sidecar.url);
      } else {
        await server.restart();
        await sidecar.restart();
      }
      const loads = [await second.finished(), await load.stop()];
      const applied = loads.reduce((sum, counts) => sum + counts.applied, 0);
      await on.cluster.assertFoldIsTable(name, `fo.${name}`, applied);
    });

  on.check('another replica stands in for a leader without a sidecar, until that is back (trap 33)', async (t) => {
    const tabletIds = await on.begin('standin');
    using load = Load.start(on.cluster, 'fo.standin', { rate: 1000 });
    await sleep(2000);
    // One that stops in order says so; a dead one must be missed first, which takes 15 s.
    for (const [how, withinMs] of [
      ['kill', 25_000],
      ['stop', 10_000],
    ] as const) {
      const { number, led } = await on.mostLeading(tabletIds);
      const sidecar = on.cluster.sidecars[number]!;
      const own = sidecar.url.replace('http://', '');
      await sidecar[how]();
      const goneAtMs = performance.now();
      const isLed = ({ tabletId }: TabletView): boolean => led.includes(tabletId);
      await on.cluster.waitForTablets(
        'standin',
        (view) => !isLed(view) || (view.role === 'follower' && view.sidecar !== own && view.state === 'running'),
        40_000,
      );
      const tookMs = performance.now() - goneAtMs;
      t.diagnostic(`${how}: stands in after ${Math.round(tookMs)} ms`);
      assert.ok(tookMs < withinMs, `${tookMs} ms`);
      const at = new Map((await on.cluster.tablets('standin')).map((view) => [view.tabletId, view.applyOpId]));
      await on.cluster.waitForTablets('standin', (view) => view.applyOpId !== at.get(view.tabletId)); // it does ship
      await sidecar.restart();
      await sidecar.waitUntilReady();
      const backAtMs = performance.now();
      await on.cluster.waitForTablets(
        'standin',
        (view) => !isLed(view) || (view.role === 'leader' && view.sidecar === own && view.state === 'running'),
        40_000,
      );
      t.diagnostic(`${how}: taken over again after ${Math.round(performance.now() - backAtMs)} ms`);
    }
    const { applied } = await load.stop();
    await on.cluster.assertFoldIsTable('standin', 'fo.standin', applied);
  });

  on.check('lets go of every held log when a stream is deleted, also where the sidecar was down', async (t) => {
    const tabletIds = await on.begin('deleted');
    await writeMixed({ masters: on.cluster.masters, table: 'fo.deleted', ops: 5000 });
    const isHeld = async (number: number): Promise<boolean> =>
      (await on.watch.heldTablets(number)).some((id) => tabletIds.includes(id));
    for (const number of [0, 1, 2]) assert.ok(await isHeld(number), `nothing is held at ${number}`);
    await on.cluster.sidecars[2]!.kill();
    assert.equal((await on.cluster.api('DELETE', '/v1/streams/deleted')).status, 204);
    const deletedAtMs = performance.now();
    for (const number of [0, 1]) await eventually('it is let go', async () => !(await isHeld(number)), 10_000);
    t.diagnostic(`let go after ${Math.round(performance.now() - deletedAtMs)} ms`);
    assert.ok(await isHeld(2), 'the one that is down holds still');
    await on.cluster.sidecars[2]!.restart();
    await eventually('it is let go at its start', async () => !(await isHeld(2)), 15_000);
  });

  on.check(
    'lets log GC work: two segments at most, on every replica, within a minute of all shipped rows',
    async (t) => {
      const tabletIds = await on.begin('collected', 'types', form(2, 4));
      const { applied } = await writeMixed({
        masters: on.cluster.masters,
        table: 'fo.collected',
        ops: form(80_000, 300_000),
        keys: 20_000,
        flush: 1000,
      });
      await on.cluster.waitForTablets('collected', isCaughtUp);
      const shippedAtMs = performance.now();
      let left: readonly string[] = [];
      await eventually(
        'logs are small',
        async () => (left = await on.watch.tooLarge(tabletIds, 2)).length === 0,
        60_000,
      ).catch(() => assert.fail(left.join('\n')));
      t.diagnostic(`small again after ${Math.round(performance.now() - shippedAtMs)} ms`);
      await on.cluster.assertFoldIsTable('collected', 'fo.collected', applied);
    },
  );
});
