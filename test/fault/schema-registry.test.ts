import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { currentAuth, type RegistryAuth } from '../../src/formats/registry/registry-auth.ts';
import { RegistryClient } from '../../src/formats/registry/registry-client.ts';
import { CONFIRM_EVERY_MS, SchemaIds } from '../../src/formats/registry/schema-ids.ts';
import { SinkError } from '../../src/sinks/sink.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { freePort } from '../../src/demo/ports.ts';

/*
 * What a real registry cannot be made to do at a test's word: fail for a while, tear its answers, never answer. What it
 * does by itself is in test/integration/schema-registry.test.ts.
 */

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Does with each request what the next of the list says, and with all that follow what the last says. */
async function registryThat(
  t: TestContext,
  ...handlers: readonly Handler[]
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    handlers[Math.min(asked.length, handlers.length) - 1]!(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`, asked };
}

function answers(status: number, body: unknown): Handler {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
}

/** Promises more than it sends. */
const torn: Handler = (_, response) => {
  response.writeHead(200, { 'content-length': '100' });
  response.write('{"id":1');
  setTimeout(() => response.destroy(), 20);
};
const silent: Handler = () => undefined;

function clientOf(t: TestContext, urls: readonly string[], auth: RegistryAuth = {}): RegistryClient {
  const client = new RegistryClient({ urls, timeoutMs: 500, auth: () => auth });
  t.after(() => {
    client[Symbol.dispose]();
  });
  return client;
}

const ONE = { subject: 'a', text: '"int"', schemaType: 'AVRO', register: true } as const;
const SCHEMA = { schemaType: 'AVRO', text: '"int"' } as const;
const ask = (client: RegistryClient): Promise<number> => client.register('a-value', SCHEMA, AbortSignal.timeout(5000));

describe('a schema registry', () => {
  const REFUSED: [status: number, body: unknown, words: RegExp][] = [
    [
      409,
      { error_code: 40901, message: 'incompatible with an earlier schema' },
      /answered 409 for subject a-value: incompatible with/,
    ],
    [409, { error_code: 409, message: 'Incompatible' }, /409.*Incompatible/],
    [422, { error_code: 42201, message: 'Invalid schema' }, /422.*Invalid schema/],
    [401, 'Unauthorized', /401.*Unauthorized/],
    [403, '<html>Forbidden</html>', /403.*Forbidden/],
    [404, '', /404.*no reason/],
  ];
  for (const [status, body, words] of REFUSED)
    it(`wants a person by ${status} (${JSON.stringify(body)}), in its own words`, async (t) => {
      const { url, asked } = await registryThat(t, answers(status, body));
      await assert.rejects(ask(clientOf(t, [url, url])), (error) => {
        assert.ok(error instanceof SinkError);
        assert.deepEqual([error.kind, words.test(error.message)], ['refused', true], error.message);
        return true;
      });
      assert.equal(asked.length, 1, 'another of its URLs would say the same');
    });

  const PASSING: [what: string, handler: Handler][] = [
    ['429', answers(429, { message: 'slow down' })],
    ['500', answers(500, { error_code: 50001, message: 'store' })],
    ['503', answers(503, 'upstream')],
    ['a redirect', answers(302, '')],
    ['a torn answer', torn],
    ['no answer in time', silent],
    ['an answer that is no JSON', answers(200, '<html>proxy</html>')],
    ['an answer without a number', answers(200, { schema: 'x' })],
    ['a number that is none', answers(200, { id: '7' })],
    ['a number that no record can carry', answers(200, { id: 2 ** 31 })],
    ['half a number', answers(200, { id: 1.5 })],
    ['a connection that breaks', (request) => request.socket.destroy()],
  ];
  for (const [what, handler] of PASSING)
    it(`is to be asked again after ${what}, and gives no number meanwhile`, async (t) => {
      const { url } = await registryThat(t, handler, answers(200, { id: 7 }));
      const client = clientOf(t, [url]);
      await assert.rejects(ask(client), (error) => error instanceof SinkError && error.kind === 'unavailable');
      assert.equal(await ask(client), 7);
    });

  it('is asked at its next URL where one is away or fails, and at the good one first from then on', async (t) => {
    const away = `http://127.0.0.1:${await freePort()}`;
    const broken = await registryThat(t, answers(503, 'starting'));
    const good = await registryThat(t, answers(200, { id: 7 }));
    const client = clientOf(t, [away, broken.url, good.url]);
    assert.deepEqual([await ask(client), await ask(client)], [7, 7]);
    assert.deepEqual([broken.asked.length, good.asked.length], [1, 2]);
  });

  it('is told who asks: by name and password, or by a token', async (t) => {
    const seen: (string | undefined)[] = [];
    const { url } = await registryThat(t, (request, response) => {
      seen.push(request.headers.authorization);
      answers(200, { id: 7 })(request, response);
    });
    await ask(clientOf(t, [url], { basic: { username: 'u', password: 'p:é' } }));
    await ask(clientOf(t, [url], { token: 't0k' }));
    await ask(clientOf(t, [url]));
    assert.deepEqual(seen, [`Basic ${Buffer.from('u:p:é').toString('base64')}`, 'Bearer t0k', undefined]);
  });

  it('keeps what is odd in a subject or a path', async (t) => {
    const { url, asked } = await registryThat(t, answers(200, { id: 7 }));
    await clientOf(t, [url]).register('a/b ü-value', SCHEMA, AbortSignal.timeout(5000));
    await clientOf(t, [`${url}/`]).lookUp('x', SCHEMA, AbortSignal.timeout(5000));
    assert.deepEqual(asked, ['POST /api/subjects/a%2Fb%20%C3%BC-value/versions', 'POST /api/subjects/x']);
  });

  it('is asked once for what many want at once, and not again for what it has just said', async (t) => {
    const { url, asked } = await registryThat(t, answers(500, ''), answers(200, { id: 7 }));
    const ids = new SchemaIds({ client: clientOf(t, [url]) });
    const idOf = (): Promise<number> => ids.of(ONE).get(AbortSignal.timeout(5000));
    const first = await Promise.allSettled([idOf(), idOf(), idOf()]);
    assert.deepEqual(new Set(first.map(({ status }) => status)), new Set(['rejected']));
    assert.deepEqual(await Promise.all([idOf(), idOf()]), [7, 7]);
    assert.equal(await idOf(), 7);
    assert.equal(asked.length, 2);
  });

  it('lets go of who does not want to wait, and answers the others', async (t) => {
    let isHere!: (release: () => void) => void;
    const asked = new Promise<() => void>((resolve) => (isHere = resolve));
    const { url } = await registryThat(t, (request, response) => {
      isHere(() => {
        answers(200, { id: 7 })(request, response);
      });
    });
    const id = new SchemaIds({ client: clientOf(t, [url]) }).of(ONE);
    const impatient = new AbortController();
    const left = id.get(impatient.signal);
    const stays = id.get(AbortSignal.timeout(5000));
    const release = await asked;
    impatient.abort(new Error('stops'));
    await assert.rejects(left, /stops/);
    release();
    assert.equal(await stays, 7);
  });

  describe('whose numbers are confirmed', () => {
    /** Asks for a number, and again when it has to be confirmed; answers both and what was told of it. */
    async function twice(
      t: TestContext,
      handlers: readonly Handler[],
      register = true,
    ): Promise<{ results: readonly PromiseSettledResult<number>[]; asked: string[]; told: unknown[] }> {
      const { url, asked } = await registryThat(t, ...handlers);
      const told: unknown[] = [];
      let nowMs = 0;
      const ids = new SchemaIds({
        client: clientOf(t, [url]),
        now: () => nowMs,
        onChanged: (change) => told.push(change),
        onTrouble: (subject) => told.push(subject),
      });
      const get = (): Promise<number> => ids.of({ ...ONE, register }).get(AbortSignal.timeout(5000));
      await get();
      nowMs = CONFIRM_EVERY_MS - 1;
      await get();
      assert.equal(asked.length, 1);
      nowMs = CONFIRM_EVERY_MS;
      return { results: [...(await Promise.allSettled([get()])), ...(await Promise.allSettled([get()]))], asked, told };
    }
    const numbers = (results: readonly PromiseSettledResult<number>[]): unknown[] =>
      results.map((result) => (result.status === 'fulfilled' ? result.value : 'none'));

    const AWAY: [what: string, handler: Handler, told: unknown[]][] = [
      ['fails', answers(503, 'starting'), []],
      ['does not answer in time', silent, []],
      ['lets us not ask', answers(401, 'Unauthorized'), ['a']],
    ];
    for (const [what, handler, expected] of AWAY)
      it(`goes on under the number that it gave while it ${what}`, async (t) => {
        const { results, asked, told } = await twice(t, [answers(200, { id: 7 }), handler]);
        assert.deepEqual([numbers(results), told], [[7, 7], expected]);
        assert.equal(asked.length, 2, 'and is not asked again at once');
      });

    it('holds rows up for 2 s where it never answers, and those behind them not at all', async (t) => {
      const { url } = await registryThat(t, answers(200, { id: 7 }), silent);
      using client = new RegistryClient({ urls: [url] });
      let nowMs = 0;
      const id = new SchemaIds({ client, now: () => nowMs }).of(ONE);
      const get = (): Promise<number> => id.get(AbortSignal.timeout(8000));
      await get();
      nowMs = CONFIRM_EVERY_MS;
      const startMs = performance.now();
      const first = get();
      assert.deepEqual([await get(), performance.now() - startMs < 1000], [7, true]);
      assert.equal(await first, 7);
      const waitedMs = performance.now() - startMs;
      assert.ok(waitedMs > 1900 && waitedMs < 5000, `${waitedMs} ms`);
    });

    it('is asked without a change to it, and by that alone where it has the schema', async (t) => {
      const { results, asked } = await twice(t, [answers(200, { id: 7 })]);
      assert.deepEqual(
        [numbers(results), asked],
        [
          [7, 7],
          ['POST /api/subjects/a/versions', 'POST /api/subjects/a'],
        ],
      );
    });

    it('gets a schema again that it has lost, and that is told', async (t) => {
      const { results, asked, told } = await twice(t, [
        answers(200, { id: 7 }),
        answers(404, { message: 'no subject' }),
        answers(200, { id: 3 }),
      ]);
      assert.deepEqual([numbers(results), told], [[3, 3], [{ subject: 'a', before: 7, now: 3 }]]);
      assert.equal(asked.length, 3);
    });

    it('holds rows up whose schema it has lost and takes no more, until it does', async (t) => {
      const handlers = [answers(200, { id: 7 }), answers(404, ''), answers(503, ''), answers(200, { id: 3 })];
      assert.deepEqual(numbers((await twice(t, handlers)).results), ['none', 3]);
      const refused = [answers(200, { id: 7 }), answers(404, { message: 'no subject' })];
      const { results } = await twice(t, refused, false);
      assert.deepEqual(numbers(results), ['none', 'none']);
      assert.match(String((results[0] as PromiseRejectedResult).reason), /answered 404 for subject a: no subject/);
    });
  });

  it('is told a new password or token as soon as its file has one', async (t) => {
    await using dir = await WorkDir.create('spoor-test-registry-auth');
    const seen: (string | undefined)[] = [];
    const { url } = await registryThat(t, (request, response) => {
      seen.push(request.headers.authorization);
      answers(seen.length % 2 === 1 ? 200 : 401, seen.length % 2 === 1 ? { id: 7 } : { message: 'no s3cret!' })(
        request,
        response,
      );
    });
    for (const which of ['password', 'token'] as const) {
      const path = join(dir.path, which);
      await writeFile(path, 'first\n');
      const auth = which === 'token' ? { token: 'first' } : { basic: { username: 'u', password: 'first' } };
      const client = new RegistryClient({ urls: [url], auth: currentAuth(auth, { [which]: path }) });
      t.after(() => {
        client[Symbol.dispose]();
      });
      await ask(client);
      await rm(path); // as while it is replaced
      await writeFile(`${path}.new`, 's3cret!');
      await rename(`${path}.new`, path);
      await assert.rejects(ask(client), /answered 401 .*: no \*\*\*$/, 'what a registry quotes is not shown');
    }
    const basic = (password: string): string => `Basic ${Buffer.from(`u:${password}`).toString('base64')}`;
    assert.deepEqual(seen, [basic('first'), basic('s3cret!'), 'Bearer first', 'Bearer s3cret!']);
  });
});
