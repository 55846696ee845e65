import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { CliContext } from '../../src/cli/cli-context.ts';
import { stripVTControlCharacters } from 'node:util';
import { runCli } from '../../src/cli/program.ts';
import { type ControlServer } from '../../src/control/server.ts';
import type { ReasonedView, StreamView } from '../../src/api/shapes.ts';
import { SpoorError } from '../../src/errors.ts';
import { SPOOR_VERSION } from '../../src/util/version.ts';
import { withToken } from '../support/credentials.ts';
import { serveMemory } from '../support/memory-api.ts';
import { MemoryControlPlane, tabletView } from '../support/memory-control-plane.ts';

const SOURCE = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const TSX = import.meta.resolve('tsx');
const TOKEN = 'a-token-of-the-test';

const dir = mkdtempSync(join(tmpdir(), 'spoor-cli-'));
after(() => {
  rmSync(dir, { recursive: true });
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Starts a program of this tree in a folder without `.env`, with no SPOOR_* variable but those given. */
function start(program: string, args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SPOOR_')));
  return spawn(process.execPath, ['--import', TSX, SOURCE(program), ...args], { cwd: dir, env: { ...own, ...env } });
}

function textOf(stream: Readable): () => string {
  let text = '';
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return () => text;
}

function ended(child: ChildProcess): Promise<Ended> {
  const [out, err] = [textOf(child.stdout!), textOf(child.stderr!)];
  return new Promise((resolve) => {
    child.on('close', (code) => {
      resolve({ code, out: out(), err: err() });
    });
  });
}

/** Runs a command line as a process. */
function spoorProcess(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return ended(start('src/cli/main.ts', args, env));
}

/** Runs a command line here, which takes milliseconds where a process takes a second. */
async function spoor(
  args: readonly string[],
  env: Record<string, string> = {},
  stdin = '',
  more: Partial<CliContext> = {},
): Promise<Ended> {
  let [out, err] = ['', ''];
  const code = await runCli(args, {
    out: (text) => (out += text),
    err: (text) => (err += text),
    env,
    cwd: dir,
    readStdin: () => stdin,
    ...more,
  });
  return { code, out, err };
}

/** Resolves once the program has printed what is looked for. */
function printed(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const sofar = textOf(child.stdout!);
    child.stdout!.on('data', () => {
      if (sofar().includes(text)) resolve();
    });
    child.on('close', () => {
      reject(new Error(`ended without ${text}: ${sofar()}`));
    });
  });
}

describe('wrong use: exit code 2, and standard output stays clean', () => {
  const WRONG: { args: string[]; says: RegExp }[] = [
    { args: [], says: /Usage: spoor/ },
    { args: ['fly'], says: /unknown command 'fly'/ },
    { args: ['stram'], says: /unknown command/ },
    { args: ['run', '--fast'], says: /unknown option '--fast'/ },
    { args: ['run', 'now'], says: /too many arguments/ },
    { args: ['streams'], says: /Usage: spoor streams/ },
    { args: ['streams', 'show'], says: /missing required argument 'stream'/ },
    { args: ['streams', 'pause'], says: /missing required argument 'stream'/ },
    { args: ['streams', 'resume', 'a', 'b'], says: /too many arguments/ },
    { args: ['streams', 'create'], says: /missing: --name, --table, --topic/ },
    { args: ['streams', 'create', '--name', 'a', '--table', 'x', '--sink', 'file'], says: /missing: --dir\n/ },
    {
      args: ['streams', 'create', '--sink', 'files'],
      says: /'files' is invalid. Allowed choices are kafka, redis, file/,
    },
    {
      args: ['streams', 'create', '--name', 'a', '--table', 'x', '--sink', 'redis', '--key', 'k', '--partitions', '3'],
      says: /^--partitions: got "3" with --sink redis, and it goes with --sink kafka; allowed: --key, --layout, .*\n$/,
    },
    { args: ['streams', 'list', '--url', 'localhost:8100'], says: /--url: got "localhost:8100"; allowed: http/ },
    { args: ['wal', 'dump'], says: /missing required argument 'path'/ },
    { args: ['verify'], says: /missing required argument 'stream'/ },
    { args: ['verify', 'orders', '--at', 'noon'], says: /^--at: got "noon"; allowed: a hybrid time such as/ },
    { args: ['verify', 'orders', '--max-rows', '-1'], says: /^--max-rows: got "-1"; allowed: a whole number from 0/ },
    { args: ['verify', 'orders', '--timeout', '0'], says: /^--timeout: got "0"; allowed: a whole number from 1/ },
    {
      args: ['verify', 'orders'],
      says: /^SPOOR_KUDU_MASTERS: not given; .*\n$/,
    },
    { args: ['demo', '--exit-after', 'soon'], says: /--exit-after/ },
  ];
  for (const { args, says } of WRONG)
    it(`spoor ${args.join(' ')}`, async () => {
      const { code, out, err } = await spoor(args);
      assert.match(err, says);
      assert.deepEqual([code, out], [2, '']);
    });
});

