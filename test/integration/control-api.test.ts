import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { type ControlServer } from '../../src/control/server.ts';
import { notReady, problem } from '../../src/control/schemas.ts';
import { putStream, sidecarView, streamPlan, streamView, type StreamView } from '../../src/api/shapes.ts';
import { SpoorError } from '../../src/errors.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import { formatOpId } from '../../src/kudu/opid.ts';
import { RefusedDefinitionError } from '../../src/streams/stream-errors.ts';
import { type LogRequest } from '../../src/api/control-plane.ts';
import type * as z from 'zod';
import { withToken } from '../support/credentials.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane, tabletView } from '../support/memory-control-plane.ts';
import { kafkaOf } from '../support/kafka-of.ts';

const ORDERS = { name: 'orders', tables: ['shop.*'], start: 'now', sink: { type: 'kafka', topic: 'cdc.{table}' } };
const TOKEN = 'a-token-of-the-test';

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly headers: Headers;
  readonly body: unknown;
}

const plane = new MemoryControlPlane();
const lines: LogLine[] = [];
const audited: LogLine[] = [];
let server: ControlServer;
let base: string;

async function start(token: string | null): Promise<ControlServer> {
  return serveMemory(plane, {
    credentials: withToken(token),
    metrics: { contentType: 'text/plain; version=0.0.4', text: () => Promise.resolve('spoor_lag_ops 0\n') },
    logger: keepingLogger(lines),
    audit: keepingLogger(audited),
  });
}

async function call(method: string, path: string, init: RequestInit = {}, from = base): Promise<Answer> {
  const response = await fetch(from + path, { method, ...init });
  const text = await response.text();
  const type = response.headers.get('content-type') ?? '';
  const body: unknown = type.includes('json') && method !== 'HEAD' ? JSON.parse(text) : text;
  return { status: response.status, type, headers: response.headers, body };
}

async function* chunksOf(chunks: readonly Uint8Array[], failure?: Error): AsyncGenerator<Uint8Array> {
  yield* chunks;
  await Promise.resolve();
  if (failure) throw failure;
}

