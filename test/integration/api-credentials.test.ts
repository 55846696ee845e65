import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, symlinkSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'node:test';
import { HttpCredentialsInForce } from '../../src/app/http-credentials.ts';
import { runCli } from '../../src/cli/program.ts';
import { loadConfig } from '../../src/config/config.ts';
import type { ControlServer, ControlServerOptions } from '../../src/control/server.ts';
import { SidecarClient } from '../../src/sidecars/sidecar-client.ts';
import { SecretMask } from '../../src/util/secret-mask.ts';
import { TlsFetch } from '../../src/util/tls-fetch.ts';
import { makeAuthority, type Authority, type Issued } from '../support/certificates.ts';
import { GivenCredentials } from '../support/credentials.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane } from '../support/memory-control-plane.ts';
import { sendRaw } from '../support/raw-http.ts';

const TOKENS = { operate: 'operate-token-1', read: 'read-token-1' };
const ORDERS = { name: 'orders', tables: ['shop.*'], start: 'now', sink: { type: 'kafka', topic: 'cdc.{table}' } };

const plane = new MemoryControlPlane();
const lines: LogLine[] = [];
const audited: LogLine[] = [];
const mask = new SecretMask();
let dir: string;
let authority: Authority;
let client: Issued;
let server: Issued;
let credentials: HttpCredentialsInForce;
let control: ControlServer;
let base: string;
let tls: TlsFetch;

/** Lays a file of a secret as Kubernetes does: a link to a folder that is swapped as a whole. */
function lay(files: Readonly<Record<string, string>>): void {
  const folder = mkdtempSync(join(dir, 'version-'));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  symlinkSync(folder, join(dir, 'next'));
  renameSync(join(dir, 'next'), join(dir, 'data'));
}
const secrets = (more: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  ...{ cert: server.cert, key: server.key, ca: authority.cert },
  ...{ operate: `${TOKENS.operate}\n`, read: TOKENS.read, ...more },
});

before(async () => {
  authority = await makeAuthority();
  [client, server] = [await authority.issue('an operator'), await authority.issue('first')];
});
beforeEach(async () => {
  lines.length = audited.length = 0;
  dir = mkdtempSync(join(tmpdir(), 'spoor-credentials-'));
  mkdirSync(join(dir, 'empty'));
  lay(secrets());
  const loaded = loadConfig(
    {
      SPOOR_KUDU_MASTERS: 'm:7051',
      SPOOR_TSERVER: 't:7050',
      SPOOR_WAL_DIR: '/wal',
      SPOOR_HTTP_LISTEN: '127.0.0.1:0',
      SPOOR_HTTP_TLS_CERT_FILE: 'data/cert',
      SPOOR_HTTP_TLS_KEY_FILE: 'data/key',
      SPOOR_HTTP_TLS_CLIENT_CA_FILE: 'data/ca',
      SPOOR_HTTP_TOKEN_FILE: 'data/operate',
      SPOOR_HTTP_TOKEN_READ_FILE: 'data/read',
    },
    dir,
    { user: 'kudu' },
  );
  assert.ok('config' in loaded, JSON.stringify(loaded));
  const { http } = loaded.config;
  credentials = new HttpCredentialsInForce(http, { mask, logger: keepingLogger(lines), everyMs: 50 });
  control = await serveMemory(plane, {
    listen: http.listen,
    credentials,
    logger: keepingLogger(lines),
    audit: keepingLogger(audited),
  });
  base = `https://127.0.0.1:${control.address.port}`;
  tls = new TlsFetch({ ca: authority.cert, identity: client });
  await plane.deleteStream('orders');
});
afterEach(async () => {
  tls[Symbol.dispose]();
  await credentials[Symbol.asyncDispose]();
  await control.close();
  rmSync(dir, { recursive: true });
});

async function call(
  method: string,
  path: string,
  { token = TOKENS.operate, body }: { token?: string; body?: unknown } = {},
  by = tls,
) {
  const answer = await by.fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  });
  return { status: answer.status, text: await answer.text() };
}

