import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type ControlServer } from '../../src/control/server.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane } from '../support/memory-control-plane.ts';

const ORDERS = { name: 'orders', tables: ['shop.*'], start: 'now', sink: { type: 'kafka', topic: 'cdc.{table}' } };

interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

const plane = new MemoryControlPlane();
let server: ControlServer;
before(async () => {
  server = await serveMemory(plane);
});
after(() => server.close());
beforeEach(async () => {
  await plane.deleteStream('orders');
  assert.equal((await create()).status, 201);
});

/** Bytes as a client sends them, and the last answer: clients, not fetch, decide which headers there are. */
async function send(head: readonly string[], body: string | Buffer = ''): Promise<RawAnswer> {
  const request = Buffer.concat([Buffer.from([...head, '', ''].join('\r\n')), Buffer.from(body)]);
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connect(server.address.port, server.address.host, () => socket.write(request));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('end', () => {
      resolve(text);
      socket.end();
    });
    socket.on('error', reject);
  });
  const final = answer.replace(/^(?:HTTP\/1\.1 1\d\d [^\r]*\r\n(?:[^\r]+\r\n)*\r\n)+/, '');
  const end = final.indexOf('\r\n\r\n');
  const body_ = final.slice(end + 4);
  return { status: Number(final.split(' ', 2)[1]), head: final.slice(0, end).toLowerCase(), body: body_ };
}

const HOST = ['Host: 127.0.0.1', 'Connection: close'];
const create = (headers: readonly string[] = ['Content-Type: application/json'], text = JSON.stringify(ORDERS)) => {
  const body = Buffer.from(text);
  return send(['POST /v1/streams HTTP/1.1', ...HOST, `Content-Length: ${body.length}`, ...headers], body);
};

function assertProblem({ status, head, body }: RawAnswer, wanted: number, detail: RegExp): void {
  assert.equal(status, wanted, body);
  assert.match(head, /content-type: application\/problem\+json/);
  const problem = JSON.parse(body) as { status: number; detail: string };
  assert.equal(problem.status, wanted);
  assert.match(problem.detail, detail);
}

describe('a call without a body, as clients send it', () => {
  const calls = [
    ['POST', '/v1/streams/orders/pause', 200],
    ['POST', '/v1/streams/orders/resume', 200],
    ['POST', '/v1/streams/orders/resync', 200],
    ['DELETE', '/v1/streams/orders', 204],
  ] as const;
  const forms: readonly (readonly [who: string, headers: readonly string[], body?: string])[] = [
    ['nothing at all', []],
    ['fetch and Go: a length of 0', ['Content-Length: 0']],
    ['axios, openapi-generator: JSON, no length', ['Content-Type: application/json']],
    ['Java, .NET: JSON with its charset', ['Content-Type: application/json; charset=utf-8', 'Content-Length: 0']],
    ['curl -d "": a form', ['Content-Type: application/x-www-form-urlencoded', 'Content-Length: 0']],
    ['fetch of an empty string', ['Content-Type: text/plain;charset=UTF-8', 'Content-Length: 0']],
    ['kubectl: a merge patch', ['Content-Type: application/merge-patch+json', 'Content-Length: 0']],
    ['in capitals', ['CONTENT-TYPE: APPLICATION/JSON', 'CONTENT-LENGTH: 0']],
    ['what is no media type', ['Content-Type: json', 'Content-Length: 0']],
    ['a type of nothing', ['Content-Type:', 'Content-Length: 0']],
    ['gzip of nothing', ['Content-Type: application/json', 'Content-Encoding: gzip', 'Content-Length: 0']],
    ['a proxy: chunks, none of them', ['Transfer-Encoding: chunked'], '0\r\n\r\n'],
    ['JSON in chunks, none', ['Content-Type: application/json', 'Transfer-Encoding: chunked'], '0\r\n\r\n'],
    ['a form in chunks, none', ['Content-Type: text/plain', 'Transfer-Encoding: chunked'], '0\r\n\r\n'],
    ['curl: waits for leave', ['Content-Type: application/json', 'Content-Length: 0', 'Expect: 100-continue']],
    ['blanks alone', ['Content-Type: application/json', 'Content-Length: 2'], '\r\n'],
    ["Java's HttpClient: an upgrade offered", ['Connection: Upgrade', 'Upgrade: h2c', 'Content-Length: 0']],
  ];
  for (const [method, path, status] of calls)
    it(`${method} ${path} is answered ${status} however it comes`, async () => {
      for (const [who, headers, body] of forms) {
        const answer = await send([`${method} ${path} HTTP/1.1`, ...HOST, ...headers], body);
        assert.equal(answer.status, status, `${who}: ${answer.body}`);
        if (method === 'DELETE') assert.equal((await create()).status, 201);
      }
    });

  it('where one is needed is told so, with a type as without it', async () => {
    for (const headers of [[], ['Content-Type: application/json']])
      assertProblem(await create(headers, ''), 400, /body is empty.*definition/);
  });
});