const post = (path: string, body: unknown) =>
  call('POST', path, { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** Holds an answer against RFC 9457 and the API's own schema of problems. */
function assertProblem(answer: Answer, status: number, detail: RegExp): z.output<typeof problem> {
  assert.equal(answer.status, status);
  assert.match(answer.type, /^application\/problem\+json/);
  const parsed = problem.parse(answer.body);
  assert.equal(parsed.status, status);
  assert.match(parsed.detail, detail);
  return parsed;
}

before(async () => {
  server = await start(null);
  base = `http://127.0.0.1:${server.address.port}`;
});
after(() => server.close());
beforeEach(() => {
  plane.failure = null;
  lines.length = 0;
});

describe('streams', () => {
  beforeEach(() => plane.deleteStream('orders'));

  it('are created, listed, shown and deleted', async () => {
    const created = await post('/v1/streams', ORDERS);
    assert.equal(created.status, 201);
    assert.equal(created.headers.get('location'), '/v1/streams/orders');
    assert.match(created.type, /^application\/json/);
    const stream = {
      ...ORDERS,
      sink: {
        ...ORDERS.sink,
        delivery: 'exactly-once',
        partitions: -1,
        replicationFactor: -1,
        createTopics: true,
        schemaTopic: 'spoor.schema-changes',
      },
      format: { type: 'json' },
      images: 'after',
      tombstones: true,
      partitionBy: 'key',
      oversize: 'block',
      paused: false,
      revision: (created.body as StreamView).revision,
      createdAt: '2026-01-02T03:04:05.678Z',
      tablets: [tabletView()],
    };
    assert.deepEqual(created.body, stream);
    assert.deepEqual((await call('GET', '/v1/streams')).body, [stream]);
    assert.deepEqual((await call('GET', '/v1/streams/orders')).body, stream);
    const deleted = await call('DELETE', '/v1/streams/orders');
    assert.deepEqual([deleted.status, deleted.body], [204, '']);
    assertProblem(await call('GET', '/v1/streams/orders'), 404, /no stream named "orders"/);
    assert.deepEqual((await call('GET', '/v1/streams')).body, []);
  });

  it('are paused and resumed, as often as it is said', async () => {
    const created = (await post('/v1/streams', ORDERS)).body as StreamView;
    const { revision } = created;
    const tablets = [tabletView({ state: 'paused' })];
    const paused = { ...created, paused: true, revision: revision + 1, tablets };
    const resumed = { ...created, revision: revision + 2 };
    for (const [verb, expected] of [
      ['pause', paused],
      ['pause', paused],
      ['resume', resumed],
      ['resume', resumed],
    ] as const) {
      const answer = await call('POST', `/v1/streams/orders/${verb}`);
      assert.deepEqual([answer.status, answer.body], [200, expected]);
      assert.match(answer.type, /^application\/json/);
      assert.deepEqual(streamView.parse(answer.body), expected);
      assert.deepEqual((await call('GET', '/v1/streams/orders')).body, expected);
    }
    await post('/v1/streams/orders/pause', {});
    assert.equal((await call('DELETE', '/v1/streams/orders')).status, 204);
    for (const verb of ['pause', 'resume'])
      assertProblem(await call('POST', `/v1/streams/orders/${verb}`), 404, /no stream named "orders"/);
  });

  it('that cannot be paused or resumed because Kudu is away are answered 503', async () => {
    plane.failure = new SpoorError('SPOOR_KUDU_UNAVAILABLE', 'not connected');
    for (const verb of ['pause', 'resume']) {
      const { code } = assertProblem(await call('POST', `/v1/streams/orders/${verb}`), 503, /^not connected$/);
      assert.equal(code, 'SPOOR_KUDU_UNAVAILABLE');
    }
    plane.failure = null;
  });

  it('are planned by a dry run, and not made', async () => {
    const headers = { 'content-type': 'application/json' };
    const ask = (query: string) => call('POST', `/v1/streams?${query}`, { headers, body: JSON.stringify(ORDERS) });
    const { status, body } = await ask('dryRun=true');
    assert.equal(status, 200);
    assert.equal(streamPlan.parse(body).definition.name, 'orders');
    assert.deepEqual(await plane.listStreams(), []);
    assertProblem(await ask('dryRun=yes'), 400, /dryRun is true or false/);
    assert.deepEqual(await plane.listStreams(), []);
    assert.equal((await ask('dryRun=false')).status, 201);
    assertProblem(await ask('dryRun=true'), 409, /already/);
  });

  describe('as they are to be', () => {
    const put = (body: unknown, headers: Record<string, string> = {}, query = '') =>
      call('PUT', `/v1/streams/orders${query}`, {
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });
    const tagOf = ({ headers }: Answer): string => headers.get('etag') ?? 'none';

    it('are made, changed, or left as they are', async () => {
      const made = await put(ORDERS);
      assert.equal(made.status, 201);
      assert.equal(made.headers.get('location'), '/v1/streams/orders');
      const { outcome, ...stream } = putStream.parse(made.body);
      assert.equal(outcome, 'created');
      assert.match(tagOf(made), /^"\d+"$/);
      const shown = await call('GET', '/v1/streams/orders');
      assert.deepEqual([shown.body, tagOf(shown)], [stream, tagOf(made)]);
      for (const same of [ORDERS, { ...ORDERS, name: undefined }, shown.body, made.body]) {
        const again = await put(same);
        assert.deepEqual([again.status, tagOf(again)], [200, tagOf(made)]);
        assert.equal(putStream.parse(again.body).outcome, 'unchanged');
      }
      const changed = await put({ ...ORDERS, tables: ['b'], paused: true });
      assert.equal(changed.status, 200);
      assert.notEqual(tagOf(changed), tagOf(made));
      const { tables, paused, outcome: what } = putStream.parse(changed.body);
      assert.deepEqual([tables, paused, what], [['b'], true, 'changed']);
      const resumed = putStream.parse((await put({ ...ORDERS, tables: ['b'] })).body);
      assert.deepEqual([resumed.paused, resumed.outcome], [false, 'changed'], 'a whole definition says so by silence');
    });

    it('but for what cannot change: 409, with what it is and what was asked', async () => {
      const made = await put(ORDERS);
      const other = { ...ORDERS, start: 'snapshot', tables: ['b'], sink: { ...ORDERS.sink, topic: 'other' } };
      const { errors } = assertProblem(await put(other), 409, /"orders" is there, and cannot become/);
      assert.deepEqual(errors, [
        {
          path: 'start',
          message: 'is "now", and cannot become "snapshot" while the stream goes on',
          now: 'now',
          asked: 'snapshot',
        },
        {
          path: 'sink.topic',
          message: 'is "cdc.{table}", and cannot become "other" while the stream goes on',
          now: 'cdc.{table}',
          asked: 'other',
        },
      ]);
      assert.equal(tagOf(await call('GET', '/v1/streams/orders')), tagOf(made));
    });

    it('only where they are as whoever asks has seen them: 412 else', async () => {
      assertProblem(await put(ORDERS, { 'if-match': '*' }), 412, /no stream named "orders"; If-Match asks for \*/);
      const made = tagOf(await put(ORDERS, { 'if-none-match': '*' }));
      assertProblem(await put(ORDERS, { 'if-none-match': '*' }), 412, /If-None-Match asks for \*/);
      const headers = { 'content-type': 'application/json', 'if-match': made };
      const patch = (tombstones: boolean, ifMatch: string) =>
        call('PATCH', '/v1/streams/orders', {
          headers: { ...headers, 'if-match': ifMatch },
          body: JSON.stringify({ tombstones }),
        });
      const patched = await patch(false, `"x", ${made}`);
      assert.equal(patched.status, 200);
      const stale = await put({ ...ORDERS, start: 'snapshot' }, { 'if-match': made });
      assertProblem(stale, 412, /by now; If-Match asks for/);
      assert.equal(tagOf(stale), tagOf(patched), 'it says which one it is');
      assertProblem(await patch(true, made), 412, /by now/);
      assertProblem(await patch(true, `W/${tagOf(patched)}`), 412, /W\//);
      assertProblem(await call('DELETE', '/v1/streams/orders', { headers: { 'if-match': made } }), 412, /by now/);
      assertProblem(await call('DELETE', '/v1/streams/orders', { headers: { 'if-match': '7' } }), 400, /in quotes/);
      assert.equal((await call('DELETE', '/v1/streams/orders', { headers: { 'if-match': '*' } })).status, 204);
      const again = await put(ORDERS);
      assert.notEqual(tagOf(again), tagOf(patched), 'no later stream of the name has the tag of an earlier one');
    });

    it('named by their path alone', async () => {
      const { errors } = assertProblem(await put({ ...ORDERS, name: 'other' }), 400, /its name is "other"/);
      assert.equal(errors?.[0]?.path, 'name');
      assertProblem(await put({ ...ORDERS, more: 1 }), 400, /definition is wrong/);
      assertProblem(await call('PUT', '/v1/streams/orders'), 400, /empty.*definition/);
      assert.deepEqual(await plane.listStreams(), []);
    });

    it('by a dry run, which changes nothing', async () => {
      const plan = await put(ORDERS, {}, '?dryRun=true');
      assert.deepEqual([plan.status, streamPlan.parse(plan.body).outcome], [200, 'created']);
      assert.deepEqual(await plane.listStreams(), []);
      assertProblem(await put(ORDERS, {}, '?dryRun=1'), 400, /dryRun is true or false/);
      const made = tagOf(await put(ORDERS));
      const paused = await put({ ...ORDERS, paused: true }, {}, '?dryRun=true');
      assert.equal(streamPlan.parse(paused.body).outcome, 'changed');
      assertProblem(await put(ORDERS, { 'if-match': '"0"' }, '?dryRun=true'), 412, /by now/);
      assert.equal(tagOf(await call('GET', '/v1/streams/orders')), made);
    });
  });

  it('are made paused, and changed so', async () => {
    const created = await post('/v1/streams', { ...ORDERS, paused: true });
    assert.equal((created.body as StreamView).paused, true);
    const headers = { 'content-type': 'application/json' };
    const resumed = await call('PATCH', '/v1/streams/orders', { headers, body: '{"paused":false}' });
    assert.equal((resumed.body as StreamView).paused, false);
    const same = await call('PATCH', '/v1/streams/orders', { headers, body: '{"paused":false,"tombstones":true}' });
    assert.equal(same.headers.get('etag'), resumed.headers.get('etag'));
  });

  it('that their tables do not fit are answered 400 with each fault', async () => {
    plane.failure = new RefusedDefinitionError('tables', ['"a" and "b" clash']);
    const { errors } = assertProblem(await post('/v1/streams', ORDERS), 400, /cannot be as it is defined/);
    assert.deepEqual(errors, [{ path: 'tables', message: '"a" and "b" clash' }]);
  });

  it('have names of their own: 409', async () => {
    await post('/v1/streams', ORDERS);
    const { title } = assertProblem(await post('/v1/streams', ORDERS), 409, /"orders" already/);
    assert.equal(title, 'Conflict');
  });

  it('that are wrong are answered 400 with every fault of the body', async () => {
    const answer = await post('/v1/streams', { ...ORDERS, name: 'A', sink: { type: 'kafka', topic: '{x}' }, more: 1 });
    const { errors, title } = assertProblem(answer, 400, /definition/);
    assert.equal(title, 'Bad Request');
    assert.deepEqual(errors?.map(({ path }) => path).sort(), ['more', 'name', 'sink.topic']);
    assert.ok(errors.every(({ message }) => message.length > 0));
    assert.deepEqual(await plane.listStreams(), []);
  });

  it('that this version cannot serve are answered 501 with the reason', async () => {
    const { errors, code } = assertProblem(
      await post('/v1/streams', { ...ORDERS, format: { type: 'kudu-record' } }),
      501,
      /cannot do yet/,
    );
    assert.equal(code, 'SPOOR_NOT_SUPPORTED');
    assert.deepEqual(errors, [
      { path: 'format.type', message: '"kudu-record" is not supported yet by this version; use "json"' },
    ]);
  });

  it('need a body', async () => {
    const { errors } = assertProblem(await call('POST', '/v1/streams'), 400, /definition/);
    assert.deepEqual(errors, [{ path: '', message: 'is required' }]);
    const headers = { 'content-type': 'application/json' };
    assertProblem(await call('POST', '/v1/streams', { headers, body: '' }), 400, /empty.*definition/);
  });

  it('in malformed JSON are answered 400, also where it would poison prototypes', async () => {
    const headers = { 'content-type': 'application/json' };
    for (const body of [
      '{"name":',
      'null x',
      '{"__proto__":{"name":"x"}}',
      '{"name":"a","constructor":{"prototype":{}}}',
    ])
      assertProblem(await call('POST', '/v1/streams', { headers, body }), 400, /JSON/);
  });

  it('in another content type are answered 415', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'nonsense'])
      assertProblem(
        await call('POST', '/v1/streams', { headers: { 'content-type': type }, body: '{}' }),
        415,
        /application\/json/,
      );
  });

  it('that are too large are answered 413', async () => {
    const answer = await post('/v1/streams', { ...ORDERS, tables: ['x'.repeat(1 << 20)] });
    assertProblem(answer, 413, /too large/);
  });

  it('whose name is not there are answered 404, whatever the name', async () => {
    for (const path of ['nope', '%2e%2e', 'a%2Fb', '%F0%9F%90%9F', 'x'.repeat(99)]) {
      assertProblem(await call('GET', `/v1/streams/${path}`), 404, /no|nothing/);
      assertProblem(await call('DELETE', `/v1/streams/${path}`), 404, /no|nothing/);
    }
    assertProblem(await call('GET', `/v1/streams/${'x'.repeat(2000)}`), 414, /URL/);
  });
});