/** Subject of the certificate that a new connection is shown. */
async function shown(): Promise<string> {
  const socket = connectTls({ port: control.address.port, host: '127.0.0.1', ca: authority.cert });
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  const { subject } = socket.getPeerX509Certificate()!;
  socket.destroy();
  return subject;
}
const said = (message: RegExp): LogLine[] => lines.filter((line) => message.test(line.message));

describe('two tokens', () => {
  it('one looks, the other does all', async () => {
    assert.equal((await call('POST', '/v1/streams', { body: ORDERS })).status, 201);
    for (const path of ['/v1/streams', '/v1/streams/orders', '/v1/local', '/v1/sidecars', '/metrics', '/openapi.json'])
      for (const token of [TOKENS.read, TOKENS.operate])
        assert.equal((await call('GET', path, { token })).status, 200, path);
    const refused = await call('POST', '/v1/streams/orders/pause', { token: TOKENS.read });
    assert.equal(refused.status, 403);
    assert.match(refused.text, /"title":"Forbidden".*for reading/);
    assert.equal((await plane.getStream('orders'))?.paused, false);
    assert.equal((await call('POST', '/v1/streams/orders/pause')).status, 200);
  });

  it('follow their files, and the old ones end', async () => {
    lay(secrets({ operate: 'operate-token-2', read: 'read-token-2\n' }));
    await eventually(
      'the new one is in force',
      async () => (await call('GET', '/v1/streams', { token: 'operate-token-2' })).status === 200,
    );
    assert.equal((await call('GET', '/v1/streams', { token: 'read-token-2' })).status, 200);
    for (const token of Object.values(TOKENS)) assert.equal((await call('GET', '/v1/streams', { token })).status, 401);
    assert.equal(mask.apply('operate-token-2 read-token-2'), '*** ***', 'what is new is masked too');
    assert.equal(said(/are in force/).length, 1);
  });

  for (const [what, files] of [
    ['are empty', { operate: '' }],
    ['are no tokens', { operate: 'with a blank' }],
    ['are one and the same', { operate: 'same', read: 'same' }],
  ] as const)
    it(`stay what they were where the new ones ${what}`, async () => {
      lay(secrets(files));
      await eventually('it is said', () => said(/cannot be used/).length > 0);
      assert.equal((await call('GET', '/v1/streams')).status, 200);
      assert.equal(said(/cannot be used/)[0]!.level, 'error');
      assert.doesNotMatch(JSON.stringify(lines), /with a blank|"same"/);
      lay(secrets({ operate: 'operate-token-3' }));
      await eventually(
        'the next is taken',
        async () => (await call('GET', '/v1/streams', { token: 'operate-token-3' })).status === 200,
      );
      assert.equal(said(/cannot be used/).length, 1, 'it is said once');
    });
});

