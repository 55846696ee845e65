import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser } from 'puppeteer-core';
import { type ControlServer, type ControlServerOptions } from '../../src/control/server.ts';
import { chromiumMissing, keepScreenshot, launchBrowser, visit } from '../support/browser.ts';
import { GivenCredentials } from '../support/credentials.ts';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane } from '../support/memory-control-plane.ts';
import { memoryStatus } from '../support/memory-status.ts';
import { assertAccessible, fill, press, textOf, waitForText } from '../support/page-actions.ts';
import { ScriptedCluster, scriptedHour, scriptedSidecar, scriptedStream } from '../support/scripted-cluster.ts';
import { watchEvents } from '../support/watch-events.ts';

const HEADLINE = '#verdict-title';
const TOKENS = { operate: 'a-token-to-operate', read: 'a-token-to-look' };

/** A thousand tablets that ship all the time: each look finds every one of them changed. */
function thousand(): ScriptedCluster {
  const tables = Array.from({ length: 20 }, (_, i) => [`shop.table_${i}`, 50] as const);
  const cluster = new ScriptedCluster([scriptedStream('orders', tables)]);
  cluster.past = [scriptedHour({ orders: 5000 })];
  let look = 0;
  cluster.onLook = () => {
    look++;
    cluster.change(
      'orders',
      () => true,
      (tablet) => ({
        applyOpId: `7.${1042 + look * 5}`,
        committedOpId: `7.${1043 + look * 5}`,
        lagOps: look % 3,
        lagSeconds: 0.01,
        hold: { ...tablet.hold!, bytes: 8_000_000 + look },
      }),
    );
    cluster.sidecars = [0, 1, 2].map((number) =>
      scriptedSidecar(number, {}, { recordsShipped: { orders: look * 1000 } }),
    );
  };
  return cluster;
}