describe('the cluster', () => {
  it('shows its own tablets and every sidecar', async () => {
    assert.deepEqual((await call('GET', '/v1/local')).body, [tabletView()]);
    const { body } = await call('GET', '/v1/sidecars');
    assert.deepEqual(body, await plane.listSidecars());
    assert.ok(Array.isArray(body) && sidecarView.safeParse(body[0]).success);
  });

  it('shows of its own tablets those that another sidecar must know of', async () => {
    const standIn = tabletView({ tabletId: 'standIn', role: 'follower' });
    const yielded = tabletView({ tabletId: 'yielded', yields: true });
    plane.tablets = [tabletView(), standIn, yielded];
    assert.deepEqual((await call('GET', '/v1/local?only=exceptions')).body, [standIn, yielded]);
    const { errors } = assertProblem(await call('GET', '/v1/local?only=mine'), 400, /query/);
    assert.match(JSON.stringify(errors), /mine.*exceptions/);
    assertProblem(await call('GET', '/v1/local?olny=exceptions'), 400, /query/);
  });
});

describe('the held log of a tablet', () => {
  const ID = '0123456789abcdef0123456789abcdef';
  const PATH = `/v1/local/tablets/${ID}/log`;
  afterEach(() => {
    plane.heldLog = () => null;
  });

  it('is streamed from where it is asked for', async () => {
    const asked: string[] = [];
    const requests: LogRequest[] = [];
    plane.heldLog = (tabletId, after, request) => {
      asked.push(`${tabletId} ${formatOpId(after)}`);
      requests.push(request);
      return chunksOf([Buffer.from('one'), Buffer.alloc(0), Buffer.from(' two')]);
    };
    const answer = await call('GET', `${PATH}?after=7.1042`);
    assert.deepEqual([answer.status, answer.type, answer.body], [200, 'application/octet-stream', 'one two']);
    assert.deepEqual(asked, [`${ID} 7.1042`]);
    await call('GET', `${PATH}?after=7.1042&have=0a1b:3-5:1000,0a1c:1-1:7&headers=only`);
    const had = [
      { generation: '0a1b', from: 3, to: 5, lastBytes: 1000 },
      { generation: '0a1c', from: 1, to: 1, lastBytes: 7 },
    ];
    assert.deepEqual(requests, [{}, { had, headersOnly: true }]);
  });

  it('is 404 where nothing of it is held', async () => {
    assertProblem(await call('GET', `${PATH}?after=0.0`), 404, new RegExp(`holds nothing of .* ${ID}`));
  });

  it('is 400 with what was given and what is allowed', async () => {
    for (const [path, given] of [
      [PATH, 'after: got nothing; allowed: <term>.<index>'],
      [`${PATH}?after=`, 'after: got ""; allowed'],
      [`${PATH}?after=7`, 'after: got "7"; allowed'],
      [`${PATH}?after=-1.2`, 'after: got "-1.2"; allowed'],
      [`${PATH}?after=1.2.3`, 'after: got "1.2.3"; allowed'],
      [`${PATH}?after=1.2&after=1.3`, 'after: got ["1.2","1.3"]; allowed'],
      [`${PATH}?after=1.99999999999999999999`, 'after: got "1.9'],
      [`${PATH}?after=1.2&have=a`, 'have: got "a"; allowed: up to 100 of <generation>:<from>-<to>:'],
      [`${PATH}?after=1.2&headers=all`, 'headers: got "all"; allowed: only'],
      ['/v1/local/tablets/0123/log?after=1.2', `id: got "0123"; allowed: a tablet's id: 32 hexadecimal digits`],
      ['/v1/local/tablets/..%2f..%2fwals/log?after=1.2', 'id: got "../../wals"; allowed'],
      [`/v1/local/tablets/${ID.toUpperCase()}/log?after=1.2`, 'id: got "0123456789ABCDEF'],
    ] as const) {
      const { detail, errors } = assertProblem(await call('GET', path), 400, /allowed/);
      assert.ok(detail.startsWith(given), detail);
      assert.deepEqual(
        errors?.map(({ path: at, message }) => `${at}: ${message}`),
        [detail],
      );
    }
    const both = assertProblem(await call('GET', '/v1/local/tablets/x/log?after=y'), 400, /id: .*; after: /);
    assert.deepEqual(
      both.errors?.map(({ path }) => path),
      ['id', 'after'],
    );
  });

  it('is 503 while Kudu is waited for, and not to be had by HEAD', async (t) => {
    t.mock.method(plane, 'openHeldLog', () => {
      throw new SpoorError('SPOOR_KUDU_UNAVAILABLE', 'not connected');
    });
    assertProblem(await call('GET', `${PATH}?after=1.2`), 503, /^not connected$/);
    assert.equal((await call('HEAD', `${PATH}?after=1.2`)).status, 405);
  });

  it('that cannot be read is an error: 500 before the first byte, a cut connection after it', async () => {
    plane.heldLog = () => chunksOf([], new SpoorError('SPOOR_WAL_CORRUPT', 'wal-000000001 byte 7: broken'));
    const { code } = assertProblem(await call('GET', `${PATH}?after=1.2`), 500, /byte 7/);
    assert.equal(code, 'SPOOR_WAL_CORRUPT');
    plane.heldLog = () => chunksOf([Buffer.from('half')], new Error('broken'));
    const response = await fetch(`${base}${PATH}?after=1.2`);
    assert.equal(response.status, 200);
    await assert.rejects(response.text());
  });

  it('is read only as fast as it is taken, and no more once its taker is gone', async () => {
    let sent = 0;
    let ended: () => void = () => undefined;
    const end = new Promise<void>((resolve) => (ended = resolve));
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          sent++;
          yield Buffer.alloc(1 << 20);
          await setImmediate();
        }
      } finally {
        ended();
      }
    }
    plane.heldLog = endless;
    const taker = new AbortController();
    const response = await fetch(`${base}${PATH}?after=1.2`, { signal: taker.signal });
    assert.equal(response.status, 200);
    // Nobody reads: what the sockets and fetch itself take is bounded.
    let before = -1;
    while (sent > before) {
      before = sent;
      await sleep(100);
    }
    assert.ok(sent < 50, `${sent} MiB were read`);
    taker.abort();
    await end;
  });

  it('does not keep a sidecar from stopping', async () => {
    const closing = await start(null);
    let ended = false;
    async function* slow(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          yield Buffer.from('x');
          await sleep(5);
        }
      } finally {
        ended = true;
      }
    }
    plane.heldLog = slow;
    const response = await fetch(`http://127.0.0.1:${closing.address.port}${PATH}?after=1.2`);
    const read = assert.rejects(response.text());
    await closing.close();
    await read;
    assert.ok(ended);
  });
});