describe('a body', () => {
  beforeEach(() => plane.deleteStream('orders'));

  const taken: readonly (readonly [who: string, headers: readonly string[], text?: string])[] = [
    ['with a charset', ['Content-Type: application/json; charset=UTF-8']],
    ['with its charset in quotes', ['Content-Type: application/json;charset="utf-8"']],
    ['in capitals', ['Content-Type: Application/JSON']],
    ['of another kind of JSON', ['Content-Type: application/vnd.api+json']],
    ["without a type, as Go's and Java's clients send it", []],
    ['whatever answer is wanted', ['Content-Type: application/json', 'Accept: text/html, application/xml;q=0.9']],
    ['that is said not to be encoded', ['Content-Type: application/json', 'Content-Encoding: identity']],
    ['behind a byte order mark', ['Content-Type: application/json'], `\uFEFF${JSON.stringify(ORDERS)}`],
    ['announced', ['Content-Type: application/json', 'Expect: 100-continue']],
  ];
  it('is taken however it comes', async () => {
    for (const [who, headers, text] of taken) {
      const answer = await create(headers, text);
      assert.equal(answer.status, 201, `${who}: ${answer.body}`);
      await plane.deleteStream('orders');
    }
    const text = JSON.stringify(ORDERS);
    const chunked = ['Content-Type: application/json', 'Transfer-Encoding: chunked'];
    const chunks = `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n0\r\n\r\n`;
    assert.equal((await send(['POST /v1/streams HTTP/1.1', ...HOST, ...chunked], chunks)).status, 201);
    const patch = '{"copyRowsPerSecond": 7}';
    const head = ['PATCH /v1/streams/orders HTTP/1.1', ...HOST, `Content-Length: ${patch.length}`];
    const patched = await send([...head, 'Content-Type: application/merge-patch+json; charset=utf-8'], patch);
    assert.equal((JSON.parse(patched.body) as { copyRowsPerSecond: number }).copyRowsPerSecond, 7);
  });

  it('that is compressed, of another type or charset is refused with what is allowed', async () => {
    const zipped = gzipSync(JSON.stringify(ORDERS));
    const head = ['POST /v1/streams HTTP/1.1', ...HOST, `Content-Length: ${zipped.length}`];
    const encoded = await send([...head, 'Content-Type: application/json', 'Content-Encoding: gzip'], zipped);
    assertProblem(encoded, 415, /encoded with "gzip".*without content-encoding/);
    assert.match(encoded.head, /accept-encoding: identity/);
    assertProblem(await create(['Content-Type: text/plain']), 415, /application\/json; it came with "text\/plain"/);
    assertProblem(await create(['Content-Type: application/json; charset=utf-16']), 415, /UTF-8.*"utf-16"/);
    assertProblem(await create(['Content-Type: application/xml+jsonx']), 415, /application\/json/);
  });

  it('that is no JSON, no UTF-8 or too much of it is refused, and says why', async () => {
    const json = ['Content-Type: application/json'];
    assertProblem(await create(json, '{"name":'), 400, /not valid JSON: /);
    assertProblem(await create(json, '{"a":{"__proto__":{}}}'), 400, /JSON with a field "__proto__"/);
    assertProblem(await create(json, `${'['.repeat(5000)}${']'.repeat(5000)}`), 400, /nested deeper than 64/);
    const latin = Buffer.from('{"name":"\xe9"}', 'latin1');
    const head = ['POST /v1/streams HTTP/1.1', ...HOST, ...json, `Content-Length: ${latin.length}`];
    assertProblem(await send(head, latin), 400, /not UTF-8/);
    const huge = 3 << 20;
    const announced = ['POST /v1/streams HTTP/1.1', ...HOST, ...json, `Content-Length: ${huge}`];
    assertProblem(await send(announced), 413, /too large: 3145728 bytes; at most 1048576/);
    const chunk = `${huge.toString(16)}\r\n${'x'.repeat(huge)}`;
    const chunked = ['POST /v1/streams HTTP/1.1', ...HOST, ...json, 'Transfer-Encoding: chunked'];
    await send(chunked, chunk).then(
      (answer) => {
        assertProblem(answer, 413, /too large/);
      },
      // Whoever goes on sending after the answer may be cut off before it has read that.
      (error: unknown) => {
        assert.match(String(error), /EPIPE|ECONNRESET/);
      },
    );
  });
});