describe('help and version: exit code 0', () => {
  it('spoor --version, as a process', async () => {
    assert.deepEqual(await spoorProcess(['--version']), { code: 0, out: `${SPOOR_VERSION}\n`, err: '' });
  });

  it('every command has --help', async () => {
    const commands = ['', 'run', 'status', 'streams', 'wal', 'wal dump', 'verify', 'demo'];
    commands.push(
      ...[
        'list',
        'show',
        'schemas',
        'create',
        'apply',
        'validate',
        'change',
        'pause',
        'resume',
        'resync',
        'records',
        'trace',
        'rewind',
        'skip',
        'delete',
      ].map((verb) => `streams ${verb}`),
    );
    for (const command of commands) {
      const { code, out, err } = await spoor([...command.split(' ').filter(Boolean), '--help']);
      assert.match(out, new RegExp(`^Usage: spoor ${command}`));
      assert.deepEqual([code, err], [0, ''], command);
    }
  });
});

describe('the configuration of spoor run', () => {
  it('is refused with a line a fault and exit code 2, as a process', async () => {
    const { code, out, err } = await spoorProcess(['run'], {
      SPOOR_MODE: 'learner',
      SPOOR_TSERVR: 'x',
      SPOOR_HTTP_TOKEN: 'not good',
    });
    assert.deepEqual(err.split('\n'), [
      'SPOOR_TSERVR: got ***; no such variable; did you mean SPOOR_TSERVER?',
      'SPOOR_MODE: got "learner"; allowed: leader (learner is not supported yet by this version)',
      'SPOOR_HTTP_TOKEN: got ***; allowed: visible ASCII characters without spaces',
      'SPOOR_KUDU_MASTERS: not given; allowed: host:port,host:port,... (required)',
      'SPOOR_TSERVER: not given; allowed: host:port, the port from 1 to 65535 (required in leader mode)',
      'SPOOR_WAL_DIR: not given; allowed: the path of a folder (required in leader mode)',
      '',
    ]);
    assert.deepEqual([code, out], [2, '']);
  });
});

describe('a sidecar without its cluster', () => {
  const env = {
    SPOOR_KUDU_MASTERS: '127.0.0.1:1',
    SPOOR_TSERVER: '127.0.0.1:1',
    SPOOR_WAL_DIR: dir,
    SPOOR_HTTP_TOKEN: TOKEN,
  };

  it('lives, is not ready, logs JSON lines without secrets, and ends in order at SIGTERM', async () => {
    const port = await freePort();
    const child = start('src/cli/main.ts', ['run'], { ...env, SPOOR_HTTP_LISTEN: `127.0.0.1:${port}` });
    const end = ended(child);
    await printed(child, 'control API listens');
    const base = `http://127.0.0.1:${port}`;
    assert.equal((await fetch(`${base}/healthz`)).status, 200);
    const ready = await fetch(`${base}/readyz`);
    assert.equal(ready.status, 503);
    assert.match(await ready.text(), /kudu/);
    assert.equal((await fetch(`${base}/metrics`)).status, 401);
    const list = await spoor(['streams', 'list', '--url', base], { SPOOR_HTTP_TOKEN: TOKEN });
    assert.equal(list.code, 1);
    assert.match(list.err, /\(503\)/);
    child.kill('SIGTERM');
    const { code, out, err } = await end;
    assert.equal(code, 0, out + err);
    for (const line of out.trimEnd().split('\n')) assert.ok('msg' in (JSON.parse(line) as object), line);
    assert.match(out, /stopped by SIGTERM/);
    assert.ok(!out.includes(TOKEN));
  });

  it('fails with exit code 1 where the address is taken', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const listen = `127.0.0.1:${portOf(taken)}`;
    const { code, out } = await spoorProcess(['run'], { ...env, SPOOR_HTTP_LISTEN: listen });
    taken.close();
    assert.match(out, /SPOOR_HTTP_LISTEN 127\.0\.0\.1:\d+ cannot be listened on \(EADDRINUSE\)/);
    assert.equal(code, 1);
  });
});