describe('changes and resyncs', () => {
  beforeEach(() => post('/v1/streams', ORDERS));
  const patch = (path: string, body: unknown): ReturnType<typeof call> =>
    call('PATCH', path, { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

  it('a change is a merge patch of the definition', async () => {
    const change = { tables: ['a', 'b*'], copyRowsPerSecond: 500, sink: { partitions: 7 } };
    const { status, body } = await patch('/v1/streams/orders', change);
    assert.equal(status, 200);
    const { tables, copyRowsPerSecond, start, ...others } = body as StreamView;
    const sink = kafkaOf(others);
    assert.deepEqual(
      [tables, copyRowsPerSecond, sink.partitions, sink.topic, start],
      [['a', 'b*'], 500, 7, ORDERS.sink.topic, ORDERS.start],
    );
    const again = await patch('/v1/streams/orders', { copyRowsPerSecond: null });
    assert.equal((again.body as StreamView).copyRowsPerSecond, undefined, 'null takes it away');
  });

  it('a change that would move records is refused, each fault of it', async () => {
    const change = { name: 'x', tables: [], sink: { topic: 'y', type: 'kafka' } };
    const { errors } = assertProblem(await patch('/v1/streams/orders', change), 400, /change/);
    assert.deepEqual(
      errors!.map(({ path }) => path),
      ['name', 'sink.topic'],
    );
    const wrong = await patch('/v1/streams/orders', { tables: [], more: 1 });
    assert.deepEqual(
      assertProblem(wrong, 400, /change/).errors!.map(({ path }) => path),
      ['more'],
    );
    const [fault] = assertProblem(await patch('/v1/streams/orders', []), 400, /change/).errors!;
    assert.equal(fault!.message, 'must be an object');
    assertProblem(await patch('/v1/streams/nope', {}), 404, /nope/);
  });

  it('schemas are of all tables or of one', async () => {
    const { body } = await call('GET', '/v1/streams/orders/schemas?table=shop.items');
    assert.deepEqual(body, [
      { table: 'shop.items', topic: 'cdc.shop.orders', avro: { key: '"key"', value: '"value"' } },
    ]);
    assertProblem(await call('GET', '/v1/streams/orders/schemas?table=nowhere'), 400, /no table nowhere/);
    assertProblem(await call('GET', '/v1/streams/orders/schemas?tables=x'), 400, /query/);
    assertProblem(await call('GET', '/v1/streams/nope/schemas'), 404, /nope/);
  });

  it('a resync is of all, of tables, of tablets; of all rows unless only of gaps', async () => {
    for (const body of [undefined, { from: 'gap' }, { tables: ['shop.orders'] }, { tablets: ['f00d'] }]) {
      const path = '/v1/streams/orders/resync';
      const answer = await (body === undefined ? call('POST', path) : post(path, body));
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
    }
    assert.deepEqual(plane.resyncs, [
      { from: 'snapshot' },
      { from: 'gap' },
      { from: 'snapshot', tables: ['shop.orders'] },
      { from: 'snapshot', tablets: ['f00d'] },
    ]);
  });

  it('a wrong resync is refused with every fault', async () => {
    const { errors } = assertProblem(
      await post('/v1/streams/orders/resync', { from: 'x', tables: [], tablet: 1 }),
      400,
      /body/,
    );
    assert.deepEqual(errors!.map(({ path }) => path).sort(), ['from', 'tables', 'tablet']);
    const unknown = await post('/v1/streams/orders/resync', { tables: ['shop.orders', 'nope'] });
    assert.deepEqual(
      assertProblem(unknown, 400, /no table nope/).errors!.map(({ path }) => path),
      ['tables[1]'],
    );
    assertProblem(await call('POST', '/v1/streams/nope/resync'), 404, /nope/);
  });

  it('a rewind is to a time, or to an operation of one tablet', async () => {
    const path = '/v1/streams/orders/rewind';
    const { status, body } = await post(path, { to: '2026-01-31T12:00:00.5+01:00', tables: ['shop.orders'] });
    assert.deepEqual([status, (body as { rewind: string }).rewind], [200, 'w1']);
    assert.equal((await post(path, { to: '7.12345', tablets: ['f00d'] })).status, 200);
    assert.deepEqual(plane.rewinds, [
      { to: { time: BigInt(Date.UTC(2026, 0, 31, 11, 0, 0, 500)) * 4_096_000n }, tables: ['shop.orders'] },
      { to: { opId: { term: 7n, index: 12345n } }, tablets: ['f00d'] },
    ]);
    const wrong: readonly (readonly [object, readonly string[], RegExp])[] = [
      [{}, ['to'], /to/],
      [{ to: 'yesterday' }, ['to'], /got "yesterday"; allowed: a time such as/],
      [{ to: '2026-01-31T12:00:00' }, ['to'], /allowed: a time such as/],
      [{ to: '2999-01-31T12:00:00Z' }, ['to'], /allowed: a time that is past/],
      [{ to: '7.1' }, ['tablets'], /must name one tablet/],
      [{ to: '7.1', tablets: ['a', 'b'] }, ['tablets'], /must name one tablet/],
      [{ to: '7.1', tablets: ['a'], tables: ['t'] }, ['tablets'], /must name one tablet/],
      [{ to: '7.1', tablet: 'a' }, ['tablet'], /tablet/],
    ];
    for (const [asked, paths, says] of wrong) {
      const { errors } = assertProblem(await post(path, asked), 400, /body/);
      const found = errors!.map((fault) => fault.path);
      for (const each of paths) assert.ok(found.includes(each), JSON.stringify([asked, found]));
      assert.match(errors!.map(({ path: at, message }) => `${at} ${message}`).join('\n'), says);
    }
    assertProblem(await post('/v1/streams/nope/rewind', { to: '2026-01-31T12:00:00Z' }), 404, /nope/);
  });

  it('shows the newest records, and the way of one', async () => {
    plane.records = [1, 2].map((offset) => ({
      table: 'shop.orders',
      tabletId: 'f00d',
      position: `f00d/7.${offset}.0`,
      op: 'c',
      at: '2026-01-31T12:00:00.000Z',
      key: '{"id":1}',
      value: null,
      place: { topic: 'cdc', partition: 0, offset },
    }));
    const path = '/v1/streams/orders/records';
    assert.deepEqual((await call('GET', path)).body, { records: plane.records });
    assert.deepEqual((await call('GET', `${path}?last=1`)).body, { records: plane.records.slice(0, 1) });
    for (const last of ['0', '201', 'x', '-1', '1e2'])
      assert.match(
        JSON.stringify(assertProblem(await call('GET', `${path}?last=${last}`), 400, /query/).errors),
        /allowed: 1 to 200/,
      );
    assertProblem(await call('GET', `${path}?table=nope`), 400, /no table nope/);
    assertProblem(await call('GET', '/v1/streams/nope/records'), 404, /nope/);
    const trace = await call('GET', '/v1/streams/orders/trace?position=f00d%2F7.12345.0');
    assert.deepEqual(trace.body, { steps: [{ step: 'log', is: 'done', text: 'of f00d/7.12345.0', facts: {} }] });
    for (const query of ['', '?position=f00d', '?position=f00d%2Fbase.12', '?position=f00d%2F7.1'])
      assertProblem(await call('GET', `/v1/streams/orders/trace${query}`), 400, /query/);
  });

  it('an operation is skipped by its tablet and OpId', async () => {
    const path = '/v1/streams/orders/skip';
    assert.equal((await post(path, { tablet: 'f00d', opId: '7.12345' })).status, 200);
    assert.deepEqual(plane.skips, [{ tablet: 'f00d', opId: { term: 7n, index: 12345n } }]);
    const { errors } = assertProblem(await post(path, { opId: '7' }), 400, /body/);
    assert.deepEqual(errors!.map((fault) => fault.path).sort(), ['opId', 'tablet']);
    assert.match(JSON.stringify(errors), /term\.index, such as/);
    assertProblem(await post(path, { tablet: 'nope', opId: '7.1' }), 400, /no tablet nope/);
    assertProblem(await post('/v1/streams/nope/skip', { tablet: 'a', opId: '7.1' }), 404, /nope/);
  });

  it('single rows are named by one tablet and their encoded keys', async () => {
    const path = '/v1/streams/orders/resync';
    assert.equal((await post(path, { tablets: ['f00d'], keys: ['gAAAAQ=='] })).status, 200);
    const asked = { from: 'snapshot', tablets: ['f00d'], keys: [Buffer.from([0x80, 0, 0, 1])] };
    assert.deepEqual(plane.resyncs.at(-1), asked);
    const wrong: readonly (readonly [object, readonly string[]])[] = [
      [{ keys: ['gAAAAQ=='] }, ['tablets']],
      [{ tablets: ['a', 'b'], keys: ['gAAAAQ=='] }, ['tablets']],
      [{ tablets: ['a'], keys: [], from: 'gap' }, ['from', 'keys']],
      [{ tablets: ['a'], keys: ['?'] }, ['keys[0]']],
      [{ tablets: ['a'], keys: Array.from({ length: 501 }, () => 'gAAAAQ==') }, ['keys']],
      [{ tablets: ['a'], keys: ['A'.repeat(40_004)] }, ['keys']],
    ];
    for (const [body, paths] of wrong) {
      const { errors } = assertProblem(await post(path, body), 400, /body/);
      assert.deepEqual(errors!.map(({ path: at }) => at).sort(), paths, JSON.stringify(body).slice(0, 80));
    }
  });

  it('other sidecars may ask for logs to be held', async () => {
    assert.equal((await post('/v1/local/holds', { tablets: ['t1', 't2'] })).status, 204);
    assert.deepEqual(plane.heldForNow, ['t1', 't2']);
    assertProblem(await post('/v1/local/holds', { tablets: 't1' }), 400, /body/);
  });
});

describe('health', () => {
  it('/healthz says that the process lives, whatever else', async () => {
    plane.failure = new Error('down');
    assert.deepEqual((await call('GET', '/healthz')).body, { status: 'ok', version: '1.2.3' });
  });

  it('/readyz says of each part whether it can work', async () => {
    const { status, body } = await call('GET', '/readyz');
    assert.equal(status, 200);
    assert.deepEqual(body, { ready: true, kudu: { ok: true }, kafka: { ok: true }, wal: { ok: true } });
  });

  it('/readyz is 503 with a reason for each part that cannot', async () => {
    const health = plane.health;
    plane.health = {
      kudu: { ok: false, reason: 'no master answers' },
      kafka: { ok: true },
      wal: { ok: false, reason: 'no wals/' },
    };
    const answer = await call('GET', '/readyz');
    plane.health = health;
    assertProblem(answer, 503, /^kudu: no master answers; wal: no wals\/$/);
    const { ready, kudu, kafka, wal } = notReady.parse(answer.body);
    assert.deepEqual([ready, kudu.reason, kafka.ok, wal.reason], [false, 'no master answers', true, 'no wals/']);
  });

  it('/readyz tells of other sinks by their names, where there are such', async () => {
    const health = plane.health;
    plane.health = { ...health, redis: { ok: false, reason: 'it is full' }, file: { ok: true } };
    const answer = await call('GET', '/readyz');
    plane.health = health;
    assertProblem(answer, 503, /^redis: it is full$/);
    const { kafka, redis, file } = notReady.parse(answer.body);
    assert.deepEqual([kafka.ok, redis?.ok, file?.ok], [true, false, true]);
  });

  it('/metrics is what the metrics say', async () => {
    const { status, type, body } = await call('GET', '/metrics');
    assert.deepEqual([status, type, body], [200, 'text/plain; version=0.0.4', 'spoor_lag_ops 0\n']);
  });
});

describe('errors', () => {
  const FAILURES: { what: string; error: Error; status: number; detail: RegExp; code?: string }[] = [
    {
      what: 'a SpoorError',
      error: new SpoorError('SPOOR_WAL_GAP', 'want 7.3, oldest is 7.9'),
      status: 409,
      detail: /^want 7.3/,
      code: 'SPOOR_WAL_GAP',
    },
    {
      what: 'Kudu',
      error: new KuduError('network', 'no master answers'),
      status: 503,
      detail: /^no master answers$/,
      code: 'SPOOR_KUDU_UNAVAILABLE',
    },
    { what: 'a bug', error: new TypeError('secret particulars'), status: 500, detail: /^Something went wrong inside/ },
  ];
  for (const { what, error, status, detail, code } of FAILURES)
    it(`of ${what} are answered ${status}`, async () => {
      plane.failure = error;
      const found = assertProblem(await call('GET', '/v1/streams'), status, detail);
      assert.equal(found.code, code);
      assert.equal(found.remedy === undefined, code === undefined);
      const logged = lines.filter(({ level }) => level === 'warn');
      assert.equal(logged.length, status >= 500 ? 1 : 0, 'trouble inside is logged, once');
    });

  it('say 404 where nothing is', async () => {
    for (const path of ['/page', '/v1', '/v2/streams', '/v1/streams/a/b/c', '/healthz/x'])
      assertProblem(await call('GET', path), 404, /nothing at/);
  });

  it('say 405 and what is allowed where the method is wrong', async () => {
    const answer = await call('POST', '/v1/streams/orders');
    assertProblem(answer, 405, /answers .*not POST/);
    assert.deepEqual(answer.headers.get('allow')?.split(', ').sort(), ['DELETE', 'GET', 'HEAD', 'PATCH', 'PUT']);
    assert.equal((await call('DELETE', '/v1/streams')).headers.get('allow'), 'POST, GET, HEAD');
    assertProblem(await call('POST', '/healthz'), 405, /GET/);
    assertProblem(await call('GET', '/v1/streams/orders/pause'), 405, /POST/);
    assertProblem(await call('OPTIONS', '/v1/streams'), 405, /GET/);
  });

  it('say 400 for a URL that cannot be read', async () => {
    assertProblem(await call('GET', '/v1/streams/%ff'), 400, /URL/);
  });

  it('say 400 for what is not HTTP, as a problem too', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(server.address.port, server.address.host, () => socket.write('hello there\r\n\r\n'));
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('end', () => {
        resolve(text);
      });
      socket.on('error', reject);
    });
    assert.match(answer, /^HTTP\/1.1 400 Bad Request\r\nContent-Type: application\/problem\+json\r\n/);
    assert.match(answer, /"title":"Bad Request","status":400/);
  });
});