describe('a URL and its headers', () => {
  const get = (path: string, headers: readonly string[] = [], method = 'GET') =>
    send([`${method} ${path} HTTP/1.1`, ...HOST, ...headers]);

  it('are understood with slashes too many, escapes, and as a proxy writes them', async () => {
    for (const path of [
      '/v1/streams/orders/',
      '//v1//streams/orders',
      '/v1/streams/%6frders',
      '/v1/streams/orders?pretty=true&x=%zz',
      'http://127.0.0.1:8100/v1/streams/orders',
    ])
      assert.equal((await get(path)).status, 200, path);
    const headed = await get('/v1/streams/orders', [], 'HEAD');
    assert.deepEqual([headed.status, headed.body], [200, '']);
    const refused = await get('//v1/streams//orders/', [], 'OPTIONS');
    assertProblem(refused, 405, /not OPTIONS/);
    assert.match(refused.head, /allow: .*delete/);
  });

  it('that name what is no stream are a clear 404, 414 or 400', async () => {
    for (const name of ['..', '%2e%2e', '.', 'a%2Fb', '__proto__', 'constructor', 'a%00b', '%F0%9F%90%9F', '%22'])
      assertProblem(await get(`/v1/streams/${name}`), 404, /no stream|nothing at/);
    assertProblem(await get(`/v1/streams/${'x'.repeat(2000)}`), 414, /longer than any/);
    assertProblem(await get('/v1/streams/%ff'), 400, /escapes/);
  });

  it('that are too long, or cannot be met, are told as problems', async () => {
    assertProblem(await get('/healthz', [`X-Long: ${'x'.repeat(20_000)}`]), 431, /longer than 16384 bytes/);
    assertProblem(await get(`/v1/streams/${'x'.repeat(20_000)}`), 431, /URL and headers/);
    assertProblem(await get('/healthz', ['Expect: a miracle']), 417, /100-continue/);
    const hello = Buffer.from('1603010200010001fc0303', 'hex');
    assertProblem(await send([hello.toString('latin1')]), 400, /TLS: use http/);
  });
});

describe('clients that come and do not go', () => {
  it('are cut off when they ask on and on before they are answered, and cost no more than a few answers', async () => {
    const lines: LogLine[] = [];
    const bounded = await serveMemory(plane, { logger: keepingLogger(lines) });
    const { host, port } = bounded.address;
    const before = process.memoryUsage().arrayBuffers;
    let mostBytes = 0;
    const looking = setInterval(
      () => (mostBytes = Math.max(mostBytes, process.memoryUsage().arrayBuffers - before)),
      5,
    );
    try {
      for (const path of ['/openapi.json', '/v1/streams'])
        for (const count of [16, 500]) {
          const ask = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`.repeat(count);
          const socket = connect(port, host, () => socket.write(ask));
          let answers = 0;
          socket.on('data', (chunk) => (answers += chunk.toString('latin1').split('HTTP/1.1 200').length - 1));
          socket.on('error', () => undefined);
          const ended = once(socket, 'close');
          if (count === 16) {
            await eventually('what may be asked at a time is answered', () => answers === 16);
            socket.destroy();
          }
          await ended;
          assert.ok(answers <= 16, `${answers} answers`);
        }
      assert.ok(mostBytes < 24 << 20, `${mostBytes} bytes`);
      assert.equal(lines.filter(({ message }) => message.includes('does not wait for their answers')).length, 1);
    } finally {
      clearInterval(looking);
      await bounded.close();
    }
  });

  it('are turned away when they are many, cut off when nothing comes of them, and told of once', async () => {
    const lines: LogLine[] = [];
    const bounded = await serveMemory(plane, {
      logger: keepingLogger(lines),
      maxConnections: 3,
      allowances: { openConnections: 100 }, // this test's clients are one
      quietTimeoutMs: 300,
    });
    const { host, port } = bounded.address;
    const sockets: Socket[] = [];
    const come = (): void => {
      const ask = 'GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(10);
      const socket = connect(port, host, () => socket.write(ask));
      socket.pause(); // it never reads the answers
      socket.on('error', () => undefined);
      sockets.push(socket);
    };
    try {
      await eventually('it is told', () => {
        // However long it takes: hundreds of them would be what others are waited for.
        for (let more = 0; more < 6 && sockets.length < 60; more++) come();
        return lines.some(({ message }) => message.includes('others are turned away'));
      });
      // One that is turned away itself may wait for ever: its connection was there for the system, and never for the server.
      await eventually('others are answered', async () => {
        const signal = AbortSignal.timeout(5_000);
        return fetch(`http://${host}:${port}/healthz`, { signal }).then(
          ({ ok }) => ok,
          () => false,
        );
      });
      assert.equal(lines.filter(({ message }) => message.includes('others are turned away')).length, 1);
    } finally {
      for (const socket of sockets) socket.destroy();
      await bounded.close();
    }
  });
});
