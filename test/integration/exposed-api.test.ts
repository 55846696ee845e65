import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { SidecarProcess } from '../../src/demo/sidecar-process.ts';
import { TlsFetch } from '../../src/util/tls-fetch.ts';
import { BAD_REQUESTS, badTokens, request, type BadRequest } from '../support/bad-requests.ts';
import { makeAuthority, type Authority, type Issued } from '../support/certificates.ts';
import { serversMissing, startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { sendRaw, type RawAnswer, type RawPiece, type RawTarget } from '../support/raw-http.ts';
import { SecretHunt } from '../support/secret-hunt.ts';

const BUILT = process.env['TEST_SPOOR_PROGRAM'];
const TOKENS = { operate: 'marked-operate-6b1f2c', read: 'marked-read-90ac3e' };
const ORDERS = { name: 'orders', tables: ['shop.*'], start: 'now', paused: true, sink: { type: 'kafka', topic: 't' } };
/** What an answer must not tell: stacks, files of the program, and places of this machine. */
const PRIVATE = /\n\s+at |node_modules|\/src\/|\/dist\/|\.[jt]s:\d|\/tmp\/|\/root\//;
/** Slow clients, all at once: the longest is given 30 s, and what it is looked for with. */
const SLOW_MS = 45_000;
/** How long a loop of bad requests goes on. */
const LOOP_MS = 5_000;

const missing = await serversMissing();

describe('an API that anybody may reach', { skip: missing }, () => {
  let kudu: KuduCluster | undefined;
  let dir: string | undefined;
  let authority: Authority;
  let client: Issued;
  let tls: TlsFetch;
  const started: SidecarProcess[] = [];
  /** On loopback, without tokens or TLS. */
  let open: SidecarProcess;
  /** With TLS, client certificates and tokens. */
  let guarded: SidecarProcess;
  /** Another one of the same installation. */
  let beside: SidecarProcess;
  let hunt: SecretHunt;
  let openAtFirst: unknown;
  let guardedAtFirst: unknown;
  let clients = 0;

  const ask = async (
    sidecar: SidecarProcess,
    path: string,
    init: { method?: string; body?: string; token?: string } = {},
  ) => {
    const { method = 'GET', body, token = TOKENS.operate } = init;
    const headers = {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      authorization: `Bearer ${token}`,
    };
    const asked = { method, headers, ...(body !== undefined && { body }), signal: AbortSignal.timeout(60_000) };
    const url = sidecar.url + path;
    const answer = await (sidecar === open ? fetch(url, asked) : tls.fetch(url, asked));
    const text = await answer.text();
    hunt.look(`${method} ${path}`, text);
    return { status: answer.status, text };
  };
  /** As it is defined, and in which change: what no bad request may touch. */
  const defined = async (sidecar: SidecarProcess): Promise<unknown> =>
    (JSON.parse((await ask(sidecar, '/v1/streams')).text) as Record<string, unknown>[]).map(
      ({ tablets: _, ...rest }) => rest,
    );
  /** Each from an address of its own, so that none is refused for what another did. */
  const targetOf = (sidecar: SidecarProcess, more: Partial<RawTarget> = {}): RawTarget => {
    clients++;
    return {
      host: '127.0.0.1',
      port: Number(new URL(sidecar.url).port),
      from: `127.0.${1 + (clients >> 8)}.${clients & 255}`,
      ...more,
    };
  };
  const asClient = () => ({ ca: authority.cert, cert: client.cert, key: client.key });

  const assertAnswer = (what: string, answer: RawAnswer, expect: BadRequest['expect']): void => {
    hunt.look(what, answer.text);
    const { status, head, body } = answer;
    const isRight = status === null ? expect.includes('cut') && answer.isCut : expect.includes(status);
    assert.ok(
      isRight,
      `${what}: ${status ?? 'no status'}, wanted ${expect.join(' or ')}: ${answer.text.slice(0, 300)}`,
    );
    assert.doesNotMatch(answer.text, PRIVATE, what);
    assert.doesNotMatch(head, /access-control-|x-powered-by|^server:/m, what);
    if (status === null || body === '') return;
    assert.match(head, /content-type: application\/problem\+json/, what);
    assert.equal((JSON.parse(Buffer.from(body, 'latin1').toString()) as { status: number }).status, status, what);
  };

  before(async () => {
    const folder = (dir = mkdtempSync(join(tmpdir(), 'spoor-exposed-')));
    authority = await makeAuthority();
    client = await authority.issue('an operator');
    const server = await authority.issue('sidecar');
    const write = (name: string, content: string): string => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };
    hunt = new SecretHunt({
      ...TOKENS,
      'key of the API': server.key,
      'password of Kafka': 'marked-kafka-1d9e77',
      'password of the registry': 'marked-registry-52c0fa',
      'password of Redis': 'marked-redis-c41b08',
    });
    tls = new TlsFetch({ ca: authority.cert, identity: client });
    const cluster = (kudu = await startKudu({ tservers: 3 }));
    const start = (number: number, name: string, env: Record<string, string>, isTls: boolean, installation = name) =>
      SidecarProcess.start({
        name,
        ...(BUILT !== undefined && { command: [process.execPath, BUILT] }),
        masters: cluster.masters,
        tserver: cluster.tservers[number]!,
        brokers: ['127.0.0.1:1'],
        dir: folder,
        env: {
          SPOOR_SYSTEM_TABLE_PREFIX: `${installation}.`,
          SPOOR_SYSTEM_TABLE_REPLICAS: '1',
          SPOOR_LOG_LEVEL: 'trace',
          SPOOR_KAFKA_SASL_MECHANISM: 'plain',
          SPOOR_KAFKA_SASL_USERNAME: 'spoor',
          SPOOR_KAFKA_SASL_PASSWORD: 'marked-kafka-1d9e77',
          SPOOR_REGISTRY_USERNAME: 'spoor',
          SPOOR_REGISTRY_PASSWORD_FILE: write('registry', 'marked-registry-52c0fa\n'),
          SPOOR_REDIS_URL: 'redis://:marked-redis-c41b08@127.0.0.1:1',
          ...env,
        },
        ...(isTls && { httpsGet: (url: string, signal: AbortSignal) => tls.fetch(url, { headers: {}, signal }) }),
      });
    started.push((open = await start(0, 'open', {}, false)));
    const secured = {
      SPOOR_HTTP_TLS_CERT_FILE: write('cert.pem', server.cert),
      SPOOR_HTTP_TLS_KEY_FILE: write('key.pem', server.key),
      SPOOR_HTTP_TLS_CLIENT_CA_FILE: write('ca.pem', authority.cert),
      SPOOR_HTTP_TOKEN: TOKENS.operate,
      SPOOR_HTTP_TOKEN_READ_FILE: write('read', TOKENS.read),
    };
    guarded = await start(1, 'guarded', secured, true);
    beside = await start(2, 'beside', secured, true, 'guarded');
    started.push(beside);
    started.push(guarded);
    for (const sidecar of [open, guarded])
      for (;;) {
        const made = await ask(sidecar, '/v1/streams', { method: 'POST', body: JSON.stringify(ORDERS) });
        if (made.status === 201) break;
        assert.equal(made.status, 503, made.text);
        await sleep(200);
      }
    [openAtFirst, guardedAtFirst] = [await defined(open), await defined(guarded)];
  });
  after(async () => {
    await Promise.all(started.map((sidecar) => sidecar.stop()));
    tls[Symbol.dispose]();
    await kudu?.[Symbol.asyncDispose]();
    if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
  });

  const tokenRequests = badTokens(TOKENS);
  it('is tried with more than 60 bad requests', () => {
    assert.ok(BAD_REQUESTS.length + tokenRequests.length >= 160, `${BAD_REQUESTS.length} and ${tokenRequests.length}`);
  });

  for (const { what, pieces, expect } of BAD_REQUESTS)
    it(`refuses ${what}`, async () => {
      assertAnswer(what, await sendRaw(targetOf(open), pieces), expect);
      assert.deepEqual(await defined(open), openAtFirst, 'nothing has changed');
    });

  for (const { what, pieces, expect } of tokenRequests)
    it(`refuses ${what}`, async () => {
      assertAnswer(what, await sendRaw(targetOf(guarded, { tls: asClient() }), pieces), expect);
      assert.deepEqual(await defined(guarded), guardedAtFirst, 'nothing has changed');
    });

  describe('by TLS', () => {
    const reading: RawPiece[] = request('GET /v1/streams', [`Authorization: Bearer ${TOKENS.operate}`]);
    const from = async (tlsOptions: RawTarget['tls'], pieces = reading): Promise<RawAnswer> =>
      sendRaw(targetOf(guarded, { ...(tlsOptions && { tls: tlsOptions }) }), pieces);

    it('answers who has all that is asked for', async () => {
      assert.equal((await from(asClient())).status, 200);
      assert.equal((await from({ ...asClient(), maxVersion: 'TLSv1.2' })).status, 200);
    });

    it('cuts off a certificate that has expired, or is of another CA, or of nobody', async () => {
      const expired = await authority.issue('an operator', -1);
      const stranger = await (await makeAuthority()).issue('an operator');
      const namesake = await (await makeAuthority('test CA')).issue('an operator');
      const self = await makeAuthority('an operator');
      for (const { cert, key } of [expired, stranger, namesake, self])
        assertAnswer('certificate', await from({ ca: authority.cert, cert, key }), ['cut']);
    });

    it('tells who has no certificate whether it lives, and nothing else', async () => {
      const nobody = { ca: authority.cert };
      const token = [`Authorization: Bearer ${TOKENS.operate}`];
      assert.equal((await from(nobody, request('GET /healthz'))).status, 200);
      assertAnswer('no certificate', await from(nobody), [403]);
      for (const path of ['/metrics', '/openapi.json', '/nothing'])
        assertAnswer(path, await from(nobody, request(`GET ${path}`, token)), [403]);
      const ready = await from(nobody, request('GET /readyz', token));
      assert.equal(ready.status, 503);
      assert.doesNotMatch(
        ready.body,
        /127\.0\.0\.1|"reason":/,
        'Kafka cannot be reached, and why is not for everybody',
      );
      assert.match((await ask(guarded, '/readyz')).text, /"reason":".*127\.0\.0\.1:1/);
    });

    it('is how sidecars call each other', async () => {
      await eventually('they know each other', async () => {
        const known = JSON.parse((await ask(guarded, '/v1/sidecars')).text) as { http: string }[];
        return known.length === 2 && known.every(({ http }) => [guarded.url, beside.url].includes(http));
      });
      await ask(guarded, '/v1/streams');
      const answered = /"method":"GET","url":"\/v1\/local[^"]*","status":200/;
      for (const { logFile } of [guarded, beside]) {
        await eventually('the other one was answered', () => answered.test(readFileSync(logFile, 'utf8')));
        // Late, maybe, on a busy machine, but neither refused nor mistrusted.
        assert.doesNotMatch(
          readFileSync(logFile, 'utf8'),
          /"reason":"(?!not done within)[^"]*","msg":"sidecar does not answer/,
        );
      }
    });

    it('cuts off what is not TLS, or too old', async () => {
      assertAnswer('plain', await from(undefined), ['cut']);
      assertAnswer('bytes', await from(undefined, [Buffer.alloc(600, 0x41)]), ['cut']);
      assertAnswer(
        'half a hello',
        await from(undefined, [Buffer.from('16030102000100', 'hex'), 100, 'x'.repeat(600)]),
        ['cut'],
      );
      const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
      assertAnswer('TLS 1.1', await from({ ...asClient(), ...old }), ['cut']);
    });
  });

  it('cuts off who is slow', { timeout: 2 * SLOW_MS }, async () => {
    const drip = (text: string, everyMs: number): RawPiece[] => Array.from(text).flatMap((char) => [char, everyMs]);
    const head = `POST /v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`;
    const plain = (pieces: readonly RawPiece[]) => sendRaw(targetOf(open), pieces, SLOW_MS);
    const begunMs = performance.now();
    const took = async (answer: Promise<RawAnswer>): Promise<RawAnswer & { seconds: number }> => ({
      ...(await answer),
      seconds: (performance.now() - begunMs) / 1000,
    });
    const [headers, line, silent, body, chunks, handshake, behind] = await Promise.all([
      took(plain(['GET /v1/streams HTTP/1.1\r\n', ...drip('X-Slow: '.repeat(20), 400)])),
      took(plain(drip('GET /v1/streams HTTP/1.1', 2000))),
      took(plain([])),
      took(plain([head, ...drip(' '.repeat(100), 1000)])),
      took(
        plain([
          head.replace('Content-Length: 1000', 'Transfer-Encoding: chunked'),
          ...drip('1\r\n \r\n'.repeat(20), 1000),
        ]),
      ),
      took(
        sendRaw(targetOf(guarded), [Buffer.from('1603010200', 'hex'), ...drip('\x01\x00'.repeat(30), 1000)], SLOW_MS),
      ),
      took(
        sendRaw(
          targetOf(guarded, { tls: asClient() }),
          ['GET /v1/streams HTTP/1.1\r\n', ...drip('X-Slow: '.repeat(20), 400)],
          SLOW_MS,
        ),
      ),
    ]);
    const slow = { headers, line, silent, body, chunks, handshake, behind };
    for (const [what, answer] of Object.entries(slow)) {
      assertAnswer(what, answer, [408, 'cut']);
      assert.ok(answer.isCut, what);
      assert.ok(answer.seconds < (what === 'body' || what === 'chunks' ? 35 : 15), `${what}: ${answer.seconds} s`);
    }
    assert.deepEqual(await defined(open), openAtFirst);
  });

  it('has an end to what one address may have refused, and lets the right token pass all the while', async () => {
    const target = targetOf(guarded, { tls: asClient(), from: '127.0.200.1' });
    const wrong = request('GET /v1/streams', ['Authorization: Bearer wrong']);
    const statuses: (number | null)[] = [];
    const refusals = (): number => statuses.filter((status) => status === 429).length;
    // So many that what comes back meanwhile, two a second, is no matter on a busy machine.
    while (refusals() < 10 && statuses.length < 1000) statuses.push((await sendRaw(target, wrong)).status);
    assert.equal(statuses[0], 401);
    assert.equal(refusals(), 10, `${statuses.length} tries`);
    assert.ok(statuses.length < 400, `${statuses.length} tries`);
    let last = await sendRaw(target, wrong);
    for (let more = 0; last.status !== 429 && more < 10; more++) last = await sendRaw(target, wrong); // one came back
    assertAnswer('too many', last, [429]);
    assert.match(last.head, /retry-after: \d+/);
    const right = request('GET /v1/streams', [`Authorization: Bearer ${TOKENS.operate}`]);
    assert.equal((await sendRaw(target, right)).status, 200);
    assert.equal((await sendRaw({ ...target, from: '127.0.200.2' }, wrong)).status, 401, 'others are others');
  });

  it('goes on while a loop of bad requests runs', { timeout: 120_000 }, async (t) => {
    const bad = [...BAD_REQUESTS.filter(({ what }) => /^(?:smuggling|types|malformed|origins|protocols)/.test(what))];
    const cpuSeconds = (): number => {
      const [, , ...fields] = readFileSync(`/proc/${open.pid}/stat`, 'utf8')
        .replace(/\(.*\)/, 'x')
        .split(' ');
      return (Number(fields[11]) + Number(fields[12])) / 100;
    };
    const measure = async (isLooping: boolean): Promise<{ p50: number; p99: number; cpu: number; sent: number }> => {
      const until = performance.now() + LOOP_MS;
      let sent = 0;
      const loop = async (): Promise<void> => {
        const target = { host: '127.0.0.1', port: Number(new URL(open.url).port), from: '127.0.201.1' };
        for (let i = 0; performance.now() < until; i++, sent++)
          await sendRaw(target, bad[i % bad.length]!.pieces, 1000);
      };
      const loops = isLooping ? Array.from({ length: 8 }, loop) : [];
      const cpuBefore = cpuSeconds();
      const times: number[] = [];
      while (performance.now() < until) {
        const started = performance.now();
        assert.equal((await ask(open, '/healthz')).status, 200);
        times.push(performance.now() - started);
        await sleep(10);
      }
      await Promise.all(loops);
      times.sort((a, b) => a - b);
      const at = (share: number): number => times[Math.floor(times.length * share)]!;
      return { p50: at(0.5), p99: at(0.99), cpu: (cpuSeconds() - cpuBefore) / (LOOP_MS / 1000), sent };
    };
    const without = await measure(false);
    const beside = await measure(true);
    const said = ({ p50, p99, cpu, sent }: typeof without): string =>
      `/healthz p50 ${p50.toFixed(1)} p99 ${p99.toFixed(1)} ms, ${(cpu * 100).toFixed(0)} % of a core, ${sent} bad requests`;
    t.diagnostic(`without: ${said(without)}; beside: ${said(beside)}`);
    assert.ok(beside.sent > 100, said(beside));
    assert.ok(beside.p99 < 500, said(beside));
    assert.deepEqual(await defined(open), openAtFirst);
  });

  it('does not let one address have all connections', async () => {
    const port = Number(new URL(open.url).port);
    const sockets = Array.from({ length: 700 }, () =>
      connect({ host: '127.0.0.1', port, localAddress: '127.0.202.1' }),
    );
    for (const socket of sockets) socket.on('error', () => undefined);
    try {
      for (let i = 0; i < 20; i++) {
        await sleep(50);
        const answer = await sendRaw(targetOf(open), request('GET /healthz'));
        assert.equal(answer.status, 200, 'every one that comes from elsewhere');
      }
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  it('says no secret, whatever is asked', async () => {
    for (const sidecar of started) {
      for (const path of [
        '/openapi.json',
        '/metrics',
        '/readyz',
        '/healthz',
        '/v1/streams',
        '/v1/sidecars',
        '/v1/local',
      ])
        await ask(sidecar, path);
      hunt.lookInFile(sidecar.logFile);
      hunt.lookAtArguments(sidecar.pid);
    }
    hunt.assertNothing(BAD_REQUESTS.length + tokenRequests.length);
    assert.match(
      readFileSync(guarded.logFile, 'utf8'),
      /"level":"debug"/,
      'the log is looked at with all that it says',
    );
  });
});