describe('the token', () => {
  let guarded: ControlServer;
  let url: string;
  before(async () => {
    guarded = await start(TOKEN);
    url = `http://127.0.0.1:${guarded.address.port}`;
  });
  after(() => guarded.close());
  const withAuth = (authorization: string) => ({ headers: { authorization } });

  it('is asked for everywhere but at /healthz, /readyz and the page', async () => {
    const { paths } = (await call('GET', '/openapi.json', withAuth(`Bearer ${TOKEN}`), url)).body as {
      paths: Record<string, Record<string, unknown>>;
    };
    let asked = 0;
    for (const [path, methods] of Object.entries(paths))
      for (const method of Object.keys(methods)) {
        const answer = await call(method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'x'), {}, url);
        if (path === '/healthz' || path === '/readyz' || path === '/') {
          assert.equal(answer.status, 200, path);
        } else {
          assertProblem(answer, 401, /token is needed/);
          assert.equal(answer.headers.get('www-authenticate'), 'Bearer realm="spoor"');
          asked++;
        }
      }
    assert.ok(asked >= 12, `${asked} routes`);
    assertProblem(await call('GET', '/nothing/here', {}, url), 401, /needed/);
    assertProblem(await call('POST', '/healthz', {}, url), 401, /needed/);
  });

  it('is wrong in any other form', async () => {
    for (const authorization of [`Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(0, -1)}`, `Bearer ${TOKEN.toUpperCase()}`]) {
      const answer = await call('GET', '/v1/streams', withAuth(authorization), url);
      assertProblem(answer, 401, /not the right one/);
      assert.match(answer.headers.get('www-authenticate') ?? '', /invalid_token/);
    }
    for (const authorization of [`Basic ${TOKEN}`, TOKEN, 'Bearer', `Bearer ${TOKEN} ${TOKEN}`])
      assertProblem(await call('GET', '/v1/streams', withAuth(authorization), url), 401, /needed/);
  });

  it('opens everything', async () => {
    for (const path of ['/v1/streams', '/v1/local', '/v1/sidecars', '/metrics', '/openapi.json', '/readyz'])
      assert.equal((await call('GET', path, withAuth(`Bearer ${TOKEN}`), url)).status, 200, path);
    assert.equal((await call('GET', '/v1/streams', withAuth(`bearer  ${TOKEN}`), url)).status, 200);
  });
});

