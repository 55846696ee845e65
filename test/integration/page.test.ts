import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'puppeteer-core';
import type { ClusterState } from '../../src/api/cluster-state.ts';
import type { StreamView } from '../../src/api/shapes.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import {
  chromiumMissing,
  keepScreenshot,
  launchBrowser,
  visit,
  type Visit,
  type VisitOptions,
} from '../support/browser.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { assertAccessible, fill, press, textOf, waitForText } from '../support/page-actions.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';
import { watchEvents } from '../support/watch-events.ts';

const TABLE = 'page.orders';
/** How full the disk of this machine is, is no matter here. */
const ENV = { SPOOR_HOLD_MIN_FREE_PERCENT: '0' };
const HEADLINE = '#verdict-title';

/** What a page says when its sidecar, or something behind it, is away. */
const AWAY = /net::ERR|Failed to load resource/;

describe('the status page', { skip: (await serversMissing()) || (await chromiumMissing()), timeout: 300_000 }, () => {
  let cluster: SpoorCluster;
  let browser: Browser;
  let client: KuduClient;
  let written = 0;

  before(async () => {
    [cluster, browser] = await Promise.all([SpoorCluster.start({ env: ENV }), launchBrowser()]);
    client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 30_000 });
    await client.createTable({
      name: TABLE,
      columns: [
        { name: 'id', type: 'INT64', key: true },
        { name: 'state', type: 'STRING' },
      ],
      hash: [{ columns: ['id'], buckets: 4 }],
      numReplicas: 3,
    });
    await write(200);
  });
  after(async () => {
    client[Symbol.dispose]();
    await browser.close();
    await cluster[Symbol.asyncDispose]();
  });

  const write = async (rows: number): Promise<void> => {
    const table = await client.openTable({ name: TABLE });
    const row = (i: number) => ({ type: 'insert' as const, row: { id: BigInt(written + i), state: 'new' } });
    await table.write(Array.from({ length: rows }, (_, i) => row(i)));
    written += rows;
  };
  const open = (path = '/', options: VisitOptions = {}): Promise<Visit> =>
    visit(browser, cluster.sidecars[0]!.url + path, options);
  const assertQuiet = ({ complaints, origins }: Visit): void => {
    assert.deepEqual(complaints, []);
    assert.deepEqual([...origins], [cluster.sidecars[0]!.url]);
  };

  it('says that there is no stream, and makes one in a form that checks as one types', async () => {
    // A browser tells on its console of each answer of this kind, and this one is asked for.
    await using visited = await open('/', { expects: /status of 400 .*dryRun/ });
    const { page } = visited;
    await waitForText(page, HEADLINE, /There is no stream yet/);
    await press(page, 'link', 'New stream');
    await fill(page, 'Name', 'Orders');
    await fill(page, 'Tables', TABLE);
    await waitForText(page, '.field-wrong', /must be made of a-z/);
    await fill(page, 'Name', 'orders');
    await page.locator('.more summary').click();
    await fill(page, 'Partitions', '3');
    await fill(page, 'Replication factor', '1');
    await fill(page, 'Further fields, as JSON', `{"where": {"${TABLE}": "no = 1"}}`);
    await waitForText(page, '.field-wrong', /where has no column "no"|where .*"no"/);
    await fill(page, 'Further fields, as JSON', '{"where": ');
    await waitForText(page, '.field-wrong', /fields: /);
    await fill(page, 'Further fields, as JSON', `{"where": {"${TABLE}": "id >= 0"}}`);
    const plan = await waitForText(page, '.preview', /Nothing is missing/);
    assert.match(plan, /1 table, 4 tablets/);
    assert.match(plan, /page\.orders → cdc\.page\.orders/);
    assert.match(plan, /cdc\.page\.orders is made with the first record/);
    assert.match(plan, /Its first record[^]*"op": "r"[^]*"after": \{\s*"id": \d+,\s*"state": "new"/);
    await keepScreenshot(page, 'create');
    await assertAccessible(page, 'the form');
    await press(page, 'button', 'Make the stream');
    await waitForText(page, '#stream-title', /^orders$/);
    await waitForText(page, '.chips', /^4 running$/, 60_000);
    await press(page, 'link', 'Overview');
    await waitForText(page, HEADLINE, /^Everything is shipped$/);
    assertQuiet(visited);
  });

  it('shows the same figures as the API, the metrics and the command line', async () => {
    await write(300);
    await cluster.waitForTablets('orders', isCaughtUp);
    await using visited = await open('/#/streams/orders');
    await waitForText(visited.page, '#stream-title', /orders/);
    await eventually('all agree', async () => {
      await cluster.waitForTablets('orders', isCaughtUp);
      await using events = await watchEvents(cluster.sidecars[0]!.url);
      const state = await events.state();
      const api = (await cluster.api<StreamView>('GET', '/v1/streams/orders')).body;
      const metrics = await Promise.all(
        cluster.sidecars.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()),
      );
      const { out } = await cluster.cli(['status', '--json']);
      const [cli] = (JSON.parse(out) as { streams: readonly StreamView[] }).streams;
      const shown = await textOf(visited.page, '.figures');
      const of = (streams: Pick<StreamView, 'tablets'>) => streams.tablets.map(figuresOf).sort();
      assert.deepEqual(of(state), of(api));
      assert.deepEqual(of(cli!), of(api));
      assert.deepEqual(
        metricStates(metrics),
        Object.fromEntries(api.tablets.map(({ tabletId, state }) => [tabletId, state])),
      );
      const [stream] = state.streams;
      const held = api.tablets.reduce((sum, { hold }) => sum + (hold?.bytes ?? 0), 0);
      assert.equal(stream!.figures.heldBytes, held);
      const ship = api.tablets.map(({ tabletId, sidecar }) => ({
        tabletId,
        page: metrics[cluster.sidecars.findIndex(({ url }) => url.endsWith(sidecar!))]!,
      }));
      assert.equal(
        ship.reduce((sum, { tabletId, page }) => sum + metric(page, 'spoor_hold_bytes', tabletId), 0),
        held,
      );
      assert.equal(
        ship.reduce((sum, { tabletId, page }) => sum + metric(page, 'spoor_lag_seconds', tabletId), 0),
        0,
      );
      const records = metrics.reduce((sum, page) => sum + metric(page, 'spoor_records_shipped_total'), 0);
      assert.equal(records, written + 1, 'the rows, and the schema of the table');
      assert.equal(stream!.figures.recordsShipped, records);
      assert.match(shown, new RegExp(`Shipped\\s+${records}\\b`));
      assert.match(shown, /Lag\s+0 s/);
      return true;
    });
    assertQuiet(visited);
  });

  it('pauses, resumes and resyncs, and says before what that means', async () => {
    await using visited = await open('/#/streams/orders');
    const { page } = visited;
    await press(page, 'button', 'Pause …');
    assert.match(
      await waitForText(page, 'dialog', /Pause orders/),
      /Nothing is lost: the log of its 4 tablets is held/,
    );
    await assertAccessible(page, 'a dialog');
    await press(page, 'button', 'Pause the stream');
    await waitForText(page, '.chips', /^4 paused$/);
    await press(page, 'link', 'Overview');
    await waitForText(page, '.trouble', /Stream orders is paused/);
    await press(page, 'button', 'Resume orders …');
    await press(page, 'button', 'Resume the stream');
    await waitForText(page, HEADLINE, /^Everything is shipped$/);

    await press(page, 'link', 'orders');
    await press(page, 'button', 'Resync …');
    await press(page, 'radio', 'All rows, as they are now');
    await waitForText(page, 'dialog', /All rows of all 4 tablets come once more/);
    await press(page, 'button', 'Copy the rows again');
    await page.waitForSelector('dialog', { hidden: true });
    const isCopied = (pages: readonly string[]): boolean =>
      pages.reduce((sum, text) => sum + metric(text, 'spoor_resyncs_total'), 0) >= 4;
    await eventually('the rows were copied', async () =>
      isCopied(await Promise.all(cluster.sidecars.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()))),
    );
    await cluster.waitForTablets('orders', isCaughtUp);
    assertQuiet(visited);
  });

  it('reads the newest records, and shows the way of one', async () => {
    await using visited = await open('/#/streams/orders');
    const { page } = visited;
    await write(50); // rows of a copy, which came last, are of no operation
    await cluster.waitForTablets('orders', isCaughtUp);
    await press(page, 'button', 'Read the last 20');
    await page.waitForSelector('.records li', { timeout: 30_000 });
    assert.match(await textOf(page, '.records li'), /page\.orders/);
    await page.click('.records li:has(a[href*="trace="]) summary');
    await page.click('.records a[href*="trace="]');
    await page.waitForSelector('.step-done', { timeout: 30_000 });
    assert.match(await textOf(page, '.steps'), /operation \d+\.\d+ is committed[^]*it is at /);
    assertQuiet(visited);
  });

  it('says within seconds that the broker is away, why, and what to do; and when all is well again', async () => {
    await using visited = await open('/');
    const { page } = visited;
    await waitForText(page, HEADLINE, /^Everything is shipped$/);
    await cluster.kafka.kill();
    const killedAt = performance.now();
    await write(50);
    await waitForText(page, HEADLINE, /not shipped|Nothing is shipped|needs a look/, 30_000);
    await waitForText(page, '.troubles', /tablets? of orders (is|are) blocked/, 60_000);
    const seconds = (performance.now() - killedAt) / 1000;
    const trouble = await textOf(page, '.troubles');
    assert.match(trouble, /SPOOR_SINK_UNAVAILABLE/);
    assert.match(trouble, /What to do\s+The sink cannot be reached/);
    await keepScreenshot(page, 'broker-away');
    await cluster.kafka.restart();
    const back = performance.now();
    await waitForText(page, HEADLINE, /^Everything is shipped$/, 60_000);
    console.log(
      `# told after ${seconds.toFixed(1)} s, well ${((performance.now() - back) / 1000).toFixed(1)} s after the broker was back`,
    );
    assert.ok(seconds < 30, `${seconds} s`);
    assertQuiet(visited);
  });

  it('says who is down and who stands in, and that its own sidecar is gone, and comes back by itself', async () => {
    await using visited = await open('/', { expects: AWAY });
    const { page } = visited;
    await waitForText(page, HEADLINE, /^Everything is shipped$/);
    await cluster.sidecars[2]!.stop();
    await waitForText(page, '.troubles', /The sidecar beside .* was stopped/);
    await eventually('another one stands in', async () => {
      await using events = await watchEvents(cluster.sidecars[0]!.url);
      const { sidecars, tablets } = await events.state();
      return tablets.every(({ state }) => state === 'running') && isAllTold(sidecars);
    });
    await waitForText(page, '[aria-labelledby="sidecars-title"]', /stands in for|ready/);
    await cluster.sidecars[2]!.restart();
    await waitForText(page, HEADLINE, /^Everything is shipped$/);

    await cluster.sidecars[0]!.stop();
    await waitForText(page, '.banner', /The connection to the sidecar is lost since/);
    await cluster.sidecars[0]!.restart();
    await page.waitForSelector('.live-live', { timeout: 60_000 });
    await waitForText(page, HEADLINE, /^Everything is shipped$/, 60_000);
    assertQuiet(visited);
  });

  it('is fit for those who do not see it, in light, dark and on a phone', async () => {
    for (const [name, options] of [
      ['light', {}],
      ['dark', { dark: true }],
      ['phone', { width: 390, height: 844, reducedMotion: true }],
    ] as const)
      for (const path of ['/', '/#/streams/orders']) {
        await using visited = await open(path, options);
        await visited.page.waitForSelector('.charts canvas', { timeout: 30_000 });
        await assertAccessible(visited.page, `${path} ${name}`);
        if (path === '/') await keepScreenshot(visited.page, name);
        const width = await visited.page.evaluate(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        );
        assert.equal(width, 0, `${path} ${name} is not wider than the screen`);
        assertQuiet(visited);
      }
  });

  it('can be worked with the keyboard alone, and deletes what is named once more', async () => {
    await using visited = await open('/');
    const { page } = visited;
    await page.waitForSelector('tbody a');
    await page.keyboard.press('Tab');
    assert.equal(await focused(visited), 'Skip to the content');
    await page.keyboard.press('Enter');
    for (let i = 0; (await focused(visited)) !== 'orders'; i++) {
      assert.ok(i < 20, 'the stream is reached');
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Enter');
    await waitForText(page, '#stream-title', /^orders$/);
    for (let i = 0; (await focused(visited)) !== 'Delete …'; i++) {
      assert.ok(i < 20, 'the button is reached');
      await page.keyboard.press('Tab');
    }
    await page.evaluate(`
      new MutationObserver(() => {
        const dialog = document.querySelector('dialog');
        if (dialog !== null) window.dialogCameOpen ??= dialog.open;
      }).observe(document.body, { childList: true, subtree: true });
    `);
    await page.keyboard.press('Enter');
    await waitForText(page, 'dialog', /Type the name of the stream/);
    assert.equal(await page.evaluate('window.dialogCameOpen'), true, 'it takes the keys as soon as it is there');
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { hidden: true });
    await eventually('who closes a dialog is where it was opened', async () => (await focused(visited)) === 'Delete …');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open]');
    await fill(page, 'Type the name of the stream, orders', 'order');
    assert.equal(
      await page.$eval('dialog button[type=submit]', (button) => (button as unknown as { disabled: boolean }).disabled),
      true,
    );
    await fill(page, 'Type the name of the stream, orders', 'orders');
    await page.keyboard.press('Enter');
    await waitForText(page, HEADLINE, /There is no stream yet/);
    assert.equal((await cluster.api('GET', '/v1/streams/orders')).status, 404);
    assertQuiet(visited);
  });
});

function isAllTold(sidecars: ClusterState['sidecars']): boolean {
  return sidecars.some(({ isAlive }) => !isAlive);
}

function figuresOf({ tabletId, state, lagOps, lagSeconds, hold, applyOpId }: StreamView['tablets'][number]): string {
  return JSON.stringify([tabletId, state, lagOps, lagSeconds, hold?.bytes, applyOpId]);
}

/** The sum of a metric's samples, or that of one tablet. */
function metric(page: string, name: string, tabletId = ''): number {
  return page
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && line.includes(tabletId))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Which state each tablet is in, by the metrics of all sidecars. */
function metricStates(pages: readonly string[]): Record<string, string> {
  const states: Record<string, string> = {};
  for (const page of pages)
    for (const [, labels, value] of page.matchAll(/^spoor_tablet_state\{(.*)\} (\d)$/gm))
      if (value === '1') states[/tablet="(\w+)"/.exec(labels!)![1]!] = /state="([\w-]+)"/.exec(labels!)![1]!;
  return states;
}

async function focused({ page }: Visit): Promise<string> {
  return String(await page.evaluate('document.activeElement?.textContent?.trim()'));
}
