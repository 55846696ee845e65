import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { spoorCommand } from '../../src/demo/sidecar-process.ts';
import { kerberosMissing, serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { form } from '../support/forms.ts';
import { redisMissing } from '../support/redis.ts';

interface DemoRun {
  readonly exitCode: number | null;
  readonly output: string;
  /** What it left in its temporary folder. */
  readonly left: readonly string[];
}

/** Runs the demo in a temporary folder of its own; `onLine` may send it a signal. */
async function runDemo(
  args: readonly string[],
  onLine: (line: string, kill: (signal: NodeJS.Signals) => void) => void = () => undefined,
): Promise<DemoRun> {
  const dir = await mkdtemp(join(tmpdir(), 'spoor-demo-test-'));
  try {
    const [program, ...first] = spoorCommand();
    const demo = spawn(program, [...first, 'demo', ...args], {
      env: { ...process.env, TMPDIR: dir },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const lines: string[] = [];
    for (const stream of [demo.stdout, demo.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        onLine(line, (signal) => demo.kill(signal));
      });
    }
    const [exitCode] = (await once(demo, 'close')) as [number | null];
    // tsx keeps a cache of its own there.
    const left = (await readdir(dir)).filter((name) => !name.startsWith('tsx-'));
    return { exitCode, output: lines.join('\n'), left };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function addressesOf(output: string): readonly string[] {
  return [...output.matchAll(/127\.0\.0\.1:\d+/g)].map(([address]) => address);
}

async function refuses(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  return new Promise((resolve) => {
    socket.on('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', () => {
      resolve(true);
    });
  });
}

const noKerberos = await kerberosMissing();
const noRedis = await redisMissing();

describe('spoor demo', { skip: await serversMissing() }, () => {
  it('ships every row, ends by itself after --exit-after and leaves nothing running', async () => {
    const { exitCode, output, left } = await runDemo(['--exit-after', '6', '--rate', '200']);
    assert.equal(exitCode, 0, output);
    const [, written, read] = /(\d+) row changes written, (\d+) records read from Kafka: all shipped/.exec(output)!;
    assert.equal(written, read);
    assert.ok(Number(written) > 200, output);
    for (const op of ['insert', 'update', 'delete']) assert.match(output, new RegExp(`first record of an? ${op}`));
    assert.match(output, /written [\d,]+ {2}shipped [\d,]+ {2}lag [\d,]+ rows, [\d,]+ ms {2}[\d,]+ rows\/s/);

    const addresses = new Set(addressesOf(output));
    assert.equal(addresses.size, 8, 'a master, three tablet servers, a broker, three sidecars');
    for (const address of addresses) assert.ok(await refuses(address), `${address} still answers`);
    assert.deepEqual(left, []);
  });

  it('--secure: the same with TLS and Kerberos everywhere in Kudu', { skip: noKerberos }, async () => {
    const { exitCode, output, left } = await runDemo(['--secure', '--exit-after', '4', '--rate', '200']);
    assert.equal(exitCode, 0, output);
    assert.match(output, /^Security +TLS and Kerberos, realm KUDU\.TEST/m);
    assert.match(output, /(\d+) row changes written, \1 records read from Kafka: all shipped/);
    assert.deepEqual(left, []);
  });

  it('--redis: the same into Redis', { skip: noRedis }, async () => {
    const { exitCode, output, left } = await runDemo(['--redis', '--exit-after', '4', '--rate', '200']);
    assert.equal(exitCode, 0, output);
    assert.match(output, /^Redis +127\.0\.0\.1:\d+\n/m);
    assert.match(output, /(\d+) row changes written, \1 records read from Redis: all shipped/);
    assert.deepEqual(left, []);
  });

  it('--file: the same into files, without Kafka', async () => {
    const { exitCode, output, left } = await runDemo(['--file', '--exit-after', '3', '--rate', '200']);
    assert.equal(exitCode, 0, output);
    assert.match(output, /(\d+) row changes written, \1 records read from files: all shipped/);
    assert.deepEqual(left, []);
  });

  const KILLED = {
    broker: /^fault +(Kafka|Redis) is killed: .*\n[^]*^fault +\1 is started again$/m,
    sidecar: /^fault +sidecar [23] is killed: others stand in/m,
    leader: /^fault +tablet server [23] \(127\.0\.0\.1:\d+\) is killed: its tablets elect other leaders/m,
  } as const;
  const all = Object.keys(KILLED) as (keyof typeof KILLED)[];
  const faults: readonly (readonly [to: readonly string[], fault: keyof typeof KILLED])[] = form(
    [[[], 'broker']],
    [
      ...all.map((fault) => [[], fault] as const),
      ...(noRedis ? [] : all.map((fault) => [['--redis'], fault] as const)),
      ...(['sidecar', 'leader'] as const).map((fault) => [['--file'], fault] as const),
    ],
  );
  for (const [to, fault] of faults)
    it(`${[...to, '--fault', fault].join(' ')}: it breaks, recovers, and every row has come once`, async () => {
      const args = [...to, '--fault', fault, '--exit-after', '9', '--rate', '200'];
      const { exitCode, output, left } = await runDemo(args);
      assert.equal(exitCode, 0, output);
      assert.match(output, /^page {2}http:\/\/127\.0\.0\.1:\d+\/$/m);
      assert.match(output, KILLED[fault]);
      assert.match(output, /^fault +recovered: /m);
      assert.match(output, /(\d+) row changes written, \1 records read from (Kafka|Redis|files): all shipped/);
      assert.deepEqual(left, []);
    });

  it('stops in order on Ctrl-C: what was written is shipped first', async () => {
    const { exitCode, output, left } = await runDemo(['--rate', '200'], (line, kill) => {
      if (line.includes('first record of an update')) kill('SIGINT');
    });
    assert.equal(exitCode, 0, output);
    assert.match(output, /all shipped\nstopped: /);
    assert.deepEqual(left, []);
  });

  it('ends at once on a second Ctrl-C, and everything with it', async () => {
    let again: NodeJS.Timeout | undefined;
    const { exitCode, output } = await runDemo([], (line, kill) => {
      if (!line.startsWith('Kafka ')) return;
      again = setInterval(() => {
        kill('SIGINT'); // two sent at once would count as one
      }, 20);
    });
    clearInterval(again);
    assert.equal(exitCode, 1, output);
    assert.doesNotMatch(output, /stopped: /, 'did not end at once');
    for (const address of addressesOf(output)) await eventually(`${address} is gone`, () => refuses(address));
  });
});