describe('a program that does not stop', () => {
  it('is ended when the limit has passed', async () => {
    const child = start('test/support/stubborn.ts', ['50']);
    const end = ended(child);
    await printed(child, 'ready');
    child.kill('SIGTERM');
    assert.deepEqual(await end, { code: 11, out: 'ready\nasked\nlimit after SIGTERM\n', err: '' });
  });

  it('is ended at once by a second signal', async () => {
    const child = start('test/support/stubborn.ts', ['60000']);
    const end = ended(child);
    await printed(child, 'ready');
    child.kill('SIGINT');
    await printed(child, 'asked');
    await sleep(600); // less is the same signal once more
    child.kill('SIGTERM');
    assert.deepEqual(await end, { code: 12, out: 'ready\nasked\nsecond after SIGTERM\n', err: '' });
  });
});

describe('streams and status', () => {
  const plane = new MemoryControlPlane();
  let server: ControlServer;
  let env: Record<string, string>;
  before(async () => {
    server = await serveMemory(plane, {
      credentials: withToken(TOKEN),
      version: SPOOR_VERSION,
    });
    env = { SPOOR_HTTP_LISTEN: `127.0.0.1:${server.address.port}`, SPOOR_HTTP_TOKEN: TOKEN };
  });
  after(() => server.close());
  beforeEach(async () => {
    plane.failure = null;
    await plane.deleteStream('orders');
  });
  const create = () =>
    spoor(['streams', 'create', '--name', 'orders', '--table', 'shop.*', '--topic', 't', '--start', 'now'], env);

  it('are created from flags, listed, shown and deleted, found by the environment', async () => {
    const created = await create();
    assert.match(created.out, /^name +orders\n/);
    assert.deepEqual([created.code, created.err], [0, '']);
    assert.match(
      (await spoor(['streams', 'list'], env)).out,
      /^NAME .*\norders {2}shop\.\* {2}kafka:t .* 1 running +2\n$/,
    );
    assert.match((await spoor(['streams', 'show', 'orders'], env)).out, /\ntables +shop\.\*\n/);
    assert.deepEqual(await spoor(['streams', 'delete', 'orders'], env), {
      code: 0,
      out: 'deleted stream orders\n',
      err: '',
    });
    assert.deepEqual(await spoor(['streams', 'list'], env), { code: 0, out: 'no streams\n', err: '' });
  });

  it('into Redis and into files are created from flags as well', async () => {
    const made = async (...flags: string[]): Promise<Ended> => {
      await plane.deleteStream('orders');
      return spoor(['streams', 'create', '--name', 'orders', '--table', 'shop.*', '--json', ...flags], env);
    };
    const redis = ['--sink', 'redis', '--key', 'cdc.{table}', '--layout', 'compact', '--shards', '4', '--max-len', '9'];
    const intoRedis = await made(...redis, '--wait-replicas', '1');
    assert.equal(intoRedis.code, 0, intoRedis.err);
    assert.deepEqual((JSON.parse(intoRedis.out) as StreamView).sink, {
      ...{ type: 'redis', key: 'cdc.{table}', layout: 'compact', shards: 4, maxLen: 9, minIdAgeMs: null },
      ...{ wait: { replicas: 1, timeoutMs: 1000 }, durability: 'durable', schemaKey: 'spoor.schema-changes' },
    });
    const intoFiles = await made('--sink', 'file', '--dir', '/data/cdc', '--rotate-seconds', '5');
    assert.equal(intoFiles.code, 0, intoFiles.err);
    assert.deepEqual((JSON.parse(intoFiles.out) as StreamView).sink, {
      ...{ type: 'file', dir: '/data/cdc', rotateBytes: 128 << 20, rotateSeconds: 5 },
    });
    const wrong = await made('--sink', 'redis', '--key', 'k', '--shards', 'many', '--layout', 'wide');
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /^Bad Request \(400\): .*\n {2}sink\.layout: [^]* {2}sink\.shards: must be .*\n$/);
  });

  it('are created from a file, from standard input, and shown as JSON', async () => {
    const definition = { name: 'orders', tables: ['a', 'b*'], start: 'now', sink: { type: 'kafka', topic: 't' } };
    const file = join(dir, 'orders.json');
    writeFileSync(file, JSON.stringify(definition));
    const fromFile = await spoor(['streams', 'create', file, '--json'], env);
    assert.equal(fromFile.code, 0, fromFile.err);
    assert.deepEqual((JSON.parse(fromFile.out) as typeof definition).tables, ['a', 'b*']);
    await plane.deleteStream('orders');
    assert.equal((await spoor(['streams', 'create', '-'], env, JSON.stringify(definition))).code, 0);
    const shown = await spoor(['streams', 'show', 'orders', '--json'], env);
    assert.deepEqual(JSON.parse(shown.out), await plane.getStream('orders'));
    const listed = await spoor(['streams', 'list', '--json'], env);
    assert.deepEqual(JSON.parse(listed.out), await plane.listStreams());
  });

  it('are paused and resumed', async () => {
    await create();
    const paused = await spoor(['streams', 'pause', 'orders'], env);
    assert.match(paused.out, /^name +orders\n[^]* leader +paused +2 +0\.3 /);
    assert.deepEqual([paused.code, paused.err], [0, '']);
    assert.match((await spoor(['streams', 'list'], env)).out, / 1 paused +2\n$/);
    const resumed = await spoor(['streams', 'resume', 'orders', '--json'], env);
    assert.deepEqual([resumed.code, JSON.parse(resumed.out)], [0, await plane.getStream('orders')]);
    assert.match((await spoor(['streams', 'list'], env)).out, / 1 running +2\n$/);
  });

  it('are changed: tables come and go, the pace of copies', async () => {
    await create();
    const change = (...flags: string[]): Promise<Ended> => spoor(['streams', 'change', 'orders', ...flags], env);
    const added = await change('--add-table', 'b', 'c*', '--copy-rows-per-second', '500');
    assert.match(added.out, /\ntables +shop\.\*, b, c\*\n[^]*\ncopy rows\/s +500\n/);
    assert.match((await change('--remove-table', 'shop.*', 'b')).out, /\ntables +c\*\n/);
    const fromStdin = await spoor(['streams', 'change', 'orders', '-', '--json'], env, '{"tables":["x"]}');
    assert.deepEqual((JSON.parse(fromStdin.out) as { tables: string[] }).tables, ['x']);
    const stranger = await change('--remove-table', 'y');
    assert.deepEqual([stranger.code, stranger.err], [2, 'the stream has no "y" among its tables: x\n']);
    assert.equal((await change()).code, 2);
    assert.equal((await change('file.json', '--add-table', 'z')).code, 2);
  });

  describe('of files', () => {
    const folder = join(dir, 'streams');
    const put = (name: string, text: string): void => {
      writeFileSync(join(folder, name), text);
    };
    const json = (name: string, more: object = {}): string =>
      JSON.stringify({ name, tables: ['a'], start: 'now', sink: { type: 'kafka', topic: 't' }, ...more });
    beforeEach(async () => {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
      for (const name of ['one', 'two', 'three']) await plane.deleteStream(name);
    });
    const apply = (...more: string[]): Promise<Ended> => spoor(['streams', 'apply', '-f', folder, ...more], env);
    const validate = (...more: string[]): Promise<Ended> => spoor(['streams', 'validate', '-f', folder, ...more]);

    it('are applied in the order of their names, and those that are so already are left as they are', async () => {
      put('b.json', json('one'));
      put('a.yaml', '# in YAML\nname: two\ntables: [a]\nsink: { type: kafka, topic: t }\n---\n' + json('three'));
      put('README.md', 'no definition');
      assert.deepEqual(await apply(), {
        code: 0,
        out: 'stream two created\nstream three created\nstream one created\n',
        err: '',
      });
      put('b.json', json('one', { paused: true }));
      assert.deepEqual(await apply(), {
        code: 0,
        out: 'stream two unchanged\nstream three unchanged\nstream one changed\n',
        err: '',
      });
      assert.equal((await plane.getStream('one'))?.paused, true);
      const shown = await spoor(['streams', 'list', '--json'], env);
      const again = await spoor(['streams', 'apply', '-f', '-'], env, shown.out);
      assert.equal(again.out, 'stream two unchanged\nstream three unchanged\nstream one unchanged\n');
    });

    it('go on behind one that is refused, and fail in the end', async () => {
      put('a.json', json('one', { tables: [], more: 1 }));
      put('b.json', json('two'));
      const { code, out, err } = await apply();
      assert.deepEqual([code, out], [1, 'stream two created\n']);
      assert.match(err, /a\.json: stream one\n {2}Bad Request \(400\)[^]*tables: [^]*more: [^]*\n1 of 2 streams/);
      put('a.json', json('two', { start: 'snapshot' }));
      rmSync(join(folder, 'b.json'));
      const conflict = await apply();
      assert.match(conflict.err, /Conflict \(409\)[^]*start: is "now", and cannot become "snapshot"/);
    });

    it('are none of them applied where one cannot be read, or two are of one stream', async () => {
      put('a.json', json('one'));
      put('b.json', '{"name": "two"');
      put('c.yaml', 'name: one\n');
      put('d.yaml', 'name: two\nname: three\n');
      put('e.yaml', 'tables: [a]\n');
      put('f.yaml', '');
      for (const { code, out, err } of [await apply(), await validate()]) {
        assert.deepEqual([code, out], [1, '']);
        for (const says of [
          /b\.json: .*JSON/,
          /c\.yaml: defines stream "one", as .*a\.json does/,
          /d\.yaml: .*unique/,
          /e\.yaml: has no name of a stream/,
          /f\.yaml: there is no definition in it/,
        ])
          assert.match(err, says);
      }
      assert.deepEqual(await plane.listStreams(), []);
      const absent = await spoor(['streams', 'apply', '-f', join(folder, 'absent')], env);
      assert.match(absent.err, /absent: ENOENT/);
    });

    it('are checked without a sidecar, and with one as far as it can be told', async () => {
      put('a.json', json('one'));
      put(
        'b.yaml',
        'name: two\ntables: [a, a]\nsink: { type: kafka, topic: "{x}", topicConfig: { retention.ms: 5 } }\n',
      );
      const { code, out, err } = await validate();
      assert.equal(code, 1);
      assert.match(out, /^\S+a\.json: stream one is well defined\n$/);
      assert.match(
        err,
        /b\.yaml: stream two\n {2}tables\[1\]: [^]* {2}sink\.topic: [^]* {2}sink\.topicConfig\.retention\.ms: must be text/,
      );
      const told = JSON.parse((await validate('--json')).out) as { valid: boolean; faults: { path: string }[] };
      assert.deepEqual(
        [told.valid, told.faults.map(({ path }) => path)],
        [false, ['tables[1]', 'sink.topic', 'sink.topicConfig.retention.ms']],
      );
      put('c.yaml', 'tables: []');
      const nameless = await validate();
      assert.match(
        nameless.err,
        /c\.yaml: has no name of a stream\n[^]*b\.yaml: stream two\n[^]*c\.yaml\n {2}tables: /,
      );
      rmSync(join(folder, 'c.yaml'));
      rmSync(join(folder, 'b.yaml'));
      assert.equal((await validate()).code, 0);
      const asked = await spoor(['streams', 'validate', '-f', folder, '--dry-run'], env);
      assert.equal(asked.code, 1);
      assert.match(asked.out, /^stream one would be created\n {2}missing: topic [^]*\nTABLE .*\nshop\.orders /);
      const planned = await apply('--dry-run');
      assert.match(planned.out, /^stream one would be created\n/);
      assert.deepEqual(await plane.listStreams(), []);
    });
  });

  it('are copied again', async () => {
    await create();
    const { code, out } = await spoor(['streams', 'resync', 'orders', '--tablet', 'f00d', '--from', 'gap'], env);
    assert.equal(code, 0);
    assert.match(out, / leader +resync /);
    assert.deepEqual(plane.resyncs.at(-1), { from: 'gap', tablets: ['f00d'] });
  });

  it('are shipped again from a time, from so long ago, or from an operation on', async () => {
    await create();
    const rewind = async (...args: string[]) => (await spoor(['streams', 'rewind', 'orders', ...args], env)).code;
    assert.equal(await rewind('--to', '2026-01-31T12:00:00Z'), 0);
    const before = Date.now();
    assert.equal(await rewind('--to', '30m', '--table', 'shop.orders'), 0);
    assert.equal(await rewind('--to', '7.12', '--tablet', 'f00d'), 0);
    const [first, second, third] = plane.rewinds.slice(-3);
    assert.deepEqual(first, { to: { time: BigInt(Date.UTC(2026, 0, 31, 12)) * 4_096_000n } });
    const ago = before - Number((second!.to as { time: bigint }).time / 4_096_000n);
    assert.ok(Math.abs(ago - 1_800_000) < 10_000, String(ago));
    assert.deepEqual(third, { to: { opId: { term: 7n, index: 12n } }, tablets: ['f00d'] });
    const { code, err } = await spoor(['streams', 'rewind', 'orders', '--to', 'noon'], env);
    assert.equal(code, 1);
    assert.match(err, /to: got "noon"; allowed: a time such as "2026-01-31T12:00:00Z", or term\.index/);
  });

  it('show their newest records, and the way of one', async () => {
    await create();
    plane.records = [
      {
        table: 'shop.orders',
        tabletId: 'f00d',
        position: 'f00d/7.1.0',
        op: 'c',
        at: '2026-01-31T12:00:00.000Z',
        key: '{"id":1}',
        value: 'a\u001b[2Jb',
        place: { topic: 'cdc', partition: 0, offset: 12 },
      },
    ];
    const { out } = await spoor(['streams', 'records', 'orders', '--last', '1'], env);
    const head = '2026-01-31T12:00:00.000Z  c  shop.orders  topic cdc, partition 0, offset 12  f00d/7.1.0';
    assert.equal(out, `${head}\n  {"id":1}  a\\u001b[2Jb\n`, 'and no terminal is driven by it');
    assert.match((await spoor(['streams', 'records', 'orders', '--last', '0'], env)).err, /allowed: 1 to 200/);
    const trace = await spoor(['streams', 'trace', 'orders', 'f00d/7.1.0'], env);
    assert.equal(trace.out, 'log     done     of f00d/7.1.0\n');
    assert.equal((await spoor(['streams', 'trace', 'orders', 'f00d'], env)).code, 1);
  });

  it('leave an operation out', async () => {
    await create();
    const { code } = await spoor(['streams', 'skip', 'orders', '--tablet', 'f00d', '--opid', '7.12'], env);
    assert.equal(code, 0);
    assert.deepEqual(plane.skips.at(-1), { tablet: 'f00d', opId: { term: 7n, index: 12n } });
  });

  it('status shows every tablet and every sidecar', async () => {
    await create();
    const { code, out } = await spoor(['status'], env);
    assert.equal(code, 0);
    assert.match(out, /^STREAM .*\norders .* 0123456789… +leader +running +2 .*\n\nSIDECAR .*\n127\.0\.0\.1:8100 /);
    for (const line of out.split('\n')) assert.ok(line.length <= 80, line);
    const wide = await spoor(['status', '--wide'], env);
    assert.match(
      wide.out,
      /^STREAM .*\norders .* 0123456789abcdef0123456789abcdef +leader +running +7\.1040 +7\.1042 /,
    );
    const onTerminal = await spoor(['status'], env, '', { screen: () => ({ columns: 200, rows: 50 }) });
    assert.match(shown(onTerminal.out), / leader +<E>\[32mrunning<E>\[0m +7\.1040 +7\.1042 /);
    const noColour = await spoor(['status'], { ...env, NO_COLOR: '1' }, '', {
      screen: () => ({ columns: 80, rows: 50 }),
    });
    assert.equal(noColour.out, out);
    const json = JSON.parse((await spoor(['status', '--json'], env)).out) as { streams: unknown; sidecars: unknown };
    assert.deepEqual(json, { streams: await plane.listStreams(), sidecars: await plane.listSidecars() });
  });

  describe('status --watch', () => {
    /** Ends once it has written so often. */
    async function watch(
      looks: number,
      args: readonly string[] = [],
      more: Partial<CliContext> = {},
      onLook = (_: number) => {},
    ) {
      const written: string[] = [];
      const ended = await spoor(['status', '--watch', '--interval', '0.1', ...args], env, '', {
        ...more,
        out: (text) => {
          written.push(text);
          onLook(written.length);
        },
        isRead: () => written.length < looks,
      });
      return { ...ended, written };
    }

    it('is a line a look where that is no terminal, and tells what is new of troubles', async () => {
      await create();
      const error = { code: 'SPOOR_SINK_REFUSED', message: 'no topic', since: '2026-01-02T03:04:05.678Z' };
      const [tablet] = plane.tablets;
      const { code, written } = await watch(4, [], {}, (look) => {
        if (look === 1) plane.showTablets('orders', [{ ...tablet!, state: 'blocked', error } as ReasonedView]);
        if (look === 3) plane.failure = new SpoorError('SPOOR_KUDU_UNAVAILABLE', 'no master leads');
      });
      assert.equal(code, 0);
      const time = String.raw`\d{4}-\d\d-\d\dT[\d:.]+Z`;
      const summary = (state: string) =>
        String.raw`${time} 1 stream, 1 tablet: 1 ${state}; lag 2 ops, 0\.3 s; 8\.0 MiB held; 1 sidecar\n`;
      assert.match(written[0]!, new RegExp(`^${summary('running')}$`));
      assert.match(
        written[1]!,
        new RegExp(`^${summary('blocked')}${time} orders [0-9a-f]+ blocked: SPOOR_SINK_REFUSED: no topic\n$`),
      );
      assert.match(written[2]!, new RegExp(`^${summary('blocked')}$`), 'it was told');
      assert.match(written[3]!, new RegExp(`^${time} Service Unavailable \\(503\\): no master leads`));
    });

    it('draws in place on a terminal, no wider and no higher than that', async () => {
      await create();
      const { written } = await watch(3, [], { screen: () => ({ columns: 60, rows: 6 }) });
      assert.match(
        shown(written[0]!),
        /^\r<E>\[J[\d:]{8} UTC, each 0\.1 s; Ctrl-C ends it\n1 stream, [^]*\n[^]*\n\.\.\. and \d more lines\n$/,
      );
      assert.match(shown(written[1]!), /^\r<E>\[5A<E>\[J/);
      const plain = stripVTControlCharacters(written[1]!);
      assert.equal(plain.split('\n').length, 6, 'and one line free');
    });

    it('with --json is a JSON line a look', async () => {
      await create();
      const { written } = await watch(2, ['--json']);
      for (const line of written) {
        const { at, streams, sidecars } = JSON.parse(line) as Record<string, unknown>;
        assert.equal(Number.isNaN(Date.parse(String(at))), false);
        assert.deepEqual([streams, sidecars], [await plane.listStreams(), await plane.listSidecars()]);
        assert.equal(line.split('\n').length, 2);
      }
    });

    it('refuses an interval that is none', async () => {
      const { code, err } = await spoor(['status', '--watch', '--interval', 'often'], env);
      assert.deepEqual([code, err], [2, '--interval: got "often"; allowed: seconds from 0.1 to 86400\n']);
    });
  });

  describe('--wait', () => {
    const [running] = plane.tablets;
    const later = (ms: number, tablet: ReasonedView): void => {
      setTimeout(() => {
        plane.showTablets('orders', [tablet]);
      }, ms);
    };
    const copying = (percent: number): ReasonedView =>
      tabletView({
        ...running!,
        state: 'base-copy',
        waiting: { for: 'its copy', since: '2026-01-02T03:04:05.678Z' },
        copy: { kind: 'all', hybridTime: '1', rows: percent * 10, totalRows: 1000, percent, secondsLeft: null },
      });
    const flags = ['--name', 'orders', '--table', 'shop.*', '--topic', 't'];
    after(() => {
      plane.tablets = [running!];
    });

    it('of create is over when every tablet runs, and shows how far copies are on a terminal', async () => {
      plane.tablets = [copying(20)];
      later(700, copying(70));
      later(1_400, running!);
      const { code, out, err } = await spoor(['streams', 'create', ...flags, '--wait'], env, '', {
        errScreen: () => ({ columns: 80, rows: 24 }),
      });
      assert.equal(code, 0, err);
      assert.match(err, /\[#+\.+\] {2} 20\.0 % {2}0 of 1 tablets run, 200 rows copied/);
      assert.match(err, / {2} 70\.0 % {2}0 of 1 tablets run, 700 rows copied/);
      assert.match(shown(err), /<E>\[J$/, 'it is gone in the end');
      assert.match(out, /\norders .* running /);
      for (const line of stripVTControlCharacters(err).split(/[\r\n]/)) assert.ok(line.length < 80, line);
    });

    it('fails when its time is over, and says what keeps it', async () => {
      plane.tablets = [copying(20)];
      const { code, err } = await spoor(['streams', 'create', ...flags, '--wait', '--timeout', '1'], env);
      assert.equal(code, 1);
      assert.match(err, /^not every tablet runs after 1 s\n {2}1 base-copy: waits for its copy\n$/);
    });

    it('of resync is over when a copy was seen, and has ended', async () => {
      plane.tablets = [running!];
      await create();
      later(600, copying(50));
      later(1_500, running!);
      const startMs = performance.now();
      const { code, out } = await spoor(['streams', 'resync', 'orders', '--wait', '--json'], env);
      assert.equal(code, 0);
      assert.ok(performance.now() - startMs > 1_400, 'it has not taken the time before the copy for the end of it');
      assert.equal((JSON.parse(out) as StreamView).tablets[0]?.state, 'running');
    });

    it('is asked for rightly, or nothing is begun', async () => {
      const late = await spoor(['streams', 'create', ...flags, '--timeout', '5'], env);
      assert.deepEqual([late.code, late.err], [2, '--timeout goes with --wait\n']);
      const wrong = await spoor(['streams', 'create', ...flags, '--wait', '--timeout', 'soon'], env);
      assert.match(wrong.err, /^--timeout: got "soon"; allowed: a whole number from 1/);
      assert.deepEqual(await plane.listStreams(), []);
    });
  });

  const FAILED: { what: string; args: string[]; more?: Record<string, string>; says: RegExp }[] = [
    {
      what: 'no such stream',
      args: ['streams', 'show', 'nope'],
      says: /^Not Found \(404\): There is no stream named "nope"\.\n$/,
    },
    { what: 'nothing to delete', args: ['streams', 'delete', 'nope'], says: /\(404\)/ },
    {
      what: 'a wrong definition, with every fault',
      args: [
        'streams',
        'create',
        '--name',
        'A',
        '--table',
        'x',
        '--topic',
        '{y}',
        '--start',
        'now',
        '--partitions',
        'many',
      ],
      says: /^Bad Request \(400\): .*\n {2}name: must be .*\n {2}sink\.topic: has an .*\n {2}sink\.partitions: must be .*\n$/,
    },
    {
      what: 'what is not supported yet',
      args: ['streams', 'create', '--name', 'a', '--table', 'x', '--topic', 'y', '--format', 'kudu-record'],
      says: /^Not Implemented \(501\): .*\n {2}format\.type: "kudu-record" is not supported yet/,
    },
    {
      what: 'options that the format has not, or not so',
      args: [
        ...['streams', 'create', '--name', 'a', '--table', 'x', '--topic', 'y', '--format', 'avro'],
        ...['--format-option', 'registry=here', 'decimals=exact', 'autoRegister=no', '--format-option', 'colour=red'],
      ],
      says: /^Bad Request \(400\): [^]*format\.registry: must be http[^]*format\.autoRegister: [^]*format\.decimals: [^]*format\.colour: is not known; known are type, registry, autoRegister, subject, names, decimals, time\n$/,
    },
    {
      what: 'nothing to pause',
      args: ['streams', 'pause', 'nope'],
      says: /^Not Found \(404\): There is no stream named "nope"\.\n$/,
    },
    { what: 'nothing to resume', args: ['streams', 'resume', 'nope', '--json'], says: /\(404\)/ },
    {
      what: 'a resync of a table that the stream has not',
      args: ['streams', 'resync', 'orders', '--table', 'nope'],
      says: /\(400\): .*\n {2}tables\[0\]: stream orders has no table nope/,
    },
    {
      what: 'nothing to verify',
      args: ['verify', 'nope'],
      more: { SPOOR_KUDU_MASTERS: '127.0.0.1:1', SPOOR_KAFKA_BROKERS: '127.0.0.1:1' },
      says: /\(404\)/,
    },
    { what: 'no token', args: ['streams', 'list'], more: { SPOOR_HTTP_TOKEN: '' }, says: /\(401\).*\n.*--token-file/ },
    {
      what: 'a wrong token',
      args: ['streams', 'list'],
      more: { SPOOR_HTTP_TOKEN: 'x' },
      says: /\(401\): The bearer token is not the right one/,
    },
    { what: 'no file', args: ['streams', 'create', 'nope.json'], says: /^cannot read nope\.json: ENOENT/ },
    { what: 'no log', args: ['wal', 'dump', '/no/such/segment'], says: /no\/such\/segment/ },
  ];
  for (const { what, args, more, says } of FAILED)
    it(`fail with exit code 1 and the reason: ${what}`, async () => {
      const { code, out, err } = await spoor(args, { ...env, ...more });
      assert.match(err, says);
      assert.deepEqual([code, out], [1, '']);
    });

  it('fail where nobody listens', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, err } = await spoor(['status', '--url', url]);
    assert.match(err, /^cannot reach http:.*: .*ECONNREFUSED.*; start a sidecar there, or name another with --url/);
    assert.equal(code, 1);
  });

  it('fail where the name is taken', async () => {
    await create();
    const { code, err } = await create();
    assert.match(err, /^Conflict \(409\): .*"orders" already/);
    assert.equal(code, 1);
  });

  it('refuse an unknown variable: exit code 2', async () => {
    const { code, err } = await spoor(['streams', 'list'], { ...env, SPOOR_HTTP_TOKN: 'x' });
    assert.match(err, /^SPOOR_HTTP_TOKN: got \*\*\*; no such variable; did you mean SPOOR_HTTP_TOKEN\?\n$/);
    assert.equal(code, 2);
  });

  it('end quietly when nobody reads on', async () => {
    const child = start('src/cli/main.ts', ['streams', 'list'], env);
    child.stdout!.destroy();
    const err = textOf(child.stderr!);
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.deepEqual([code, err()], [0, '']);
  });

  it('say so where something else answers', async () => {
    const other = createServer((_request, response) => response.end('<html>'));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { code, err } = await spoor(['streams', 'list', '--url', `http://127.0.0.1:${portOf(other)}`]);
    other.close();
    assert.match(err, /did not answer JSON; is a Spoor sidecar listening there\?/);
    assert.equal(code, 1);
  });
});

/** With the controls of a terminal as one can read them. */
function shown(text: string): string {
  return text.replaceAll('\u001b', '<E>');
}

function portOf(server: ReturnType<typeof createServer>): number {
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const port = portOf(probe);
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