describe('a web page of another origin', () => {
  beforeEach(async () => {
    await plane.deleteStream('orders');
    await post('/v1/streams', ORDERS);
  });
  const WRITES = [
    ['POST', '/v1/streams'],
    ['POST', '/v1/streams/orders/pause'],
    ['POST', '/v1/streams/orders/resume'],
    ['POST', '/v1/streams/orders/resync'],
    ['POST', '/v1/streams/orders/rewind'],
    ['POST', '/v1/streams/orders/skip'],
    ['PATCH', '/v1/streams/orders'],
    ['DELETE', '/v1/streams/orders'],
    ['POST', '/v1/local/holds'],
    ['POST', '/nothing/here'],
  ] as const;

  it('may change nothing', async () => {
    const { port } = server.address;
    for (const origin of [
      'https://evil.example',
      `http://127.0.0.1:${port + 1}`,
      `http://localhost:${port}`,
      'null',
      '',
    ])
      for (const [method, path] of WRITES) {
        const { title } = assertProblem(
          await call(method, path, { headers: { origin } }),
          403,
          /may change nothing here/,
        );
        assert.equal(title, 'Forbidden');
      }
    assert.equal((await plane.getStream('orders'))?.tablets[0]?.state, 'running');
  });

  it('may read, as far as its browser lets it, and our own may all', async () => {
    const evil = { headers: { origin: 'https://evil.example' } };
    for (const path of ['/v1/streams', '/healthz']) assert.equal((await call('GET', path, evil)).status, 200);
    for (const origin of [base, base.replace('http:', 'https:')]) {
      const answer = await call('POST', '/v1/streams/orders/pause', { headers: { origin } });
      assert.equal(answer.status, 200, 'also behind a proxy that speaks TLS');
    }
  });
});