async function serve(
  cluster: ScriptedCluster,
  more: Partial<ControlServerOptions> = {},
  paceMs?: () => number,
): Promise<ControlServer & AsyncDisposable & { readonly url: string }> {
  const plane = new MemoryControlPlane();
  const server = await serveMemory(plane, {
    status: memoryStatus(plane, { looker: { looker: cluster }, ...(paceMs && { paceMs }) }),
    ...more,
  });
  const { address } = server;
  return {
    address,
    url: `http://127.0.0.1:${address.port}`,
    close: () => server.close(),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

describe(
  'the status page of a thousand tablets',
  { skip: await chromiumMissing(), timeout: form(120_000, 300_000) },
  () => {
    let browser: Browser;
    before(async () => {
      browser = await launchBrowser();
    });
    after(() => browser.close());

    it('is painted within a second, and quick to filter', async () => {
      await using server = await serve(thousand());
      const paints: number[] = [];
      const verdicts: number[] = [];
      for (let round = 0; round < 3; round++) {
        await using visited = await visit(browser, server.url);
        await waitForText(visited.page, HEADLINE, /Everything is shipped/);
        verdicts.push(Number(await visited.page.evaluate('performance.now()')));
        paints.push(
          Number(await visited.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")),
        );
        assert.deepEqual(visited.complaints, []);
      }
      console.log(
        `# first contentful paint ${paints.map(Math.round).join(', ')} ms; the verdict ${verdicts.map(Math.round).join(', ')} ms`,
      );
      // The first one of a browser that was just started reads its own files.
      assert.ok(Math.min(...paints) < 1000, `${paints.join()} ms`);

      await using visited = await visit(browser, `${server.url}/#/streams/orders`);
      const { page } = visited;
      await waitForText(page, '#tablets', /1–50 of 1,000/);
      assert.equal((await page.$$('.tablets tbody tr')).length, 50);
      await press(page, 'button', 'Next');
      await waitForText(page, '.pager', /51–100 of 1,000/);
      await page.locator('#tablets input[type=search]').fill('table_7');
      await waitForText(page, '#tablets [role=status]', /^50 of 1,000 tablets$/);
      await page.locator('#tablets .opener').click();
      assert.match(await waitForText(page, '.opened', /Sink has all up to/), /Held from index/);
      await page.select('#tablets select', 'blocked');
      await waitForText(page, '#tablets', /There is none that the filter lets through/);
      assert.deepEqual(visited.complaints, []);
    });

    it('says of a thousand blocked tablets with one cause one thing, and shows them', async () => {
      const cluster = thousand();
      cluster.onLook = () => undefined;
      const since = new Date(Date.now() - 60_000).toISOString();
      cluster.change(
        'orders',
        () => true,
        ({ tabletId }) => ({
          state: 'blocked',
          error: { code: 'SPOOR_SINK_UNAVAILABLE', message: `no broker for ${tabletId}`, since },
        }),
      );
      await using server = await serve(cluster);
      await using visited = await visit(browser, server.url);
      const { page } = visited;
      await waitForText(page, HEADLINE, /^Nothing is shipped$/);
      assert.equal((await page.$$('.verdict .trouble')).length, 1);
      assert.match(await textOf(page, '.trouble'), /1,000 tablets of orders are blocked/);
      await press(page, 'link', 'Show the tablets');
      await waitForText(page, '#tablets [role=status]', /^1,000 tablets$/);
      assert.equal(
        await page.$eval('#tablets select', (select) => (select as unknown as { value: string }).value),
        'blocked',
      );
      await assertAccessible(page, 'a thousand blocked tablets');
    });

    it('costs its sidecar less than two hundredths of a core', async () => {
      await using server = await serve(thousand());
      const seconds = form(5, 60);
      const busyFor = async (): Promise<number> => {
        const before = process.cpuUsage();
        await sleep(seconds * 1000);
        const { user, system } = process.cpuUsage(before);
        return (user + system) / 1e4 / seconds;
      };
      // The reader is a process of its own, as the scripted cluster and the test are not.
      const idle = await busyFor();
      await using visited = await visit(browser, server.url);
      await waitForText(visited.page, HEADLINE, /Everything is shipped/);
      await sleep(1500);
      const open = await busyFor();
      console.log(
        `# ${(open - idle).toFixed(2)} % of a core for an open page with a thousand tablets that all change each second`,
      );
      assert.ok(open - idle < form(3, 2), `${open} % with it, ${idle} % without`);
    });
  },
);

describe('the events of the API', { timeout: 60_000 }, () => {
  it('want a token where tokens are configured, for looking one for reading, and end with it', async () => {
    const credentials = new GivenCredentials({ tokens: TOKENS });
    await using server = await serve(thousand(), { credentials });
    assert.equal((await fetch(`${server.url}/v1/events`)).status, 401);
    for (const [role, token] of [
      ['operate', TOKENS.operate],
      ['read', TOKENS.read],
    ] as const) {
      await using events = await watchEvents(server.url, token);
      assert.equal((await events.state()).role, role);
    }
    await using events = await watchEvents(server.url, TOKENS.read);
    await events.state();
    credentials.change({ tokens: { ...TOKENS, read: 'another' } });
    await events.ended;
    await assert.rejects(watchEvents(server.url, TOKENS.read), /401/);
  });

  it('drop a reader that does not read, and do not keep for it what it does not take', async () => {
    const plane = new MemoryControlPlane();
    const status = memoryStatus(plane, { looker: { looker: thousand() }, paceMs: () => 20 });
    await using server = await serve(thousand(), { status, eventStream: { behindMs: 500 } });
    const before = process.memoryUsage().rss;
    const socket = connect(server.address.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:${server.address.port}\r\n\r\n`);
    socket.pause();
    await eventually('it has come', () => status.events.readerCount === 1);
    await eventually('it is dropped', () => status.events.readerCount === 0);
    socket.destroy();
    assert.ok(process.memoryUsage().rss - before < 300e6);
  });

  it('say that somebody is there while nothing changes', async () => {
    await using server = await serve(new ScriptedCluster([]), { eventStream: { heartbeatMs: 50 } }, () => 60_000);
    const response = await fetch(`${server.url}/v1/events`);
    assert.match(response.headers.get('content-type')!, /^text\/event-stream/);
    let text = '';
    const decoder = new TextDecoder();
    for await (const bytes of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(bytes, { stream: true });
      if (text.includes('\n: still here\n')) break;
    }
    assert.match(text, /^event: state\ndata: \{/);
  });

  it('do not keep a sidecar from stopping', async () => {
    const server = await serve(thousand());
    await using events = await watchEvents(server.url);
    await events.state();
    const begun = performance.now();
    await server.close();
    await events.ended;
    assert.ok(performance.now() - begun < 900);
  });
});

describe('the status page with tokens', { skip: await chromiumMissing(), timeout: 120_000 }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  it('asks for one, keeps it in its tab, and has no buttons for one that only looks', async () => {
    const cluster = thousand();
    cluster.change(
      'orders',
      () => true,
      () => ({ state: 'paused' }),
    );
    cluster.onLook = () => undefined;
    await using server = await serve(cluster, { credentials: new GivenCredentials({ tokens: TOKENS }) });
    await using visited = await visit(browser, server.url, { expects: /status of 401/ });
    const { page } = visited;
    await waitForText(page, 'main', /A token is needed/);
    await assertAccessible(page, 'the form of the token');
    await fill(page, 'Token', 'a-wrong-one');
    await press(page, 'button', 'Show the cluster');
    await waitForText(page, 'main', /does not take this token/);
    await fill(page, 'Token', TOKENS.read);
    await press(page, 'button', 'Show the cluster');
    await waitForText(page, '.troubles', /Stream orders is paused/);
    await waitForText(page, '.top', /Looks only/);
    const all = '[...document.querySelectorAll("main button, main a.button, nav a")]';
    const buttons = async (): Promise<string[]> =>
      (await page.evaluate(`${all}.map(({ textContent }) => textContent)`)) as string[];
    assert.deepEqual(await buttons(), ['Overview', 'Show the tablets']);
    await page.goto(`${server.url}/#/streams/orders`);
    await page.reload();
    await waitForText(page, '#stream-title', /orders/, 20_000);
    for (const word of ['Pause', 'Resume', 'Resync', 'Delete'])
      assert.ok(!(await buttons()).some((text) => text.startsWith(word)), word);
    await page.goto(`${server.url}/#/new`);
    await waitForText(page, 'main', /Your token is for looking only/);

    await press(page, 'button', 'Forget the token');
    await waitForText(page, 'main', /A token is needed/);
    await fill(page, 'Token', TOKENS.operate);
    await press(page, 'button', 'Show the cluster');
    await page.goto(`${server.url}/#/`);
    await waitForText(page, '.troubles', /Resume orders …/);
    assert.deepEqual(visited.complaints, []);
  });

  it('shows that all is well, as the documentation does', async () => {
    const cluster = new ScriptedCluster([
      scriptedStream('orders', [
        ['shop.orders', 24],
        ['shop.items', 12],
      ]),
      scriptedStream('audit', [['log.audit', 16]]),
    ]);
    cluster.past = [scriptedHour({ orders: 1200, audit: 300 })];
    let shipped = 3_000_000;
    cluster.onLook = () => {
      shipped += 1200;
      const recordsShipped = { orders: shipped, audit: shipped / 4 };
      cluster.sidecars = [0, 1, 2].map((number) => scriptedSidecar(number, {}, { recordsShipped }));
    };
    await using server = await serve(cluster);
    for (const [name, options] of [
      ['well', {}],
      ['well-dark', { dark: true }],
      ['well-phone', { width: 390, height: 844 }],
    ] as const) {
      await using visited = await visit(browser, server.url, options);
      await waitForText(visited.page, HEADLINE, /^Everything is shipped$/);
      await waitForText(visited.page, '[aria-labelledby="streams-title"]', /\d,\d{3}\s+0 s/);
      await visited.page.waitForSelector('.charts canvas');
      await keepScreenshot(visited.page, name);
      assert.deepEqual(visited.complaints, []);
    }
  });

  it('shows what is wrong, as the documentation does', async () => {
    const since = new Date(Date.now() - 192_000).toISOString();
    const cluster = new ScriptedCluster(
      [
        scriptedStream('orders', [
          ['shop.orders', 24],
          ['shop.items', 12],
        ]),
        scriptedStream('audit', [['log.audit', 16]]),
      ],
      [scriptedSidecar(0), scriptedSidecar(1), scriptedSidecar(2, { isAlive: false, status: null, lastSeen: since })],
    );
    cluster.past = [scriptedHour({ orders: 1200, audit: 300 })];
    const message = 'kafka-1:9092 cannot be reached: connect ECONNREFUSED 10.0.3.7:9092';
    cluster.change(
      'orders',
      (_, i) => i < 24,
      () => ({
        state: 'blocked',
        lagSeconds: 192,
        lagOps: 4211,
        error: { code: 'SPOOR_SINK_UNAVAILABLE', message, since },
      }),
    );
    const copy = {
      kind: 'all' as const,
      hybridTime: '1',
      rows: 256_000,
      totalRows: 611_000,
      percent: 42,
      secondsLeft: 95,
    };
    cluster.change(
      'orders',
      (_, i) => i >= 24 && i < 28,
      () => ({ state: 'base-copy', copy }),
    );
    cluster.change(
      'audit',
      (_, i) => i < 5,
      () => ({ role: 'follower', sidecar: '127.0.0.1:8100' }),
    );
    cluster.leadersOf = new Map(
      cluster.streams[1]!.tablets.map(({ tabletId }) => [`audit/${tabletId}`, 'tserver-3:7050']),
    );
    await using server = await serve(cluster);
    for (const [name, options] of [
      ['trouble', {}],
      ['trouble-dark', { dark: true }],
      ['trouble-phone', { width: 390, height: 844 }],
    ] as const) {
      await using visited = await visit(browser, server.url, options);
      await waitForText(visited.page, HEADLINE, /^24 tablets of 52 are not shipped$/);
      await waitForText(
        visited.page,
        '[aria-labelledby="sidecars-title"]',
        /stands in for tserver-3:7050 \(5 tablets\)/,
      );
      assert.equal((await visited.page.$$('progress')).length, 4);
      await visited.page.waitForSelector('.charts canvas');
      await assertAccessible(visited.page, name);
      await keepScreenshot(visited.page, name);
      assert.deepEqual(visited.complaints, []);
    }
  });
});
