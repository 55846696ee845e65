import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort } from '../../src/demo/ports.ts';
import { spoorCommand } from '../../src/demo/sidecar-process.ts';
import { serversMissing } from '../support/cluster.ts';
import { commandsOf, EXAMPLE_STREAM, isAtWork, type DocumentedCommand } from '../support/documented-commands.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { leaseCluster, type LeasedCluster } from '../support/leased-cluster.ts';
import { isCaughtUp, type SpoorCluster } from '../support/spoor-cluster.ts';

/** Of those that have no end: what shows that they do what they are for. */
const SHOWS: readonly (readonly [is: (args: readonly string[]) => boolean, shows: RegExp])[] = [
  [(args) => args[0] === 'run', /control API listens/],
  [(args) => args.includes('--watch') && args.includes('--json'), /"name":"orders"/],
  [(args) => args.includes('--watch'), /1 stream\b/],
];
const PATIENCE_MS = 60_000;

describe('a command on a page that is at work', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let lease: LeasedCluster;
  let cluster: SpoorCluster;
  let cwd: string;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    lease = await leaseCluster();
    cluster = lease.cluster;
    const [tserver] = cluster.kudu.tservers;
    cwd = join(cluster.dir, 'docs');
    await mkdir(cwd, { recursive: true });
    env = {
      PATH: process.env['PATH'],
      SPOOR_KUDU_MASTERS: cluster.masters,
      SPOOR_KAFKA_BROKERS: cluster.kafka.brokers.join(),
      SPOOR_TSERVER: tserver!.rpc,
      SPOOR_WAL_DIR: tserver!.walDir,
      SPOOR_HTTP_LISTEN: cluster.sidecars[0]!.url.replace('http://', ''),
    };
    await writeFile(join(cwd, 'orders.json'), JSON.stringify(EXAMPLE_STREAM));
    await writeFile(
      join(cwd, 'spoor.env'),
      Object.entries(env)
        .map(([name, value]) => `${name}=${value!}\n`)
        .join(''),
    );
    await javaTool('create-table', { masters: cluster.masters, table: 'shop.orders', shape: 'small', buckets: 2 });
  });
  after(() => lease[Symbol.asyncDispose]());

  /** Runs it to its end, or, where it has none, until it shows what it is for. */
  async function runsAsWritten({ words, where }: DocumentedCommand): Promise<void> {
    const args = words.slice(1);
    const shows = SHOWS.find(([is]) => is(args))?.[1] ?? null;
    const [command, ...before] = spoorCommand();
    const child = spawn(command, [...before, ...args], {
      cwd,
      env: args[0] === 'run' ? { ...env, SPOOR_HTTP_LISTEN: `127.0.0.1:${await freePort()}` } : env,
      timeout: PATIENCE_MS,
      killSignal: 'SIGKILL',
    });
    let said = '';
    let isEnded = false;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (shows === null || isEnded || !shows.test(said)) return;
        isEnded = true;
        child.kill('SIGINT');
      });
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    assert.equal(code, 0, `${where}: ${words.join(' ')} ended with ${String(code ?? signal)}\n${said}`);
    assert.ok(shows === null || isEnded, `${where}: ${words.join(' ')} did not show ${String(shows)}\n${said}`);
  }

  /** The stream is there and has shipped something; but not where the command makes it. */
  async function prepare(isMade: boolean): Promise<void> {
    const { body } = await cluster.api<readonly { readonly name: string }[]>('GET', '/v1/streams');
    const isThere = body.some(({ name }) => name === 'orders');
    if (isMade && isThere) {
      await cluster.api('DELETE', '/v1/streams/orders');
      await cluster.kafka.withAdmin((admin) => admin.deleteTopics({ topics: ['cdc.shop.orders'] })); // another has more partitions
    }
    if (isMade || isThere) return;
    await cluster.api('POST', '/v1/streams', { ...EXAMPLE_STREAM, start: 'snapshot' });
    await cluster.waitForTablets('orders', isCaughtUp);
    await writeMixed({ masters: cluster.masters, table: 'shop.orders', ops: 200, keys: 100 });
    await cluster.waitForTablets('orders', isCaughtUp);
  }

  const found = commandsOf(['spoor']).filter(({ words, place }) => place === 'block' && isAtWork(words.slice(1)));
  // Those of the demo are demo-command.test.ts's.
  const here = found.filter(({ words }) => words[1] !== 'demo');
  assert.ok(here.length >= 12, `${here.length} commands`);
  for (const command of here)
    it(`${command.where}: ${command.words.join(' ')}`, async () => {
      await prepare(command.words.includes('create'));
      // One log has one sidecar.
      const own = command.words[1] === 'run' ? cluster.sidecars[0]! : null;
      await own?.stop();
      try {
        await runsAsWritten(command);
      } finally {
        await own?.restart();
        await own?.waitUntilReady();
      }
    });
});