describe('openapi.json', () => {
  interface Operation {
    readonly summary: string;
    readonly requestBody?: { content: Record<string, { schema: { properties: object; required: string[] } }> };
    readonly responses: Record<string, { content?: Record<string, unknown> }>;
    readonly security?: unknown;
    readonly parameters?: readonly { readonly in: string; readonly name: string; readonly required: boolean }[];
  }
  let paths: Record<string, Record<string, Operation>>;
  before(async () => {
    const { body } = await call('GET', '/openapi.json');
    const doc = body as { openapi: string; info: { version: string }; paths: typeof paths };
    assert.match(doc.openapi, /^3\.1\./);
    assert.equal(doc.info.version, '1.2.3');
    ({ paths } = doc);
  });

  it('names every route of the contract, and no other', () => {
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    assert.deepEqual(routes.sort(), [
      'delete /v1/streams/{name}',
      'get /',
      'get /healthz',
      'get /metrics',
      'get /openapi.json',
      'get /readyz',
      'get /v1/events',
      'get /v1/local',
      'get /v1/local/history',
      'get /v1/local/status',
      'get /v1/local/tablets/{id}/log',
      'get /v1/sidecars',
      'get /v1/streams',
      'get /v1/streams/{name}',
      'get /v1/streams/{name}/records',
      'get /v1/streams/{name}/schemas',
      'get /v1/streams/{name}/trace',
      'patch /v1/streams/{name}',
      'post /v1/local/holds',
      'post /v1/streams',
      'post /v1/streams/{name}/pause',
      'post /v1/streams/{name}/resume',
      'post /v1/streams/{name}/resync',
      'post /v1/streams/{name}/rewind',
      'post /v1/streams/{name}/skip',
      'put /v1/streams/{name}',
    ]);
  });

  it("describes a stream's definition field by field", () => {
    const schema = paths['/v1/streams']!.post!.requestBody!.content['application/json']!.schema;
    assert.deepEqual(Object.keys(schema.properties), [
      'name',
      'tables',
      'start',
      'sink',
      'format',
      'images',
      'tombstones',
      'resolved',
      'columns',
      'where',
      'skipOperations',
      'partitionBy',
      'unordered',
      'oversize',
      'copyRowsPerSecond',
      'paused',
    ]);
    assert.deepEqual(schema.required, ['name', 'tables', 'sink']);
  });

  it('says where a held log is asked for', () => {
    const { parameters, responses } = paths['/v1/local/tablets/{id}/log']!.get!;
    assert.deepEqual(parameters?.map((parameter) => `${parameter.in} ${parameter.name} ${parameter.required}`).sort(), [
      'path id true',
      'query after true',
      'query have false',
      'query headers false',
    ]);
    assert.deepEqual(Object.keys(responses['200']!.content!), ['application/octet-stream']);
  });

  it('gives every operation a summary and every error its media type', () => {
    for (const operation of Object.values(paths).flatMap((methods) => Object.values(methods))) {
      assert.ok(operation.summary);
      for (const [status, { content }] of Object.entries(operation.responses))
        if (Number(status) >= 400) assert.deepEqual(Object.keys(content ?? {}), ['application/problem+json']);
    }
    assert.deepEqual(paths['/healthz']!.get!.security, []);
  });

  it('says of /readyz what it answers besides a problem', () => {
    const { content } = paths['/readyz']!.get!.responses['503']!;
    const { schema } = content!['application/problem+json'] as { schema: { properties: object; required: string[] } };
    const own = ['ready', 'kudu', 'kafka', 'wal'];
    assert.ok('redis' in schema.properties && !schema.required.includes('redis'), 'not every sidecar has one');
    assert.deepEqual(
      own.filter((name) => !(name in schema.properties) || !schema.required.includes(name)),
      [],
    );
    assert.ok(['title', 'status', 'detail'].every((name) => schema.required.includes(name)));
  });

  it('names 403 wherever something is changed, or rows are shown, and nowhere else', () => {
    const showsRows = (path: string): boolean => path === '/v1/streams/{name}/records';
    for (const [path, methods] of Object.entries(paths))
      for (const [method, { responses }] of Object.entries(methods))
        assert.equal('403' in responses, method !== 'get' || showsRows(path), `${method} ${path}`);
  });
});