describe('a certificate', () => {
  it('follows its file, and connections go on', async () => {
    const opened: TLSSocket = connectTls({
      port: control.address.port,
      host: '127.0.0.1',
      ca: authority.cert,
      ...client,
    });
    await new Promise((resolve, reject) => opened.once('secureConnect', resolve).once('error', reject));
    assert.match(await shown(), /CN=first/);
    const second = await authority.issue('second');
    lay(secrets({ cert: second.cert, key: second.key }));
    await eventually('new connections have it', async () => /CN=second/.test(await shown()));
    const answer = new Promise<string>((resolve) =>
      opened.once('data', (chunk) => {
        resolve(String(chunk));
      }),
    );
    opened.write(`GET /v1/streams HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKENS.operate}\r\n\r\n`);
    assert.match(await answer, /^HTTP\/1.1 200 /, 'the open one is the same and is answered');
    opened.destroy();
  });

  it('stays where the new one cannot be used', async () => {
    const [second, expired] = [await authority.issue('second'), await authority.issue('expired', -1)];
    const BAD = [
      { files: { cert: second.cert }, reason: /SPOOR_HTTP_TLS_KEY: allowed: the private key of/ },
      { files: { cert: 'nothing' }, reason: /SPOOR_HTTP_TLS_CERT_FILE: what ".*" holds is no value/ },
      { files: { cert: expired.cert, key: expired.key }, reason: /it has expired/ },
      { files: { ca: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----' }, reason: /CLIENT_CA: allowed/ },
    ];
    for (const [i, { files, reason }] of BAD.entries()) {
      lay(secrets(files));
      await eventually('it is said', () => said(/cannot be used/).length === i + 1);
      assert.match(String((said(/cannot be used/)[i]!.fields as { reason?: unknown }).reason), reason);
      assert.match(await shown(), /CN=first/);
      assert.equal((await call('GET', '/v1/streams')).status, 200);
    }
    rmSync(join(dir, 'data'));
    await eventually('it is said', () => said(/cannot be used/).length >= BAD.length + 1);
    assert.match(await shown(), /CN=first/);
  });

  it('of clients follows the file of their CA', async () => {
    const other = await makeAuthority('next CA');
    const next = new TlsFetch({ ca: authority.cert, identity: await other.issue('an operator') });
    await assert.rejects(call('GET', '/v1/streams', {}, next));
    lay(secrets({ ca: `${authority.cert}${other.cert}` }));
    await eventually(
      'both are taken',
      async () => (await call('GET', '/v1/streams', {}, next).catch(() => null))?.status === 200,
    );
    assert.equal((await call('GET', '/v1/streams')).status, 200);
    lay(secrets({ ca: other.cert }));
    const old = new TlsFetch({ ca: authority.cert, identity: client });
    await eventually('the old one is not', async () => {
      const fresh = new TlsFetch({ ca: authority.cert, identity: client });
      const status = await call('GET', '/v1/streams', {}, fresh).then(
        ({ status }) => status,
        () => null,
      );
      fresh[Symbol.dispose]();
      return status === null;
    });
    old[Symbol.dispose]();
    next[Symbol.dispose]();
  });
});

describe('an audit line', () => {
  it('says who changed what, from where, and what it was before', async () => {
    await call('POST', '/v1/streams', { body: ORDERS });
    await call('POST', '/v1/streams?dryRun=true', { body: { ...ORDERS, name: 'other' } });
    await call('PATCH', '/v1/streams/orders', { body: { tables: ['shop.orders'] } });
    await call('POST', '/v1/streams/orders/pause');
    await call('POST', '/v1/streams/orders/pause');
    await call('PUT', '/v1/streams/orders', { body: { ...ORDERS, tables: ['shop.orders'], paused: true } });
    await call('POST', '/v1/streams/orders/resync', { body: { tables: ['shop.orders'] } });
    await call('POST', '/v1/local/holds', { body: { tablets: ['0123456789abcdef0123456789abcdef'] } });
    await call('PATCH', '/v1/streams/orders', { body: { name: 'x' } });
    await call('DELETE', '/v1/streams/orders', { token: TOKENS.read });
    await call('DELETE', '/v1/streams/orders');
    await call('DELETE', '/v1/streams/orders');
    const audits = audited.map(({ fields }) => (fields as { audit: Record<string, unknown> }).audit);
    assert.deepEqual(
      audits.map(({ call: what }) => what),
      [
        'POST /v1/streams',
        'PATCH /v1/streams/orders',
        'POST /v1/streams/orders/pause',
        'POST /v1/streams/orders/resync',
        'POST /v1/local/holds',
        'DELETE /v1/streams/orders',
      ],
      'and nothing of what changed nothing',
    );
    for (const { role, certificate, from } of audits) {
      assert.deepEqual([role, certificate], ['operate', 'CN=an operator, O=Spoor tests']);
      assert.match(String(from), /^127\.0\.0\.1 \d+$/);
    }
    const tablesOf = (value: unknown): unknown => (value as { tables?: unknown } | null)?.tables ?? null;
    const changes = audits.map(({ before: was, after: is }) => [tablesOf(was), tablesOf(is)]);
    assert.deepEqual(changes[0], [null, ['shop.*']]);
    assert.deepEqual(changes[1], [['shop.*'], ['shop.orders']]);
    const [, , paused, resynced, held, deleted] = audits as {
      before: { paused: boolean; revision: number };
      after: { paused: boolean; revision: number } | null;
      asked: unknown;
    }[];
    assert.deepEqual([paused!.before.paused, paused!.after!.paused], [false, true]);
    assert.equal(paused!.after!.revision, paused!.before.revision + 1);
    assert.deepEqual(resynced!.asked, { from: 'snapshot', tables: ['shop.orders'] });
    assert.deepEqual(held!.asked, { tablets: ['0123456789abcdef0123456789abcdef'] });
    assert.deepEqual(tablesOf(deleted!.before), ['shop.orders']);
    assert.equal(deleted!.after, null);
    assert.doesNotMatch(JSON.stringify(audited), new RegExp(Object.values(TOKENS).join('|')));
  });
});

describe('a sidecar that calls another', () => {
  const path = '/v1/streams';
  const callBy = async (given: GivenCredentials, http = `https://127.0.0.1:${control.address.port}`) => {
    using sidecar = new SidecarClient(given);
    const answer = await sidecar.call(http, path, { signal: AbortSignal.timeout(10_000) });
    await answer.text();
    return answer.status;
  };
  const own = async (more: Partial<{ clientCa: string; cert: string; key: string }> = {}) => {
    const mine = await authority.issue('another sidecar');
    return { tokens: { operate: TOKENS.operate, read: null }, tls: { ...mine, clientCa: authority.cert, ...more } };
  };

  it('shows its own certificate and the token, and trusts the same CA', async () => {
    assert.equal(await callBy(new GivenCredentials(await own())), 200);
    assert.equal(
      await callBy(new GivenCredentials({ ...(await own()), tokens: { operate: 'wrong', read: null } })),
      401,
    );
  });

  it('trusts nobody of another CA, and is not trusted by others', async () => {
    const other = await makeAuthority();
    await assert.rejects(callBy(new GivenCredentials(await own({ clientCa: other.cert }))), /fetch failed/);
    await assert.rejects(callBy(new GivenCredentials(await own(await other.issue('another sidecar')))), /fetch failed/);
  });

  it('tells its token to nobody in the clear, and goes by what is in force', async () => {
    const given = new GivenCredentials(await own());
    await assert.rejects(
      callBy(given, `127.0.0.1:${control.address.port}`),
      /does not speak TLS, and is told no token/,
    );
    using sidecar = new SidecarClient(given);
    const status = async (): Promise<number> => {
      const answer = await sidecar.call(base, path, { signal: AbortSignal.timeout(10_000) });
      await answer.text();
      return answer.status;
    };
    assert.equal(await status(), 200);
    const other = await makeAuthority();
    given.change({ tls: { ...(await other.issue('another sidecar')), clientCa: authority.cert } });
    await assert.rejects(status());
    given.change(await own());
    assert.equal(await status(), 200);
  });
});

describe('the command line', () => {
  const spoor = async (args: readonly string[], env: Record<string, string>) => {
    let [out, err] = ['', ''];
    const context = {
      out: (text: string) => void (out += text),
      err: (text: string) => void (err += text),
      env,
      cwd: join(dir, 'empty'),
      readStdin: () => '',
    };
    return { code: await runCli(args, context), out, err };
  };
  const mine = (): Record<string, string> => ({ SPOOR_HTTP_TLS_CERT: client.cert, SPOOR_HTTP_TLS_KEY: client.key });

  it('speaks TLS by --ca and --token-file, or by the environment', async () => {
    const [ca, token] = [join(dir, 'data/ca'), join(dir, 'data/operate')];
    const byOptions = await spoor(['status', '--url', base, '--ca', ca, '--token-file', token], mine());
    assert.deepEqual([byOptions.code, byOptions.err], [0, '']);
    const env = {
      ...mine(),
      SPOOR_HTTP_LISTEN: `127.0.0.1:${control.address.port}`,
      SPOOR_HTTP_TLS_CLIENT_CA_FILE: ca,
      SPOOR_HTTP_TOKEN_FILE: token,
    };
    assert.deepEqual((await spoor(['status'], env)).code, 0);
    const reading = { ...env, SPOOR_HTTP_TOKEN_FILE: '', SPOOR_HTTP_TOKEN_READ: TOKENS.read };
    assert.equal((await spoor(['status'], reading)).code, 0);
    assert.match(
      (await spoor(['streams', 'pause', 'orders'], reading)).err,
      /^Forbidden \(403\): The bearer token is for reading/,
    );
  });

  it('says what is wrong between the two', async () => {
    const token = ['--token-file', join(dir, 'data/operate')];
    const untrusted = await spoor(['status', '--url', base, ...token], mine());
    assert.equal(untrusted.code, 1);
    assert.match(
      untrusted.err,
      /^cannot reach https:.*; give the CA that its certificate is of with --ca or SPOOR_HTTP_TLS_CLIENT_CA_FILE\n$/,
    );
    const nobody = await spoor(['status', '--url', base, '--ca', join(dir, 'data/ca'), ...token], {});
    assert.match(nobody.err, /^Forbidden \(403\): A certificate of a client of this API is needed\./);
    const noFile = await spoor(['status', '--url', base, '--ca', '/nowhere'], {});
    assert.match(noFile.err, /"\/nowhere", which cannot be read/);
    assert.equal(noFile.code, 2);
  });

  it('takes no token as an argument, which everybody can see', async () => {
    const { code, err } = await spoor(['status', '--url', base, '--token', TOKENS.operate], {});
    assert.equal(code, 2);
    assert.match(
      err,
      /^--token: got \*\*\*; .*allowed: --token-file <file>, SPOOR_HTTP_TOKEN or SPOOR_HTTP_TOKEN_FILE\n$/,
    );
  });
});

it('rows of tables are not shown to who may look alone', async () => {
  const open = await serveMemory(plane, {
    credentials: new GivenCredentials({ tokens: TOKENS }),
    logger: keepingLogger(lines),
  });
  try {
    const { host, port } = open.address;
    const status = async (token: string, path: string) =>
      (await fetch(`http://${host}:${port}${path}`, { headers: { authorization: `Bearer ${token}` } })).status;
    for (const [path, read] of [
      ['/v1/streams/none/records', 403],
      ['/v1/streams/none/trace?position=t%2F1.2.3', 404],
      ['/v1/streams/none', 404],
    ] as const) {
      assert.equal(await status(TOKENS.read, path), read, path);
      assert.equal(await status(TOKENS.operate, path), 404, path);
    }
  } finally {
    await open.close();
  }
});

describe('what one client may have', () => {
  const limited = async (allowances: ControlServerOptions['allowances']) =>
    serveMemory(plane, {
      credentials: new GivenCredentials({ tokens: TOKENS }),
      logger: keepingLogger(lines),
      ...(allowances && { allowances }),
    });
  const ask = (token: string): string =>
    `GET /v1/local HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n\r\n`;

  it('is counted apart for those who show a right token', async () => {
    const narrow = await limited({ refusals: { burst: 2, perSecond: 0.01 }, calls: { burst: 3, perSecond: 0.01 } });
    const { host, port } = narrow.address;
    const status = async (token: string, from = '127.0.0.1') =>
      (await sendRaw({ host, port, from }, [ask(token)])).status;
    try {
      const wrong = [await status('x'), await status('x'), await status('x')];
      assert.deepEqual(wrong, [401, 401, 429]);
      const right: (number | null)[] = [];
      for (let i = 0; i < 4; i++) right.push(await status(TOKENS.operate));
      assert.deepEqual(right, [200, 200, 200, 429]);
      assert.equal(await status(TOKENS.read), 200, 'another role has its own');
      assert.equal(await status('x', '127.0.0.9'), 401, 'another address has its own');
      assert.equal(said(/answered 429/).length, 1, 'it is told once a minute');
    } finally {
      await narrow.close();
    }
  });

  it('is so many connections, new and at a time', async () => {
    const narrow = await limited({ connections: { burst: 5, perSecond: 0.01 } });
    const { host, port } = narrow.address;
    try {
      const statuses: (number | null)[] = [];
      for (let i = 0; i < 7; i++) statuses.push((await sendRaw({ host, port }, [ask(TOKENS.read)])).status);
      assert.deepEqual(statuses, [200, 200, 200, 200, 200, null, null]);
      assert.equal(said(/connections of a client/).length, 1);
    } finally {
      await narrow.close();
    }
  });
});