describe('close', () => {
  it('waits for the answer in hand and takes no more', async (t) => {
    const closing = await start(null);
    const url = `http://127.0.0.1:${closing.address.port}`;
    let answerNow = (_streams: readonly StreamView[]): void => undefined;
    const asked = new Promise<void>((resolve) => {
      t.mock.method(plane, 'listStreams', () => {
        resolve();
        return new Promise<readonly StreamView[]>((answer) => (answerNow = answer));
      });
    });
    const inHand = call('GET', '/v1/streams', {}, url);
    await asked;
    const closed = closing.close();
    answerNow([]);
    assert.equal((await inHand).status, 200);
    await closed;
    await assert.rejects(fetch(`${url}/healthz`));
  });

  it('does not wait long for an answer that does not come', async (t) => {
    const closing = await start(null);
    const asked = new Promise<void>((resolve) => {
      t.mock.method(plane, 'listStreams', () => {
        resolve();
        return new Promise<never>(() => undefined); // Kudu is away
      });
    });
    const inHand = assert.rejects(fetch(`http://127.0.0.1:${closing.address.port}/v1/streams`));
    await asked;
    const startedMs = performance.now();
    await closing.close();
    assert.ok(performance.now() - startedMs < 3000);
    await inHand;
  });

  it('does not wait for connections on which nothing is asked', async () => {
    const closing = await start(null);
    const url = `http://127.0.0.1:${closing.address.port}`;
    assert.equal((await call('GET', '/healthz', {}, url)).status, 200);
    const silent = connect(closing.address.port, closing.address.host);
    const ended = new Promise((resolve) => silent.resume().once('close', resolve));
    await new Promise((resolve) => silent.once('connect', resolve));
    assert.equal((await call('GET', '/healthz', {}, url)).status, 200); // by now the server knows of both
    const startedMs = performance.now();
    await closing.close();
    await ended;
    assert.ok(performance.now() - startedMs < 5000);
  });

  it('frees the port; a taken one is refused', async () => {
    const listen = { ...server.address };
    await assert.rejects(
      serveMemory(plane, {
        listen,
        metrics: { contentType: '', text: () => Promise.resolve('') },
        version: '',
      }),
      /EADDRINUSE/,
    );
  });
});
